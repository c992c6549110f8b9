"""Requests with an item listed twice or an empty list: each answer is what Apache Kafka gave to the same request."""

import pytest
from test_produce_and_fetch import produce

from kwire.errors import Code
from kwire.metadata.configs.effective import EffectiveConfigs
from kwire.wire import messages as m


def list_offsets(*topics, replica_id=-1, timestamp=-1):
    request = m.ListOffsetsRequest
    return request(
        replica_id=replica_id,
        topics=[
            request.ListOffsetsTopic(
                name=name,
                partitions=[
                    request.ListOffsetsPartition(partition_index=index, timestamp=timestamp) for index in parts
                ],
            )
            for name, parts in topics
        ],
    )


def shape(topics):
    return [(topic.name, [part.partition_index for part in topic.partitions]) for topic in topics]


async def test_list_offsets_answers_a_topic_once_and_one_without_partitions_not_at_all(client):
    await client.create_topic("t", 2)
    answer = await client.call(11, list_offsets(("t", [0]), ("u", []), ("t", [1])))
    assert shape(answer.topics) == [("t", [0, 1])]


async def test_list_offsets_answers_a_replica_with_the_log_end(client):
    topic_id = await client.create_topic("t")
    await produce(client, topic_id, b"a", b"b")
    answer = await client.call(11, list_offsets(("t", [0]), replica_id=7))
    assert (answer.topics[0].partitions[0].error_code, answer.topics[0].partitions[0].offset) == (Code.NONE, 2)


async def test_delete_records_answers_a_topic_once_and_one_without_partitions_not_at_all(client):
    await client.create_topic("t", 2)
    request = m.DeleteRecordsRequest
    parts = [request.DeleteRecordsPartition(partition_index=index, offset=0) for index in (0, 1)]
    topics = [
        request.DeleteRecordsTopic(name=name, partitions=some)
        for name, some in (("t", parts[:1]), ("u", []), ("t", parts[1:]))
    ]
    answer = await client.call(2, request(topics=topics, timeout_ms=1000))
    assert shape(answer.topics) == [("t", [0, 1])]


async def test_offset_delete_lists_an_unknown_topic_without_partitions(client):
    topic_id = await client.create_topic("t")
    partition = m.OffsetCommitRequest.OffsetCommitRequestPartition(partition_index=0, committed_offset=1)
    topic = m.OffsetCommitRequest.OffsetCommitRequestTopic(topic_id=topic_id, partitions=[partition])
    await client.call(10, m.OffsetCommitRequest(group_id="g", topics=[topic]))
    request = m.OffsetDeleteRequest
    topics = [
        request.OffsetDeleteRequestTopic(name="u", partitions=[]),
        request.OffsetDeleteRequestTopic(
            name="t", partitions=[request.OffsetDeleteRequestPartition(partition_index=0)]
        ),
    ]
    answer = await client.call(0, request(group_id="g", topics=topics))
    assert shape(answer.topics) == [("u", []), ("t", [0])]


async def test_a_leader_that_wrote_nothing_yet_has_its_epoch(client):
    """A consumer that was told the end of an empty log by its epoch asks whether that still holds (KIP-320)."""
    await client.create_topic("t")
    request = m.OffsetForLeaderEpochRequest
    asked = request(
        replica_id=-2,
        topics=[
            request.OffsetForLeaderTopic(
                topic="t",
                partitions=[request.OffsetForLeaderPartition(partition=0, current_leader_epoch=-1, leader_epoch=0)],
            )
        ],
    )
    answer = (await client.call(4, asked)).topics[0].partitions[0]
    assert (answer.error_code, answer.leader_epoch, answer.end_offset) == (Code.NONE, 0, 0)


async def test_the_last_of_two_log_directories_for_a_partition_counts(client, data_dir):
    await client.create_topic("t")
    request = m.AlterReplicaLogDirsRequest
    dirs = [
        request.AlterReplicaLogDir(path=path, topics=[request.AlterReplicaLogDirTopic(name="t", partitions=[0])])
        for path in (data_dir, "/no/such")
    ]
    answer = await client.call(2, request(dirs=dirs))
    assert [part.error_code for part in answer.results[0].partitions] == [Code.LOG_DIR_NOT_FOUND]


@pytest.mark.parametrize(
    ("operation", "value", "then"),
    [
        (2, "compact,compact", "delete,compact"),
        (2, "", None),
        (2, "compact,", "delete,compact"),
        (0, "compact,compact", "compact"),
        (2, " compact", "delete,compact"),
    ],
)
async def test_appended_list_values_are_checked_as_in_apache(client, operation, value, then):
    await client.create_topic("t")
    request = m.IncrementalAlterConfigsRequest
    change = request.AlterableConfig(name="cleanup.policy", config_operation=operation, value=value)
    resource = request.AlterConfigsResource(resource_type=2, resource_name="t", configs=[change])
    answer = await client.call(1, request(resources=[resource]))
    configs: EffectiveConfigs = client.broker.configs
    if then is None:
        assert answer.responses[0].error_message == "Configuration 'cleanup.policy' values must not be empty."
    else:
        assert answer.responses[0].error_code == Code.NONE
        assert configs.describe_topic("t", ["cleanup.policy"])[0].value == then


