"""Requests that list a thing twice or list nothing of it: the answers that Apache Kafka gave to the same requests."""

import pytest
from test_produce_and_fetch import produce, records_of

from kwire.errors import Code
from kwire.wire import messages as m

UNKNOWN = Code.UNKNOWN_TOPIC_OR_PARTITION


def commit_topics(topic_class, partition_class, topics):
    return [
        topic_class(
            name=name, partitions=[partition_class(partition_index=index, committed_offset=1) for index in indexes]
        )
        for name, indexes in topics
    ]


async def commit(client, version, topics):
    request = m.OffsetCommitRequest
    named = commit_topics(request.OffsetCommitRequestTopic, request.OffsetCommitRequestPartition, topics)
    return await client.call(version, request(group_id="g", topics=named))


async def commit_in_transaction(client, version, topics):
    init = m.InitProducerIdRequest(transactional_id="t", transaction_timeout_ms=1000, producer_id=-1, producer_epoch=-1)
    producer = await client.call(5, init)
    request = m.TxnOffsetCommitRequest
    return await client.call(
        version,
        request(
            transactional_id="t",
            group_id="g",
            producer_id=producer.producer_id,
            producer_epoch=producer.producer_epoch,
            topics=commit_topics(request.TxnOffsetCommitRequestTopic, request.TxnOffsetCommitRequestPartition, topics),
        ),
    )


@pytest.mark.parametrize(("call", "version"), [(commit, 9), (commit, 2), (commit_in_transaction, 5)])
@pytest.mark.parametrize(
    ("topics", "answered"),
    [
        ([], []),
        ([("t", [])], []),
        ([("t", [0]), ("u", [])], [("t", [(0, 0)])]),
        ([("t", [0]), ("t", [1])], [("t", [(0, 0)]), ("t", [(1, 0)])]),
        ([("t", [0, 0])], [("t", [(0, 0), (0, 0)])]),
        ([("no", [])], [("no", [])]),
        ([("no", [0]), ("no", [0, 1])], [("no", [(0, UNKNOWN), (0, UNKNOWN), (1, UNKNOWN)])]),
        ([("no", [0]), ("t", [0, 9]), ("no", [])], [("no", [(0, UNKNOWN)]), ("t", [(9, UNKNOWN), (0, 0)])]),
        ([("t", [9, 0]), ("no", [0]), ("t", [1])], [("t", [(9, UNKNOWN), (0, 0), (1, 0)]), ("no", [(0, UNKNOWN)])]),
    ],
)
async def test_topics_of_an_offset_commit_are_merged_once_something_is_refused(client, call, version, topics, answered):
    await client.create_topic("t", 2)
    await client.create_topic("u")
    answer = await call(client, version, topics)
    assert [
        (topic.name, [(one.partition_index, one.error_code) for one in topic.partitions]) for topic in answer.topics
    ] == answered


@pytest.mark.parametrize(
    ("topics", "answered"),
    [
        ([("t", [0]), ("t", [1])], [("t", [(0, 0)]), ("t", [(1, 0)])]),
        ([("no", [])], [("no", [])]),
        ([("t", []), ("no", [0])], [("no", [(0, UNKNOWN)])]),
        ([("t", [0]), ("no", [0]), ("t", [1])], [("no", [(0, UNKNOWN)]), ("t", [(0, 0), (1, 0)])]),
        ([("t", [9, 0]), ("u", [0]), ("t", [1])], [("t", [(9, UNKNOWN), (0, 0), (1, 0)]), ("u", [(0, 0)])]),
        ([("t", [0, 0])], [("t", [(0, 0), (0, 0)])]),
    ],
)
async def test_topics_of_an_offset_delete_are_merged_once_something_is_refused(client, topics, answered):
    await client.create_topic("t", 2)
    await client.create_topic("u")
    await commit(client, 9, [("t", [0])])
    request = m.OffsetDeleteRequest
    named = [
        request.OffsetDeleteRequestTopic(
            name=name,
            partitions=[request.OffsetDeleteRequestPartition(partition_index=index) for index in indexes],
        )
        for name, indexes in topics
    ]
    answer = await client.call(0, request(group_id="g", topics=named))
    assert answer.error_code == 0
    assert [
        (topic.name, [(one.partition_index, one.error_code) for one in topic.partitions]) for topic in answer.topics
    ] == answered


@pytest.mark.parametrize(("topics", "code"), [([], 0), (["t"], Code.INVALID_REQUEST)])
async def test_an_unknown_election_type_is_refused_once_a_topic_is_named(client, topics, code):
    named = [m.ElectLeadersRequest.TopicPartitions(topic=topic, partitions=[]) for topic in topics]
    answer = await client.call(2, m.ElectLeadersRequest(election_type=7, topic_partitions=named, timeout_ms=1000))
    assert answer.error_code == code


async def write_markers(client, *markers, version=2):
    request = m.WriteTxnMarkersRequest
    wanted = [
        request.WritableTxnMarker(
            producer_id=producer_id,
            producer_epoch=epoch,
            transaction_result=True,
            coordinator_epoch=0,
            topics=[
                request.WritableTxnMarkerTopic(name=name, partition_indexes=list(indexes)) for name, indexes in topics
            ],
        )
        for producer_id, epoch, topics in markers
    ]
    answer = await client.call(version, request(markers=wanted))
    return [
        (
            one.producer_id,
            [
                (topic.name, [(each.partition_index, each.error_code) for each in topic.partitions])
                for topic in one.topics
            ],
        )
        for one in answer.markers
    ]


