"""One coordinator's machine over one partition: what its Effects ask for is done here.

Owns: appending a machine's records and replaying them, its timers, and who waits for which reply. May not know: any
particular coordinator, requests, when a machine is loaded (``runtime`` does).

What must wait until a batch is committed is kept with the machine, not with the request that led to it, so that a
client who goes away does not leave the machine in between.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, Generic, TypeVar

import trio

from kwire.broker.clock import Clock, Timer
from kwire.broker.partitions.partition import Partition
from kwire.coordinators.machine import Effects, Machine, ProducerStamp, Record
from kwire.errors import Code, KafkaError, StorageFailure
from kwire.wire.batch import HEADER_BYTES, BatchHeader, read_batch_header
from kwire.wire.compression import Codec
from kwire.wire.records import Record as BatchRecord
from kwire.wire.records import build_batch, read_records

M = TypeVar("M", bound=Machine)

# A machine that replays its log lets others have a turn each time it has read so much.
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
    """Who waits for the reply to one command. ``event`` is made by him who really has to wait."""

    __slots__ = ("answered", "event", "result", "ticket")

    def __init__(self, ticket: int) -> None:
        self.ticket = ticket
        self.answered = False
        self.result: object = None
        self.event: trio.Event | None = None


@dataclass(frozen=True, slots=True)
class ShardServices(Generic[M]):
    """What a shard needs of its broker.

    ``now_ms`` is the time for machines; ``wait_committed`` calls ``committed`` once the partition's records below an
    offset are; ``run_action`` performs a machine's actions; ``codec`` compresses what is appended, and
    ``base_sequence`` is what its batches say, though no broker checks the sequence of a coordinator.
    """

    clock: Clock
    now_ms: Callable[[], int]
    codec: Codec
    base_sequence: int
    storage_failed: Callable[[StorageFailure], None]
    wait_committed: Callable[[Shard[M], int], None]
    run_action: Callable[[Shard[M], object], None]


class Shard(Generic[M]):
    """One machine and its partition. ``closed_because`` is set once it may not be used any more."""

    def __init__(self, partition: Partition, machine: M, services: ShardServices[M]) -> None:
        self.partition = partition
        self.machine = machine
        self.closed_because: Code | None = None
        self._services = services
        self._tickets = itertools.count(1)
        self._waiters: dict[int, Waiter] = {}
        self._timers: dict[Hashable, Timer] = {}
        # Effects whose records are in the log but not committed yet, and up to which offset they reach.
        self._uncommitted: deque[tuple[int, Effects, int | None]] = deque()

    def submit(self, command: Callable[[M, int, int], Effects]) -> Waiter:
        """Carry out ``command(machine, ticket, now_ms)``. Its reply is there at once, or comes later.

        Raises KafkaError when the machine refuses.
        """
        waiter = Waiter(next(self._tickets))
        effects = command(self.machine, waiter.ticket, self._services.now_ms())
        self._waiters[waiter.ticket] = waiter
        self.apply(effects, waiter.ticket)
        return waiter

    def forget(self, waiter: Waiter) -> None:
        """Nobody waits for this reply any more. The machine is not told: to it a silent client is a silent client."""
        self._waiters.pop(waiter.ticket, None)

    def apply(self, effects: Effects, own_ticket: int | None = None) -> None:
        """Append and replay the records, set the timers, and when all is committed deliver the replies."""
        error = self._append(effects) if effects.records else None
        for key, deadline_ms in effects.timers:
            self._set_timer(key, deadline_ms)
        if error is None and effects.records:
            end_offset = self.partition.log.end_offset
            if self.partition.high_watermark < end_offset:
                self._uncommitted.append((end_offset, effects, own_ticket))
                self._services.wait_committed(self, end_offset)
                return
        self._conclude(effects, own_ticket, error)

    def committed(self) -> None:
        """The high watermark has moved: go on with what waited for it."""
        while self._uncommitted and self._uncommitted[0][0] <= self.partition.high_watermark:
            _, effects, own_ticket = self._uncommitted.popleft()
            self._conclude(effects, own_ticket, None)

    def close(self, code: Code) -> None:
        """Stop all timers, and tell everyone who waits ``code``."""
        self.closed_because = code
        self._uncommitted.clear()
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        for ticket in list(self._waiters):
            self._deliver(ticket, KafkaError(code))

    # --- records
    # -----------------------------------------------------------------------------------------------------

    def _append(self, effects: Effects) -> KafkaError | None:
        """Append and replay. Of effects that are not atomic a part may be done when the rest is refused."""
        partition = self.partition
        try:
            if len(partition.isr) < partition.settings.min_insync_replicas:
                raise KafkaError(Code.NOT_ENOUGH_REPLICAS)
            for records in self._batches(effects):
                self._append_batch(records, effects.producer)
        except KafkaError as refusal:
            return as_coordinator(refusal)
        except StorageFailure as failure:
            self._services.storage_failed(failure)
            return as_coordinator(KafkaError(Code.KAFKA_STORAGE_ERROR))
        return None

    def _append_batch(self, records: Sequence[Record], producer: ProducerStamp | None) -> None:
        now_ms = self._services.now_ms()
        producer_id, producer_epoch = producer or (-1, -1)
        batch = build_batch(
            [BatchRecord(index, now_ms, key, value, ()) for index, (key, value) in enumerate(records)],
            codec=self._services.codec,
            producer_id=producer_id,
            producer_epoch=producer_epoch,
            base_sequence=self._services.base_sequence,
            transactional=producer is not None,
        )
        if len(batch) > self.partition.settings.validation.max_message_bytes:
            raise KafkaError(Code.MESSAGE_TOO_LARGE)
        base_offset = self.partition.append_own(batch).base_offset
        for index, (key, value) in enumerate(records):
            self.machine.replay(
                key,
                value,
                offset=base_offset + index,
                timestamp_ms=now_ms,
                producer_id=producer_id,
                producer_epoch=producer_epoch,
            )

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

    # --- afterwards
    # --------------------------------------------------------------------------------------------------

    def _conclude(self, effects: Effects, own_ticket: int | None, error: KafkaError | None) -> None:
        for ticket, result in effects.replies:
            if error is None or ticket != own_ticket:
                self._deliver(ticket, result)
        if effects.follow_up is not None:
            code = None if error is None else error.code
            self.apply(self.machine.on_append_result(effects.follow_up, code, self._services.now_ms()))
        if error is None:
            for action in effects.actions:
                self._services.run_action(self, action)
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
            self._timers[key] = self._services.clock.call_at(deadline_ms, partial(self._fire, key))

    def _fire(self, key: Hashable) -> None:
        self._timers.pop(key, None)
        self.apply(self.machine.on_timer(key, self._services.now_ms()))


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
    producer_id, producer_epoch = header.producer_id, header.producer_epoch
    if header.is_control:
        for record in read_records(batch):
            kind = int.from_bytes((record.key or b"")[2:4], "big")
            machine.replay_marker(producer_id, producer_epoch, committed=kind == _MARKER_COMMIT)
        return
    if not header.is_transactional:
        producer_id = producer_epoch = -1
    for record in read_records(batch):
        machine.replay(
            record.key or b"",
            record.value,
            offset=record.offset,
            timestamp_ms=record.timestamp_ms,
            producer_id=producer_id,
            producer_epoch=producer_epoch,
        )


def as_coordinator(refusal: KafkaError) -> KafkaError:
    """What a refused append is to the client of a coordinator, who knows nothing of its log."""
    return KafkaError(_AS_A_COORDINATOR_SAYS.get(refusal.code, refusal.code))
