"""The assignors of consumer groups beside the official ones, on recorded groups (``tools/assignor_vectors.py``)."""

import gzip
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))
import assignor_vectors as vectors

sys.path.pop(0)


def recorded():
    with gzip.open(vectors.TARGET, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def test_the_assignors_assign_as_the_official_ones():
    wrong = [
        (group, expected, vectors.ours(group))
        for group, expected in recorded()
        if not vectors.same(expected, vectors.ours(group))
    ]

    assert wrong == []


def test_the_recorded_groups_are_of_every_kind():
    groups = [group for group, _ in recorded()]

    assert {(group["assignor"], group["homogeneous"]) for group in groups} == {
        (name, homogeneous) for name in ("uniform", "range") for homogeneous in (True, False)
    }
    assert any(isinstance(expected, str) for _, expected in recorded())
    assert any(member["target"] for group in groups for member in group["members"].values())
