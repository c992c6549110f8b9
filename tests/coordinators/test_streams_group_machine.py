"""Streams groups under random members, lost answers, crashes, clock jumps and refused appends.

The members behave as clients do: they have the tasks that the last answer gave them, give up what an answer takes, and
start again when they are fenced. No active task may ever be with two members.
"""

import dataclasses
from collections import Counter
from functools import partial

from effort import examples
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule
from playback import Playback
from playback_machine import PlaybackMachine

from kwire.coordinators.group.commands import GroupConfig
from kwire.coordinators.group.coordinator import GroupCoordinator
from kwire.coordinators.group.streams.commands import HeartbeatAnswer, StreamsHeartbeat
from kwire.coordinators.group.streams.member import Endpoint
from kwire.coordinators.group.streams.tasks import NOTHING, TaskSet, each_task
from kwire.coordinators.group.streams.topology import Subtopology, TopicInfo, Topology
from kwire.coordinators.machine import MetadataChange

GROUP = "g"
WHO = st.integers(0, 5)
STORE = TopicInfo("store", 0, 0, ())
TOPOLOGY = Topology(
    0,
    {
        "0": Subtopology("0", ("t",), (), (STORE,), (), (), ()),
        "1": Subtopology("1", ("u",), (), (), (), (), ()),
    },
)


def show_record(key, value):
    return f"record of type {key[1]}{'' if value else ' deleted'}"


def tables_of(machine):
    tables = machine.streams.parts.tables
    return (tables.epochs, tables.topologies, tables.members, tables.targets, tables.instances)


def soft_of(machine):
    parts = machine.streams.parts
    sessions = set(parts.sessions._sessions)
    return (tables_of(machine), parts.watched, parts.reported, parts.deadlines._deadlines, sessions)


@dataclasses.dataclass
class Client:
    """A thread of an instance of the application."""

    member_id: str
    process_id: str
    instance_id: str | None = None
    epoch: int = 0
    owned: TaskSet = NOTHING

    def request(self, *, leaving: int | None = None, shutdown: bool = False, offsets=None) -> StreamsHeartbeat:
        is_joining = self.epoch == 0
        return StreamsHeartbeat(
            group_id=GROUP,
            member_id=self.member_id,
            member_epoch=self.epoch if leaving is None else leaving,
            endpoint_epoch=-1,
            instance_id=self.instance_id,
            rack_id=None,
            rebalance_timeout_ms=60_000 if is_joining else -1,
            topology=TOPOLOGY if is_joining and leaving is None else None,
            owned=NOTHING if is_joining else self.owned,
            owns_some_kinds_only=False,
            process_id=self.process_id,
            endpoint=Endpoint(self.process_id, 1),
            client_tags=None,
            offsets=offsets,
            end_offsets=None,
            shutdown_application=shutdown,
            wants_missing_tags=True,
            client_id="c",
            client_host="/h",
        )


