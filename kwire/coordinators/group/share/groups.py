"""The share groups of one partition.

Responsible for: commands on groups, timers, and changes of the metadata. Must not depend on:
the log, how a heartbeat is decided (``heartbeat``) and how offsets change (``offsets``).

Timers have the keys ``("share", "session", group id, member id)``: a member that sends no heartbeat is removed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Mapping

from kwire.coordinators.group.commands import GroupConfig
from kwire.coordinators.group.group import Group
from kwire.coordinators.group.modern.groups import ModernGroups
from kwire.coordinators.group.modern.sessions import Sessions
from kwire.coordinators.group.records import ModernEntry
from kwire.coordinators.group.share import offsets
from kwire.coordinators.group.share.commands import LEAVE_EPOCH, DescribedShareGroup, ShareHeartbeat
from kwire.coordinators.group.share.group import KIND, ShareGroup
from kwire.coordinators.group.share.heartbeat import Step, check_request, fence, heartbeat, leave
from kwire.coordinators.group.share.state import ShareTables, States
from kwire.coordinators.machine import ClusterMetadata, Effects, MetadataChange
from kwire.coordinators.timeline import Table, Timeline
from kwire.errors import Code
from kwire.types import Uuid


class ShareGroups(ModernGroups[ShareGroup]):
    """A ``ModernKind``. ``find_any`` gives the group of an id, whatever its kind."""

    def __init__(self, config: GroupConfig, timeline: Timeline, *, find_any: Callable[[str], Group | None]) -> None:
        self.config = config
        self.tables = tables = ShareTables(timeline)
        self.sessions = Sessions(KIND, timeline)
        # Soft: the version of the topics at which a group's hash was computed; when a topic's initialization began.
        self.checked: Table[str, int] = Table(timeline)
        self.initializing_since: Table[tuple[str, Uuid], int] = Table(timeline)
        self.topics_version = 1
        self._metadata: ClusterMetadata | None = None
        super().__init__(
            KIND,
            tables,
            make=lambda group_id, is_committed: ShareGroup(tables, group_id, is_committed=is_committed),
            find_any=find_any,
        )

    @property
    def metadata(self) -> ClusterMetadata:
        assert self._metadata is not None
        return self._metadata

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
        if is_leaving and self._find_any(command.group_id) is None:
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
        if self._find_any(group_id) is None:
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

    def replay(self, entry: ModernEntry) -> None:
        self.tables.replay(entry)

    def loaded(self, metadata: ClusterMetadata, now_ms: int) -> Effects:
        """The sessions of all members restart; the states of topics that were deleted meanwhile are forgotten."""
        self._metadata = metadata
        effects = Effects()
        for group_id in self.tables.epochs:
            timeout_ms = self._session_timeout_ms(group_id)
            for path, _ in self.tables.members.under(group_id):
                self.sessions.extend(group_id, path[1], timeout_ms, now_ms=now_ms, effects=effects)
        for group_id, states in self.tables.states.items():
            known = {*states.initializing, *states.initialized, *states.deleting}
            gone = {topic_id for topic_id in known if not metadata.topic_exists(topic_id)}
            effects.records += offsets.without_topics(group_id, states, gone)
        return effects

    def on_metadata_change(self, change: MetadataChange, now_ms: int) -> Effects:
        del now_ms
        effects = Effects()
        if change.topics_changed or change.topics_deleted:
            self.topics_version += 1
        if change.topics_deleted:
            gone = set(change.topics_deleted.values())
            for group_id, states in self.tables.states.items():
                effects.records += offsets.without_topics(group_id, states, gone)
        return effects

    def on_timer(self, key: Hashable, now_ms: int) -> Effects:
        """The session of a member may be over."""
        assert isinstance(key, tuple)
        _, _, group_id, member_id = key
        step = self._step(group_id, now_ms) if group_id in self.tables.epochs else None
        effects = Effects() if step is None else step.effects
        if self.sessions.has_expired(group_id, member_id, now_ms=now_ms, effects=effects):
            if step is not None and member_id in step.group.members:
                fence(step, member_id)
            else:
                self.sessions.end(group_id, member_id, effects)
        return effects

    def on_append_result(self, follow_up: object, error: Code | None, now_ms: int) -> Effects:
        raise AssertionError(f"not a follow-up of share groups: {follow_up!r}, {error}, {now_ms}")

    def clock_stepped(self, by_ms: int) -> None:
        self.sessions.clock_stepped(by_ms)

    # --- helpers
    # -----------------------------------------------------------------------------------------------------

    def _step(self, group_id: str, now_ms: int, *, may_create: bool = False) -> Step:
        """A step of the group. KafkaError(GROUP_ID_NOT_FOUND) without one, unless it may be created."""
        group = self.find(group_id)
        if group is None and may_create and self._find_any(group_id) is None:
            group = ShareGroup(self.tables, group_id)
        return Step(
            group=group or self.existing(group_id),
            metadata=self.metadata,
            config=self.config,
            sessions=self.sessions,
            checked=self.checked,
            initializing_since=self.initializing_since,
            topics_version=self.topics_version,
            now_ms=now_ms,
        )

    def _session_timeout_ms(self, group_id: str) -> int:
        timeout_ms = self.metadata.group_config(group_id)["share.session.timeout.ms"]
        assert isinstance(timeout_ms, int)
        return timeout_ms

    def _answered(self, step: Step, ticket: int) -> Effects:
        step.effects.reply(ticket, None)
        return step.effects