@pytest.mark.parametrize(
    ("markers", "answered"),
    [
        ([], []),
        ([(5, 0, [])], []),
        ([(5, 0, [("t", [])])], []),
        ([(5, 0, [("t", [0]), ("t", [1])])], [(5, [("t", [(0, 0), (1, 0)])])]),
        ([(5, 0, [("t", [0])]), (5, 0, [("t", [1])])], [(5, [("t", [(0, 0), (1, 0)])])]),
        ([(5, 0, [("t", [0])]), (6, 0, [("t", [0])])], [(5, [("t", [(0, 0)])]), (6, [("t", [(0, 0)])])]),
        ([(5, 0, [("no", [0]), ("t", [7])])], [(5, [("no", [(0, UNKNOWN)]), ("t", [(7, UNKNOWN)])])]),
    ],
)
async def test_markers_are_answered_once_for_each_producer_and_topic(client, markers, answered):
    await client.create_topic("t", 2)
    assert await write_markers(client, *markers) == answered


async def test_a_partition_listed_twice_for_a_marker_gets_one(client, broker):
    await client.create_topic("t")
    await write_markers(client, (5, 0, [("t", [0, 0]), ("t", [0])]))
    assert broker.partitions.get("t", 0).log.end_offset == 1


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize(
    ("producer_id", "epoch", "code"),
    [
        (-1, 0, Code.UNKNOWN_SERVER_ERROR),
        (-1, -1, Code.UNKNOWN_SERVER_ERROR),
        (-1, -2, Code.UNKNOWN_SERVER_ERROR),
        (-2, -1, Code.UNKNOWN_SERVER_ERROR),
        (7, -1, Code.UNKNOWN_SERVER_ERROR),
        (7, -2, Code.INVALID_PRODUCER_EPOCH),
        (-2, -2, Code.NONE),
        (-2, 0, Code.NONE),
        (7, 0, Code.NONE),
    ],
)
async def test_a_marker_without_producer_id_or_epoch_cannot_be_built(client, version, producer_id, epoch, code):
    await client.create_topic("t")
    answer = await write_markers(client, (producer_id, epoch, [("t", [0])]), version=version)
    assert answer == [(producer_id, [("t", [(0, code)])])]


# ---- what Produce checks first


async def produce_raw(client, topic, records, *, version=12, acks=-1, index=0, transactional_id=None):
    request = m.ProduceRequest
    partition = request.PartitionProduceData(index=index, records=records)
    entry = request.TopicProduceData(name=topic, partition_data=[partition])
    answer = await client.call(
        version, request(acks=acks, timeout_ms=1000, transactional_id=transactional_id, topic_data=[entry])
    )
    return answer.responses[0].partition_responses[0]


@pytest.mark.parametrize(
    ("topic", "index", "records", "code"),
    [
        ("no", 0, records_of(b"a"), UNKNOWN),
        ("t", 7, records_of(b"a"), UNKNOWN),
        ("bad name", 0, records_of(b"a"), UNKNOWN),
        ("t", 0, records_of(b"a")[:30], Code.INVALID_RECORD),
        ("t", 0, records_of(b"a"), Code.INVALID_REQUIRED_ACKS),
        ("t", 0, records_of(b"a")[:-1] + b"x", Code.INVALID_REQUIRED_ACKS),
    ],
)
async def test_acks_are_checked_after_the_partition_and_the_batch_before_its_records(
    client, topic, index, records, code
):
    await client.create_topic("t")
    assert (await produce_raw(client, topic, records, acks=2, index=index)).error_code == code


@pytest.mark.parametrize("version", [9, 11, 12])
@pytest.mark.parametrize("stamp", [(-1, -1, -1), (-1, 0, 0), (-2, 0, 0)])
async def test_a_transactional_batch_without_producer_id_is_appended_without_a_transaction(
    client, broker, version, stamp
):
    await client.create_topic("t")
    producer_id, epoch, sequence = stamp
    batch = records_of(b"a", transactional=True, producer_id=producer_id, producer_epoch=epoch, base_sequence=sequence)
    answer = await produce_raw(client, "t", batch, version=version, transactional_id="x")
    assert (answer.error_code, answer.base_offset) == (Code.NONE, 0)
    assert broker.partitions.get("t", 0).log.last_stable_offset == 1


async def test_a_batch_refused_before_admission_leaves_its_partition_out_of_the_transaction(client, broker):
    topic_id = await client.create_topic("t", 3)
    init = m.InitProducerIdRequest(
        transactional_id="x", transaction_timeout_ms=60_000, producer_id=-1, producer_epoch=-1
    )
    producer = await client.call(5, init)
    stamp = {"producer_id": producer.producer_id, "producer_epoch": producer.producer_epoch, "base_sequence": 0}
    good = records_of(b"a", transactional=True, **stamp)
    request = m.ProduceRequest
    # Two batches, and one cut short behind its header: refused before the coordinator is asked.
    parts = [
        request.PartitionProduceData(index=index, records=records)
        for index, records in enumerate((good, good + good, good[:-1]))
    ]
    topic = request.TopicProduceData(name="t", partition_data=parts)
    answer = await client.call(12, request(acks=-1, timeout_ms=1000, transactional_id="x", topic_data=[topic]))
    codes = [one.error_code for one in answer.responses[0].partition_responses]
    assert codes == [Code.NONE, Code.INVALID_RECORD, Code.INVALID_RECORD]
    end = m.EndTxnRequest(
        transactional_id="x",
        producer_id=producer.producer_id,
        producer_epoch=producer.producer_epoch,
        committed=True,
    )
    await client.call(4, end)
    await produce(client, topic_id, b"later")
    assert [broker.partitions.get("t", index).log.end_offset for index in range(3)] == [3, 0, 0]
