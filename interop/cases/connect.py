"""Kafka Connect, distributed: a file through a topic into a file while worker and broker are stopped and killed."""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any, Self

from interop.brokers import Restartable, free_port
from interop.case import Run, case
from interop.jars import CONNECT, classpath
from interop.processes import JavaProcess

RELEASE = f"connect-{CONNECT}"
# A worker that stops waits up to 60 s for its REST requests, and then about 20 s for its tasks.
STOP_S = 100
SOURCE = "org.apache.kafka.connect.file.FileStreamSourceConnector"
SINK = "org.apache.kafka.connect.file.FileStreamSinkConnector"


@case("applications", "connect", "file-to-file-worker-and-broker-restarted")
def file_to_file(run: Run) -> None:
    with Worker(run, run.own_broker()) as worker:
        pipe = Pipe(worker)
        pipe.every_upset()
        # At least once: repeated lines after a kill are valid; a lost line or a wrong order is an error.
        assert list(dict.fromkeys(pipe.sunk())) == pipe.written, differs(pipe.sunk(), pipe.written)
        worker.assert_internal_topics()


@case("applications", "connect", "file-to-file-with-an-exactly-once-source")
def exactly_once_source(run: Run) -> None:
    with Worker(run, run.own_broker(), exactly_once=True) as worker:
        pipe = Pipe(worker)
        pipe.every_upset()
        assert list(dict.fromkeys(pipe.sunk())) == pipe.written, differs(pipe.sunk(), pipe.written)
        committed = run.read_to_end(pipe.topic, committed=True, server=worker.broker.bootstrap)
        assert committed == pipe.written, differs(committed, pipe.written)
        worker.assert_internal_topics()


@case("applications", "connect", "connectors-through-rest", smoke=True)
def connectors_through_rest(run: Run) -> None:
    """Pause, change and remove a connector, and read and reset its offsets."""
    with Worker(run, run.own_broker()) as worker:
        pipe = Pipe(worker)
        pipe.write(10)
        pipe.wait()
        assert sorted(worker.call("GET", "/connectors")) == ["sink", "source"]
        size = pipe.source.stat().st_size
        worker.wait_until("the source's offset is listed", lambda: worker.offsets("source") == [{"position": size}])

        worker.call("PUT", "/connectors/sink/stop")
        worker.wait_for_state("sink", "STOPPED")
        assert [offset["kafka_offset"] for offset in worker.offsets("sink")] == [10], worker.offsets("sink")
        worker.call("DELETE", "/connectors/sink/offsets")
        worker.call("PUT", "/connectors/sink/resume")
        worker.wait_until("the sink read all again", lambda: pipe.sunk() == pipe.written * 2)

        worker.call("DELETE", "/connectors/source")
        worker.call("DELETE", "/connectors/sink")
        worker.wait_until("no connector is left", lambda: worker.call("GET", "/connectors") == [])


class Pipe:
    """A growing file, a source and a sink connector, and the output file that must become equal."""

    def __init__(self, worker: "Worker") -> None:
        self.worker = worker
        self.topic = worker.run.unique("lines")
        self.source = worker.folder / "source.txt"
        self.sink = worker.folder / "sink.txt"
        self.written: list[str] = []
        self.source.touch()
        # A source whose batch is full keeps lines that it has read until the file grows again: no batch ever is.
        worker.create("source", SOURCE, {"file": str(self.source), "topic": self.topic, "batch.size": "1000000"})
        worker.create("sink", SINK, {"file": str(self.sink), "topics": self.topic})

    def write(self, count: int) -> None:
        lines = [f"line {n}" for n in range(len(self.written), len(self.written) + count)]
        with self.source.open("a") as file:
            file.writelines(f"{line}\n" for line in lines)
        self.written += lines

    def sunk(self) -> list[str]:
        return self.sink.read_text().splitlines() if self.sink.exists() else []

    def wait(self) -> None:
        """Wait for all lines; the timeout restarts with each new line."""

        def is_complete() -> bool:
            return set(self.written) <= set(self.sunk())

        while not is_complete():
            before = len(self.sunk())
            self.worker.wait_until("more lines come", lambda: is_complete() or len(self.sunk()) > before)  # noqa: B023 (called at once)

    def every_upset(self) -> None:
        """Stop and kill the worker and the broker, each while lines are in flight."""
        worker = self.worker
        self.write(500)
        self.wait()
        for upset in (worker.stopped, worker.killed, worker.broker_stopped, worker.broker_killed):
            self.write(2000)
            upset()
            self.write(500)
            self.wait()
        worker.stop()


