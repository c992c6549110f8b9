"""The classic group protocol: joining, syncing, heartbeats and leaving.

Owns: the commands of classic groups, their timers, and the groups of one partition as they are now. May not know:
offsets, the log, request versions.

A command changes the soft state at once. What must wait until a record is committed (handing out assignments, telling a
returning static member his id) is a follow-up that comes back through ``on_append_result``.

Timers, by key: ``("session", group, member)`` looks whether a member still lives, ``("join", group)`` ends the join
phase, ``("sync", group)`` removes those who never asked for their assignment.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass

from kwire.coordinators.group.classic_group import ClassicGroup, Member, State
from kwire.coordinators.group.commands import (
    GroupConfig,
    Joined,
    JoinGroup,
    LeavingMember,
    LeftMember,
    Synced,
    SyncGroup,
)
from kwire.coordinators.group.rebalance import (
    Step,
    answer_join,
    answer_sync,
    drop_member,
    expect_within,
    hand_out,
    join_time_is_up,
    joined,
    prepare_rebalance,
    rebalance_or_complete_join,
    session_time_is_up,
    sync_time_is_up,
    synced,
    try_complete_join,
)
from kwire.coordinators.group.records import group_record
from kwire.coordinators.machine import Effects
from kwire.errors import Code, KafkaError

# A newcomer's JoinGroup shows that he lives only when it comes; if the client gave up meanwhile and asked again, this
# is how long his abandoned self stays in the rebalance. Kafka's own number, for which it has no setting.
NEW_MEMBER_JOIN_TIMEOUT_MS = 5 * 60 * 1000


@dataclass(frozen=True, slots=True)
class AssignmentStored:
    """Follow-up of the leader's SyncGroup."""

    group_id: str
    generation_id: int
    assignments: dict[str, bytes]


@dataclass(frozen=True, slots=True)
class StaticMemberStored:
    """Follow-up of a static member's return to a stable group, with how he was before."""

    group_id: str
    member_id: str
    ticket: int
    before: Member
    leader_before: str
    may_skip_assignment: bool


@dataclass(frozen=True, slots=True)
class GroupCreated:
    """Follow-up of a group's first record."""

    group_id: str


