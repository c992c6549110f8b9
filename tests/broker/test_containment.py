"""No exception in a timer, a background task or a coordinator ends the broker (handlers: server/test_connection.py).

What can fail is found by walking: the call sites that start tasks by the syntax tree of the package, the methods of
coordinators by their classes.
"""

import ast
import inspect
from collections import Counter
from contextlib import asynccontextmanager
from functools import partial, wraps
from pathlib import Path

import pytest
import trio
from peer import Peer

import kwire.broker
from kwire.broker.background.housekeeping import Housekeeping
from kwire.broker.clock import Clock
from kwire.broker.containment import RESTART_MS, must_stop_broker, run_contained
from kwire.coordinators.group.coordinator import GroupCoordinator
from kwire.coordinators.transaction.coordinator import TransactionCoordinator
from kwire.wire.messages import (
    InitProducerIdRequest,
    JoinGroupRequest,
    ListGroupsRequest,
    OffsetCommitRequest,
    OffsetFetchRequest,
)

PACKAGE = Path(kwire.broker.__file__).parent
KWIRE = PACKAGE.parent
SERVER = KWIRE / "server"
HOUR_MS = 3_600_000
SETTINGS = {"offsets.topic.num.partitions": "1", "transaction.state.log.num.partitions": "1"}


class Bug(Exception):
    """What no part of the broker expects."""


@asynccontextmanager
async def serving(start_broker):
    """A broker with a group, a transactional id and a topic."""
    async with start_broker(**SETTINGS) as broker:
        await Peer(broker).create_topic("t")
        await use(broker)
        yield broker


async def use(broker):
    """Requests of groups and transactions, whatever comes of each."""
    peer = Peer(broker)
    topics = [
        OffsetCommitRequest.OffsetCommitRequestTopic(
            name="t",
            partitions=[OffsetCommitRequest.OffsetCommitRequestPartition(partition_index=0, committed_offset=1)],
        )
    ]
    protocols = [JoinGroupRequest.JoinGroupRequestProtocol(name="range", metadata=b"")]
    join = JoinGroupRequest(
        group_id="joined", session_timeout_ms=6000, rebalance_timeout_ms=6000, protocol_type="consumer",
        protocols=protocols,
    )  # fmt: skip
    for version, request in (
        (8, OffsetCommitRequest(group_id="g", generation_id_or_member_epoch=-1, topics=topics)),
        (7, OffsetFetchRequest(group_id="g", topics=None)),
        (3, InitProducerIdRequest(transactional_id="tx", transaction_timeout_ms=60_000)),
        (5, ListGroupsRequest()),
        (3, join),
    ):
        with trio.move_on_after(5):
            await calls(peer, version, request)


async def calls(peer, version, request):
    try:
        return await peer.call(version, request)
    except Bug:
        return None


async def answers(broker):
    """Whether the broker still serves: a group's offset can be committed and read, by new coordinators if need be."""
    await pass_ms(broker, RESTART_MS + 1000)
    await use(broker)
    found = await Peer(broker).call(7, OffsetFetchRequest(group_id="g", topics=None))
    return [each.committed_offset for topic in found.topics for each in topic.partitions] == [1]


async def pass_ms(broker, duration_ms):
    broker.clock.advance(duration_ms)
    await trio.testing.wait_all_tasks_blocked(0.01)


def failing_once(function, raised):
    """``function``, but its first call raises."""

    def fail(*args, **values):
        if not raised:
            raised.append(function.__qualname__)
            raise Bug(function.__qualname__)
        return function(*args, **values)

    return fail


def commands_of(machine):
    return [name for name, _ in inspect.getmembers(machine, inspect.isfunction) if not name.startswith("__")]


EVERY_METHOD = [
    (machine, name) for machine in (GroupCoordinator, TransactionCoordinator) for name in commands_of(machine)
]


