"""The life of classic groups: members on connections of their own that join, sync, commit, leave, and vanish."""

from dataclasses import dataclass

from interop.differential.operations import Json
from interop.differential.world import TOPICS, World, named, reference
from interop.oracle.stories.groups import b64, subscription

GROUPS = ("~g0", "~g0", "~g0", "~g1")
LONG_MS = 60_000
# Longer than a sequence takes without its pauses.
SHORT_MS = 2000
PAUSE_S = 3.0
RANGE = ("range", subscription("t0"))
ROUNDROBIN = ("roundrobin", subscription("t0", "t1"))
STICKY = ("cooperative-sticky", subscription("t2"))
PROTOCOLS = ([RANGE], [RANGE, ROUNDROBIN], [ROUNDROBIN, RANGE], [STICKY, RANGE], [STICKY], [ROUNDROBIN, STICKY, RANGE])


@dataclass
class Member:
    """How one client joins. Its connection is named as it is."""

    name: str
    group: str
    instance: str | None
    session_ms: int
    rebalance_ms: int
    protocols: list[tuple[str, str | Json]]
    protocol_type: str = "consumer"
    version: int = 5


class GroupLife:
    """Adds operations of several members to the world."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.members = [self._member(f"m{n}") for n in range(world.random.randint(2, 4))]
        self.has_joined: set[str] = set()

    def _member(self, name: str) -> Member:
        world = self.world
        return Member(
            name=name,
            group=world.random.choice(GROUPS),
            instance=world.one("i0", "i1", "i2") if world.chance(0.35) else None,
            session_ms=SHORT_MS if world.chance(0.3) else LONG_MS,
            rebalance_ms=SHORT_MS if world.chance(0.5) else LONG_MS,
            protocols=world.random.choice(PROTOCOLS if world.chance(0.3) else PROTOCOLS[:3]),
            protocol_type="connect" if world.chance(0.04) else "consumer",
            version=world.version("JoinGroup", 5 if world.chance(0.5) else 0),
        )

    def step(self) -> None:
        member = self.world.random.choice(self.members)
        action = self.world.weighted(ACTIONS)
        action(self, member)

    # Joining

    def round(self, _: Member) -> None:
        """All members of a group join, then all sync: how a rebalance goes when nothing is wrong."""
        group = self.world.random.choice(self.members).group
        members = [member for member in self.members if member.group == group]
        for member in members:
            self.join(member)
        for member in members:
            if member.name in self.has_joined and self.world.chance(0.3):
                self.join(member)
        for member in members:
            self.sync(member)

    def join(self, member: Member) -> None:
        first = member.name not in self.has_joined
        self._join(member)
        if first and member.version >= 4 and member.instance is None:
            self._join(member)  # the first answer gives the member its id
        self.has_joined.add(member.name)

    def _join(self, member: Member) -> None:
        name = member.name
        body = {
            "groupId": member.group,
            "sessionTimeoutMs": member.session_ms,
            "rebalanceTimeoutMs": member.rebalance_ms,
            "memberId": reference(f"id.{name}", ""),
            "groupInstanceId": member.instance,
            "protocolType": member.protocol_type,
            "protocols": [{"name": name, "metadata": metadata} for name, metadata in member.protocols],
            "reason": self.world.one(None, None, "because"),
        }
        keep = {f"id_{name}": "memberId", f"gen_{name}": "generationId", f"protocol_{name}": "protocolName"}
        self.world.ask(name, "JoinGroup", body, version=member.version, **keep)

    def join_without_id(self, member: Member) -> None:
        """A client that starts again: a static one takes the place that it had."""
        world = self.world
        self._join(member)
        last = world.operations[-1]
        last.body["memberId"] = ""
        self.has_joined.add(member.name)

    def change(self, member: Member) -> None:
        """Joins with other protocols or timeouts than before."""
        member.protocols = self.world.random.choice(PROTOCOLS)
        member.rebalance_ms = self.world.one(SHORT_MS, LONG_MS)
        self.join(member)

    def sync(self, member: Member) -> None:
        """As leader with an assignment for each, or as follower; the answer of the join decides."""
        body = {
            **self._identity(member),
            "protocolType": self.world.one(member.protocol_type, member.protocol_type, None),
            "protocolName": self.world.one(reference(f"protocol.{member.name}", "range"), None),
            "assignments": {"$assign": member.name},
        }
        self.world.ask(member.name, "SyncGroup", body)

    def heartbeat(self, member: Member) -> None:
        self.world.ask(member.name, "Heartbeat", self._identity(member))

    def _identity(self, member: Member) -> Json:
        return {
            "groupId": member.group,
            "generationId": reference(f"gen.{member.name}", -1, self.world.one(0, 0, 0, 0, 0, 0, -1, 1)),
            "memberId": reference(f"id.{member.name}", ""),
            "groupInstanceId": member.instance,
        }

    # Leaving

    def leave(self, member: Member) -> None:
        identity = {"memberId": reference(f"id.{member.name}", ""), "groupInstanceId": member.instance}
        self.world.ask(self.world.one(member.name, "admin"), "LeaveGroup", {
            "groupId": member.group, "memberId": identity["memberId"], "members": [{**identity, "reason": "done"}],
        })  # fmt: skip
        self.has_joined.discard(member.name)

    def remove(self, member: Member) -> None:
        """An administrator removes several members, by instance or by id."""
        world = self.world
        members = [
            {"memberId": "", "groupInstanceId": one.instance}
            if one.instance and world.chance(0.7)
            else {"memberId": reference(f"id.{one.name}", ""), "groupInstanceId": None}
            for one in world.some(self.members)
        ]
        version = world.version("LeaveGroup", 3)
        world.ask("admin", "LeaveGroup", {"groupId": member.group, "members": members}, version=version)

    def vanish(self, member: Member) -> None:
        self.world.close(member.name)

    def expire(self, _: Member) -> None:
        """Long enough for every short timeout."""
        self.world.pause(PAUSE_S)

    # Offsets

    def commit(self, member: Member) -> None:
        world = self.world
        body = self._identity(member)
        if world.chance(0.3):
            body |= {"generationId": -1, "memberId": "", "groupInstanceId": None}
        body["generationIdOrMemberEpoch"] = body.pop("generationId")
        topics = [
            {
                **named(topic),
                "partitions": [
                    {
                        "partitionIndex": world.partition(topic),
                        "committedOffset": world.random.randrange(20),
                        "committedLeaderEpoch": world.one(-1, 0, 3),
                        "committedMetadata": world.one("", "m", None),
                    }
                    for _ in range(world.random.randint(1, 2))
                ],
            }
            for topic in world.some(list(TOPICS), 2)
        ]
        world.ask(world.one(member.name, "admin"), "OffsetCommit", {**body, "retentionTimeMs": -1, "topics": topics})

    def fetch_offsets(self, member: Member) -> None:
        world = self.world
        version = world.version("OffsetFetch")
        topics = [
            {**named(topic), "partitionIndexes": [world.partition(topic) for _ in range(2)]}
            for topic in world.some(list(TOPICS), 2)
        ]
        wish = None if world.chance(0.4) and version >= 2 else topics
        group: Json = {"groupId": member.group, "memberId": None, "memberEpoch": -1, "topics": wish}
        if world.chance(0.2):
            group |= {"memberId": reference(f"id.{member.name}", ""), "memberEpoch": reference(f"gen.{member.name}")}
        groups = [{**group, "groupId": one} for one in (world.some(GROUPS[2:]))]
        body = {"groupId": member.group, "topics": wish, "groups": groups, "requireStable": world.chance(0.5)}
        world.ask(world.one(member.name, "admin"), "OffsetFetch", body, version=version)

    def delete_offsets(self, member: Member) -> None:
        topic, partition = self.world.place()
        topics = [{"name": topic, "partitions": [{"partitionIndex": partition}]}]
        self.world.ask("admin", "OffsetDelete", {"groupId": member.group, "topics": topics})

    def commit_in_transaction(self, member: Member) -> None:
        """With the group's fields, by a producer that has a transaction open or not."""
        world = self.world
        producer = {"producerId": reference("pid.p0"), "producerEpoch": reference("epoch.p0")}
        if world.chance(0.5):
            body = {"transactionalId": "~x0", "transactionTimeoutMs": LONG_MS, "producerId": -1, "producerEpoch": -1}
            world.ask("p0", "InitProducerId", body, pid_p0="producerId", epoch_p0="producerEpoch")
        if world.chance(0.7):
            world.ask("p0", "AddOffsetsToTxn", {"transactionalId": "~x0", **producer, "groupId": member.group})
        partitions = [{"partitionIndex": 0, "committedOffset": world.random.randrange(30), "committedMetadata": "t"}]
        topics = [{"name": world.topic(), "partitions": partitions}]
        body = {"transactionalId": "~x0", **producer, **self._identity(member), "topics": topics}
        body["generationIdOrMemberEpoch"] = body.pop("generationId")
        world.ask("p0", "TxnOffsetCommit", body)
        if world.chance(0.7):
            body = {"transactionalId": "~x0", **producer, "committed": world.chance(0.6)}
            world.ask("p0", "EndTxn", body, pid_p0="producerId", epoch_p0="producerEpoch")

    # Looking

    def describe(self, member: Member) -> None:
        self.world.ask("admin", "DescribeGroups", {"groups": self.world.some((member.group, "~g2"))})

    def list(self, _: Member) -> None:
        states = self.world.one([], [], ["Stable"], ["Empty", "PreparingRebalance"], ["dead"], ["CompletingRebalance"])
        kinds = self.world.one([], [], ["classic"], ["Consumer"])
        self.world.ask("admin", "ListGroups", {"statesFilter": states, "typesFilter": kinds})

    def delete(self, member: Member) -> None:
        self.world.ask("admin", "DeleteGroups", {"groupsNames": self.world.some((member.group, "~g2"))})

    def first_of_new(self, member: Member) -> None:
        """A group whose metadata is no consumer's."""
        member.protocols = [("any", b64("x"))]
        member.protocol_type = self.world.one("connect", "consumer")
        self.join(member)


ACTIONS = {
    GroupLife.round: 12,
    GroupLife.join: 14,
    GroupLife.join_without_id: 5,
    GroupLife.change: 3,
    GroupLife.sync: 14,
    GroupLife.heartbeat: 12,
    GroupLife.leave: 5,
    GroupLife.remove: 3,
    GroupLife.vanish: 1,
    GroupLife.expire: 4,
    GroupLife.commit: 8,
    GroupLife.fetch_offsets: 6,
    GroupLife.delete_offsets: 3,
    GroupLife.commit_in_transaction: 4,
    GroupLife.describe: 6,
    GroupLife.list: 2,
    GroupLife.delete: 3,
    GroupLife.first_of_new: 1,
}
