import struct

import pytest
from crc32c import crc32c
from hypothesis import given
from hypothesis import strategies as st

from kwire.errors import Code, KafkaError
from kwire.wire.batches.batch import (
    CONTROL,
    HEADER_BYTES,
    LOG_APPEND_TIME,
    TRANSACTIONAL,
    BatchHeader,
    EndMarker,
    check_batch,
    is_valid_batch,
    read_batch_header,
    read_end_marker,
    read_only_batch,
    stamp,
    with_log_append_time,
)
from kwire.wire.batches.records import Record, build_batch

LAYOUT = ">qiibIhiqqqhii"


def raw_batch(
    body=b"records", *, base_offset=0, magic=2, attributes=0, delta=0, count=1, crc=None, length=None, **rest
):
    """A batch with any header; the CRC is right unless given."""
    tail = struct.pack(
        ">hiqqqhii",
        attributes,
        delta,
        rest.get("base_timestamp", 1000),
        rest.get("max_timestamp", 2000),
        rest.get("producer_id", -1),
        rest.get("producer_epoch", -1),
        rest.get("base_sequence", -1),
        count,
    )
    tail += body
    head = struct.pack(">qiibI", base_offset, len(tail) + 9 if length is None else length, -1, magic, 0)
    crc = crc32c(tail) if crc is None else crc
    return head[:17] + crc.to_bytes(4, "big") + tail


def refusal(content):
    with pytest.raises(KafkaError) as refused:
        sent_batch(content)
    return refused.value.code


def sent_batch(content):
    """The header of the batch that a client sent, if it is taken."""
    view = memoryview(content)
    header = read_only_batch(view)
    check_batch(view[: header.size_bytes], header)
    return header


def test_header_fields_are_read_in_the_order_of_the_bytes():
    values = (5, 70, 3, 2, 0xFFFFFFFF, 0x38, 4, 10, 20, 9, 2, 6, 5)
    header = read_batch_header(struct.pack(LAYOUT, *values))
    assert header == BatchHeader(*values)
    assert header.size_bytes == 82
    assert header.last_offset == 9
    assert header.next_offset == 10
    assert header.is_transactional
    assert header.is_control
    assert header.is_log_append_time
    assert header.codec == 0
    assert header.last_sequence == 10
    assert header.delete_horizon_ms is None


def test_header_is_read_at_a_position():
    one, two = raw_batch(b"one"), raw_batch(b"other", producer_id=7)
    assert read_batch_header(memoryview(one + two), len(one)).producer_id == 7


def test_delete_horizon_is_the_base_timestamp_of_a_batch_that_says_so():
    assert read_batch_header(raw_batch(attributes=0x40, base_timestamp=77)).delete_horizon_ms == 77


def test_sequences_wrap_after_the_largest_int32():
    header = read_batch_header(raw_batch(delta=2, count=3, base_sequence=2**31 - 2))
    assert header.last_sequence == 0


def test_a_batch_without_sequence_has_no_last_sequence():
    assert read_batch_header(raw_batch(delta=2, count=3)).last_sequence == -1


def test_a_header_that_is_cut_off_is_corrupt():
    with pytest.raises(KafkaError, match="CORRUPT_MESSAGE"):
        read_batch_header(raw_batch()[: HEADER_BYTES - 1])


def test_a_second_whole_batch_is_an_invalid_record():
    assert refusal(raw_batch(b"one") + raw_batch(b"two", delta=4, count=5)) is Code.INVALID_RECORD


def test_batches_of_our_own_encoder_pass():
    content = build_batch([Record(0, 1, b"k", b"v", ())])
    assert sent_batch(content).record_count == 1


def test_nothing_is_an_invalid_record():
    assert refusal(b"") is Code.INVALID_RECORD


def test_a_single_batch_that_is_cut_off_is_an_invalid_record():
    assert refusal(raw_batch()[:-1]) is Code.INVALID_RECORD


def test_a_partial_batch_behind_a_whole_one_is_left_out():
    whole = raw_batch()
    assert sent_batch(whole + whole[:-1]) == sent_batch(whole)
    assert sent_batch(whole + whole[:5]) == sent_batch(whole)


@pytest.mark.parametrize("length", [-1, 0, 13, -(2**31)])
def test_an_impossible_length_is_corrupt(length):
    assert refusal(raw_batch(length=length)) is Code.CORRUPT_MESSAGE


def test_a_batch_shorter_than_its_header_is_corrupt():
    assert refusal(raw_batch()[:50]) is Code.INVALID_RECORD
    short = raw_batch(length=30)
    assert refusal(short[:42]) is Code.CORRUPT_MESSAGE


