"""Topics are created, used, deleted and created again under their names, with restarts and kills in between.

A model that knows only topic ids says what each partition must hold: whatever was kept for a former topic of the same
name must not show.
"""

from __future__ import annotations

import dataclasses
import errno
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

import trio
import trio.testing
from effort import examples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from peer import Peer, cleaner_of

from kwire.broker.start import open_broker
from kwire.metadata.configs.effective import BrokerSettings
from kwire.metadata.decisions.topics import delete_topics
from kwire.testing.memory.files import MemoryFiles
from kwire.wire.batches.batch import read_batch_header
from kwire.wire.batches.records import Record, build_batch, read_records
from kwire.wire.messages import FindCoordinatorRequest, OffsetCommitRequest, OffsetFetchRequest

DIRECTORIES = "a,b"
NAMES = ("t", "t", "t", "u")
BATCHES_IN_SEGMENT = 3


@dataclass
class Topic:
    """What a topic of one id holds: its records by offset, where it starts, and what its group has committed."""

    id: bytes
    values: list[bytes] = field(default_factory=list)
    start: int = 0
    checkpointed_start: int = 0
    committed: int = -1


class World:
    """One data directory, the broker that has it, and the model."""

    def __init__(self) -> None:
        self.files = MemoryFiles()
        self.topics: dict[str, Topic] = {}
        self.count = 0
        self._stack = AsyncExitStack()

    async def start(self) -> None:
        settings = BrokerSettings({"log.dirs": DIRECTORIES, "offsets.topic.num.partitions": "1"})
        opened = open_broker(settings, self.files, endpoints=[Peer.endpoint])
        self.broker = await self._stack.enter_async_context(opened)
        self.client = Peer(self.broker)

    async def stop(self) -> None:
        await self._stack.aclose()

    # --- steps

    async def create(self, name: str, _share: float) -> None:
        if name not in self.topics:
            self.topics[name] = Topic(await self.client.create_topic(name))

    async def delete(self, name: str, share: float) -> None:
        topic = self.topics.pop(name, None)
        if topic is None:
            return
        if share < 0.2:
            # The directory keeps its name, and its files.
            self.files.fault = lambda operation, path: (
                OSError(errno.EIO, "Input/output error")
                if operation == "rename" and path.endswith(f"{name}-0")
                else None
            )
        self.broker.controller.commit(delete_topics(self.broker.image, [topic.id]).records)
        self.files.fault = None
        await trio.testing.wait_all_tasks_blocked()

    async def recreate(self, name: str, share: float) -> None:
        await self.delete(name, share)
        await self.create(name, share)

    async def produce(self, name: str, share: float) -> None:
        topic = self.topics.get(name)
        if topic is None:
            return
        partition = self.broker.partitions.get(name, 0)
        for _ in range(1 + int(share * 8)):
            self.count += 1
            value = b"%d of %s" % (self.count, topic.id)
            batch = memoryview(build_batch([Record(0, self.broker.clock.now_ms(), b"key", value)]))
            assert partition.append(batch, read_batch_header(batch), acks=-1).base_offset == len(topic.values)
            topic.values.append(value)
            if len(topic.values) % BATCHES_IN_SEGMENT == 0:
                partition.log.roll(self.broker.clock.now_ms())

    async def delete_records(self, name: str, share: float) -> None:
        topic = self.topics.get(name)
        if topic is not None:
            offset = topic.start + int(share * (len(topic.values) - topic.start))
            assert self.broker.partitions.get(name, 0).delete_records_before(offset) == offset
            topic.start = offset

    async def retain(self, name: str, share: float) -> None:
        topic = self.topics.get(name)
        if topic is None:
            return
        partition = self.broker.partitions.get(name, 0)
        before = partition.settings
        partition.configure(
            dataclasses.replace(before, log=dataclasses.replace(before.log, retention_bytes=int(share * 1000)))
        )
        self.broker.housekeeping.apply_retention(partition)
        partition.configure(before)
        assert partition.log.log_start_offset >= topic.start
        topic.start = partition.log.log_start_offset

    async def clean(self, name: str, _share: float) -> None:
        """Compact: of each key, which here is one key, the last record in the sealed segments stays."""
        topic = self.topics.get(name)
        if topic is None:
            return
        partition = self.broker.partitions.get(name, 0)
        before = partition.settings
        partition.configure(dataclasses.replace(before, log=dataclasses.replace(before.log, compact=True)))
        await cleaner_of(self.broker).clean(partition)
        partition.configure(before)
        sealed = [segment for segment in partition.log.segments[:-1] if segment.size_bytes]
        headers = [header for segment in sealed for _, header in segment.walk()]
        records = sum(header.base_offset >= topic.start for header in headers)
        assert records <= 1, "what a former topic had cleaned counts for nothing"

    async def commit(self, name: str, _share: float) -> None:
        topic = self.topics.get(name)
        if topic is None:
            return
        await self._find_coordinator()
        partition = OffsetCommitRequest.OffsetCommitRequestPartition(
            partition_index=0, committed_offset=len(topic.values)
        )
        wanted = OffsetCommitRequest.OffsetCommitRequestTopic(name=name, partitions=[partition])
        answer = await self.client.call(
            8, OffsetCommitRequest(group_id="g", generation_id_or_member_epoch=-1, topics=[wanted])
        )
        assert answer.topics[0].partitions[0].error_code == 0
        topic.committed = len(topic.values)

    async def move(self, name: str, _share: float) -> None:
        if name not in self.topics:
            return
        partition = self.broker.partitions.get(name, 0)
        target = next(one for one in self.broker.dirs.dirs if one.path != partition.log_dir)
        self.broker.moves.request(partition, target)
        while self.broker.moves.pending:  # noqa: ASYNC110 - nothing else waits for this, so there is no event
            await trio.sleep(0.001)
        assert partition.log_dir == target.path

    async def move_and_recreate(self, name: str, share: float) -> None:
        """The topic of a pending move is deleted before the move."""
        if name not in self.topics:
            return
        partition = self.broker.partitions.get(name, 0)
        self.broker.moves.request(
            partition, next(one for one in self.broker.dirs.dirs if one.path != partition.log_dir)
        )
        await self.recreate(name, share)
        lies_in = self.broker.partitions.get(name, 0).log_dir
        await trio.testing.wait_all_tasks_blocked(0.001)
        assert not self.broker.moves.pending
        assert self.broker.partitions.get(name, 0).log_dir == lies_in

    async def checkpoint(self, _name: str, _share: float) -> None:
        await self.broker.housekeeping.flush_and_checkpoint()
        self._note_starts()

    async def wait(self, _name: str, share: float) -> None:
        self.broker.clock.advance(share * 120_000)
        await trio.testing.wait_all_tasks_blocked(0.001)

    async def restart(self, _name: str, _share: float) -> None:
        await self.stop()
        self._note_starts()
        await self.start()

    async def kill(self, _name: str, _share: float) -> None:
        left = self.files.fork()
        left.kill()
        await self.stop()  # what it writes, it writes where nothing reads any more
        self.files = left
        await self.start()
        for name, topic in self.topics.items():
            # The log start offset is that of the last checkpoint, or of the first segment that is left.
            start = self.broker.partitions.get(name, 0).log.log_start_offset
            assert topic.checkpointed_start <= start <= topic.start
            topic.start = start

    def _note_starts(self) -> None:
        for topic in self.topics.values():
            topic.checkpointed_start = topic.start

    # --- what must always hold

    async def check(self) -> None:
        for name, topic in self.topics.items():
            log = self.broker.partitions.get(name, 0).log
            assert (log.log_start_offset, log.end_offset) == (topic.start, len(topic.values))
            assert log.high_watermark == len(topic.values)
            for view in log.read_batches(log.log_start_offset):
                for record in read_records(view):
                    assert record.value == topic.values[record.offset]
        await self._find_coordinator()
        for name, topic in self.topics.items():
            wanted = OffsetFetchRequest.OffsetFetchRequestTopic(name=name, partition_indexes=[0])
            answer = await self.client.call(5, OffsetFetchRequest(group_id="g", topics=[wanted]))
            assert answer.topics[0].partitions[0].committed_offset == topic.committed

    async def _find_coordinator(self) -> None:
        await self.client.call(3, FindCoordinatorRequest(key="g", key_type=0))


