"""What a cluster does about a failed disk, cordoned directories, unclean elections and racks. All in memory."""

import errno

import pytest
import trio
import trio.testing
from peer import Peer

from kwire.broker.endpoint import Endpoint
from kwire.broker.node.member import JoinRefused
from kwire.broker.start import open_broker
from kwire.errors import Code, StorageFailure
from kwire.metadata.configs.effective import BrokerSettings
from kwire.replication.leader import RECOVERED, RECOVERING
from kwire.testing.memory.files import MemoryFiles
from kwire.testing.memory.memory_cluster import CONTROLLER_ID, MemoryNode, memory_cluster
from kwire.wire.batches.records import Record, build_batch
from kwire.wire.messages import (
    AlterReplicaLogDirsRequest,
    CreateTopicsRequest,
    DescribeLogDirsRequest,
    ElectLeadersRequest,
    FetchRequest,
    IncrementalAlterConfigsRequest,
    ProduceRequest,
)

pytestmark = pytest.mark.usefixtures("autojump_clock")

SHORT = {"broker.session.timeout.ms": "3000", "broker.heartbeat.interval.ms": "500"}
UNCLEAN = 1
BROKER, SET, DELETE = 4, 0, 1


async def create(cluster, name, *rows, broker=2, **configs):
    request = CreateTopicsRequest
    topic = request.CreatableTopic(
        name=name,
        num_partitions=-1,
        replication_factor=-1,
        assignments=[
            request.CreatableReplicaAssignment(partition_index=index, broker_ids=list(row))
            for index, row in enumerate(rows)
        ],
        configs=[
            request.CreatableTopicConfig(name=key.replace("_", "."), value=value) for key, value in configs.items()
        ],
    )
    response = await cluster.client(broker).request(request(topics=[topic], timeout_ms=10_000))
    assert response.topics[0].error_code == Code.NONE, response.topics[0].error_message
    for node in cluster.nodes.values():
        if node.broker is not None:
            await cluster.until(lambda node=node: name in node.broker.image.topics)


def partition(cluster, name, index=0):
    return cluster.controller.image.topics[name].partitions[index]


def topic_id(cluster, name):
    return cluster.controller.image.topics[name].id


async def produce(cluster, broker, name, value=b"v", index=0, *, acks=-1):
    batch = build_batch([Record(0, 0, b"k", value)])
    data = ProduceRequest.PartitionProduceData(index=index, records=batch)
    topic = ProduceRequest.TopicProduceData(topic_id=topic_id(cluster, name), partition_data=[data])
    response = await cluster.client(broker).request(ProduceRequest(acks=acks, timeout_ms=5000, topic_data=[topic]))
    return response.responses[0].partition_responses[0].error_code


def innermost(error):
    while isinstance(error, BaseExceptionGroup):
        (error,) = error.exceptions
    return error


# --- a log directory that fails


def break_disk(node, path):
    node.files.fault = lambda operation, at: (
        OSError(errno.EIO, "Input/output error") if at.startswith(path) and operation in {"write", "read"} else None
    )


@pytest.fixture
async def two_dirs():
    settings = {**SHORT, "log.dirs": "/one,/two"}
    async with memory_cluster(brokers=2, settings=settings) as running:
        await create(running, "t", [1, 2], [1, 2], [1, 2], [1, 2])
        await running.until(lambda: all(known_directory(running, index) for index in range(4)))
        yield running


def known_directory(cluster, index):
    """The path of the log directory of broker 1 that the controller has for a partition."""
    found = cluster.broker(1).dirs.by_id(partition(cluster, "t", index).directories[0])
    return None if found is None else found.path


