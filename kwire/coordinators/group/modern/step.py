"""State and helpers that the commands of one newer kind share.

Responsible for: ``ModernParts``, the state and settings of the groups of one partition, and ``ModernStep``, one command
on one group. Must not depend on: any kind of group, any command.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar

from kwire.coordinators.group.commands import GroupConfig
from kwire.coordinators.group.group import Group
from kwire.coordinators.group.modern.deadlines import Deadlines
from kwire.coordinators.group.modern.sessions import Sessions
from kwire.coordinators.group.modern.state import ModernTables
from kwire.coordinators.group.modern.view import GroupView
from kwire.coordinators.machine import ClusterMetadata, Effects, Record
from kwire.coordinators.timeline import Table, Timeline
from kwire.coordinators.topics import TopicDescription, group_hash
from kwire.types import Uuid

B = TypeVar("B", bound=ModernTables[Any, Any, Any])
G = TypeVar("G", bound=GroupView[Any, Any, Any, Any])
P = TypeVar("P", bound="ModernParts[Any, Any]")
W = TypeVar("W")


class ModernParts(Generic[B, W]):
    """``metadata`` is set once the machine is loaded; ``topics_version`` counts changes of topics since.

    ``watched``: soft state of each group, a value that is replaced when it changes; ``unwatched`` of one without any.
    ``find_any`` gives the group of an id, whatever its kind.
    """

    def __init__(
        self,
        kind: str,
        config: GroupConfig,
        timeline: Timeline,
        *,
        tables: B,
        unwatched: W,
        find_any: Callable[[str], Group | None],
    ) -> None:
        self.config = config
        self.tables = tables
        self.sessions = Sessions(kind, timeline)
        self.deadlines = Deadlines(kind, timeline)
        self.watched: Table[str, W] = Table(timeline)
        self.unwatched = unwatched
        self.find_any = find_any
        self.topics_version = 0
        self._metadata: ClusterMetadata | None = None

    @property
    def metadata(self) -> ClusterMetadata:
        assert self._metadata is not None, "the machine is not loaded"
        return self._metadata

    @metadata.setter
    def metadata(self, metadata: ClusterMetadata) -> None:
        self._metadata = metadata

    def topics(self, names: Iterable[str]) -> Iterator[TopicDescription]:
        """Those of the topics that exist."""
        return (topic for topic in map(self.metadata.topic, names) if topic is not None)

    def topic_ids(self, names: Iterable[str]) -> frozenset[Uuid]:
        return frozenset(topic.id for topic in self.topics(names))

    def hash_of(self, names: Iterable[str]) -> int:
        """The hash of these topics that a group's record has."""
        return group_hash(self.topics(names))


@dataclass(slots=True)
class ModernStep(Generic[P, G, W]):
    """One command on one group, with its effects. ``group`` shows the state before the command."""

    parts: P
    group: G
    now_ms: int
    effects: Effects = field(default_factory=Effects)

    @property
    def group_id(self) -> str:
        return self.group.group_id

    def add(self, *records: Record) -> None:
        self.effects.records += records

    def setting(self, name: str) -> Any:
        """A dynamic config of the group."""
        return self.parts.metadata.group_config(self.group_id)[name]

    def may_assign(self, interval: str) -> bool:
        """Whether a target may be computed: not again before the assignment interval has passed (KIP-1263).

        ``interval``: the name of its config.
        """
        assigned_at_ms: int = self.group.epochs.assigned_at_ms
        if assigned_at_ms == 0:
            return True
        interval_ms: int = self.setting(interval)
        return interval_ms == 0 or self.now_ms >= assigned_at_ms + interval_ms

    # Timers

    def extend_session(self, member_id: str, timeout_ms: int) -> None:
        """The member has sent a request."""
        sessions, group_id = self.parts.sessions, self.group.group_id
        sessions.extend(group_id, member_id, timeout_ms, now_ms=self.now_ms, effects=self.effects)

    def end_session(self, member_id: str) -> None:
        self.parts.sessions.end(self.group_id, member_id, self.effects)

    # Soft state of the group

    @property
    def watched(self) -> W:
        watched: W = self.parts.watched.get(self.group_id) or self.parts.unwatched
        return watched

    def watch(self, **fields: Any) -> None:
        before: Any = self.watched
        self.parts.watched[self.group_id] = replace(before, **fields)
