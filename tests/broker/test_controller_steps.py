"""Large changes by a controller of several brokers, and its start: others run in between.

Counted are the calls of Python functions between two points at which others run. They may not grow with the number of
partitions.
"""

import pytest
import trio
import trio.testing
from loop_steps import CALLS_PER_PARTITION_MAX, Steps
from test_cluster_controller import CONTROLLER, ControllerPeer

from kwire.broker.controller import metadata_log
from kwire.broker.start import open_broker
from kwire.errors import Code, StorageFailure
from kwire.metadata.cluster import leadership, replica_counts
from kwire.metadata.cluster.replica_counts import ReplicaCounts
from kwire.metadata.commands.topics import CreateTopics
from kwire.metadata.configs.effective import BrokerSettings
from kwire.metadata.decisions.topics import NewTopic
from kwire.testing.memory.files import MemoryFiles
from kwire.wire import messages

SHORT, LONG = 200, 600  # partitions
SETTINGS = {
    "process.roles": "controller",
    "node.id": "3000",
    "controller.listener.names": "CONTROLLER",
    "listeners": "CONTROLLER://localhost:9093",
    "log.dirs": "/data",
}


def started(files, **settings):
    return open_broker(BrokerSettings({**SETTINGS, **settings}), files, endpoints=[], controller_endpoints=[CONTROLLER])


class Cluster(ControllerPeer):
    """Brokers 1 to 3, the first of which leads all partitions."""

    async def begin(self, partitions):
        self.epochs = {}
        for broker_id in (1, 2, 3):
            self.epochs[broker_id] = await self.join(broker_id, log_dirs=[bytes([broker_id, n]) * 8 for n in (1, 2)])
        await create_partitions(self, partitions)
        return self

    async def until(self, holds):
        with trio.fail_after(30):
            while not holds():  # noqa: ASYNC110 (no event tells of every condition)
                await trio.sleep(0.01)

    def leaders(self):
        return {one.leader for topic in self.broker.image.topics.values() for one in topic.partitions}

    def listed(self, broker_id):
        return len([one for one in self.partitions() if broker_id in one.isr + one.eligible_leader_replicas])

    def partitions(self):
        return [one for topic in self.broker.image.topics.values() for one in topic.partitions]


async def create_partitions(node, partitions):
    for first in range(0, partitions, 100):
        rows = tuple((index, (1, 2, 3)) for index in range(100))
        topic = NewTopic(f"topic-{first}", assignments=rows)
        await node.broker.controller.submit(CreateTopics([topic]))


def lose_session(node, broker_id):
    node.broker.cluster_controller.sessions.extend(-60_000)
    for other in (1, 2, 3):
        if other != broker_id:
            node.broker.cluster_controller.sessions.touch(
                other, fenced=False, metadata_offset=1 << 40, now_ms=node.broker.clock.monotonic_ms()
            )


async def stop(node):
    await node.beat(1, node.epochs[1], want_shut_down=True)
    await node.until(lambda: not node.listed(1) or node.leaders() == {2})
    await node.beat(2, node.epochs[2])
    await node.beat(3, node.epochs[3])
    return (await node.beat(1, node.epochs[1], want_shut_down=True)).should_shut_down


async def follow_and_stop(node):
    """A broker that leads nothing leaves all in-sync sets."""
    for _ in range(100):
        await trio.sleep(0.01)
        if (await node.beat(3, node.epochs[3], want_shut_down=True)).should_shut_down:
            return not [one for one in node.partitions() if 3 in one.isr]
        for other in (1, 2):
            await node.beat(other, node.epochs[other])
    return False


async def end_session(node):
    lose_session(node, 1)
    await node.until(lambda: node.broker.image.brokers[1].fenced)
    return node.leaders() == {2}


async def fail_directories(node):
    """Replicas that are not in one directory, as far as is known, count as being in either."""
    lost = [bytes([1, n]) * 8 for n in (1, 2)]
    await node.beat(1, node.epochs[1], offline_log_dirs=lost[:1])
    await node.until(lambda: node.broker.image.brokers[1].log_dirs == (lost[1],))
    return True


async def register_again(node):
    """After an unclean stop the broker is eligible nowhere (KIP-966)."""
    node.broker.cluster_controller.sessions.extend(-60_000)
    response = await node.register(1, incarnation_id=bytes(15) + b"n", log_dirs=[bytes([1, 1]) * 8])
    return response.error_code == Code.NONE and not node.listed(1)


async def unregister(node):
    response = await node.call(0, messages.UnregisterBrokerRequest(broker_id=1))
    return response.error_code == Code.NONE and not node.listed(1) and 1 not in node.broker.image.brokers


CHANGES = {one.__name__: one for one in (stop, follow_and_stop, end_session, fail_directories, register_again)}
CHANGES["unregister"] = unregister


async def most_calls(change, partitions):
    async with started(MemoryFiles()) as controller:
        node = await Cluster(controller).begin(partitions)
        with Steps() as steps:
            assert await change(node)
        counts = controller.cluster_controller._counts
        assert vars(counts) == vars(ReplicaCounts.of(controller.image))
    return steps.most