async def test_the_leaderships_of_a_failed_log_directory_move_and_the_others_stay(two_dirs):
    cluster = two_dirs
    lost = {index for index in range(4) if known_directory(cluster, index) == "/two"}
    assert 0 < len(lost) < 4
    break_disk(cluster.nodes[1], "/two")
    assert await produce(cluster, 1, "t", index=min(lost)) == Code.KAFKA_STORAGE_ERROR
    await cluster.until(lambda: all(partition(cluster, "t", index).leader == 2 for index in lost))
    for index in range(4):
        assert partition(cluster, "t", index).leader == (2 if index in lost else 1)
        assert partition(cluster, "t", index).isr == ((2,) if index in lost else (1, 2))
    assert cluster.unfenced() == {1, 2}
    online = cluster.broker(1).dirs.by_path("/one")
    assert cluster.controller.image.brokers[1].log_dirs == (online.id,)
    described = await cluster.client(1).request(DescribeLogDirsRequest(topics=None))
    assert {one.log_dir: one.error_code for one in described.results} == {
        "/one": Code.NONE,
        "/two": Code.KAFKA_STORAGE_ERROR,
    }
    assert await produce(cluster, 2, "t", index=min(lost)) == Code.NONE
    kept = min(set(range(4)) - lost)
    assert await produce(cluster, 1, "t", index=kept) == Code.NONE
    await create(cluster, "u", [1, 2], [1, 2])
    assert {one.log_dir for one in cluster.broker(1).partitions.of_topic("u").values()} == {"/one"}


async def test_an_idle_replica_of_a_failed_log_directory_stays_out_of_the_in_sync_replicas(two_dirs):
    cluster = two_dirs
    await create(cluster, "u", *[[2, 1]] * 4)
    found = cluster.broker(1).partitions.of_topic("u")
    await cluster.until(
        lambda: all(partition(cluster, "u", i).directories[0] in known_ids(cluster, 2) for i in range(4))
    )
    for index in range(4):
        assert await produce(cluster, 2, "u", index=index) == Code.NONE
    await cluster.until(lambda: all(one.log.high_watermark == 1 for one in found.values()))
    lost = {index for index, one in found.items() if one.log_dir == "/two"}
    assert lost
    break_disk(cluster.nodes[1], "/two")
    leads_here = next(index for index in range(4) if known_directory(cluster, index) == "/two")
    assert await produce(cluster, 1, "t", index=leads_here) == Code.KAFKA_STORAGE_ERROR
    await cluster.until(lambda: all(partition(cluster, "u", index).isr == (2,) for index in lost))
    await trio.sleep(5)
    assert {index for index in range(4) if partition(cluster, "u", index).isr == (2,)} == lost


def known_ids(cluster, broker_id):
    return {one.id for one in cluster.broker(broker_id).dirs.dirs}


async def test_the_replicas_of_a_failed_log_directory_return_with_the_disk_after_a_restart(two_dirs):
    cluster = two_dirs
    lost = {index for index in range(4) if known_directory(cluster, index) == "/two"}
    break_disk(cluster.nodes[1], "/two")
    await produce(cluster, 1, "t", index=min(lost))
    await cluster.until(lambda: all(partition(cluster, "t", index).leader == 2 for index in lost))
    assert await produce(cluster, 2, "t", index=min(lost)) == Code.NONE
    await cluster.stop(1)
    cluster.nodes[1].files.fault = None
    await cluster.start(1)
    await cluster.until(lambda: all(partition(cluster, "t", index).isr == (1, 2) for index in range(4)))
    copied = cluster.broker(1).partitions.of_topic("t")[min(lost)]
    assert copied.log.end_offset == 1


async def test_a_follower_whose_log_directory_fails_leaves_the_in_sync_set(two_dirs):
    cluster = two_dirs
    await create(cluster, "u", [2, 1], [2, 1])
    broker = cluster.broker(1)
    lost = next(one for one in broker.partitions.of_topic("u").values() if one.log_dir == "/two")
    break_disk(cluster.nodes[1], "/two")
    await produce(cluster, 2, "u", index=lost.index, acks=1)
    await cluster.until(lambda: partition(cluster, "u", lost.index).isr == (2,))
    assert lost not in broker.replication._by_partition


async def test_one_file_that_is_damaged_takes_no_directory_offline(two_dirs):
    cluster = two_dirs
    broker = cluster.broker(1)
    broker.storage_failures.report(StorageFailure("/two/t-0/x.log", "the batch at offset 3 fails its checksum"))
    await trio.sleep(5)
    assert [one.is_offline for one in broker.dirs.dirs] == [False, False]
    assert cluster.nodes[1].files.read_bytes("/two/.write-probe") is None


async def end_of(cluster, node, act):
    """Run a node and ``act``; gives the sentence with which the node ends of itself."""

    async def run():
        async with trio.open_nursery() as nursery:
            await nursery.start(node.run, cluster.network)
            await act()
            await trio.sleep(30)

    with pytest.raises((JoinRefused, BaseExceptionGroup)) as stopped:
        await run()
    return str(innermost(stopped.value))


