"""Consumer groups under random members, lost answers, crashes, clock jumps and refused appends.

The members behave as clients do: they own what the last answer gave them, give up what an answer takes, and start again
when they are fenced. No partition may ever be owned by two of them.
"""

import dataclasses
import struct
from collections import Counter
from functools import partial

import pytest
from effort import examples
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule
from playback import Playback
from playback_machine import PlaybackMachine

from kwire.coordinators.group.commands import GroupConfig, Joined, JoinGroup, LeavingMember, Synced, SyncGroup
from kwire.coordinators.group.consumer.commands import ConsumerHeartbeat, HeartbeatAnswer, ResolveRegexes
from kwire.coordinators.group.consumer.embedded import read_assignment
from kwire.coordinators.group.consumer.group import ConsumerGroup
from kwire.coordinators.group.consumer.state import ResolvedRegex
from kwire.coordinators.group.coordinator import GroupCoordinator
from kwire.coordinators.machine import MetadataChange
from kwire.coordinators.patterns import matching_topics
from kwire.errors import Code, KafkaError

GROUP = "g"
WHO = st.integers(0, 5)
SUBSCRIPTIONS = st.sampled_from([("t",), ("t",), ("t", "u"), ("u",), ("missing",), ()])
SESSION_MS = 45_000
REBALANCE_MS = 60_000


def show_record(key, value):
    return f"record of type {key[1]}{'' if value else ' deleted'}"


def tables_of(machine):
    tables = machine.consumer.parts.tables
    return (
        *(tables.epochs, tables.members, tables.targets, tables.regexes, tables.owners, tables.instances),
        *(machine.classic.records, machine.offsets.committed),
    )


def soft_of(machine):
    parts = machine.consumer.parts
    return (
        tables_of(machine),
        parts.watched,
        parts.deadlines._deadlines,
        set(parts.sessions._sessions),
        machine.classic.live,
    )


@dataclasses.dataclass
class Client:
    """A consumer with the new protocol. ``owned`` None: it is not in the group."""

    member_id: str
    instance_id: str | None = None
    topics: tuple[str, ...] = ("t",)
    regex: str | None = None
    epoch: int = 0
    owned: dict = dataclasses.field(default_factory=dict)
    is_gone: bool = False

    def request(self, *, full: bool, leaving: int | None = None) -> ConsumerHeartbeat:
        is_joining = self.epoch == 0
        full = full or is_joining
        return ConsumerHeartbeat(
            GROUP,
            self.member_id,
            self.epoch if leaving is None else leaving,
            self.instance_id,
            None,
            REBALANCE_MS if full else -1,
            self.topics if full else None,
            (self.regex or "") if full else None,
            None,
            {} if is_joining else dict(self.owned),
            "c",
            "/h",
            "made-by-the-broker",
            may_lack_id=False,
            may_describe=lambda topic: True,
        )


@dataclasses.dataclass
class ClassicClient:
    """A consumer with the classic protocol and cooperative rebalances: it keeps what it has while it joins."""

    member_id: str = ""
    generation: int = -1
    owned: dict = dataclasses.field(default_factory=dict)

    def subscription(self) -> bytes:
        def names(pairs):
            return b"".join(struct.pack(">h", len(name)) + name.encode() + rest for name, rest in pairs)

        owned = [(topic, struct.pack(f">i{len(held)}i", len(held), *held)) for topic, held in self.owned.items()]
        topics = names([("t", b"")])
        return struct.pack(">hi", 1, 1) + topics + struct.pack(">ii", -1, len(owned)) + names(owned)


