"""kill -9 between any two writes of a transaction's life: what was decided happens, and wholly.

The story is told once. Before each write to a file the whole disk is copied, so the writes themselves say where a
broker can die; then a broker is opened on each copy, and what it makes of the transaction is looked at.
"""

import itertools
from dataclasses import dataclass

import pytest
import trio
import trio.testing
from effort import some
from peer import Peer
from transactional import NEW, OLD, Producer, batch, committed, latest, produce, seen, state

from kwire.broker.start import open_broker
from kwire.errors import Code
from kwire.metadata.configs.effective import BrokerSettings
from kwire.testing.memory.files import MemoryFiles

CHANGES = {"append", "write", "rename", "truncate", "remove"}
SETTINGS = {
    "log.dirs": "/kwire",
    "offsets.topic.num.partitions": "2",
    "transaction.state.log.num.partitions": "2",
}

# Longer than all of this takes on a slow machine, so that a transaction is overdue when the clock is moved and not
# before; and so short that moving the clock does not lead to retention, which would take away the old records.
TIMEOUT_MS = 200_000


@dataclass
class Step:
    """The disk before one write, and what the client had heard by then."""

    what: str
    files: MemoryFiles
    heard: frozenset[str]


def open_on(files, **more):
    return open_broker(BrokerSettings({**SETTINGS, **more}), files, endpoints=[Peer.endpoint])


class Recorder:
    """Copies the disk before each change, once it is told to watch."""

    def __init__(self):
        self.files = MemoryFiles()
        self.files.fault = self.before
        self.steps = []
        self.heard = set()
        self.watching = False

    def before(self, operation, path):
        if self.watching and operation in CHANGES:
            fork = self.files.fork()
            self.steps.append(Step(f"{operation} {path}", fork, frozenset(self.heard)))

    async def hear(self, what, code):
        assert (await code if not isinstance(code, Code) else code) is Code.NONE, what
        self.heard.add(what)


async def tell(recorder, speaks, settings):
    """One transaction commits, one aborts, over partitions of two topics and a group."""
    async with open_on(recorder.files, **settings) as broker:
        client = Peer(broker)
        await client.create_topic("t", 2)
        await client.create_topic("u")
        for topic, partition in (("t", 0), ("t", 1), ("u", 0)):
            plain = batch(b"plain", producer_id=-1, epoch=-1, sequence=-1, transactional=False)
            await produce(client, topic, plain, partition=partition)
        await committed(client, "g", "t")
        recorder.watching = True
        for name, commit in (("keep", True), ("drop", False)):
            producer = Producer(client, name, speaks=speaks, timeout_ms=TIMEOUT_MS)
            assert await producer.init() is Code.NONE
            await producer.write("t", name.encode())
            await producer.write("t", name.encode(), partition=1)
            await producer.write("u", name.encode())
            assert await producer.offsets("g", "t", 7 if commit else 8) is Code.NONE
            assert await producer.end(commit=commit) is Code.NONE
            recorder.heard.add(f"{name} ended")
            await until_ended(client, name)
        # The next transaction of the same producer does not disturb what was decided.
        await producer.write("t", b"next")
        recorder.heard.add("next written")
        recorder.watching = False


async def until_ended(client, name, unless=("PrepareCommit", "PrepareAbort")):
    """With every batch flushed the markers wait for the disk, which a thread waits for, or for the next attempt."""
    await trio.testing.wait_all_tasks_blocked()
    while await state(client, name) in unless:  # noqa: ASYNC110 (no event; the clock jumps)
        await trio.sleep(0.05)


async def outcome(client):
    """What consumers of committed records see of everything, by place."""
    return {
        "t-0": await seen(client, "t"),
        "t-1": await seen(client, "t", partition=1),
        "u-0": await seen(client, "u"),
        "g": await committed(client, "g", "t"),
    }


KEPT = {"t-0": [b"plain", b"keep"], "t-1": [b"plain", b"keep"], "u-0": [b"plain", b"keep"], "g": 7}
NOT_KEPT = {"t-0": [b"plain"], "t-1": [b"plain"], "u-0": [b"plain"], "g": -1}