@pytest.fixture
def _few_visits(monkeypatch):
    for module in (leadership, replica_counts):
        monkeypatch.setattr(module, "METADATA_STEP_VISITS", 100)


@pytest.mark.usefixtures("_few_visits")
@pytest.mark.parametrize("name", CHANGES)
async def test_the_work_between_two_steps_does_not_grow_with_the_partitions(name, autojump_clock):
    await most_calls(CHANGES[name], SHORT)  # the first use of a message compiles it
    short, long = await most_calls(CHANGES[name], SHORT), await most_calls(CHANGES[name], LONG)
    assert long - short <= CALLS_PER_PARTITION_MAX * (LONG - SHORT), f"{short} calls, then {long}"


# Of files: a small segment is read at once, and recovered by storage.
START_CALLS_PER_PARTITION_MAX = 0.5


async def most_calls_of_a_start(partitions, *, with_snapshot):
    files = MemoryFiles()
    async with started(files) as controller:
        await Cluster(controller).begin(partitions)
        if with_snapshot:
            controller.controller.log.snapshot()
        before = controller.image.topics
    with Steps() as steps:
        async with started(files) as controller:
            assert controller.image.topics == before
    return steps.most


async def most_calls_of_a_stop(partitions):
    async with trio.open_nursery() as nursery:
        stop = trio.Event()

        async def run(*, task_status):
            async with started(MemoryFiles()) as controller:
                await Cluster(controller).begin(partitions)
                task_status.started(controller.controller.log)
                await stop.wait()

        log = await nursery.start(run)
        before = log.latest_snapshot
        with Steps() as steps:
            stop.set()
            await trio.testing.wait_all_tasks_blocked()
            while log.latest_snapshot == before:  # noqa: ASYNC110 (no event tells of it)
                await trio.sleep(0.01)
    return steps.most


async def test_the_work_between_two_steps_of_a_stop_does_not_grow_with_the_partitions(autojump_clock, monkeypatch):
    monkeypatch.setattr(metadata_log, "_REPLAY_BYTES_MAX", 1000)
    await most_calls_of_a_stop(SHORT)
    short, long = [await most_calls_of_a_stop(count) for count in (SHORT, LONG)]
    assert long - short <= CALLS_PER_PARTITION_MAX * (LONG - SHORT), f"{short} calls, then {long}"


@pytest.mark.usefixtures("_few_visits")
@pytest.mark.parametrize("with_snapshot", [True, False])
async def test_the_work_between_two_steps_of_a_start_does_not_grow_with_the_partitions(with_snapshot, autojump_clock):
    await most_calls_of_a_start(SHORT, with_snapshot=with_snapshot)
    short, long = [await most_calls_of_a_start(count, with_snapshot=with_snapshot) for count in (SHORT, LONG)]
    assert long - short <= START_CALLS_PER_PARTITION_MAX * (LONG - SHORT), f"{short} calls, then {long}"


# --- the metadata log refuses a step


async def begin_a_stop(files, epochs):
    """Broker 1 begins to stop, and the log refuses the second step."""
    async with started(files) as controller:
        node = await Cluster(controller).begin(100)
        epochs.update(node.epochs)
        await node.beat(1, epochs[1], want_shut_down=True)
        files.fault = lambda operation, _path: OSError(28, "No space left on device") if operation == "append" else None
        await trio.sleep(2)


async def test_a_controlled_shutdown_goes_on_after_a_failed_write_has_stopped_the_controller(
    autojump_clock, monkeypatch
):
    monkeypatch.setattr(leadership, "METADATA_STEP_RECORDS", 10)
    files, epochs = MemoryFiles(), {}
    with pytest.raises(BaseExceptionGroup) as stopped:
        await begin_a_stop(files, epochs)
    assert stopped.group_contains(StorageFailure)
    files.fault = None
    async with started(files) as controller:
        node = Cluster(controller)
        assert node.listed(1) == 90  # the first step is committed
        for _ in range(100):
            for other in (2, 3):
                await node.beat(other, epochs[other])
            if (await node.beat(1, epochs[1], want_shut_down=True)).should_shut_down:
                break
            await trio.sleep(0.1)
        assert (node.listed(1), node.leaders()) == (0, {2})
        assert controller.image.brokers[1].fenced


async def test_partitions_get_their_leaders_when_a_broker_is_unfenced_while_the_metadata_log_refuses_steps(
    autojump_clock, monkeypatch
):
    async with started(MemoryFiles()) as controller:
        node = await Cluster(controller).begin(100)
        for broker_id in (2, 3, 1):
            lose_session(node, broker_id)
            await node.until(lambda broker_id=broker_id: controller.image.brokers[broker_id].fenced)
        assert node.leaders() == {-1}
        commit, refusals = controller.controller.commit, [StorageFailure("/data", "no space left")] * 3

        def refuse(records):
            if refusals and len(records) > 1:
                raise refusals.pop()
            return commit(records)

        monkeypatch.setattr(controller.cluster_controller._steps, "_commit", refuse)
        assert not (await node.beat(1, node.epochs[1])).is_fenced
        await node.until(lambda: node.leaders() == {1})
        assert not refusals