async def test_a_broker_whose_only_log_directory_fails_ends_after_its_leaderships_have_moved():
    async with memory_cluster(brokers=2, settings={**SHORT, "broker.session.timeout.ms": "20000"}) as cluster:
        await cluster.stop(1)
        node = MemoryNode(1, is_controller=False, settings=cluster.nodes[1].settings)
        cluster.nodes[1] = node

        async def lose_the_only_directory():
            await create(cluster, "t", [1, 2])
            break_disk(node, "/data")
            assert await produce(cluster, 1, "t") == Code.KAFKA_STORAGE_ERROR
            failed_s = trio.current_time()
            await cluster.until(lambda: partition(cluster, "t").leader == 2)
            assert trio.current_time() - failed_s < 10  # before the session ends

        assert "all log directories have failed" in await end_of(cluster, node, lose_the_only_directory)


async def test_a_controller_whose_metadata_directory_fails_ends():
    async with memory_cluster(brokers=1, settings=SHORT) as cluster:
        await cluster.stop(CONTROLLER_ID)
        node = MemoryNode(CONTROLLER_ID, is_controller=True, settings=cluster.nodes[CONTROLLER_ID].settings)
        node.files = cluster.nodes[CONTROLLER_ID].files
        cluster.nodes[CONTROLLER_ID] = node

        async def lose_its_directory():
            node.files.fault = lambda operation, at: (
                OSError(errno.EIO, "Input/output error") if at.startswith("/data") and operation == "append" else None
            )
            # Its own change, that no request asked for.
            cluster.network.cut("broker1", "controller")

        assert "the log directory of the metadata log has failed" in await end_of(cluster, node, lose_its_directory)


async def test_a_broker_with_a_controller_of_its_own_ends_when_the_metadata_directory_fails():
    files = MemoryFiles()
    settings = {"log.dirs": "/one,/two", "listeners": "PLAINTEXT://b:9092,CONTROLLER://b:9093"}
    settings["controller.listener.names"] = "CONTROLLER"

    async def run():
        async with open_broker(
            BrokerSettings(settings),
            files,
            endpoints=[Endpoint("PLAINTEXT", "PLAINTEXT", "b", 9092)],
            controller_endpoints=[Endpoint("CONTROLLER", "PLAINTEXT", "b", 9093)],
            dialer=None,
        ) as broker:
            lose(broker)
            await trio.sleep(30)

    def lose(broker):
        # A log beside that of the metadata: Apache Kafka's broker ends too, since the directory is the same.
        cause = OSError(errno.EIO, "Input/output error")
        failure = StorageFailure("/one/t-0/0.log", str(cause))
        failure.__cause__ = cause
        broker.storage_failures.report(failure)

    with pytest.raises(BaseExceptionGroup) as stopped:
        await run()
    assert "the log directory of the metadata log has failed" in str(innermost(stopped.value))


async def test_a_broker_that_cannot_report_a_failed_log_directory_ends():
    settings = {**SHORT, "log.dirs": "/one,/two", "log.dir.failure.timeout.ms": "4000"}
    async with memory_cluster(brokers=2, settings=settings) as cluster:
        await cluster.stop(1)
        node = MemoryNode(1, is_controller=False, settings=cluster.nodes[1].settings)
        cluster.nodes[1] = node

        async def lose_a_directory_without_a_controller():
            await create(cluster, "t", [1], [1])
            cluster.network.cut("broker1", "controller")
            break_disk(node, "/two")
            lost = next(one for one in node.broker.partitions.of_topic("t").values() if one.log_dir == "/two")
            await produce(cluster, 1, "t", index=lost.index)

        told = await end_of(cluster, node, lose_a_directory_without_a_controller)
        assert "within 4 s (log.dir.failure.timeout.ms)" in told


