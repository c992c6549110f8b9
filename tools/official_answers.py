"""Regenerate what the official classes answer in the tests' data: validation, compaction, batches, dumps of logs.

    python tools/official_answers.py [--libs DIRECTORY]

Responsible for: the files in ``write_all``. The inputs of each case (the bytes sent, the log before it is cleaned, the
arguments of kafka-dump-log) are part of the file and stay; everything else in a case is what the official classes
answer. To add a case, add an object with its inputs, then run this.
"""

from __future__ import annotations

import argparse
import base64
import json
import re
import subprocess
import zlib
from pathlib import Path
from typing import Any, TypeAlias

from official_java import ROOT, java_command, run_java

from kwire.kafka_release import RELEASE

Json: TypeAlias = dict[str, Any]

VALIDATION = ROOT / "tests" / "broker" / "official_validation.json"
COMPACTION = ROOT / "tests" / "storage" / "official_compaction.json"
BATCHES = ROOT / "tests" / "wire" / "official_batches.txt"
DUMPED = ROOT / "tests" / "cli" / "official_log"
COMPACTION_CONFIGS = {
    "segment_bytes": "internal.segment.bytes",
    "index_interval_bytes": "index.interval.bytes",
    "delete_retention_ms": "delete.retention.ms",
    "min_compaction_lag_ms": "min.compaction.lag.ms",
}
TOPICS = {
    "plain": {},
    "compact": {"cleanup.policy": "compact"},
    "append": {"message.timestamp.type": "LogAppendTime"},
    "before": {"message.timestamp.before.max.ms": "1000"},
    "wide": {"message.timestamp.after.max.ms": str(2**63 - 1)},
    "none": {"compression.type": "uncompressed"},
    "gz": {"compression.type": "gzip"},
    "sn": {"compression.type": "snappy"},
    "l4": {"compression.type": "lz4"},
    "zs": {"compression.type": "zstd"},
    "small": {"compression.type": "uncompressed", "max.message.bytes": "200"},
    "appendgz": {"compression.type": "gzip", "message.timestamp.type": "LogAppendTime"},
    "compactgz": {"compression.type": "gzip", "cleanup.policy": "compact"},
}


def main() -> None:
    parser = argparse.ArgumentParser(description="Regenerate the answers of the official classes.")
    parser.add_argument("--libs", help="a directory that holds the official jars; by default those of make jars")
    write_all(parser.parse_args().libs)


def write_all(libs: str | None = None) -> None:
    write_validation(libs)
    write_compaction(libs)
    write_dumps(libs)
    heading = f"# Made with the record builders of the official Kafka {RELEASE} clients: name, hex of one batch."
    BATCHES.write_text("\n".join([heading, *run_java("BuildBatches", libs, "")]) + "\n", "utf-8")


def write_validation(libs: str | None) -> None:
    """Append the bytes of each case to the official log of its topic, in order."""
    cases = [{name: case[name] for name in ("name", "topic", "sent", "now_ms")} for case in load(VALIDATION)]
    given = "".join(json.dumps(line) + "\n" for line in (TOPICS, *cases))
    answers = map(json.loads, run_java("AppendRecords", libs, given))
    save(VALIDATION, [case | answer for case, answer in zip(cases, answers, strict=True)])


def write_compaction(libs: str | None) -> None:
    """Clean the log of each case with the official Cleaner."""
    cases = [{name: case[name] for name in case if name not in ("official", "after")} for case in load(COMPACTION)]
    questions = []
    for case in cases:
        configs = {config: str(case[name]) for name, config in COMPACTION_CONFIGS.items()}
        timestamps = "LogAppendTime" if case["log_append_time"] else "CreateTime"
        configs |= {"cleanup.policy": "compact", "message.timestamp.type": timestamps}
        before = {name: unpack(content).hex() for name, content in case["before"].items()}
        questions.append(case | {"configs": configs, "before": before})
    answers = map(json.loads, run_java("CleanLogs", libs, "".join(json.dumps(line) + "\n" for line in questions)))
    for case, answer in zip(cases, answers, strict=True):
        before = case.pop("before")
        after = {name: bytes.fromhex(content) for name, content in answer["after"].items()}
        case |= {"official": answer["official"], "before": before}
        case["after"] = {name: pack(content) for name, content in after.items() if is_compared(name)}
    save(COMPACTION, cases)


def write_dumps(libs: str | None) -> None:
    """Run the official kafka-dump-log with the arguments of each case, in the directory of the logs."""
    path = DUMPED / "expected" / "cases.json"
    cases = json.loads(path.read_text("utf-8"))
    for name, case in cases.items():
        command = java_command(libs, "org.apache.kafka.tools.DumpLogSegments", *case["arguments"])
        done = subprocess.run(command, cwd=DUMPED, capture_output=True, text=True, encoding="utf-8", check=False)
        (DUMPED / "expected" / f"{name}.out").write_text(done.stdout, "utf-8")
        # Absolute paths, in the order of their hashes: neither is the same in another checkout.
        warnings = re.split(r"^(?=\S)", done.stderr.replace(f"{DUMPED}/", ""), flags=re.MULTILINE)
        case |= {"stderr": "".join(sorted(warnings)), "exit": done.returncode}
    path.write_text(json.dumps(cases, indent=1) + "\n", "utf-8")


def is_compared(name: str) -> bool:
    """Whether a file is what the cleaner wrote or left: not the snapshots and checkpoints of the close after it."""
    return name.endswith((".log", ".index", ".timeindex", ".txnindex"))


def pack(content: bytes) -> str:
    return base64.b64encode(zlib.compress(content, 9)).decode()


def unpack(text: str) -> bytes:
    return zlib.decompress(base64.b64decode(text))


def load(path: Path) -> list[Json]:
    cases: list[Json] = json.loads(path.read_text("utf-8"))
    return cases


def save(path: Path, cases: list[Json]) -> None:
    """One line for each case."""
    path.write_text("[\n " + ",\n ".join(map(json.dumps, cases)) + "\n]\n", "utf-8")


if __name__ == "__main__":
    main()
