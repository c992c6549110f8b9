"""Mutate single places of the source at random, run tests that may find it, and count what the tests find.

    .venv/bin/pip install cosmic-ray
    .venv/bin/python tools/mutation_score.py --own-tests --sample 40 --seed 1 kwire/storage kwire/broker

``--own-tests`` runs the tests of the package (``tests/storage`` for ``kwire/storage``), those that name the module
first. Without it the tests that execute the line are run, which ``.coverage`` must have::

    make coverage ARGS=--cov-context=test

A mutant that only changes an annotation, or that no test executes, is not counted with the others; the latter are
listed. Each place has about the same chance, whatever the number of operators that apply there. A survivor of its
package's own tests may be found by those of another package. The files are changed where they stand and restored
afterwards: use a clone of its own.
"""

from __future__ import annotations

import argparse
import ast
import os
import random
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cosmic_ray.plugins
from cosmic_ray.commands.init import _all_work_items
from cosmic_ray.mutating import mutate_code
from coverage import CoverageData

ROOT = Path(__file__).resolve().parent.parent
# A line of the core is executed by thousands of tests; the run ends at the first that fails.
TESTS_AT_MOST = 250
SECONDS_AT_MOST = 400
# Whether an argument is given by keyword, or a number is one more, is one mutation; these two make mutants by the dozen
# that do not compile or that are not written by mistake.
LEFT_OUT = ("core/RemoveDecorator", "core/ExceptionReplacer")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("paths", nargs="+", help="packages or modules to mutate")
    parser.add_argument("--sample", type=int, default=100, help="mutants to try (default 100)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--own-tests", action="store_true", help="run the tests of the package, without .coverage")
    chosen = parser.parse_args()
    data = CoverageData(str(ROOT / ".coverage"))
    if not chosen.own_tests:
        data.read()
    random.seed(chosen.seed)
    found, survived, untested = 0, 0, 0
    for spec in mutants(chosen.paths):
        source = spec.module_path.read_text("utf-8")
        mutated = mutate_code(source, cosmic_ray.plugins.get_operator(spec.operator_name)(), spec.occurrence)
        if mutated is None or meaning(mutated) in (None, meaning(source)):
            continue
        place = f"{spec.module_path}:{spec.start_pos[0]} {spec.operator_name.removeprefix('core/')}"
        module = spec.module_path.resolve()
        tests = own_tests(module) if chosen.own_tests else tests_of(data, module, spec.start_pos[0])
        if not tests:
            untested += 1
            print("not executed", place, flush=True)
            continue
        if passes_with(spec.module_path, source, mutated, tests):
            survived += 1
            line = mutated.splitlines()[spec.start_pos[0] - 1].strip()
            print(
                "SURVIVED    ",
                place,
                f"({len(tests)} {'files' if chosen.own_tests else 'tests'})\n             ",
                line,
                flush=True,
            )
        else:
            found += 1
            print("found       ", place, flush=True)
        if found + survived >= chosen.sample:
            break
    tried = found + survived
    print(f"found {found} of {tried} ({100 * found / max(1, tried):.0f} %), not executed {untested}")
    return 0


def mutants(paths: list[str]) -> Iterator[Any]:
    """Mutations in random order: a module by its size, a place in it at random, one of those that apply there."""
    sizes: dict[Path, int] = {}
    for path in map(Path, paths):
        for module in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            sizes[module] = module.stat().st_size
    left: dict[Path, list[list[Any]]] = {}
    while sizes:
        [module] = random.choices(list(sizes), list(sizes.values()))  # noqa: S311  nothing is kept secret here
        if module not in left:
            left[module] = shuffled_places(module)
        if left[module]:
            yield random.choice(left[module].pop())  # noqa: S311
        else:
            del sizes[module]


def shuffled_places(module: Path) -> list[list[Any]]:
    """The mutations of a module by place, the places in random order."""
    places = defaultdict(list)
    for item in _all_work_items([module], {}):
        spec = item.mutations[0]
        if spec.operator_name not in LEFT_OUT:
            places[spec.start_pos].append(spec)
    order = list(places.values())
    random.shuffle(order)
    return order


def meaning(source: str) -> str | None:
    """The syntax tree without annotations and docstrings; None when the source does not parse."""
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return None
    for node in ast.walk(tree):
        match node:
            case ast.arg():
                node.annotation = None
            case ast.AnnAssign():
                node.annotation = ast.Constant(None)
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                node.returns = None
    return ast.dump(tree)


def tests_of(data: CoverageData, module: Path, line: int) -> list[str]:
    """Tests that execute the line, a random choice when there are many."""
    name = next((each for each in data.measured_files() if each == str(module)), None)
    contexts = data.contexts_by_lineno(name).get(line, []) if name else []
    tests = sorted({each.split("|")[0] for each in contexts if each})
    return tests if len(tests) <= TESTS_AT_MOST else random.sample(tests, TESTS_AT_MOST)


def own_tests(module: Path) -> list[str]:
    """The test files of the module's package: those that name the module first, then the others."""
    package = module.relative_to(ROOT / "kwire").parts[0]
    files = sorted((ROOT / "tests" / package).rglob("test_*.py"))
    dotted = ".".join(module.relative_to(ROOT).with_suffix("").parts)
    named = [file for file in files if dotted in file.read_text("utf-8") or module.stem in file.stem]
    return [str(file.relative_to(ROOT)) for file in [*named, *(file for file in files if file not in named)]]


def passes_with(module: Path, source: str, mutated: str, tests: list[str]) -> bool:
    """Whether the tests still pass; a mutant that never ends is found."""
    try:
        module.write_text(mutated, "utf-8")
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-p", "no:xdist", *tests]
        environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
        return not subprocess.run(
            command, cwd=ROOT, env=environment, timeout=SECONDS_AT_MOST, capture_output=True, check=False
        ).returncode
    except subprocess.TimeoutExpired:
        return False
    finally:
        module.write_text(source, "utf-8")


if __name__ == "__main__":
    sys.exit(main())
