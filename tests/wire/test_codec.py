"""Headers, frames and parts: the interface between bytes and messages."""

import pytest

from kwire.errors import ProtocolViolation, UnsupportedVersion
from kwire.wire import codec
from kwire.wire.codec import EncodingError, RequestHeader
from kwire.wire.messages import (
    ApiVersionsRequest,
    ApiVersionsResponse,
    BrokerHeartbeatRequest,
    ConsumerGroupMemberMetadataValue,
    CreateTopicsRequest,
    FetchRequest,
    FetchResponse,
    FetchSnapshotResponse,
    MetadataRequest,
    MetadataResponse,
    OffsetCommitValue,
    OffsetDeleteRequest,
    OffsetDeleteResponse,
    PartitionRecord,
    ProduceRequest,
    ProduceResponse,
    SaslHandshakeRequest,
    TopicRecord,
)


class Slice:
    """Something with a length that no codec may look into."""

    def __init__(self, size):
        self.size = size

    def __len__(self):
        return self.size


def header(cls, version, correlation_id=7):
    return RequestHeader(cls.KEY, version, correlation_id, None, 0)


def joined(parts):
    return b"".join(parts)


def request_frame(body, version, client_id="kcat"):
    """A request's frame without its size, as the server gets it."""
    frame = codec.encode_request(body.KEY, version, 7, client_id, body)
    assert int.from_bytes(frame[:4], "big") == len(frame) - 4
    return memoryview(frame)[4:]


# Request headers


@pytest.mark.parametrize("client_id", [None, "", "kcat", "é✓😀"])
@pytest.mark.parametrize(("body", "version"), [(FetchRequest(), 4), (FetchRequest(), 12), (SaslHandshakeRequest(), 1)])
def test_request_frame_is_read_back(body, version, client_id):
    frame = request_frame(body, version, client_id)
    head = codec.read_header(frame)
    assert head[:4] == (body.KEY, version, 7, client_id)
    assert codec.decode_request(head, frame) == body


def test_client_id_of_a_flexible_header_stays_a_plain_string():
    frame = request_frame(MetadataRequest(), 12)
    assert frame[:15] == b"\0\x03\0\x0c\0\0\0\x07\0\4kcat\0"
    assert codec.read_header(frame).body_position == 15


def test_unknown_tags_in_a_header_are_passed_over():
    plain = request_frame(MetadataRequest(), 12)
    tagged = memoryview(bytes(plain[:14]) + b"\2\0\3abc\x81\1\0" + bytes(plain[15:]))
    head = codec.read_header(tagged)
    assert codec.decode_request(head, tagged) == MetadataRequest()


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"\0\x12\0\0\0\0\0\1\0",
        b"\0\x12\0\0\0\0\0\1\0\5kcat",
        b"\0\x12\0\0\0\0\0\1\xff\xfe",
        b"\0\x12\0\3\0\0\0\1\xff\xff",
        b"\0\x12\0\3\0\0\0\1\xff\xff\1",
        b"\0\x12\0\3\0\0\0\1\xff\xff\1\0\5abc",
        b"\0\x12\0\3\0\0\0\1\xff\xff\xff\xff\xff\xff\x0f",
    ],
)
def test_a_broken_header_is_a_protocol_violation(frame):
    with pytest.raises(ProtocolViolation):
        codec.read_header(memoryview(frame))


@pytest.mark.parametrize("key", [-1, 4, 7, max(codec.api_keys()) + 1, 32767])
def test_an_api_without_schema_is_unsupported(key):
    frame = key.to_bytes(2, "big", signed=True) + b"\0\0\0\0\0\1\xff\xff"
    with pytest.raises(UnsupportedVersion, match=f"no API has key {key}"):
        codec.read_header(memoryview(frame))


@pytest.mark.parametrize(("cls", "version"), [(ProduceRequest, 2), (ProduceRequest, 14), (ApiVersionsRequest, 6)])
def test_a_version_without_schema_passes_the_header_and_stops_at_the_body(cls, version):
    flexible = version >= cls.FLEXIBLE_FROM
    frame = memoryview(
        cls.KEY.to_bytes(2, "big") + version.to_bytes(2, "big") + b"\0\0\0\7\0\4kcat" + b"\0" * flexible + b"?"
    )
    head = codec.read_header(frame)
    assert (head.correlation_id, head.client_id, head.body_position) == (7, "kcat", len(frame) - 1)
    with pytest.raises(UnsupportedVersion, match=f"{cls.NAME} has no version {version}") as refusal:
        codec.decode_request(head, frame)
    assert (refusal.value.api_key, refusal.value.api_version) == (cls.KEY, version)


