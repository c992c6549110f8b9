"""python -m interop [--target kwire|apache] [--smoke] [--json FILE] [--jobs N] [--list] [NAME ...]

Runs the cases whose names contain one of the NAMEs (without a NAME all cases), and prints progress and a table. The
exit code is 0 only if no case failed. Cases whose tool (Java, Maven, Node, Go, Rust, kcat) is missing are reported as
skipped; with KWIRE_INTEROP=require they fail.

python -m interop differential --help: random sequences of requests beside Apache Kafka.
python -m interop cluster --help: clients write while brokers of a cluster fail, and every promise is checked.
python -m interop authorization --help: principals with different ACLs, every API and version, beside Apache Kafka.
"""

import argparse
import importlib
import json
import os
import pkgutil
import platform
import shutil
import sys
import tempfile
import threading
import time
import traceback
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import interop.cases
from interop.advertised import missing
from interop.case import CASES, Case, Run, Skip, World
from interop.jars import CURRENT, Missing
from interop.processes import end_with


@dataclass
class Outcome:
    name: str
    part: str
    row: str
    status: str  # passed, failed, skipped
    seconds: float
    message: str = ""


def main() -> int:
    if sys.argv[1:2] == ["differential"]:
        from interop.differential import command

        return command.main(sys.argv[2:])
    if sys.argv[1:2] == ["authorization"]:
        from interop.authorization import command as authorization

        return authorization.main(sys.argv[2:])
    if sys.argv[1:2] == ["cluster"]:
        from interop.cluster import command as cluster

        return cluster.main(sys.argv[2:])
    options = parse()
    for module in pkgutil.walk_packages(interop.cases.__path__, "interop.cases."):
        importlib.import_module(module.name)
    cases = [case for case in CASES if wanted(case, options)]
    if options.list:
        print("\n".join(case.name for case in cases))
        return 0
    if not cases:
        print(f"no case name contains any of {options.names}")
        return 2
    if options.folder:
        Path(options.folder).mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="kwire-interop-", dir=options.folder))
    world = World(options.target, folder)
    end_with(world.close)
    started = time.monotonic()
    try:
        outcomes = run_all(world, cases, options.jobs)
    finally:
        world.close()
    seconds = time.monotonic() - started
    print_table(outcomes, options.target, seconds)
    if options.json:
        write_json(Path(options.json), outcomes, options, seconds)
    failed = any(outcome.status == "failed" for outcome in outcomes)
    if options.folder or (failed and not os.environ.get("CI")):
        print(f"logs and data are in {folder}")
    else:
        shutil.rmtree(folder, ignore_errors=True)
    return 1 if failed else 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="interop", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="run only cases with this in their name")
    parser.add_argument("--target", choices=["kwire", "apache"], default="kwire")
    parser.add_argument("--smoke", action="store_true", help="one case of each kind")
    parser.add_argument("--json", metavar="FILE", help="write the outcomes to this file")
    parser.add_argument("--jobs", type=int, default=2, help="number of cases that run at the same time")
    parser.add_argument("--list", action="store_true", help="print the names of the cases and exit")
    parser.add_argument("--folder", help="keep logs and data in this directory")
    return parser.parse_args()


def wanted(case: Case, options: argparse.Namespace) -> bool:
    if options.smoke and not case.smoke:
        return False
    return not options.names or any(name in case.name for name in options.names)


def run_all(world: World, cases: list[Case], jobs: int) -> list[Outcome]:
    outcomes: list[Outcome] = []
    printing = threading.Lock()

    def one(case: Case) -> None:
        outcome = run_one(world, case)
        with printing:
            outcomes.append(outcome)
            mark = {"passed": "ok", "failed": "FAILED", "skipped": "SKIPPED"}[outcome.status]
            print(f"[{len(outcomes):3}/{len(cases)}] {mark:7} {case.name}  {outcome.seconds:.1f} s", flush=True)
            if outcome.message:
                print("          " + shortened(outcome.message).replace("\n", "\n          "), flush=True)

    with ThreadPoolExecutor(jobs) as pool:
        for future in [pool.submit(one, case) for case in cases]:
            future.result()
    return outcomes


def shortened(message: str) -> str:
    """The start and the end of a long message; the end usually has the cause."""
    text = message.strip()
    return text if len(text) < 1800 else text[:400] + "\n[...]\n" + text[-1300:]


def run_one(world: World, case: Case) -> Outcome:
    run = Run(world, case.name)
    started = time.monotonic()
    status, message = "passed", ""
    try:
        unserved = missing(run.broker, case.requires) if case.requires else []
        if unserved:
            raise Skip(f"{world.target} does not serve {', '.join(unserved)}")
        case.body(run)
    except Skip as skip:
        status, message = "skipped", str(skip)
    except Missing as tool:
        status = "failed" if os.environ.get("KWIRE_INTEROP") == "require" else "skipped"
        message = str(tool)
    except AssertionError as failure:
        status, message = "failed", str(failure) or where(failure)
    except Exception as failure:  # noqa: BLE001 - an exception fails its case, and the others continue
        status, message = "failed", "".join(traceback.format_exception(failure)[-3:])
    finally:
        run.close()
    return Outcome(case.name, case.part, case.row, status, time.monotonic() - started, message)


def where(failure: BaseException) -> str:
    return "".join(traceback.format_tb(failure.__traceback__)[-3:])


def print_table(outcomes: list[Outcome], target: str, seconds: float) -> None:
    rows: dict[tuple[str, str], list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        rows[outcome.part, outcome.row].append(outcome)
    print(f"\n{'':34} passed  failed  skipped  seconds")
    for (part, row), members in rows.items():
        print(f"{part + ' ' + row:34} {counts(members)} {sum(member.seconds for member in members):8.0f}")
    for outcome in outcomes:
        if outcome.status != "passed":
            reason = outcome.message.strip().splitlines() or [""]
            print(f"  {outcome.status} {outcome.name}: {reason[0][:150]}")
    total = {status: sum(o.status == status for o in outcomes) for status in ("passed", "failed", "skipped")}
    print(f"\ninterop against {target} in {seconds:.0f} s:")
    print(f"{total['passed']} passed, {total['failed']} failed, {total['skipped']} skipped", flush=True)


def counts(members: list[Outcome]) -> str:
    return "".join(f"{sum(m.status == status for m in members):{width}}" for status, width in STATUSES)


STATUSES = (("passed", 6), ("failed", 8), ("skipped", 9))


def write_json(path: Path, outcomes: list[Outcome], options: argparse.Namespace, seconds: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "target": options.target,
        "smoke": options.smoke,
        "kafka": CURRENT,
        "python": platform.python_version(),
        "seconds": round(seconds),
        "cases": [asdict(outcome) for outcome in sorted(outcomes, key=lambda outcome: outcome.name)],
    }
    path.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
