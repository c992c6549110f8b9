"""Broker processes: kwire and Apache Kafka, started the same way on free ports, each with its own data directory."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from interop.jars import CURRENT, ROOT, classpath, need
from kwire.testing.clusters.nodes import free_ports

# Where kwire's defaults differ from Kafka's; Apache is set to the same.
ONE_MACHINE = {
    "offsets.topic.replication.factor": "1",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "group.consumer.assignment.interval.ms": "0",
    "group.initial.rebalance.delay.ms": "0",
    "socket.listen.backlog.size": "1024",
    "socket.receive.buffer.bytes": "-1",
}


# The Python that runs kwire. With -P it runs the installed kwire, not the one in the current directory.
PYTHON = os.environ.get("KWIRE_PYTHON", sys.executable)


class Broker(Protocol):
    name: str
    data: Path
    port: int

    @property
    def bootstrap(self) -> str: ...
    @property
    def pid(self) -> int: ...
    def start(self) -> None: ...
    def stop(self) -> None: ...
    def kill(self) -> None: ...


class Restartable(Protocol):
    """What a case stops, kills and starts again while clients use it: a broker, or a cluster that loses one."""

    @property
    def bootstrap(self) -> str: ...
    @property
    def alive(self) -> bool: ...
    def start(self) -> None: ...
    def stop(self) -> None: ...
    def kill(self) -> None: ...


class _Process:
    """A broker process, its log file, and the ways to end it; common to both brokers."""

    name = ""

    def __init__(self, folder: Path, settings: Mapping[str, str] | None = None, *, data: Path | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.data = data or folder / "data"
        self.settings = dict(settings or {})
        self.more_listeners: list[str] = []  # beside the plain one, as NAME://HOST:PORT
        self.port = 0
        self.log = folder / f"{self.name}.log"
        self._process: subprocess.Popen[str] | None = None

    @property
    def bootstrap(self) -> str:
        return f"localhost:{self.port}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def stop(self) -> None:
        """Send SIGTERM. A stop that is not clean fails the case."""
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            code = process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            raise AssertionError(
                f"{self.name} did not stop in 60 s after SIGTERM; its log ends:\n{self.tail()}"
            ) from None
        assert code in self.clean_codes, f"{self.name} ended with {code} after SIGTERM; its log ends:\n{self.tail()}"

    clean_codes: tuple[int, ...] = (0,)

    def kill(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    def tail(self, lines: int = 40) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


class Kwire(_Process):
    name = "kwire"

    def start(self) -> None:
        command = [PYTHON, "-P", "-m", "kwire", "serve"]
        command += ["--listen", f"PLAINTEXT://localhost:{self.port}", "--data", str(self.data)]
        for url in self.more_listeners:
            command += ["--listen", url]
        for key, value in self.settings.items():
            command += ["--set", f"{key}={value}"]
        self._process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self.log.open("ab"), text=True
        )
        self.port = _ready_port(self._process, self)


def _ready_port(process: subprocess.Popen[str], broker: Kwire) -> int:
    assert process.stdout is not None
    watchdog = threading.Timer(120, process.kill)
    watchdog.start()
    try:
        line = process.stdout.readline()
    finally:
        watchdog.cancel()
    assert line.startswith("ready PLAINTEXT://"), f"kwire did not get ready: {line!r}; its log ends:\n{broker.tail()}"
    return int(line.rsplit(":", 1)[1])


class Apache(_Process):
    name = "apache"
    clean_codes = (0, 143)
    release = CURRENT
    jvm: Sequence[str] = ("-Xmx1g", "-XX:+UseSerialGC")

    def start(self) -> None:
        # The port stays the same across restarts, because clients keep it.
        self.port = self.port or free_port()
        controller = free_port()
        properties = {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.bootstrap.servers": f"localhost:{controller}",
            "listeners": ",".join(
                [f"PLAINTEXT://localhost:{self.port}", f"CONTROLLER://localhost:{controller}", *self.more_listeners]
            ),
            "controller.listener.names": "CONTROLLER",
            "log.dirs": str(self.data),
            **ONE_MACHINE,
            **self.settings,
        }
        config = self.folder / "server.properties"
        config.write_text("".join(f"{key}={value}\n" for key, value in properties.items()))
        self._format(config)

        command = [
            need("java"), *self.jvm, "-Xshare:auto",
            "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
            "-cp", classpath(self.release), "kafka.Kafka", str(config),
        ]  # fmt: skip
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=self.log.open("ab"),
            stderr=subprocess.STDOUT,
            text=True,
            cwd=self.folder,
        )
        wait_until_serving(self.port, self._process, self)

    def _format(self, config: Path) -> None:
        if (self.data / "meta.properties").exists():
            return
        command = [need("java"), "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", classpath(self.release)]
        command += ["kafka.tools.StorageTool", "format", "--standalone", "-t", "kwireInteropClusterIdA"]
        command += ["-c", str(config)]
        finished = subprocess.run(command, capture_output=True, text=True, check=False)
        assert finished.returncode == 0, finished.stdout + finished.stderr


class ApacheBefore(Apache):
    """The release before the current one."""

    release = "4.3.1"


def wait_until_serving(port: int, process: subprocess.Popen[str], broker: _Process, timeout_s: float = 180) -> None:
    """Wait for the answer to an ApiVersions request; a port accepts connections before the broker serves them."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        assert process.poll() is None, f"{broker.name} ended with {process.returncode}; its log ends:\n{broker.tail()}"
        with contextlib.suppress(OSError), socket.create_connection(("localhost", port), 2) as connection:
            connection.settimeout(5)
            connection.sendall(bytes.fromhex("0000000a 0012 0000 00000001 ffff"))
            if len(connection.recv(4096)) > 8:
                return
        time.sleep(0.1)  # a poll, bounded above
    process.kill()
    raise AssertionError(f"{broker.name} did not serve in {timeout_s} s; its log ends:\n{broker.tail()}")


def free_port() -> int:
    """A port that another program takes only on purpose, so that it is free again when a broker that ended returns."""
    return free_ports(1)[0]


KINDS: dict[str, type[Kwire] | type[Apache]] = {
    "kwire": Kwire, "apache": Apache, f"apache-{ApacheBefore.release}": ApacheBefore,
}  # fmt: skip


def copy_data(data: Path, into: Path) -> Path:
    """A copy of a data directory that another broker may open."""
    shutil.rmtree(into, ignore_errors=True)
    shutil.copytree(data, into, ignore=shutil.ignore_patterns(".lock"))
    return into
