"""The states of share partitions whose coordinator is another broker, over encoded requests."""

import pytest
import trio
import trio.testing
from peer import Peer

from kwire.broker.coordination.share.remote import RemoteShareStates
from kwire.broker.outbound.interface import Disconnected
from kwire.broker.start import open_broker
from kwire.broker.waits import Patient
from kwire.coordinators.share.coordinator import Write
from kwire.coordinators.share.state import DeliveryState, SharePartitionKey, StateBatch
from kwire.errors import Code, KafkaError
from kwire.metadata.configs.effective import BrokerSettings
from kwire.testing.memory.files import MemoryFiles
from kwire.types import SHARE_STATE_TOPIC
from kwire.wire import codec

pytestmark = pytest.mark.usefixtures("mock_clock")

COORDINATOR, HERE = 1, 2
WAITS = Patient()


class Link:
    def __init__(self, broker):
        self.peer = Peer(broker)
        self.requests = 0
        self.failures = []

    async def request(self, message, *, version=None, timeout_ms=None):
        self.requests += 1
        if self.failures:
            failure = self.failures.pop(0)
            if isinstance(failure, Exception):
                raise failure
            return failure(message)
        return await self.peer.call(self.peer.apis[message.KEY].served[-1], message)


class Stage:
    def __init__(self, broker, topic_id):
        self.broker, self.link = broker, Link(broker)
        self.key = SharePartitionKey("g", topic_id, 0)
        self.coordinator = COORDINATOR
        self.states = RemoteShareStates(
            states=self, node_id=HERE, connection=lambda node_id, client_id: self.link, clock=broker.clock
        )

    async def coordinator_of(self, key):
        assert key.startswith("g:")
        return self.coordinator

    async def write(self, waits, key, write):
        raise KafkaError(Code.FENCED_STATE_EPOCH, "here")

    def refuse(self, *codes):
        """Let the coordinator refuse the next requests."""
        for code in codes:
            self.link.failures.append(lambda message, code=code: refusal(message, code))


def refusal(message, code):
    response = codec.response_class(message.KEY)
    result = next(each for name, each in vars(response).items() if name.endswith("Result") and "State" in name)
    return response(results=[result(partitions=[response.PartitionResult(partition=0, error_code=code)])])


@pytest.fixture
async def stage():
    settings = BrokerSettings({"log.dirs": "/data"})
    async with open_broker(settings, MemoryFiles(), endpoints=[Peer.endpoint]) as broker:
        topic_id = await Peer(broker).create_topic("t", 1)
        yield Stage(broker, topic_id)


async def code_of(call):
    with pytest.raises(KafkaError) as refused:
        await call
    return refused.value.code


def a_write(state_epoch=3, leader_epoch=0, *batches, start_offset=5):
    return Write(state_epoch, leader_epoch, start_offset, len(batches), batches)


async def test_redundant_records_are_deleted_at_each_interval():
    interval_ms = 3_600_000
    texts = {
        "log.dirs": "/data",
        "share.coordinator.snapshot.update.records.per.snapshot": "0",
        "share.coordinator.state.topic.prune.interval.ms": str(interval_ms),
        "share.coordinator.cold.partition.snapshot.interval.ms": str(10 * interval_ms),
    }
    async with open_broker(BrokerSettings(texts), MemoryFiles(), endpoints=[Peer.endpoint]) as broker:
        stage = Stage(broker, await Peer(broker).create_topic("t", 1))
        await stage.states.initialize(WAITS, stage.key, 3, 5)
        [log] = [one.log for one in broker.partitions.of_topic(SHARE_STATE_TOPIC).values() if one.log.end_offset]
        for _ in range(2):
            before = log.end_offset
            await stage.states.write(WAITS, stage.key, a_write())
            assert log.log_start_offset < before
            broker.clock.advance(interval_ms)
            await trio.testing.wait_all_tasks_blocked()
            assert log.log_start_offset == before


async def test_a_state_written_at_another_broker_is_read_from_there(stage):
    await stage.states.initialize(WAITS, stage.key, 3, 5)
    batch = StateBatch(7, 8, DeliveryState.ACKNOWLEDGED, 1)
    await stage.states.write(WAITS, stage.key, a_write(3, 0, batch))
    state = await stage.states.read(WAITS, stage.key, 0)
    assert (state.state_epoch, state.start_offset, state.batches) == (3, 5, (batch,))
    summary = await stage.states.summary(WAITS, stage.key)
    assert (summary.state_epoch, summary.start_offset, summary.delivered_count) == (3, 5, 1)
    await stage.states.delete(WAITS, stage.key)
    assert await stage.states.summary(WAITS, stage.key) is None


async def test_a_refusal_of_the_other_broker_is_raised(stage):
    await stage.states.initialize(WAITS, stage.key, 3, 5)
    assert await code_of(stage.states.write(WAITS, stage.key, a_write(2))) is Code.FENCED_STATE_EPOCH


async def test_a_coordinator_that_moves_or_loads_is_retried(stage):
    stage.refuse(Code.NOT_COORDINATOR, Code.COORDINATOR_LOAD_IN_PROGRESS)
    stage.link.failures.append(Disconnected("gone"))
    await stage.states.initialize(WAITS, stage.key, 3, 5)
    assert stage.link.requests == 4


async def test_an_unreachable_coordinator_ends_the_retries(stage):
    stage.link.failures = [Disconnected("gone")] * 100
    assert await code_of(stage.states.read(WAITS, stage.key, 0)) is Code.NETWORK_EXCEPTION
    assert 2 < stage.link.requests < 20


async def test_a_coordinator_that_is_this_broker_is_asked_without_a_request(stage):
    stage.coordinator = HERE
    assert await code_of(stage.states.write(WAITS, stage.key, a_write())) is Code.FENCED_STATE_EPOCH
    assert stage.link.requests == 0