@pytest.mark.parametrize(("machine", "name"), EVERY_METHOD, ids=lambda value: getattr(value, "__name__", value))
async def test_a_coordinator_that_raises_is_loaded_again(autojump_clock, start_broker, monkeypatch, machine, name):
    async with serving(start_broker) as broker:
        raised = []
        monkeypatch.setattr(machine, name, failing_once(getattr(machine, name), raised))
        await use(broker)
        await pass_ms(broker, 60_000)  # sessions end
        await pass_ms(broker, 24 * HOUR_MS)  # offsets and transactional ids expire
        monkeypatch.undo()

        assert await answers(broker)


async def test_a_timer_that_raises_does_not_stop_the_others(nursery, capsys):
    clock, fired = Clock(), trio.Event()
    nursery.start_soon(clock.run)

    def fail():
        raise Bug

    clock.call_later(0, fail)
    clock.call_later(0, partial(fail))
    clock.call_later(1, fired.set)
    with trio.fail_after(150):
        await fired.wait()

    assert capsys.readouterr().err.count("timer callback failed") == 2


async def test_an_assertion_of_storage_stops_the_broker(nursery):
    clock = Clock()
    code = compile("assert False", "log.py", "exec")

    def fail():
        exec(code, {"__name__": "kwire.storage.log"})

    clock.call_later(0, fail)
    with pytest.raises(AssertionError) as stopped:
        await clock.run()

    assert must_stop_broker(stopped.value)
    assert must_stop_broker(ExceptionGroup("several", [ValueError(), stopped.value]))
    assert not must_stop_broker(AssertionError())


async def test_a_task_that_raises_is_started_again_after_a_pause(nursery):
    pauses, started = [], []

    async def sleep(duration_ms):
        pauses.append(duration_ms)
        await trio.lowlevel.checkpoint()

    async def task(limit):
        started.append(limit)
        await trio.lowlevel.checkpoint()
        if len(started) < limit:
            raise Bug

    await run_contained(sleep, task, 3)

    assert started == [3, 3, 3]
    assert pauses == [RESTART_MS, RESTART_MS]


def test_every_background_task_is_contained():
    """A task that is started plainly handles its own failures; these few are known to."""
    plain = {
        ("start.py", "clock.run"),  # contains each timer
        ("start.py", "metadata.run"),  # ends the broker when the metadata log is lost
        ("start.py", "broker.cluster_controller.run"),
        ("start.py", "broker.replication.run"),  # starts contained tasks only
        ("start.py", "broker.remote_transactions.run"),
        ("coordination/transactions/remote.py", "self._additions.run"),
        ("coordination/transactions/remote.py", "self._markers.run"),
        ("coordination/transactions/batches.py", "self._send_all"),  # answers with NETWORK_EXCEPTION
        ("coordination/runtime.py", "self._import_and_load"),  # loading is contained
        ("coordination/transactions/machines.py", "self._commit"),  # within a task of a shard
        ("coordination/transactions/machines.py", "self._send"),
        ("coordination/transactions/machines.py", "self._send_to"),
        ("node/member.py", "member.wake_on_metadata"),
        ("node/member.py", "member.watch"),
        ("node/member.py", "self._follow_metadata"),  # ends the broker, whose image would miss a change
        ("node/member.py", "self._heartbeats.run"),
        ("coordination/background.py", "runtime.load_stored"),  # coordinators are contained one by one
        ("share/share_partitions.py", "self._run_task"),  # loads the share partition again
        ("background/housekeeping.py", "check"),  # before anything is served
        ("background/cleaner.py", "self._do_round"),  # marks the log as uncleanable
        ("coordination/runtime.py", "self._run_task"),  # replaces the coordinator
        ("containment.py", "run_contained"),
    }
    started = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                receiver = ast.unparse(node.func.value)
                if node.func.attr == "start_soon" or (node.func.attr == "start" and receiver.endswith("nursery")):
                    # The watchdog runs the task behind its name.
                    is_watched = len(node.args) > 2 and ast.unparse(node.args[0]).split(".")[-1] == "watch"
                    task = ast.unparse(node.args[2] if is_watched else node.args[0])
                    if task != "run_contained" or not is_watched:
                        started.add((path.relative_to(PACKAGE).as_posix(), task))
    assert started == plain


