"""The groups of one newer kind in one partition: finding them, committed or as they are written, and their events.

Responsible for: the methods of ``ModernKind`` that are the same for each kind. Must not depend on: any kind of group.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from typing import Any, Generic, TypeVar

from kwire.coordinators.group.commands import ListedGroup
from kwire.coordinators.group.group import Group, each_listed
from kwire.coordinators.group.modern.step import ModernParts, ModernStep
from kwire.coordinators.group.records import ModernEntry
from kwire.coordinators.machine import ClusterMetadata, Effects, MetadataChange
from kwire.errors import Code, KafkaError

P = TypeVar("P", bound=ModernParts[Any, Any])
G = TypeVar("G", bound=Group)
S = TypeVar("S", bound=ModernStep[Any, Any, Any])


class ModernGroups(Generic[P, G, S]):
    """All groups of one kind in one partition: a ``ModernKind``. ``make_group`` and ``make_step`` are its classes."""

    def __init__(self, kind: str, parts: P, *, make_group: Callable[..., G], make_step: Callable[..., S]) -> None:
        self.parts = parts
        self._kind = kind
        self._make_group = make_group
        self._make_step = make_step

    def find(self, group_id: str) -> G | None:
        """The group as commands see it."""
        return self._written(group_id) if group_id in self.parts.tables.epochs else None

    def committed(self, group_id: str) -> G | None:
        """The group as it is committed."""
        return (
            None
            if self.parts.tables.epochs.committed(group_id) is None
            else self._make_group(self.parts.tables, group_id, is_committed=True)
        )

    def group_ids(self) -> list[str]:
        return list(self.parts.tables.epochs)

    def listed(self) -> Iterator[ListedGroup | None]:
        """Each group as ListGroups shows it; see ``GroupKind.listed``."""
        return each_listed((group_id for group_id, _ in self.parts.tables.epochs.committed_items()), self.committed)

    @property
    def changes(self) -> int:
        changes: int = self.parts.tables.epochs.changes + self.parts.tables.members.changes
        return changes

    def has_members(self, group_id: str) -> bool:
        return bool(self.parts.tables.members.has_under(group_id))

    def existing(self, group_id: str, not_found: str | None = None) -> G:
        """The group as commands see it. KafkaError(GROUP_ID_NOT_FOUND), with the text ``not_found`` if there is one."""
        group = self.find(group_id)
        if group is None:
            raise self.not_found(group_id, not_found or f"{self._kind.capitalize()} group {group_id} not found.")
        return group

    def described(self, group_id: str) -> G:
        """The group as it is committed. KafkaError(INVALID_GROUP_ID, GROUP_ID_NOT_FOUND)."""
        if not group_id:
            raise KafkaError(Code.INVALID_GROUP_ID)
        group = self.committed(group_id)
        if group is None:
            raise self.not_found(group_id, f"Group {group_id} not found.")
        return group

    def not_found(self, group_id: str, message: str) -> KafkaError:
        """GROUP_ID_NOT_FOUND: with ``message``, or naming the kind if there is a group of another one."""
        if self.parts.find_any(group_id) is not None:
            message = f"Group {group_id} is not a {self._kind} group."
        return KafkaError(Code.GROUP_ID_NOT_FOUND, message)

    # The machine's events

    def replay(self, entry: ModernEntry) -> None:
        self.parts.tables.replay(entry)

    def loaded(self, metadata: ClusterMetadata, now_ms: int) -> Effects:
        """The sessions of all members restart."""
        self.parts.metadata = metadata
        effects = Effects()
        for group_id in self.group_ids():
            step = self._make_step(self.parts, self._written(group_id), now_ms, effects)
            for member in step.group.members.values():
                self.restart(step, member)
        return effects

    def on_metadata_change(self, change: MetadataChange, now_ms: int) -> Effects:
        """Groups look at their topics at the next heartbeat of a member."""
        del now_ms
        if change.topics_changed:
            self.parts.topics_version += 1
        return Effects()

    def on_timer(self, key: Hashable, now_ms: int) -> Effects:
        match key:
            case (_, str(name), str(group_id), str(member_id)):
                step = self._make_step(self.parts, self._written(group_id), now_ms)
                self.timer_fired(step, name, member_id)
                return step.effects
            case _:
                raise AssertionError(f"not a timer of {self._kind} groups: {key!r}")

    def timer_fired(self, step: S, name: str, member_id: str) -> None:
        """The session of a member may be over, or it did not do in time what another timer waited for."""
        group_id = step.group_id
        member = step.group.members.get(member_id)
        if name == "session":
            sessions = self.parts.sessions
            if member is None:
                sessions.end(group_id, member_id, step.effects)
            elif sessions.has_expired(group_id, member_id, now_ms=step.now_ms, effects=step.effects):
                self.fence(step, member)
            return
        self.parts.deadlines.fired(name, group_id, member_id)
        # The timer of an earlier state of the member is ignored: it has another one now, or none.
        if member is not None:
            self.fence(step, member)

    def on_append_result(self, follow_up: object, error: Code | None, now_ms: int) -> Effects:
        raise AssertionError(f"not a follow-up of {self._kind} groups: {follow_up!r}, {error}, {now_ms}")

    def clock_stepped(self, by_ms: int) -> None:
        self.parts.sessions.clock_stepped(by_ms)

    # What a kind does with its members

    def restart(self, step: S, member: Any) -> None:
        """The machine was loaded: start the timers of a member."""
        raise NotImplementedError

    def fence(self, step: S, member: Any) -> None:
        """Remove a member that is late."""
        raise NotImplementedError

    def _written(self, group_id: str) -> G:
        """The group as commands see it; one that does not exist has no members."""
        return self._make_group(self.parts.tables, group_id, is_committed=False)
