"""Which modules the first group loads: a guard for its cost that counts no time.

Groups of one kind do not load the others, and no step of loading holds the event loop for more than a few modules.
"""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from kwire.broker.coordination.groups import MODULES_OF_ALL, MODULES_OF_KINDS

# A module, its package, and small ones.
MOST_MODULES_IN_A_STEP = 7
_COUNT_STEPS = """
import json, sys
from importlib import import_module
import kwire.testing, kwire.broker.start
loaded, counts = set(sys.modules), {}
for module in sys.argv[1:]:
    import_module(module)
    counts[module] = sorted(set(sys.modules) - loaded)
    loaded |= set(sys.modules)
print(json.dumps(counts))
"""


def steps(modules: tuple[str, ...]) -> dict[str, list[str]]:
    """The modules that each step loads, in a process of its own."""
    command = [sys.executable, "-c", _COUNT_STEPS, *modules]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def test_classic_groups_load_no_other_kind() -> None:
    loaded = [module for step in steps(MODULES_OF_ALL).values() for module in step]
    assert "kwire.coordinators.group.classic.groups" in loaded
    others = tuple(f"kwire.coordinators.group.{kind}." for kind in MODULES_OF_KINDS)
    assert not [module for module in loaded if module.startswith(others)]


@pytest.mark.parametrize("kind", MODULES_OF_KINDS)
def test_a_kind_of_group_is_loaded_in_small_steps(kind: str) -> None:
    others = tuple(f"kwire.coordinators.group.{other}." for other in MODULES_OF_KINDS if other != kind)
    for step, loaded in steps((*MODULES_OF_ALL, *MODULES_OF_KINDS[kind])).items():
        assert len(loaded) <= MOST_MODULES_IN_A_STEP, step
        assert not [module for module in loaded if module.startswith(others)], step