async def test_a_broker_starts_without_a_log_directory_that_cannot_be_read(two_dirs):
    cluster = two_dirs
    lost = {index for index in range(4) if known_directory(cluster, index) == "/two"}
    await cluster.stop(1)
    cluster.nodes[1].files.fault = lambda operation, at: (
        OSError(errno.EIO, "Input/output error") if at.startswith("/two") else None
    )
    await cluster.start(1)
    broker = cluster.broker(1)
    assert [one.is_offline for one in broker.dirs.dirs] == [False, True]
    assert broker.member.life.identity.previous_epoch == -1  # what that directory holds may be lost (KIP-966)
    await cluster.until(lambda: all(partition(cluster, "t", index).isr == (1, 2) for index in set(range(4)) - lost))
    assert all(partition(cluster, "t", index).isr == (2,) for index in lost)
    assert {broker.partitions.of_topic("t")[index].log_dir for index in lost} == {"/two"}
    await cluster.stop(1)
    cluster.nodes[1].files.fault = None
    await cluster.start(1)
    await cluster.until(lambda: all(partition(cluster, "t", index).isr == (1, 2) for index in range(4)))


async def move(cluster, broker, name, path):
    request = AlterReplicaLogDirsRequest
    wanted = request.AlterReplicaLogDir(path=path, topics=[request.AlterReplicaLogDirTopic(name=name, partitions=[0])])
    response = await cluster.client(broker).request(request(dirs=[wanted]))
    return response.results[0].partitions[0].error_code


async def test_a_follower_moves_to_another_log_directory_and_goes_on_following(two_dirs):
    cluster = two_dirs
    await create(cluster, "u", [2, 1])
    await create(cluster, "v", [2])
    assert await produce(cluster, 2, "u", b"first") == Code.NONE
    replica = cluster.broker(1).partitions.of_topic("u")[0]
    target = "/two" if replica.log_dir == "/one" else "/one"
    assert await move(cluster, 1, "u", target) == Code.NONE
    assert await move(cluster, 1, "v", target) == Code.REPLICA_NOT_AVAILABLE
    assert await move(cluster, 1, "u", "/three") == Code.LOG_DIR_NOT_FOUND
    await cluster.until(lambda: replica.log_dir == target)
    moved_to = cluster.broker(1).dirs.by_path(target).id
    await cluster.until(lambda: partition(cluster, "u").directories[1] == moved_to)
    assert await produce(cluster, 2, "u", b"second") == Code.NONE  # acks=all
    assert replica.log.end_offset == 2
    assert partition(cluster, "u").isr == (2, 1)


# --- cordoned directories


async def alter_broker(cluster, broker_id, operation, value=None, *, through=1):
    request = IncrementalAlterConfigsRequest
    config = request.AlterableConfig(name="cordoned.log.dirs", config_operation=operation, value=value)
    resource = request.AlterConfigsResource(resource_type=BROKER, resource_name=str(broker_id), configs=[config])
    response = await cluster.client(through).request(request(resources=[resource]))
    assert response.responses[0].error_code == Code.NONE, response.responses[0].error_message


async def test_a_broker_whose_directories_are_cordoned_gets_no_partition():
    async with memory_cluster(brokers=3, own_settings={3: {"cordoned.log.dirs": "*"}}) as cluster:
        ids = tuple(one.id for one in cluster.broker(3).dirs.dirs)
        assert cluster.controller.image.brokers[3].cordoned_log_dirs == ids
        assert cluster.controller.image.brokers[1].cordoned_log_dirs == ()
        topic = CreateTopicsRequest.CreatableTopic(name="t", num_partitions=6, replication_factor=2)
        await cluster.client(1).request(CreateTopicsRequest(topics=[topic], timeout_ms=1000))
        used = {one for each in cluster.controller.image.topics["t"].partitions for one in each.replicas}
        assert used == {1, 2}
        assignment = CreateTopicsRequest.CreatableReplicaAssignment(partition_index=0, broker_ids=[3, 1])
        topic = CreateTopicsRequest.CreatableTopic(
            name="u", num_partitions=-1, replication_factor=-1, assignments=[assignment]
        )
        refused = (await cluster.client(1).request(CreateTopicsRequest(topics=[topic], timeout_ms=1000))).topics[0]
        assert refused.error_code == Code.INVALID_REPLICA_ASSIGNMENT
        assert "broker 3, but all its log directories are cordoned" in refused.error_message
        described = await cluster.client(3).request(DescribeLogDirsRequest(topics=None))
        assert [one.is_cordoned for one in described.results] == [True]
        await alter_broker(cluster, 3, SET, "", through=3)
        await cluster.until(lambda: cluster.controller.image.brokers[3].cordoned_log_dirs == ())
        topic = CreateTopicsRequest.CreatableTopic(name="v", num_partitions=6, replication_factor=3)
        created = await cluster.client(1).request(CreateTopicsRequest(topics=[topic], timeout_ms=1000))
        assert created.topics[0].error_code == Code.NONE


