"""The rows of the table: what is done to a broker and which numbers come of it.

A row is a function (run) -> {number: value}. Names of numbers end in their unit; less is better for all but those that
end in _per_s.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.measure import Usage, usage
from interop.brokers import KINDS, ONE_MACHINE
from interop.jars import ROOT

Numbers = dict[str, float]


@dataclass
class Run:
    """One broker, started, on which rows are run one after the other. ``scale`` shrinks or grows all loads."""

    kind: str
    scale: float
    settings: dict[str, str] = field(default_factory=dict)
    pin: bool = False

    def __post_init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix=f"kwire-bench-{self.kind}-"))
        self.broker = KINDS[self.kind](self.folder, {**ONE_MACHINE, **self.settings})
        self.topics = 0

    def start(self) -> None:
        self.broker.start()
        if self.pin:
            for task in Path(f"/proc/{self.broker.pid}/task").iterdir():
                subprocess.run(["taskset", "-p", "-c", "0", task.name], check=True, capture_output=True)

    def stop(self) -> None:
        import shutil

        try:
            self.broker.stop()
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def usage(self) -> Usage:
        return usage(self.broker.pid)

    def topic(self, partitions: int = 1, **configs: str) -> str:
        """A fresh topic."""
        from confluent_kafka.admin import AdminClient, NewTopic

        self.topics += 1
        name = f"bench-{self.topics}"
        admin = AdminClient({"bootstrap.servers": self.broker.bootstrap})
        admin.create_topics([NewTopic(name, partitions, 1, config=configs)])[name].result(30)
        return name

    def load(self, name: str, **values: Any) -> tuple[Numbers, float]:
        """Run a load in a process of its own: its numbers, and the CPU seconds that the broker used meanwhile."""
        command = [sys.executable, "-m", "bench.loads", name]
        command += [json.dumps({"bootstrap": self.broker.bootstrap, **values})]
        if self.pin:
            command = ["taskset", "-c", "1", *command]
        before = self.usage.cpu_s
        finished = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=400)
        assert finished.returncode == 0, finished.stderr[-2000:]
        return json.loads(finished.stdout.splitlines()[-1]), self.usage.cpu_s - before


def produced(run: Run, record_bytes: int, mb: int, **more: Any) -> tuple[str, Numbers]:
    partitions = more.get("partitions", 1)
    topic = run.topic(partitions)
    seen, cpu_s = run.load("produce", topic=topic, record_bytes=record_bytes, total_mb=int(mb * run.scale), **more)
    numbers = {"cpu_s_per_gb": cpu_s / (seen["mb"] / 1000), "mb_per_s": seen["mb"] / seen["seconds"]}
    return topic, numbers


def start(run: Run) -> Numbers:
    """Measured by whoever started the broker: from the command to the first answer."""
    return {"cpu_s": run.usage.cpu_s}


def idle_memory(run: Run) -> Numbers:
    time.sleep(30 * min(1.0, run.scale))
    return {"rss_mb": run.usage.rss_mb}


def produce_100(run: Run) -> Numbers:
    return produced(run, 100, 200)[1]


def produce_1k(run: Run) -> Numbers:
    return produced(run, 1000, 1000)[1]


def produce_10k(run: Run) -> Numbers:
    return produced(run, 10_000, 1000)[1]


def produce_idempotent(run: Run) -> Numbers:
    return produced(run, 1000, 500, idempotent=True)[1]


def produce_codec(compression: str) -> Callable[[Run], Numbers]:
    def row(run: Run) -> Numbers:
        return produced(run, 1000, 300, compression=compression)[1]

    return row


def produce_partitions(count: int) -> Callable[[Run], Numbers]:
    def row(run: Run) -> Numbers:
        return produced(run, 1000, 500, partitions=count)[1]

    return row


def consume_1k(run: Run) -> Numbers:
    topic, _ = produced(run, 1000, 1000)
    records = int(1000 * run.scale) * 1000
    seen, cpu_s = run.load("consume", topic=topic, records=records, record_bytes=1000)
    return {"cpu_s_per_gb": cpu_s / (seen["mb"] / 1000), "mb_per_s": seen["mb"] / seen["seconds"]}


def pipelined(run: Run) -> Numbers:
    seen, cpu_s = run.load("small_requests", topic=run.topic(), requests=int(60_000 * run.scale), depth=64)
    return {"requests_per_s": seen["requests"] / seen["seconds"], "cpu_us_per_request": cpu_s / seen["requests"] * 1e6}


def one_in_flight(run: Run) -> Numbers:
    seen, cpu_s = run.load("small_requests", topic=run.topic(), requests=int(20_000 * run.scale), depth=1)
    return {"requests_per_s": seen["requests"] / seen["seconds"], "cpu_us_per_request": cpu_s / seen["requests"] * 1e6}


def latency(run: Run) -> Numbers:
    seen, _ = run.load("latency", topic=run.topic(), records=max(2000, int(10_000 * run.scale)))
    return seen


def thousand_connections(run: Run) -> Numbers:
    before = run.usage
    command = [sys.executable, "-m", "bench.loads", "connections"]
    command += [json.dumps({"bootstrap": run.broker.bootstrap, "count": 1000})]
    load = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert load.stdout is not None
    line = load.stdout.readline()
    after = run.usage
    load.communicate("\n", timeout=60)
    assert line, "the load gave no answer"
    assert load.returncode == 0
    return {"cpu_s": after.cpu_s - before.cpu_s, "kb_each": (after.rss_mb - before.rss_mb) * 1024 / 1000}


def thousand_topics(run: Run) -> Numbers:
    seen, _ = run.load("many_topics", count=1000)
    return seen


def first_group(run: Run) -> Numbers:
    return _group(run, "first")


def later_group(run: Run) -> Numbers:
    return _group(run, "later")


def _group(run: Run, name: str) -> Numbers:
    topic = run.topic(20)
    return run.load("group", topic=topic, group_id=f"bench-{name}", members=5, partitions=20)[0]


def loaded_memory(run: Run) -> Numbers:
    usage_now = run.usage
    return {"rss_mb": usage_now.rss_mb, "peak_mb": usage_now.peak_mb}


# In the order in which they run on one broker: the first need a broker just started, the last follows the load.
ROWS: dict[str, Callable[[Run], Numbers]] = {
    "start": start,
    "idle memory": idle_memory,
    "first group of five": first_group,
    "later group of five": later_group,
    "1,000 connections": thousand_connections,
    "produce 100 B": produce_100,
    "produce 1 KB": produce_1k,
    "produce 10 KB": produce_10k,
    "produce 1 KB idempotent": produce_idempotent,
    "produce 1 KB gzip": produce_codec("gzip"),
    "produce 1 KB lz4": produce_codec("lz4"),
    "produce 1 KB snappy": produce_codec("snappy"),
    "produce 1 KB zstd": produce_codec("zstd"),
    "produce 1 KB, 6 partitions": produce_partitions(6),
    "produce 1 KB, 100 partitions": produce_partitions(100),
    "consume 1 KB": consume_1k,
    "pipelined": pipelined,
    "one in flight": one_in_flight,
    "end to end latency": latency,
    "1,000 topics": thousand_topics,
    "memory after the load": loaded_memory,
}
