"""Records in batches: what the official classes wrote is read, what we write is the same, and no count is believed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kwire.errors import Code, KafkaError
from kwire.wire.batches.batch import HEADER_BYTES, is_valid_batch, read_batch_header
from kwire.wire.batches.compression import Codec, compress
from kwire.wire.batches.records import (
    Record,
    assemble_batch,
    build_batch,
    make_records,
    open_batch,
    read_records,
    scan_records,
)
from kwire.wire.varint import (
    encode_unsigned_varint,
    encode_varint,
    read_unsigned_varint,
    read_unsigned_varlong,
    read_varint,
)

OFFICIAL = dict(
    line.split()
    for line in (Path(__file__).parent / "official_batches.txt").read_text().splitlines()
    if not line.startswith("#")
)
# What the official builders were given.
RECORDS = [
    Record(0, 1_700_000_000_000, b"k1", b"v1"),
    Record(1, 1_700_000_000_005, None, b"only value"),
    Record(2, 1_699_999_999_000, b"only key", None),
    Record(3, 1_700_000_000_000, None, None),
    Record(4, 1_700_000_100_000, b"", b"", (("h", b"x"), ("", None), ("h", b""), ("äö€", b"\x00\xff"))),
    Record(5, 1_700_000_000_000, b"z" * 300, b"z" * 300),
]
NOW_MS = 1_700_000_000_000


def _moved(offset: int) -> list[Record]:
    return [record._replace(offset=record.offset + offset) for record in RECORDS]


def _code(batch: bytes, **limits: int) -> Code:
    with pytest.raises(KafkaError) as refusal:
        list(read_records(batch, **limits))
    return refusal.value.code


def _outcome(call: Callable[[], list]) -> tuple[list, Code | None]:
    try:
        return call(), None
    except KafkaError as error:
        return [], error.code


# ---- the official classes


@pytest.mark.parametrize("name", [name for name in OFFICIAL if name not in ("commit", "append", "empty")])
def test_a_batch_of_the_official_classes_is_read(name):
    batch = bytes.fromhex(OFFICIAL[name])
    header = read_batch_header(batch)
    assert is_valid_batch(batch, 0, header)
    assert list(read_records(memoryview(batch))) == _moved(header.base_offset)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("none", {}),
        ("snappy", {"codec": Codec.SNAPPY}),
        ("lz4:9", {"codec": Codec.LZ4}),
        (
            "transactional",
            {
                "base_offset": 1000,
                "leader_epoch": 3,
                "producer_id": 4000,
                "producer_epoch": 7,
                "base_sequence": 2**31 - 2,
                "transactional": True,
            },
        ),
    ],
)
def test_our_batch_has_the_same_bytes_as_the_official_one(name, options):
    assert build_batch(_moved(options.get("base_offset", 0)), **options).hex() == OFFICIAL[name]


def test_a_transaction_marker_has_the_same_bytes_as_the_official_one():
    batch = bytes.fromhex(OFFICIAL["commit"])
    (marker,) = read_records(batch)
    assert marker == Record(55, NOW_MS, b"\0\0\0\1", b"\0\0\0\0\0\x0c")
    built = build_batch(
        [marker],
        base_offset=55,
        leader_epoch=9,
        producer_id=4000,
        producer_epoch=7,
        transactional=True,
        control=True,
    )
    assert built == batch


def test_with_log_append_time_every_record_has_the_brokers_time():
    batch = bytes.fromhex(OFFICIAL["append"])
    header = read_batch_header(batch)
    assert header.is_log_append_time
    assert [record.timestamp_ms for record in read_records(batch)] == [header.max_timestamp] * 6
    built = build_batch(_moved(7), base_offset=7, log_append_time_ms=header.max_timestamp)
    assert built == batch


def test_an_empty_batch_has_the_same_bytes_as_the_official_one_and_no_records():
    batch = bytes.fromhex(OFFICIAL["empty"])
    assert list(read_records(batch)) == []
    assert assemble_batch(read_batch_header(batch), b"") == batch


# ---- what is built is read

_VARIED_RECORD = st.builds(
    Record,
    offset=st.integers(0, 2**31 - 1),
    timestamp_ms=st.integers(0, 2**62),
    key=st.none() | st.binary(max_size=200),
    value=st.none() | st.binary(max_size=200),
    headers=st.lists(st.tuples(st.text(max_size=5), st.none() | st.binary(max_size=5)), max_size=3).map(tuple),
)


@given(
    records=st.lists(_VARIED_RECORD, min_size=1, max_size=20, unique_by=lambda record: record.offset),
    base_offset=st.integers(0, 2**40),
    codec=st.sampled_from(Codec),
)
def test_records_come_back_as_they_went_in(records, base_offset, codec):
    records = [record._replace(offset=base_offset + record.offset) for record in sorted(records)]
    batch = build_batch(records, base_offset=base_offset, codec=codec)
    header = read_batch_header(batch)
    assert is_valid_batch(batch, 0, header)
    assert header.last_offset == records[-1].offset
    assert header.max_timestamp == max(record.timestamp_ms for record in records)
    assert list(read_records(batch)) == records


def test_a_batch_of_a_client_passes_the_header_checks():
    header = read_batch_header(build_batch(RECORDS, codec=Codec.ZSTD))
    assert header.record_count == 6
    assert header.codec == Codec.ZSTD


def test_a_cleaner_keeps_the_last_offset_and_puts_the_horizon_in_place_of_the_base_timestamp():
    batch = build_batch(_moved(10)[1:3], base_offset=10, last_offset=15, delete_horizon_ms=NOW_MS + 5, base_sequence=3)
    header = read_batch_header(batch)
    assert (header.base_offset, header.last_offset, header.record_count) == (10, 15, 2)
    assert header.delete_horizon_ms == NOW_MS + 5
    assert header.last_sequence == 8
    assert list(read_records(batch)) == _moved(10)[1:3]


def test_records_of_several_readers_do_not_share_a_position():
    header = read_batch_header(batch := build_batch(RECORDS, codec=Codec.GZIP))
    payload = open_batch(batch, header)
    first, second = make_records(header, payload), make_records(header, payload)
    assert next(first) == RECORDS[0]
    assert list(second) == RECORDS
    assert list(first) == RECORDS[1:]


# ---- hostile bytes


def _raw_batch(payload: bytes, record_count: int) -> bytes:
    """Make a batch whose header is in order and whose payload is anything."""
    header = read_batch_header(build_batch(RECORDS[:1]))
    return assemble_batch(header._replace(record_count=record_count, last_offset_delta=record_count - 1), payload)


def _record(body: bytes, length: int | None = None) -> bytes:
    return encode_varint(len(body) if length is None else length) + body


_BODY = b"\0" + encode_varint(0) * 2 + encode_varint(1) + b"k" + encode_varint(1) + b"v" + encode_varint(0)
_HEADLESS = _BODY[:-1]


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(_record(_BODY)[:-1], id="cut"),
        pytest.param(_record(_BODY, 100), id="length too long"),
        pytest.param(_record(_BODY, 3), id="length too short"),
        pytest.param(_record(_BODY, -3), id="length negative"),
        pytest.param(_record(b""), id="length zero"),
        pytest.param(_record(_BODY + b"xx"), id="bytes behind the headers"),
        pytest.param(_record(_BODY) * 2, id="a second record"),
        pytest.param(b"\xff" * 6 + _BODY, id="varint of six bytes"),
        pytest.param(_record(b"\0" + b"\xff" * 11 + _BODY), id="varlong of eleven bytes"),
        pytest.param(_record(_HEADLESS + encode_varint(-1)), id="header count negative"),
        pytest.param(_record(_HEADLESS + encode_varint(1000)), id="header count beyond the bytes"),
        pytest.param(_record(_HEADLESS + encode_varint(2**31 - 1)), id="header count huge"),
        pytest.param(_record(_HEADLESS + encode_varint(1) + encode_varint(-1) + encode_varint(-1)), id="null name"),
        pytest.param(_record(_HEADLESS + encode_varint(1) + encode_varint(9) + b"a"), id="name beyond"),
        pytest.param(_record(_HEADLESS + encode_varint(1) + encode_varint(1) + b"a" + encode_varint(99)), id="value"),
        pytest.param(_record(b"\0\0\0" + encode_varint(100) + b"k"), id="key beyond"),
        pytest.param(_record(b"\0\0\0" + encode_varint(2**31 - 1) + b"k"), id="key huge"),
        pytest.param(_record(b"\0\0\0\0" + encode_varint(2**31 - 1) + b"k"), id="value huge"),
    ],
)
@pytest.mark.parametrize("codec", [Codec.NONE, Codec.GZIP])
def test_a_record_that_is_not_well_formed_is_invalid(payload, codec):
    header = read_batch_header(build_batch(RECORDS[:1], codec=codec))
    assert _code(assemble_batch(header, compress(codec, payload))) is Code.INVALID_RECORD


@pytest.mark.parametrize("record_count", [2, 3, 2**31 - 1])
def test_fewer_records_than_counted_are_invalid(record_count):
    assert _code(_raw_batch(_record(_BODY), record_count)) is Code.INVALID_RECORD


def test_a_negative_count_is_invalid():
    assert _code(_raw_batch(_record(_BODY), -1)) is Code.INVALID_RECORD


def test_a_key_may_not_reach_into_the_next_record():
    reaching = _record(b"\0\0\0" + encode_varint(12) + b"k", 5)
    assert _code(_raw_batch(reaching + _record(_BODY) * 3, 2)) is Code.INVALID_RECORD


def test_a_batch_larger_than_the_limit_is_refused():
    batch = build_batch([Record(0, NOW_MS, None, b"x" * 10_000)], codec=Codec.ZSTD)
    assert _code(batch, limit_bytes=10_000) is Code.RECORD_LIST_TOO_LARGE
    assert len(list(read_records(batch, limit_bytes=10_020))) == 1


def test_a_payload_that_is_not_what_the_codec_says_is_corrupt():
    batch = build_batch(RECORDS, codec=Codec.LZ4)
    header = read_batch_header(batch)
    assert _code(assemble_batch(header, batch[HEADER_BYTES:-20])) is Code.CORRUPT_MESSAGE


def test_a_header_name_that_is_no_utf8_is_read_as_java_reads_it():
    body = _HEADLESS + encode_varint(1) + encode_varint(2) + b"\xffa" + encode_varint(-1)
    (record,) = read_records(_raw_batch(_record(body), 1))
    assert record.headers == (("�a", None),)


@given(payload=st.binary(max_size=60), record_count=st.integers(0, 5))
def test_any_bytes_are_records_or_an_invalid_record(payload, record_count):
    spans, refused = _outcome(lambda: list(scan_records(record_count, payload)))
    if refused is None:
        assert len(spans) == record_count
        assert (spans[-1].end if spans else 0) == len(payload)
    else:
        assert refused is Code.INVALID_RECORD


@given(flips=st.lists(st.tuples(st.integers(0, 700), st.integers(1, 255)), min_size=1, max_size=4))
def test_flipped_bytes_never_raise_anything_but_a_kafka_error(flips):
    batch = bytearray.fromhex(OFFICIAL["none"])
    for position, change in flips:
        batch[HEADER_BYTES + position % (len(batch) - HEADER_BYTES)] ^= change
    assert _outcome(lambda: list(read_records(bytes(batch))))[1] in (None, Code.INVALID_RECORD)


# ---- varints


@given(number=st.integers(-(2**63), 2**63 - 1))
def test_a_signed_number_comes_back(number):
    encoded = encode_varint(number)
    raw, position = read_unsigned_varlong(encoded, 0)
    assert ((raw >> 1) ^ -(raw & 1), position) == (number, len(encoded))
    if -(2**31) <= number < 2**31:
        assert read_varint(b"x" + encoded, 1) == (number, 1 + len(encoded))


@given(number=st.integers(0, 2**32 - 1))
def test_an_unsigned_number_comes_back(number):
    encoded = encode_unsigned_varint(number)
    assert read_unsigned_varint(encoded, 0) == (number, len(encoded))


def test_a_varint_that_is_too_long_or_cut_is_refused():
    with pytest.raises(ValueError, match="5 bytes"):
        read_varint(b"\xff" * 5 + b"\0", 0)
    with pytest.raises(ValueError, match="10 bytes"):
        read_unsigned_varlong(b"\xff" * 10 + b"\0", 0)
    with pytest.raises(IndexError):
        read_varint(b"\xff\xff", 0)