class ClassicGroups:
    """``find`` gives a group as it is now, or None; it keeps what it finds in ``live``."""

    def __init__(self, config: GroupConfig, find: Callable[[str], ClassicGroup | None]) -> None:
        self.config = config
        self.live: dict[str, ClassicGroup] = {}
        self._find = find

    # Commands

    def join(self, command: JoinGroup, *, ticket: int, now_ms: int) -> Effects:
        """A ``Joined`` follows, at once or when the group has gathered."""
        step = Step(self.config, now_ms)
        group = None
        is_created = False
        try:
            self._check_join(command)
            group = self._find(command.group_id)
            if group is None:
                if command.member_id:
                    raise KafkaError(Code.UNKNOWN_MEMBER_ID)
                group = self.live[command.group_id] = ClassicGroup(command.group_id, state_since_ms=now_ms)
                is_created = True
            self._join(group, command, ticket, step)
        except KafkaError as error:
            # One who is sent away for lack of room is told no id, so that he begins anew.
            member_id = "" if error.code is Code.GROUP_MAX_SIZE_REACHED else command.member_id
            step.effects.reply(ticket, Joined(member_id, error.code))
        if group is not None and is_created and not step.effects.records:
            # Whoever joins is soft state until there is a generation.
            created = ClassicGroup(group.group_id, state_since_ms=group.state_since_ms).to_record({})
            step.effects.records.append(group_record(group.group_id, created))
            step.effects.follow_up = GroupCreated(group.group_id)
        return step.effects

    def sync(self, command: SyncGroup, *, ticket: int, now_ms: int) -> Effects:
        """A ``Synced`` follows, at once or when the leader has sent the assignments."""
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
        # If an earlier request of his waits still, the client gave up on it.
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
        group = self._find(group_id)
        if group is None:
            raise KafkaError(Code.UNKNOWN_MEMBER_ID)
        member = group.member(member_id, group_instance_id)
        if generation_id != group.generation_id:
            raise KafkaError(Code.ILLEGAL_GENERATION)
        member.touch(now_ms)
        return Code.REBALANCE_IN_PROGRESS if group.state is State.PREPARING_REBALANCE else Code.NONE

    def leave(self, group_id: str, members: Iterable[LeavingMember], *, ticket: int, now_ms: int) -> Effects:
        """A list of ``LeftMember`` follows at once. KafkaError(INVALID_GROUP_ID)."""
        if not group_id:
            raise KafkaError(Code.INVALID_GROUP_ID)
        step = Step(self.config, now_ms)
        group = self._find(group_id)
        left = [LeftMember(each.member_id, each.group_instance_id, _leave_one(group, each, step)) for each in members]
        step.effects.reply(ticket, left)
        if group is not None and any(each.error is Code.NONE for each in left):
            if group.state in (State.STABLE, State.COMPLETING_REBALANCE):
                prepare_rebalance(group, step)
            else:
                try_complete_join(group, step)
        return step.effects

    # What comes back

    def wake(self, group: ClassicGroup, now_ms: int) -> Effects:
        """The group was read from the log: the sessions of its members begin anew."""
        step = Step(self.config, now_ms)
        for member in group.members.values():
            expect_within(group, member, member.session_timeout_ms, step)
        if len(group.members) > self.config.max_size:
            # The limit was lowered: a rebalance lets members commit and sends the last ones away.
            prepare_rebalance(group, step)
        return step.effects

    def on_append_result(self, follow_up: object, error: Code | None, now_ms: int) -> Effects:
        step = Step(self.config, now_ms)
        match follow_up:
            case AssignmentStored():
                self._assignment_stored(follow_up, error, step)
            case StaticMemberStored():
                self._static_member_stored(follow_up, error, step)
            case GroupCreated(group_id):
                if error is not None:
                    self.live.pop(group_id, None)
            case _:
                raise AssertionError(f"not a follow-up of classic groups: {follow_up!r}")
        return step.effects

    def on_timer(self, key: Hashable, now_ms: int) -> Effects:
        step = Step(self.config, now_ms)
        match key:
            case ("session", str(group_id), str(member_id)):
                if group := self.live.get(group_id):
                    session_time_is_up(group, member_id, step)
            case ("join", str(group_id)):
                if group := self.live.get(group_id):
                    join_time_is_up(group, step)
            case ("sync", str(group_id)):
                if group := self.live.get(group_id):
                    sync_time_is_up(group, step)
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
        if command.member_id:
            _join_again(group, command, ticket, step)
        else:
            _join_first(group, command, ticket, step)

    def _accepts(self, group: ClassicGroup, member_id: str) -> bool:
        """Whether the group has room.

        While it gathers, those who have joined count, so that the last ones to come are sent away when the limit was
        lowered; otherwise the members do.
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
        group = self._find(command.group_id)
        if group is None:
            raise KafkaError(Code.UNKNOWN_MEMBER_ID)
        member = group.member(command.member_id, command.group_instance_id)
        if command.generation_id != group.generation_id:
            raise KafkaError(Code.ILLEGAL_GENERATION)
        if _differs(command.protocol_type, group.protocol_type) or _differs(command.protocol_name, group.protocol_name):
            raise KafkaError(Code.INCONSISTENT_GROUP_PROTOCOL)
        if group.state is State.PREPARING_REBALANCE:
            raise KafkaError(Code.REBALANCE_IN_PROGRESS)
        return group, member

    def _assignment_stored(self, stored: AssignmentStored, error: Code | None, step: Step) -> None:
        group = self.live.get(stored.group_id)
        # Somebody may have joined or left between the append and its commit; then this generation is history.
        if (
            group is None
            or group.state is not State.COMPLETING_REBALANCE
            or group.generation_id != stored.generation_id
        ):
            return
        if error is not None:
            hand_out(group, {}, error, step)
            prepare_rebalance(group, step)
            return
        hand_out(group, stored.assignments, Code.NONE, step)
        group.enter(State.STABLE, step.now_ms)

    def _static_member_stored(self, stored: StaticMemberStored, error: Code | None, step: Step) -> None:
        group = self.live.get(stored.group_id)
        member = None if group is None else group.members.get(stored.member_id)
        if group is None or member is None or member.join_ticket != stored.ticket:
            return
        told = Joined(
            member.member_id if error is None else "",
            Code.NONE if error is None else error,
            generation_id=group.generation_id,
            protocol_type=group.protocol_type,
            protocol_name=group.protocol_name,
            # The leader of before, even if that was he under his old id: lest he thinks that he has to assign.
            leader=stored.leader_before,
        )
        if error is None and stored.may_skip_assignment:
            told = joined(group, member, skip_assignment=group.is_leader(member.member_id))
        answer_join(group, member, told, step)
        if error is not None:
            step.effects.set_timer(("session", group.group_id, member.member_id), None)
            before = stored.before
            old = group.replace_static(member.member_id, before.member_id)
            group.update(old, before.protocols, before.rebalance_timeout_ms, before.session_timeout_ms)
            expect_within(group, old, old.session_timeout_ms, step)


def _join_first(group: ClassicGroup, command: JoinGroup, ticket: int, step: Step) -> None:
    """One without an id: he gets one."""
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


def _join_again(group: ClassicGroup, command: JoinGroup, ticket: int, step: Step) -> None:
    """One with an id: a pending member who now comes in, or a member."""
    if command.member_id in group.pending_joins and command.group_instance_id is None:
        _add_member(group, command, command.member_id, ticket, step)
        return
    member = group.member(command.member_id, command.group_instance_id)
    # A stable group's leader who joins again wants a rebalance: he may have seen a change that the others cannot.
    is_leaders_wish = group.state is State.STABLE and group.is_leader(member.member_id)
    if group.state is State.PREPARING_REBALANCE or is_leaders_wish or member.protocols != command.protocols:
        _update_member(group, member, command, ticket, step)
        rebalance_or_complete_join(group, step)
    else:
        # Most likely he did not receive the answer to his first request.
        step.effects.reply(ticket, joined(group, member))


def _join_static_again(group: ClassicGroup, command: JoinGroup, member_id: str, ticket: int, step: Step) -> None:
    """A static member whose process was restarted takes his place back under a new id (KIP-345)."""
    assert command.group_instance_id is not None
    old = group.members[group.static_members[command.group_instance_id]]
    leader_before = group.leader_id or ""
    answer_join(group, old, Joined(old.member_id, Code.FENCED_INSTANCE_ID), step)
    answer_sync(old, Synced(Code.FENCED_INSTANCE_ID), step)
    step.effects.set_timer(("session", group.group_id, old.member_id), None)
    member = group.replace_static(old.member_id, member_id)
    _update_member(group, member, command, ticket, step)
    expect_within(group, member, member.session_timeout_ms, step)

    if group.state is State.STABLE and group.select_protocol() == group.protocol_name:
        assignments = {each.member_id: each.assignment for each in group.members.values()}
        step.effects.records.append(group_record(group.group_id, group.to_record(assignments)))
        step.effects.follow_up = StaticMemberStored(
            group.group_id, member_id, ticket, old, leader_before, command.may_skip_assignment
        )
    else:
        # In the sync phase the leader may be assigning to the old id at this moment, so all must begin again.
        rebalance_or_complete_join(group, step)


def _add_member(group: ClassicGroup, command: JoinGroup, member_id: str, ticket: int, step: Step) -> None:
    if group.state is State.PREPARING_REBALANCE and group.previous_state is State.EMPTY:
        group.newcomer_in_delay = True
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
        # The timer that he had as a pending member is his still.
        timer_deadline_ms=group.pending_joins.get(member_id),
    )
    group.add(member, protocol_type=command.protocol_type)
    expect_within(group, member, NEW_MEMBER_JOIN_TIMEOUT_MS, step)
    rebalance_or_complete_join(group, step)


def _update_member(group: ClassicGroup, member: Member, command: JoinGroup, ticket: int, step: Step) -> None:
    group.update(member, command.protocols, command.rebalance_timeout_ms, command.session_timeout_ms)
    # If an earlier request of his waits still, the client gave up on it.
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
        # An administrator removes a static member by his instance id.
        member_id = group.static_members.get(leaving.group_instance_id or "", "")
    try:
        drop_member(group, group.member(member_id, leaving.group_instance_id), step)
    except KafkaError as error:
        return error.code
    return Code.NONE


def _differs(claimed: str | None, actual: str | None) -> bool:
    """Clients before KIP-559 claim nothing."""
    return claimed is not None and actual is not None and claimed != actual
