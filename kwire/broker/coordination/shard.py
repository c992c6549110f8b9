"""One coordinator's machine over one partition: executes its Effects.

Responsible for: appending a machine's records and replaying them, reverting a command whose append was refused, its
timers, and the requests that wait for its replies. Must not depend on: any particular coordinator, requests, when a
machine is loaded (``runtime``).

Steps that wait until a batch is committed are kept by the shard, not by the request, so that they are done even if the
client disconnects.

An unexpected exception is a bug. The state of the machine is unknown then, so the shard reports itself as failed and is
replaced by one that is loaded from the log.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Hashable, Iterator, Sequence
from functools import partial
from typing import Final, Generic, NamedTuple, TypeVar

import trio

from kwire.broker.clock import Clock, Timer
from kwire.broker.partitions.partition import Partition
from kwire.coordinators.machine import Effects, Machine, ProducerStamp, Record
from kwire.errors import Code, KafkaError, StorageFailure
from kwire.wire.batches.batch import HEADER_BYTES
from kwire.wire.batches.compression import Codec
from kwire.wire.batches.records import Record as BatchRecord
from kwire.wire.batches.records import build_batch

M = TypeVar("M", bound=Machine)

# What a record takes in a batch besides its key and value, at most.
_RECORD_OVERHEAD_BYTES: Final = 32
# A timer whose records could not be appended fires again after this time.
_TIMER_RETRY_MS: Final = 1000

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
    """A request that waits for the reply to its command. ``event`` is made only if it has to wait."""

    __slots__ = ("answered", "event", "result", "ticket")

    def __init__(self, ticket: int) -> None:
        self.ticket = ticket
        self.answered = False
        self.result: object = None
        self.event: trio.Event | None = None


class ShardServices(NamedTuple, Generic[M]):
    """The functions of the broker that a shard uses.

    ``now_ms`` is the time for machines; ``wait_committed`` calls ``committed`` once the partition's records below an
    offset are; ``run_action`` performs a machine's actions; ``failed`` replaces a shard after a bug and gets the
    exception; ``codec`` compresses appended records, and ``base_sequence`` is that of the batches, although no broker
    checks the sequences of a coordinator.
    """

    clock: Clock
    now_ms: Callable[[], int]
    codec: Codec
    base_sequence: int
    storage_failed: Callable[[StorageFailure], None]
    wait_committed: Callable[[Shard[M], int], None]
    run_action: Callable[[Shard[M], object], None]
    failed: Callable[[Shard[M], Exception], None]


class Shard(Generic[M]):
    """One machine and its partition. ``closed_because`` is set once it may not be used any more.

    ``number`` identifies the shards of one runtime, also those of one partition that followed each other. ``since`` is
    ``leading_since`` of the partition: when this broker becomes its leader again there is another shard.
    """

    def __init__(self, partition: Partition, machine: M, services: ShardServices[M], *, number: int = 0) -> None:
        self.partition = partition
        self.machine = machine
        self.number = number
        self.since = partition.leading_since
        self.closed_because: Code | None = None
        self._services = services
        self._tickets = itertools.count(1)
        self._waiters: dict[int, Waiter] = {}
        self._timers: dict[Hashable, Timer] = {}
        # Effects in order that are concluded once what is below an offset is committed: their own records, or, of
        # effects without records, those of commands before, as they show what these have written.
        self._uncommitted: deque[tuple[int, Effects]] = deque()
        self._is_concluding = False

    def submit(self, command: Callable[[M, int, int], Effects]) -> Waiter:
        """Run ``command(machine, ticket, now_ms)``. Its reply is there at once, or comes later.

        Raises KafkaError when the machine refuses, StorageFailure when an append fails.
        """
        waiter = Waiter(next(self._tickets))
        self._waiters[waiter.ticket] = waiter
        try:
            self._step(lambda now_ms: command(self.machine, waiter.ticket, now_ms), waiter.ticket)
        except (KafkaError, StorageFailure):
            self.forget(waiter)
            raise
        except Exception as error:  # noqa: BLE001 (a bug, whatever it is)
            self._deliver(waiter.ticket, KafkaError(Code.UNKNOWN_SERVER_ERROR))
            self._services.failed(self, error)
        return waiter

    def run(self, command: Callable[[M, int], Effects]) -> None:
        """Run ``command(machine, now_ms)``, whose reply no request waits for."""
        if self.closed_because is None:
            self._contained(partial(self._step, lambda now_ms: command(self.machine, now_ms)))

    def append_marker(self, producer: ProducerStamp, end_offset: int, *, committed: bool) -> None:
        """A marker that ends the transaction of ``producer`` was appended to the partition, below ``end_offset``."""
        self._contained(partial(self._replay_marker, producer, end_offset, committed=committed))

    def committed(self) -> None:
        """The high watermark has moved: conclude the effects that waited for it."""
        self._contained(self._conclude_committed)

    def time_out(self) -> None:
        """A write was not committed in time: answer the requests that wait for it.

        Clients look for their coordinator again and repeat the request. The write may still be committed.
        """
        for _, effects in self._uncommitted:
            for ticket, _ in effects.replies:
                self._deliver(ticket, KafkaError(Code.COORDINATOR_NOT_AVAILABLE))

    def forget(self, waiter: Waiter) -> None:
        """Drop a waiter whose request ended. The machine is not informed: to it the client just sends nothing."""
        self._waiters.pop(waiter.ticket, None)

    def close(self, code: Code) -> None:
        """Stop all timers, and answer every request that waits with ``code``."""
        self.closed_because = code
        self._uncommitted.clear()
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        for ticket in list(self._waiters):
            self._deliver(ticket, KafkaError(code))

    # --- one step of the machine
    # -------------------------------------------------------------------------------------

    def _contained(self, step: Callable[[], None]) -> None:
        try:
            step()
        except Exception as error:  # noqa: BLE001 (a bug, whatever it is)
            self._services.failed(self, error)

    def _step(
        self,
        command: Callable[[int], Effects],
        own_ticket: int | None = None,
        timer_key: Hashable | None = None,
        *,
        replies_at_once: bool = False,
    ) -> None:
        """Run a command on the machine, append and replay its records, and reply when they are committed."""
        if self._uncommitted:
            self._conclude_committed()
        timeline = self.machine.timeline
        # Before ``begin``: machines may note here that the clock was set, and a refused append must not revert that.
        now_ms = self._services.now_ms()
        timeline.begin()
        try:
            effects = command(now_ms)
        except (KafkaError, StorageFailure):
            timeline.revert()
            raise
        error = self._append(effects, now_ms) if effects.records else None
        if error is not None and effects.atomic:
            timeline.revert()
            if timer_key is not None:
                self._set_timer(timer_key, now_ms + _TIMER_RETRY_MS)
            self._refused(effects, own_ticket, error)
            return
        timeline.drop()
        for key, deadline_ms in effects.timers:
            self._set_timer(key, deadline_ms)
        if effects.records and not self.partition.is_committed(end_offset := self.partition.log.end_offset):
            self._uncommitted.append((end_offset, effects))
            self._services.wait_committed(self, end_offset)
        elif self._uncommitted and not replies_at_once:
            self._uncommitted.append((self._uncommitted[-1][0], effects))
            self._conclude_committed()
        else:
            self._conclude(effects)

    def _refused(self, effects: Effects, own_ticket: int | None, error: KafkaError) -> None:
        if effects.follow_up is not None:
            follow_up = effects.follow_up
            self._step(
                lambda now_ms: self.machine.on_append_result(follow_up, error.code, now_ms), replies_at_once=True
            )
        if own_ticket is not None:
            # Unless the machine has given a reply of its own for this error.
            self._deliver(own_ticket, error)

    def _conclude(self, effects: Effects) -> None:
        for ticket, result in effects.replies:
            self._deliver(ticket, result)
        if effects.follow_up is not None:
            follow_up = effects.follow_up
            self._step(lambda now_ms: self.machine.on_append_result(follow_up, None, now_ms))
        for action in effects.actions:
            self._services.run_action(self, action)

    def _conclude_committed(self) -> None:
        high_watermark = self.partition.high_watermark
        self.machine.timeline.commit(high_watermark)
        if self._is_concluding:
            # Called from within the loop below, by a follow-up or an action: the loop continues afterwards.
            return
        self._is_concluding = True
        try:
            while self._uncommitted and self._uncommitted[0][0] <= high_watermark:
                _, effects = self._uncommitted.popleft()
                self._conclude(effects)
        finally:
            self._is_concluding = False

    # --- records
    # -----------------------------------------------------------------------------------------------------

    def _append(self, effects: Effects, now_ms: int) -> KafkaError | None:
        """Append and replay. Of effects that are not atomic a part may be done when the rest is refused."""
        partition = self.partition
        try:
            if partition.leader is not None:
                partition.leader.check_before_append(partition)
            for records in self._batches(effects):
                self._append_batch(records, effects.producer, now_ms)
        except KafkaError as refusal:
            return as_coordinator(refusal)
        except StorageFailure as failure:
            self._services.storage_failed(failure)
            return as_coordinator(KafkaError(Code.KAFKA_STORAGE_ERROR))
        return None

    def _append_batch(self, records: Sequence[Record], producer: ProducerStamp | None, now_ms: int) -> None:
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
        appended = self.partition.append_own(batch)
        is_held = self._written(appended.next_offset)
        for index, (key, value) in enumerate(records):
            self.machine.replay(
                key,
                value,
                offset=appended.base_offset + index,
                timestamp_ms=now_ms,
                producer_id=producer_id,
                producer_epoch=producer_epoch,
            )
        if is_held:
            self.machine.timeline.hold(appended.next_offset)

    def _replay_marker(self, producer: ProducerStamp, end_offset: int, *, committed: bool) -> None:
        timeline = self.machine.timeline
        timeline.begin()
        is_held = self._written(end_offset)
        self.machine.replay_marker(producer.producer_id, producer.producer_epoch, committed=committed)
        if is_held:
            timeline.hold(end_offset)
            self._services.wait_committed(self, end_offset)

    def _written(self, end_offset: int) -> bool:
        """Called before records below ``end_offset`` are replayed.

        True: they are not committed, so their changes are held.
        """
        timeline = self.machine.timeline
        if not self.partition.is_committed(end_offset):
            return True
        timeline.drop()
        if timeline.has_uncommitted:
            timeline.commit(end_offset)
        return False

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
                self.machine.timeline.begin()
                batch, size = [], HEADER_BYTES
            batch.append(record)
            size += more
        yield batch

    # --- replies and timers
    # ------------------------------------------------------------------------------------------

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
        self._contained(partial(self._step, lambda now_ms: self.machine.on_timer(key, now_ms), timer_key=key))


def as_coordinator(refusal: KafkaError) -> KafkaError:
    """The error that the client of a coordinator gets when an append to the coordinator's log was refused."""
    return KafkaError(_AS_A_COORDINATOR_SAYS.get(refusal.code, refusal.code))
