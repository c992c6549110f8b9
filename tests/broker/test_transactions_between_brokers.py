"""A transaction whose coordinator is one broker and whose partition is led by another, over encoded requests."""

from contextlib import asynccontextmanager

import pytest
import trio
from peer import Peer
from transactional import NEW, OLD, Producer

from kwire.broker.coordination.transactions.admission import Admission
from kwire.broker.coordination.transactions.remote import RemoteTransactions, _Addition, _addition_results
from kwire.broker.outbound.interface import Disconnected
from kwire.broker.partitions.partition import Role
from kwire.broker.start import open_broker
from kwire.coordinators.machine import ProducerStamp
from kwire.errors import Code
from kwire.metadata.configs.effective import BrokerSettings
from kwire.testing.memory.files import MemoryFiles
from kwire.types import TopicPartition
from kwire.wire import messages as m
from kwire.wire.batches.batch import read_batch_header

pytestmark = pytest.mark.usefixtures("mock_clock")

COORDINATOR, LEADER = 1, 2
TOPIC = TopicPartition("t", 0)


class Link:
    """The connection to a broker; ``before_answer`` runs when the broker has answered and the answer is on its way."""

    def __init__(self, peer):
        self.peer = peer
        self.requests = []
        self.is_down = False
        self.before_answer = None

    async def request(self, message, *, version=None, timeout_ms=None):
        if self.is_down:
            raise Disconnected("down")
        self.requests.append(message)
        highest = 5 if isinstance(message, m.AddPartitionsToTxnRequest) else 2
        answer = await self.peer.call(highest if version is None else version, message)
        if self.before_answer is not None:
            hook, self.before_answer = self.before_answer, None
            await hook()
        return answer


class Pair:
    """``coordinator`` coordinates every transaction, ``leader`` leads the topic's partition."""

    def __init__(self, coordinator, leader):
        self.coordinator, self.leader = coordinator, leader
        self.to_coordinator, self.to_leader = Link(Peer(coordinator)), Link(Peer(leader))
        self.leader_id = LEADER

    async def connect(self, nursery):
        links = {COORDINATOR: self.to_coordinator, LEADER: self.to_leader}
        remotes = []
        for broker in (self.coordinator, self.leader):
            remote = RemoteTransactions(
                node_id=broker.node_id, connection=lambda node_id, client_id: links[node_id], timeout_ms=1000
            )
            await nursery.start(remote.run)
            remotes.append(remote)

        async def coordinator_of(transactional_id):
            return COORDINATOR

        broker = self.leader
        broker.transactions.coordinator_of = coordinator_of
        broker.admission = Admission(
            transactions=broker.transactions,
            configs=broker.configs,
            clock=broker.clock,
            storage_failures=broker.storage_failures,
            markers=broker.markers,
            remote=remotes[1],
        )
        broker = self.coordinator
        broker.partitions.get(*TOPIC).change_role(Role.FOLLOWER, leader_id=LEADER, leader_epoch=0)
        broker.transactions._remote = remotes[0]
        metadata = broker.transactions._metadata
        known = metadata.leader
        metadata.leader = lambda where: self.leader_id if where == TOPIC else known(where)

    async def pass_ms(self, duration_ms):
        for broker in (self.coordinator, self.leader):
            broker.clock.advance(duration_ms)
        await trio.testing.wait_all_tasks_blocked()

    def markers(self):
        log = self.leader.partitions.get(*TOPIC).log
        headers = [read_batch_header(batch) for batch in log.read_batches(0)]
        return [header.producer_epoch for header in headers if header.is_control]


@pytest.fixture
async def pair(nursery):
    @asynccontextmanager
    async def start(node_id):
        retries = {"add.partitions.to.txn.retry.backoff.max.ms": "5000"}
        settings = BrokerSettings({"log.dirs": "/data", "node.id": str(node_id), **retries})
        async with open_broker(settings, MemoryFiles(), endpoints=[Peer.endpoint], cluster_id="c" * 22) as broker:
            await Peer(broker).create_topic("t", 1)
            yield broker

    async with start(COORDINATOR) as coordinator, start(LEADER) as leader:
        made = Pair(coordinator, leader)
        await made.connect(nursery)
        yield made


