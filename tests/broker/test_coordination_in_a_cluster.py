"""Groups and transactions in a cluster whose brokers come and go: a controller and three brokers in memory."""

from contextlib import asynccontextmanager

import pytest
import trio
from transactional import READ_COMMITTED, Producer, seen

from kwire.coordinators.machine import partition_for
from kwire.errors import Code
from kwire.testing.memory.memory_cluster import memory_cluster
from kwire.types import OFFSETS_TOPIC, TRANSACTION_TOPIC
from kwire.wire import messages as m

GROUP, TRANSACTIONAL_ID = "g", "tx"
_PARTITIONS = 2
_GROUP_KEY, _TRANSACTION_KEY = 0, 1
_RETRIED = frozenset(
    {
        Code.COORDINATOR_NOT_AVAILABLE,
        Code.COORDINATOR_LOAD_IN_PROGRESS,
        Code.NOT_COORDINATOR,
        Code.NOT_LEADER_OR_FOLLOWER,
        Code.CONCURRENT_TRANSACTIONS,
        Code.NOT_ENOUGH_REPLICAS,
        Code.UNKNOWN_TOPIC_OR_PARTITION,
        Code.UNSTABLE_OFFSET_COMMIT,
    }
)


class Client:
    """Sends each request to the coordinator or leader of now, and repeats it where Kafka's clients repeat it."""

    def __init__(self, cluster):
        self.cluster = cluster
        self.answers = []

    def any_broker(self):
        return next(node.id for node in self.cluster.nodes.values() if not node.is_controller and node.broker)

    def image(self):
        return self.cluster.controller.image

    def leader(self, topic, partition):
        return self.image().partition(topic, partition).leader

    async def coordinator(self, key, key_type):
        request = m.FindCoordinatorRequest(key_type=key_type, coordinator_keys=[key])
        for _ in range(1000):
            answer = await self.cluster.client(self.any_broker()).request(request)
            (found,) = answer.coordinators
            if not found.error_code:
                assert found.host == self.cluster.nodes[found.node_id].host
                return found.node_id
            assert Code(found.error_code) is Code.COORDINATOR_NOT_AVAILABLE
            await trio.sleep(0.1)
        raise AssertionError("no coordinator")

    async def until(self, find, message, code, version=None):
        """Ask what ``find`` gives until the answer has no code that clients retry; returns the answer."""
        for _ in range(1000):
            node_id = await find()
            if self.cluster.nodes[node_id].broker is not None:
                answer = await self.cluster.client(node_id).request(message, version=version)
                self.answers.append(Code(code(answer)))
                if self.answers[-1] not in _RETRIED:
                    return answer
            await trio.sleep(0.1)
        raise AssertionError(self.answers[-5:])

    def group(self):
        return self.coordinator(GROUP, _GROUP_KEY)

    async def commit(self, offset):
        request = m.OffsetCommitRequest
        partition = request.OffsetCommitRequestPartition(partition_index=0, committed_offset=offset)
        topic = request.OffsetCommitRequestTopic(name="t", partitions=[partition])
        answer = await self.until(
            self.group,
            request(group_id=GROUP, topics=[topic], generation_id_or_member_epoch=-1),
            lambda answer: answer.topics[0].partitions[0].error_code,
            version=8,
        )
        return Code(answer.topics[0].partitions[0].error_code)

    async def committed(self):
        request = m.OffsetFetchRequest
        group = request.OffsetFetchRequestGroup(
            group_id=GROUP, topics=[request.OffsetFetchRequestTopics(name="t", partition_indexes=[0])]
        )

        def code(answer):
            return answer.groups[0].error_code or answer.groups[0].topics[0].partitions[0].error_code

        answer = await self.until(self.group, request(groups=[group], require_stable=True), code, version=8)
        return answer.groups[0].topics[0].partitions[0].committed_offset

    async def call(self, version, request):
        """For ``transactional.Producer``: each request to its broker, repeated where clients repeat it."""
        find, code = self.routes(request)
        return await self.until(find, request, code, version)

    def routes(self, request):
        """Which broker gets a request, and where its answer has the code."""

        async def coordinator():
            return await self.coordinator(TRANSACTIONAL_ID, _TRANSACTION_KEY)

        async def leader():
            topics = request.topic_data if isinstance(request, m.ProduceRequest) else request.topics
            partition = (topics[0].partition_data if isinstance(request, m.ProduceRequest) else topics[0].partitions)[0]
            return self.leader("t", partition.index if isinstance(request, m.ProduceRequest) else partition.partition)

        match request:
            case m.ProduceRequest():
                return leader, lambda answer: answer.responses[0].partition_responses[0].error_code
            case m.FetchRequest():
                return leader, lambda answer: answer.error_code or answer.responses[0].partitions[0].error_code
            case m.TxnOffsetCommitRequest():
                return self.group, lambda answer: answer.topics[0].partitions[0].error_code
            case _:
                return coordinator, lambda answer: answer.error_code


@asynccontextmanager
async def cluster_of_three(**settings):
    names = {name.replace("_", "."): str(value) for name, value in settings.items()}
    async with memory_cluster(brokers=3, settings=names) as running:
        request = m.CreateTopicsRequest
        topic = request.CreatableTopic(name="t", num_partitions=3, replication_factor=3)
        answer = await running.client(1).request(request(topics=[topic], timeout_ms=10_000))
        assert not answer.topics[0].error_code
        yield running


@pytest.fixture
async def cluster(autojump_clock):
    async with cluster_of_three(replica_lag_time_max_ms=2000) as running:
        yield running


