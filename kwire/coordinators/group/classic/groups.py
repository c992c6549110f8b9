"""The classic group protocol: joining, syncing, heartbeats and leaving.

Responsible for: the commands of classic groups, their timers, and the groups of one partition, as records and in
memory. Must not depend on: offsets, the log, request versions.

A command changes the soft state at once; the timeline undoes that if its records are refused. A step that must wait
until a record is committed (sending assignments, answering a returning static member) is a follow-up, for which
``on_append_result`` is called.

Timers, by key: ``("session", group, member)`` checks the session of a member, ``("join", group)`` ends the join phase,
``("sync", group)`` removes members that never sent SyncGroup.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator

from kwire.coordinators.group.classic.group import KIND, ClassicGroup, Member, State
from kwire.coordinators.group.classic.rebalance import (
    AssignmentStored,
    StaticMemberStored,
    Step,
    answer_join,
    answer_sync,
    assign,
    extend_session,
    joined,
    on_join_timeout,
    on_session_timer,
    on_sync_timeout,
    prepare_rebalance,
    rebalance_or_complete_join,
    remove_member,
    synced,
    try_complete_join,
)
from kwire.coordinators.group.commands import (
    GroupConfig,
    Joined,
    JoinGroup,
    LeavingMember,
    LeftMember,
    ListedGroup,
    Synced,
    SyncGroup,
)
from kwire.coordinators.group.records import GroupEntry, group_record
from kwire.coordinators.machine import Effects
from kwire.coordinators.timeline import ABSENT, Absent, Table, Timeline
from kwire.errors import Code, KafkaError
from kwire.wire.messages import GroupMetadataValue

# A new member has no session before its first generation: if the client gave up and joined again with another member
# id, the first one stays in the rebalance for this time. Kafka has the same constant.
NEW_MEMBER_JOIN_TIMEOUT_MS = 5 * 60 * 1000


class LiveGroups(Table[str, ClassicGroup]):
    """Groups that are changed in place; the timeline keeps a copy from before a step."""

    __slots__ = ()

    def change(self, group_id: str) -> ClassicGroup | None:
        """The group for a command that may change it."""
        self.timeline.note(self, group_id)
        return self.get(group_id)

    def current(self, key: str) -> ClassicGroup | Absent:
        group = self.get(key)
        return ABSENT if group is None else group.copy()

    def committed(self, key: str) -> ClassicGroup | None:
        """Read only: it may be the object that commands change."""
        return super().committed(key) if key in self.history else self.get(key)


class ClassicGroups:
    """A ``GroupKind``. ``records``: the last record of every group. ``live``: those that a command has used."""

    def __init__(self, config: GroupConfig, timeline: Timeline) -> None:
        self.config = config
        self.records: Table[str, GroupMetadataValue] = Table(timeline)
        self.live = LiveGroups(timeline)

    # The groups

    def find(self, group_id: str) -> ClassicGroup | None:
        """The group, for queries and for extending the session of a member."""
        group = self.live.get(group_id)
        if group is not None:
            return group
        # Not kept: a group without members has no soft state, and ``loaded`` keeps those with members.
        stored = self.records.get(group_id)
        return None if stored is None else ClassicGroup.from_record(group_id, stored)

    def has_record_only(self, group_id: str) -> bool:
        """Whether it is an empty group without soft state: a client without a generation may commit its offsets."""
        if group_id in self.live:
            return False
        stored = self.records.get(group_id)
        return stored is not None and not stored.members

    def find_to_change(self, group_id: str) -> ClassicGroup | None:
        """The group, for commands that change it."""
        group = self.live.change(group_id)
        stored = self.records.get(group_id)
        if group is None and stored is not None:
            group = self.live[group_id] = ClassicGroup.from_record(group_id, stored)
        return group

    def committed(self, group_id: str) -> ClassicGroup | None:
        group = self.live.committed(group_id)
        if group is not None:
            return group
        stored = self.records.committed(group_id)
        return None if stored is None else ClassicGroup.from_record(group_id, stored)

    def group_ids(self) -> list[str]:
        return list(self.records)

    def listed(self) -> Iterator[ListedGroup | None]:
        for group_id in [group_id for group_id, _ in self.records.committed_items()]:
            group, stored = self.live.committed(group_id), self.records.committed(group_id)
            if group is None and stored is not None:
                # Most groups are empty and are listed from their record.
                state = State.STABLE if stored.members else State.EMPTY
                yield ListedGroup(group_id, stored.protocol_type, state.value, KIND)
            else:
                yield None if group is None else group.listed()

    @property
    def changes(self) -> int:
        return self.records.changes + self.live.changes

    def replay(self, entry: GroupEntry) -> None:
        if entry.value is not None:
            self.records[entry.group_id] = entry.value
        else:
            self.remove(entry.group_id)

    def replay_offset_of(self, group_id: str) -> None:
        """An offset was committed for a group that has no record: it is an empty group without a protocol type."""
        if group_id not in self.records:
            self.records[group_id] = GroupMetadataValue(protocol=None, leader=None)

    def remove(self, group_id: str) -> None:
        self.records.pop(group_id)
        self.live.pop(group_id)

    # Commands

    def join(self, command: JoinGroup, *, ticket: int, now_ms: int) -> Effects:
        """The reply is a ``Joined``, at once or at the end of the join phase."""
        step = Step(self.config, now_ms)
        group = None
        is_created = False
        try:
            self._check_join(command)
            group = self.find_to_change(command.group_id)
            if group is None:
                if command.member_id:
                    raise KafkaError(Code.UNKNOWN_MEMBER_ID)
                group = self.live[command.group_id] = ClassicGroup(command.group_id, state_since_ms=now_ms)
                is_created = True
            self._join(group, command, ticket, step)
        except KafkaError as error:
            # A member that is refused for lack of room gets no id, so that it joins again as a new member.
            member_id = "" if error.code is Code.GROUP_MAX_SIZE_REACHED else command.member_id
            step.effects.reply(ticket, Joined(member_id, error.code))
        if group is not None and is_created and not step.effects.records:
            # Its members are soft state until the first generation.
            created = ClassicGroup(group.group_id, state_since_ms=group.state_since_ms).to_record({})
            step.effects.records.append(group_record(group.group_id, created))
        return step.effects

    def sync(self, command: SyncGroup, *, ticket: int, now_ms: int) -> Effects:
        """The reply is a ``Synced``, at once or when the leader has sent the assignments."""
        step = Step(self.config, now_ms)
        try:
            group, member = self._syncing_member(command)
        except KafkaError as error:
            step.effects.reply(ticket, Synced(error.code))
            return step.effects
        group.pending_syncs.discard(member.member_id)
        if not group.pending_syncs:
            step.effects.set_timer(("sync", group.group_id), None)

        if group.state is State.STABLE:
            step.effects.reply(ticket, synced(group, member))
            return step.effects
        # If an earlier SyncGroup of the member is parked, its client has abandoned it.
        answer_sync(member, Synced(Code.REBALANCE_IN_PROGRESS), step)
        member.sync_ticket = ticket
        if group.is_leader(member.member_id):
            given = dict(command.assignments)
            assignments = {member_id: given.get(member_id, b"") for member_id in group.members}
            step.effects.records.append(group_record(group.group_id, group.to_record(assignments)))
            step.effects.follow_up = AssignmentStored(group.group_id, group.generation_id, assignments)
        return step.effects

    def heartbeat(
        self, group_id: str, generation_id: int, member_id: str, group_instance_id: str | None, *, now_ms: int
    ) -> Code:
        """NONE or REBALANCE_IN_PROGRESS; otherwise a KafkaError. No effects: see ``Member.timer_deadline_ms``."""
        if not group_id:
            raise KafkaError(Code.INVALID_GROUP_ID)
        group = self.find(group_id)
        if group is None:
            raise KafkaError(Code.UNKNOWN_MEMBER_ID)
        member = group.member(member_id, group_instance_id)
        if generation_id != group.generation_id:
            raise KafkaError(Code.ILLEGAL_GENERATION)
        member.touch(now_ms)
        return Code.REBALANCE_IN_PROGRESS if group.state is State.PREPARING_REBALANCE else Code.NONE

    def leave(self, group_id: str, members: Iterable[LeavingMember], *, ticket: int, now_ms: int) -> Effects:
        """The reply is a list of ``LeftMember`` at once. KafkaError(INVALID_GROUP_ID)."""
        if not group_id:
            raise KafkaError(Code.INVALID_GROUP_ID)
        step = Step(self.config, now_ms)
        group = self.find_to_change(group_id)
        left = [LeftMember(each.member_id, each.group_instance_id, _leave_one(group, each, step)) for each in members]
        step.effects.reply(ticket, left)
        if group is not None and any(each.error is Code.NONE for each in left):
            if group.state in (State.STABLE, State.COMPLETING_REBALANCE):
                prepare_rebalance(group, step)
            else:
                try_complete_join(group, step)
        return step.effects

    def rebalance(self, group_id: str, *, ticket: int, now_ms: int) -> Effects:
        """Have all members join again; the reply is None. KafkaError(GROUP_ID_NOT_FOUND) for one without members."""
        step = Step(self.config, now_ms)
        group = self.find_to_change(group_id)
        if group is None or group.is_empty:
            raise KafkaError(Code.GROUP_ID_NOT_FOUND, f"the group {group_id} has no members")
        if group.may_rebalance:
            prepare_rebalance(group, step)
        step.effects.reply(ticket, None)
        return step.effects

    # The machine's events

    def loaded(self, now_ms: int) -> Effects:
        """The groups were read from the log: the sessions of their members restart."""
        step = Step(self.config, now_ms)
        for group_id, stored in self.records.items():
            group = self.find_to_change(group_id) if stored.members else None
            if group is None:
                continue
            for member in group.change_all():
                extend_session(group, member, member.session_timeout_ms, step)
            if len(group.members) > self.config.max_size:
                # The limit was lowered: a rebalance lets members commit, and refuses the last ones to join.
                prepare_rebalance(group, step)
        return step.effects

    def on_append_result(self, follow_up: object, error: Code | None, now_ms: int) -> Effects:
        step = Step(self.config, now_ms)
        match follow_up:
            case AssignmentStored():
                self._assignment_stored(follow_up, error, step)
            case StaticMemberStored():
                self._static_member_stored(follow_up, error, step)
            case _:
                raise AssertionError(f"not a follow-up of classic groups: {follow_up!r}")
        return step.effects

    def on_timer(self, key: Hashable, now_ms: int) -> Effects:
        step = Step(self.config, now_ms)
        match key:
            case ("session", str(group_id), str(member_id)):
                if group := self.live.change(group_id):
                    on_session_timer(group, member_id, step)
            case ("join", str(group_id)):
                if group := self.live.change(group_id):
                    on_join_timeout(group, step)
            case ("sync", str(group_id)):
                if group := self.live.change(group_id):
                    on_sync_timeout(group, step)
            case _:
                raise AssertionError(f"not a timer of classic groups: {key!r}")
        return step.effects

    def clock_stepped(self, by_ms: int) -> None:
        for group in self.live.values():
            group.clock_stepped(by_ms)

    # Joining

    def _check_join(self, command: JoinGroup) -> None:
        if not command.group_id:
            raise KafkaError(Code.INVALID_GROUP_ID)
        config = self.config
        if not config.min_session_timeout_ms <= command.session_timeout_ms <= config.max_session_timeout_ms:
            raise KafkaError(Code.INVALID_SESSION_TIMEOUT)

    def _join(self, group: ClassicGroup, command: JoinGroup, ticket: int, step: Step) -> None:
        if not self._accepts(group, command.member_id):
            group.remove(command.member_id)
            raise KafkaError(Code.GROUP_MAX_SIZE_REACHED)
        if not group.supports(command.protocol_type, [name for name, _ in command.protocols]):
            raise KafkaError(Code.INCONSISTENT_GROUP_PROTOCOL)
        if not command.fits_record and not _is_stored_at_once(group, command):
            # Otherwise the metadata would be kept although SyncGroup will fail.
            raise KafkaError(Code.UNKNOWN_SERVER_ERROR)
        if command.member_id:
            _join_again(group, command, ticket, step)
        else:
            _join_first(group, command, ticket, step)

    def _accepts(self, group: ClassicGroup, member_id: str) -> bool:
        """Whether the group has room.

        In the join phase the members that have joined count, so that the last ones are refused when the limit was
        lowered; otherwise all members count.
        """
        if group.state is State.EMPTY:
            return True
        member = group.members.get(member_id)
        if group.state is State.PREPARING_REBALANCE:
            is_awaiting = member is not None and member.join_ticket is not None
            return is_awaiting or group.joining_count < self.config.max_size
        return member is not None or len(group.members) < self.config.max_size

    # Syncing

    def _syncing_member(self, command: SyncGroup) -> tuple[ClassicGroup, Member]:
        if not command.group_id:
            raise KafkaError(Code.INVALID_GROUP_ID)
        group = self.find_to_change(command.group_id)
        if group is None:
            raise KafkaError(Code.UNKNOWN_MEMBER_ID)
        member = group.member(command.member_id, command.group_instance_id)
        if command.generation_id != group.generation_id:
            raise KafkaError(Code.ILLEGAL_GENERATION)
        if _differs(command.protocol_type, group.protocol_type) or _differs(command.protocol_name, group.protocol_name):
            raise KafkaError(Code.INCONSISTENT_GROUP_PROTOCOL)
        if group.state is State.PREPARING_REBALANCE:
            raise KafkaError(Code.REBALANCE_IN_PROGRESS)
        return group, group.change(member)

    def _assignment_stored(self, stored: AssignmentStored, error: Code | None, step: Step) -> None:
        group = self.live.change(stored.group_id)
        # Between append and commit a member may have joined or left; then this generation is over.
        if (
            group is None
            or group.state is not State.COMPLETING_REBALANCE
            or group.generation_id != stored.generation_id
        ):
            return
        if error is not None:
            assign(group, {}, error, step)
            prepare_rebalance(group, step)
            return
        assign(group, stored.assignments, Code.NONE, step)
        group.enter(State.STABLE, step.now_ms)

    def _static_member_stored(self, stored: StaticMemberStored, error: Code | None, step: Step) -> None:
        group = self.live.change(stored.group_id)
        if group is None:
            return
        answer = Joined(
            stored.member_id if error is None else "",
            Code.NONE if error is None else error,
            generation_id=group.generation_id,
            protocol_type=group.protocol_type,
            protocol_name=group.protocol_name,
            # The previous leader id, even if that was this member's old id: a client without skip_assignment must not
            # act as the leader and assign.
            leader=stored.leader_before,
        )
        if error is not None:
            # The old member has been restored.
            step.effects.reply(stored.ticket, answer)
            return
        member = group.members.get(stored.member_id)
        if member is None or member.join_ticket != stored.ticket:
            return
        member = group.change(member)
        if stored.may_skip_assignment:
            answer = joined(group, member, skip_assignment=group.is_leader(member.member_id))
        answer_join(group, member, answer, step)


def _join_first(group: ClassicGroup, command: JoinGroup, ticket: int, step: Step) -> None:
    """Handle a JoinGroup without a member id: the member gets one."""
    instance_id = command.group_instance_id
    member_id = f"{command.client_id if instance_id is None else instance_id}-{command.random_suffix}"
    if instance_id is not None and instance_id in group.static_members:
        _join_static_again(group, command, member_id, ticket, step)
    elif instance_id is None and command.member_id_required:
        deadline_ms = step.now_ms + command.session_timeout_ms
        group.pending_joins[member_id] = deadline_ms
        step.effects.set_timer(("session", group.group_id, member_id), deadline_ms)
        step.effects.reply(ticket, Joined(member_id, Code.MEMBER_ID_REQUIRED))
    else:
        _add_member(group, command, member_id, ticket, step)


def _is_stored_at_once(group: ClassicGroup, command: JoinGroup) -> bool:
    """Whether a static member returns to a stable group with the same protocols: then the append decides."""
    old_id = group.static_members.get(command.group_instance_id or "")
    if command.member_id or old_id is None or group.state is not State.STABLE:
        return False
    return [name for name, _ in group.members[old_id].protocols] == [name for name, _ in command.protocols]


def _join_again(group: ClassicGroup, command: JoinGroup, ticket: int, step: Step) -> None:
    """Handle a JoinGroup with a member id: of a pending member, or of a member."""
    if command.member_id in group.pending_joins and command.group_instance_id is None:
        _add_member(group, command, command.member_id, ticket, step)
        return
    member = group.member(command.member_id, command.group_instance_id)
    # The leader of a stable group joins again to rebalance: it may know of a change in the subscribed topics.
    asks_for_rebalance = group.state is State.STABLE and group.is_leader(member.member_id)
    if group.state is State.PREPARING_REBALANCE or asks_for_rebalance or member.protocols != command.protocols:
        _update_member(group, group.change(member), command, ticket, step)
        rebalance_or_complete_join(group, step)
    else:
        # Most likely it did not receive the answer to its first request.
        step.effects.reply(ticket, joined(group, member))


def _join_static_again(group: ClassicGroup, command: JoinGroup, member_id: str, ticket: int, step: Step) -> None:
    """A static member whose process was restarted replaces itself under a new member id (KIP-345)."""
    assert command.group_instance_id is not None
    old = group.change(group.members[group.static_members[command.group_instance_id]])
    leader_before = group.leader_id or ""
    answer_join(group, old, Joined(old.member_id, Code.FENCED_INSTANCE_ID), step)
    answer_sync(old, Synced(Code.FENCED_INSTANCE_ID), step)
    step.effects.set_timer(("session", group.group_id, old.member_id), None)
    member = group.replace_static(old.member_id, member_id)
    _update_member(group, member, command, ticket, step)
    extend_session(group, member, member.session_timeout_ms, step)

    if group.state is State.STABLE and group.protocol_name == group.select_protocol(
        scala_votes=step.config.scala_votes
    ):
        assignments = {each.member_id: each.assignment for each in group.members.values()}
        step.effects.records.append(group_record(group.group_id, group.to_record(assignments)))
        step.effects.follow_up = StaticMemberStored(
            group.group_id, member_id, ticket, leader_before, command.may_skip_assignment
        )
    else:
        # In the sync phase the leader may be assigning to the old member id now, so the rebalance must be repeated.
        rebalance_or_complete_join(group, step)


def _add_member(group: ClassicGroup, command: JoinGroup, member_id: str, ticket: int, step: Step) -> None:
    if group.state is State.PREPARING_REBALANCE and group.previous_state is State.EMPTY:
        group.joined_in_delay = True
    member = Member(
        member_id,
        command.group_instance_id,
        command.client_id,
        command.client_host,
        command.rebalance_timeout_ms,
        command.session_timeout_ms,
        command.protocols,
        is_new=True,
        join_ticket=ticket,
        # The timer of the pending member becomes its session timer.
        timer_deadline_ms=group.pending_joins.get(member_id),
    )
    group.add(member, protocol_type=command.protocol_type)
    extend_session(group, member, NEW_MEMBER_JOIN_TIMEOUT_MS, step)
    rebalance_or_complete_join(group, step)


def _update_member(group: ClassicGroup, member: Member, command: JoinGroup, ticket: int, step: Step) -> None:
    group.update(member, command.protocols, command.rebalance_timeout_ms, command.session_timeout_ms)
    # If an earlier JoinGroup of the member is parked, its client has abandoned it.
    answer_join(group, member, Joined(member.member_id, Code.REBALANCE_IN_PROGRESS), step)
    group.park_join(member, ticket)


def _leave_one(group: ClassicGroup | None, leaving: LeavingMember, step: Step) -> Code:
    if group is None:
        return Code.UNKNOWN_MEMBER_ID
    member_id = leaving.member_id
    if member_id in group.pending_joins:
        group.remove(member_id)
        step.effects.set_timer(("session", group.group_id, member_id), None)
        return Code.NONE
    if not member_id:
        # An administrator removes a static member by its instance id.
        member_id = group.static_members.get(leaving.group_instance_id or "", "")
    try:
        remove_member(group, group.member(member_id, leaving.group_instance_id), step)
    except KafkaError as error:
        return error.code
    return Code.NONE


def _differs(claimed: str | None, actual: str | None) -> bool:
    """Clients before KIP-559 send no claim."""
    return claimed is not None and actual is not None and claimed != actual