def producer_of(pair, speaks):
    """Its coordinator's requests go to the coordinator, its records to the leader."""

    class Split:
        def __init__(self):
            self.coordinator, self.leader = Peer(pair.coordinator), Peer(pair.leader)

        async def call(self, version, request):
            to = self.leader if isinstance(request, m.ProduceRequest) else self.coordinator
            return await to.call(version, request)

    return Producer(Split(), "tx", speaks)


@pytest.mark.parametrize("speaks", [NEW, OLD])
@pytest.mark.parametrize("commit", [True, False])
async def test_a_transaction_ends_with_a_marker_of_the_other_broker(pair, speaks, commit):
    producer = producer_of(pair, speaks)
    assert await producer.init() is Code.NONE
    if speaks is OLD:
        assert await producer.add("t", 0) is Code.NONE
    assert await send(producer, b"a") is Code.NONE
    assert await producer.end(commit=commit) is Code.NONE
    await trio.testing.wait_all_tasks_blocked()
    assert len(pair.markers()) == 1
    assert pair.coordinator.transactions.loaded_shards()[0].machine.describe("tx").state.title == (
        "CompleteCommit" if commit else "CompleteAbort"
    )


async def test_a_partition_that_was_not_added_is_refused_by_the_coordinator(pair):
    producer = producer_of(pair, OLD)
    await producer.init()
    assert await send(producer, b"a") is Code.TRANSACTION_ABORTABLE
    (request,) = pair.to_coordinator.requests
    assert request.transactions[0].verify_only


async def test_a_coordinator_that_does_not_answer_makes_the_client_retry(pair):
    producer = producer_of(pair, NEW)
    await producer.init()
    pair.to_coordinator.is_down = True
    assert await send(producer, b"a") is Code.NOT_ENOUGH_REPLICAS
    pair.to_coordinator.is_down = False
    assert await send(producer, b"a") is Code.NONE


async def test_a_transaction_that_ends_while_the_coordinator_is_asked_gets_no_more_records(pair):
    producer = producer_of(pair, OLD)
    await producer.init()
    await producer.add("t", 0)

    async def abort():
        assert await producer.abort() is Code.NONE
        await trio.testing.wait_all_tasks_blocked()

    pair.to_coordinator.before_answer = abort
    assert await send(producer, b"late") is Code.INVALID_TXN_STATE
    producers = pair.leader.partitions.get(*TOPIC).log.producers
    assert not producers.open
    assert len(pair.markers()) == 1


async def test_the_marker_of_the_transaction_before_refuses_no_record_of_the_next(pair):
    """The coordinator answers CONCURRENT_TRANSACTIONS until that marker is written; it is written before the retry."""
    producer = producer_of(pair, NEW)
    await producer.init()
    await send(producer, b"a")
    pair.to_leader.is_down = True
    assert await producer.commit() is Code.NONE
    await trio.testing.wait_all_tasks_blocked()

    async def write_marker():
        assert pair.markers() == []
        pair.to_leader.is_down = False
        await pair.pass_ms(600)
        assert len(pair.markers()) == 1

    pair.to_coordinator.before_answer = write_marker
    assert await send(producer, b"b") is Code.NONE
    assert len(pair.to_coordinator.requests) == 3


LEADS, FOLLOWS = (Role.LEADER, LEADER), (Role.FOLLOWER, COORDINATOR)


@pytest.mark.parametrize(
    ("roles", "code"),
    [
        ([FOLLOWS], Code.NOT_LEADER_OR_FOLLOWER),
        ([FOLLOWS, LEADS], Code.NOT_LEADER_OR_FOLLOWER),
        ([LEADS], Code.NONE),
    ],
    ids=["lost", "lost and won again", "the same leader in another epoch"],
)
async def test_a_client_asks_again_if_the_leader_changed_while_the_coordinator_was_asked(pair, roles, code):
    producer = producer_of(pair, OLD)
    await producer.init()
    await producer.add("t", 0)
    partition = pair.leader.partitions.get(*TOPIC)

    async def elect():
        for epoch, (role, leader_id) in enumerate(roles, partition.leader_epoch + 1):
            partition.change_role(role, leader_id=leader_id, leader_epoch=epoch)

    pair.to_coordinator.before_answer = elect
    assert await send(producer, b"a") is code


