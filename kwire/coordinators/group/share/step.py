"""State and helpers that the commands of share groups share.

Responsible for: ``ShareParts``, the state and settings of the groups of one partition, and ``Step``, one command on one
group. Must not depend on: any command.
"""

from collections.abc import Callable
from dataclasses import dataclass

from kwire.coordinators.group.commands import GroupConfig
from kwire.coordinators.group.group import Group
from kwire.coordinators.group.modern.step import ModernParts, ModernStep
from kwire.coordinators.group.share.group import KIND, ShareGroup
from kwire.coordinators.group.share.member import Member
from kwire.coordinators.group.share.state import ShareTables
from kwire.coordinators.timeline import Table, Timeline
from kwire.types import Uuid


@dataclass(frozen=True, slots=True)
class Watched:
    """``checked_version``: the version of the topics that the group's hash was last computed with."""

    checked_version: int = -1


class ShareParts(ModernParts[ShareTables, Watched]):
    """``initializing_since``: when the initialization of a topic's states began, by group id and topic id."""

    def __init__(self, config: GroupConfig, timeline: Timeline, *, find_any: Callable[[str], Group | None]) -> None:
        tables = ShareTables(timeline)
        super().__init__(KIND, config, timeline, tables=tables, unwatched=Watched(), find_any=find_any)
        self.initializing_since: Table[tuple[str, Uuid], int] = Table(timeline)


@dataclass(slots=True)
class Step(ModernStep[ShareParts, ShareGroup, Watched]):
    def start_session(self, member: Member) -> None:
        """Extend the session of a member that has sent a request."""
        self.extend_session(member.member_id, self.setting("share.session.timeout.ms"))
