"""The quick check of a batch's records agrees with reading them one by one."""

from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kwire.errors import KafkaError
from kwire.wire.batches import equal_records as runs
from kwire.wire.batches.batch import HEADER_BYTES, read_batch_header
from kwire.wire.batches.compression import Codec
from kwire.wire.batches.record_checks import begins_with_magic_of_codec, records_match_header
from kwire.wire.batches.records import Record, build_batch, scan_records, timestamp_of

NOW_MS = 1_700_000_000_000
ALL = 2**31

maybe_bytes = st.none() | st.binary(max_size=200)
records = st.lists(
    st.tuples(
        st.integers(0, 2**40),
        maybe_bytes,
        maybe_bytes,
        st.lists(st.tuples(st.text(max_size=5), maybe_bytes), max_size=3),
    ),
    min_size=1,
    max_size=5,
)


def parts_of(batch):
    return read_batch_header(batch), bytes(batch[HEADER_BYTES:])


def slow(header, payload):
    """The same question, answered by the reader that explains what is wrong."""
    try:
        spans = list(scan_records(header.record_count, payload))
    except KafkaError:
        return False
    in_order = [span.offset_delta for span in spans] == list(range(len(spans)))
    return in_order and max(timestamp_of(header, span) for span in spans) == header.max_timestamp


@given(records)
def test_every_batch_that_is_built_passes(entries):
    batch = build_batch(
        [Record(i, NOW_MS + at, key, value, tuple(headers)) for i, (at, key, value, headers) in enumerate(entries)]
    )
    assert records_match_header(*parts_of(batch), ALL)


@given(records, st.data())
def test_a_changed_byte_is_found_whenever_reading_finds_it(entries, data):
    header, payload = parts_of(
        build_batch(
            [Record(i, NOW_MS + at, key, value, tuple(headers)) for i, (at, key, value, headers) in enumerate(entries)]
        )
    )
    changed = bytearray(payload)
    for _ in range(data.draw(st.integers(1, 3))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    if records_match_header(header, bytes(changed), ALL):
        assert slow(header, bytes(changed))


@given(st.binary(max_size=60), st.integers(1, 5))
def test_the_quick_check_raises_for_no_payload(payload, count):
    header = read_batch_header(build_batch([Record(0, NOW_MS, None, None)]))._replace(record_count=count)
    records_match_header(header, payload, ALL)


@st.composite
def equal_records(draw):
    """Batches of records of one size, except for the few that are given another."""
    count = draw(st.integers(2, 300))
    sizes = [draw(st.sampled_from([0, 1, 62, 63, 100, 10_000]))] * count
    for _ in range(draw(st.integers(0, 2))):
        sizes[draw(st.integers(0, count - 1))] = draw(st.integers(0, 200))
    key = draw(st.none() | st.binary(max_size=70))
    step = draw(st.sampled_from([0, 1, 40, 1000, -1]))
    return build_batch(
        [Record(i, NOW_MS + i * step // 10, key, bytes(size), ()) for i, size in enumerate(sizes)],
    )


@given(equal_records())
def test_every_batch_of_equal_records_that_is_built_passes(batch):
    assert records_match_header(*parts_of(batch), ALL)


@given(equal_records(), st.data())
def test_a_run_of_equal_records_passes_exactly_when_its_records_pass_one_by_one(batch, data):
    header, payload = parts_of(batch)
    changed = bytearray(payload)
    for _ in range(data.draw(st.integers(1, 2))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.sampled_from([0, 1, 2, 127, 128, 255]))
    passed = records_match_header(header, bytes(changed), ALL)
    with patch("kwire.wire.batches.record_checks._RUN_MIN", ALL):
        assert records_match_header(header, bytes(changed), ALL) == passed


@pytest.mark.parametrize("size", [100, 10_000])
def test_a_run_of_equal_records_is_not_read_one_by_one(monkeypatch, size):
    batch = build_batch([Record(i, NOW_MS + i // 40, None, bytes(size), ()) for i in range(64)])
    walked = []

    def walk(_payload, position, first, behind, earliest, latest):
        walked.extend(range(first, behind))
        return position, earliest, latest

    monkeypatch.setattr("kwire.wire.batches.record_checks._walk", walk)
    assert records_match_header(*parts_of(batch), ALL)
    assert walked == []


def test_the_work_to_find_runs_grows_with_the_records_alone(monkeypatch):
    """Of 8000 records of one size, only the last one is older than the first: it ends each run that would have it."""
    count, tried, find = 8000, 0, runs.equal_records

    def counted(payload, position, index, behind, run_min):
        nonlocal tried
        tried += behind - index
        return find(payload, position, index, behind, run_min)

    monkeypatch.setattr(runs, "equal_records", counted)
    batch = build_batch([Record(i, NOW_MS - (i == count - 1), b"k", bytes(100)) for i in range(count)])
    assert records_match_header(*parts_of(batch), ALL)
    assert count <= tried <= 8 * count


@pytest.mark.parametrize("last", [62, 8000])
@pytest.mark.parametrize("place", [-1, 5, 63, 64, 65, 7999])
def test_an_offset_out_of_sequence_in_a_run_of_equal_records_is_found(last, place):
    entries = [Record(i + (i == place), NOW_MS, b"k", bytes(100)) for i in range(last + 1)]
    assert records_match_header(*parts_of(build_batch(entries)), ALL) == (not 0 <= place <= last)


def one(**more):
    return parts_of(build_batch([Record(i, NOW_MS + i, b"k", b"v" * 300) for i in range(3)], **more))


@pytest.mark.parametrize("cut", [1, 5, 300])
def test_missing_bytes_are_found(cut):
    header, payload = one()
    assert not records_match_header(header, payload[:-cut], ALL)


def test_bytes_behind_the_last_record_are_found():
    header, payload = one()
    assert not records_match_header(header, payload + b"\x00", ALL)


@pytest.mark.parametrize("count", [1, 2, 4])
def test_another_record_count_is_found(count):
    header, payload = one()
    assert not records_match_header(header._replace(record_count=count), payload, ALL)


@pytest.mark.parametrize("off_by", [-1, 1])
def test_another_max_timestamp_is_found(off_by):
    header, payload = one()
    assert not records_match_header(header._replace(max_timestamp=header.max_timestamp + off_by), payload, ALL)


def test_an_offset_out_of_sequence_is_found():
    batch = build_batch([Record(0, NOW_MS, b"k", b"v"), Record(2, NOW_MS, b"k", b"v")])
    assert not records_match_header(*parts_of(batch), ALL)


def test_records_behind_the_last_that_is_looked_at_are_not_read():
    header, payload = one()
    assert records_match_header(header, payload[:-1] + b"\x07", 2)
    assert not records_match_header(header, payload[:-1] + b"\x07", 3)
    assert not records_match_header(header, b"\x01" + payload[1:], 2)


@pytest.mark.parametrize("codec", list(Codec))
def test_a_batch_begins_as_its_codec(codec):
    batch = build_batch([Record(0, NOW_MS, b"k", b"v")], codec=codec)
    header = read_batch_header(batch)
    assert begins_with_magic_of_codec(batch, header)
    other = batch[:HEADER_BYTES] + b"\x55" + batch[HEADER_BYTES + 1 :]
    assert begins_with_magic_of_codec(other, header) is (codec in (Codec.NONE, Codec.SNAPPY))
