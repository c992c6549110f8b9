"""The group coordinator under random commands, restarts and failing appends: no command may bring it into disorder."""

from collections import Counter
from functools import partial

from effort import examples
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule
from playback import TIMER_RETRY_MS, Playback
from playback_machine import PlaybackMachine
from test_group_transcripts import durable, show_record, soft

from kwire.coordinators.group.classic.group import State
from kwire.coordinators.group.commands import (
    CommitOffsets,
    GroupConfig,
    JoinGroup,
    LeavingMember,
    OffsetToCommit,
    SyncGroup,
)
from kwire.coordinators.group.coordinator import GroupCoordinator
from kwire.coordinators.machine import MetadataChange, ProducerStamp
from kwire.types import ZERO_UUID

A_LONG_TIME_MS = 3_600_000

GROUPS = st.sampled_from(["g", "h"])
INSTANCES = st.sampled_from([None, None, "i", "j"])
PROTOCOLS = st.sampled_from(
    [
        (("a", b"1"),),
        (("a", b"1"), ("b", b"2")),
        (("b", b"2"), ("a", b"1")),
        (("a", b"9"),),
        (("c", b""),),
        (("a", b"1"), ("a", b"1")),
        (("b", b"2"), ("a", b"1"), ("b", b"9")),
        (),
    ]
)
GENERATIONS = st.integers(0, 2)  # how old
PARTITIONS = st.integers(0, 2)
PRODUCERS = st.sampled_from([1, 2])


