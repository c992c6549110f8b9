"""The records of one partition that one share group has in flight: runs between a start and an end offset.

Responsible for: finding runs, the offset of the next read, and moving the start over records that are delivered
for good. Must not depend on: members, requests, the log, times.

    log   ...delivered...│  runs of records in flight  │ not acquired yet ...
                   start_offset                    end_offset

While nothing is in flight, both are the next offset to be read; else ``end_offset`` is the last one acquired.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Iterator

from kwire.coordinators.share.in_flight import Delivery, Run
from kwire.coordinators.share.state import DeliveryState, StateBatch
from kwire.errors import Code, KafkaError


class Window:
    """The runs in flight. ``may_be_available``: a record in flight may be available; if not, none is looked for."""

    __slots__ = ("_firsts", "_gap_end", "_gap_start", "_runs", "end_offset", "may_be_available", "start_offset")

    def __init__(self, start_offset: int, batches: Iterable[StateBatch]) -> None:
        self.start_offset = start_offset
        self.end_offset = start_offset
        self.may_be_available = False
        # Runs by their first offset, and these offsets in order.
        self._runs: dict[int, Run] = {}
        self._firsts: list[int] = []
        # Records between the loaded batches may never have been delivered: where the first of them is, and where the
        # loaded batches end. None once all of them were acquired.
        self._gap_start: int | None = None
        self._gap_end = -1
        self._load(batches)

    def _load(self, batches: Iterable[StateBatch]) -> None:
        end = self.start_offset - 1
        for batch in batches:
            if batch.first_offset <= end or batch.last_offset < batch.first_offset:
                raise KafkaError(Code.UNKNOWN_SERVER_ERROR, "The stored state of the share partition is invalid.")
            if self._gap_start is None and batch.first_offset > end + 1:
                self._gap_start = end + 1
            end = batch.last_offset
            delivery = Delivery(DeliveryState(batch.delivery_state), batch.delivery_count)
            self.insert(Run(batch.first_offset, batch.last_offset, delivery))
        if self._firsts:
            self.end_offset = self._gap_end = end
            self.may_be_available = True
            self.advance_start()

    # --- runs
    # --------------------------------------------------------------------------------------------------------

    def __bool__(self) -> bool:
        return bool(self._firsts)

    def __iter__(self) -> Iterator[Run]:
        """All runs in order; they may be split meanwhile, but none may be added or removed."""
        return map(self._runs.__getitem__, self._firsts)

    @property
    def record_count(self) -> int:
        """All records from the start to the end, those between the runs too."""
        return self.end_offset - self.start_offset + 1 if self._firsts else 0

    def insert(self, run: Run) -> None:
        """Add a run that overlaps no other."""
        floor = self.floor(run.first_offset)
        assert floor is None or floor.last_offset < run.first_offset
        insort(self._firsts, run.first_offset)
        self._runs[run.first_offset] = run

    def insert_acquired(self, run: Run) -> None:
        """Insert a run that was read from the log; if it is the first, nothing in the log is before it."""
        self.insert(run)
        if self._firsts[0] == run.first_offset:
            self.start_offset = run.first_offset

    def floor(self, offset: int) -> Run | None:
        """The run with the largest first offset that is not above ``offset``; it may end before it."""
        place = bisect_right(self._firsts, offset)
        return self._runs[self._firsts[place - 1]] if place else None

    def between(self, first_offset: int, last_offset: int) -> list[Run]:
        """The runs whose first offset is one of these."""
        begin, end = bisect_left(self._firsts, first_offset), bisect_right(self._firsts, last_offset)
        return [self._runs[first] for first in self._firsts[begin:end]]

    def overlapping(self, first_offset: int, last_offset: int) -> list[Run]:
        """The runs that hold one of these offsets."""
        floor = self.floor(first_offset)
        holds_first = floor is not None and floor.last_offset >= first_offset
        return self.between(floor.first_offset if floor is not None and holds_first else first_offset, last_offset)

    # --- reading on
    # ----------------------------------------------------------------------------------------------------

    def next_fetch_offset(self) -> int:
        """The first offset that may be acquired: in flight and available, in a gap, or behind the end."""
        if not self._firsts or self.start_offset > self._last_run.last_offset:
            return self.end_offset
        if self.may_be_available:
            gap_start = self.gap_start
            for run in self:
                if gap_start is not None:
                    if run.first_offset > gap_start:
                        return gap_start
                    gap_start = max(gap_start, run.last_offset + 1)
                available = run.first_available(self.start_offset)
                if available is not None:
                    return available
            self.may_be_available = False
        return self.end_offset + 1

    @property
    def has_gap(self) -> bool:
        return self.gap_start is not None

    @property
    def gap_start(self) -> int | None:
        """The first offset that may never have been delivered, between the loaded batches; None if there is none."""
        return self._gap_start if self._gap_end == self.end_offset else None

    def narrow_gap(self, offset: int) -> None:
        """Note that all records before ``offset``, and all in flight, were acquired once or are not in the log."""
        run = self.floor(offset)
        while run is not None and run.last_offset >= offset:
            offset = run.last_offset + 1
            run = self.floor(offset)
        self._gap_start = offset if self.has_gap and offset <= self._gap_end else None

    # --- the start
    # -----------------------------------------------------------------------------------------------------

    def move_start(self, offset: int) -> None:
        """The log begins at ``offset`` now."""
        if self._firsts:
            self.may_be_available = True
        self.start_offset = offset
        self.end_offset = max(self.end_offset, offset)
        if self.gap_start is not None and self.gap_start < offset:
            self.narrow_gap(offset)

    def advance_start(self) -> bool:
        """Move the start over records that need no further delivery, and drop the runs before it.

        Returns whether it moved, or a run was dropped.
        """
        last_over = self._last_offset_over()
        if last_over is None:
            return False
        if last_over == self._last_run.last_offset:
            self.start_offset = self.end_offset = last_over + 1
            self._runs.clear()
            self._firsts.clear()
            self._gap_start = None
            return True
        run = self.floor(last_over)
        assert run is not None
        start, place = last_over + 1, bisect_right(self._firsts, last_over)
        if last_over == run.last_offset:
            # Without a gap, offsets between two runs are not in the log.
            gap_start = self.gap_start
            start = self._firsts[place] if gap_start is None else min(gap_start, self._firsts[place])
        else:
            place -= 1
        self.start_offset = max(self.start_offset, start)
        for first_offset in self._firsts[:place]:
            del self._runs[first_offset]
        del self._firsts[:place]
        return True

    def _last_offset_over(self) -> int | None:
        """The last record from the start on, without interruption, that needs no further delivery."""
        gap_start: int | None = self.gap_start
        found: int | None = None
        for run in self:
            if gap_start is not None and run.last_offset >= gap_start:
                break
            for _, last, delivery in run.parts():
                # Records before the start need no delivery, whatever their state, but their run is kept while a member
                # holds a part of it.
                if not delivery.is_over and (last >= self.start_offset or delivery.state is DeliveryState.ACQUIRED):
                    return found
                found = last
        return found

    @property
    def _last_run(self) -> Run:
        return self._runs[self._firsts[-1]]
