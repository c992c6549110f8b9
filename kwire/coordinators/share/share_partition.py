"""One partition as one share group reads it: records in flight, their holders, the next records to deliver.

Responsible for: acquiring records, acknowledgements, acquisition locks and delivery counts (KIP-932, KIP-1206,
KIP-1222). Must not depend on: the log, clocks (times are arguments), requests, how the state is stored.

Each change that must survive a restart is a ``Change``: its batches are to be stored by the share coordinator, then
``complete`` or ``roll_back`` is called with it. After a restart, records that were only acquired are delivered again.

With a dead letter topic (KIP-1191), a record that is rejected or was delivered as often as allowed is stored as
ARCHIVING. ``take_dead_letters`` gives such records, to be written; ``archive`` ends their delivery.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from kwire.coordinators.share.acknowledgement import Acknowledgement, target_state
from kwire.coordinators.share.acquiring import Acquired, Acquisition, FetchedBatch, aborted_batches, without
from kwire.coordinators.share.dead_letters import Cause, DeadLetters, cause_of
from kwire.coordinators.share.in_flight import NO_MEMBER, Delivery, Limits, Run, stored
from kwire.coordinators.share.state import DeliveryState, StateBatch
from kwire.coordinators.share.window import Window
from kwire.errors import Code, KafkaError


@dataclass(slots=True)
class Change:
    """Transitions that hold once ``batches`` are stored; ``dead_letters`` are due then."""

    deliveries: list[Delivery] = field(default_factory=list)
    batches: list[StateBatch] = field(default_factory=list)
    dead_letters: list[DeadLetters] = field(default_factory=list)

    def begin(
        self, first_offset: int, last_offset: int, delivery: Delivery, state: DeliveryState, limits: Limits
    ) -> None:
        delivery.begin(state, limits)
        self.deliveries.append(delivery)
        self.batches.append(stored(first_offset, last_offset, delivery))
        if delivery.state is DeliveryState.ARCHIVING:
            cause = Cause.REJECTED if state is DeliveryState.ARCHIVING else Cause.DELIVERY_COUNT_EXCEEDED
            self.dead_letters.append(DeadLetters(first_offset, last_offset, delivery.count, cause))


class InFlightSummary(NamedTuple):
    """For display: how many records are acquired or wait for another delivery, and how many by delivery count."""

    acquired: int
    available: int
    by_delivery_count: dict[int, int]


class SharePartition:
    """``start_offset``, ``state_epoch`` and ``batches`` as the share coordinator stored them, ``batches`` sorted.

    Raises KafkaError(UNKNOWN_SERVER_ERROR) if the batches overlap or begin before the start.
    """

    def __init__(self, start_offset: int, state_epoch: int, batches: Iterable[StateBatch], limits: Limits) -> None:
        self.state_epoch = state_epoch
        self.limits = limits
        batches = list(batches)
        self._window = Window(start_offset, batches)
        self._dead_letters = [
            DeadLetters(first, last, count, cause_of(count, limits.delivery_count_max))
            for first, last, state, count in batches
            if state == DeliveryState.ARCHIVING
        ]

    # --- acquiring
    # -----------------------------------------------------------------------------------------------------

    @property
    def start_offset(self) -> int:
        return self._window.start_offset

    @property
    def end_offset(self) -> int:
        return self._window.end_offset

    @property
    def next_fetch_offset(self) -> int:
        """The offset of the next read."""
        return self._window.next_fetch_offset()

    @property
    def can_acquire(self) -> bool:
        """Whether a fetch may give records: there is room for more, or a record in flight is available again."""
        window = self._window
        return window.next_fetch_offset() != window.end_offset + 1 or window.record_count < self.limits.records_max

    def acquire(
        self,
        member_id: str,
        fetched: Sequence[FetchedBatch],
        *,
        fetch_offset: int,
        max_records: int,
        batch_size: int,
        strict: bool,
        deadline_ms: float,
    ) -> list[Acquired]:
        """Acquire records for the member, out of the batches that were read from ``fetch_offset`` on.

        ``batch_size``: about how many records one ``Acquired`` holds. ``deadline_ms``: when the acquisition lock ends.
        """
        if not fetched:
            return []
        self._archive_vanished(fetch_offset, fetched[0].base_offset)
        last_offset, max_records = self._room(fetch_offset, fetched[-1].last_offset, max_records)
        if max_records <= 0 or last_offset < fetched[0].base_offset:
            return []
        return Acquisition(
            self._window,
            member_id,
            fetched,
            max_records=max_records,
            batch_size=batch_size,
            count_max=self.limits.delivery_count_max,
            deadline_ms=deadline_ms,
            strict=strict,
        ).run(last_offset)

    def _room(self, fetch_offset: int, last_offset: int, max_records: int) -> tuple[int, int]:
        """The last offset that may be acquired, and how many records."""
        window = self._window
        left = min(max_records, self.limits.records_max - window.record_count)
        if left <= 0 and fetch_offset <= window.end_offset:
            # All locks are taken, but a record in the middle is available again.
            return min(last_offset, window.end_offset), min(max_records, window.end_offset - fetch_offset + 1)
        return last_offset, left

    def drop_aborted(
        self, acquired: list[Acquired], fetched: Iterable[FetchedBatch], aborted: Iterable[tuple[int, int]]
    ) -> list[Acquired]:
        """Archive the records of aborted transactions among those just acquired, and return the others.

        ``aborted``: producer id and first offset of the aborted transactions in the fetched batches.
        """
        for batch in aborted_batches(fetched, aborted):
            for run in self._window.overlapping(batch.base_offset, batch.last_offset):
                _archive(run, batch.base_offset, batch.last_offset, DeliveryState.ACQUIRED)
            acquired = [part for each in acquired for part in without(each, batch)]
        return acquired

    # --- acknowledgements
    # --------------------------------------------------------------------------------------------

    def acknowledge(
        self, member_id: str, acknowledgements: Iterable[Acknowledgement], *, renewed_deadline_ms: float | None
    ) -> Change:
        """Begin the transitions of all acknowledged records; with an error, none.

        RENEW moves the end of the lock to ``renewed_deadline_ms``, None where that is not allowed, and is not stored.
        Records below the start offset are passed over. Raises KafkaError: INVALID_RECORD_STATE for records that the
        member does not hold, INVALID_REQUEST for records that were never acquired.
        """
        change = Change()
        try:
            for each in acknowledgements:
                if each.last_offset >= self.start_offset:
                    for run in self._acknowledged_runs(each):
                        self._acknowledge_run(change, member_id, each, run, renewed_deadline_ms)
        except KafkaError:
            self.roll_back(change)
            raise
        return change

    def _acknowledged_runs(self, each: Acknowledgement) -> list[Run]:
        floor = self._window.floor(each.first_offset)
        if floor is None and each.first_offset < self.start_offset <= each.last_offset:
            floor = self._window.floor(self.start_offset)
        if floor is None:
            raise KafkaError(
                Code.INVALID_RECORD_STATE,
                "Batch record not found. The request batch offsets are not found in the cache.",
            )
        runs = self._window.between(floor.first_offset, each.last_offset)
        if runs[-1].last_offset < each.first_offset:
            raise KafkaError(
                Code.INVALID_REQUEST, "Batch record not found. The first offset in request is past acquired records."
            )
        if runs[-1].last_offset < each.last_offset:
            raise KafkaError(
                Code.INVALID_REQUEST, "Batch record not found. The last offset in request is past acquired records."
            )
        return [run for run in runs if run.last_offset >= self.start_offset]

    def _acknowledge_run(
        self, change: Change, member_id: str, each: Acknowledgement, run: Run, renewed_deadline_ms: float | None
    ) -> None:
        whole = run.whole
        if whole is not None:
            _check_run_holder(whole, member_id)
            if (
                run.is_within(each.first_offset, each.last_offset)
                and len(each.types) == 1
                and not run.contains_inside(self.start_offset)
            ):
                self._acknowledge_one(
                    change, (run.first_offset, run.last_offset, whole), each.types[0], renewed_deadline_ms
                )
                return
            run.split()
        for offset, delivery in run.records(max(each.first_offset, self.start_offset), each.last_offset):
            _check_holder(delivery, member_id)
            self._acknowledge_one(change, (offset, offset, delivery), each.type_of(offset), renewed_deadline_ms)

    def _acknowledge_one(
        self, change: Change, part: tuple[int, int, Delivery], kind: int, renewed_deadline_ms: float | None
    ) -> None:
        first, last, delivery = part
        state = target_state(kind, dead_letters=self.limits.dead_letters)
        if state is not None:
            change.begin(first, last, delivery, state, self.limits)
        elif renewed_deadline_ms is None:
            raise KafkaError(Code.INVALID_RECORD_STATE, "Renewing acquisition locks is not enabled for the group.")
        else:
            delivery.deadline_ms = renewed_deadline_ms

    def release(self, member_id: str) -> Change:
        """Begin to release all records that the member holds and has not acknowledged."""
        change = Change()
        for run in self._window:
            if run.whole is not None and _is_held_by(run.whole, member_id) and run.contains_inside(self.start_offset):
                run.split()
            for first, last, delivery in run.parts():
                if _is_held_by(delivery, member_id):
                    change.begin(first, last, delivery, self._released(last), self.limits)
        return change

    def complete(self, change: Change) -> bool:
        """The change is stored. Returns whether the start offset moved."""
        for delivery in change.deliveries:
            delivery.complete()
            if delivery.state is DeliveryState.AVAILABLE:
                self._window.may_be_available = True
        self._dead_letters += change.dead_letters
        return self._window.advance_start()

    def roll_back(self, change: Change) -> None:
        """The change was not stored: the records are held as before, until their locks end."""
        for delivery in change.deliveries:
            delivery.roll_back()

    # --- acquisition locks
    # -------------------------------------------------------------------------------------------

    def next_deadline_ms(self) -> float | None:
        """When the next acquisition lock ends."""
        deadlines = [
            delivery.deadline_ms
            for run in self._window
            for _, _, delivery in run.parts()
            if delivery.state is DeliveryState.ACQUIRED
        ]
        return min(deadlines, default=None)

    def expire(self, now_ms: float) -> list[StateBatch]:
        """End the expired locks at once. Returns the change to store; the locks stay ended if that fails."""
        batches: list[StateBatch] = []
        for run in self._window:
            if run.whole is not None and _is_overdue(run.whole, now_ms) and run.contains_inside(self.start_offset):
                run.split()
            for first, last, delivery in run.parts():
                if _is_overdue(delivery, now_ms):
                    delivery.leave(self._released(last), self.limits)
                    batches.append(stored(first, last, delivery))
                    if delivery.state is DeliveryState.AVAILABLE:
                        self._window.may_be_available = True
                    elif delivery.state is DeliveryState.ARCHIVING:
                        letters = DeadLetters(first, last, delivery.count, Cause.DELIVERY_COUNT_EXCEEDED)
                        self._dead_letters.append(letters)
        if batches:
            self._window.advance_start()
        return batches

    def _released(self, last_offset: int) -> DeliveryState:
        """The state of released records: those below the start are not delivered again."""
        return DeliveryState.AVAILABLE if last_offset >= self.start_offset else DeliveryState.ARCHIVED

    # --- dead letters
    # ------------------------------------------------------------------------------------------------

    def take_dead_letters(self) -> list[DeadLetters]:
        """The records whose dead letters are to be written now; the caller then calls ``archive`` for each."""
        taken, self._dead_letters = self._dead_letters, []
        return taken

    def archive(self, letters: DeadLetters) -> list[StateBatch]:
        """End the delivery of records whose dead letters are written, or cannot be.

        Returns the change to store; the delivery stays ended if that fails.
        """
        batches: list[StateBatch] = []
        for run in self._window.overlapping(letters.first_offset, letters.last_offset):
            for first, last, delivery in run.parts():
                if delivery.state is DeliveryState.ARCHIVING and letters.first_offset <= first <= letters.last_offset:
                    delivery.archive(is_gone=delivery.is_gone)
                    batches.append(stored(first, last, delivery))
        if batches:
            self._window.advance_start()
        return batches

    # --- the log
    # -----------------------------------------------------------------------------------------------------

    def log_start_moved(self, log_start_offset: int) -> None:
        """The log begins at ``log_start_offset`` now. Records before it that members hold end with their locks."""
        if log_start_offset <= self.start_offset:
            return
        for run in self._window:
            if run.first_offset < log_start_offset:
                _archive(run, self.start_offset, log_start_offset - 1, DeliveryState.AVAILABLE, is_gone=True)
        self._window.move_start(log_start_offset)

    def _archive_vanished(self, fetch_offset: int, base_offset: int) -> None:
        """Archive records between ``fetch_offset`` and the first batch that was read, which compaction has removed."""
        if fetch_offset >= base_offset:
            return
        window = self._window
        for run in window.overlapping(fetch_offset, base_offset - 1):
            _archive(run, fetch_offset, base_offset - 1, DeliveryState.AVAILABLE)
        if window.gap_start is not None and fetch_offset <= window.gap_start < base_offset:
            window.narrow_gap(base_offset)
        window.advance_start()

    # --- what is stored and shown
    # ------------------------------------------------------------------------------------

    def delivered_count(self) -> int:
        """How many of the records in flight need no further delivery (KIP-1226)."""
        return sum(
            last - max(first, self.start_offset) + 1
            for run in self._window
            for first, last, delivery in run.parts()
            if delivery.state.is_final and last >= self.start_offset
        )

    def in_flight(self) -> list[tuple[int, int, Delivery]]:
        """The records in flight: first and last offset of each run of the same delivery."""
        return [part for run in self._window for part in run.parts()]

    def summary(self) -> InFlightSummary:
        acquired = available = 0
        by_count: dict[int, int] = {}
        for run in self._window:
            for first, last, delivery in run.parts():
                size = last - max(first, self.start_offset) + 1
                if size <= 0 or delivery.state.is_final:
                    continue
                acquired += size * (delivery.state is DeliveryState.ACQUIRED)
                available += size * (delivery.state is DeliveryState.AVAILABLE)
                by_count[delivery.count] = by_count.get(delivery.count, 0) + size
        return InFlightSummary(acquired, available, by_count)


def _archive(run: Run, first_offset: int, last_offset: int, state: DeliveryState, *, is_gone: bool = False) -> None:
    """Archive the records of a run that are in ``state``. A transition that is under way is left alone."""
    if run.whole is not None:
        if run.whole.state is not state or run.whole.before is not None:
            return
        if run.is_within(first_offset, last_offset):
            run.whole.archive(is_gone=is_gone)
            return
        run.split()
    for _, delivery in run.records(first_offset, last_offset):
        if delivery.state is state and (is_gone or delivery.before is None):
            delivery.archive(is_gone=is_gone)


def _is_held_by(delivery: Delivery, member_id: str) -> bool:
    return delivery.state is DeliveryState.ACQUIRED and delivery.member_id == member_id


def _is_overdue(delivery: Delivery, now_ms: float) -> bool:
    return delivery.state is DeliveryState.ACQUIRED and delivery.deadline_ms <= now_ms


def _check_run_holder(delivery: Delivery, member_id: str) -> None:
    """Raise KafkaError(INVALID_RECORD_STATE) unless the member holds the run."""
    if delivery.member_id == NO_MEMBER:
        raise KafkaError(
            Code.INVALID_RECORD_STATE, "The batch cannot be acknowledged. The batch is not in the acquired state."
        )
    if delivery.member_id != member_id:
        raise KafkaError(Code.INVALID_RECORD_STATE, "Member is not the owner of batch record")


def _check_holder(delivery: Delivery, member_id: str) -> None:
    """The same for one record."""
    if delivery.state is not DeliveryState.ACQUIRED:
        raise KafkaError(Code.INVALID_RECORD_STATE, "The offset cannot be acknowledged. The offset is not acquired.")
    if delivery.member_id != member_id:
        raise KafkaError(Code.INVALID_RECORD_STATE, "Member is not the owner of offset")
