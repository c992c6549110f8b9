"""Share groups (KIP-932): each record with one member at a time, delivered at least once, counted, over kills.

The workers are programs of their own (`clients/share_worker.py`, `java/clients/ShareWorker.java`) whose lines are the
history that `History` checks.
"""

import itertools
import os
import re
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from interop.brokers import Apache, Kwire
from interop.case import Run, case
from interop.jars import CURRENT, ROOT, classpath
from interop.java import CLASSES, compile_sources
from interop.waiting import wait_until
from kwire.cli.connections.client import Cluster
from kwire.cli.connections.connection import parse_addresses
from kwire.wire.messages import IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse

SHARES = ("ShareFetch", "ShareGroupHeartbeat")
LOCK_S = 4
MAX_DELIVERIES = 10
# A member that was killed is missed soon, and a lock that it held expires within the case.
QUICK = {
    "group.share.min.session.timeout.ms": "3000",
    "group.share.session.timeout.ms": "3000",
    "group.share.min.heartbeat.interval.ms": "300",
    "group.share.heartbeat.interval.ms": "300",
    "group.share.min.record.lock.duration.ms": "1000",
    "group.share.record.lock.duration.ms": str(LOCK_S * 1000),
    "group.share.delivery.count.limit": str(MAX_DELIVERIES),
}


def python_worker(*args: str) -> list[str]:
    return [sys.executable, "-W", "ignore", str(ROOT / "interop" / "clients" / "share_worker.py"), *args]


