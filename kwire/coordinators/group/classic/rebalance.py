"""The rebalance of a classic group: from one generation to the next.

Responsible for: the phases of a rebalance, the sessions of members, and answering the requests that are parked in a
phase. Must not depend on: commands (``groups.py``), offsets, the log.

Join phase: all members send JoinGroup; it ends when all have, or after the largest rebalance timeout. Sync phase: the
leader sends the assignments, the other members ask for theirs; it ends with the leader's SyncGroup. A member that sends
none is removed after the rebalance timeout.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

from kwire.coordinators.group.classic.group import ClassicGroup, Member, State
from kwire.coordinators.group.commands import GroupConfig, Joined, JoinedMember, Synced
from kwire.coordinators.group.records import group_record
from kwire.coordinators.machine import Effects
from kwire.errors import Code

# The shortest time between two checks of a join phase that no member has joined: a client may send a rebalance timeout
# of 0.
NO_JOIN_RETRY_MS = 1000


class AssignmentStored(NamedTuple):
    """Follow-up of the leader's SyncGroup."""

    group_id: str
    generation_id: int
    assignments: dict[str, bytes]


class StaticMemberStored(NamedTuple):
    """Follow-up of a static member's return to a stable group."""

    group_id: str
    member_id: str
    ticket: int
    leader_before: str
    may_skip_assignment: bool


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a group: its time, the settings, and its effects."""

    config: GroupConfig
    now_ms: int
    effects: Effects = field(default_factory=Effects)


# The phases


def rebalance_or_complete_join(group: ClassicGroup, step: Step) -> None:
    """A member joined or changed: begin a rebalance, or end the join phase if it was the last to join."""
    if group.may_rebalance:
        prepare_rebalance(group, step)
    else:
        try_complete_join(group, step)


def prepare_rebalance(group: ClassicGroup, step: Step) -> None:
    """Begin the join phase. Members that wait for their SyncGroup get REBALANCE_IN_PROGRESS."""
    if group.state is State.COMPLETING_REBALANCE:
        assign(group, {}, Code.REBALANCE_IN_PROGRESS, step)
    group.pending_syncs.clear()
    step.effects.set_timer(("sync", group.group_id), None)

    is_initial = group.state is State.EMPTY
    group.enter(State.PREPARING_REBALANCE, step.now_ms)
    if is_initial:
        # The group is new, and more members will likely join soon (KIP-134).
        delay_ms = step.config.initial_rebalance_delay_ms
        group.joined_in_delay = False
        group.initial_delay_ms = delay_ms
        group.initial_remaining_ms = max(group.rebalance_timeout_ms - delay_ms, 0)
        step.effects.set_timer(("join", group.group_id), step.now_ms + delay_ms)
    elif group.all_joined:
        complete_join(group, step)
    else:
        step.effects.set_timer(("join", group.group_id), step.now_ms + group.rebalance_timeout_ms)


def try_complete_join(group: ClassicGroup, step: Step) -> None:
    """End the join phase if all have joined, unless it is the initial one, which lasts as long as its delay."""
    is_initial = group.previous_state is State.EMPTY
    if group.state is State.PREPARING_REBALANCE and not is_initial and group.all_joined:
        complete_join(group, step)


def complete_join(group: ClassicGroup, step: Step) -> None:
    """Begin the next generation with the members that have joined; the leader gets the list of them."""
    step.effects.set_timer(("join", group.group_id), None)
    late = [each for each in group.members.values() if each.join_ticket is None and not each.is_static]
    for member in late:
        remove_member(group, member, step)
    if not group.elect_joined_leader() and group.members:
        # Only static members that have not joined are left: wait until one joins or their sessions expire.
        again_ms = max(group.rebalance_timeout_ms, NO_JOIN_RETRY_MS)
        step.effects.set_timer(("join", group.group_id), step.now_ms + again_ms)
        return
    group.next_generation(step.now_ms, scala_votes=step.config.scala_votes)
    if group.state is State.EMPTY:
        step.effects.records.append(group_record(group.group_id, group.to_record({})))
        return
    for member in group.change_all():
        answer_join(group, member, joined(group, member), step)
        extend_session(group, member, member.session_timeout_ms, step)
        member.is_new = False
        group.pending_syncs.add(member.member_id)
    step.effects.set_timer(("sync", group.group_id), step.now_ms + group.rebalance_timeout_ms)


def assign(group: ClassicGroup, assignments: dict[str, bytes], error: Code, step: Step) -> None:
    """Set the assignments of all members, and answer the parked SyncGroup requests."""
    for member in group.change_all():
        member.assignment = assignments.get(member.member_id, b"")
        if answer_sync(member, synced(group, member) if error is Code.NONE else Synced(error), step):
            extend_session(group, member, member.session_timeout_ms, step)


# Timers


def on_join_timeout(group: ClassicGroup, step: Step) -> None:
    """End the join phase, or extend the initial delay once more if members joined during it."""
    if group.state is not State.PREPARING_REBALANCE:
        return
    is_initial = group.previous_state is State.EMPTY
    if not (is_initial and group.joined_in_delay and group.initial_remaining_ms > 0):
        complete_join(group, step)
        return
    group.joined_in_delay = False
    passed_ms = group.initial_delay_ms
    group.initial_delay_ms = min(step.config.initial_rebalance_delay_ms, group.initial_remaining_ms)
    group.initial_remaining_ms = max(group.initial_remaining_ms - passed_ms, 0)
    step.effects.set_timer(("join", group.group_id), step.now_ms + group.initial_delay_ms)


def on_sync_timeout(group: ClassicGroup, step: Step) -> None:
    """Remove the members that have not sent SyncGroup in this generation, and rebalance."""
    if group.state not in (State.COMPLETING_REBALANCE, State.STABLE) or not group.pending_syncs:
        return
    for member_id in sorted(group.pending_syncs):
        remove_member(group, group.members[member_id], step)
    prepare_rebalance(group, step)


def on_session_timer(group: ClassicGroup, member_id: str, step: Step) -> None:
    """A member's session timer fired; its session may have been extended since the timer was set."""
    key = ("session", group.group_id, member_id)
    pending_until_ms = group.pending_joins.get(member_id)
    if pending_until_ms is not None:
        if step.now_ms < pending_until_ms:
            step.effects.set_timer(key, pending_until_ms)
            return
        group.remove(member_id)
        # This member may have been the last one that the join phase waited for.
        if group.state is State.PREPARING_REBALANCE and group.all_joined:
            complete_join(group, step)
        return
    member = group.members.get(member_id)
    if member is None:
        return
    member = group.change(member)
    member.timer_deadline_ms = None
    if step.now_ms < member.session_deadline_ms:
        member.timer_deadline_ms = member.session_deadline_ms
        step.effects.set_timer(key, member.session_deadline_ms)
    elif not member.is_kept_alive:
        _expire(group, member, step)


