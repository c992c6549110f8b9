"""The life of groups of all protocols: classic, consumer, share and streams members, also in each other's groups."""

from dataclasses import dataclass

from interop.differential.groups import GroupLife
from interop.differential.operations import Json
from interop.differential.world import TOPICS, World, named, reference

# Classic members are in the group of the consumers, so that it is upgraded and downgraded.
GROUP_OF = {"consumer": "~g0", "share": "~g1", "streams": "~g2"}
GROUPS = tuple(GROUP_OF.values())
LONG_MS = 60_000
SHORT_MS = 3000
PAUSE_S = 4.0
FETCH_WAIT_MS = 600
SHORT = {
    f"{kind}.{name}.ms": value
    for kind in GROUP_OF
    for name, value in (("heartbeat.interval", "1000"), ("session.timeout", str(SHORT_MS)))
}
GROUP_RESOURCE = 32
DESCRIBES = ("ConsumerGroupDescribe", "ShareGroupDescribe", "StreamsGroupDescribe")


@dataclass
class Member:
    """One client of a newer protocol. Its connection has its name, and so has its id."""

    name: str
    kind: str
    group: str
    instance: str | None
    rebalance_ms: int
    wish: Json  # what it subscribes to, in the fields of its heartbeat
    fetches: int = 0  # of its share session, which is opened by the first