STEPS = [
    World.create,
    World.delete,
    World.recreate,
    World.recreate,
    World.produce,
    World.produce,
    World.delete_records,
    World.retain,
    World.clean,
    World.commit,
    World.move,
    World.move_and_recreate,
    World.checkpoint,
    World.wait,
    World.restart,
    World.kill,
]


async def _run(steps) -> None:
    world = World()
    await world.start()
    try:
        for name in dict.fromkeys(NAMES):
            await world.create(name, 0)
            await world.produce(name, 1)
        for step, name, share in steps:
            await step(world, name, share)
        await world.check()
        await world.restart("", 0)
        await world.check()
    finally:
        await world.stop()


@settings(max_examples=examples(40), deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.tuples(st.sampled_from(STEPS), st.sampled_from(NAMES), st.floats(0, 1)), min_size=15, max_size=30))
def test_a_recreated_topic_has_nothing_of_the_former_topic_of_its_name(steps):
    trio.run(_run, steps)


def _sequence(*steps):
    return [(step, "t", share) for step, share in steps]


def test_a_recreated_topic_begins_at_offset_0_after_delete_records_and_a_restart():
    trio.run(
        _run,
        _sequence(
            (World.delete_records, 0.6),
            (World.restart, 0),
            (World.recreate, 1),
            (World.produce, 0),
        ),
    )


def test_a_recreated_topic_begins_at_offset_0_after_a_kill_before_the_next_checkpoint():
    trio.run(
        _run,
        _sequence(
            (World.delete_records, 0.6),
            (World.checkpoint, 0),
            (World.recreate, 1),
            (World.produce, 0),
            (World.kill, 0),
            (World.produce, 0),
        ),
    )


def test_a_recreated_topic_does_not_get_files_that_could_not_be_renamed():
    trio.run(_run, _sequence((World.recreate, 0), (World.produce, 0)))


def test_a_recreated_topic_is_compacted_from_its_first_record_on_after_a_kill():
    trio.run(
        _run,
        _sequence(
            (World.clean, 0),
            (World.recreate, 1),
            (World.produce, 1),
            (World.kill, 0),
            (World.clean, 0),
        ),
    )


def test_a_moved_partition_keeps_its_log_start_offset_after_a_kill():
    trio.run(_run, _sequence((World.delete_records, 0.7), (World.checkpoint, 0), (World.move, 0), (World.kill, 0)))
