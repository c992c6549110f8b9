"""python -m interop cluster: clients write while brokers are killed, paused and cut off; then every promise is checked.

    python -m interop cluster                                 three kwire brokers, kwire's controller, 12 faults
    python -m interop cluster --brokers kwire,apache,apache --controllers apache --faults 40 --seed 7
    python -m interop cluster --lie drop                      must find what a lying broker did: exit code 0 if it does
    python -m interop cluster --plant flip                    the same for a replica that is changed on disk

Responsible for: the command line and the report. Must not depend on: how a run works.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
from collections import Counter
from functools import partial
from pathlib import Path

from interop.brokers import PYTHON
from interop.cluster import faults, run
from interop.cluster.replicas import partition_directories
from interop.cluster.rig import APACHE, KWIRE, Rig
from interop.jars import ROOT
from interop.processes import end_with

# The promise that each lie and each planted fault breaks.
BREAKS = {"drop": "lost", "twice": "duplicated", "show": "aborted and visible", "flip": "replicas differ"}
_SHOWN = 12


def main(arguments: list[str]) -> int:
    options = parse(arguments)
    folder = Path(tempfile.mkdtemp(prefix="kwire-cluster-", dir=options.folder))
    rig = make_rig(options, folder)
    end_with(rig.close)
    wanted = BREAKS.get(options.lie or options.plant or "")
    try:
        rig.start()
        kinds = options.kinds.split(",")
        planned = faults.schedule(
            options.seed,
            options.faults,
            brokers=[node.id for node in rig.brokers],
            controllers=[node.id for node in rig.controllers],
            kinds=kinds,
        )
        outcome = run.run(
            rig,
            planned,
            seed=options.seed,
            say=partial(print, flush=True),
            transactions=not options.no_transactions,
            groups=not options.no_groups,
            before_check=flip if options.plant == "flip" else None,
        )
    finally:
        rig.close()
    report(outcome, options)
    is_good = outcome.is_good if wanted is None else any(one.promise == wanted for one in outcome.violations)
    if is_good and not options.folder:
        shutil.rmtree(folder, ignore_errors=True)
    else:
        print(f"logs and data are in {folder}")
    return 0 if is_good else 1


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="interop cluster", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--brokers", default=",".join([KWIRE] * 3), help="the kind of each broker, by commas")
    parser.add_argument("--controllers", default=KWIRE, choices=[KWIRE, APACHE, "none"], help="none: one combined node")
    parser.add_argument("--faults", type=int, default=12, help="how many")
    parser.add_argument("--kinds", default=",".join(faults.KINDS), help="which kinds of faults")
    parser.add_argument("--factor", type=int, default=3, help="the replication factor of all topics")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--no-transactions", action="store_true", help="only plain and idempotent producers")
    parser.add_argument("--no-groups", action="store_true", help="no consumer groups and no share group")
    parser.add_argument("--lie", choices=["drop", "twice", "show"], help="let every broker lie like this")
    parser.add_argument("--plant", choices=["flip"], help="change one byte of one replica before the check")
    parser.add_argument("--folder", help="keep logs and data in this directory")
    return parser.parse_args(arguments)


def make_rig(options: argparse.Namespace, folder: Path) -> Rig:
    kinds = options.brokers.split(",")
    liar = (PYTHON, str(ROOT / "interop" / "cluster" / "liar.py"), options.lie)
    programs = {index + 1: liar for index, kind in enumerate(kinds) if kind == KWIRE} if options.lie else {}
    controllers = () if options.controllers == "none" else (options.controllers,)
    return Rig(folder, brokers=kinds, controllers=controllers, programs=programs, replication_factor=options.factor)


def flip(rig: Rig) -> None:
    """Change one byte in the middle of a record of one replica."""
    name, directory = next(
        (name, path) for name, path in partition_directories(rig.broker(1).data).items() if name.startswith(run.WRITES)
    )
    path = max(directory.glob("*.log"), key=lambda file: file.stat().st_size)
    content = bytearray(path.read_bytes())
    content[random.Random(len(content)).randrange(len(content) // 2, len(content))] ^= 1
    path.write_bytes(content)
    print(f"planted: one byte of {name} at broker 1")


def report(outcome: run.Outcome, options: argparse.Namespace) -> None:
    print(f"\n{options.brokers} under {options.controllers}, seed {options.seed}: {outcome.faults} faults in ", end="")
    print(f"{outcome.seconds:.0f} s")
    for name, count in outcome.counts.items():
        print(f"  {count:8} {name}")
    for failure in outcome.failures:
        print(f"FAILED {failure}")
    for promise, count in Counter(one.promise for one in outcome.violations).items():
        print(f"BROKEN {promise}: {count} times")
    for violation in outcome.violations[:_SHOWN]:
        print(f"  {violation}")
    print("every promise was kept" if outcome.is_good else "not good", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
