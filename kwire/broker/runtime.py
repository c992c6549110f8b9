"""Runs coordinators: one pure machine over each partition of an internal topic.

Owns: the machines of one topic, loading them by replaying their logs, carrying out their Effects (append, replay,
replies, timers), and who waits for which reply. May not know: any particular coordinator, requests.

    perform ──► machine ──► Effects ──► one batch appended ──► each record replayed ──► committed ──► settle, replies

Nothing of this waits, unless the topic's flush settings want the batch on the disk first; then what comes after the
commit is done by a task of the runtime's own, so that a client who goes away does not leave the machine in between.

A machine is loaded when it is first asked for, or soon after the start if its partition has a directory: its groups'
sessions and retention begin then. Whoever asks earlier waits; nobody is told COORDINATOR_LOAD_IN_PROGRESS.
"""

from __future__ import annotations

import itertools
import math
from collections import deque
from collections.abc import Callable, Hashable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

import trio

from kwire.broker.clock import Timer
from kwire.broker.context import Context
from kwire.broker.logs import Logger
from kwire.broker.partition import Partition
from kwire.coordinators.machine import Effects, Machine, ProducerStamp, Record, partition_for
from kwire.errors import Code, KafkaError, ProtocolViolation, StorageFailure
from kwire.metadata.image import Delta
from kwire.wire.batch import HEADER_BYTES, BatchHeader, read_batch_header
from kwire.wire.compression import Codec
from kwire.wire.records import Record as BatchRecord
from kwire.wire.records import build_batch, read_records

if TYPE_CHECKING:
    from kwire.broker.broker import Broker

log = Logger("kwire.coordinator")

M = TypeVar("M", bound=Machine)

# A loading machine lets others have a turn each time it has replayed so much.
_REPLAY_SLICE_BYTES: Final = 64 * 1024
# What a record takes in a batch besides its key and value, at most.
_RECORD_OVERHEAD_BYTES: Final = 32
_MARKER_COMMIT: Final = 1

_AS_A_COORDINATOR_SAYS: Final = {
    Code.UNKNOWN_TOPIC_OR_PARTITION: Code.COORDINATOR_NOT_AVAILABLE,
    Code.NOT_ENOUGH_REPLICAS: Code.COORDINATOR_NOT_AVAILABLE,
    Code.REQUEST_TIMED_OUT: Code.COORDINATOR_NOT_AVAILABLE,
    Code.NOT_LEADER_OR_FOLLOWER: Code.NOT_COORDINATOR,
    Code.KAFKA_STORAGE_ERROR: Code.NOT_COORDINATOR,
    Code.MESSAGE_TOO_LARGE: Code.UNKNOWN_SERVER_ERROR,
    Code.RECORD_LIST_TOO_LARGE: Code.UNKNOWN_SERVER_ERROR,
}


class Waiter:
    """Who waits for the reply to one command."""

    __slots__ = ("answered", "event", "result", "ticket")

    def __init__(self, ticket: int) -> None:
        self.ticket = ticket
        self.answered = False
        self.result: object = None
        self.event: trio.Event | None = None


