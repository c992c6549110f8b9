"""A sequence of operations from a seed: topics, then one kind of life or several, then a look at the end state."""

import random

from interop.differential.admin import AdminLife
from interop.differential.data import DataLife
from interop.differential.groups import GroupLife
from interop.differential.mutations import mutated, repeated
from interop.differential.operations import Operation
from interop.differential.protocols import ProtocolLife, look_at_groups
from interop.differential.transactions import TransactionLife
from interop.differential.world import TOPICS, World

# "protocols" is drawn only when it is asked for, so that a seed without a kind gives the same sequence as ever.
KINDS = {"groups": 35, "transactions": 30, "data": 20, "admin": 10, "mixed": 5, "protocols": 0}
LIVES = {
    "groups": GroupLife, "transactions": TransactionLife, "data": DataLife, "admin": AdminLife,
    "protocols": ProtocolLife,
}  # fmt: skip
MIXED = (GroupLife, TransactionLife, DataLife, AdminLife)
# The share of requests that are made slightly wrong.
WRONG = 0.08
# The share of requests in which a list has an item twice.
REPEATED = 0.05


def sequence(seed: int, only: str = "", share: float = REPEATED) -> list[Operation]:
    """The operations of a seed. `only` is one of KINDS; without it the seed decides. `share`: see REPEATED."""
    world = World(seed)
    kind = world.weighted(KINDS)
    kind = only or kind
    world.create_topics(DataLife.topic_configs(world) if kind == "data" else None)
    first = len(world.operations)
    lives = [LIVES[kind](world)] if kind in LIVES else [life(world) for life in MIXED]
    for _ in range(world.random.randint(12, 40)):
        world.random.choice(lives).step()
    made = world.operations[first:]
    world.operations[first:] = [
        mutated(operation, world.random) if operation.api and world.chance(WRONG) else operation for operation in made
    ]
    # Draws of its own: a seed gives the same sequence otherwise, whatever this share is.
    dice = random.Random(f"repeated {seed}")
    world.operations[first:] = [
        repeated(operation, dice) if operation.api and dice.random() < share else operation
        for operation in world.operations[first:]
    ]
    look_at_everything(world, kind)
    return world.operations


def look_at_everything(world: World, kind: str) -> None:
    """What is left in the end. The operations are part of the sequence, so that shrinking keeps the one that tells."""
    names = list(TOPICS)
    partitions = {topic: range(count) for topic, count in TOPICS.items()}
    world.ask(
        "end", "Metadata", {"topics": [{"name": name} for name in names], "allowAutoTopicCreation": False}, version=12
    )
    for isolation in (0, 1):
        for timestamp in (-1, -2, -3):
            topics = [
                {
                    "name": name,
                    "partitions": [
                        {"partitionIndex": n, "currentLeaderEpoch": -1, "timestamp": timestamp}
                        for n in partitions[name]
                    ],
                }
                for name in names
            ]
            body = {"replicaId": -1, "isolationLevel": isolation, "topics": topics, "timeoutMs": 1000}
            world.ask("end", "ListOffsets", body, version=8)
    for name in names:
        for n in partitions[name]:
            world.ask("end", "Fetch", _read_all(name, n), version=12)
    topics = [{"name": name, "partitionIndexes": list(partitions[name])} for name in names]
    world.ask("end", "DescribeProducers", {"topics": topics}, version=0)
    world.ask("end", "DescribeTransactions", {"transactionalIds": ["~x0", "~x1", "~x2"]}, version=0)
    for group in ("~g0", "~g1"):
        wish = [{"groupId": group, "memberId": None, "memberEpoch": -1, "topics": None}]
        world.ask("end", "OffsetFetch", {"groups": wish, "requireStable": True}, version=9)
        world.ask("end", "DescribeGroups", {"groups": [group]}, version=6)
    world.ask("end", "ListGroups", {"statesFilter": [], "typesFilter": []}, version=5)
    if kind == "protocols":
        look_at_groups(world)
    if kind in ("admin", "mixed"):
        resources = [{"resourceType": 2, "resourceName": name, "configurationKeys": None} for name in names]
        resources += [
            {"resourceType": kind, "resourceName": name, "configurationKeys": None}
            for kind, name in ((16, "~c0"), (32, "~g0"))
        ]
        world.ask("end", "DescribeConfigs", {"resources": resources, "includeSynonyms": True}, version=4)
        world.ask(
            "end",
            "DescribeClientQuotas",
            {"components": [{"entityType": "client-id", "matchType": 2, "match": None}]},
            version=1,
        )
        world.ask("end", "DescribeUserScramCredentials", {"users": [{"name": "~u0"}, {"name": "~u1"}]}, version=0)


def _read_all(topic: str, partition: int) -> dict:
    inner = {"partition": partition, "currentLeaderEpoch": -1, "fetchOffset": 0, "partitionMaxBytes": 1 << 22}
    return {
        "replicaId": -1, "maxWaitMs": 0, "minBytes": 0, "maxBytes": 1 << 24, "isolationLevel": 1, "sessionId": 0,
        "sessionEpoch": -1, "topics": [{"topic": topic, "partitions": [inner]}],
    }  # fmt: skip
