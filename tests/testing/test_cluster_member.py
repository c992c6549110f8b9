"""A broker as a member of a cluster: joining and its refusals, forwarding, ids, shutdown. All in memory."""

import pytest
import trio

from kwire.broker.controller.interface import only
from kwire.broker.node.member import JoinRefused
from kwire.broker.partitions.partitions import Partitions
from kwire.errors import Code
from kwire.metadata import image
from kwire.metadata.commands.nodes import AllocateProducerIds, UpdateFeatures
from kwire.metadata.commands.topics import CreateTopics
from kwire.metadata.decisions.topics import NewTopic
from kwire.metadata.decisions.update_features import FeatureUpdate, UpgradeType
from kwire.metadata.image import MetadataImage
from kwire.testing.memory.memory_cluster import CONTROLLER_ID, MemoryNode, memory_cluster
from kwire.wire.messages import (
    ApiVersionsRequest,
    CreateTopicsRequest,
    DeleteTopicsRequest,
    DescribeClusterRequest,
    DescribeConfigsRequest,
    DescribeQuorumRequest,
    FeatureLevelRecord,
    IncrementalAlterConfigsRequest,
    InitProducerIdRequest,
    MetadataRequest,
    UnregisterBrokerRequest,
    UnregisterControllerRecord,
)

TOPIC, SET = 2, 0
SHORT = {"request.timeout.ms": "2000", "broker.session.timeout.ms": "2000", "broker.heartbeat.interval.ms": "400"}


@pytest.fixture
async def cluster(autojump_clock):
    async with memory_cluster(brokers=2, settings=SHORT) as running:
        yield running


def innermost(error):
    while isinstance(error, BaseExceptionGroup):
        (error,) = error.exceptions
    return error


async def refusal_of(cluster, node):
    """The sentence with which a node does not start."""
    with pytest.raises((JoinRefused, BaseExceptionGroup)) as refused:
        async with trio.open_nursery() as nursery:
            await nursery.start(node.run, cluster.network)
    found = innermost(refused.value)
    assert isinstance(found, JoinRefused)
    return str(found)


async def test_the_other_broker_serves_what_was_created_through_this_one(autojump_clock, cluster):
    topic = CreateTopicsRequest.CreatableTopic(name="t", num_partitions=4, replication_factor=1)
    created = await cluster.client(1).request(CreateTopicsRequest(topics=[topic], timeout_ms=1000))
    assert created.topics[0].error_code == Code.NONE
    assert created.topics[0].num_partitions == 4
    await cluster.until(lambda: "t" in cluster.broker(2).image.topics)
    metadata = await cluster.client(2).request(MetadataRequest(topics=None))
    assert {(one.node_id, one.host) for one in metadata.brokers} == {(1, "broker1"), (2, "broker2")}
    assert {partition.leader_id for partition in metadata.topics[0].partitions} == {1, 2}
    assert metadata.controller_id == 2
    config = IncrementalAlterConfigsRequest.AlterableConfig(name="retention.ms", config_operation=SET, value="77777")
    resource = IncrementalAlterConfigsRequest.AlterConfigsResource(
        resource_type=TOPIC, resource_name="t", configs=[config]
    )
    altered = await cluster.client(2).request(IncrementalAlterConfigsRequest(resources=[resource]))
    assert altered.responses[0].error_code == Code.NONE
    await cluster.until(lambda: cluster.broker(1).configs.topic("t")["retention.ms"] == 77777)
    wanted = DescribeConfigsRequest.DescribeConfigsResource(resource_type=TOPIC, resource_name="t")
    described = await cluster.client(1).request(DescribeConfigsRequest(resources=[wanted]))
    assert "77777" in {one.value for one in described.results[0].configs}
    name = DeleteTopicsRequest.DeleteTopicState(name="t")
    deleted = await cluster.client(2).request(DeleteTopicsRequest(topics=[name], timeout_ms=1000))
    assert deleted.responses[0].error_code == Code.NONE
    await cluster.until(lambda: "t" not in cluster.broker(1).image.topics)


async def test_a_refusal_of_the_controller_reaches_the_client(autojump_clock, cluster):
    topic = CreateTopicsRequest.CreatableTopic(name="t", num_partitions=1, replication_factor=3)
    refused = await cluster.client(1).request(CreateTopicsRequest(topics=[topic], timeout_ms=1000))
    assert refused.topics[0].error_code == Code.INVALID_REPLICATION_FACTOR