class ProtocolLife:
    """Adds operations of members of all protocols to the world."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.classic = GroupLife(world)
        for member in self.classic.members:
            member.group = "~g0" if world.chance(0.85) else world.one(*GROUPS)
            wish: Json = {"$subscription": world.topics()}
            member.protocols = [(name, wish) for name in world.one(("range",), ("range", "roundrobin"))]
        # Members of one streams group mostly have one topology, as the instances of an application have.
        self.topology = world.one(*TOPOLOGIES)
        self.members = [self._member(f"n{n}") for n in range(world.random.randint(3, 6))]
        self.has_joined: set[str] = set()
        self._configure("~g2", {"streams.num.standby.replicas": world.one("0", "0", "1")})
        self._configure("~g1", {"share.auto.offset.reset": world.one("earliest", "earliest", "latest")})
        if world.chance(0.4):
            self._configure(world.one(*GROUPS), SHORT)

    def _member(self, name: str) -> Member:
        world = self.world
        kind = world.one("consumer", "consumer", "share", "streams")
        return Member(
            name=name,
            kind=kind,
            group=GROUP_OF[kind] if world.chance(0.85) else world.one(*GROUPS),
            instance=world.one("i0", "i1") if kind != "share" and world.chance(0.3) else None,
            rebalance_ms=SHORT_MS if world.chance(0.3) else LONG_MS,
            wish=self._wish(kind),
        )

    def _wish(self, kind: str) -> Json:
        world = self.world
        if kind == "streams":
            chosen = self.topology if world.chance(0.85) else world.one(*TOPOLOGIES)
            epoch = 0 if chosen == self.topology or world.chance(0.3) else 1
            return {"topology": {"epoch": epoch, "subtopologies": TOPOLOGIES[chosen]}}
        if kind == "share":
            return {"subscribedTopicNames": world.topics()}
        if world.chance(0.2):
            regex = world.one("~t[01]", "~t.*", "~t2", "a(b")
            return {"subscribedTopicNames": None, "subscribedTopicRegex": regex, "serverAssignor": None}
        assignor = world.one(None, None, "range", "uniform", "x") if world.chance(0.4) else None
        return {"subscribedTopicNames": world.topics(), "subscribedTopicRegex": "", "serverAssignor": assignor}

    def step(self) -> None:
        if self.world.chance(0.25):
            self.classic.step()
            return
        member = self.world.random.choice(self.members)
        self.world.weighted(ACTIONS)(self, member)

    # Heartbeats

    def round(self, member: Member) -> None:
        """The members of a group join and send heartbeats until each has what it should have."""
        members = [one for one in self.members if one.group == member.group]
        for one in members:
            if one.name not in self.has_joined:
                self.join(one)
        for _ in range(self.world.random.randint(1, 3)):
            for one in members:
                self.beat(one)

    def join(self, member: Member) -> None:
        nothing: Json = {"topicPartitions": [], "activeTasks": [], "standbyTasks": [], "warmupTasks": []}
        self._heartbeat(member, 0, {**self._settings(member), **nothing})
        self.has_joined.add(member.name)

    def beat(self, member: Member) -> None:
        """Says what the member owns; now and then all, or nothing, of what it said before."""
        if member.name not in self.has_joined and self.world.chance(0.8):
            self.join(member)
        owned = self._owned(member)
        fields = self.world.one(owned, owned, owned, {**self._settings(member), **owned}, {})
        if member.kind == "streams":
            fields = {name: value for name, value in fields.items() if name != "topology"}
        self._heartbeat(member, reference(f"at.{member.name}", 1, self.world.one(0, 0, 0, 0, 0, 0, -1, 1)), fields)

    def change(self, member: Member) -> None:
        """Subscribes to something else; a streams member joins again with another topology."""
        member.wish = self._wish(member.kind)
        if member.kind == "streams":
            self.join(member)
        else:
            self._heartbeat(member, reference(f"at.{member.name}", 1), member.wish)

    def leave(self, member: Member) -> None:
        self._heartbeat(member, -2 if member.instance and self.world.chance(0.5) else -1, {})
        self.has_joined.discard(member.name)

    def _heartbeat(self, member: Member, epoch: Json | int, fields: Json) -> None:
        body = {
            "groupId": member.group, "memberId": f"~{member.name}", "memberEpoch": epoch,
            "endpointInformationEpoch": -1, "instanceId": member.instance, "rackId": None, **fields,
        }  # fmt: skip
        keep = {f"at_{member.name}": "memberEpoch"}
        if member.kind == "consumer":
            keep[f"owned_{member.name}"] = "assignment.topicPartitions"
        if member.kind == "streams":
            keep |= {f"{kind}_{member.name}": f"{kind}Tasks" for kind in ("active", "standby", "warmup")}
        self.world.ask(member.name, f"{member.kind.title()}GroupHeartbeat", body, **keep)

    def _settings(self, member: Member) -> Json:
        settings = {**member.wish, "rebalanceTimeoutMs": member.rebalance_ms}
        return settings | ({"processId": f"p{member.name[1:]}"} if member.kind == "streams" else {})

    def _owned(self, member: Member) -> Json:
        if member.kind == "streams":
            return {f"{kind}Tasks": reference(f"{kind}.{member.name}", []) for kind in ("active", "standby", "warmup")}
        return {"topicPartitions": reference(f"owned.{member.name}", [])}

    # What happens to a group otherwise

    def remove(self, member: Member) -> None:
        identity = {"memberId": f"~{member.name}", "groupInstanceId": self.world.one(member.instance, None)}
        self.world.ask("admin", "LeaveGroup", {"groupId": member.group, "members": [identity]}, version=5)

    def expire(self, _: Member) -> None:
        self.world.pause(PAUSE_S)

    def delete(self, _: Member) -> None:
        self.world.ask("admin", "DeleteGroups", {"groupsNames": self.world.some(GROUPS)}, version=2)

    def grow(self, _: Member) -> None:
        topics = [{"name": self.world.topic(), "count": self.world.one(3, 4), "assignments": None}]
        self.world.ask("admin", "CreatePartitions", {"topics": topics, "timeoutMs": 10000}, version=3)

    def _configure(self, group: str, configs: dict[str, str]) -> None:
        changes = [{"name": name, "configOperation": 0, "value": value} for name, value in configs.items()]
        resource = {"resourceType": GROUP_RESOURCE, "resourceName": group, "configs": changes}
        self.world.ask("setup", "IncrementalAlterConfigs", {"resources": [resource]}, version=1)

    # Offsets

    def commit(self, member: Member) -> None:
        topic, partition = self.world.place()
        offsets = {
            "partitionIndex": partition,
            "committedOffset": self.world.random.randrange(20),
            "committedLeaderEpoch": -1,
            "committedMetadata": "",
        }
        body = {
            "groupId": member.group,
            **self.world.one({"memberId": f"~{member.name}", "groupInstanceId": member.instance}, {"memberId": ""}),
            "generationIdOrMemberEpoch": reference(f"at.{member.name}", -1, self.world.one(0, 0, 0, -1, 1)),
            "topics": [{**named(topic), "partitions": [offsets]}],
        }
        if body["memberId"] == "":
            body["generationIdOrMemberEpoch"] = -1
        self.world.ask(member.name, "OffsetCommit", body, version=self.world.version("OffsetCommit", 7))

    def fetch_offsets(self, member: Member) -> None:
        wish = {
            "groupId": member.group,
            "memberId": self.world.one(f"~{member.name}", None),
            "memberEpoch": self.world.one(reference(f"at.{member.name}"), -1),
            "topics": None,
        }
        self.world.ask(
            member.name, "OffsetFetch", {"groups": [wish], "requireStable": False},
            version=self.world.version("OffsetFetch", 8),
        )  # fmt: skip

    def delete_offsets(self, member: Member) -> None:
        topic, partition = self.world.place()
        topics = [{"name": topic, "partitions": [{"partitionIndex": partition}]}]
        self.world.ask("admin", "OffsetDelete", {"groupId": member.group, "topics": topics})

    def share_offsets(self, member: Member) -> None:
        """Describes, sets or deletes the start offsets of a share group."""
        topic, partition = self.world.place()
        group = self.world.one("~g1", "~g1", member.group)
        start = {"partitionIndex": partition, "startOffset": self.world.random.randrange(5)}
        match self.world.random.randrange(3):
            case 0:
                wish = self.world.one(None, [{"topicName": topic, "partitions": [partition]}])
                groups = [{"groupId": group, "topics": wish}]
                self.world.ask("admin", "DescribeShareGroupOffsets", {"groups": groups})
            case 1:
                topics = [{"topicName": topic, "partitions": [start]}]
                self.world.ask("admin", "AlterShareGroupOffsets", {"groupId": group, "topics": topics})
            case _:
                self.world.ask("admin", "DeleteShareGroupOffsets", {"groupId": group, "topics": [{"topicName": topic}]})

    # Records of share groups

    def produce(self, _: Member) -> None:
        topic, partition = self.world.place()
        records = {"$batch": {"values": ["v"] * self.world.random.randint(1, 3)}}
        data = {"name": topic, "topicId": {"$id": topic}, "partitionData": [{"index": partition, "records": records}]}
        body = {"transactionalId": None, "acks": -1, "timeoutMs": 5000, "topicData": [data]}
        self.world.ask("producer", "Produce", body, version=self.world.version("Produce", 9))

    def fetch(self, member: Member) -> None:
        """A share fetch: the first opens the session, the next may acknowledge what it gave."""
        member = self._who_shares(member)
        if member.kind == "share" and member.name not in self.has_joined:
            self.join(member)
            self.beat(member)
        topics: Json | list[Json] = []
        if member.fetches == 0 or self.world.chance(0.3):
            topics = [
                {
                    "topicId": {"$id": topic},
                    "partitions": [{"partitionIndex": each, "acknowledgementBatches": []} for each in range(count)],
                }
                for topic, count in self._read_by(member)
            ]
        elif self.world.chance(0.6):
            topics = {"$acknowledge": member.name, "type": self._outcome()}
        body = {
            **self._session(member), "maxWaitMs": FETCH_WAIT_MS, "minBytes": 1, "maxBytes": 1 << 20,
            "maxRecords": self.world.one(100, 2), "batchSize": self.world.one(100, 1),
            "shareAcquireMode": self.world.one(0, 0, 1), "isRenewAck": False, "topics": topics,
            "forgottenTopicsData": [],
        }  # fmt: skip
        got = f"got_{member.name}"
        self.world.ask(member.name, "ShareFetch", body, **{got: "responses"})
        member.fetches += 1

    def acknowledge(self, member: Member) -> None:
        member = self._who_shares(member)
        topics = {"$acknowledge": member.name, "type": self._outcome()}
        body = {**self._session(member), "isRenewAck": False, "topics": topics}
        if member.fetches and self.world.chance(0.1):
            body |= {"shareSessionEpoch": -1, "topics": []}
            member.fetches = -1
        self.world.ask(member.name, "ShareAcknowledge", body)
        member.fetches += 1

    def _read_by(self, member: Member) -> list[tuple[str, int]]:
        """Topics with their partitions: mostly those that the member subscribes to, which have a state to read."""
        mine = [(topic, TOPICS[topic]) for topic in member.wish.get("subscribedTopicNames") or () if topic in TOPICS]
        return mine if mine and self.world.chance(0.8) else self.world.some(list(TOPICS.items()), 2)

    def _who_shares(self, member: Member) -> Member:
        return self.world.random.choice([one for one in self.members if one.kind == "share"] or [member])

    def _session(self, member: Member) -> Json:
        group = member.group if member.kind == "share" else "~g1"
        epoch = max(0, member.fetches + self.world.one(0, 0, 0, 0, 0, 0, 0, 0, 0, 1))
        return {"groupId": group, "memberId": f"~{member.name}", "shareSessionEpoch": epoch}

    def _outcome(self) -> int:
        """Accept, release or reject; now and then what is no outcome."""
        return self.world.weighted({1: 6, 2: 4, 3: 2, 0: 1, 9: 1})

    # Looking

    def describe(self, member: Member) -> None:
        api = f"{member.kind.title()}GroupDescribe" if self.world.chance(0.8) else self.world.one(*DESCRIBES)
        self.world.ask("admin", api, {"groupIds": self.world.some((member.group, *GROUPS))})

    def list(self, _: Member) -> None:
        states = self.world.one([], [], ["Stable"], ["Empty", "Assigning"], ["Reconciling"], ["NotReady"])
        kinds = self.world.one([], [], ["classic"], ["Consumer", "share"], ["streams"])
        self.world.ask("admin", "ListGroups", {"statesFilter": states, "typesFilter": kinds}, version=5)


def look_at_groups(world: World) -> None:
    """What is left of the groups in the end."""
    for api in DESCRIBES:
        world.ask("end", api, {"groupIds": list(GROUPS), "includeAuthorizedOperations": True})
    for group in GROUPS:
        world.ask("end", "DescribeShareGroupOffsets", {"groups": [{"groupId": group, "topics": None}]})


def subtopology(name: str, *sources: str, **fields: object) -> Json:
    return {
        "subtopologyId": name, "sourceTopics": list(sources), "sourceTopicRegex": [], "stateChangelogTopics": [],
        "repartitionSinkTopics": [], "repartitionSourceTopics": [], "copartitionGroups": [], **fields,
    }  # fmt: skip


def internal(name: str) -> Json:
    return {"name": name, "partitions": 0, "replicationFactor": 0, "topicConfigs": []}


TOPOLOGIES = {
    "plain": [subtopology("0", "~t0")],
    "with state": [subtopology("0", "~t2", stateChangelogTopics=[internal("~log")])],
    "of two": [
        subtopology("0", "~t0", repartitionSinkTopics=["~again"]),
        subtopology("1", repartitionSourceTopics=[internal("~again")], stateChangelogTopics=[internal("~store")]),
    ],
    "of what is not there": [subtopology("0", "~t0", "~none")],
}
ACTIONS = {
    ProtocolLife.round: 14,
    ProtocolLife.join: 12,
    ProtocolLife.beat: 24,
    ProtocolLife.change: 6,
    ProtocolLife.leave: 6,
    ProtocolLife.remove: 2,
    ProtocolLife.expire: 2,
    ProtocolLife.commit: 6,
    ProtocolLife.fetch_offsets: 4,
    ProtocolLife.delete_offsets: 2,
    ProtocolLife.share_offsets: 4,
    ProtocolLife.grow: 2,
    ProtocolLife.produce: 6,
    ProtocolLife.fetch: 6,
    ProtocolLife.acknowledge: 4,
    ProtocolLife.delete: 3,
    ProtocolLife.describe: 8,
    ProtocolLife.list: 3,
}
