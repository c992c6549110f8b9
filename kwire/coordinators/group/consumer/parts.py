"""State and helpers that the commands of consumer groups share.

Responsible for: ``ConsumerParts``, the state and settings of the groups of one partition, and ``Step``, one command on
one group. Must not depend on: any command.
"""

from collections.abc import Callable
from dataclasses import dataclass

from kwire.coordinators.group.classic.groups import ClassicGroups
from kwire.coordinators.group.commands import GroupConfig
from kwire.coordinators.group.consumer.group import KIND, ConsumerGroup
from kwire.coordinators.group.consumer.member import Member
from kwire.coordinators.group.consumer.state import ConsumerTables
from kwire.coordinators.group.group import Group
from kwire.coordinators.group.modern.step import ModernParts, ModernStep
from kwire.coordinators.timeline import Timeline
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


class ConsumerParts(ModernParts[ConsumerTables, Watched]):
    def __init__(
        self,
        config: GroupConfig,
        timeline: Timeline,
        *,
        classic: ClassicGroups,
        find_any: Callable[[str], Group | None],
    ) -> None:
        tables = ConsumerTables(timeline)
        super().__init__(KIND, config, timeline, tables=tables, unwatched=Watched(), find_any=find_any)
        self.classic = classic

    def has_own_interval(self, group_id: str) -> bool:
        """Whether the group has a heartbeat interval of its own."""
        return self.metadata.has_group_config(group_id, "consumer.heartbeat.interval.ms")

    def resolved_topics(self, regex: str | None, group: ConsumerGroup) -> frozenset[str]:
        """The topics that match; empty without a regex, and while it is not resolved."""
        resolved = group.regexes.get(regex) if regex else None
        return frozenset() if resolved is None else resolved.topics


@dataclass(slots=True)
class Step(ModernStep[ConsumerParts, ConsumerGroup, Watched]):
    # Timers

    def start_session(self, member: Member) -> None:
        """Extend the session of a member that has sent a request."""
        if member.classic is not None:
            timeout_ms = member.classic.session_timeout_ms
        else:
            timeout_ms = self.setting("consumer.session.timeout.ms")
        self.extend_session(member.member_id, timeout_ms)

    def set_deadline(self, name: str, member_id: str, after_ms: int | None, *, keep: bool = False) -> None:
        """Set the timer ``name`` of a member, or cancel it (None). ``keep``: not if it is set."""
        deadlines = self.parts.deadlines
        if after_ms is None:
            deadlines.cancel(name, self.group_id, member_id, self.effects)
        elif not (keep and deadlines.is_set(name, self.group_id, member_id)):
            deadlines.set(name, self.group_id, member_id, self.now_ms + after_ms, self.effects)

    def cancel_timers(self, member_id: str) -> None:
        self.end_session(member_id)
        for name in ("rebalance", "join", "sync"):
            self.set_deadline(name, member_id, None)

    # Soft state of the group

    def changed(self) -> None:
        """The members or their assignments change with this command."""
        self.watch(changed_ms=self.now_ms, is_settled=False)

    # Subscriptions

    def topic_ids(self, member: Member) -> frozenset[Uuid]:
        """The topics that a member subscribes to and that exist."""
        return self.parts.topic_ids(member.topics | self.parts.resolved_topics(member.regex, self.group))
