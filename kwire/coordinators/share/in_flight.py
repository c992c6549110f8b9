"""Records in flight: delivered to a member of a share group, or to be delivered again.

Responsible for: the state of one delivery and its transitions, and runs of records that have one state or one state
each. Must not depend on: which records a member gets, the share coordinator.

    AVAILABLE ──acquire──► ACQUIRED ──accept──► ACKNOWLEDGED
        ▲                      │ ├─────reject─► ARCHIVED
        └──release, lock over──┘ └─ release or lock over, delivered as often as allowed ─► ARCHIVED

A group with a dead letter topic has ARCHIVING before ARCHIVED, until the dead letter is written (KIP-1191).

An acknowledgement holds once the share coordinator has stored it. Until then the delivery shows the new state and
keeps the old one (``before``), so that no other request changes it and a refused write can be undone.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from kwire.coordinators.share.state import DeliveryState, StateBatch

NO_MEMBER: Final = ""


class Limits(NamedTuple):
    """Limits by the group's configs: share.delivery.count.limit, share.partition.max.record.locks.

    ``dead_letters``: the group has a dead letter topic.
    """

    delivery_count_max: int
    records_max: int
    dead_letters: bool = False


class Delivery:
    """The delivery of one record, or of all records of a run. ``deadline_ms``: when the acquisition lock ends."""

    __slots__ = ("before", "count", "deadline_ms", "is_gone", "member_id", "state")

    def __init__(self, state: DeliveryState, count: int, member_id: str = NO_MEMBER, deadline_ms: float = 0) -> None:
        self.state = state
        self.count = count
        self.member_id = member_id
        self.deadline_ms = deadline_ms
        # The state and member before a transition that is not stored yet.
        self.before: tuple[DeliveryState, str] | None = None
        # The record is below the start of the log: no transition is undone.
        self.is_gone = False

    def copy(self) -> Delivery:
        twin = Delivery(self.state, self.count, self.member_id, self.deadline_ms)
        twin.is_gone = self.is_gone
        return twin

    @property
    def is_available(self) -> bool:
        return self.state is DeliveryState.AVAILABLE and self.before is None

    @property
    def is_over(self) -> bool:
        """Whether the record needs no further delivery, and that is stored."""
        return self.state.is_final and self.before is None

    def acquire(self, member_id: str, deadline_ms: float) -> None:
        assert self.is_available
        self.state = DeliveryState.ACQUIRED
        self.count += 1
        self.member_id = member_id
        self.deadline_ms = deadline_ms

    def begin(self, state: DeliveryState, limits: Limits) -> None:
        """Leave ACQUIRED, until ``complete`` or ``roll_back``.

        A record that was delivered as often as allowed is archived instead of made available.
        """
        before = self.state, self.member_id
        self.leave(state, limits)
        self.before = before

    def leave(self, state: DeliveryState, limits: Limits) -> None:
        """Leave ACQUIRED at once."""
        assert self.state is DeliveryState.ACQUIRED
        assert self.before is None
        if state is DeliveryState.AVAILABLE and self.count >= limits.delivery_count_max:
            state = DeliveryState.ARCHIVING if limits.dead_letters else DeliveryState.ARCHIVED
        self.state = state
        self.member_id = NO_MEMBER

    def complete(self) -> None:
        self.before = None

    def roll_back(self) -> None:
        """The transition was not stored: the member holds the record until its lock ends."""
        if self.before is not None and not self.is_gone:
            self.state, self.member_id = self.before
        self.before = None

    def archive(self, *, is_gone: bool) -> None:
        self.state = DeliveryState.ARCHIVED
        self.member_id = NO_MEMBER
        self.is_gone = is_gone


class Run:
    """Neighbouring records that were acquired together. Either ``whole`` or ``each`` (by place) has their state."""

    __slots__ = ("each", "first_offset", "last_offset", "whole")

    def __init__(self, first_offset: int, last_offset: int, delivery: Delivery) -> None:
        self.first_offset = first_offset
        self.last_offset = last_offset
        self.whole: Delivery | None = delivery
        self.each: list[Delivery] = []

    def __len__(self) -> int:
        return self.last_offset - self.first_offset + 1

    def split(self) -> None:
        """Keep the state of each record from now on."""
        if self.whole is not None:
            self.each = [self.whole.copy() for _ in range(len(self))]
            self.whole = None

    def is_within(self, first_offset: int, last_offset: int) -> bool:
        return self.first_offset >= first_offset and self.last_offset <= last_offset

    def contains_inside(self, offset: int) -> bool:
        """Whether ``offset`` is one of the run's, but not the first."""
        return self.first_offset < offset <= self.last_offset

    def parts(self) -> Iterator[tuple[int, int, Delivery]]:
        """Each delivery with its first and last offset: one for the run, or one for each record."""
        if self.whole is not None:
            yield self.first_offset, self.last_offset, self.whole
            return
        for offset, delivery in enumerate(self.each, self.first_offset):
            yield offset, offset, delivery

    def records(self, first_offset: int, last_offset: int) -> Iterator[tuple[int, Delivery]]:
        """The records of a run that was split, from ``first_offset`` to ``last_offset``, with their offsets."""
        begin = max(0, first_offset - self.first_offset)
        return enumerate(self.each[begin : max(0, last_offset - self.first_offset + 1)], self.first_offset + begin)

    def first_available(self, start_offset: int) -> int | None:
        """The first record from ``start_offset`` on that may be acquired."""
        for first_offset, last_offset, delivery in self.parts():
            if delivery.is_available and last_offset >= start_offset:
                return max(first_offset, start_offset)
        return None


def stored(first_offset: int, last_offset: int, delivery: Delivery) -> StateBatch:
    """The state batch that the share coordinator stores for it."""
    return StateBatch(first_offset, last_offset, delivery.state, delivery.count)
