"""The streams groups of one partition.

Responsible for: creating groups, and the commands and events of the machine that concern them. Must not depend on: how
a heartbeat is answered (``heartbeat``), the log.

Timers, by key, all beginning with ``"streams"``: ``session`` ends that of a member; ``rebalance`` removes a member that
does not give up its tasks; ``initial`` ends the delay of a new group's first assignment.
"""

from __future__ import annotations

from collections.abc import Callable

from kwire.coordinators.group.classic.group import ClassicGroup
from kwire.coordinators.group.commands import GroupConfig
from kwire.coordinators.group.group import Group
from kwire.coordinators.group.modern.groups import ModernGroups
from kwire.coordinators.group.modern.state import LEAVE_EPOCH, LEAVE_STATIC_EPOCH
from kwire.coordinators.group.records import ModernEntry
from kwire.coordinators.group.streams import heartbeat
from kwire.coordinators.group.streams.commands import DescribedStreamsGroup, StreamsHeartbeat
from kwire.coordinators.group.streams.describing import describe
from kwire.coordinators.group.streams.group import KIND, StreamsGroup
from kwire.coordinators.group.streams.member import Member, MemberState
from kwire.coordinators.group.streams.step import ALL_MEMBERS, Step, StreamsParts
from kwire.coordinators.group.streams.target import compute_delayed
from kwire.coordinators.machine import Effects
from kwire.coordinators.timeline import Timeline


class StreamsGroups(ModernGroups[StreamsParts, StreamsGroup, Step]):
    """A ``ModernKind``. ``find_any`` gives the group of an id, whatever its kind."""

    def __init__(self, config: GroupConfig, timeline: Timeline, *, find_any: Callable[[str], Group | None]) -> None:
        super().__init__(
            KIND, StreamsParts(config, timeline, find_any=find_any), make_group=StreamsGroup, make_step=Step
        )

    # Commands

    def heartbeat(self, command: StreamsHeartbeat, *, ticket: int, now_ms: int) -> Effects:
        """The reply is a ``HeartbeatAnswer``. Raises KafkaError."""
        heartbeat.check_request(command)
        if command.member_epoch in (LEAVE_EPOCH, LEAVE_STATIC_EPOCH):
            group = self.existing(command.group_id, f"Group {command.group_id} not found.")
            step = Step(self.parts, group, now_ms)
            step.effects.reply(ticket, heartbeat.leave(step, command))
            return step.effects
        step = self._created(command.group_id, now_ms) if command.member_epoch == 0 else self._step(command, now_ms)
        step.effects.reply(ticket, heartbeat.heartbeat(step, command))
        return step.effects

    def describe(self, group_id: str) -> DescribedStreamsGroup:
        """What is committed. KafkaError(INVALID_GROUP_ID, GROUP_ID_NOT_FOUND)."""
        group = self.described(group_id)
        watched = self.parts.watched.committed(group_id)
        offsets = {path[1]: found for path, found in self.parts.reported.committed_under(group_id)}
        configured = None if watched is None else watched.configured
        return describe(group, configured, offsets, self._assignor(group_id))

    # The machine's events

    def replay(self, entry: ModernEntry) -> None:
        super().replay(entry)
        group_id = entry.group_id
        if group_id not in self.parts.tables.epochs:
            self.parts.watched.pop(group_id)
            self.parts.deadlines.fired("initial", group_id, ALL_MEMBERS)
        elif not self.has_members(group_id):
            self._forget_shutdown(group_id)

    def timer_fired(self, step: Step, name: str, member_id: str) -> None:
        if name != "initial":
            super().timer_fired(step, name, member_id)
            return
        self.parts.deadlines.fired(name, step.group_id, member_id)
        if step.group.members:
            compute_delayed(step)

    def restart(self, step: Step, member: Member) -> None:
        step.start_session(member)
        if member.state is MemberState.UNREVOKED_TASKS:
            step.limit_rebalance(member)

    def fence(self, step: Step, member: Member) -> None:
        heartbeat.fence(step, member)

    # Helpers

    def _step(self, command: StreamsHeartbeat, now_ms: int) -> Step:
        return Step(self.parts, self.existing(command.group_id), now_ms)

    def _assignor(self, group_id: str) -> str:
        """The assignor of the group; the default one if its own is not there."""
        wanted = self.parts.metadata.group_config(group_id)["streams.assignor.name"]
        assignors = self.parts.config.streams_assignors
        return wanted if isinstance(wanted, str) and wanted in assignors else assignors[0]

    def _created(self, group_id: str, now_ms: int) -> Step:
        """The group, new, or made of an empty classic one.

        KafkaError(GROUP_ID_NOT_FOUND) for a group of another kind.
        """
        other = self.parts.find_any(group_id)
        step = Step(self.parts, StreamsGroup(self.parts.tables, group_id), now_ms, is_new=other is None)
        if isinstance(other, ClassicGroup) and other.is_empty:
            step.is_new = True
            step.add(*other.tombstones())
        elif other is not None and not isinstance(other, StreamsGroup):
            raise self.not_found(group_id, "")
        return step

    def _forget_shutdown(self, group_id: str) -> None:
        watched = self.parts.watched.get(group_id)
        if watched is not None and watched.shutdown_by is not None:
            Step(self.parts, StreamsGroup(self.parts.tables, group_id), 0).watch(shutdown_by=None)
