"""Which schema a key or value was written with."""

import uuid

import pytest

from kwire.schemas.framing import Framed, FramingError, find_schema, read_message_indexes, schema_header

GUID = uuid.UUID("89791762-2336-4186-9674-299b90a802e2")


def test_content_begins_with_a_zero_byte_and_the_id():
    assert find_schema(b"\0\0\0\1\2rest", None) == Framed(258, b"rest")


@pytest.mark.parametrize("content", [b"", b"\0", b"\0\0\0\1", b"text", b"\1\0\0\0\1", b"\0\0\0\0\0rest"])
def test_other_bytes_name_no_schema(content):
    assert find_schema(content, None) is None


def test_a_header_names_the_schema_by_its_guid_and_the_content_is_the_payload():
    assert find_schema(b"\0\0\0\0\5", b"\1" + GUID.bytes) == Framed(str(GUID), b"\0\0\0\0\5", b"")
    assert find_schema(b"payload", b"\1" + GUID.bytes + b"\0") == Framed(str(GUID), b"payload", b"\0")
    assert find_schema(b"payload", b"\0\0\0\0\5") == Framed(5, b"payload", b"")


@pytest.mark.parametrize("header", [b"", b"\1" + GUID.bytes[:15], b"\2" + GUID.bytes])
def test_a_header_of_another_form_is_no_schema(header):
    assert find_schema(b"payload", header) is None


def test_the_first_header_of_the_name_counts():
    assert schema_header((("other", b"o"), ("name", b"1"), ("name", b"2")), "name") == b"1"
    assert schema_header((), "name") is None
    assert len(schema_header((("name", b"\1" * 5_000_000),), "name")) == 1024


@pytest.mark.parametrize(
    ("content", "indexes"),
    [(b"\0rest", [0]), (b"\2\0rest", [0]), (b"\2\2rest", [1]), (b"\4\2\6rest", [1, 3]), (b"\2\x80\1rest", [64])],
)
def test_message_indexes_are_zigzag_varints_after_their_count(content, indexes):
    assert read_message_indexes(content) == (indexes, b"rest")


@pytest.mark.parametrize(
    "content", [b"", b"\4\2", b"\x80", b"\1", b"\xff\xff\xff\xff\xff\xff", b"\xfe\xff\xff\xff\x0f"]
)
def test_message_indexes_that_cannot_be_are_refused(content):
    with pytest.raises(FramingError):
        read_message_indexes(content)