def method_calls(package, *names):
    """The calls of methods with these names in a package, each with its file."""
    for path in package.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in names:
                yield path.relative_to(package).as_posix(), node


def test_every_task_of_the_server_is_contained_or_ends_it():
    """A connection contains its failures; what else the server starts must end it when it fails."""
    started = {(path, ast.unparse(node.args[0])) for path, node in method_calls(SERVER, "start_soon", "start")}
    assert started == {
        ("acceptor.py", "self._connection(accepted, (host, address[1])).run"),
        ("lifecycle.py", "beside"),  # serves HTTP for kwire serve --control
        ("lifecycle.py", "_serve_one_after_the_other"),  # ends the server
        ("lifecycle.py", "acceptor.run"),  # contains each refused or failed connection
        ("lifecycle.py", "stop_when_signalled"),
    }


def test_each_timer_is_contained_by_the_clock_or_by_its_owner():
    """The clock logs what a callback raises; a coordinator's timer handles it before that."""
    found = {(path, ast.unparse(node.args[1])) for path, node in method_calls(KWIRE, "call_later", "call_at")}
    assert found == {
        ("broker/clock.py", "fired.set"),
        ("broker/clock.py", "callback"),
        ("broker/coordination/shard.py", "partial(self._fire, key)"),  # replaces the coordinator
        ("broker/share/share_partitions.py", "partial(self._expire, led)"),  # loads the share partition again
        ("broker/coordination/commits.py", "shard.time_out"),  # answers requests with an error
        ("broker/coordination/share/remote.py", "over.set"),
        ("broker/share/dead_letters.py", "over.set"),
        ("broker/partitions/offset_waits.py", "self.wake"),
        ("broker/replication/fetcher.py", "self._changed.set"),
        ("control/internal_client.py", "scope.cancel"),
        ("proxy/connection.py", "nursery.cancel_scope.cancel"),
        ("broker/background/housekeeping.py", "start"),  # of a contained task
        ("broker/background/housekeeping.py", "clean"),  # likewise
        ("broker/controller/embedded.py", "self._note_old_snapshot"),  # sets the next timer first
        ("broker/coordination/share/share_states.py", "self._prune_again"),  # likewise
        ("broker/background/file_remover.py", "partial(self._note_due, deletion)"),  # wakes a contained task
        ("server/connections/registry.py", "partial(self._end_idle, idle_ms)"),  # sets the next timer first
        ("server/connections/connection.py", "scope.cancel"),
        ("server/connections/connection.py", "callback"),
        ("server/tls/handshake.py", "expire"),  # closes the connection
        ("server/connections/login.py", "partial(self._set_gate, Gate.LOGIN)"),
    }


async def test_the_broker_serves_although_its_tasks_raise(start_broker, monkeypatch):
    """Each background task fails once, at its first pause of this test."""
    async with serving(start_broker) as broker:
        sleep, failed = Clock.sleep, set()

        async def failing_sleep(clock, delay_ms):
            await sleep(clock, delay_ms)
            task = inspect.stack()[1].function
            if task not in failed and task != "run_contained":
                failed.add(task)
                raise Bug(task)

        monkeypatch.setattr(Clock, "sleep", failing_sleep)
        for _ in range(6):
            await pass_ms(broker, HOUR_MS)
        monkeypatch.undo()

        assert {"_flush_and_checkpoint", "_sleep_backoff"} <= failed
        assert await answers(broker)


async def test_periodic_work_that_raises_is_done_again(start_broker, monkeypatch):
    names = ("_retain", "_flush_and_checkpoint", "_expire_producers")
    runs = Counter()

    def failing_once(name, work):
        @wraps(work)
        async def run(self):
            runs[name] += 1
            if runs[name] == 1:
                raise Bug(name)
            await work(self)

        return run

    for name in names:
        monkeypatch.setattr(Housekeeping, name, failing_once(name, getattr(Housekeeping, name)))
    async with serving(start_broker) as broker:
        for _ in range(10):
            await pass_ms(broker, HOUR_MS)
            await pass_ms(broker, RESTART_MS)
        assert all(runs[name] >= 3 for name in names), runs
        assert await answers(broker)