def java_worker(*args: str) -> list[str]:
    compile_sources()
    class_path = os.pathsep.join([classpath(CURRENT), str(CLASSES / f"for-{CURRENT}")])
    return ["java", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", class_path, "ShareWorker", *args]


@case("crash", "share-groups", "librdkafka-members-and-broker-are-killed", requires=SHARES)
def killed_librdkafka(run: Run) -> None:
    kill_and_check(run, python_worker, workers=3, rounds=3)


@case("crash", "share-groups", "java-members-and-broker-are-killed", requires=SHARES)
def killed_java(run: Run) -> None:
    kill_and_check(run, java_worker, workers=2, rounds=1)


def begin_at_the_start(cluster: Cluster, group: str) -> None:
    """Set the config by which the share group reads what is in a topic already."""
    config = IncrementalAlterConfigsRequest.AlterableConfig(
        name="share.auto.offset.reset", config_operation=0, value="earliest"
    )
    resource = IncrementalAlterConfigsRequest.AlterConfigsResource(
        resource_type=32, resource_name=group, configs=[config]
    )
    answer = cluster.call_controller(
        IncrementalAlterConfigsRequest(resources=[resource]), IncrementalAlterConfigsResponse
    )
    assert answer.responses[0].error_code == 0, answer
    time.sleep(0.5)  # Apache's brokers apply a change of metadata a moment after it was answered


def kill_and_check(run: Run, command: Callable[..., list[str]], *, workers: int, rounds: int) -> None:
    from confluent_kafka import Producer
    from confluent_kafka.admin import AdminClient, NewTopic

    broker = run.own_broker(QUICK)
    broker.start()
    topic, group = run.unique("work"), run.unique("workers")
    admin = AdminClient({"bootstrap.servers": broker.bootstrap})
    admin.create_topics([NewTopic(topic, 3, 1)])[topic].result()
    with Cluster(parse_addresses(broker.bootstrap)) as cluster:
        begin_at_the_start(cluster, group)
    history = History(run.folder, lambda seed: command(broker.bootstrap, topic, group, str(seed)))
    producer = Producer({"bootstrap.servers": broker.bootstrap, "linger.ms": 1, "log_level": 0})

    def produce(count: int) -> None:
        for _ in range(count):
            value = f"v{len(history.values)}"
            history.values.add(value)
            producer.produce(topic, value, key=value)
            producer.poll(0)
            time.sleep(0.002)  # many small batches
        assert producer.flush(30) == 0

    try:
        for _ in range(workers):
            history.start_worker()
        for _ in range(rounds):
            produce(100)
            history.wait_for_progress()
            history.kill_worker()
            produce(100)
            history.start_worker()
            history.wait_for_progress()
            history.restart(broker)
            produce(100)
            history.wait_for_progress()
        history.wait_until_all_accepted()
    finally:
        history.end()
    history.check()


@dataclass
class Delivery:
    """A record with a worker: from ``start`` until it was acknowledged or its worker killed (``end``), in seconds."""

    worker: int
    start: float
    count: int
    end: float | None = None
    outcome: str = "held"  # held, sent, ACCEPT, RELEASE, failed

    def ends_before(self, time_s: float) -> bool:
        """Whether the record was free by then: acknowledged, its worker killed, or its lock expired.

        The lock begins at the broker, before the client prints the record, by at most half of its duration here.
        """
        return (self.end is not None and self.end <= time_s) or time_s >= self.start + LOCK_S / 2


class History:
    """What the workers print, and when workers and broker were killed."""

    def __init__(self, folder: Path, command: Callable[[int], list[str]]) -> None:
        self.values: set[str] = set()
        self._folder = folder
        self._command = command
        self._alive: dict[int, subprocess.Popen[bytes]] = {}
        self._logs: list[Path] = []
        self._killed: dict[int, float] = {}
        self._restarts: list[tuple[float, float]] = []

    def start_worker(self) -> None:
        number = len(self._logs)
        log = self._folder / f"worker-{number}.log"
        self._logs.append(log)
        with log.open("wb") as out, (self._folder / f"worker-{number}.err").open("wb") as err:
            self._alive[number] = subprocess.Popen(
                self._command(number), stdin=subprocess.DEVNULL, stdout=out, stderr=err
            )

    def kill_worker(self) -> None:
        number = min(self._alive)
        process = self._alive.pop(number)
        self._killed[number] = time.monotonic()
        process.send_signal(signal.SIGKILL)
        process.wait()

    def restart(self, broker: Apache | Kwire) -> None:
        before = time.monotonic()
        broker.kill()
        broker.start()
        self._restarts.append((before, time.monotonic()))

    def end(self) -> None:
        for process in self._alive.values():
            process.kill()
            process.wait()
        self._alive.clear()

    def wait_for_progress(self) -> None:
        """Wait until more records are accepted."""
        before = len(self._accepted())
        self._wait(lambda: len(self._accepted()) > before + 20 or self._accepted() >= self.values, "no progress")

    def wait_until_all_accepted(self) -> None:
        self._wait(lambda: self._accepted(maybe=True) >= self.values, "not all records were accepted")
        if self._accepted() < self.values:
            time.sleep(LOCK_S + 2)  # those that were not accepted after all are delivered again
            self._wait(lambda: self._accepted(maybe=True) >= self.values, "not all records were accepted")

    def _wait(self, reached: Callable[[], bool], problem: str) -> None:
        def is_over() -> bool:
            for number, process in self._alive.items():
                assert process.poll() is None, f"worker {number} ended with {process.returncode}"
            return reached()

        def left() -> str:
            values = sorted(self.values - self._accepted())
            return f"{problem}; left {len(values)}: {values[:10]}"

        wait_until(is_over, left)

    def _lines(self) -> list[tuple[float, int, list[str]]]:
        """Time in seconds, worker and words of each line, in the order of time."""
        lines = []
        for number, log in enumerate(self._logs):
            for line in log.read_text().splitlines(keepends=True):
                word, *rest = line.split()
                if word in ("got", "ack", "done", "failed") and line.endswith("\n"):
                    lines.append((int(rest[0]) / 1e9, number, [word, *rest[1:]]))
        return sorted(lines, key=lambda each: each[0])

    def _accepted(self, *, maybe: bool = False) -> set[str]:
        """Values of which the broker confirmed the acceptance; with ``maybe`` also those whose answer was lost."""
        values: dict[tuple[str, ...], str] = {}
        holders: dict[tuple[str, ...], int] = {}
        last: dict[str, str] = {}
        for _, worker, (word, *at) in self._lines():
            where = tuple(at[:2])
            if word == "got":
                values[where], holders[where] = at[3], worker
            elif holders[where] != worker:
                continue  # printed late: the record is with another worker already
            lost = word == "failed" or (word == "ack" and worker in self._killed)
            last[values[where]] = "maybe" if lost else f"{word} {at[2]}"
        return {value for value, outcome in last.items() if outcome == "done ACCEPT" or (maybe and outcome == "maybe")}

    def check(self) -> None:
        deliveries: dict[tuple[str, str], list[Delivery]] = defaultdict(list)
        delivered = set()
        for time_s, worker, (word, *at, last) in self._lines():
            partition, offset = at[0], at[1]
            mine = [each for each in deliveries[partition, offset] if each.worker == worker]
            if word == "got":
                delivered.add(last)
                deliveries[partition, offset].append(Delivery(worker, time_s, int(at[2]), self._killed.get(worker)))
            elif word == "ack":
                mine[-1].end, mine[-1].outcome = time_s, "sent"
            else:
                mine[-1].outcome = last if word == "done" else "failed"
        assert delivered == self.values, f"lost: {sorted(self.values - delivered)[:10]}"
        assert any(len(each) > 1 for each in deliveries.values()), "nothing was delivered twice, so nothing was proved"
        for where, each in deliveries.items():
            for before, after in itertools.pairwise(each):
                self._check_pair(where, before, after)
            assert max(one.count for one in each) <= MAX_DELIVERIES, (where, each)

    def _check_pair(self, where: tuple[str, str], before: Delivery, after: Delivery) -> None:
        """Two deliveries of one record, one after the other."""
        restarted = any(start < after.start and end > before.start for start, end in self._restarts)
        assert before.outcome != "ACCEPT", f"{where} was delivered again after it was accepted: {before} {after}"
        assert restarted or before.ends_before(after.start), f"{where} was with two workers: {before} {after}"
        # What was not written before the broker was killed, is not counted.
        assert restarted or after.count > before.count, f"{where} was miscounted: {before} {after}"


# With the official tools


@case("tools", "share-groups", "console-share-consumer-and-share-groups", requires=SHARES)
def tools(run: Run) -> None:
    broker = run.own_broker(QUICK)
    broker.start()
    at = ("--bootstrap-server", broker.bootstrap)
    topic, group = run.unique("queue"), run.unique("readers")
    run.tool("topics", *at, "--create", "--topic", topic, "--partitions", "1").ok()
    run.tool(
        "configs", *at, "--alter", "--entity-type", "groups", "--entity-name", group,
        "--add-config", "share.auto.offset.reset=earliest",
    ).ok()  # fmt: skip
    run.produce(topic, *(f"m{number}" for number in range(10)), server=broker.bootstrap)
    read = ("console-share-consumer", *at, "--topic", topic, "--group", group, "--timeout-ms", "20000")
    found = run.tool(*read, "--max-messages", "10").ok()
    assert sorted(line for line in found.lines if line.startswith("m")) == [f"m{number}" for number in range(10)]

    share_groups = ("share-groups", *at)
    assert group in run.tool(*share_groups, "--list").ok().lines
    describe = (*share_groups, "--describe", "--group", group)
    run.tool(*describe, "--state").ok().prints("Empty")
    described = run.tool(*describe).ok().out
    assert re.search(rf"{group}\s+{topic}\s+0\s+\d+\s+0", described), described

    broker.stop()
    broker.start()
    run.produce(topic, "n0", server=broker.bootstrap)
    found = run.tool(*read, "--max-messages", "1").ok()
    assert [line for line in found.lines if line.startswith(("m", "n"))] == ["n0"], found.out

    run.tool(*share_groups, "--reset-offsets", "--group", group, "--topic", topic, "--to-earliest", "--execute").ok()
    described = run.tool(*describe).ok().out
    assert re.search(rf"{group}\s+{topic}\s+0\s+0\s+11", described), described
    run.tool(*share_groups, "--delete-offsets", "--group", group, "--topic", topic).ok()
    run.tool(*share_groups, "--delete", "--group", group).ok()
    assert group not in run.tool(*share_groups, "--list").ok().lines

    broker.stop()
    kinds = set()
    for name, decoder in (
        ("__share_group_state", "--share-group-state-decoder"),
        ("__consumer_offsets", "--offsets-decoder"),
    ):
        for log in broker.data.glob(f"{name}-*/*.log"):
            if log.stat().st_size:
                dumped = run.tool("dump-log", "--deep-iteration", decoder, "--files", str(log)).ok().out
                assert "Could not" not in dumped, dumped
                kinds |= set(re.findall(r'"type":\s*"?(\d+)', dumped))
    assert kinds >= {"0", "10", "11", "12", "13", "14", "15"}, kinds
