"""Error codes in responses: for each API and version, in the items that a rule names."""

import pytest
from peer import all_apis

from kwire.errors import Code
from kwire.faults import placement
from kwire.faults.subjects import subjects
from kwire.wire import codec
from kwire.wire import messages as m

CODE = Code.KAFKA_STORAGE_ERROR
SERVED = [(api.key, version) for api in all_apis().values() for version in range(api.served[0], api.served[1] + 1)]
# No response of theirs has an error code at any level.
WITHOUT_ERRORS = set()
NOT_ITEM_BY_ITEM = {"AlterReplicaLogDirsRequest", "AlterUserScramCredentialsRequest"}


def no_ids(_id):
    return None


def everything(_subject):
    return True


def filled(message_class, version, struct=None):
    """A message with one element in each array."""
    message = message_class() if struct is None else getattr(message_class, struct.name)()
    for field in message_class.FIELDS if struct is None else struct.fields:
        if field.type == "array" and version in field.versions:
            element = {"string": "x", "uuid": b"0123456789abcdef"}.get(field.item, 0)
            if field.struct is not None:
                element = filled(message_class, version, field.struct)
            setattr(message, field.name, [element])
    return message


def error_codes(message):
    for field in message.FIELDS:
        value = getattr(message, field.name)
        if field.name in ("error_code", "partition_error_code"):
            yield value
        elif field.struct is not None and field.type == "array":
            for element in value or ():
                yield from error_codes(element)


@pytest.mark.parametrize(("key", "version"), SERVED)
def test_every_response_has_a_place_for_an_error_and_can_be_encoded_with_it(key, version):
    path = placement.level_named(key, version, None, partition=False)
    if path is None:
        assert codec.request_class(key).NAME in WITHOUT_ERRORS
        return
    if not path:
        response = placement.whole_error(key, version, CODE)
    elif placement.can_take(key, version, path):
        taken = placement.Taken(key, version, path)
        taken.take(filled(codec.request_class(key), version), everything, no_ids)
        response = codec.response_class(key)()
        taken.put(response, CODE)
    else:
        assert placement.only_reads(key) or codec.request_class(key).NAME in NOT_ITEM_BY_ITEM
        return
    header = codec.RequestHeader(key, version, 7, "client", 0)
    frame = b"".join(bytes(part) for part in codec.encode_response(header, response))
    _, decoded = codec.decode_response(key, version, memoryview(frame)[4:])
    assert CODE in set(error_codes(decoded))


def test_only_the_named_partition_is_refused_and_the_others_are_left_in_the_request():
    request = m.DeleteRecordsRequest(
        topics=[
            m.DeleteRecordsRequest.DeleteRecordsTopic(
                name=name,
                partitions=[m.DeleteRecordsRequest.DeleteRecordsPartition(partition_index=i, offset=5) for i in (0, 1)],
            )
            for name in ("a", "b")
        ]
    )
    path = placement.level_named(21, 2, None, partition=True)
    taken = placement.Taken(21, 2, path)
    taken.take(request, lambda subject: (subject.topic, subject.partition) == ("b", 1), no_ids)
    left = [(topic.name, each.partition_index) for topic in request.topics for each in topic.partitions]
    assert left == [("a", 0), ("a", 1), ("b", 0)]
    response = m.DeleteRecordsResponse(
        topics=[
            m.DeleteRecordsResponse.DeleteRecordsTopicResult(
                name=name,
                partitions=[
                    m.DeleteRecordsResponse.DeleteRecordsPartitionResult(partition_index=i, low_watermark=5)
                    for i in indexes
                ],
            )
            for name, indexes in (("b", [0]), ("a", [0, 1]))
        ]
    )
    taken.put(response, CODE)
    answers = {
        (topic.name, each.partition_index): (each.error_code, each.low_watermark)
        for topic in response.topics
        for each in topic.partitions
    }
    assert answers == {("a", 0): (0, 5), ("a", 1): (0, 5), ("b", 0): (0, 5), ("b", 1): (CODE, -1)}


def test_a_request_of_which_nothing_is_left_is_not_handled():
    request = m.DeleteGroupsRequest(groups_names=["one", "two"])
    taken = placement.Taken(42, 2, placement.level_named(42, 2, None, partition=False))
    taken.take(request, everything, no_ids)
    assert not taken.rest
    response = m.DeleteGroupsResponse()
    taken.put(response, CODE)
    assert [(each.group_id, each.error_code) for each in response.results] == [("one", CODE), ("two", CODE)]


def test_answers_without_a_key_keep_their_position():
    creation = m.CreateAclsRequest.AclCreation
    request = m.CreateAclsRequest(creations=[creation(resource_name=name) for name in ("a", "b", "c")])
    seen = iter([False, True, False])
    taken = placement.Taken(30, 3, placement.level_named(30, 3, None, partition=False))
    taken.take(request, lambda _subject: next(seen), no_ids)
    response = m.CreateAclsResponse(results=[m.CreateAclsResponse.AclCreationResult() for _ in range(2)])
    taken.put(response, CODE)
    assert [each.error_code for each in response.results] == [0, CODE, 0]


@pytest.mark.parametrize(
    ("key", "name", "level"),
    [
        (3, None, ("topics",)),
        (3, "partition", ("topics", "partitions")),
        (3, "request", ()),
        (1, "request", ()),
        (1, None, ("responses", "partitions")),
        (13, "member", ("members",)),
        (9, "group", ("groups",)),
        (9, "partition", ("groups", "topics", "partitions")),
        (0, "request", None),
        (0, "topic", None),
    ],
)
def test_a_level_is_found_by_its_name(key, name, level):
    highest = codec.response_class(key).VERSIONS.highest
    assert placement.level_named(key, highest, name, partition=False) == level


def test_an_error_of_a_partition_leaves_no_values_beside_it():
    partition = m.FetchResponse.PartitionData(
        partition_index=3, high_watermark=10, last_stable_offset=10, log_start_offset=1, records=b"batch"
    )
    topic = m.FetchResponse.FetchableTopicResponse(topic="a", partitions=[partition])
    response = m.FetchResponse(responses=[topic])
    chosen = placement.elements(
        response, ("responses", "partitions"), lambda subject: (subject.topic, subject.partition) == ("a", 3), no_ids
    )
    placement.overwrite(chosen, 12, Code.OFFSET_OUT_OF_RANGE)
    assert partition == m.FetchResponse.PartitionData(
        partition_index=3,
        error_code=Code.OFFSET_OUT_OF_RANGE,
        high_watermark=-1,
        last_stable_offset=-1,
        log_start_offset=-1,
        records=m.FetchResponse.PartitionData().records,
    )


@pytest.mark.parametrize(
    ("request_", "subject"),
    [
        (m.ProduceRequest(transactional_id="t"), (None, None, None, "t")),
        (m.HeartbeatRequest(group_id="g"), (None, None, "g", None)),
        (m.FindCoordinatorRequest(key_type=0, coordinator_keys=["g"]), (None, None, "g", None)),
        (m.FindCoordinatorRequest(key_type=1, key="t"), (None, None, None, "t")),
        (m.DeleteTopicsRequest(topic_names=["a"]), ("a", None, None, None)),
        (m.DescribeGroupsRequest(groups=["g"]), (None, None, "g", None)),
        (m.InitProducerIdRequest(transactional_id="t"), (None, None, None, "t")),
    ],
)
def test_what_a_request_is_about_is_found_by_field_names(request_, subject):
    assert subject in [tuple(each) for each in subjects(request_, no_ids)]
