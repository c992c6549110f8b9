"""The assignors of consumer and streams groups beside the official classes, on groups of a new seed each time."""

import importlib
import sys
import time
from types import ModuleType

from interop.case import Run, case
from interop.jars import ROOT

GROUPS_COMPARED = 10_000


@case("oracle", "ConsumerGroupHeartbeat", "assignors-of-random-groups")
def assignors_of_random_groups(run: Run) -> None:
    """Uniform and range, with racks and static members."""
    del run
    vectors = tool("assignor_vectors")
    compare(vectors, vectors.same)


@case("oracle", "StreamsGroupHeartbeat", "task-assignor-of-random-groups")
def task_assignor_of_random_groups(run: Run) -> None:
    """Sticky, with standby tasks, tasks of before and offsets of state."""
    del run
    compare(tool("task_assignor_vectors"), lambda expected, given: expected == given)


def tool(name: str) -> ModuleType:
    folder = str(ROOT / "tools")
    sys.path.insert(0, folder)
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(folder)


def compare(vectors: ModuleType, same) -> None:
    seed = int(time.time())
    groups = list(vectors.groups(seed, GROUPS_COMPARED))
    wrong = [
        (group, expected)
        for group, expected in zip(groups, vectors.official(groups), strict=True)
        if not same(expected, vectors.ours(group))
    ]
    assert not wrong, f"seed {seed}: {len(wrong)} of {GROUPS_COMPARED} groups differ; the first: {wrong[0]}"