async def test_the_quorum_and_the_cluster_are_described_through_a_broker(autojump_clock, cluster):
    partition = DescribeQuorumRequest.PartitionData(partition_index=0)
    topic = DescribeQuorumRequest.TopicData(topic_name="__cluster_metadata", partitions=[partition])
    described = await cluster.client(1).request(DescribeQuorumRequest(topics=[topic]))
    (quorum,) = described.topics[0].partitions
    assert quorum.leader_id == CONTROLLER_ID
    assert {one.replica_id for one in quorum.observers} == {1, 2}
    found = await cluster.client(1).request(DescribeClusterRequest())
    assert {one.broker_id for one in found.brokers} == {1, 2}
    assert found.controller_id == 1


async def test_api_versions_holds_only_what_the_controller_serves_too(autojump_clock, cluster):
    member = cluster.broker(1).member
    served = await cluster.client(1).request(ApiVersionsRequest(client_software_name="a", client_software_version="1"))
    ranges = {one.api_key: (one.min_version, one.max_version) for one in served.api_keys}
    assert ranges[CreateTopicsRequest.KEY] == member.controller.versions[CreateTopicsRequest.KEY]
    member.controller.versions = {key: value for key, value in member.controller.versions.items() if key != 19}
    for follow in member.controller.on_versions:
        follow()
    served = await cluster.client(1).request(ApiVersionsRequest(client_software_name="a", client_software_version="1"))
    assert CreateTopicsRequest.KEY not in {one.api_key for one in served.api_keys}


async def test_brokers_give_out_different_producer_ids(autojump_clock, cluster):
    ids = [
        (await cluster.client(broker).request(InitProducerIdRequest(transactional_id=None))).producer_id
        for broker in (1, 2, 1, 2)
    ]
    assert len(set(ids)) == 4
    block = only(await cluster.broker(1).controller.submit(AllocateProducerIds(1, 1000)))
    assert len(block) == 1000
    assert block.start not in ids


async def test_a_topic_that_the_broker_creates_shows_in_its_image_when_that_returns(autojump_clock, cluster):
    broker = cluster.broker(1)
    created = only(await broker.controller.submit(CreateTopics([NewTopic("mine", 1, 1)])))
    assert broker.image.topics["mine"].id == created.topic_id


async def test_an_upgrade_to_a_metadata_version_with_directories_registers_them(autojump_clock, cluster):
    """KIP-858: below 3.7-IV2 registrations have no directories, and no controllers are registered below 3.7-IV0."""
    controller = cluster.controller
    await cluster.stop(1)
    controller.controller.commit([FeatureLevelRecord(name="metadata.version", feature_level=14)])
    controller.controller.commit([UnregisterControllerRecord(controller_id=CONTROLLER_ID)])
    await cluster.start(1)
    registration = controller.image.brokers[1]
    assert not registration.log_dirs
    update = FeatureUpdate("metadata.version", 17, UpgradeType.UPGRADE)
    only(await controller.controller.submit(UpdateFeatures([update])))
    await cluster.until(lambda: bool(controller.image.brokers[1].log_dirs))
    with_directories = controller.image.brokers[1]
    assert with_directories._replace(log_dirs=()) == registration
    assert cluster.broker(1).member.epoch == registration.epoch
    assert CONTROLLER_ID in controller.image.controllers


async def test_without_an_active_controller_a_change_times_out(autojump_clock, cluster):
    await cluster.kill(CONTROLLER_ID)
    topic = CreateTopicsRequest.CreatableTopic(name="t", num_partitions=1, replication_factor=1)
    refused = await cluster.client(1).request(CreateTopicsRequest(topics=[topic], timeout_ms=1000))
    assert refused.topics[0].error_code == Code.REQUEST_TIMED_OUT


async def test_a_broker_that_stopped_in_order_names_its_epoch_when_it_returns(autojump_clock, cluster):
    epoch = cluster.broker(1).member.epoch
    await cluster.stop(1)
    await cluster.start(1)
    assert cluster.broker(1).member.life.identity.previous_epoch == epoch
    await cluster.kill(1)
    await cluster.start(1)
    assert cluster.broker(1).member.life.identity.previous_epoch == -1


async def test_a_directory_of_another_cluster_is_refused(autojump_clock, cluster):
    async with trio.open_nursery() as nursery:
        other = MemoryNode(CONTROLLER_ID, is_controller=True, settings={})
        other.host, other.address = "elsewhere", other.address._replace(host="elsewhere")
        await nursery.start(other.run, cluster.network)
        foreign = MemoryNode(3, is_controller=False, settings={})
        foreign.files.make_directory("/data")
        meta = b"version=1\ncluster.id=AAAAAAAAAAAAAAAAAAAAAA\nnode.id=3\n"
        foreign.files.write_bytes("/data/meta.properties", meta, durable=True)
        refusal = await refusal_of(cluster, foreign)
        nursery.cancel_scope.cancel()
    assert "INCONSISTENT_CLUSTER_ID" in refusal
    assert "meta.properties" in refusal


