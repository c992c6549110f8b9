"""A producer that commits offsets in its transaction, in librdkafka's order of requests, while the coordinators move.

librdkafka asks any broker that it is connected to for the coordinator of the group (FindCoordinator 2), and of the
errors it repeats COORDINATOR_NOT_AVAILABLE alone: after another one it waits until a connection opens or closes. It
drops brokers that Metadata does not list, and then waits likewise for a coordinator that is one of those.
"""

import pytest
import trio
from transactional import OLD, Producer

from kwire.broker.outbound.interface import Disconnected
from kwire.errors import Code
from kwire.testing.memory.memory_cluster import memory_cluster
from kwire.types import OFFSETS_TOPIC, TRANSACTION_TOPIC
from kwire.wire import messages as m

GROUP, TRANSACTIONAL_ID = "g", "tx"
GROUP_KEY, TRANSACTION_KEY = 0, 1
BROKERS = (1, 2, 3)
RETRY_S = 0.5
# librdkafka repeats a request of a transaction after these errors; after any other the transaction has failed.
REPEATED = {
    Code.NOT_COORDINATOR,
    Code.COORDINATOR_NOT_AVAILABLE,
    Code.COORDINATOR_LOAD_IN_PROGRESS,
    Code.CONCURRENT_TRANSACTIONS,
}


class Client:
    """Asks as librdkafka does."""

    def __init__(self, cluster):
        self.cluster = cluster
        self.asked = 0
        self.before_txn_offset_commit = None

    async def ask(self, node_id, request, version):
        """The answer, or None if the connection is lost. Raises TimedOut if there is neither in a minute."""
        try:
            return await self.cluster.client(node_id).request(request, version=version)
        except Disconnected:
            return None

    async def listed(self, node_id):
        answer = await self.ask(node_id, m.MetadataRequest(topics=[]), 12)
        return set() if answer is None else {broker.node_id for broker in answer.brokers}

    async def coordinator(self, key, key_type):
        """Ask one broker after the other, until one names a broker."""
        for _ in range(200):
            self.asked += 1
            node_id = BROKERS[self.asked % 3]
            before = await self.listed(node_id)
            answer = await self.ask(node_id, m.FindCoordinatorRequest(key=key, key_type=key_type), 2)
            if answer is not None and not answer.error_code:
                assert answer.node_id in before | await self.listed(node_id)
                assert answer.host == f"broker{answer.node_id}"
                return answer.node_id
            assert answer is None or Code(answer.error_code) is Code.COORDINATOR_NOT_AVAILABLE
            await trio.sleep(RETRY_S)
        raise AssertionError(f"no coordinator of {key}")

    async def call(self, version, request):
        """For ``transactional.Producer``."""
        codes = []
        for _ in range(200):
            answer = await self.ask(await self.broker_for(request), request, version)
            if answer is not None:
                codes.append(code_of(answer))
                if codes[-1] not in REPEATED:
                    return answer
            await trio.sleep(RETRY_S)
        raise AssertionError(f"{type(request).__name__}: {codes[-5:]}")

    async def broker_for(self, request):
        match request:
            case m.ProduceRequest():
                return self.cluster.controller.image.partition("t", 0).leader
            case m.TxnOffsetCommitRequest():
                node_id = await self.coordinator(GROUP, GROUP_KEY)
                if self.before_txn_offset_commit is not None:
                    await self.before_txn_offset_commit()
                return node_id
            case _:
                return await self.coordinator(TRANSACTIONAL_ID, TRANSACTION_KEY)

    async def committed(self):
        """The offset of the group that no transaction can change any more."""
        request = m.OffsetFetchRequest
        topic = request.OffsetFetchRequestTopics(name="t", partition_indexes=[0])
        group = request.OffsetFetchRequestGroup(group_id=GROUP, topics=[topic])
        for _ in range(200):
            node_id = await self.coordinator(GROUP, GROUP_KEY)
            answer = await self.ask(node_id, request(groups=[group], require_stable=True), 8)
            if answer is not None and not answer.groups[0].error_code:
                (one,) = answer.groups[0].topics[0].partitions
                if not one.error_code:
                    return one.committed_offset
            await trio.sleep(RETRY_S)
        raise AssertionError("no stable offset")


