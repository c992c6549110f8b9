"""A cluster of processes on this machine: a controller and brokers, each ``kwire serve`` with a file of settings.

Responsible for: their settings, files and ports, starting, stopping, killing and pausing them, and finding their
processes again. Must not depend on: command lines, a test framework.

    FOLDER/
      cluster.json            each node: id, role, port, process id and when the process started
      controller-100/         server.properties, data/, log
      broker-1/, broker-2/    likewise

The processes outlive the object that started them: another object that opens the same folder controls them.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from kwire.wire import codec
from kwire.wire.messages import MetadataRequest, MetadataResponse

CONTROLLER_ID: Final = 100

_STATE: Final = "cluster.json"
_READY_S: Final = 30.0
_STOP_S: Final = 30.0
_POLL_S: Final = 0.03
_TAIL_LINES: Final = 8
_METADATA_VERSION: Final = 12
# An ApiVersions request of version 0 without a client id.
_API_VERSIONS: Final = bytes.fromhex("0000000a 0012 0000 00000001 ffff")


class ClusterError(RuntimeError):
    """An operation on the cluster failed: one sentence."""


@dataclass(slots=True)
class ClusterNode:
    """One process. ``pid`` is 0 while it does not run.

    ``started_ticks`` is when the process started, in ticks since the machine did; 0 where there is no /proc.
    """

    id: int
    role: str
    port: int
    pid: int = 0
    started_ticks: int = 0

    @property
    def name(self) -> str:
        return f"{self.role} {self.id}"

    @property
    def folder_name(self) -> str:
        return f"{self.role}-{self.id}"


class LocalCluster:
    """The cluster in ``folder``. ``create`` writes a new one, ``start`` starts the nodes that do not run.

    ``spawn`` starts a node with a file of settings and a file for its log, and returns the process id.
    """

    def __init__(self, folder: Path, nodes: Sequence[ClusterNode]) -> None:
        self.folder = folder
        self.nodes = list(nodes)
        self.spawn: Callable[[Path, Path], int] = spawn_node

    @classmethod
    def create(
        cls, folder: Path, *, brokers: int, port: int = 0, settings: Mapping[str, str] | None = None
    ) -> LocalCluster:
        """Write the files of a new cluster.

        ``port`` is that of broker 1, the others and the controller follow; 0 takes free ones.
        ``settings`` count for every broker and the controller. Raises ClusterError for a folder that has a cluster.
        """
        if (folder / _STATE).exists():
            raise ClusterError(f"{folder} has a cluster already")
        ports = [port + index for index in range(brokers + 1)] if port else _free_ports(brokers + 1)
        nodes = [ClusterNode(index + 1, "broker", ports[index]) for index in range(brokers)]
        controller = ClusterNode(CONTROLLER_ID, "controller", ports[brokers])
        cluster = cls(folder, [controller, *nodes])
        shared = {**_shared_settings(brokers), **(settings or {})}
        for node in cluster.nodes:
            directory = folder / node.folder_name
            directory.mkdir(parents=True, exist_ok=True)
            own = _settings_of(node, controller, directory)
            lines = [f"{key}={value}\n" for key, value in {**shared, **own}.items()]
            (directory / "server.properties").write_text("".join(lines), "utf-8")
        cluster._save()
        return cluster

    @staticmethod
    def is_in(folder: Path) -> bool:
        """Whether a folder has a cluster."""
        return (folder / _STATE).exists()

    @classmethod
    def open(cls, folder: Path) -> LocalCluster:
        """Open the cluster that a folder has. Raises ClusterError without one."""
        try:
            content = json.loads((folder / _STATE).read_text("utf-8"))
            return cls(folder, [ClusterNode(**node) for node in content["nodes"]])
        except FileNotFoundError as error:
            raise ClusterError(f"{folder} has no cluster: start one with kwire cluster") from error
        except (ValueError, KeyError, TypeError) as error:
            raise ClusterError(f"{folder / _STATE} is damaged: {error}") from error

    def check_options(
        self, *, brokers: int | None = None, port: int | None = None, settings: Mapping[str, str] | None = None
    ) -> None:
        """Refuse options of a new cluster that differ from those of this one; None is no option.

        Raises ClusterError, which names the option.
        """
        differing = []
        if brokers is not None and brokers != len(self.brokers):
            differing.append(f"--brokers {brokers} (it has {len(self.brokers)})")
        if port and port != self.brokers[0].port:
            differing.append(f"--port {port} (broker 1 has {self.brokers[0].port})")
        for key, value in (settings or {}).items():
            known = {self._settings(node).get(key) for node in self.nodes}
            if known != {value}:
                differing.append(f"--set {key}={value}")
        if differing:
            raise ClusterError(
                f"{self.folder} has a cluster, which keeps its brokers, ports and settings:"
                f" {', '.join(differing)} would have no effect. Leave that out, change the server.properties of its"
                " nodes, or take another directory"
            )

    def _settings(self, node: ClusterNode) -> dict[str, str]:
        lines = self._file(node).read_text("utf-8").splitlines()
        pairs = (line.partition("=") for line in lines if line.strip() and not line.lstrip().startswith("#"))
        return {key.strip(): value.strip() for key, _, value in pairs}

    @property
    def controller(self) -> ClusterNode:
        return self.nodes[0]

    @property
    def brokers(self) -> list[ClusterNode]:
        return self.nodes[1:]

    @property
    def bootstrap_servers(self) -> str:
        """The value of a client's ``bootstrap.servers``."""
        return ",".join(f"localhost:{node.port}" for node in self.brokers)

    def node(self, node_id: int) -> ClusterNode:
        """Find a node. Raises ClusterError."""
        for node in self.nodes:
            if node.id == node_id:
                return node
        known = ", ".join(str(node.id) for node in self.nodes)
        raise ClusterError(f"there is no node {node_id}: the nodes are {known}")

    def start(self) -> Iterator[ClusterNode]:
        """Start every node that does not run, and give each as it becomes ready. Raises ClusterError."""
        started = [node for node in self.nodes if self.state(node) == "stopped"]
        for node in started:
            self._spawn(node)
        self._save()
        for node in started:
            self._wait_ready(node)
            yield node

    def wait_for_brokers(self, timeout_s: float = _READY_S) -> None:
        """Wait until each broker that runs knows all of them. Raises ClusterError."""
        running = [node for node in self.brokers if self.state(node) == "running"]
        deadline = time.monotonic() + timeout_s
        while any(_brokers_known(node.port) < len(running) for node in running):
            if time.monotonic() > deadline:
                tails = "\n".join(f"{node.name}: {self.log_tail(node, 3)}" for node in self.nodes)
                raise ClusterError(f"the brokers are not in the cluster after {timeout_s:g} s:\n{tails}")
            time.sleep(_POLL_S)

    def start_node(self, node_id: int) -> None:
        """Start one node, and wait until it serves. Raises ClusterError."""
        node = self.node(node_id)
        if self.state(node) != "stopped":
            raise ClusterError(f"{node.name} runs already")
        self._spawn(node)
        self._save()
        self._wait_ready(node)

    def stop(self) -> None:
        """Stop the brokers cleanly, then the controller."""
        for node in (*self.brokers, self.controller):
            self._stop(node)
        self._save()

    def stop_node(self, node_id: int) -> None:
        """Stop one node cleanly: a broker hands its leaderships over first. Raises ClusterError."""
        self._stop(self._running(node_id))
        self._save()

    def kill(self, node_id: int) -> None:
        """End a node at once (SIGKILL). Raises ClusterError."""
        node = self._running(node_id)
        self._signal(node, signal.SIGKILL)
        self._wait_gone(node, _STOP_S)
        self._save()

    def pause(self, node_id: int) -> None:
        """Pause a node's process (SIGSTOP), as if its machine hung. Raises ClusterError."""
        self._signal(self._running(node_id), signal.SIGSTOP)

    def resume(self, node_id: int) -> None:
        """Resume a paused node (SIGCONT). Raises ClusterError."""
        self._signal(self._running(node_id), signal.SIGCONT)

    def kill_all(self) -> None:
        """End every process at once."""
        for node in self.nodes:
            if self.state(node) != "stopped":
                self._signal(node, signal.SIGKILL)
        for node in self.nodes:
            if node.pid:
                self._wait_gone(node, _STOP_S)
        self._save()

    def state(self, node: ClusterNode) -> str:
        """Tell whether a node is ``running``, ``paused`` or ``stopped``."""
        if not node.pid:
            return "stopped"
        _reap(node.pid)
        shown = _shown(node.pid, "stat=,command=")
        # Another process may have the number by now: ours started at a known time, or has its file of settings in its
        # command line.
        if node.started_ticks:
            is_ours = _started_ticks(node.pid) == node.started_ticks
        else:
            is_ours = str(self._file(node)) in shown
        if not is_ours or shown.startswith("Z"):
            return "stopped"
        return "paused" if shown.startswith("T") else "running"

    def log_tail(self, node: ClusterNode, lines: int = _TAIL_LINES) -> str:
        """Return the end of a node's log."""
        path = self.folder / node.folder_name / "log"
        return "\n".join(path.read_text("utf-8", "replace").splitlines()[-lines:]) if path.exists() else ""

    def _file(self, node: ClusterNode) -> Path:
        return self.folder / node.folder_name / "server.properties"

    def _running(self, node_id: int) -> ClusterNode:
        node = self.node(node_id)
        if self.state(node) == "stopped":
            raise ClusterError(f"{node.name} does not run")
        return node

    def _spawn(self, node: ClusterNode) -> None:
        node.pid = self.spawn(self._file(node), self.folder / node.folder_name / "log")
        node.started_ticks = _started_ticks(node.pid)

    def _wait_ready(self, node: ClusterNode) -> None:
        deadline = time.monotonic() + _READY_S
        while time.monotonic() < deadline:
            if _answers(node.port):
                return
            if not _is_there(node.pid):
                raise ClusterError(f"{node.name} does not start; its log ends:\n{self.log_tail(node)}")
            time.sleep(_POLL_S)
        raise ClusterError(f"{node.name} is not ready after {_READY_S:g} s; its log ends:\n{self.log_tail(node)}")

    def _stop(self, node: ClusterNode) -> None:
        if self.state(node) == "stopped":
            return
        self._signal(node, signal.SIGCONT)
        self._signal(node, signal.SIGTERM)
        if not self._wait_gone(node, _STOP_S):
            self._signal(node, signal.SIGKILL)
            self._wait_gone(node, _STOP_S)

    def _signal(self, node: ClusterNode, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(node.pid, number)

    def _wait_gone(self, node: ClusterNode, timeout_s: float) -> bool:
        deadline = time.monotonic() + timeout_s
        while _is_there(node.pid):
            if time.monotonic() > deadline:
                return False
            time.sleep(_POLL_S)
        node.pid = 0
        return True

    def _save(self) -> None:
        path = self.folder / _STATE
        half = path.with_suffix(".half")
        half.write_text(json.dumps({"nodes": [asdict(node) for node in self.nodes]}, indent=2) + "\n", "utf-8")
        half.replace(path)


def spawn_node(config: Path, log: Path) -> int:
    """Start ``kwire serve --config CONFIG`` as a program that writes to ``log``; returns its process id."""
    # Not subprocess.Popen, as the process outlives the object. It has its own process group, so that Ctrl-C in a
    # terminal reaches only the command, which then stops it cleanly.
    return os.posix_spawn(
        sys.executable,
        [sys.executable, "-m", "kwire", "serve", "--config", str(config)],
        os.environ,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setpgroup=0,
    )


def _settings_of(node: ClusterNode, controller: ClusterNode, directory: Path) -> dict[str, str]:
    is_controller = node.role == "controller"
    return {
        "process.roles": node.role,
        "node.id": str(node.id),
        "controller.listener.names": "CONTROLLER",
        "controller.quorum.bootstrap.servers": f"localhost:{controller.port}",
        "listeners": f"{'CONTROLLER' if is_controller else 'PLAINTEXT'}://localhost:{node.port}",
        "log.dirs": str(directory / "data"),
    }


def _shared_settings(brokers: int) -> dict[str, str]:
    """Replication settings: Kafka's numbers, or the number of brokers if that is smaller."""
    factor, in_sync = str(min(3, brokers)), str(min(2, brokers))
    return {
        "default.replication.factor": factor,
        "offsets.topic.replication.factor": factor,
        "transaction.state.log.replication.factor": factor,
        "transaction.state.log.min.isr": in_sync,
        "share.coordinator.state.topic.replication.factor": factor,
        "share.coordinator.state.topic.min.isr": in_sync,
    }


def _free_ports(count: int) -> list[int]:
    """Find different free ports; each stays bound until the last is found."""
    with contextlib.ExitStack() as held:
        probes = [held.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]


def _answers(port: int) -> bool:
    """Tell whether a broker answers ApiVersions there; a port accepts before requests are served."""
    try:
        with socket.create_connection(("localhost", port), 1) as connection:
            connection.settimeout(2)
            connection.sendall(_API_VERSIONS)
            return len(connection.recv(64)) > 8
    except OSError:
        return False


def _brokers_known(port: int) -> int:
    """Ask a broker how many brokers there are; 0 if it does not answer."""
    request = MetadataRequest(topics=[], allow_auto_topic_creation=False)
    try:
        with socket.create_connection(("localhost", port), 1) as connection:
            connection.settimeout(2)
            connection.sendall(codec.encode_request(request.KEY, _METADATA_VERSION, 1, "kwire-cluster", request))
            frame = _receive(connection, int.from_bytes(_receive(connection, 4), "big"))
    except OSError:
        return 0
    _, response = codec.decode_response(request.KEY, _METADATA_VERSION, memoryview(frame))
    assert isinstance(response, MetadataResponse)
    return len(response.brokers)


def _receive(connection: socket.socket, count: int) -> bytes:
    received = b""
    while len(received) < count:
        chunk = connection.recv(count - len(received))
        if not chunk:
            raise ConnectionResetError
        received += chunk
    return received


def _is_there(pid: int) -> bool:
    _reap(pid)
    # One whose parent does not collect its exit code stays listed, as a zombie.
    return not _shown(pid, "stat=").startswith(("Z", "none"))


def _shown(pid: int, columns: str) -> str:
    """Ask ps about a process; ``none`` if there is no such process."""
    asked = ["ps", "-ww", "-o", columns, "-p", str(pid)]
    finished = subprocess.run(asked, capture_output=True, text=True, check=False)  # noqa: S603
    return finished.stdout.strip() or "none"


def _started_ticks(pid: int) -> int:
    """Return when a process started, in ticks since the machine did; 0 without /proc or the process."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
    except OSError:
        return 0
    return int(stat.rpartition(")")[2].split()[19])  # the 22nd field; the second is a name that may hold anything


def _reap(pid: int) -> None:
    """Collect the exit code of a child, which else stays listed; a process of another parent is left alone."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