async def test_the_id_of_a_controller_is_refused(autojump_clock, cluster):
    refusal = await refusal_of(cluster, MemoryNode(CONTROLLER_ID, is_controller=False, settings={}))
    assert "the id of a controller" in refusal


async def test_a_feature_that_is_not_served_is_refused_with_advice(autojump_clock, cluster):
    cluster.controller.controller.commit([FeatureLevelRecord(name="some.version", feature_level=1)])
    refusal = await refusal_of(cluster, MemoryNode(3, is_controller=False, settings={}))
    assert "some.version=1 (kwire serves no level of it)" in refusal
    assert "kafka-storage format --feature some.version=0" in refusal


async def test_a_second_process_with_the_same_id_is_refused_while_the_first_lives(autojump_clock, cluster):
    settings = {"initial.broker.registration.timeout.ms": "3000"}
    twin = MemoryNode(1, is_controller=False, settings=settings)
    refusal = await refusal_of(cluster, twin)
    assert "another process with this node id" in refusal


async def test_unreachable_controllers_are_named(autojump_clock, cluster):
    settings = {
        "controller.quorum.bootstrap.servers": "nowhere:9093",
        "initial.broker.registration.timeout.ms": "2000",
    }
    refusal = await refusal_of(cluster, MemoryNode(3, is_controller=False, settings=settings))
    assert "nowhere:9093" in refusal
    assert "within 2 s" in refusal


async def test_a_process_whose_id_was_taken_over_stops_with_one_sentence(autojump_clock, cluster):
    await cluster.stop(2)

    async def take_over():
        async with trio.open_nursery() as nursery:
            first = MemoryNode(2, is_controller=False, settings={})
            await nursery.start(first.run, cluster.network)
            cluster.network.cut("broker2", "controller")
            await cluster.until(lambda: cluster.unfenced() == {1})
            second = MemoryNode(2, is_controller=False, settings={})
            second.host, second.address = "twin", second.address._replace(host="twin")
            await nursery.start(second.run, cluster.network)
            cluster.network.mend()
            await trio.sleep(10)

    with pytest.raises((JoinRefused, BaseExceptionGroup)) as stopped:
        await take_over()
    assert "another process has registered as node 2" in str(innermost(stopped.value))


async def test_an_unregistered_broker_runs_until_it_is_restarted(autojump_clock, cluster, capsys):
    await cluster.client(1).request(UnregisterBrokerRequest(broker_id=2))
    await cluster.until(lambda: 2 not in cluster.broker(2).image.brokers)
    await cluster.until(lambda: cluster.broker(2).member.life.is_stale)
    assert "this broker was unregistered" in capsys.readouterr().err
    assert 2 not in cluster.controller.image.brokers
    await cluster.kill(2)
    await cluster.start(2)
    assert 2 in cluster.unfenced()


async def test_a_broker_with_several_log_directories_reports_where_its_replicas_are(autojump_clock, cluster):
    node = MemoryNode(3, is_controller=False, settings={"log.dirs": "/one,/two"})
    async with trio.open_nursery() as nursery:
        await nursery.start(node.run, cluster.network)
        await cluster.until(lambda: 3 in cluster.unfenced())
        assignments = [
            CreateTopicsRequest.CreatableReplicaAssignment(partition_index=index, broker_ids=[3]) for index in range(4)
        ]
        topic = CreateTopicsRequest.CreatableTopic(
            name="t", num_partitions=-1, replication_factor=-1, assignments=assignments
        )
        await cluster.client(1).request(CreateTopicsRequest(topics=[topic], timeout_ms=1000))

        def reported():
            return {one.directories[0] for one in cluster.controller.image.topics["t"].partitions}

        ids = {one.id for one in node.broker.dirs.dirs}
        await cluster.until(lambda: reported() == ids)
        nursery.cancel_scope.cancel()


# --- nothing of the metadata ends a broker that has joined


async def create(cluster, name, broker=1):
    topic = CreateTopicsRequest.CreatableTopic(name=name, num_partitions=1, replication_factor=1)
    response = await cluster.client(broker).request(CreateTopicsRequest(topics=[topic], timeout_ms=1000))
    assert response.topics[0].error_code == Code.NONE


