"""State and helpers that the commands of consumer groups share.

Responsible for: ``ConsumerParts``, the state and settings of the groups of one partition, and ``Step``, one command on
one group. Must not depend on: any command.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from kwire.coordinators.group.classic.groups import ClassicGroups
from kwire.coordinators.group.commands import GroupConfig
from kwire.coordinators.group.consumer.group import KIND, ConsumerGroup
from kwire.coordinators.group.consumer.member import Member
from kwire.coordinators.group.consumer.state import ConsumerTables
from kwire.coordinators.group.group import Group
from kwire.coordinators.group.modern.deadlines import Deadlines
from kwire.coordinators.group.modern.sessions import Sessions
from kwire.coordinators.machine import ClusterMetadata, Effects, Record
from kwire.coordinators.timeline import Table, Timeline
from kwire.types import Uuid


@dataclass(frozen=True, slots=True)
class Watched:
    """Soft state of a group, replaced when it changes.

    ``checked_version``: the version of the topics that its hash was last computed with. ``changed_ms``: when its
    members or their assignments changed last; ``is_settled``: since then all members have reached their targets.
    ``is_resolving``: its regular expressions are being resolved; ``resolved_version``: the version of the topics that
    they were last resolved with.
    """

    checked_version: int = -1
    changed_ms: int = 0
    is_settled: bool = False
    is_resolving: bool = False
    resolved_version: int = -1


class ConsumerParts:
    """``metadata`` is set once the machine is loaded; ``topics_version`` counts changes of topics since."""

    def __init__(
        self,
        config: GroupConfig,
        timeline: Timeline,
        *,
        classic: ClassicGroups,
        find_any: Callable[[str], Group | None],
    ) -> None:
        self.config = config
        self.tables = ConsumerTables(timeline)
        self.sessions = Sessions(KIND, timeline)
        self.deadlines = Deadlines(KIND, timeline)
        self.watched: Table[str, Watched] = Table(timeline)
        self.classic = classic
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

    def group_config(self, group_id: str, name: str) -> Any:
        return self.metadata.group_config(group_id)[name]

    def has_own_interval(self, group_id: str) -> bool:
        """Whether the group has a heartbeat interval of its own."""
        return self.metadata.has_group_config(group_id, "consumer.heartbeat.interval.ms")

    def resolved_topics(self, regex: str | None, group: ConsumerGroup) -> frozenset[str]:
        resolved = group.regexes.get(regex) if regex else None
        return frozenset() if resolved is None else resolved.topics


@dataclass(slots=True)
class Step:
    """One command on one group, with its effects. ``group`` shows the state before the command."""

    parts: ConsumerParts
    group: ConsumerGroup
    now_ms: int
    effects: Effects = field(default_factory=Effects)

    @property
    def group_id(self) -> str:
        return self.group.group_id

    def add(self, *records: Record) -> None:
        self.effects.records += records

    # Timers

    def start_session(self, member: Member) -> None:
        """Extend the session of a member that has sent a request."""
        if member.classic is not None:
            timeout_ms = member.classic.session_timeout_ms
        else:
            timeout_ms = self.parts.group_config(self.group_id, "consumer.session.timeout.ms")
        sessions = self.parts.sessions
        sessions.extend(self.group_id, member.member_id, timeout_ms, now_ms=self.now_ms, effects=self.effects)

    def set_deadline(self, name: str, member_id: str, after_ms: int | None, *, keep: bool = False) -> None:
        """Set the timer ``name`` of a member, or cancel it (None). ``keep``: not if it is set."""
        deadlines = self.parts.deadlines
        if after_ms is None:
            deadlines.cancel(name, self.group_id, member_id, self.effects)
        elif not (keep and deadlines.is_set(name, self.group_id, member_id)):
            deadlines.set(name, self.group_id, member_id, self.now_ms + after_ms, self.effects)

    def cancel_timers(self, member_id: str) -> None:
        self.parts.sessions.end(self.group_id, member_id, self.effects)
        for name in ("rebalance", "join", "sync"):
            self.set_deadline(name, member_id, None)

    # Soft state of the group

    @property
    def watched(self) -> Watched:
        return self.parts.watched.get(self.group_id) or Watched()

    def changed(self) -> None:
        """The members or their assignments change with this command."""
        self.watch(changed_ms=self.now_ms, is_settled=False)

    def watch(self, **fields: Any) -> None:
        self.parts.watched[self.group_id] = replace(self.watched, **fields)

    # Subscriptions

    def topic_ids(self, member: Member) -> frozenset[Uuid]:
        """The topics that a member subscribes to and that exist."""
        names = member.topics | self.parts.resolved_topics(member.regex, self.group)
        found = map(self.parts.metadata.topic, names)
        return frozenset(topic.id for topic in found if topic is not None)