class ConsumerGroupMachine(PlaybackMachine):
    @initialize(policy=st.sampled_from(["bidirectional", "bidirectional", "disabled", "upgrade"]))
    def start(self, policy):
        config = GroupConfig(initial_rebalance_delay_ms=0, consumer_migration_policy=policy)
        self.playback = Playback(partial(GroupCoordinator, config), tables_of, show_record, soft=soft_of)
        self.playback.run_action = self.actions_wait
        self.actions = []
        self.metadata = self.playback.metadata
        self.ids = {self.metadata.put_topic("t", 3).id: "t", self.metadata.put_topic("u", 2).id: "u"}
        self.clients = []
        self.classic = []
        self.answers = {}
        self.changed()

    def actions_wait(self, action):
        assert isinstance(action, ResolveRegexes)
        self.actions.append(action)

    def changed(self):
        self.playback.change_metadata(MetadataChange(topics_changed=True))

    def call(self, command, *args):
        """What the command is answered: a value, a KafkaError, or None while nothing is committed."""
        ticket = self.playback.ticket_ahead()
        found = {}

        def kept(machine, *, ticket, now_ms):
            effects = command(machine)(*args, ticket=ticket, now_ms=now_ms)
            found.update((reply.ticket, reply.result) for reply in effects.replies)
            return effects

        self.playback.run(partial(kept, self.machine))
        line = next((line for line in self.playback.lines if line.startswith(f"#{ticket} ")), None)
        if line is None or " refused " in line:
            return None if line is None else line.split(" refused ")[1]
        return found.get(ticket)

    # Members of the new protocol

    @rule(instance=st.sampled_from([None, None, "i", "j"]), topics=SUBSCRIPTIONS)
    def come(self, instance, topics):
        if len(self.clients) < 6:
            client = Client(f"m{self.playback.ticket_ahead()}", instance, topics)
            self.clients.append(client)
            self.beat_of(client)

    @rule(regex=st.sampled_from(["t|u", "u.*", "none"]))
    def come_with_an_expression(self, regex):
        if len(self.clients) < 6:
            client = Client(f"r{self.playback.ticket_ahead()}", None, (), regex)
            self.clients.append(client)
            self.beat_of(client)

    def client(self, who):
        return self.clients[who % len(self.clients)] if self.clients else None

    @rule(who=WHO, full=st.booleans(), is_lost=st.sampled_from([False, False, True]))
    def beat(self, who, full, is_lost):
        client = self.client(who)
        if client is not None:
            self.beat_of(client, full=full, is_lost=is_lost)

    def beat_of(self, client, *, full=False, is_lost=False):
        answer = self.call(lambda machine: machine.consumer.heartbeat, client.request(full=full))
        if isinstance(answer, HeartbeatAnswer) and not is_lost:
            assert answer.member_id == client.member_id
            client.epoch = answer.member_epoch
            if answer.assignment is not None:
                client.owned = {topic_id: held for topic_id, held in answer.assignment.items() if held}
        elif isinstance(answer, str):
            self.refused(client, answer)

    def refused(self, client, reason):
        if reason.split(":")[0] in ("FENCED_MEMBER_EPOCH", "UNKNOWN_MEMBER_ID", "GROUP_ID_NOT_FOUND"):
            client.epoch, client.owned = 0, {}
        elif reason.split(":")[0] in ("UNRELEASED_INSTANCE_ID", "FENCED_INSTANCE_ID"):
            self.clients.remove(client)

    @rule(who=WHO, topics=SUBSCRIPTIONS)
    def subscribe(self, who, topics):
        client = self.client(who)
        if client is not None:
            client.topics, client.regex = topics, None
            self.beat_of(client, full=True)

    @rule(who=WHO, for_a_while=st.booleans())
    def leave(self, who, for_a_while):
        client = self.client(who)
        if client is None:
            return
        leaving = -2 if for_a_while and client.instance_id is not None else -1
        self.call(lambda machine: machine.consumer.heartbeat, client.request(full=False, leaving=leaving))
        # It has given up its partitions before it says so.
        self.clients.remove(client)

    @rule(who=WHO)
    def crash(self, who):
        client = self.client(who)
        if client is not None:
            self.clients.remove(client)

    @rule()
    def resolve(self):
        """The topics that match are found, as they are now."""
        actions, self.actions = self.actions, []
        for action in actions:
            found = {
                regex: ResolvedRegex(topics, 1, self.playback.now_ms)
                for regex, topics in matching_topics(action.regexes, list(self.metadata.topics)).items()
            }
            self.playback.apply(
                lambda machine, now_ms, found=found: machine.consumer.resolved(GROUP, found, now_ms=now_ms)
            )

    # Members of the classic protocol

    @rule()
    def classic_comes(self):
        if len(self.classic) < 2:
            self.classic.append(ClassicClient())

    @rule(who=WHO)
    def classic_goes_on(self, who):
        if self.classic:
            self.classic_round(self.classic[who % len(self.classic)])

    def classic_round(self, client):
        protocols = (("range", client.subscription()),)
        who = (client.member_id, None, "c", "/h", 10_000, REBALANCE_MS)
        suffix = str(self.playback.ticket_ahead())
        command = JoinGroup(
            GROUP, *who, "consumer", protocols, suffix, member_id_required=False, consumer_member_id=f"k{suffix}"
        )
        joined = self.call(lambda machine: machine.join, command)
        if not isinstance(joined, Joined) or joined.error is not Code.NONE:
            # Its partitions are lost: it starts again.
            client.member_id, client.owned = "", {}
            return
        client.member_id, client.generation = joined.member_id, joined.generation_id
        given = tuple((member.member_id, b"") for member in joined.members)
        synced = self.call(
            lambda machine: machine.sync,
            SyncGroup(GROUP, client.generation, client.member_id, None, "consumer", "range", given),
        )
        if isinstance(synced, Synced) and synced.error is Code.NONE and ConsumerGroup.kind == self.kind():
            client.owned = read_assignment(synced.assignment)[0]

    @rule(who=WHO)
    def classic_leaves(self, who):
        if self.classic:
            client = self.classic.pop(who % len(self.classic))
            self.call(lambda machine: machine.leave, GROUP, [LeavingMember(client.member_id)])

    def kind(self):
        group = self.machine._find(GROUP)
        return None if group is None else group.kind

    # What happens to it

    @rule(name=st.sampled_from(["t", "u"]), count=st.integers(1, 5))
    def partitions_are_added(self, name, count):
        topic = self.metadata.topics[name]
        if count > topic.partition_count:
            self.metadata.put_topic(name, count)
            self.changed()

    @rule(by_ms=st.sampled_from([0, 1, 1000, 10_001, 46_000, 61_000, 700_000]))
    def advance(self, by_ms):
        self.playback.advance(by_ms)

    def clients_are_disconnected(self):
        self.actions = []

    @precondition(lambda self: not self.classic)
    @rule()
    def settle(self):
        """When nothing fails, a few rounds give every partition that a member subscribes to exactly one owner."""
        self.playback.fail_appends = None
        self.playback.release()
        for _ in range(12):
            for client in list(self.clients):
                self.beat_of(client, full=True)
            self.resolve()
            self.playback.advance(1000)
        # Members that crashed are gone after their session.
        for _ in range(8):
            self.playback.advance(11_000)
            for client in list(self.clients):
                self.beat_of(client, full=True)
            self.resolve()
        group = self.machine.consumer.find(GROUP)
        if group is None or not self.clients:
            return
        assert group.state == "Stable"
        owned = Counter(
            (topic_id, partition)
            for client in self.clients
            for topic_id, held in client.owned.items()
            for partition in held
        )
        wanted = {self.metadata.topics[name] for name in group.topics if name in self.metadata.topics}
        assert owned == Counter((topic.id, index) for topic in wanted for index in range(topic.partition_count))

    @rule()
    def everybody_falls_silent(self):
        self.playback.fail_appends = None
        self.playback.release()
        self.playback.advance(3_600_000)
        self.clients, self.classic = [], []
        group = self.machine.consumer.find(GROUP)
        assert group is None or group.is_empty
        assert all(not each.members for each in self.machine.classic.live.values())
        assert set(self.playback.timers) == {("retention",)}

    # What always holds

    @invariant()
    def no_partition_has_two_owners(self):
        group = self.machine.consumer.find(GROUP)
        if group is None:
            return
        held = [
            (topic_id, partition, member.member_id)
            for member in group.members.values()
            for owned in (member.assigned, member.revoking)
            for topic_id, partitions in owned.items()
            for partition in partitions
        ]
        assert all(count == 1 for count in Counter(each[:2] for each in held).values())
        owners = {path[1:]: member_id for path, member_id in self.machine.consumer.parts.tables.owners.under(GROUP)}
        assert owners == {(topic_id, partition): member_id for topic_id, partition, member_id in held}

    @invariant()
    def clients_that_are_members_own_what_is_theirs_alone(self):
        group = self.machine.consumer.find(GROUP)
        members = {} if group is None else group.members
        held = [
            (topic_id, partition)
            for client in self.clients
            if client.member_id in members and members[client.member_id].epoch >= client.epoch > 0
            for topic_id, partitions in client.owned.items()
            for partition in partitions
        ]
        assert len(held) == len(set(held))


TestConsumerGroups = ConsumerGroupMachine.TestCase
TestConsumerGroups.settings = settings(max_examples=examples(60), stateful_step_count=40, deadline=None)


def test_a_heartbeat_for_an_unknown_group_is_refused():
    machine = GroupCoordinator(GroupConfig())
    machine.loaded(Playback(partial(GroupCoordinator, GroupConfig()), tables_of, show_record).metadata, 0)
    with pytest.raises(KafkaError, match="Consumer group g not found"):
        machine.consumer.heartbeat(Client("m", epoch=3).request(full=False), ticket=1, now_ms=0)
