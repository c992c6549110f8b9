"""Which of the fetched records a member of a share group gets.

Responsible for: the rules of one acquisition. Must not depend on: requests, the log, acknowledgements.

The rules are those of Apache Kafka, so that both give the same answers: whole record batches while the limits allow, or
exactly as many records as were asked for (``strict``, KIP-1206); records that failed before are delivered in smaller
and smaller portions, the last time alone, so that one bad record does not make its neighbours fail too.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from kwire.coordinators.share.in_flight import Delivery, Run
from kwire.coordinators.share.state import DeliveryState
from kwire.coordinators.share.window import Window

# Deliveries before this one are never cut into portions, however few deliveries are allowed.
_PORTIONS_FROM_MIN: Final = 2


class FetchedBatch(NamedTuple):
    """A record batch that was read from the log; the last three fields tell aborted transactions."""

    base_offset: int
    last_offset: int
    producer_id: int = -1
    is_transactional: bool = False
    is_abort_marker: bool = False


class Acquired(NamedTuple):
    """Records that a member holds now."""

    first_offset: int
    last_offset: int
    delivery_count: int


class Acquisition:
    """The acquisition of one fetch: ``acquired`` so far, and how many records are ``left``.

    ``batch_size``: about how many records one ``Acquired`` holds. ``count_max``: how often a record is delivered.
    ``deadline_ms``: when the acquisition lock ends.
    """

    __slots__ = (
        "_batch_size",
        "_count_max",
        "_deadline_ms",
        "_fetched",
        "_member_id",
        "_strict",
        "_window",
        "acquired",
        "left",
    )

    def __init__(
        self,
        window: Window,
        member_id: str,
        fetched: Sequence[FetchedBatch],
        *,
        max_records: int,
        batch_size: int,
        count_max: int,
        deadline_ms: float,
        strict: bool,
    ) -> None:
        self._window = window
        self._member_id = member_id
        self._fetched = fetched
        self._batch_size = batch_size
        self._count_max = count_max
        self._deadline_ms = deadline_ms
        self._strict = strict
        self.left = max_records
        self.acquired: list[Acquired] = []

    def run(self, last_offset: int) -> list[Acquired]:
        """Acquire what may be acquired of the fetched batches, up to ``last_offset``."""
        self._acquire(last_offset)
        if self.acquired:
            self._window.narrow_gap(self.acquired[-1].last_offset + 1)
        return self.acquired

    def _acquire(self, last_offset: int) -> None:
        window = self._window
        # The first batch may begin before the start, when only its first records are delivered for good.
        first_offset = max(self._fetched[0].base_offset, window.start_offset)
        runs = window.overlapping(first_offset, last_offset)
        if not runs:
            self._acquire_new(first_offset, last_offset)
            return
        gap_start = first_offset
        for run in runs:
            if window.has_gap and gap_start < run.first_offset and self.left > 0:
                self._acquire_new(gap_start, run.first_offset - 1)
            gap_start = run.last_offset + 1
            if self.left <= 0 or not self._acquire_again(run, first_offset, last_offset):
                return
        if self.left > 0 and runs[-1].last_offset < last_offset:
            self._acquire_new(runs[-1].last_offset + 1, last_offset)

    def _acquire_again(self, run: Run, first_offset: int, last_offset: int) -> bool:
        """Acquire the available records of a run in flight. False: the acquisition ends with it."""
        in_portions = self._is_in_portions(run, first_offset, last_offset)
        if in_portions and self.acquired:
            return False
        too_long = self._strict and len(run) > self.left
        whole = run.whole
        if whole is None or in_portions or too_long or not run.is_within(first_offset, last_offset):
            if whole is not None:
                if not whole.is_available:
                    return True
                run.split()
            count = self._acquire_records(run, first_offset, last_offset)
            return not (in_portions and count)
        if whole.is_available:
            whole.acquire(self._member_id, self._deadline_ms)
            self._add(run.first_offset, run.last_offset, whole.count)
        return True

    def _acquire_records(self, run: Run, first_offset: int, last_offset: int) -> int:
        """Acquire single records of a run that was split; returns how many."""
        portion: float = math.inf
        left, count = self.left, 0
        for offset, delivery in run.records(first_offset, last_offset):
            if not delivery.is_available:
                continue
            is_last_delivery = self._count_max > _PORTIONS_FROM_MIN and delivery.count == self._count_max - 1
            if is_last_delivery and count:
                break
            if portion == math.inf and delivery.count >= self._portions_from:
                portion = max(1, len(run) >> (delivery.count - self._portions_from + 1))
            delivery.acquire(self._member_id, self._deadline_ms)
            self._add(offset, offset, delivery.count, to_last=count > 0)
            count += 1
            if is_last_delivery or count >= portion or (self._strict and count == left):
                break
        return count

    @property
    def _portions_from(self) -> int:
        return max(_PORTIONS_FROM_MIN, -(-self._count_max // 2))

    def _is_in_portions(self, run: Run, first_offset: int, last_offset: int) -> bool:
        if run.whole is not None:
            return run.whole.is_available and run.whole.count >= self._portions_from
        return any(
            delivery.is_available and delivery.count >= self._portions_from
            for _, delivery in run.records(first_offset, last_offset)
        )

    def _acquire_new(self, first_offset: int, last_offset: int) -> None:
        """Acquire records that are not in flight, in one or several runs."""
        window = self._window
        if not window:
            first_offset = max(first_offset, window.end_offset)
        if self.left < last_offset - first_offset + 1:
            end = self._end_of_batch(first_offset + self.left - 1)
            last_offset = min(end, last_offset) if window.has_gap else end
        if self._strict:
            self._acquire_exactly(first_offset, last_offset)
        else:
            for first, last in self._cut(first_offset, last_offset):
                window.insert_acquired(Run(first, last, self._new_delivery()))
                self._add(first, last, 1)
        window.end_offset = max(window.end_offset, last_offset)

    def _acquire_exactly(self, first_offset: int, last_offset: int) -> None:
        """Make one run, of which at most ``left`` records are acquired and the others are available."""
        last_acquired = min(last_offset, first_offset + self.left - 1)
        run = Run(first_offset, last_offset, self._new_delivery())
        if last_acquired < last_offset:
            run.split()
            count = last_acquired - first_offset + 1
            run.each[count:] = [Delivery(DeliveryState.AVAILABLE, 0) for _ in run.each[count:]]
            self._window.may_be_available = True
        self._window.insert_acquired(run)
        self._add(first_offset, last_acquired, 1)

    def _new_delivery(self) -> Delivery:
        return Delivery(DeliveryState.ACQUIRED, 1, self._member_id, self._deadline_ms)

    def _add(self, first_offset: int, last_offset: int, delivery_count: int, *, to_last: bool = False) -> None:
        """Note acquired records. ``to_last``: neighbours of one run with one count become one entry."""
        self.left -= last_offset - first_offset + 1
        if to_last:
            last = self.acquired[-1]
            if last.last_offset + 1 == first_offset and last.delivery_count == delivery_count:
                self.acquired[-1] = last._replace(last_offset=last_offset)
                return
        self.acquired.append(Acquired(first_offset, last_offset, delivery_count))

    def _end_of_batch(self, offset: int) -> int:
        """The last offset of the batch that holds ``offset``; without one, ``offset``."""
        place = bisect_right(self._fetched, offset, key=lambda batch: batch.base_offset)
        if place and self._fetched[place - 1].last_offset >= offset:
            return self._fetched[place - 1].last_offset
        return offset

    def _cut(self, first_offset: int, last_offset: int) -> Iterator[tuple[int, int]]:
        """Cut at the beginnings of batches, once a piece has ``batch_size`` records."""
        if last_offset - first_offset + 1 > self._batch_size:
            for batch in self._fetched:
                if batch.base_offset > last_offset:
                    break
                if batch.base_offset - first_offset >= self._batch_size:
                    yield first_offset, batch.base_offset - 1
                    first_offset = batch.base_offset
        yield first_offset, last_offset


def aborted_batches(fetched: Iterable[FetchedBatch], aborted: Iterable[tuple[int, int]]) -> Iterator[FetchedBatch]:
    """The batches of aborted transactions, given as producer id and first offset."""
    waiting = sorted(aborted, key=lambda each: each[1], reverse=True)
    producer_ids: set[int] = set()
    for batch in fetched:
        if batch.producer_id < 0:
            continue
        while waiting and waiting[-1][1] <= batch.last_offset:
            producer_ids.add(waiting.pop()[0])
        if batch.is_abort_marker:
            producer_ids.discard(batch.producer_id)
        elif batch.is_transactional and batch.producer_id in producer_ids:
            yield batch


def without(acquired: Acquired, batch: FetchedBatch) -> Iterator[Acquired]:
    """What remains of ``acquired`` outside the batch."""
    if acquired.last_offset < batch.base_offset or acquired.first_offset > batch.last_offset:
        yield acquired
        return
    if acquired.first_offset < batch.base_offset:
        yield acquired._replace(last_offset=batch.base_offset - 1)
    if acquired.last_offset > batch.last_offset:
        yield acquired._replace(first_offset=batch.last_offset + 1)