@pytest.mark.parametrize("speaks", [NEW, OLD], ids=["new", "old"])
@pytest.mark.parametrize("flush", ["9223372036854775807", "1"], ids=["page-cache", "flush"])
async def test_a_decided_transaction_is_completed_after_a_crash_between_two_writes(autojump_clock, speaks, flush):
    recorder = Recorder()
    settings = {"log.flush.interval.messages": flush}
    await tell(recorder, speaks, settings)
    appends = [step.what for step in recorder.steps if step.what.startswith("append")]
    # Both transactions: init, adds, three batches, an offset, the decision, four markers, the completion.
    assert len(appends) >= 2 * 11, appends
    kinds = set()
    first = 2 * (flush == "1") + (speaks is OLD)
    for step in some([*recorder.steps, *torn(recorder.steps)], first=first):
        kinds.add(await revive(step, settings))
    assert {"kept by decision", "kept at once", "undecided"} <= kinds


def torn(steps):
    """The same, with the last append half there."""
    for step, after in itertools.pairwise(steps):
        operation, path = step.what.split(" ", 1)
        if operation == "append":
            files = after.files.fork()
            content = files.content(path)
            before = len(step.files.content(path)) if path in step.files.paths() else 0
            del content[(before + len(content)) // 2 :]
            yield Step(f"half of {step.what}", files, step.heard)


async def revive(step, settings):
    """Open a broker on what a killed one left, and hold it to its word."""
    files = step.files
    files.kill()
    async with open_on(files, **settings) as broker:
        client = Peer(broker)
        await trio.testing.wait_all_tasks_blocked()
        before = await state(client, "keep")
        was_open = before == "Ongoing"
        if flush_waits(settings):
            await until_ended(client, "keep")
        elif not was_open:
            assert before in ("Empty", "CompleteCommit", Code.TRANSACTIONAL_ID_NOT_FOUND), (step.what, before)
        if "keep ended" in step.heard:
            assert await state(client, "keep") == "CompleteCommit", step.what
        # Whatever was undecided is aborted when its time has come.
        broker.clock.advance(TIMEOUT_MS + 20_000)
        await until_settled(client)
        found = await outcome(client)
        is_kept = await state(client, "keep") == "CompleteCommit"
        assert found == (KEPT if is_kept else NOT_KEPT), step.what
        assert await state(client, "drop") in ("Empty", "CompleteAbort", Code.TRANSACTIONAL_ID_NOT_FOUND), step.what
        for topic, partition in (("t", 0), ("t", 1), ("u", 0)):
            end = broker.partitions.get(topic, partition).log.end_offset
            assert await latest(client, topic, partition=partition) == end, step.what
        await carry_on(client)
    # And once more, after a stop in order.
    async with open_on(files, **settings) as broker:
        again = await outcome(Peer(broker))
        assert {where: what for where, what in again.items() if where != "t-0"} == {
            where: what for where, what in found.items() if where != "t-0"
        }
        assert again["t-0"] == [*found["t-0"], b"later"]
    if not is_kept:
        return "undecided" if was_open else "aborted"
    return "kept at once" if "keep ended" in step.heard else "kept by decision"


def flush_waits(settings):
    return settings["log.flush.interval.messages"] == "1"


async def until_settled(client):
    for name in ("keep", "drop"):
        await until_ended(client, name, unless=("Ongoing", "PrepareCommit", "PrepareAbort"))


async def carry_on(client):
    """Both ids can be used again."""
    for name in ("keep", "drop"):
        producer = Producer(client, name)
        assert await producer.init() is Code.NONE
        await producer.write("u", b"no")
        assert await producer.abort() is Code.NONE
        await until_ended(client, name)
    producer = Producer(client, "keep")
    assert await producer.init() is Code.NONE
    await producer.write("t", b"later")
    assert await producer.commit() is Code.NONE
    await until_ended(client, "keep")
    assert await state(client, "keep") == "CompleteCommit"
