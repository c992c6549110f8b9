"""Transactional producers at random against a model: who commits, aborts, is fenced, is late, or dies with the broker.

The model is a list of what was written, in order, and what became of each transaction. After each step what consumers
of both kinds see must be what the model says, and so must the last stable offset.
"""

import random
from dataclasses import dataclass, field

import pytest
import trio
import trio.testing
from peer import Peer
from transactional import NEW, OLD, READ_UNCOMMITTED, Producer, batch, committed, latest, produce, seen, state

from kwire.broker.clock import Clock
from kwire.broker.start import open_broker
from kwire.errors import Code
from kwire.metadata.configs.effective import BrokerSettings
from kwire.testing.memory.files import MemoryFiles
from kwire.wire import messages as m

pytestmark = pytest.mark.usefixtures("mock_clock")

SETTINGS = {
    "log.dirs": "/kwire",
    "offsets.topic.num.partitions": "2",
    "transaction.state.log.num.partitions": "2",
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "1",
}
TIMEOUT_MS = 30_000
PARTITIONS = 2


@dataclass
class Transaction:
    fate: str = "open"  # open, committed, aborted
    offset: int | None = None  # of the group


@dataclass
class Model:
    """``written``: by partition, value and transaction (None: outside of one) of each record, None for a marker."""

    written: list[list[tuple[bytes, Transaction | None] | None]] = field(
        default_factory=lambda: [[] for _ in range(PARTITIONS)]
    )
    starts: list[int] = field(default_factory=lambda: [0] * PARTITIONS)
    group_offset: int = -1

    def stable(self, partition):
        for offset, record in enumerate(self.written[partition]):
            if record is not None and record[1] is not None and record[1].fate == "open":
                return max(offset, self.starts[partition])
        return len(self.written[partition])

    def all(self, partition):
        return [record[0] for record in self.written[partition][self.starts[partition] :] if record is not None]

    def committed(self, partition):
        records = self.written[partition][self.starts[partition] : self.stable(partition)]
        return [
            record[0]
            for record in records
            if record is not None and (record[1] is None or record[1].fate == "committed")
        ]

    def end(self, transaction, fate, partitions):
        transaction.fate = fate
        for partition in partitions:
            self.written[partition].append(None)
        if fate == "committed" and transaction.offset is not None:
            self.group_offset = transaction.offset