def in_sync(cluster, topic):
    found = cluster.controller.image.topics.get(topic)
    return found is not None and all(len(one.isr) == len(one.replicas) for one in found.partitions)


async def test_a_group_moves_with_the_leader_of_its_partition_and_keeps_its_offsets(autojump_clock, cluster):
    client = Client(cluster)
    assert await client.commit(5) is Code.NONE
    before = await client.group()
    for node_id in (1, 2, 3):
        answer = await cluster.client(node_id).request(m.DescribeGroupsRequest(groups=[GROUP]))
        assert (Code(answer.groups[0].error_code) is Code.NOT_COORDINATOR) == (node_id != before)
    await cluster.until(lambda: in_sync(cluster, OFFSETS_TOPIC))
    await cluster.kill(before)
    assert await client.committed() == 5
    after = await client.group()
    assert after != before
    assert await client.commit(6) is Code.NONE
    await cluster.start(before)
    await cluster.until(lambda: in_sync(cluster, OFFSETS_TOPIC))
    await cluster.stop(after)
    assert await client.committed() == 6


async def test_offsets_are_refused_while_too_few_replicas_are_in_sync(autojump_clock):
    async with cluster_of_three(min_insync_replicas=2) as cluster:
        client = Client(cluster)
        assert await client.commit(5) is Code.NONE
        await cluster.until(lambda: in_sync(cluster, OFFSETS_TOPIC))
        coordinator = await client.group()
        away = {1, 2, 3} - {coordinator}
        for node_id in away:
            await cluster.kill(node_id)
        await cluster.until(lambda: cluster.unfenced() == {coordinator})
        client.answers.clear()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.commit, 6)
            await trio.sleep(10)
            assert set(client.answers) == {Code.COORDINATOR_NOT_AVAILABLE}
            await cluster.start(away.pop())
        assert client.answers[-1] is Code.NONE
        assert await client.committed() == 6


async def test_a_member_that_waits_is_sent_to_the_new_coordinator(autojump_clock, cluster, nursery):
    client = Client(cluster)
    await client.commit(5)
    coordinator = await client.group()
    await cluster.until(lambda: in_sync(cluster, OFFSETS_TOPIC))
    request = m.JoinGroupRequest
    join = request(
        group_id=GROUP,
        session_timeout_ms=30_000,
        rebalance_timeout_ms=60_000,
        protocol_type="consumer",
        protocols=[request.JoinGroupRequestProtocol(name="range", metadata=b"")],
    )
    codes = []

    async def wait_in_a_join():
        first = await cluster.client(coordinator).request(join, version=9)
        join.member_id = first.member_id
        answer = await cluster.client(coordinator).request(join, version=9, timeout_ms=90_000)
        codes.append(Code(answer.error_code))

    nursery.start_soon(wait_in_a_join)
    shards = cluster.broker(coordinator).groups.loaded_shards
    await cluster.until(lambda: any(shard.machine.classic.find(GROUP) is not None for shard in shards()))
    index = partition_for(GROUP, _PARTITIONS)
    other = next(each for each in (1, 2, 3) if each != coordinator)
    elect = m.AlterPartitionReassignmentsRequest
    partition = elect.ReassignablePartition(partition_index=index, replicas=[other])
    topic = elect.ReassignableTopic(name=OFFSETS_TOPIC, partitions=[partition])
    answer = await cluster.client(coordinator).request(elect(topics=[topic], timeout_ms=10_000))
    assert not answer.error_code
    await cluster.until(lambda: bool(codes))
    assert codes == [Code.NOT_COORDINATOR]
    assert await client.committed() == 5


async def test_a_transaction_survives_its_coordinator(autojump_clock, cluster):
    client = Client(cluster)
    producer = Producer(client, TRANSACTIONAL_ID)
    assert await producer.init() is Code.NONE
    for partition in range(3):
        await producer.write("t", b"v%d" % partition, partition=partition)
    assert await producer.offsets(GROUP, "t", 9) is Code.NONE
    await cluster.until(lambda: in_sync(cluster, TRANSACTION_TOPIC) and in_sync(cluster, "t"))
    await cluster.until(lambda: in_sync(cluster, OFFSETS_TOPIC))
    await cluster.kill(await client.coordinator(TRANSACTIONAL_ID, _TRANSACTION_KEY))
    assert await producer.commit() is Code.NONE
    assert await client.committed() == 9
    for partition in range(3):
        await trio.sleep(5)
        assert await seen(client, "t", partition=partition, isolation=READ_COMMITTED) == [b"v%d" % partition]
    await producer.write("t", b"next")
    assert await producer.abort() is Code.NONE


async def test_markers_reach_a_partition_whose_leader_changes_before_they_are_written(autojump_clock, cluster):
    client = Client(cluster)
    producer = Producer(client, TRANSACTIONAL_ID)
    await producer.init()
    await producer.write("t", b"v", partition=0)
    await cluster.until(lambda: in_sync(cluster, TRANSACTION_TOPIC) and in_sync(cluster, "t"))
    coordinator = await client.coordinator(TRANSACTIONAL_ID, _TRANSACTION_KEY)
    leader = client.leader("t", 0)
    if leader != coordinator:
        cluster.network.cut(f"broker{leader}", f"broker{coordinator}")
    assert await producer.commit() is Code.NONE
    await cluster.kill(leader)
    await trio.sleep(20)
    assert await seen(client, "t", isolation=READ_COMMITTED) == [b"v"]