def code_of(answer):
    match answer:
        case m.ProduceResponse():
            return Code(answer.responses[0].partition_responses[0].error_code)
        case m.TxnOffsetCommitResponse():
            return Code(answer.topics[0].partitions[0].error_code)
        case m.AddPartitionsToTxnResponse():
            topic = answer.results_by_topic_v3_and_below[0]
            return Code(topic.results_by_partition[0].partition_error_code)
        case _:
            return Code(answer.error_code)


def in_sync(cluster, topic):
    found = cluster.controller.image.topics.get(topic)
    return found is not None and all(len(one.isr) == 3 for one in found.partitions)


def nodes_beside(node_id):
    return ["controller", *(f"broker{each}" for each in BROKERS if each != node_id)]


def cut_off(cluster):
    """The broker reaches no other node and no client, for good."""

    async def disturb(node_id):
        for other in ["client", *nodes_beside(node_id)]:
            cluster.network.cut(f"broker{node_id}", other)

    return disturb


def hold_for_a_while(cluster):
    """Nothing arrives at the broker from other nodes until its session has ended and it has lost its leaderships."""

    async def disturb(node_id):
        for other in nodes_beside(node_id):
            cluster.network.hold(f"broker{node_id}", other)
        await cluster.until(lambda: node_id not in cluster.unfenced())
        await trio.sleep(RETRY_S)
        cluster.network.mend()

    return disturb


FAULTS = {
    "stops": lambda cluster: cluster.stop,
    "is killed": lambda cluster: cluster.kill,
    "is cut off": cut_off,
    "is held up": hold_for_a_while,
}


@pytest.mark.parametrize("whose", ["group", "transaction"])
@pytest.mark.parametrize("phase", ["before AddOffsetsToTxn", "after FindCoordinator"])
@pytest.mark.parametrize("fault", FAULTS)
async def test_offsets_are_committed_while_coordinators_move(autojump_clock, nursery, fault, phase, whose):
    async with memory_cluster(brokers=3, settings={"replica.lag.time.max.ms": "2000"}) as cluster:
        client, producer = await with_one_transaction(cluster)
        keys = {"group": (GROUP, GROUP_KEY), "transaction": (TRANSACTIONAL_ID, TRANSACTION_KEY)}
        coordinator = await client.coordinator(*keys[whose])

        async def disturb():
            client.before_txn_offset_commit = None
            nursery.start_soon(FAULTS[fault](cluster), coordinator)

        await producer.write("t", b"w")
        if phase == "before AddOffsetsToTxn":
            await disturb()
        else:
            client.before_txn_offset_commit = disturb
        assert await producer.offsets(GROUP, "t", 2, version=3) is Code.NONE
        assert await producer.commit() is Code.NONE
        assert await client.committed() == 2


async def with_one_transaction(cluster):
    """A client and its producer, which has committed offset 1; all replicas are in sync."""
    request = m.CreateTopicsRequest
    topic = request.CreatableTopic(name="t", num_partitions=1, replication_factor=3)
    await cluster.client(1).request(request(topics=[topic], timeout_ms=10_000))
    client = Client(cluster)
    producer = Producer(client, TRANSACTIONAL_ID, speaks=OLD)
    assert await producer.init() is Code.NONE
    await producer.write("t", b"v")
    assert await producer.offsets(GROUP, "t", 1, version=3) is Code.NONE
    assert await producer.commit() is Code.NONE
    for name in ("t", OFFSETS_TOPIC, TRANSACTION_TOPIC):
        await cluster.until(lambda name=name: in_sync(cluster, name))
    return client, producer
