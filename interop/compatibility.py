"""Writes docs/compatibility.md: python -m interop.compatibility [OUTCOMES.json ...] docs/compatibility.md

The tables and the failures come from the outcomes that `python -m interop --json` wrote; of a case in several of the
files the last counts. The differences come from `differences.md` beside this file and from `interop/oracle/known.py`;
without outcomes only this part of the page is written again.
"""

import json
import sys
from collections import defaultdict
from pathlib import Path

from interop.oracle.known import reasons

PARTS = {
    "tools": "Official tools",
    "clients": "Client libraries",
    "applications": "Kafka Streams and Kafka Connect",
    "frameworks": "Frameworks: applications that copy and count, while they and their broker are stopped and killed",
    "transactions": "Transactions at random, judged by a model",
    "oracle": "Answers compared with Apache Kafka, field by field",
    "differential": "Random sequences compared with Apache Kafka",
    "datadirs": "Data directories",
    "crash": "Killed under load",
    "cluster": "Clusters, with brokers of kwire and of Apache Kafka",
    "faults": "Faults, state and recordings, used by programs in several languages",
    "proxy": "kwire proxy between clients and the broker",
    "personas": "kwire as an older release, with tools and clients",
    "console": "The console, in Chromium",
    "schemas": "Schema registries",
    "telemetry": "Metrics that clients push",
    "containers": "The container image: compose files and Testcontainers",
}

DIFFERENT = "## What is different"


def main() -> None:
    *outcomes, page = map(Path, sys.argv[1:])
    if not outcomes:
        page.write_text(with_differences(page.read_text()))
        print(f"wrote the differences of {page}")
        return
    runs = [json.loads(path.read_text()) for path in outcomes]
    cases = {case["name"]: case for run in runs for case in run["cases"]}
    page.write_text(render({**runs[0], "cases": [cases[name] for name in sorted(cases)]}))
    print(f"wrote {page}")


def render(run: dict) -> str:
    cases = run["cases"]
    passed = sum(case["status"] == "passed" for case in cases)
    asked = sum(case["status"] != "skipped" for case in cases)
    lines = [
        "# Compatibility",
        "",
        f"`make interop` asked {asked} things of kwire that Apache Kafka {run['kafka']} answers; {passed} came out as",
        "they do there. This page is written by `make compatibility`; nothing in its tables is by hand.",
        "",
    ]
    for part, title in PARTS.items():
        members = [case for case in cases if case["part"] == part]
        if members:
            lines += [f"## {title}", "", *table(members), ""]
    lines += ["## What fails", "", *failures(cases), "", "## What was not asked", "", *skips(cases), ""]
    return with_differences("\n".join(lines) + "\n")


def with_differences(page: str) -> str:
    """The page with its last part written again, or for the first time."""
    before, _, _ = page.partition(DIFFERENT)
    lines = [line for line in (Path(__file__).parent / "differences.md").read_text().splitlines() if line]
    lines += [f"- **{about}.** {reason}" for about, reason in reasons().items()]
    return "\n".join([before + DIFFERENT, "", *lines]) + "\n"


def table(members: list[dict]) -> list[str]:
    rows: dict[str, list[dict]] = defaultdict(list)
    for case in members:
        rows[case["row"]].append(case)
    lines = ["| | passed | failed | not asked |", "|---|---|---|---|"]
    for row, cases in sorted(rows.items()):
        counts = (str(sum(case["status"] == status for case in cases)) for status in ("passed", "failed", "skipped"))
        lines.append(f"| {row} | {' | '.join(counts)} |")
    return lines


def failures(cases: list[dict]) -> list[str]:
    failed = [case for case in cases if case["status"] == "failed"]
    return [f"- `{case['name']}`: {first_line(case['message'])}" for case in failed] or ["Nothing."]


def skips(cases: list[dict]) -> list[str]:
    by_reason: dict[str, list[str]] = defaultdict(list)
    for case in cases:
        if case["status"] == "skipped":
            by_reason[first_line(case["message"])].append(case["name"])
    return [f"- {reason}: {len(names)} cases" for reason, names in sorted(by_reason.items())] or ["Everything was."]


def first_line(message: str) -> str:
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    return lines[0][:160].replace("|", "/") if lines else ""


if __name__ == "__main__":
    main()
