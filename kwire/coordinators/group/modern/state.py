"""The durable state of the groups of one newer kind in one partition.

Responsible for: the tables that each kind has, and how the records of members, epochs and targets change them. Must not
depend on: any kind of group, commands, timers.

Compaction may leave a group's records in any order, so each is taken as it comes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final, Generic, Protocol, TypeVar

from kwire.coordinators.group.records import ModernEntry
from kwire.coordinators.timeline import NestedTable, Table, Timeline

# The epochs of a heartbeat with which a member leaves; with the second its instance id and its target stay.
LEAVE_EPOCH: Final = -1
LEAVE_STATIC_EPOCH: Final = -2


@dataclass(frozen=True, slots=True)
class Epochs:
    """The epochs of a group, which begin at 1. ``assigned_at_ms`` 0: there was no target assignment yet."""

    group: int = 1
    metadata_hash: int = 0
    assignment: int = 1
    assigned_at_ms: int = 0


class ModernMember(Protocol):
    @property
    def member_id(self) -> str: ...


E = TypeVar("E", bound=Epochs)
M = TypeVar("M", bound=ModernMember)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class MemberReader(Generic[M, T]):
    """``make`` makes a member of its id, the next two change it by a record; ``target_of`` is of a record too."""

    make: Callable[[str], M]
    with_metadata: Callable[[M, Any], M]
    with_current: Callable[[M, Any], M]
    target_of: Callable[[Any], T]


class ModernTables(Generic[E, M, T]):
    """By group id, and then: ``members`` and ``targets`` by member id. A group is there if it has epochs.

    ``no_epochs``: those of a group without a record of its epoch.
    """

    def __init__(self, timeline: Timeline, no_epochs: E, reader: MemberReader[M, T]) -> None:
        self.epochs: Table[str, E] = Table(timeline)
        self.members: NestedTable[M] = NestedTable(timeline)
        self.targets: NestedTable[T] = NestedTable(timeline)
        self.no_epochs = no_epochs
        self._reader = reader

    def replay(self, entry: ModernEntry) -> None:
        """Apply one record of a group of this kind."""
        raise NotImplementedError

    def change(self, group_id: str, **fields: Any) -> None:
        """A record of the group changed these fields of its epochs, or none; it exists from then on."""
        self.epochs[group_id] = replace(self.epochs.get(group_id) or self.no_epochs, **fields)

    def replay_member(self, group_id: str, member_id: str, value: Any) -> None:
        """The record of a member's identity and subscription."""
        before = self.members.get((group_id, member_id))
        if value is not None:
            self.change(group_id)
            self.set_member(group_id, before, self._reader.with_metadata(before or self._reader.make(member_id), value))
        elif before is not None:
            self.remove_member(group_id, before)

    def replay_current(self, group_id: str, member_id: str, value: Any) -> None:
        """The record of a member's epochs and assignment."""
        before = self.members.get((group_id, member_id))
        if before is None and value is None:
            return
        self.change(group_id)
        before = before or self._reader.make(member_id)
        self.set_current(group_id, before, self._reader.with_current(before, value))

    def replay_target_metadata(self, group_id: str, value: Any) -> None:
        """The record of the epoch of the target assignment."""
        if value is not None:
            self.change(group_id, assignment=value.assignment_epoch, assigned_at_ms=value.assignment_timestamp)
        elif group_id in self.epochs:
            self.change(group_id, assignment=-1, assigned_at_ms=0)

    def replay_target(self, group_id: str, member_id: str, value: Any) -> None:
        """The record of a member's target assignment."""
        if value is None:
            self.targets.remove((group_id, member_id))
            return
        self.change(group_id)
        self.targets.set((group_id, member_id), self._reader.target_of(value))

    def remove_group(self, group_id: str) -> None:
        self.epochs.pop(group_id)
        for path, _ in self.targets.under(group_id):
            self.targets.remove(path)
        for _, member in self.members.under(group_id):
            self.remove_member(group_id, member)

    # What a kind extends where it derives more from its members

    def set_member(self, group_id: str, before: M | None, member: M) -> None:
        """The identity or subscription of a member changed from ``before``; None: it is new."""
        del before
        self.members.set((group_id, member.member_id), member)

    def set_current(self, group_id: str, before: M, member: M) -> None:
        """The epochs or the assignment of a member changed from ``before``."""
        del before
        self.members.set((group_id, member.member_id), member)

    def remove_member(self, group_id: str, member: M) -> None:
        self.members.remove((group_id, member.member_id))
