"""Mutate single places of the source at random, run the tests that execute them, and count what the tests find.

    .venv/bin/pip install cosmic-ray
    nice .venv/bin/python tools/mutation_score.py --sample 30 --seed 1 kwire/storage kwire/broker
    nice .venv/bin/python tools/mutation_score.py --at kwire/storage/log.py:210      # each mutant of a line

The sample is drawn from each path: a module by its size, a place in it, one of the operators that apply there
(tools/mutation/mutants.py). A mutant that only changes an annotation is left out.

The tests are collected once, in a process that has imported kwire. The first run also records which functions each
test executes (``--reach FILE``; it takes about twice as long as the tests). For each mutant the process forks: the
child replaces the code of the function and runs the tests that execute it, those of its own module first, until one
fails (tools/mutation/tests_of.py). What is executed when a module is imported is mutated in a process that has not
imported it yet. No file is changed.

A mutant is found when a test fails, or when the tests do not end within three times the CPU time they need. "not
executed" is a mutant that no test executes. Tests in other processes (tests/cli, interop) find none.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from pathlib import Path

from mutation.mutants import Mutant, mutants_at, sample
from mutation.running import FOUND, FRESH, NOT_EXECUTED, SURVIVED, Outcome, run_fresh, serve

ROOT = Path(__file__).resolve().parent.parent
TESTS = tuple(
    f"tests/{name}"
    for name in ("storage", "broker", "coordinators", "metadata", "api", "replication", "kips", "server", "performance")
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("paths", nargs="*", help="packages or modules to mutate")
    parser.add_argument("--sample", type=int, default=100, help="mutants of each path (default 100)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--at", nargs="*", default=[], metavar="MODULE:LINE", help="all mutants of these lines")
    parser.add_argument("--tests", nargs="*", default=TESTS, help="files and directories of tests")
    parser.add_argument("--reach", default=".mutation-reach", help="file of what each test executes")
    parser.add_argument("--list", action="store_true", help="print the mutants, run nothing")
    chosen = parser.parse_args()
    os.chdir(ROOT)
    mutants = [mutant for path in chosen.paths for mutant in sample(Path(path), chosen.sample, chosen.seed)]
    mutants += [mutant for place in chosen.at for mutant in mutants_at(place)]
    if chosen.list:
        for mutant in mutants:
            print(mutant.place, mutant.change, sep="\n    ")
        return 0
    counts: Counter[tuple[str, str]] = Counter()
    for mutant, outcome in serve(mutants, chosen.tests, Path(chosen.reach)):
        final = run_fresh(mutant, outcome.tests) if outcome.kind == FRESH else outcome
        counts[package(mutant), final.kind] += 1
        report(mutant, final)
    for name in sorted({name for name, _ in counts}):
        found, survived, not_executed = (counts[name, kind] for kind in (FOUND, SURVIVED, NOT_EXECUTED))
        print(f"{name}: found {found} of {found + survived + not_executed}, not executed {not_executed}")
    return 0


def package(mutant: Mutant) -> str:
    return ".".join(mutant.module.parts[:2])


def report(mutant: Mutant, outcome: Outcome) -> None:
    print(f"{outcome.kind:<12} {mutant.place} ({outcome.note})", flush=True)
    if outcome.kind != FOUND:
        print(f"             {mutant.change}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