class Story:
    def __init__(self, seed):
        self.dice = random.Random(seed)
        self.files = MemoryFiles()
        self.model = Model()
        self.counter = 0
        self.producers: dict[str, Producer] = {}
        self.open: dict[str, tuple[Transaction, set[int]]] = {}
        self.client = self.broker = None
        # Time goes on from broker to broker.
        self.shift_ms = 0

    async def run(self, steps):
        left = steps
        first = True
        while left > 0:
            clock = Clock()
            clock.advance(self.shift_ms)
            async with open_broker(
                BrokerSettings(SETTINGS), self.files, endpoints=[Peer.endpoint], clock=clock
            ) as self.broker:
                self.client = Peer(self.broker)
                if first:
                    await self.client.create_topic("t", PARTITIONS, segment_bytes=1024 * 1024, segment_ms=3000)
                    first = False
                for producer in self.producers.values():
                    producer.client = self.client
                self.look_at_starts()
                await self.check("at the start")
                for _ in range(min(left, self.dice.randrange(10, 40))):
                    left -= 1
                    await self.step()
                killed = self.files.fork() if self.dice.random() < 0.5 else None
            if killed is not None:
                self.files = killed
                self.files.kill()

    def look_at_starts(self):
        """As in Kafka a kill may undo DeleteRecords: where a log starts is written down now and then."""
        for partition, start in enumerate(self.model.starts):
            self.model.starts[partition] = self.broker.partitions.get("t", partition).log.log_start_offset
            assert self.model.starts[partition] <= start

    async def step(self):
        what = self.dice.choices(
            ["write", "plain", "commit", "abort", "offset", "successor", "late", "time", "roll", "delete", "again"],
            [40, 10, 14, 10, 8, 3, 3, 3, 3, 3, 3],
        )[0]
        await getattr(self, what)()
        await trio.testing.wait_all_tasks_blocked()
        await self.check(what)

    # What may happen

    async def producer(self):
        name = f"tx{self.dice.randrange(4)}"
        if name not in self.producers:
            producer = Producer(self.client, name, speaks=self.dice.choice((NEW, OLD)), timeout_ms=TIMEOUT_MS)
            await self.introduce(producer)
        return self.producers[name]

    async def introduce(self, producer):
        code = await producer.init()
        if producer.transactional_id in self.open:
            assert code is Code.CONCURRENT_TRANSACTIONS
            self.close(producer.transactional_id, "aborted")
            code = await producer.init()
        assert code is Code.NONE
        self.producers[producer.transactional_id] = producer

    def value(self):
        self.counter += 1
        return b"%d" % self.counter

    async def write(self):
        producer = await self.producer()
        partition = self.dice.randrange(PARTITIONS)
        values = [self.value() for _ in range(self.dice.randrange(1, 4))]
        await producer.write("t", *values, partition=partition)
        transaction, partitions = self.open.setdefault(producer.transactional_id, (Transaction(), set()))
        partitions.add(partition)
        self.model.written[partition] += [(value, transaction) for value in values]

    async def plain(self):
        partition, value = self.dice.randrange(PARTITIONS), self.value()
        records = batch(value, producer_id=-1, epoch=-1, sequence=-1, transactional=False)
        await produce(self.client, "t", records, partition=partition)
        self.model.written[partition].append((value, None))

    async def offset(self):
        producer = await self.producer()
        # One at a time: of two open transactions the later record wins, which is not what this is about.
        if any(transaction.offset is not None for transaction, _ in self.open.values()):
            return
        self.counter += 1
        assert await producer.offsets("g", "t", self.counter) is Code.NONE
        transaction, _ = self.open.setdefault(producer.transactional_id, (Transaction(), set()))
        transaction.offset = self.counter

    async def commit(self):
        await self.end(commit=True)

    async def abort(self):
        await self.end(commit=False)

    async def end(self, *, commit):
        if not self.open:
            return
        name = self.dice.choice(sorted(self.open))
        assert await self.producers[name].end(commit=commit) is Code.NONE
        self.close(name, "committed" if commit else "aborted")

    async def again(self):
        """An end whose answer was lost is asked for once more."""
        if not self.open:
            return
        name = self.dice.choice(sorted(self.open))
        producer = self.producers[name]
        commit = self.dice.random() < 0.5
        before = producer.producer_id, producer.epoch
        assert await producer.end(commit=commit) is Code.NONE
        self.close(name, "committed" if commit else "aborted")
        after = producer.producer_id, producer.epoch
        producer.producer_id, producer.epoch = before
        assert await producer.end(commit=commit) is Code.NONE
        assert (producer.producer_id, producer.epoch) == after
        if producer.speaks == NEW:
            producer.sequences.clear()

    async def successor(self):
        """Another process with the same transactional id; the one before may do nothing any more."""
        if not self.producers:
            return
        old = self.producers[self.dice.choice(sorted(self.producers))]
        await self.introduce(Producer(self.client, old.transactional_id, speaks=old.speaks, timeout_ms=TIMEOUT_MS))
        for version in (11, 12):
            assert (await old.send("t", b"zombie", version=version)).error_code == Code.INVALID_PRODUCER_EPOCH
        assert await old.end(commit=True) in (Code.PRODUCER_FENCED, Code.INVALID_PRODUCER_ID_MAPPING)

    async def late(self):
        """Transactions run out of time; their producers hear of it when they come."""
        if not self.open:
            return
        self.advance(TIMEOUT_MS + 1)
        await trio.testing.wait_all_tasks_blocked()
        for name in sorted(self.open):
            self.close(name, "aborted")
            await self.introduce(Producer(self.client, name, speaks=self.producers[name].speaks, timeout_ms=TIMEOUT_MS))

    async def time(self):
        self.advance(10)

    def advance(self, milliseconds):
        self.shift_ms += milliseconds
        self.broker.clock.advance(milliseconds)

    async def roll(self):
        now_ms = self.broker.clock.now_ms()
        self.broker.partitions.get("t", self.dice.randrange(PARTITIONS)).log.roll(now_ms)

    async def delete(self):
        """DeleteRecords, perhaps in the middle of a transaction."""
        partition = self.dice.randrange(PARTITIONS)
        end = len(self.model.written[partition])
        offset = self.dice.randint(self.model.starts[partition], end)
        request = m.DeleteRecordsRequest
        wanted = request.DeleteRecordsPartition(partition_index=partition, offset=offset)
        topics = [request.DeleteRecordsTopic(name="t", partitions=[wanted])]
        answer = await self.client.call(2, request(topics=topics, timeout_ms=1000))
        assert answer.topics[0].partitions[0].error_code == 0
        self.model.starts[partition] = offset

    def close(self, name, fate):
        transaction, partitions = self.open.pop(name)
        self.model.end(transaction, fate, partitions)

    # What must be true

    async def check(self, after):
        for partition in range(PARTITIONS):
            start = self.model.starts[partition]
            size = self.dice.choice((100, 1000, 1 << 20))
            found = await seen(self.client, "t", partition=partition, max_bytes=size, start=start)
            assert found == self.model.committed(partition), after
            everything = await seen(self.client, "t", partition=partition, isolation=READ_UNCOMMITTED, start=start)
            assert everything == self.model.all(partition), after
            assert await latest(self.client, "t", partition=partition) == self.model.stable(partition), after
        pending = any(transaction.offset is not None for transaction, _ in self.open.values())
        expected = Code.UNSTABLE_OFFSET_COMMIT if pending else self.model.group_offset
        assert await committed(self.client, "g", "t") == expected, after
        for name in self.producers:
            is_open = await state(self.client, name) == "Ongoing"
            assert is_open == (name in self.open), after


@pytest.mark.parametrize("seed", range(6))
async def test_consumers_see_the_records_of_the_model(seed):
    await Story(seed).run(120)
