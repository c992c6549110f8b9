"""Write ``tests/coordinators/task_assignor_vectors.json.gz``: streams groups, and what the official assignor gives.

    python tools/task_assignor_vectors.py [--libs DIRECTORY] [--seed 1] [--count 400]

The groups are random: up to 12 members of up to 6 processes, up to 4 subtopologies with and without state, standby
replicas, tasks that members have from before, and offsets of state that they report. Needs Java 17 and the official
jars (``make jars``).
"""

from __future__ import annotations

import random
from typing import Any

from group_vectors import write_groups
from official_java import ROOT

from kwire.coordinators.group.streams.assignor import AssignorFailure, MemberSpec, SubtopologySpec, assign
from kwire.coordinators.group.streams.tasks import Tasks, TaskSet

TARGET = ROOT / "tests" / "coordinators" / "task_assignor_vectors.json.gz"


def ours(group: dict[str, Any]) -> Any:
    """Return what kwire's assignor assigns, in the same form."""
    members = {
        member_id: MemberSpec(
            member["process"],
            TaskSet(*(_tasks(member[kind]) for kind in ("active", "standby", "warmup"))),
            {name: {int(each): sum_ for each, sum_ in sums.items()} for name, sums in member["offsets"].items()},
        )
        for member_id, member in group["members"].items()
    }
    subtopologies = {
        name: SubtopologySpec(each["tasks"], each["stateful"]) for name, each in sorted(group["subtopologies"].items())
    }
    try:
        given = assign(members, subtopologies, standby_replicas=group["standby"])
    except AssignorFailure as failure:
        return str(failure)
    return {member_id: [_json(tasks.active), _json(tasks.standby)] for member_id, tasks in given.items()}


def _tasks(given: dict[str, list[int]]) -> Tasks:
    return {name: frozenset(partitions) for name, partitions in given.items()}


def _json(tasks: Tasks) -> dict[str, list[int]]:
    return {name: sorted(partitions) for name, partitions in tasks.items()}


def _group(dice: random.Random) -> dict[str, Any]:
    subtopologies = {
        str(number): {"tasks": dice.choice([1, 2, 3, 5, 8, 13]), "stateful": dice.random() < 0.6}
        for number in range(dice.randint(1, 4))
    }
    processes = [f"process-{dice.randrange(10**6)}" for _ in range(dice.randint(1, 6))]
    count = 0 if dice.random() < 0.01 else dice.randint(1, 12)
    members: dict[str, Any] = {
        f"member-{dice.randrange(10**6)}": {
            "process": dice.choice(processes), "active": {}, "standby": {}, "warmup": {}, "offsets": {},
        }
        for _ in range(count)
    }  # fmt: skip
    if members and dice.random() < 0.8:
        _leave_tasks(dice, subtopologies, members)
    return {"standby": dice.choice([0, 0, 1, 2]), "subtopologies": subtopologies, "members": members}


def _leave_tasks(dice: random.Random, subtopologies: dict[str, Any], members: dict[str, Any]) -> None:
    """Give the members tasks and state of before, also of tasks that are there no more."""
    before = dice.sample(sorted(members), dice.randint(1, len(members)))
    for name, each in subtopologies.items():
        for partition in range(each["tasks"] + dice.choice([0, 0, 0, 1])):
            if dice.random() < 0.8:
                members[dice.choice(before)]["active"].setdefault(name, []).append(partition)
            for member_id in dice.sample(before, min(len(before), dice.choice([0, 0, 1, 2]))):
                members[member_id]["standby"].setdefault(name, []).append(partition)
            if dice.random() < 0.4:
                offsets = members[dice.choice(sorted(members))]["offsets"].setdefault(name, {})
                offsets[str(partition)] = dice.choice([0, 5, 1000, 2**40])


if __name__ == "__main__":
    write_groups(TARGET, _group, "AssignTasks", __doc__)
