"""Lines as records and back, with the properties of Kafka's line reader and formatter."""

import struct
import uuid

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kwire.cli.records.lines import ConsumedRecord, Line, LineError, LineFormatter, LineReader, java_number


def read(line, number=1, **properties):
    names = {name.replace("_", "."): value for name, value in properties.items()}
    return LineReader.of(names).read(line, number)


def test_a_line_is_a_value():
    assert read(b"a\tb:c") == Line(None, b"a\tb:c", ())


def test_a_key_ends_at_the_first_separator():
    assert read(b"k\tv\tw", parse_key="true") == Line(b"k", b"v\tw", ())
    assert read(b"k::v", parse_key="true", key_separator="::") == Line(b"k", b"v", ())


def test_headers_stand_before_the_key():
    line = read(b"h1:x,h2:y:z,h3:\tk\tv", parse_key="true", parse_headers="true")
    assert line == Line(b"k", b"v", (("h1", b"x"), ("h2", b"y:z"), ("h3", b"")))


def test_the_null_marker_is_no_value():
    properties = {"parse_key": "true", "parse_headers": "true", "null_marker": "NIL"}
    assert read(b"NIL\tNIL\tNIL", **properties) == Line(None, None, ())
    assert read(b"h:NIL\tk\tNILx", **properties) == Line(b"k", b"NILx", (("h", None),))


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        (b"nokey", "No key separator found on line number 7: 'nokey'"),
    ],
)
def test_a_missing_separator_is_reported_with_its_line(line, complaint):
    with pytest.raises(LineError) as caught:
        read(line, 7, parse_key="true")
    assert str(caught.value) == complaint


def test_missing_header_separators_are_reported():
    with pytest.raises(LineError, match="No headers delimiter found on line number 1: 'x'"):
        read(b"x", parse_headers="true")
    with pytest.raises(LineError, match="No header key separator found in pair 'h1' on line number 1"):
        read(b"h1\tv", parse_headers="true")
    with pytest.raises(LineError, match="Header keys should not be equal to the null marker 'N'"):
        read(b"N:x\tv", parse_headers="true", null_marker="N")


def test_errors_may_be_ignored():
    assert read(b"x", parse_key="true", ignore_error="true") == Line(None, b"x", ())
    assert read(b"h\tk", parse_key="true", parse_headers="true", ignore_error="true") == Line(
        None, b"k", (("h", None),)
    )


@pytest.mark.parametrize(
    ("properties", "complaint"),
    [
        ({"headers_delimiter": ","}, "headers.delimiter and headers.separator may not be equal"),
        ({"headers_separator": ":"}, "headers.separator and headers.key.separator may not be equal"),
        ({"headers_key_separator": "\t"}, "headers.delimiter and headers.key.separator may not be equal"),
        ({"null_marker": "\t"}, "null.marker and key.separator may not be equal"),
        ({"null_marker": ":"}, "null.marker and headers.key.separator may not be equal"),
    ],
)
def test_separators_must_differ(properties, complaint):
    with pytest.raises(LineError, match=complaint):
        read(b"x", **properties)


# ---- and back

RECORD = ConsumedRecord(
    partition=3,
    offset=42,
    timestamp_ms=1700000000000,
    timestamp_type=0,
    leader_epoch=5,
    key=b"k",
    value=b"v",
    headers=(("a", b"1"), ("b", None)),
)


def written(record=RECORD, **properties):
    return LineFormatter.of({name.replace("_", "."): value for name, value in properties.items()}).write(record)


def test_a_value_alone_is_printed():
    assert written() == b"v\n"
    assert written(RECORD._replace(value=b"\xff\x00")) == b"\xff\x00\n"
    assert written(RECORD._replace(value=None)) == b"null\n"


def test_everything_is_printed_in_kafka_s_order():
    everything = {
        f"print_{what}": "true" for what in ("key", "headers", "epoch", "offset", "partition", "timestamp", "value")
    }
    assert written(**everything) == b"CreateTime:1700000000000\tPartition:3\tOffset:42\tEpoch:5\ta:1,b:null\tk\tv\n"


