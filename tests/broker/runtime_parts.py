"""A runtime of coordinators without a broker: a machine that counts, over a partition that commits on demand."""

from types import SimpleNamespace

import trio

from kwire.broker.clock import Clock
from kwire.broker.coordination.metadata_view import MetadataView
from kwire.broker.coordination.runtime import Runtime, RuntimeParts
from kwire.broker.partitions.partition import Role
from kwire.coordinators.machine import Effects, Record
from kwire.coordinators.timeline import Table, Timeline
from kwire.errors import Code, KafkaError

TOPIC = "__counters"
TOPIC_ID = b"t" * 16


class Counter:
    """A machine with one durable count, and a soft count of its commands."""

    def __init__(self):
        self.timeline = Timeline()
        self.counts = Table(self.timeline)
        self.changes = []
        self.was_unloaded = False
        self.offsets = []

    def add(self, by, *, ticket, now_ms):
        self.counts["soft"] = (self.counts.get("soft") or 0) + 1
        if by == "bug":
            raise ZeroDivisionError
        if by < 0:
            raise KafkaError(Code.INVALID_REQUEST)
        effects = Effects(records=[Record(b"count", str((self.counts.get("count") or 0) + by).encode())])
        effects.reply(ticket, by)
        return effects

    def look(self, *, ticket, now_ms):
        """A command that changes nothing, and shows what is written."""
        effects = Effects()
        effects.reply(ticket, self.counts.get("count"))
        return effects

    def follow(self, *, ticket, now_ms):
        """A command with a follow-up, whose answer waits for that."""
        effects = Effects(records=[Record(b"count", b"1")])
        effects.follow_up = ticket
        return effects

    def read(self):
        return self.counts.committed("count") or 0

    def replay(self, key, value, *, offset, **_):
        self.offsets.append(offset)
        self.counts[key.decode()] = int(value)

    def replay_marker(self, producer_id, producer_epoch, *, committed):
        self.counts["marked"] = producer_id

    def loaded(self, metadata, now_ms):
        effects = Effects()
        effects.set_timer("tick", now_ms + 60_000)
        return effects

    def on_timer(self, key, now_ms):
        return self.add(100, ticket=-1, now_ms=now_ms)

    def on_metadata_change(self, change, metadata, now_ms):
        self.changes.append((change, metadata.topic_exists(TOPIC_ID)))
        return Effects()

    def on_append_result(self, follow_up, error, now_ms):
        effects = Effects()
        effects.reply(follow_up, ("followed", error))
        return effects

    def clock_stepped(self, by_ms):
        self.counts["stepped"] = by_ms

    def unloaded(self):
        self.was_unloaded = True


class FakePartition:
    """A log of values; ``is_held``: what is appended is committed only by ``commit``."""

    index = 0
    leader = None
    leading_since = 0
    replicas = (1,)
    role = Role.LEADER
    settings = SimpleNamespace(validation=SimpleNamespace(max_message_bytes=1000))

    def __init__(self):
        self.log = SimpleNamespace(
            end_offset=0, log_start_offset=0, read_batches=lambda offset: iter(self.batches[offset:])
        )
        self.batches = []
        self.high_watermark = 0
        self.is_held = False
        self.refusal = None
        self.changed = trio.Event()
        self.failure = None

    def __str__(self):
        return f"{TOPIC}-0"

    def read_batches(self, offset):
        return iter(self.batches[offset:])

    def append_own(self, batch):
        if self.refusal is not None:
            raise self.refusal
        base = self.log.end_offset
        stamped = base.to_bytes(8, "big") + batch[8:]
        self.batches.append(memoryview(stamped))
        self.log.end_offset += 1
        if not self.is_held:
            self.high_watermark = self.log.end_offset
        return SimpleNamespace(base_offset=base, next_offset=self.log.end_offset)

    def is_committed(self, offset):
        return self.high_watermark >= offset

    async def committed(self, offset, *, since):
        assert since == self.leading_since
        while self.high_watermark < offset:
            await self.changed.wait()
            if self.failure is not None:
                raise self.failure

    def commit(self):
        self.high_watermark = self.log.end_offset
        self.changed.set()
        self.changed = trio.Event()

    def lose(self, failure):
        self.failure = failure
        del self.batches[self.high_watermark :]
        self.log.end_offset = self.high_watermark
        self.changed.set()


class Waiting:
    async def wait(self, event, timeout_ms):
        await event.wait()
        return True


class Stage:
    def __init__(self, **settings):
        self.clock = Clock()
        self.partition = FakePartition()
        self.failures = []
        self.image = SimpleNamespace(
            topics={TOPIC: SimpleNamespace(partitions=[None])}, topics_by_id={TOPIC_ID: None}, features={"f": 2}
        )
        self.metadata = MetadataView(self.image, SimpleNamespace(group=lambda group_id: {}))
        self.made = []
        partitions = SimpleNamespace(
            of_topic=lambda topic: {0: self.partition},
            get=lambda topic, index: self.partition,
            has_directory=lambda partition: True,
        )
        parts = RuntimeParts(
            clock=self.clock,
            partitions=partitions,
            metadata=self.metadata,
            create_topic=None,
            storage_failed=self.failures.append,
            **settings,
        )
        self.runtime = Runtime(parts, TOPIC, self.make, write_timeout_ms=5_000)

    def make(self):
        self.made.append(Counter())
        return self.made[-1]

    async def add(self, by):
        return await self.runtime.submit(
            Waiting(), "key", lambda machine, ticket, now_ms: machine.add(by, ticket=ticket, now_ms=now_ms)
        )

    async def submit(self, command):
        return await self.runtime.submit(
            Waiting(), "key", lambda machine, ticket, now_ms: command(machine, ticket=ticket, now_ms=now_ms)
        )

    async def machine(self):
        return await self.runtime.machine(Waiting(), "key")

    async def read(self):
        return (await self.machine()).read()

    async def pass_ms(self, duration_ms):
        await trio.testing.wait_all_tasks_blocked()
        self.clock.advance(duration_ms)
        await trio.testing.wait_all_tasks_blocked()
