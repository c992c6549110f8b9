"""What a command copies of a classic group, which must not grow with its members (a rebalance is a command of each)."""

from functools import partial

import pytest
from playback import Playback
from test_group_transcripts import durable, show_record

from kwire.coordinators.group.classic.group import Member, State
from kwire.coordinators.group.commands import GroupConfig, JoinGroup, LeavingMember, SyncGroup
from kwire.coordinators.group.coordinator import GroupCoordinator

COUNT = 30


@pytest.fixture
def playback():
    return Playback(partial(GroupCoordinator, GroupConfig(initial_rebalance_delay_ms=1000)), durable, show_record)


@pytest.fixture
def copies(monkeypatch):
    """The ids of the members that were copied."""
    copied = []
    copy = Member.copy
    monkeypatch.setattr(Member, "copy", lambda member: copied.append(member.member_id) or copy(member))
    return copied


def join(playback, member_id="", protocols=(("a", b"1"),)):
    who = (member_id, None, "c", "/h", 10_000, 60_000)
    suffix = str(playback.ticket_ahead())
    command = JoinGroup("g", *who, "consumer", protocols, suffix, member_id_required=False)
    playback.run(playback.machine.join, command)


def sync(playback, member_id, assignments=()):
    group = playback.machine.classic.live["g"]
    command = SyncGroup("g", group.generation_id, member_id, None, None, None, assignments)
    playback.run(playback.machine.sync, command)


def test_each_command_copies_the_members_that_it_changes(playback, copies):
    for _ in range(COUNT):
        join(playback)
    assert not copies
    playback.advance(2000)
    group = playback.machine.classic.live["g"]
    assert group.state is State.COMPLETING_REBALANCE
    first, *others = group.members

    copies.clear()
    for member_id in others:
        sync(playback, member_id)
    assert copies == others
    sync(playback, first, tuple((member_id, b"x") for member_id in group.members))
    copies.clear()
    playback.run(playback.machine.leave, "g", [LeavingMember(others[0], None)])
    join(playback, others[1])
    assert copies == others[:2]


def test_a_copy_keeps_the_state_of_the_group(playback):
    join(playback)
    playback.advance(1000)
    group = playback.machine.classic.live["g"]
    (member,) = group.members.values()
    before = group.copy()
    group.change(member).assignment = b"new"
    group.change(group.members[member.member_id]).sync_ticket = 5

    assert before.members[member.member_id].assignment == b""
    assert before.members[member.member_id].sync_ticket is None
    assert (group.members[member.member_id].assignment, group.members[member.member_id].sync_ticket) == (b"new", 5)


def test_both_sides_of_a_copy_may_change(playback):
    join(playback)
    group = playback.machine.classic.live["g"]
    (member,) = group.members.values()
    copied = group.copy()
    copied.change(member).assignment = b"copy"

    assert group.members[member.member_id].assignment == b""