async def test_markers_are_sent_again_until_the_leader_has_written_them(pair):
    producer = producer_of(pair, NEW)
    await producer.init()
    await send(producer, b"a")
    pair.to_leader.is_down = True
    assert await producer.commit() is Code.NONE
    await trio.testing.wait_all_tasks_blocked()
    assert pair.markers() == []
    pair.to_leader.is_down = False
    await pair.pass_ms(600)
    assert len(pair.markers()) == 1


async def test_markers_wait_for_a_partition_to_have_a_leader(pair):
    producer = producer_of(pair, NEW)
    await producer.init()
    await send(producer, b"a")
    pair.leader_id = -1
    assert await producer.commit() is Code.NONE
    await pair.pass_ms(600)
    assert pair.to_leader.requests == []
    pair.leader_id = LEADER
    await pair.pass_ms(600)
    assert len(pair.markers()) == 1


async def test_a_marker_of_a_fenced_coordinator_is_not_sent_again(pair):
    producer = producer_of(pair, NEW)
    await producer.init()
    await send(producer, b"a")
    await Peer(pair.leader).call(2, marker_request(producer, coordinator_epoch=100))
    assert await producer.commit() is Code.NONE
    await pair.pass_ms(600)
    sent = len(pair.to_leader.requests)
    await pair.pass_ms(2_000)
    assert len(pair.to_leader.requests) == sent == 1


@pytest.mark.parametrize(
    ("answered", "code"),
    [
        (Code.CLUSTER_AUTHORIZATION_FAILED, Code.INVALID_TXN_STATE),  # about this broker's rights, not the client's
        (Code.COORDINATOR_LOAD_IN_PROGRESS, Code.COORDINATOR_LOAD_IN_PROGRESS),
    ],
)
def test_a_refused_request_refuses_each_addition(answered, code):
    additions = [_Addition(name, ProducerStamp(1, 0), [TopicPartition("t", 0)], verify_only=True) for name in "ab"]
    results = _addition_results(additions, m.AddPartitionsToTxnResponse(error_code=answered))
    assert [result.code for result in results] == [code, code]


def test_a_partition_that_an_answer_leaves_out_was_not_added():
    response = m.AddPartitionsToTxnResponse
    partition = response.AddPartitionsToTxnPartitionResult(
        partition_index=1, partition_error_code=Code.INVALID_TXN_STATE
    )
    topic = response.AddPartitionsToTxnTopicResult(name="t", results_by_partition=[partition])
    answer = response(
        results_by_transaction=[response.AddPartitionsToTxnResult(transactional_id="a", topic_results=[topic])]
    )
    partitions = [TopicPartition("t", 0), TopicPartition("t", 1)]
    additions = [_Addition(name, ProducerStamp(1, 0), partitions, verify_only=False) for name in "ab"]
    lost = Code.NETWORK_EXCEPTION
    assert _addition_results(additions, answer) == [
        {partitions[0]: lost, partitions[1]: Code.INVALID_TXN_STATE},
        {partitions[0]: lost, partitions[1]: lost},
    ]


async def send(producer, value):
    return Code((await producer.send("t", value)).error_code)


def marker_request(producer, *, coordinator_epoch):
    request = m.WriteTxnMarkersRequest
    return request(
        markers=[
            request.WritableTxnMarker(
                producer_id=producer.producer_id,
                producer_epoch=producer.epoch + 1,
                transaction_result=True,
                coordinator_epoch=coordinator_epoch,
                transaction_version=2,
                topics=[request.WritableTxnMarkerTopic(name="t", partition_indexes=[0])],
            )
        ]
    )
