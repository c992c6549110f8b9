"""Which Produce requests are decoded in a thread."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kwire.limits import DECODE_INLINE_PARTITIONS_MAX
from kwire.wire import codec
from kwire.wire import messages as m
from kwire.wire.decoding_cost import decodes_slowly

VERSIONS = range(3, 14)
BATCH = bytes(range(256))


def produce(version, counts, records=BATCH, transactional_id=None):
    """A Produce request with a topic for each of these numbers of partitions: its header and frame."""
    request = m.ProduceRequest
    topics = [
        request.TopicProduceData(
            name="" if version >= 13 else f"topic-{number}",
            topic_id=number.to_bytes(16, "big") if version >= 13 else bytes(16),
            partition_data=[request.PartitionProduceData(index=index, records=records) for index in range(count)],
        )
        for number, count in enumerate(counts)
    ]
    wanted = request(acks=-1, timeout_ms=1000, topic_data=topics, transactional_id=transactional_id)
    frame = memoryview(codec.encode_request(0, version, 7, "client", wanted))[4:]
    return codec.read_header(frame), frame


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("records", [BATCH, b"", None], ids=["records", "empty", "null"])
@pytest.mark.parametrize(
    ("counts", "is_slow"),
    [
        ([], False),
        ([1], False),
        ([DECODE_INLINE_PARTITIONS_MAX], False),
        ([DECODE_INLINE_PARTITIONS_MAX + 1], True),
        ([300, 300], True),
        ([300, 100, 100], False),
        ([1] * DECODE_INLINE_PARTITIONS_MAX, False),
        ([0] * (DECODE_INLINE_PARTITIONS_MAX + 1), True),
    ],
)
def test_a_produce_request_is_slow_to_decode_by_its_number_of_partitions(version, records, counts, is_slow):
    header, frame = produce(version, counts, records, "transactional" if len(counts) > 1 else None)
    assert decodes_slowly(header, frame) is is_slow


def test_any_other_large_request_is_slow_to_decode():
    frame = memoryview(codec.encode_request(16, 0, 7, "client", m.ListGroupsRequest()))[4:]
    assert decodes_slowly(codec.read_header(frame), frame)


@given(st.sampled_from(VERSIONS), st.binary(max_size=200))
def test_bytes_that_are_no_request_are_left_to_the_decoder(version, garbage):
    frame = memoryview((0).to_bytes(2, "big") + version.to_bytes(2, "big") + bytes(4) + b"\xff\xff" + b"\x00" + garbage)
    assert decodes_slowly(codec.read_header(frame), frame) in (True, False)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_request_that_ends_too_early_is_left_to_the_decoder(version):
    header, frame = produce(version, [2, 2])
    for end in range(header.body_position, len(frame)):
        assert decodes_slowly(header, frame[:end]) is False