def test_missing_parts_of_a_record_are_printed_as_words():
    bare = RECORD._replace(timestamp_ms=-1, leader_epoch=-1, headers=(), key=None)
    line = written(bare, print_timestamp="true", print_epoch="true", print_headers="true", print_key="TRUE")
    assert line == b"NO_TIMESTAMP\tEpoch:NOT_PRESENT\tNO_HEADERS\tnull\tv\n"
    assert written(RECORD._replace(timestamp_type=1), print_timestamp="true") == b"LogAppendTime:1700000000000\tv\n"


def test_separators_and_literals_may_be_chosen():
    line = written(
        RECORD._replace(key=None),
        print_key="true",
        print_headers="true",
        print_value="false",
        key_separator=" | ",
        line_separator=";",
        headers_separator="+",
        null_literal="NIL",
    )
    assert line == b"a:1+b:NIL | NIL;"


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("org.apache.kafka.common.serialization.LongDeserializer", struct.pack(">q", -7), b"-7"),
        ("IntegerDeserializer", struct.pack(">i", 5), b"5"),
        ("ShortDeserializer", struct.pack(">h", 5), b"5"),
        ("DoubleDeserializer", struct.pack(">d", 1.5), b"1.5"),
        ("FloatDeserializer", struct.pack(">f", 0.1), b"0.1"),
        ("BooleanDeserializer", b"\1", b"true"),
        ("UUIDDeserializer", str(uuid.UUID(int=5)).encode(), str(uuid.UUID(int=5)).encode()),
        ("StringDeserializer", "é".encode(), "é".encode()),
        ("StringDeserializer", b"\xff", "\N{REPLACEMENT CHARACTER}".encode()),
        ("BytesDeserializer", b'hi\n\x01"z\\', rb'hi\x0A\x01"z\x5C'),
        ("ByteArrayDeserializer", b"\x01\xff", b"01ff"),
    ],
)
def test_deserializers_go_by_their_java_names(name, value, expected):
    assert written(RECORD._replace(value=value), value_deserializer=name) == expected + b"\n"


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        ("LongDeserializer", b"1", "Size of data received by LongDeserializer is not 8"),
        ("BooleanDeserializer", b"xx", "Size of data received by BooleanDeserializer is not 1"),
        ("BooleanDeserializer", b"\2", "Unexpected byte"),
        ("UUIDDeserializer", b"x", "Error parsing data into UUID"),
        ("VoidDeserializer", b"x", "Data should be null"),
    ],
)
def test_bytes_that_do_not_fit_a_deserializer_are_reported(name, value, complaint):
    with pytest.raises(LineError, match=complaint):
        written(RECORD._replace(value=value), value_deserializer=name)


def test_an_unknown_java_class_is_refused():
    with pytest.raises(
        LineError, match=r"com\.example\.Mine is a Java class that cannot be loaded here; supported are String"
    ):
        LineFormatter.of({"value.deserializer": "com.example.Mine"})


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (0.0, "0.0"),
        (-0.0, "-0.0"),
        (100.0, "100.0"),
        (1024.0, "1024.0"),
        (0.001, "0.001"),
        (0.0009, "9.0E-4"),
        (9999999.0, "9999999.0"),
        (1e7, "1.0E7"),
        (-1.25e-9, "-1.25E-9"),
        (1.7976931348623157e308, "1.7976931348623157E308"),
        (float("nan"), "NaN"),
        (float("-inf"), "-Infinity"),
    ],
)
def test_numbers_are_written_as_java_writes_them(number, expected):
    assert java_number(number, double=True) == expected


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_written_double_gives_the_number_back(number):
    assert float(java_number(number, double=True)) == number


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
@example(3.4028234663852886e38)
def test_a_written_float_gives_the_number_back(number):
    text = java_number(number, double=False)
    assert struct.pack(">f", float(text)) == struct.pack(">f", number)
    assert len(text.strip("-").partition("E")[0].replace(".", "").strip("0")) <= 9