async def test_a_cordoned_directory_gets_no_new_replica_and_no_move():
    settings = {"log.dirs": "/one,/two"}
    async with memory_cluster(brokers=1, settings=settings) as cluster:
        await create(cluster, "t", [1], broker=1)
        old = cluster.broker(1).partitions.of_topic("t")[0].log_dir
        other = "/two" if old == "/one" else "/one"
        await alter_broker(cluster, 1, SET, other)
        await cluster.until(lambda: len(cluster.controller.image.brokers[1].cordoned_log_dirs) == 1)
        await create(cluster, "u", [1], [1], [1], broker=1)
        assert {one.log_dir for one in cluster.broker(1).partitions.of_topic("u").values()} == {old}
        assert await move(cluster, 1, "t", other) == Code.INVALID_REPLICA_ASSIGNMENT
        await alter_broker(cluster, 1, DELETE)
        await cluster.until(lambda: cluster.controller.image.brokers[1].cordoned_log_dirs == ())


# --- unclean elections


async def elect(cluster, broker, name):
    topic = ElectLeadersRequest.TopicPartitions(topic=name, partitions=[0])
    response = await cluster.client(broker).request(
        ElectLeadersRequest(election_type=UNCLEAN, topic_partitions=[topic], timeout_ms=5000)
    )
    return response.replica_election_results[0].partition_result[0].error_code


async def lose_the_last_in_sync_replica(cluster):
    """Broker 1 has two records, is alone in sync and killed; broker 2 has one of them and runs."""
    assert await produce(cluster, 1, "t", b"both") == Code.NONE
    await cluster.kill(2)
    await cluster.until(lambda: partition(cluster, "t").isr == (1,))
    assert await produce(cluster, 1, "t", b"lost") == Code.NONE
    await cluster.kill(1)
    await cluster.until(lambda: cluster.unfenced() == set())
    await cluster.start(2)


async def test_an_unclean_election_makes_a_leader_that_recovers_and_the_old_one_truncates():
    async with memory_cluster(brokers=2, settings=SHORT) as cluster:
        await create(cluster, "t", [1, 2])
        await lose_the_last_in_sync_replica(cluster)
        assert partition(cluster, "t").leader == -1
        states = []
        cluster.controller.controller.subscribe(
            lambda _delta: states.append(partition(cluster, "t").leader_recovery_state)
        )
        assert await elect(cluster, 2, "t") == Code.NONE
        assert (partition(cluster, "t").leader, partition(cluster, "t").isr) == (2, (2,))
        await cluster.until(lambda: partition(cluster, "t").leader_recovery_state == RECOVERED)
        assert RECOVERING in states
        assert await produce(cluster, 2, "t", b"next") == Code.NONE
        assert await elect(cluster, 2, "t") == Code.ELECTION_NOT_NEEDED
        await cluster.start(1)
        await cluster.until(lambda: partition(cluster, "t").isr == (1, 2))
        logs = [cluster.broker(one).partitions.of_topic("t")[0].log for one in (1, 2)]
        assert [log.end_offset for log in logs] == [2, 2]
        first, second = (b"".join(bytes(batch) for batch in log.read_batches(0)) for log in logs)
        assert first == second
        assert b"lost" not in first


async def test_a_topic_that_allows_it_gets_an_unclean_leader_without_a_request():
    async with memory_cluster(brokers=2, settings=SHORT) as cluster:
        await create(cluster, "t", [1, 2], unclean_leader_election_enable="true")
        await lose_the_last_in_sync_replica(cluster)
        await cluster.until(lambda: partition(cluster, "t").leader == 2)
        await cluster.until(lambda: partition(cluster, "t").leader_recovery_state == RECOVERED)
        assert await produce(cluster, 2, "t", b"next") == Code.NONE


# --- racks