def _expire(group: ClassicGroup, member: Member, step: Step) -> None:
    remove_member(group, member, step)
    if group.state in (State.STABLE, State.COMPLETING_REBALANCE):
        prepare_rebalance(group, step)
    elif group.state is State.PREPARING_REBALANCE and group.all_joined:
        complete_join(group, step)


# Members


def remove_member(group: ClassicGroup, member: Member, step: Step) -> None:
    """Remove a member. A parked request of it is answered UNKNOWN_MEMBER_ID, upon which it joins again."""
    member = group.change(member)
    answer_join(group, member, Joined("", Code.UNKNOWN_MEMBER_ID), step)
    answer_sync(member, Synced(Code.UNKNOWN_MEMBER_ID), step)
    group.remove(member.member_id)
    step.effects.set_timer(("session", group.group_id, member.member_id), None)


def extend_session(group: ClassicGroup, member: Member, timeout_ms: int, step: Step) -> None:
    """The session now ends after ``timeout_ms``; sets a timer only if none will fire by then."""
    member.session_deadline_ms = step.now_ms + timeout_ms
    if member.timer_deadline_ms is None or member.timer_deadline_ms > member.session_deadline_ms:
        member.timer_deadline_ms = member.session_deadline_ms
        step.effects.set_timer(("session", group.group_id, member.member_id), member.session_deadline_ms)


# Answers


def joined(group: ClassicGroup, member: Member, *, skip_assignment: bool = False) -> Joined:
    """The answer to a member's JoinGroup; the leader's has the list of members."""
    members: tuple[JoinedMember, ...] = ()
    if group.is_leader(member.member_id):
        members = tuple(
            JoinedMember(each.member_id, each.group_instance_id, each.metadata(group.protocol_name))
            for each in group.members.values()
        )
    return Joined(
        member.member_id,
        generation_id=group.generation_id,
        protocol_type=group.protocol_type,
        protocol_name=group.protocol_name,
        leader=group.leader_id or "",
        skip_assignment=skip_assignment,
        members=members,
    )


def synced(group: ClassicGroup, member: Member) -> Synced:
    return Synced(protocol_type=group.protocol_type, protocol_name=group.protocol_name, assignment=member.assignment)


def answer_join(group: ClassicGroup, member: Member, answer: Joined, step: Step) -> None:
    """Answer the JoinGroup of a member; nothing happens if none waits."""
    ticket = group.park_join(member, None)
    if ticket is not None:
        step.effects.reply(ticket, answer)


def answer_sync(member: Member, answer: Synced, step: Step) -> bool:
    """Answer the SyncGroup of a member; False if none waits."""
    ticket, member.sync_ticket = member.sync_ticket, None
    if ticket is not None:
        step.effects.reply(ticket, answer)
    return ticket is not None