class Runtime(Generic[M]):
    """The machines of ``topic``, one for each of its partitions.

    ``carry_out`` is what the broker does with a machine's orders; ``codec`` compresses what is appended.
    """

    def __init__(
        self,
        broker: Broker,
        topic: str,
        make: Callable[[], M],
        *,
        codec: Codec = Codec.NONE,
        carry_out: Callable[[M, object], None] | None = None,
    ) -> None:
        self.topic = topic
        self._broker = broker
        self._make = make
        self._codec = codec
        self._carry_out = carry_out
        self._shards: dict[int, Shard[M]] = {}
        self._partition_count: int | None = None
        self._nursery: trio.Nursery | None = None

    # --- asking
    # ------------------------------------------------------------------------------------------------------

    async def perform(self, context: Context, key: str, command: Callable[[M, int, int], Effects]) -> Any:
        """Give ``command(machine, ticket, now_ms)`` to the machine that has ``key``, and wait for the reply.

        Raises KafkaError: what the machine refuses, or what a failed append is to a client.
        """
        shard = await self.shard(context, key)
        waiter = shard.perform(command)
        if not waiter.answered:
            waiter.event = trio.Event()
            try:
                await context.wait(waiter.event, math.inf)
            finally:
                shard.forget(waiter)
        if isinstance(waiter.result, KafkaError):
            raise waiter.result
        return waiter.result

    async def machine(self, context: Context, key: str) -> M:
        """The loaded machine that has ``key``, for questions that it answers at once.

        Raises KafkaError(COORDINATOR_NOT_AVAILABLE, NOT_COORDINATOR).
        """
        return (await self.shard(context, key)).machine

    async def machines(self, context: Context) -> list[M]:
        """All machines that hold anything, loaded."""
        if self.topic not in self._broker.image.topics:
            return []
        found = [one for one in self._broker.partitions.of_topic(self.topic).values() if self._holds_anything(one)]
        return [(await self._loaded(context, one.index)).machine for one in found]

    async def shard(self, context: Context, key: str) -> Shard[M]:
        """The loaded shard that has ``key``; the topic is created if there is none yet. Raises as ``machine`` does."""
        index = partition_for(key, self.partition_count())
        shard = self._shards.get(index)
        if shard is not None and shard.loading is None:
            return shard
        return await self._loaded(context, index)

    def partition_count(self) -> int:
        """How many partitions the topic has; it is created if there is none yet.

        Should the topic grow, its keys stay where they are until the broker starts again, as in Kafka.

        Raises KafkaError(COORDINATOR_NOT_AVAILABLE).
        """
        if self._partition_count is None:
            topic = self._broker.image.topics.get(self.topic)
            if topic is None:
                try:
                    topic = self._broker.create_topic_automatically(self.topic)
                except (KafkaError, StorageFailure) as failure:
                    log.warning("cannot create an internal topic", topic=self.topic, why=str(failure))
                    raise KafkaError(Code.COORDINATOR_NOT_AVAILABLE) from failure
            self._partition_count = len(topic.partitions)
        return self._partition_count

    # --- what happens by itself
    # --------------------------------------------------------------------------------------

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Load what lies on disk, and finish what must wait for the disk, until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            task_status.started()
            for partition in list(self._broker.partitions.of_topic(self.topic).values()):
                await trio.lowlevel.checkpoint()
                if self._holds_anything(partition) and partition.index not in self._shards:
                    await self._load_in_slices(self._begin(partition))
            await trio.sleep_forever()

    def follow(self, delta: Delta) -> None:
        """The metadata changed. Without its topic a coordinator knows nothing, and coordinates nothing."""
        if any(topic.name == self.topic for topic in delta.topics_deleted):
            for shard in list(self._shards.values()):
                self.unload(shard, Code.NOT_COORDINATOR)
            self._partition_count = None

    def every_loaded(self, command: Callable[[M], Effects]) -> None:
        """Give each machine that is loaded a command that nobody waits for."""
        for shard in list(self._shards.values()):
            if shard.loading is None:
                shard.carry_out(command(shard.machine))

    def marker_appended(self, index: int, producer: ProducerStamp, *, committed: bool) -> None:
        """A transaction marker was appended to this partition by the one who coordinates the transaction."""
        shard = self._shards.get(index)
        # One that is not loaded, or loading, reads the marker in the log.
        if shard is not None and shard.loading is None:
            shard.machine.replay_marker(producer.producer_id, producer.producer_epoch, committed=committed)

    def unload(self, shard: Shard[M], code: Code) -> None:
        """Forget a machine; those who wait for its replies are told ``code``. Asked again, it is loaded anew."""
        self._shards.pop(shard.partition.index, None)
        shard.close(code)

    # --- loading
    # -----------------------------------------------------------------------------------------------------

    def _holds_anything(self, partition: Partition) -> bool:
        return partition.index in self._shards or self._broker.partitions.has_directory(partition)

    async def _loaded(self, context: Context, index: int) -> Shard[M]:
        shard = self._shards.get(index)
        if shard is None:
            try:
                partition = self._broker.partitions.get(self.topic, index)
            except KafkaError as refusal:
                raise as_coordinator(refusal) from refusal
            shard = self._begin(partition)
            # Most logs are short: done before anybody could wait.
            if not self._step(shard):
                assert self._nursery is not None
                self._nursery.start_soon(self._load_in_slices, shard)
        if shard.loading is not None:
            await context.wait(shard.loading.done, math.inf)
        if shard.failed is not None:
            raise KafkaError(shard.failed)
        return shard

    def _begin(self, partition: Partition) -> Shard[M]:
        shard = self._shards[partition.index] = Shard(self, partition, self._make())
        replayed = (
            replay_log(partition, shard.machine) if self._broker.partitions.has_directory(partition) else iter(())
        )
        shard.loading = Loading(replayed)
        return shard

    async def _load_in_slices(self, shard: Shard[M]) -> None:
        while not self._step(shard):
            await trio.lowlevel.checkpoint()

    def _step(self, shard: Shard[M]) -> bool:
        """Replay one more slice; True when there is nothing left to do."""
        loading = shard.loading
        if loading is None:
            return True
        try:
            next(loading.slices)
        except StopIteration:
            shard.loading = None
            shard.carry_out(shard.machine.loaded(self._broker.clock.now_ms()))
        except (StorageFailure, KafkaError, ProtocolViolation) as failure:
            if isinstance(failure, StorageFailure):
                self._broker.storage_failed(failure)
            log.failure("a coordinator cannot be loaded", failure, partition=str(shard.partition))
            self.unload(shard, Code.NOT_COORDINATOR)
        else:
            return False
        loading.done.set()
        return True

    # --- for shards
    # --------------------------------------------------------------------------------------------------

    @property
    def broker(self) -> Broker:
        return self._broker

    @property
    def codec(self) -> Codec:
        return self._codec

    def order(self, machine: M, order: object) -> None:
        assert self._carry_out is not None, f"nobody carries out {order!r}"
        self._carry_out(machine, order)

    def finish_later(self, shard: Shard[M]) -> None:
        """Some of the shard's batches must reach the disk."""
        assert self._nursery is not None
        self._nursery.start_soon(self._commit, shard)

    async def _commit(self, shard: Shard[M]) -> None:
        try:
            await self._broker.flusher.flush(shard.partition)
        except StorageFailure as failure:
            self._broker.storage_failed(failure)
            # The machine knows more than the disk does: begin anew from what is there.
            self.unload(shard, Code.NOT_COORDINATOR)
            return
        shard.committed()


