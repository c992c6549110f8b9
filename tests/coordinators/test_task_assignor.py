"""The assignor of streams groups beside the official one, on recorded groups (``tools/task_assignor_vectors.py``)."""

import gzip
import json
import sys
from pathlib import Path

import pytest

from kwire.coordinators.group.streams.assignor import AssignorFailure, SubtopologySpec, assign

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))
import task_assignor_vectors as vectors

sys.path.pop(0)


def recorded():
    with gzip.open(vectors.TARGET, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def test_the_assignor_assigns_as_the_official_one():
    wrong = [
        (group, expected, vectors.ours(group)) for group, expected in recorded() if vectors.ours(group) != expected
    ]

    assert wrong == []


def test_the_recorded_groups_are_of_every_kind():
    groups = [group for group, _ in recorded()]

    assert {group["standby"] for group in groups} == {0, 1, 2}
    assert any(each["stateful"] for group in groups for each in group["subtopologies"].values())
    assert any(member["offsets"] for group in groups for member in group["members"].values())
    assert any(member["standby"] for group in groups for member in group["members"].values())


def test_tasks_without_members_are_refused():
    with pytest.raises(AssignorFailure, match="No process available to assign active task 0_0"):
        assign({}, {"0": SubtopologySpec(1, is_stateful=False)}, standby_replicas=0)