async def fetch(cluster, broker, name, *, rack, offset=0, session_id=0, session_epoch=-1, topics=None):
    wanted = FetchRequest.FetchPartition(partition=0, fetch_offset=offset, partition_max_bytes=1 << 20)
    topic = FetchRequest.FetchTopic(topic_id=topic_id(cluster, name), partitions=[wanted])
    return await cluster.client(broker).request(
        FetchRequest(
            max_wait_ms=0,
            min_bytes=1,
            max_bytes=1 << 20,
            session_id=session_id,
            session_epoch=session_epoch,
            topics=[topic] if topics is None else topics,
            rack_id=rack,
        )
    )


def only(response):
    return response.responses[0].partitions[0]


async def test_a_consumer_is_sent_to_the_in_sync_replica_in_its_rack():
    settings = {"replica.selector.class": "org.apache.kafka.common.replica.RackAwareReplicaSelector"}
    racks = {1: {"broker.rack": "a"}, 2: {"broker.rack": "b"}, 3: {"broker.rack": "b"}}
    async with memory_cluster(brokers=3, settings={**SHORT, **settings}, own_settings=racks) as cluster:
        await create(cluster, "t", [1, 2])
        assert await produce(cluster, 1, "t", b"value") == Code.NONE
        leader = cluster.broker(1).partitions.get("t", 0).leader
        await cluster.until(lambda: leader.progress(2).end_offset == 1)
        sent = only(await fetch(cluster, 1, "t", rack="b"))
        assert (sent.error_code, sent.preferred_read_replica, sent.records) == (0, 2, b"")
        assert sent.high_watermark == 1
        await cluster.until(lambda: cluster.broker(2).partitions.replica("t", 0).log.high_watermark == 1)
        there = only(await fetch(cluster, 2, "t", rack="b"))
        assert b"value" in bytes(there.records)
        for rack in ("a", "c", ""):
            stays = only(await fetch(cluster, 1, "t", rack=rack))
            assert (stays.preferred_read_replica, b"value" in bytes(stays.records)) == (-1, True)
        ahead = only(await fetch(cluster, 1, "t", rack="b", offset=2))
        assert ahead.preferred_read_replica == -1
        opened = await fetch(cluster, 1, "t", rack="b", session_epoch=0)
        assert only(opened).preferred_read_replica == 2
        session = opened.session_id
        again = await fetch(cluster, 1, "t", rack="b", session_id=session, session_epoch=1)
        assert only(again).preferred_read_replica == 2
        await cluster.kill(2)
        await cluster.until(lambda: partition(cluster, "t").isr == (1,))
        back = only(await fetch(cluster, 1, "t", rack="b"))
        assert back.preferred_read_replica == -1
        assert b"value" in bytes(back.records)


async def test_without_a_replica_selector_the_leader_answers_consumers_of_every_rack():
    racks = {1: {"broker.rack": "a"}, 2: {"broker.rack": "b"}}
    async with memory_cluster(brokers=2, own_settings=racks) as cluster:
        await create(cluster, "t", [1, 2])
        assert await produce(cluster, 1, "t", b"value") == Code.NONE
        answer = only(await fetch(cluster, 1, "t", rack="b"))
        assert (answer.preferred_read_replica, b"value" in bytes(answer.records)) == (-1, True)


async def test_a_node_that_is_its_own_controller_follows_the_config_too(start_broker):
    async with start_broker() as broker:
        peer = Peer(broker)
        request = IncrementalAlterConfigsRequest
        config = request.AlterableConfig(name="cordoned.log.dirs", config_operation=SET, value="*")
        resource = request.AlterConfigsResource(
            resource_type=BROKER, resource_name=str(broker.node_id), configs=[config]
        )
        altered = await peer.call(1, request(resources=[resource]))
        assert altered.responses[0].error_code == Code.NONE, altered.responses[0].error_message
        await trio.testing.wait_all_tasks_blocked()
        assert broker.image.brokers[broker.node_id].cordoned_log_dirs == (broker.dirs.dirs[0].id,)
        topic = CreateTopicsRequest.CreatableTopic(name="t", num_partitions=1, replication_factor=1)
        refused = (await peer.call(7, CreateTopicsRequest(topics=[topic], timeout_ms=1000))).topics[0]
        assert refused.error_code == Code.INVALID_REPLICATION_FACTOR