class GroupMachine(PlaybackMachine):
    """Members are drawn from the ids that were ever given out, so that many of them are of the past."""

    @initialize(max_size=st.sampled_from([2, 100]), delay_ms=st.sampled_from([0, 3000]))
    def start(self, max_size, delay_ms):
        config = GroupConfig(
            max_size=max_size,
            initial_rebalance_delay_ms=delay_ms,
            offsets_retention_ms=100_000,
            offsets_retention_check_interval_ms=50_000,
        )
        self.playback = Playback(partial(GroupCoordinator, config), durable, show_record, soft=soft)
        self.member_ids = ["unknown"]
        self.asked = set()
        self.listed_before = None, 0, []

    def member(self, index):
        return self.member_ids[-1 - index % len(self.member_ids)]

    def generation(self, group_id, age):
        group = self.machine.classic.live.get(group_id)
        return (group.generation_id if group else 0) - age

    def run(self, command, *args, **values):
        self.asked.add(self.playback.ticket_ahead())
        self.playback.run(command, *args, **values)

    # Commands

    @rule(group_id=GROUPS, instance=st.sampled_from(["i", "i", "j", None]), changed=st.booleans())
    def come(self, group_id, instance, changed):
        """A plain newcomer, or a static member who may have been here before."""
        suffix = str(self.playback.ticket_ahead())
        self.member_ids.append(f"{instance or 'c'}-{suffix}")
        protocols = (("b", b"2"), ("a", b"1")) if changed else (("a", b"1"), ("b", b"2"))
        who = ("", instance, "c", "/h", 10_000, 60_000)
        self.run(self.machine.join, JoinGroup(group_id, *who, "consumer", protocols, suffix, member_id_required=False))

    @rule(group_id=GROUPS)
    def everybody_joins_again(self, group_id):
        group = self.machine.classic.live.get(group_id)
        for member in list(group.members.values()) if group else []:
            who = (member.member_id, member.group_instance_id, "c", "/h", 10_000, 60_000)
            self.run(self.machine.join, JoinGroup(group_id, *who, "consumer", member.protocols, ""))

    @rule(group_id=GROUPS)
    def gather(self, group_id):
        """What well-behaved members do: if nothing fails, the group is stable afterwards."""
        self.everybody_joins_again(group_id)
        group = self.machine.classic.live.get(group_id)
        if group is not None and group.state is State.PREPARING_REBALANCE:
            self.playback.advance(3000)
        self.everybody_syncs(group_id)

    @rule(
        group_id=GROUPS,
        who=st.none() | st.integers(0, 6),
        instance=INSTANCES,
        protocols=PROTOCOLS,
        session_ms=st.sampled_from([6000, 10_000]),
        rebalance_ms=st.sampled_from([-5, 1000, 60_000]),
        kind=st.sampled_from(["consumer", "consumer", "consumer", "connect"]),
        required=st.booleans(),
        may_skip=st.booleans(),
    )
    def join(self, group_id, who, instance, protocols, session_ms, rebalance_ms, kind, required, may_skip):  # noqa: PLR0917
        suffix = str(self.playback.ticket_ahead())
        if who is None:
            self.member_ids.append(f"{instance or 'c'}-{suffix}")
        member_id = "" if who is None else self.member(who)
        command = JoinGroup(
            group_id,
            member_id,
            instance,
            "c",
            "/h",
            session_ms,
            rebalance_ms,
            kind,
            protocols,
            suffix,
            required,
            may_skip,
        )
        self.run(self.machine.join, command)

    @rule(group_id=GROUPS, who=st.integers(0, 6), instance=INSTANCES, age=GENERATIONS, named=st.booleans())
    def sync(self, group_id, who, instance, age, named):
        given = tuple((member_id, b"x") for member_id in self.member_ids[-4:])
        names = ("consumer", "a") if named else (None, None)
        command = SyncGroup(group_id, self.generation(group_id, age), self.member(who), instance, *names, given)
        self.run(self.machine.sync, command)

    @rule(group_id=GROUPS)
    def everybody_syncs(self, group_id):
        group = self.machine.classic.live.get(group_id)
        for member in list(group.members.values()) if group else []:
            given = tuple((member_id, b"x") for member_id in group.members)
            names = (member.member_id, member.group_instance_id, None, None, given)
            self.run(self.machine.sync, SyncGroup(group_id, group.generation_id, *names))

    @rule(group_id=GROUPS, who=st.integers(0, 6), instance=INSTANCES, age=GENERATIONS)
    def heartbeat(self, group_id, who, instance, age):
        member_id, generation = self.member(who), self.generation(group_id, age)
        self.playback.ask(
            self.machine.heartbeat, group_id, generation, member_id, instance, now_ms=self.playback.now_ms
        )

    @rule(group_id=GROUPS, who=st.lists(st.tuples(st.none() | st.integers(0, 6), INSTANCES), max_size=3))
    def leave(self, group_id, who):
        leaving = [LeavingMember("" if index is None else self.member(index), instance) for index, instance in who]
        self.run(self.machine.leave, group_id, leaving)

    @rule(
        group_id=GROUPS,
        who=st.none() | st.integers(0, 6),
        age=GENERATIONS,
        partition=PARTITIONS,
        producer=st.none() | PRODUCERS,
        retention_ms=st.sampled_from([-1, 0, 1000]),
    )
    def commit(self, group_id, who, age, partition, producer, retention_ms):  # noqa: PLR0917
        generation, member_id = (-1, "") if who is None else (self.generation(group_id, age), self.member(who))
        offsets = (OffsetToCommit("t", ZERO_UUID, partition, 5, -1, "m"),)
        command = CommitOffsets(group_id, generation, member_id, None, offsets, retention_ms=retention_ms)
        if producer is None:
            self.run(self.machine.commit_offsets, command)
        else:
            self.run(self.machine.commit_transactional_offsets, command, ProducerStamp(producer, 0))

    @rule(producer=PRODUCERS, committed=st.booleans())
    def end(self, producer, committed):
        self.playback.mark(producer, 0, committed=committed)

    @rule(group_id=GROUPS, partition=PARTITIONS)
    def forget(self, group_id, partition):
        self.run(self.machine.delete_offsets, group_id, [("t", partition)])

    @rule(group_id=GROUPS)
    def delete(self, group_id):
        self.run(self.machine.delete_group, group_id)

    @rule()
    def delete_topic(self):
        self.playback.change_metadata(MetadataChange(topics_deleted={"t": b"t" * 16}))

    # What happens to it

    @rule(by_ms=st.sampled_from([0, 1, 1000, 6000, 60_000, 300_000]))
    def advance(self, by_ms):
        self.playback.advance(by_ms)

    def clients_are_disconnected(self):
        self.asked = set()
        self.playback.lines = []

    @rule()
    def everybody_falls_silent(self):
        """No request waits forever, and no member stays without a heartbeat."""
        self.playback.fail_appends = None
        self.playback.release()
        self.playback.advance(A_LONG_TIME_MS)
        answered = Counter(line.split()[0] for line in self.playback.lines if line.startswith("#"))
        assert answered == Counter(f"#{ticket}" for ticket in self.asked)
        assert all(group.state is State.EMPTY for group in self.machine.classic.live.values())
        assert set(self.playback.timers) == {("retention",)}

    # What always holds

    @invariant()
    def no_request_is_answered_twice(self):
        answered = Counter(line.split()[0] for line in self.playback.lines if line.startswith("#"))
        assert not [ticket for ticket, count in answered.items() if count > 1]

    @invariant()
    def groups_are_in_order(self):
        for group_id, group in self.machine.classic.live.items():
            check_group(group_id, group, self.playback.timers, self.playback.now_ms, is_held=self.playback.is_held)

    @invariant()
    def questions_are_answered_from_what_is_committed(self):
        durable = self.playback.replayed_committed()
        listed = list(filter(None, self.machine.list_groups()))
        if self.listed_before[:2] == (self.machine, self.machine.listing_changes):
            assert listed == self.listed_before[2]
        self.listed_before = self.machine, self.machine.listing_changes, listed
        assert {each.group_id for each in listed} == {each.group_id for each in durable.list_groups() if each}
        for each in listed:
            described = self.machine.describe(each.group_id)
            assert described.state == each.state
            check_described(described, durable.describe(each.group_id))
            for stable in (True, False):
                found, kept = (
                    one.fetch_offsets(each.group_id, None, require_stable=stable) for one in (self.machine, durable)
                )
                assert by_partition(found) == by_partition(kept)