class Loading:
    __slots__ = ("done", "slices")

    def __init__(self, slices: Iterator[None]) -> None:
        self.slices = slices
        self.done = trio.Event()


class Shard(Generic[M]):
    """One machine over one partition. ``failed`` is set once it was unloaded."""

    def __init__(self, runtime: Runtime[M], partition: Partition, machine: M) -> None:
        self.partition = partition
        self.machine = machine
        self.loading: Loading | None = None
        self.failed: Code | None = None
        self._runtime = runtime
        self._clock = runtime.broker.clock
        self._tickets = itertools.count(1)
        self._waiters: dict[int, Waiter] = {}
        self._timers: dict[Hashable, Timer] = {}
        # Effects whose records are in the log but not committed yet: up to which offset they reach.
        self._uncommitted: deque[tuple[int, Effects, int | None]] = deque()

    def perform(self, command: Callable[[M, int, int], Effects]) -> Waiter:
        """Carry out a command. Its reply is there at once, or comes later. Raises KafkaError when it is refused."""
        waiter = Waiter(next(self._tickets))
        effects = command(self.machine, waiter.ticket, self._clock.now_ms())
        self._waiters[waiter.ticket] = waiter
        self.carry_out(effects, waiter.ticket)
        return waiter

    def forget(self, waiter: Waiter) -> None:
        """Nobody waits for this reply any more. The machine is not told: to it a silent client is a silent client."""
        self._waiters.pop(waiter.ticket, None)

    def carry_out(self, effects: Effects, own_ticket: int | None = None) -> None:
        """Append and replay the records, set the timers, and when all is committed deliver the replies."""
        error = self._append(effects) if effects.records else None
        for key, deadline_ms in effects.timers:
            self._set_timer(key, deadline_ms)
        if error is None and effects.records and self.partition.high_watermark < self.partition.log.end_offset:
            self._uncommitted.append((self.partition.log.end_offset, effects, own_ticket))
            self._runtime.finish_later(self)
            return
        self._conclude(effects, own_ticket, error)

    def committed(self) -> None:
        """The high watermark moved."""
        while self._uncommitted and self._uncommitted[0][0] <= self.partition.high_watermark:
            _, effects, own_ticket = self._uncommitted.popleft()
            self._conclude(effects, own_ticket, None)

    def close(self, code: Code) -> None:
        self.failed = code
        if self.loading is not None:
            self.loading.done.set()
            self.loading = None
        self._uncommitted.clear()
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        for ticket in list(self._waiters):
            self._deliver(ticket, KafkaError(code))

    def _append(self, effects: Effects) -> KafkaError | None:
        """Append and replay. Of effects that are not atomic a part may be done when the rest is refused."""
        partition, producer = self.partition, effects.producer
        try:
            if len(partition.isr) < partition.settings.min_insync_replicas:
                raise KafkaError(Code.NOT_ENOUGH_REPLICAS)
            for records in self._batches(effects):
                base_offset = self._append_batch(records, producer)
                producer_id, epoch = producer or (-1, -1)
                for index, (key, value) in enumerate(records):
                    self.machine.replay(
                        key,
                        value,
                        offset=base_offset + index,
                        timestamp_ms=self._clock.now_ms(),
                        producer_id=producer_id,
                        producer_epoch=epoch,
                    )
        except KafkaError as refusal:
            return as_coordinator(refusal)
        except StorageFailure as failure:
            self._runtime.broker.storage_failed(failure)
            return as_coordinator(KafkaError(Code.KAFKA_STORAGE_ERROR))
        return None

    def _append_batch(self, records: Sequence[Record], producer: ProducerStamp | None) -> int:
        now_ms = self._clock.now_ms()
        producer_id, epoch = producer or (-1, -1)
        batch = build_batch(
            [BatchRecord(index, now_ms, key, value, ()) for index, (key, value) in enumerate(records)],
            codec=self._runtime.codec,
            producer_id=producer_id,
            producer_epoch=epoch,
            transactional=producer is not None,
        )
        if len(batch) > self.partition.settings.validation.max_message_bytes:
            raise KafkaError(Code.MESSAGE_TOO_LARGE)
        return self.partition.append_own(batch).base_offset

    def _batches(self, effects: Effects) -> Iterator[Sequence[Record]]:
        if effects.atomic:
            yield effects.records
            return
        limit = self.partition.settings.validation.max_message_bytes
        batch: list[Record] = []
        size = HEADER_BYTES
        for record in effects.records:
            more = len(record.key) + len(record.value or b"") + _RECORD_OVERHEAD_BYTES
            if batch and size + more > limit:
                yield batch
                batch, size = [], HEADER_BYTES
            batch.append(record)
            size += more
        yield batch

    def _conclude(self, effects: Effects, own_ticket: int | None, error: KafkaError | None) -> None:
        for ticket, result in effects.replies:
            if error is None or ticket != own_ticket:
                self._deliver(ticket, result)
        if effects.follow_up is not None:
            code = None if error is None else error.code
            self.carry_out(self.machine.settle(effects.follow_up, code, self._clock.now_ms()))
        if error is None:
            for order in effects.orders:
                self._runtime.order(self.machine, order)
        elif own_ticket is not None:
            # Unless the machine itself found words for it.
            self._deliver(own_ticket, error)

    def _deliver(self, ticket: int, result: object) -> None:
        waiter = self._waiters.pop(ticket, None)
        if waiter is None:
            return
        waiter.answered, waiter.result = True, result
        if waiter.event is not None:
            waiter.event.set()

    def _set_timer(self, key: Hashable, deadline_ms: int | None) -> None:
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()
        if deadline_ms is not None:
            self._timers[key] = self._clock.call_at(deadline_ms, partial(self._fire, key))

    def _fire(self, key: Hashable) -> None:
        self._timers.pop(key, None)
        self.carry_out(self.machine.on_timer(key, self._clock.now_ms()))


