"""The share groups of one partition.

Responsible for: commands on groups, timers, and changes of the metadata. Must not depend on:
the log, how a heartbeat is decided (``heartbeat``) and how offsets change (``offsets``).

Timers have the keys ``("share", "session", group id, member id)``: a member that sends no heartbeat is removed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from kwire.coordinators.group.commands import GroupConfig
from kwire.coordinators.group.group import Group
from kwire.coordinators.group.modern.groups import ModernGroups
from kwire.coordinators.group.modern.state import LEAVE_EPOCH
from kwire.coordinators.group.share import offsets
from kwire.coordinators.group.share.commands import DescribedShareGroup, ShareHeartbeat
from kwire.coordinators.group.share.group import KIND, ShareGroup
from kwire.coordinators.group.share.heartbeat import check_request, fence, heartbeat, leave
from kwire.coordinators.group.share.member import Member
from kwire.coordinators.group.share.state import States
from kwire.coordinators.group.share.step import ShareParts, Step
from kwire.coordinators.machine import ClusterMetadata, Effects, MetadataChange
from kwire.coordinators.timeline import Timeline
from kwire.types import Uuid


class ShareGroups(ModernGroups[ShareParts, ShareGroup, Step]):
    """A ``ModernKind``. ``find_any`` gives the group of an id, whatever its kind."""

    def __init__(self, config: GroupConfig, timeline: Timeline, *, find_any: Callable[[str], Group | None]) -> None:
        super().__init__(KIND, ShareParts(config, timeline, find_any=find_any), make_group=ShareGroup, make_step=Step)

    # --- commands
    # ----------------------------------------------------------------------------------------------------

    def heartbeat(self, command: ShareHeartbeat, *, ticket: int, now_ms: int) -> Effects:
        """The reply is a ``HeartbeatAnswer``.

        Raises KafkaError: INVALID_REQUEST, GROUP_ID_NOT_FOUND, UNKNOWN_MEMBER_ID, FENCED_MEMBER_EPOCH,
        GROUP_MAX_SIZE_REACHED.
        """
        check_request(command)
        is_new = command.member_epoch == 0
        is_leaving = command.member_epoch == LEAVE_EPOCH
        if is_leaving and self.parts.find_any(command.group_id) is None:
            raise self.not_found(command.group_id, f"Group {command.group_id} not found.")
        step = self._step(command.group_id, now_ms, may_create=is_new)
        answer = leave(step, command) if is_leaving else heartbeat(step, command)
        step.effects.reply(ticket, answer)
        return step.effects

    def describe(self, group_id: str) -> DescribedShareGroup:
        """What is committed. KafkaError(INVALID_GROUP_ID, GROUP_ID_NOT_FOUND)."""
        return self.described(group_id).described_share_group()

    def states(self, group_id: str) -> States | None:
        """Which partitions have a state, as it is committed; None for a group that does not exist."""
        group = self.committed(group_id)
        return None if group is None else group.states

    def initialized(
        self, group_id: str, partitions: Mapping[Uuid, Collection[int]], *, ticket: int, now_ms: int
    ) -> Effects:
        """The share coordinator has a state for these partitions now. The reply is None."""
        return self._answered(offsets.initialized(self._step(group_id, now_ms), partitions), ticket)

    def not_initialized(
        self, group_id: str, partitions: Mapping[Uuid, Collection[int]], *, ticket: int, now_ms: int
    ) -> Effects:
        """The share coordinator refused; it is tried again with a later heartbeat. The reply is None."""
        return self._answered(offsets.not_initialized(self._step(group_id, now_ms), partitions), ticket)

    def alter_offsets(
        self, group_id: str, topics: Mapping[str, Mapping[int, int]], *, ticket: int, now_ms: int
    ) -> Effects:
        """Begin to set the start offsets of partitions that exist, by topic name.

        The reply is an ``InitializeStates``, to be carried out by the caller. Raises KafkaError: NON_EMPTY_GROUP,
        GROUP_ID_NOT_FOUND for a group of another kind.
        """
        step = self._step(group_id, now_ms, may_create=True)
        action = offsets.alter(step, topics)
        step.effects.reply(ticket, action)
        return step.effects

    def begin_delete_offsets(self, group_id: str, topic_ids: Collection[Uuid], *, ticket: int, now_ms: int) -> Effects:
        """Begin to delete the states of whole topics; the partitions of each follow, by topic id.

        Raises KafkaError: GROUP_ID_NOT_FOUND, NON_EMPTY_GROUP.
        """
        if self.parts.find_any(group_id) is None:
            raise self.not_found(group_id, f"Group {group_id} not found.")
        step = self._step(group_id, now_ms)
        found = offsets.begin_delete(step, topic_ids)
        step.effects.reply(ticket, found)
        return step.effects

    def begin_delete(self, group_id: str, *, ticket: int, now_ms: int) -> Effects:
        """Begin to delete all states of a group that is to be deleted; their partitions follow, by topic id.

        Raises KafkaError: GROUP_ID_NOT_FOUND, NON_EMPTY_GROUP.
        """
        step = self._step(group_id, now_ms)
        found = offsets.begin_delete_all(step)
        step.effects.reply(ticket, found)
        return step.effects

    def deleted(self, group_id: str, topic_ids: Collection[Uuid], *, ticket: int, now_ms: int) -> Effects:
        """The share coordinator has deleted the states of these topics. The reply is None."""
        return self._answered(offsets.deleted(self._step(group_id, now_ms), topic_ids), ticket)

    # --- ModernKind
    # --------------------------------------------------------------------------------------------------

    def loaded(self, metadata: ClusterMetadata, now_ms: int) -> Effects:
        """The sessions of all members restart; the states of topics that were deleted meanwhile are forgotten."""
        effects = super().loaded(metadata, now_ms)
        for group_id, states in self.parts.tables.states.items():
            known = {*states.initializing, *states.initialized, *states.deleting}
            gone = {topic_id for topic_id in known if not metadata.topic_exists(topic_id)}
            effects.records += offsets.without_topics(group_id, states, gone)
        return effects

    def on_metadata_change(self, change: MetadataChange, now_ms: int) -> Effects:
        effects = super().on_metadata_change(change, now_ms)
        if change.topics_deleted:
            gone = set(change.topics_deleted.values())
            for group_id, states in self.parts.tables.states.items():
                effects.records += offsets.without_topics(group_id, states, gone)
        return effects

    def restart(self, step: Step, member: Member) -> None:
        step.start_session(member)

    def fence(self, step: Step, member: Member) -> None:
        fence(step, member)

    # --- helpers
    # -----------------------------------------------------------------------------------------------------

    def _step(self, group_id: str, now_ms: int, *, may_create: bool = False) -> Step:
        """A step of the group. KafkaError(GROUP_ID_NOT_FOUND) without one, unless it may be created."""
        group = self.find(group_id)
        if group is None and may_create and self.parts.find_any(group_id) is None:
            group = ShareGroup(self.parts.tables, group_id)
        return Step(self.parts, group or self.existing(group_id), now_ms)

    def _answered(self, step: Step, ticket: int) -> Effects:
        step.effects.reply(ticket, None)
        return step.effects
