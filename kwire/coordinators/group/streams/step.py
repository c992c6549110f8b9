"""State and helpers that the commands of streams groups share.

Responsible for: ``StreamsParts``, the state and settings of the groups of one partition, and ``Step``, one command on
one group. Must not depend on: any command.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from kwire.coordinators.group.commands import GroupConfig
from kwire.coordinators.group.group import Group
from kwire.coordinators.group.modern.step import ModernParts, ModernStep
from kwire.coordinators.group.streams.group import KIND, StreamsGroup
from kwire.coordinators.group.streams.internal_topics import ConfiguredTopology
from kwire.coordinators.group.streams.member import Member
from kwire.coordinators.group.streams.state import StreamsTables
from kwire.coordinators.group.streams.tasks import TaskOffsets
from kwire.coordinators.timeline import NestedTable, Timeline

# In the place of the member id in the key of a timer of the whole group.
ALL_MEMBERS = ""


@dataclass(frozen=True, slots=True)
class Watched:
    """Soft state of a group, replaced when it changes.

    ``configured``: its topology compared with the topics that exist, as of version ``checked_version`` of the topics.
    ``shutdown_by``: the member that asked for the end of the whole application. ``endpoint_epoch`` rises when the
    partitions of an endpoint change (interactive queries).
    """

    configured: ConfiguredTopology | None = None
    checked_version: int = -1
    shutdown_by: str | None = None
    endpoint_epoch: int = 0


@dataclass(frozen=True, slots=True)
class Reported:
    """The offsets of the state on its disk that a member last reported."""

    offsets: TaskOffsets = field(default_factory=dict)
    end_offsets: TaskOffsets = field(default_factory=dict)


class StreamsParts(ModernParts[StreamsTables, Watched]):
    def __init__(self, config: GroupConfig, timeline: Timeline, *, find_any: Callable[[str], Group | None]) -> None:
        tables = StreamsTables(timeline)
        super().__init__(KIND, config, timeline, tables=tables, unwatched=Watched(), find_any=find_any)
        self.reported: NestedTable[Reported] = NestedTable(timeline)

    def partition_count(self, topic: str) -> int | None:
        found = self.metadata.topic(topic)
        return None if found is None else found.partition_count


@dataclass(slots=True)
class Step(ModernStep[StreamsParts, StreamsGroup, Watched]):
    """``is_new``: the group is created by this command; its soft state begins with the next one."""

    is_new: bool = False

    # Timers

    def start_session(self, member: Member) -> None:
        """Extend the session of a member that has sent a request."""
        self.extend_session(member.member_id, self.setting("streams.session.timeout.ms"))

    def limit_rebalance(self, member: Member) -> None:
        """The member must give up tasks within its rebalance timeout."""
        deadline_ms = self.now_ms + member.rebalance_timeout_ms
        self.parts.deadlines.set("rebalance", self.group_id, member.member_id, deadline_ms, self.effects)

    def end_rebalance(self, member_id: str) -> None:
        self.parts.deadlines.cancel("rebalance", self.group_id, member_id, self.effects)

    def delay_assignment(self, after_ms: int) -> None:
        """Wait for more members before the first assignment; a delay that runs is not prolonged."""
        if not self.is_delayed:
            deadline_ms = self.now_ms + after_ms
            self.parts.deadlines.set("initial", self.group_id, ALL_MEMBERS, deadline_ms, self.effects)

    @property
    def is_delayed(self) -> bool:
        return self.parts.deadlines.is_set("initial", self.group_id, ALL_MEMBERS)

    def forget_member(self, member_id: str) -> None:
        """Cancel the member's timers, and drop its reported offsets."""
        self.end_session(member_id)
        self.end_rebalance(member_id)
        self.parts.reported.remove((self.group_id, member_id))