def replay_log(partition: Partition, machine: Machine) -> Iterator[None]:
    """Replay all that is in the log, in slices: each step replays one.

    Raises StorageFailure, KafkaError, ProtocolViolation.
    """
    source = partition.log
    offset = source.log_start_offset
    while offset < source.end_offset:
        replayed_bytes = 0
        # Each slice reads anew, as the log may be cleaned or grow meanwhile.
        for batch in source.read_batches(offset):
            header = read_batch_header(batch)
            _replay_batch(batch, header, machine)
            offset = header.next_offset
            replayed_bytes += header.size_bytes
            if replayed_bytes >= _REPLAY_SLICE_BYTES:
                break
        if not replayed_bytes:
            return
        yield


def _replay_batch(batch: memoryview, header: BatchHeader, machine: Machine) -> None:
    producer_id, epoch = header.producer_id, header.producer_epoch
    if header.is_control:
        for record in read_records(batch):
            kind = int.from_bytes((record.key or b"")[2:4], "big")
            machine.replay_marker(producer_id, epoch, committed=kind == _MARKER_COMMIT)
        return
    if not header.is_transactional:
        producer_id = epoch = -1
    for record in read_records(batch):
        machine.replay(
            record.key or b"",
            record.value,
            offset=record.offset,
            timestamp_ms=record.timestamp_ms,
            producer_id=producer_id,
            producer_epoch=epoch,
        )


def as_coordinator(refusal: KafkaError) -> KafkaError:
    """What a refused append is to the client of a coordinator, who knows nothing of its log."""
    return KafkaError(_AS_A_COORDINATOR_SAYS.get(refusal.code, refusal.code))
