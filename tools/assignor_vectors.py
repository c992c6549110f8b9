"""Write ``tests/coordinators/assignor_vectors.json.gz``: groups, and what the official assignors assign to them.

    python tools/assignor_vectors.py [--libs DIRECTORY] [--seed 1] [--count 400]

The groups are random: up to 12 members, topics of up to 40 partitions, subscriptions that are equal or differ, static
members, and targets left from before that may hold topics that a member does not subscribe to any more. Needs Java 17
and the official jars (``make jars``).
"""

from __future__ import annotations

import random
from typing import Any

from group_vectors import write_groups
from official_java import ROOT

from kwire.coordinators.group.consumer.assignors import ASSIGNORS
from kwire.coordinators.group.modern.assignment import AssignorFailure, GroupSpec, MemberSpec
from kwire.types import uuid_from_text, uuid_text

TARGET = ROOT / "tests" / "coordinators" / "assignor_vectors.json.gz"


def ours(group: dict[str, Any]) -> Any:
    """Return what kwire's assignor assigns, in the same form."""
    members = {
        member_id: MemberSpec(
            frozenset(map(uuid_from_text, member["topics"])),
            {uuid_from_text(topic_id): frozenset(held) for topic_id, held in member["target"].items()},
            member["instance"],
            member["rack"],
        )
        for member_id, member in group["members"].items()
    }
    counts = {uuid_from_text(topic_id): count for topic_id, count in group["topics"].items()}
    try:
        given = ASSIGNORS[group["assignor"]](GroupSpec(members, counts, group["homogeneous"]))
    except AssignorFailure as failure:
        return str(failure)
    return {
        member_id: {uuid_text(topic_id): sorted(held) for topic_id, held in target.items()}
        for member_id, target in given.items()
    }


def same(expected: Any, given: Any) -> bool:
    """Whether two assignments are the same; a member without partitions may be left out."""
    if isinstance(expected, str) or isinstance(given, str):
        return bool(expected == given)
    return {name: held for name, held in expected.items() if held} == {
        name: held for name, held in given.items() if held
    }


def _group(dice: random.Random) -> dict[str, Any]:
    topics = {uuid_text(dice.randbytes(16)): dice.choice([1, 2, 3, 5, 8, 20, 40]) for _ in range(dice.randint(1, 6))}
    homogeneous = dice.random() < 0.5
    common = _in_order(dice.sample(sorted(topics), dice.randint(1, len(topics))))
    ids = [f"member-{dice.randrange(10**6)}" for _ in range(dice.randint(1, 12))]
    members: dict[str, Any] = {
        member_id: {
            "topics": common if homogeneous else _in_order(dice.sample(sorted(topics), dice.randint(0, len(topics)))),
            "target": {},
            "instance": f"instance-{number}" if dice.random() < 0.2 else None,
            "rack": dice.choice([None, "rack-1", "rack-2"]),
        }
        for number, member_id in enumerate(dict.fromkeys(ids))
    }
    if dice.random() < 0.8:
        _leave_targets(dice, topics, members)
    read = {topic_id for member in members.values() for topic_id in member["topics"]}
    if dice.random() < 0.02 and read:
        # Deleted, though members subscribe to it; no member has its partitions any more.
        gone = dice.choice(sorted(read))
        del topics[gone]
        for member in members.values():
            member["target"].pop(gone, None)
    return {
        "assignor": dice.choice(["uniform", "uniform", "range"]),
        "homogeneous": homogeneous,
        "topics": topics,
        "members": members,
    }


def _in_order(topic_ids: list[str]) -> list[str]:
    """In the order of their bytes, which decides between topics in one bucket of a hash map."""
    return sorted(topic_ids, key=uuid_from_text)


def _leave_targets(dice: random.Random, topics: dict[str, int], members: dict[str, Any]) -> None:
    """Give the members what a target assignment of before may have given them."""
    before = dice.sample(sorted(members), dice.randint(1, len(members)))
    for topic_id, count in topics.items():
        for partition in range(count):
            if dice.random() < 0.8:
                members[dice.choice(before)]["target"].setdefault(topic_id, []).append(partition)


if __name__ == "__main__":
    write_groups(TARGET, _group, "AssignPartitions", __doc__)
