import pytest

from kwire.errors import ProtocolViolation
from kwire.wire import codec
from kwire.wire import messages as m
from kwire.wire.request_templates import START, records_between, reply_template, shape_of

TOPIC_ID = bytes(range(16))


def produce(*partitions, version=13, client_id="someone", **fields):
    """The frame of a produce request with these (index, records), its header and what it says."""
    request = m.ProduceRequest
    topic = request.TopicProduceData(
        name="" if version > 12 else "topic",
        topic_id=TOPIC_ID if version > 12 else bytes(16),
        partition_data=[request.PartitionProduceData(index=index, records=records) for index, records in partitions],
    )
    wanted = request(**{"acks": -1, "timeout_ms": 1000, "topic_data": [topic], **fields})
    frame = memoryview(codec.encode_request(0, version, 77, client_id, wanted))[4:]
    header = codec.read_header(frame)
    return frame, header, codec.decode_request(header, frame)


def shape(*partitions, **more):
    frame, header, request = produce(*partitions, **more)
    return shape_of(header, frame, request)


@pytest.mark.parametrize("version", [9, 11, 12, 13])
@pytest.mark.parametrize("client_id", [None, "", "someone"])
def test_requests_that_differ_in_correlation_id_and_records_have_one_shape(version, client_id):
    first = shape((3, b"records"), version=version, client_id=client_id)
    assert first == shape((3, b"others" * 100), version=version, client_id=client_id)


@pytest.mark.parametrize(
    "other",
    [
        lambda: shape((4, b"r")),
        lambda: shape((3, b"r"), acks=1),
        lambda: shape((3, b"r"), timeout_ms=999),
        lambda: shape((3, b"r"), client_id="another"),
        lambda: shape((3, b"r"), transactional_id="t"),
    ],
)
def test_requests_that_differ_in_anything_else_have_not(other):
    assert other() not in (None, shape((3, b"r")))


@pytest.mark.parametrize(
    ("partitions", "version"),
    [([(0, None)], 13), ([(0, b"")], 13), ([(0, b"a"), (1, b"b")], 13), ([], 13), ([(0, b"a")], 8)],
    ids=["null", "empty", "two", "none", "records with a length of four bytes"],
)
def test_a_frame_without_exactly_one_compact_records_field_has_no_shape(partitions, version):
    assert shape(*partitions, version=version) is None


def test_a_frame_in_other_bytes_than_ours_has_no_shape():
    frame, header, request = produce((0, b"records"))
    assert shape_of(header, memoryview(bytes(frame) + b"\0"), request) is None


@pytest.mark.parametrize("size", [1, 61, 126, 127, 128, 5_000, 16_382, 16_383, 16_384, 2_097_150, 2_097_151])
def test_records_lie_where_the_shape_says(size):
    frame, header, request = produce((0, b"r" * size))
    before, behind = shape_of(header, frame, request)
    assert records_between(frame, START.size + len(before), behind) == b"r" * size


@pytest.mark.parametrize("size", [61, 127, 20_000])
def test_no_records_where_the_frame_ends_otherwise(size):
    frame, header, request = produce((0, b"r" * size))
    before, behind = shape_of(header, frame, request)
    position = START.size + len(before)
    for other in (frame[:-1], memoryview(bytes(frame) + b"\0"), memoryview(bytes(frame[:-1]) + b"\1")):
        assert records_between(other, position, behind) is None


def test_an_invalid_length_is_refused():
    with pytest.raises(ProtocolViolation):
        records_between(memoryview(b"\xff" * 20), 0, b"\0\0\0")


def test_null_is_no_records():
    assert records_between(memoryview(bytes(8)), 0, bytes(8)) is None


def test_a_filled_template_is_what_the_encoder_makes():
    def reply(correlation_id, throttle_ms, index):
        response = m.ProduceResponse
        partition = response.PartitionProduceResponse(index=index)
        header = codec.RequestHeader(0, 9, correlation_id, None, 0)
        topic = response.TopicProduceResponse(name="topic", partition_responses=[partition])
        (encoded,) = codec.encode_response(header, response(responses=[topic], throttle_time_ms=throttle_ms))
        return encoded

    fill = reply_template(reply(1, 0x12345678, 5), "i", 0x12345678)
    assert fill(99, 7) == reply(99, 7, 5)
    assert fill(-1, 0) == reply(-1, 0, 5)