class Worker:
    """One worker of its own Connect cluster, and its REST API."""

    def __init__(self, run: Run, broker: Restartable, *, exactly_once: bool = False, replicas: int = 1) -> None:
        self.run = run
        self.broker = broker
        self.folder = run.folder
        self.url = f"http://localhost:{free_port()}"
        broker.start()
        properties = {
            "bootstrap.servers": broker.bootstrap,
            "group.id": "connect-cluster",
            "listeners": self.url,
            "plugin.discovery": "only_scan",
            "key.converter": "org.apache.kafka.connect.storage.StringConverter",
            "value.converter": "org.apache.kafka.connect.storage.StringConverter",
            "config.storage.topic": "connect-configs",
            "offset.storage.topic": "connect-offsets",
            "status.storage.topic": "connect-status",
            "config.storage.replication.factor": str(replicas),
            "offset.storage.replication.factor": str(replicas),
            "status.storage.replication.factor": str(replicas),
            "offset.storage.partitions": "5",
            "offset.flush.interval.ms": "500",
            "session.timeout.ms": "6000",
            "heartbeat.interval.ms": "500",
            # The tasks of a killed worker are reassigned after this time.
            "scheduled.rebalance.max.delay.ms": "1000",
            "exactly.once.source.support": "enabled" if exactly_once else "disabled",
            "consumer.isolation.level": "read_committed",
        }
        config = self.folder / "worker.properties"
        config.write_text("".join(f"{key}={value}\n" for key, value in properties.items()))
        self.process = JavaProcess(
            "the worker",
            self.folder / "worker.log",
            classpath(RELEASE),
            "org.apache.kafka.connect.cli.ConnectDistributed",
            str(config),
        )

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()

    def start(self) -> None:
        self.process.start()
        self.wait_until("the worker serves", lambda: isinstance(self.call("GET", "/connectors"), list))

    def stop(self) -> None:
        try:
            self.process.stop(STOP_S)
        except AssertionError:
            # Connect and its REST server each have a shutdown hook. In a rare order of both, Connect waits without end
            # for a server that has stopped already, so the process was killed.
            if "runtime.rest.RestServer.stop" not in self.process.output:
                raise

    def stopped(self) -> None:
        self.stop()
        self.start()

    def killed(self) -> None:
        self.process.kill()
        self.start()

    def broker_stopped(self) -> None:
        self._away(self.broker.stop)

    def broker_killed(self) -> None:
        self._away(self.broker.kill)

    def _away(self, end: Callable[[], None]) -> None:
        end()
        time.sleep(1)  # the worker notices that the broker is away
        self.broker.start()
        self.process.assert_alive()

    def create(self, name: str, connector: str, settings: dict[str, str]) -> None:
        # Right after its start a worker answers 409 until the group has settled.
        content = {"connector.class": connector, "tasks.max": "1", **settings}
        self.wait_until(
            f"{name} is accepted", lambda: self.call("PUT", f"/connectors/{name}/config", content) is not None
        )
        self.wait_for_state(name, "RUNNING")

    def wait_for_state(self, name: str, state: str) -> None:
        def reached() -> bool:
            status = self.call("GET", f"/connectors/{name}/status")
            tasks = [task["state"] for task in status["tasks"]]
            return (
                status["connector"]["state"] == state
                and all(task == state for task in tasks)
                and (state == "STOPPED" or len(tasks) == 1)
            )

        self.wait_until(f"{name} is {state}", reached)

    def offsets(self, name: str) -> list[dict[str, Any]]:
        return [entry["offset"] for entry in self.call("GET", f"/connectors/{name}/offsets")["offsets"]]

    def call(self, method: str, path: str, content: object = None) -> Any:
        """The decoded answer; None if it has no body."""
        body = None if content is None else json.dumps(content).encode()
        request = urllib.request.Request(self.url + path, body, {"Content-Type": "application/json"}, method=method)
        with urllib.request.urlopen(request, timeout=30) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def wait_until(self, what: str, holds: Callable[[], bool], timeout_s: float = 90) -> None:
        deadline = time.monotonic() + timeout_s
        refused = ""
        while time.monotonic() < deadline:
            self.process.assert_alive()
            try:
                if holds():
                    return
            except urllib.error.HTTPError as error:
                refused = f"{error.code}: {error.read().decode(errors='replace')}"
            except OSError as error:
                refused = str(error)
            time.sleep(0.2)  # a poll, bounded above
        raise AssertionError(f"not in {timeout_s:.0f} s: {what} {refused}\n{self.process.tail()}")

    def assert_internal_topics(self) -> None:
        """Check that the topics that Connect created are compacted, as it requires."""
        for topic, partitions in (("connect-configs", 1), ("connect-offsets", 5), ("connect-status", 5)):
            described = self.run.tool(
                "topics", "--bootstrap-server", self.broker.bootstrap, "--describe", "--topic", topic
            ).ok()  # fmt: skip
            described.prints("cleanup.policy=compact", f"PartitionCount: {partitions}")


def differs(seen: list[str], expected: list[str]) -> str:
    at = next((n for n, (one, other) in enumerate(zip(seen, expected, strict=False)) if one != other), len(seen))
    return f"{len(seen)} lines for {len(expected)}; after {seen[max(0, at - 2) : at]} comes {seen[at : at + 3]}"