def test_bytes_behind_a_request_are_passed_over_as_kafka_does():
    # Sent by librdkafka 2 for the metadata of all topics: three bytes that belong to no field.
    frame = memoryview(bytes.fromhex("0003000d00000003000772646b61666b610000000000010000"))
    head = codec.read_header(frame)
    expected = MetadataRequest(topics=None, allow_auto_topic_creation=False)
    assert codec.decode_request(head, frame) == expected
    assert codec.decode(MetadataRequest, 13, frame[head.body_position :], exact=False) == expected
    with pytest.raises(ProtocolViolation, match="3 bytes too many"):
        codec.decode(MetadataRequest, 13, frame[head.body_position :])


# Response headers


def test_flexible_responses_have_a_flexible_header():
    assert joined(codec.encode_response(header(MetadataResponse, 8), MetadataResponse()))[4:8] == b"\0\0\0\7"
    plain = codec.encode(MetadataResponse(), 12)
    assert joined(codec.encode_response(header(MetadataResponse, 12), MetadataResponse()))[4:] == b"\0\0\0\7\0" + plain


@pytest.mark.parametrize("version", range(5))
def test_api_versions_keeps_the_oldest_response_header(version):
    body = ApiVersionsResponse(api_keys=[ApiVersionsResponse.ApiVersion(api_key=18, max_version=4)])
    frame = joined(codec.encode_response(header(ApiVersionsResponse, version), body))
    assert frame[4:] == b"\0\0\0\7" + codec.encode(body, version)
    assert codec.decode_response(18, version, memoryview(frame)[4:]) == (7, body)


def test_offset_delete_is_never_flexible():
    assert joined(codec.encode_response(header(OffsetDeleteResponse, 0), OffsetDeleteResponse())) == (
        b"\0\0\0\x0e\0\0\0\7" + bytes(10)
    )
    assert request_frame(OffsetDeleteRequest(group_id="g"), 0)[14:] == b"\0\1g\0\0\0\0"


def test_negative_correlation_ids_survive():
    frame = joined(codec.encode_response(header(MetadataResponse, 12, -5), MetadataResponse()))
    assert codec.decode_response(3, 12, memoryview(frame)[4:])[0] == -5


@pytest.mark.parametrize("frame", [b"", b"\0\0\0", b"\0\0\0\7", b"\0\0\0\7\1", b"\0\0\0\7\0"])
def test_a_broken_response_is_a_protocol_violation(frame):
    with pytest.raises(ProtocolViolation):
        codec.decode_response(3, 12, memoryview(frame))


# Records are borrowed


def fetched(*records):
    partitions = [
        FetchResponse.PartitionData(partition_index=index, records=value) for index, value in enumerate(records)
    ]
    return FetchResponse(responses=[FetchResponse.FetchableTopicResponse(topic="t", partitions=partitions)])


@pytest.mark.parametrize("version", [4, 11, 12])
def test_records_are_parts_of_their_own_and_the_very_objects(version):
    view, text = memoryview(b"abc"), b"defg"
    parts = codec.encode_response(header(FetchResponse, version), fetched(view, text))
    assert len(parts) == (5 if version == 12 else 4)  # only the flexible version has tags behind the last records
    assert parts[1] is view
    assert parts[3] is text
    assert (
        joined(parts)[4:] == joined(codec.encode_response(header(FetchResponse, version), fetched(b"abc", b"defg")))[4:]
    )
    assert int.from_bytes(parts[0][:4], "big") == sum(map(len, parts)) - 4
    assert codec.decode_response(1, version, memoryview(joined(parts))[4:]) == (7, fetched(b"abc", b"defg"))