def by_partition(fetched):
    return {topic: {each.partition: each for each in partitions} for topic, partitions in fetched}


def check_described(described, durable):
    """What a description says of a generation is in the log, and committed."""
    if described.state == "Stable":
        assert durable.state == "Stable"
        assert [(each.member_id, each.assignment) for each in described.members] == [
            (each.member_id, each.assignment) for each in durable.members
        ]
    if described.state == "Empty":
        assert not durable.members


def check_group(group_id, group, timers, now_ms, *, is_held):
    members = group.members
    assert all(member_id == member.member_id for member_id, member in members.items())
    assert group.joining_count == sum(member.join_ticket is not None for member in members.values())
    assert +group._supporter_counts == Counter(name for member in members.values() for name in member.protocol_names)
    static = {member.group_instance_id: member.member_id for member in members.values() if member.is_static}
    assert group.static_members == static
    assert group.leader_id in members if members else group.leader_id is None
    assert not group.pending_joins.keys() & members.keys()
    assert group.pending_syncs <= members.keys()
    assert (group.state is State.EMPTY) <= (not members)
    assert (group.state in {State.COMPLETING_REBALANCE, State.STABLE}) <= bool(members)
    if group.state is State.PREPARING_REBALANCE:
        assert ("join", group_id) in timers
        assert not any(member.sync_ticket for member in members.values())
    if group.state in {State.COMPLETING_REBALANCE, State.STABLE}:
        # A static member that returns waits with its JoinGroup until its record is committed.
        joining = [member for member in members.values() if member.join_ticket]
        assert not joining or (is_held and all(member.is_static for member in joining))
        assert all(member.metadata(group.protocol_name) is not None for member in members.values())
    if group.state is State.STABLE:
        assert not any(member.sync_ticket for member in members.values())
    for member_id, member in members.items():
        timer_ms = timers.get(("session", group_id, member_id))
        if member.timer_deadline_ms is not None:
            if timer_ms != member.timer_deadline_ms:
                # It has fired, and is repeated as its records were refused.
                assert member.timer_deadline_ms < timer_ms <= now_ms + TIMER_RETRY_MS
                continue
            assert timer_ms <= member.session_deadline_ms or member.is_kept_alive
        else:
            assert member.is_kept_alive
    for member_id in group.pending_joins:
        assert ("session", group_id, member_id) in timers


TestGroupMachine = GroupMachine.TestCase
TestGroupMachine.settings = settings(max_examples=examples(100), stateful_step_count=40, deadline=None)