class StreamsGroupMachine(PlaybackMachine):
    @initialize(delay_ms=st.sampled_from([0, 0, 3000]), standby=st.sampled_from([0, 1, 2]))
    def start(self, delay_ms, standby):
        self.playback = Playback(partial(GroupCoordinator, GroupConfig()), tables_of, show_record, soft=soft_of)
        self.metadata = self.playback.metadata
        self.metadata.group_configs |= {
            "streams.initial.rebalance.delay.ms": delay_ms,
            "streams.num.standby.replicas": standby,
        }
        for name in ("t", "u", "store"):
            self.metadata.put_topic(name, 3 if name != "u" else 2)
        self.clients = []
        self.changed()

    def changed(self):
        self.playback.change_metadata(MetadataChange(topics_changed=True))

    def call(self, request):
        """What a heartbeat is answered: a value, the text of a refusal, or None while nothing is committed."""
        ticket = self.playback.ticket_ahead()
        found = {}

        def kept(command, *, ticket, now_ms):
            effects = self.machine.streams.heartbeat(command, ticket=ticket, now_ms=now_ms)
            found.update((reply.ticket, reply.result) for reply in effects.replies)
            return effects

        self.playback.run(kept, request)
        line = next((line for line in self.playback.lines if line.startswith(f"#{ticket} ")), None)
        if line is None or " refused " in line:
            return None if line is None else line.split(" refused ")[1]
        return found.get(ticket)

    # Members

    @rule(process=st.sampled_from("abc"), instance=st.sampled_from([None, None, "i", "j"]))
    def come(self, process, instance):
        if len(self.clients) < 6:
            client = Client(f"m{self.playback.ticket_ahead()}", process, instance)
            self.clients.append(client)
            self.beat_of(client)

    def client(self, who):
        return self.clients[who % len(self.clients)] if self.clients else None

    @rule(who=WHO, is_lost=st.sampled_from([False, False, True]), has_state=st.booleans())
    def beat(self, who, is_lost, has_state):
        client = self.client(who)
        if client is not None:
            self.beat_of(client, is_lost=is_lost, offsets={"0": {who % 3: 10 * who}} if has_state else None)

    def beat_of(self, client, *, is_lost=False, offsets=None):
        answer = self.call(client.request(offsets=offsets))
        if isinstance(answer, HeartbeatAnswer) and not is_lost:
            assert answer.member_id == client.member_id
            client.epoch = answer.member_epoch
            if answer.tasks is not None:
                client.owned = answer.tasks
        elif isinstance(answer, str):
            self.refused(client, answer.split(":")[0])

    def refused(self, client, code):
        if code in ("FENCED_MEMBER_EPOCH", "UNKNOWN_MEMBER_ID", "GROUP_ID_NOT_FOUND"):
            client.epoch, client.owned = 0, NOTHING
        elif code in ("UNRELEASED_INSTANCE_ID", "FENCED_INSTANCE_ID"):
            self.clients.remove(client)

    @rule(who=WHO, for_a_while=st.booleans(), shutdown=st.sampled_from([False, False, True]))
    def leave(self, who, for_a_while, shutdown):
        client = self.client(who)
        if client is not None:
            leaving = -2 if for_a_while and client.instance_id is not None else -1
            self.call(client.request(leaving=leaving, shutdown=shutdown))
            self.clients.remove(client)

    @rule(who=WHO)
    def crash(self, who):
        client = self.client(who)
        if client is not None:
            self.clients.remove(client)

    # What happens to it

    @rule(count=st.integers(1, 5))
    def partitions_are_added(self, count):
        if count > self.metadata.topics["t"].partition_count:
            self.metadata.put_topic("t", count)
            self.metadata.put_topic("store", count)
            self.changed()

    @rule(standby=st.sampled_from([0, 1, 2]))
    def standby_replicas_are_set(self, standby):
        self.metadata.group_configs["streams.num.standby.replicas"] = standby

    @rule(by_ms=st.sampled_from([0, 1, 1000, 3001, 46_000, 61_000, 700_000]))
    def advance(self, by_ms):
        self.playback.advance(by_ms)

    @rule()
    def settle(self):
        """When nothing fails, a few rounds give every task to exactly one member, and standby tasks to others."""
        self.playback.fail_appends = None
        self.playback.release()
        for _ in range(30):
            for client in list(self.clients):
                self.beat_of(client)
            self.playback.advance(5000)
        for client in list(self.clients):
            self.beat_of(client)
        group = self.machine.streams.find(GROUP)
        if group is None or not self.clients:
            return
        assert group.state == "Stable"
        active = Counter(task for client in self.clients for task in each_task(client.owned.active))
        partitions = {"0": self.metadata.topics["t"].partition_count, "1": 2}
        assert active == Counter((name, index) for name, count in partitions.items() for index in range(count))
        standby = Counter(task for client in self.clients for task in each_task(client.owned.standby))
        processes = len({client.process_id for client in self.clients})
        wanted = min(self.metadata.group_configs["streams.num.standby.replicas"], processes - 1)
        assert set(standby.values()) <= {wanted}
        assert len(standby) == (partitions["0"] if wanted else 0)

    @rule()
    def all_fall_silent(self):
        self.playback.fail_appends = None
        self.playback.release()
        self.playback.advance(3_600_000)
        self.clients = []
        group = self.machine.streams.find(GROUP)
        assert group is None or group.is_empty
        assert set(self.playback.timers) == {("retention",)}

    # What always holds

    @invariant()
    def an_active_task_is_with_one_member(self):
        group = self.machine.streams.find(GROUP)
        if group is None:
            return
        active = Counter(
            task
            for member in group.members.values()
            for tasks in (member.assigned, member.revoking)
            for task in each_task(tasks.active)
        )
        assert all(count == 1 for count in active.values())


TestStreamsGroups = StreamsGroupMachine.TestCase
TestStreamsGroups.settings = settings(max_examples=examples(30), stateful_step_count=40, deadline=None)