def test_only_the_length_of_a_slice_is_looked_at():
    tail, head = Slice(5_000_000_000 // 4), Slice(3)
    parts = codec.encode_response(header(FetchResponse, 12), fetched([head, tail]))
    assert parts[1] is head
    assert parts[2] is tail
    assert int.from_bytes(parts[0][:4], "big") == sum(map(len, parts)) - 4


def test_records_of_no_bytes_make_no_part():
    for nothing in (b"", [], Slice(0)):
        (part,) = codec.encode_response(header(FetchResponse, 12), fetched(nothing))
        assert codec.decode_response(1, 12, memoryview(part)[4:])[1] == fetched(b"")
    (part,) = codec.encode_response(header(FetchResponse, 12), fetched(None))
    assert codec.decode_response(1, 12, memoryview(part)[4:])[1] == fetched(None)


def test_bytes_behind_the_last_records_are_the_last_part():
    parts = codec.encode_response(header(FetchResponse, 12), fetched(b"abc"))
    assert parts[2] == b"\0\0\0"  # tags of partition, topic and response
    assert len(codec.encode_response(header(FetchResponse, 11), fetched(b"abc"))) == 2


@pytest.mark.parametrize("frame_type", [bytes, bytearray, memoryview])
def test_decoded_records_are_a_view_of_the_frame(frame_type):
    partition = ProduceRequest.PartitionProduceData(records=memoryview(b"batch"))
    topic = ProduceRequest.TopicProduceData(name="t", partition_data=[partition])
    encoded = codec.encode(ProduceRequest(topic_data=[topic]), 9)
    frame = frame_type(encoded)
    records = codec.decode(ProduceRequest, 9, frame).topic_data[0].partition_data[0].records
    assert records == b"batch"
    assert isinstance(records, memoryview)
    assert records.obj is (encoded if frame_type is memoryview else frame)


def test_messages_without_records_hold_nothing_of_the_frame():
    frame = bytearray(codec.encode(SaslHandshakeRequest(mechanism="PLAIN"), 1))
    message = codec.decode(SaslHandshakeRequest, 1, memoryview(frame))
    frame += b"a buffer that a view still points into could not grow"
    assert message.mechanism == "PLAIN"


# What a version has no place for


def test_a_value_that_the_version_lacks_is_refused():
    request = FetchRequest(
        topics=[FetchRequest.FetchTopic(partitions=[FetchRequest.FetchPartition(last_fetched_epoch=3)])]
    )
    assert codec.decode(FetchRequest, 12, codec.encode(request, 12)) == request
    with pytest.raises(
        EncodingError, match="FetchRequest v11: this version has no field last_fetched_epoch, which is 3"
    ):
        codec.encode(request, 11)


def test_an_ignorable_value_that_the_version_lacks_is_dropped():
    assert codec.decode(FetchRequest, 4, codec.encode(FetchRequest(session_id=5, rack_id="r"), 4)) == FetchRequest()


def test_a_struct_that_the_version_lacks_is_refused_unless_it_is_default():
    request = FetchRequest()
    codec.encode(request, 14)
    request.replica_state.replica_epoch = 1
    with pytest.raises(EncodingError, match="replica_state"):
        codec.encode(request, 14)


def test_an_unknown_version_is_refused():
    with pytest.raises(EncodingError, match="TopicRecord has no version 1"):
        codec.encode(TopicRecord(), 1)
    with pytest.raises(ProtocolViolation, match="TopicRecord has no version 1"):
        codec.decode(TopicRecord, 1, b"")
    with pytest.raises(UnsupportedVersion):
        codec.encode_response(header(MetadataResponse, 14), MetadataResponse())
    with pytest.raises(UnsupportedVersion):
        codec.encode_request(3, 14, 1, None, MetadataRequest())
    with pytest.raises(UnsupportedVersion):
        codec.decode_response(3, 14, memoryview(b"\0\0\0\1\0"))


@pytest.mark.parametrize(
    ("message", "version"),
    [
        (MetadataRequest(topics=None), 0),
        (TopicRecord(name=None), 0),
        (TopicRecord(name="\ud800"), 0),
        (TopicRecord(name="x" * 32768), 0),
        (TopicRecord(topic_id=b"short"), 0),
        (TopicRecord(topic_id=bytes(17)), 0),
        (PartitionRecord(leader=2**31), 0),
        (PartitionRecord(replicas=[2**31]), 0),
        (PartitionRecord(replicas=None), 0),
        (BrokerHeartbeatRequest(offline_log_dirs=None), 1),
        (FetchRequest(replica_state=None), 15),
        (FetchSnapshotResponse(topics=[None]), 0),
        (OffsetCommitValue(offset="5"), 4),
    ],
)
def test_a_value_that_is_no_value_of_its_field_is_refused(message, version):
    with pytest.raises(EncodingError, match=f"^{message.NAME} v{version}: "):
        codec.encode(message, version)


# Tagged fields


def test_tagged_fields_at_their_default_are_left_out():
    # librdkafka 2.8-2.16 dies of a CurrentLeader of zeros, so "left out" must mean left out.
    response = ProduceResponse(
        responses=[
            ProduceResponse.TopicProduceResponse(
                name="t", partition_responses=[ProduceResponse.PartitionProduceResponse()]
            )
        ]
    )
    assert codec.encode(response, 10).endswith(
        b"\1\0\0\0" + bytes(4) + b"\0"
    )  # no record errors, no text, three times no tags


def test_one_tagged_field_of_several_is_written_alone():
    partition = FetchResponse.PartitionData(current_leader=FetchResponse.LeaderIdAndEpoch(leader_id=1, leader_epoch=2))
    response = FetchResponse(responses=[FetchResponse.FetchableTopicResponse(topic="t", partitions=[partition])])
    encoded = codec.encode(response, 12)
    assert encoded.endswith(b"\1\1\x09\0\0\0\1\0\0\0\2\0" + b"\0\0")
    assert codec.decode(FetchResponse, 12, encoded) == response


def test_tagged_fields_are_written_in_the_order_of_their_tags():
    response = ApiVersionsResponse(
        finalized_features=[ApiVersionsResponse.FinalizedFeatureKey(name="f")], finalized_features_epoch=1
    )
    encoded = codec.encode(response, 3)
    assert encoded[7:] == b"\2" + b"\1\x08" + (1).to_bytes(8, "big") + b"\2\x08\2\2f\0\0\0\0\0"
    assert codec.decode(ApiVersionsResponse, 3, encoded) == response


def test_null_of_a_tagged_struct_is_written_where_null_is_not_the_default():
    value = ConsumerGroupMemberMetadataValue(classic_member_metadata=None)
    encoded = codec.encode(value, 0)
    assert encoded.endswith(b"\1\0\1\0")
    assert codec.decode(ConsumerGroupMemberMetadataValue, 0, encoded) == value


def test_tags_in_any_order_and_unknown_ones_are_read():
    plain = codec.encode(ApiVersionsResponse(), 3)
    assert plain[-1] == 0
    epoch = b"\1\x08" + (9).to_bytes(8, "big")
    encoded = plain[:-1] + b"\3" + b"\x81\1\2??" + epoch + b"\0\1\1"
    assert codec.decode(ApiVersionsResponse, 3, encoded) == ApiVersionsResponse(finalized_features_epoch=9)


# Large and long


@pytest.mark.parametrize("version", [1, 8, 9, 13])
def test_metadata_of_a_thousand_topics_is_read_back(version):
    partition = MetadataResponse.MetadataResponsePartition(leader_id=1, replica_nodes=[1], isr_nodes=[1])
    topics = [
        MetadataResponse.MetadataResponseTopic(name=f"topic-{number}", partitions=[partition]) for number in range(1000)
    ]
    response = MetadataResponse(topics=topics, controller_id=1)
    frame = joined(codec.encode_response(header(MetadataResponse, version), response))
    assert codec.decode_response(3, version, memoryview(frame)[4:]) == (7, response)


@pytest.mark.parametrize("version", [2, 5])
@pytest.mark.parametrize("count", [0, 1, 8, 9, 126, 127, 128, 5000])
def test_arrays_of_numbers_of_every_length_are_read_back(version, count):
    assignment = CreateTopicsRequest.CreatableReplicaAssignment(broker_ids=list(range(count)))
    request = CreateTopicsRequest(topics=[CreateTopicsRequest.CreatableTopic(name="t", assignments=[assignment])])
    assert codec.decode(CreateTopicsRequest, version, codec.encode(request, version)) == request


# Which class


def test_classes_are_found_by_key_and_record_type():
    assert codec.request_class(1) is FetchRequest
    assert codec.response_class(1) is FetchResponse
    assert codec.metadata_class(2) is TopicRecord
    assert codec.metadata_class(6) is None
    key, value = codec.coordinator_classes("group", 1)
    assert (key.NAME, value.NAME) == ("OffsetCommitKey", "OffsetCommitValue")
    assert [cls.NAME for cls in codec.coordinator_classes("share", 0)] == ["ShareSnapshotKey", "ShareSnapshotValue"]
    assert codec.coordinator_classes("transaction", 1) is None
    assert len(codec.api_keys()) == 91


def test_json_form_refuses_what_the_version_does_not_have():
    with pytest.raises(ValueError, match="FetchRequest v4 has no sessionId"):
        codec.from_json(FetchRequest, 4, {"sessionId": 1})
    with pytest.raises(EncodingError, match="this version has no last_fetched_epoch, which is 3"):
        codec.to_json(
            FetchRequest(
                topics=[FetchRequest.FetchTopic(partitions=[FetchRequest.FetchPartition(last_fetched_epoch=3)])]
            ),
            4,
        )


def test_a_client_id_may_be_in_any_encoding():
    header = codec.read_header(memoryview(b"\0\x12\0\0\0\0\0\1\0\4caf\xe9"))
    assert header.client_id == "caf\ufffd"
