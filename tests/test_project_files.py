"""The files around the code agree with it: constraints, workflows, coverage bounds."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


def names_of(requirements: list[str]) -> set[str]:
    return {re.match(r"[\w.-]+", one).group().lower() for one in requirements}


def test_constraints_name_every_dependency():
    optional = PROJECT["project"]["optional-dependencies"].values()
    wanted = names_of(PROJECT["project"]["dependencies"]).union(*map(names_of, optional))
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    pinned = names_of([line for line in lines if line and not line.startswith("#")])
    assert wanted - pinned == set(), "run bash tools/update_constraints.sh"


def test_coverage_bounds_name_packages_that_exist():
    named = set(PROJECT["tool"]["kwire"]["coverage"]) - {"default", "kwire"}
    assert {name for name in named if not (ROOT / "kwire" / name).is_dir()} == set()


def test_workflows_call_targets_that_the_makefile_has():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    for workflow in (ROOT / ".github" / "workflows").glob("*.yml"):
        called = set(re.findall(r"\bmake ([a-z-]+)", workflow.read_text("utf-8")))
        assert called - targets == set(), workflow.name


def test_the_wheel_of_every_supported_python_is_built():
    classifiers = re.findall(r"Python :: (3\.\d+)", " ".join(PROJECT["project"]["classifiers"]))
    release = (ROOT / ".github" / "workflows" / "release.yml").read_text("utf-8")
    tested = (ROOT / ".github" / "workflows" / "ci.yml").read_text("utf-8")
    for version in classifiers:
        assert f"cp{version.replace('.', '')}-*" in release
        assert f'"{version}"' in tested