async def test_a_part_that_fails_on_a_change_of_the_metadata_does_not_end_the_broker(cluster, capsys):
    broker, later = cluster.broker(1), []

    def fail(_delta):
        raise ZeroDivisionError

    broker.controller.subscribe(fail)
    broker.controller.subscribe(later.append)
    await create(cluster, "t", broker=2)
    await cluster.until(lambda: "t" in broker.image.topics)
    await create(cluster, "u", broker=2)
    await cluster.until(lambda: "u" in broker.image.topics)
    assert len(later) >= 2
    assert cluster.broker(1) is broker
    assert "subscriber failed on a change" in capsys.readouterr().err


async def test_a_record_that_cannot_be_applied_is_left_out(cluster, monkeypatch, capsys):
    broker = cluster.broker(1)
    apply = MetadataImage._topic

    def refuse(self, record, delta):
        if self is broker.image and record.name == "bad":
            raise KeyError(record.name)
        apply(self, record, delta)

    monkeypatch.setitem(image._APPLY, "TopicRecord", refuse)
    await create(cluster, "bad", broker=2)
    await create(cluster, "good", broker=2)
    await cluster.until(lambda: "good" in broker.image.topics)
    assert "bad" not in broker.image.topics
    assert "metadata record not applied" in capsys.readouterr().err


async def test_a_partition_that_fails_to_follow_the_metadata_does_so_later(cluster, monkeypatch, capsys):
    broker = cluster.broker(1)
    place, failures = Partitions._place, []

    def fail_twice(self, key, partition):
        if self is broker.partitions and key.topic == "t" and len(failures) < 2:
            failures.append(key)
            raise ZeroDivisionError
        return place(self, key, partition)

    monkeypatch.setattr(Partitions, "_place", fail_twice)
    assignment = CreateTopicsRequest.CreatableReplicaAssignment(partition_index=0, broker_ids=[1])
    topic = CreateTopicsRequest.CreatableTopic(
        name="t", num_partitions=-1, replication_factor=-1, assignments=[assignment]
    )
    await cluster.client(2).request(CreateTopicsRequest(topics=[topic], timeout_ms=1000))
    await cluster.until(lambda: broker.partitions.of_topic("t"))
    assert len(failures) == 2
    assert "partition cannot follow the metadata" in capsys.readouterr().err


async def test_a_broker_that_the_controllers_refuse_after_its_start_asks_again(cluster, capsys):
    broker = cluster.broker(1)
    cluster.controller.authorizer = Denying()
    await cluster.until(lambda: 1 not in cluster.unfenced())
    await trio.sleep(20)
    assert cluster.broker(1) is broker
    cluster.controller.authorizer = None
    await cluster.until(lambda: 1 in cluster.unfenced())
    await create(cluster, "t", broker=2)
    await cluster.until(lambda: "t" in broker.image.topics)
    logged = [line for line in capsys.readouterr().err.splitlines() if "metadata fetch refused" in line]
    assert logged
    assert all("CLUSTER_AUTHORIZATION_FAILED" in line for line in logged)
    assert len(logged) < 15  # with a back-off


class Denying:
    """An authorizer that allows nothing."""

    epoch = 0

    def allows(self, *_asked):
        return False


async def test_a_new_broker_that_may_not_learn_the_cluster_id_says_so_at_once(cluster):
    cluster.controller.authorizer = Denying()
    began = trio.current_time()
    refusal = await refusal_of(cluster, MemoryNode(3, is_controller=False, settings={}))
    assert trio.current_time() - began < 1
    assert "CLUSTER_AUTHORIZATION_FAILED" in refusal
    assert "kafka-storage format" in refusal


async def test_nothing_is_kept_for_a_broker_that_was_unregistered(cluster):
    assignment = CreateTopicsRequest.CreatableReplicaAssignment(partition_index=0, broker_ids=[2, 1])
    topic = CreateTopicsRequest.CreatableTopic(
        name="t", num_partitions=-1, replication_factor=-1, assignments=[assignment]
    )
    await cluster.client(1).request(CreateTopicsRequest(topics=[topic], timeout_ms=1000))
    broker = cluster.broker(1)
    await cluster.until(lambda: {one for one, _ in broker.replication._fetchers} == {2})
    await cluster.until(lambda: {one for one, _ in broker.peers._connections} == {2})
    await cluster.client(1).request(UnregisterBrokerRequest(broker_id=2))
    await cluster.until(lambda: 2 not in broker.image.brokers)
    assert broker.replication._fetchers == {}
    assert broker.peers._connections == {}
