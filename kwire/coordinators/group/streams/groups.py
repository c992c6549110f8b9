"""The streams groups of one partition.

Responsible for: creating groups, and the commands and events of the machine that concern them. Must not depend on: how
a heartbeat is answered (``heartbeat``), the log.

Timers, by key, all beginning with ``"streams"``: ``session`` ends that of a member; ``rebalance`` removes a member that
does not give up its tasks; ``initial`` ends the delay of a new group's first assignment.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable

from kwire.coordinators.group.classic.group import ClassicGroup
from kwire.coordinators.group.commands import GroupConfig
from kwire.coordinators.group.group import Group
from kwire.coordinators.group.modern.groups import ModernGroups
from kwire.coordinators.group.records import ModernEntry
from kwire.coordinators.group.streams import heartbeat
from kwire.coordinators.group.streams.commands import DescribedStreamsGroup, StreamsHeartbeat
from kwire.coordinators.group.streams.describing import describe
from kwire.coordinators.group.streams.group import KIND, StreamsGroup
from kwire.coordinators.group.streams.member import LEAVE_EPOCH, LEAVE_STATIC_EPOCH, MemberState
from kwire.coordinators.group.streams.step import ALL_MEMBERS, Step, StreamsParts
from kwire.coordinators.group.streams.target import compute_delayed
from kwire.coordinators.machine import ClusterMetadata, Effects, MetadataChange
from kwire.coordinators.timeline import Timeline
from kwire.errors import Code


class StreamsGroups(ModernGroups[StreamsGroup]):
    """A ``ModernKind``. ``find_any`` gives the group of an id, whatever its kind."""

    def __init__(self, config: GroupConfig, timeline: Timeline, *, find_any: Callable[[str], Group | None]) -> None:
        self.parts = StreamsParts(config, timeline, find_any=find_any)
        self.tables = tables = self.parts.tables
        super().__init__(
            KIND,
            tables,
            make=lambda group_id, is_committed: StreamsGroup(tables, group_id, is_committed=is_committed),
            find_any=find_any,
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
        self.tables.replay(entry)
        group_id = entry.group_id
        if group_id not in self.tables.epochs:
            self.parts.watched.pop(group_id)
            self.parts.deadlines.fired("initial", group_id, ALL_MEMBERS)
        elif not self.has_members(group_id):
            self._forget_shutdown(group_id)

    def loaded(self, metadata: ClusterMetadata, now_ms: int) -> Effects:
        self.parts.metadata = metadata
        effects = Effects()
        for group_id in self.group_ids():
            step = Step(self.parts, StreamsGroup(self.tables, group_id), now_ms, effects=effects)
            for member in step.group.members.values():
                step.start_session(member.member_id)
                if member.state is MemberState.UNREVOKED_TASKS:
                    step.limit_rebalance(member)
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
                step = Step(self.parts, StreamsGroup(self.tables, group_id), now_ms)
                self._on_timer(step, name, member_id)
                return step.effects
            case _:
                raise AssertionError(f"not a timer of streams groups: {key!r}")

    def _on_timer(self, step: Step, name: str, member_id: str) -> None:
        if name == "initial":
            self.parts.deadlines.fired(name, step.group_id, member_id)
            if step.group.members:
                compute_delayed(step)
            return
        member = step.group.members.get(member_id)
        if name == "session":
            sessions = self.parts.sessions
            if member is None:
                sessions.end(step.group_id, member_id, step.effects)
            elif sessions.has_expired(step.group_id, member_id, now_ms=step.now_ms, effects=step.effects):
                heartbeat.fence(step, member)
            return
        self.parts.deadlines.fired(name, step.group_id, member_id)
        # The timer of an earlier state of the member is ignored: it has another one now, or none.
        if member is not None:
            heartbeat.fence(step, member)

    def on_append_result(self, follow_up: object, error: Code | None, now_ms: int) -> Effects:
        raise AssertionError(f"not a follow-up of streams groups: {follow_up!r}, {error}, {now_ms}")

    def clock_stepped(self, by_ms: int) -> None:
        self.parts.sessions.clock_stepped(by_ms)

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
        step = Step(self.parts, StreamsGroup(self.tables, group_id), now_ms, is_new=other is None)
        if isinstance(other, ClassicGroup) and other.is_empty:
            step.is_new = True
            step.add(*other.tombstones())
        elif other is not None and not isinstance(other, StreamsGroup):
            raise self.not_found(group_id, "")
        return step

    def _forget_shutdown(self, group_id: str) -> None:
        watched = self.parts.watched.get(group_id)
        if watched is not None and watched.shutdown_by is not None:
            Step(self.parts, StreamsGroup(self.tables, group_id), 0).watch(shutdown_by=None)