@pytest.mark.parametrize(
    "name",
    [
        "listeners",
        "listener.security.protocol.map",
        "config.providers",
        "sasl.enabled.mechanisms",
        "listener.name.plaintext.plain.sasl.jaas.config",
    ],
)
async def test_what_is_read_at_the_start_cannot_be_changed_later(client, name):
    request = m.IncrementalAlterConfigsRequest
    change = request.AlterableConfig(name=name, config_operation=0, value="PLAINTEXT:PLAINTEXT")
    resource = request.AlterConfigsResource(resource_type=4, resource_name="1", configs=[change])
    answer = await client.call(1, request(resources=[resource]))
    assert answer.responses[0].error_code == Code.INVALID_REQUEST
    assert answer.responses[0].error_message == f"kwire reads these configs at its start only: [{name}]"


async def test_a_broker_id_with_blanks_is_refused(client):
    request = m.DescribeConfigsRequest
    resource = request.DescribeConfigsResource(resource_type=4, resource_name=" 1", configuration_keys=None)
    answer = await client.call(4, request(resources=[resource]))
    assert answer.results[0].error_message == "Broker id must be an integer, but it is:  1"


async def test_elect_leaders_answers_in_the_order_of_the_request(client):
    await client.create_topic("t", 2)
    request = m.ElectLeadersRequest
    topics = [request.TopicPartitions(topic="t", partitions=parts) for parts in ([0], [], [1])]
    answer = await client.call(2, request(election_type=0, topic_partitions=topics, timeout_ms=1000))
    found = [
        (one.topic, [part.partition_id for part in one.partition_result]) for one in answer.replica_election_results
    ]
    assert found == [("t", [0]), ("t", []), ("t", [1])]


@pytest.mark.parametrize(
    ("policy", "code"),
    [("", Code.NONE), ("delete", Code.NONE), ("compact,delete", Code.NONE), ("compact", Code.POLICY_VIOLATION)],
)
async def test_delete_records_refuses_a_topic_that_is_only_compacted(client, policy, code):
    await client.create_topic("t", cleanup_policy=policy)
    request = m.DeleteRecordsRequest
    part = request.DeleteRecordsPartition(partition_index=0, offset=0)
    topic = request.DeleteRecordsTopic(name="t", partitions=[part])
    answer = await client.call(2, request(topics=[topic], timeout_ms=1000))
    assert answer.topics[0].partitions[0].error_code == code


async def test_delete_records_refuses_internal_topics(client, broker):
    await client.create_topic("__consumer_offsets")
    request = m.DeleteRecordsRequest
    part = request.DeleteRecordsPartition(partition_index=0, offset=0)
    topic = request.DeleteRecordsTopic(name="__consumer_offsets", partitions=[part])
    answer = await client.call(2, request(topics=[topic], timeout_ms=1000))
    assert answer.topics[0].partitions[0].error_code == Code.INVALID_TOPIC_EXCEPTION


@pytest.mark.parametrize("version", [1, 6, 11])
async def test_list_offsets_takes_zero_as_a_timestamp_at_each_version(client, version):
    topic_id = await client.create_topic("t")
    await produce(client, topic_id, b"a")
    answer = await client.call(version, list_offsets(("t", [0]), timestamp=0))
    assert (answer.topics[0].partitions[0].error_code, answer.topics[0].partitions[0].offset) == (Code.NONE, 0)


async def test_list_offsets_refuses_a_partition_that_is_listed_twice(client):
    await client.create_topic("t", 2)
    answer = await client.call(11, list_offsets(("t", [0, 1]), ("t", [0])))
    codes = [(one.partition_index, one.error_code) for topic in answer.topics for one in topic.partitions]
    assert codes == [(0, Code.INVALID_REQUEST), (1, Code.NONE)]


@pytest.mark.parametrize(("topics", "answered"), [([], True), (["t"], False)])
async def test_a_reassignment_of_no_topic_is_answered_as_one_that_may_change_the_replication_factor(
    client, topics, answered
):
    await client.create_topic("t")
    request = m.AlterPartitionReassignmentsRequest
    part = request.ReassignablePartition
    wanted = [
        request.ReassignableTopic(name=name, partitions=[part(partition_index=0, replicas=[1])]) for name in topics
    ]
    response = await client.call(1, request(topics=wanted, allow_replication_factor_change=False))
    assert response.allow_replication_factor_change is answered