@pytest.mark.parametrize("magic", [0, 1])
def test_old_magics_are_invalid_records(magic):
    assert refusal(raw_batch(magic=magic)) is Code.INVALID_RECORD


@pytest.mark.parametrize("magic", [3, 127, -1, -128])
def test_unknown_magics_are_corrupt(magic):
    assert refusal(raw_batch(magic=magic)) is Code.CORRUPT_MESSAGE


def test_a_wrong_crc_is_corrupt():
    assert refusal(raw_batch(crc=1)) is Code.CORRUPT_MESSAGE


@given(st.data())
def test_a_flipped_bit_behind_the_stamp_is_never_taken(data):
    content = bytearray(raw_batch(bytes(40)))
    position = data.draw(st.integers(16, len(content) - 1))
    content[position] ^= 1 << data.draw(st.integers(0, 7))
    assert refusal(bytes(content)) in {Code.CORRUPT_MESSAGE, Code.INVALID_RECORD}


@pytest.mark.parametrize(("count", "delta"), [(0, -1), (0, 0), (-1, 0), (2, 0), (1, 1), (5, 2**31 - 1)])
def test_a_count_that_disagrees_with_the_offsets_is_an_invalid_record(count, delta):
    assert refusal(raw_batch(count=count, delta=delta)) is Code.INVALID_RECORD


def test_a_base_offset_other_than_zero_is_an_invalid_record():
    assert refusal(raw_batch(base_offset=1)) is Code.INVALID_RECORD


def test_a_control_batch_of_a_client_is_an_invalid_record():
    assert refusal(raw_batch(attributes=CONTROL)) is Code.INVALID_RECORD


def test_a_stamp_does_not_touch_what_the_crc_covers():
    content = raw_batch()
    header = read_batch_header(content)
    stamped = stamp(99, header.length, 7) + content[16:]
    after = read_batch_header(stamped)
    assert (after.base_offset, after.leader_epoch, after.length) == (99, 7, header.length)
    assert is_valid_batch(stamped, 0, after)


def test_log_append_time_sets_the_time_and_a_crc_that_fits():
    one = raw_batch(b"first")
    content = one + raw_batch(b"second", attributes=0x780 | TRANSACTIONAL | 4, base_timestamp=5)
    header = read_batch_header(content, len(one))
    head = with_log_append_time(content, len(one), header, 123_456)
    rewritten = content[len(one) : len(one) + 16] + head + content[len(one) + HEADER_BYTES :]
    after = read_batch_header(rewritten)
    assert is_valid_batch(rewritten, 0, after)
    assert after.max_timestamp == 123_456
    assert after.attributes == TRANSACTIONAL | 4 | LOG_APPEND_TIME
    assert after._replace(crc=0, attributes=0, max_timestamp=0) == header._replace(crc=0, attributes=0, max_timestamp=0)


def control_batch(key, value):
    return build_batch(
        [Record(0, 1, key, value, ())], producer_id=1, producer_epoch=0, transactional=True, control=True
    )


@pytest.mark.parametrize(("kind", "committed"), [(0, False), (1, True)])
def test_an_end_marker_has_the_outcome_and_the_coordinator(kind, committed):
    content = control_batch(struct.pack(">hh", 0, kind), struct.pack(">hi", 0, 12))
    assert read_end_marker(content) == EndMarker(committed, 12)
    assert read_end_marker(bytes(10) + content, 10) == EndMarker(committed, 12)


def test_other_control_records_are_no_end_markers():
    assert read_end_marker(control_batch(struct.pack(">hh", 0, 2), struct.pack(">hi", 0, 12))) is None


def test_an_emptied_control_batch_is_no_end_marker():
    assert read_end_marker(raw_batch(b"", attributes=CONTROL, count=0)) is None


@pytest.mark.parametrize("magic", [0, 1, 3])
def test_a_batch_of_another_magic_is_not_valid_whatever_its_crc(magic):
    content = raw_batch(magic=magic)
    assert not is_valid_batch(content, 0, read_batch_header(content))


def test_a_batch_shorter_than_its_header_is_not_valid():
    content = raw_batch(length=HEADER_BYTES - 13)
    assert not is_valid_batch(content, 0, read_batch_header(content))


def test_a_number_without_end_in_a_control_record_is_corrupt():
    content = raw_batch(b"\xff" * 40, attributes=CONTROL)
    with pytest.raises(KafkaError) as refused:
        read_end_marker(content)
    assert refused.value.code is Code.CORRUPT_MESSAGE
