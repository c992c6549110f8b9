"""A cluster of processes on this machine: controllers and brokers, each with a file of settings.

Responsible for: writing its files, starting, stopping, killing and pausing its nodes, and finding their processes
again. Must not depend on: command lines, a test framework.

    FOLDER/
      cluster.json            each node: id, role, ports, process id and when the process started
      cluster.lock            locked by the process that ends the nodes when it ends: its id
      controller-100/         server.properties, data/, log
      broker-1/, broker-2/    likewise
      certs/                  of a secured cluster: certificates, and settings of a client (``security``)

The processes outlive the object that started them: another object that opens the same folder controls them.
Controllers are one of kwire, or one or three of Apache Kafka (``apache_controllers``).
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from kwire.testing.clusters.nodes import (
    APACHE,
    BROKER,
    CONTROLLER,
    CONTROLLER_ID,
    KILLED,
    KWIRE,
    STOPPED,
    ClusterError,
    ClusterNode,
    free_ports,
    make_nodes,
    read_settings,
    settings_of,
    shared_settings,
    write_settings,
)
from kwire.testing.clusters.processes import lock_file, send, spawn_node, spawn_program, started_at, state_of, wait_gone
from kwire.testing.clusters.requests import answers, brokers_known, voters_of_the_leader

if TYPE_CHECKING:  # a cluster without them imports neither keys nor certificates
    from ssl import SSLContext

    from kwire.testing.clusters.apache_controllers import KafkaHome
    from kwire.testing.clusters.security import ClusterSecurity

__all__ = ["CONTROLLER_ID", "ClusterError", "ClusterNode", "LocalCluster"]

_STATE: Final = "cluster.json"
_OWNER: Final = "cluster.lock"
# A node that ends is noticed at once; this is for one that hangs, on a machine that may be busy with other work.
_READY_S: Final = 120.0
_STOP_S: Final = 30.0
_POLL_S: Final = 0.03
_SESSION_TIMEOUT_MS: Final = 9000  # Kafka's default
_TAIL_LINES: Final = 8


class LocalCluster:
    """The cluster in ``folder``. ``create`` writes a new one, ``start`` starts the nodes that do not run.

    ``spawn`` starts a node of kwire with a file of settings, a file for its log and more arguments of ``kwire serve``,
    and returns the process id.
    ``kafka_home`` is the directory of the distribution whose controllers the cluster has.
    """

    def __init__(
        self, folder: Path, nodes: Sequence[ClusterNode], *, kafka_home: str | None = None, secured: bool = False
    ) -> None:
        self.folder = folder
        self.nodes = list(nodes)
        self.kafka_home = kafka_home
        self.is_secured = secured
        self.is_restarting = False
        self.spawn: Callable[[Path, Path, Sequence[str]], int] = spawn_node

    @classmethod
    def create(
        cls,
        folder: Path,
        *,
        brokers: int,
        port: int = 0,
        settings: Mapping[str, str] | None = None,
        controllers: str = KWIRE,
        controller_count: int = 1,
        kafka_home: str | os.PathLike[str] | None = None,
        secure: bool = False,
        users: Collection[str] = (),
    ) -> Self:
        """Write the files of a new cluster.

        ``port`` is that of broker 1, the others and the controllers follow; 0 takes free ones.
        ``settings`` count for every node. ``controllers`` are "kwire" or "apache"; the latter are formatted by the
        distribution in ``kafka_home``. ``users`` are super users of a secured cluster. Raises ClusterError for a folder
        that has a cluster, for settings that the cluster itself makes, and for a distribution or Java that cannot run
        the controllers.
        """
        if cls.is_in(folder):
            raise ClusterError(f"{folder} has a cluster already")
        if users and not secure:
            raise ClusterError("--user needs --secure")
        home = _kafka(controllers, controller_count, kafka_home)
        nodes = make_nodes(brokers=brokers, controllers=controller_count, kind=controllers, port=port, secured=secure)
        cluster = cls(folder, nodes, kafka_home=None if home is None else str(home.folder), secured=secure)
        own = settings_of(nodes[0], nodes[:1], folder).keys() & (settings or {}).keys()
        if own:
            raise ClusterError(f"the cluster itself sets {', '.join(sorted(own))} of each node")
        if cluster.security is not None:
            cluster.security.make_certificates(nodes)
        for node in nodes:
            cluster._write_settings(node, settings or {}, users)
        if home is not None:
            home.format(cluster.controllers, [cluster._file(node).parent for node in cluster.controllers])
        cluster._save()
        return cluster

    @staticmethod
    def is_in(folder: Path) -> bool:
        """Whether a folder has a cluster."""
        return (folder / _STATE).exists()

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Open the cluster that a folder has. Raises ClusterError without one."""
        try:
            content = json.loads((folder / _STATE).read_text("utf-8"))
            nodes = [ClusterNode(**node) for node in content["nodes"]]
            cluster = cls(folder, nodes, kafka_home=content.get("kafka_home"), secured=content.get("secured", False))
            cluster.is_restarting = content.get("is_restarting", False)
        except FileNotFoundError as error:
            raise ClusterError(f"{folder} has no cluster: start one with kwire cluster") from error
        except (ValueError, KeyError, TypeError) as error:
            raise ClusterError(f"{folder / _STATE} is damaged: {error}") from error
        return cluster

    @contextmanager
    def owned(self) -> Iterator[None]:
        """Within the block no other process may own the cluster. Raises ClusterError if one does.

        The nodes that this process forks do not inherit the lock.
        """
        with lock_file(self.folder / _OWNER) as owner:
            if owner:
                raise ClusterError(
                    f"the cluster in {self.folder} runs already, by process {owner}: kwire cluster status --data"
                    f" {self.folder} shows its nodes, kwire cluster stop --data {self.folder} stops them"
                )
            yield

    def serve_control(self, port: int | None) -> None:
        """Let nodes of kwire that start from now on serve the control interface on 127.0.0.1; None: they serve none.

        Broker 1 has ``port``, the other brokers and the controller the next ones; 0 takes free ports.
        """
        nodes = [node for node in (*self.brokers, *self.controllers) if node.kind == KWIRE]
        if port is None:
            ports = [0] * len(nodes)
        else:
            ports = [port + index for index in range(len(nodes))] if port else free_ports(len(nodes))
        for node, its_port in zip(nodes, ports, strict=True):
            node.control_port = its_port
        self._save()

    def check_options(
        self,
        *,
        brokers: int | None = None,
        port: int | None = None,
        settings: Mapping[str, str] | None = None,
        controllers: str | None = None,
        controller_count: int | None = None,
        kafka_home: str | os.PathLike[str] | None = None,
        secure: bool = False,
        users: Collection[str] = (),
    ) -> None:
        """Refuse options of a new cluster that differ from those of this one; None is no option.

        Another ``kafka_home`` is used from now on. Raises ClusterError, which names the option.
        """
        differing = []
        if brokers is not None and brokers != len(self.brokers):
            differing.append(f"--brokers {brokers} (it has {len(self.brokers)})")
        if port and port != self.brokers[0].port:
            differing.append(f"--port {port} (broker 1 has {self.brokers[0].port})")
        if controllers is not None and controllers != self.controller.kind:
            differing.append(f"--controllers {controllers} (it has {self.controller.kind})")
        if controller_count is not None and controller_count != len(self.controllers):
            differing.append(f"--controller-count {controller_count} (it has {len(self.controllers)})")
        if secure and not self.is_secured:
            differing.append("--secure (it is not secured)")
        differing += [f"--user {user}" for user in users if user not in self.super_users]
        for key, value in (settings or {}).items():
            known = {read_settings(self._file(node)).get(key) for node in self.nodes}
            if key == "super.users" and self.is_secured:  # the nodes are there beside them
                known = {";".join(f"User:{user}" for user in self.super_users)}
            if known != {value}:
                differing.append(f"--set {key}={value}")
        if differing:
            raise ClusterError(
                f"{self.folder} has a cluster, which keeps its brokers, ports and settings:"
                f" {', '.join(differing)} would have no effect. Leave that out, change the server.properties of its"
                " nodes, or take another directory"
            )
        if kafka_home is not None:
            home = _kafka(self.controller.kind, len(self.controllers), kafka_home)
            self.kafka_home = None if home is None else str(home.folder)

    @cached_property
    def security(self) -> ClusterSecurity | None:
        """What secures the cluster, None if nothing does."""
        if not self.is_secured:
            return None
        from kwire.testing.clusters.security import ClusterSecurity

        return ClusterSecurity(self.folder)

    @property
    def ca_file(self) -> str:
        """The path of the certificate that clients of a secured cluster must trust. Raises ClusterError."""
        if self.security is None:
            raise ClusterError("this cluster is not secured: it has no certificates")
        return str(self.security.ca_file)

    @property
    def super_users(self) -> list[str]:
        """The users of a secured cluster that may do everything."""
        if self.security is None:
            return []
        return self.security.super_users(self.nodes, read_settings(self._file(self.brokers[0])).get("super.users", ""))

    @property
    def controllers(self) -> list[ClusterNode]:
        return [node for node in self.nodes if node.role == CONTROLLER]

    @property
    def controller(self) -> ClusterNode:
        return self.controllers[0]

    @property
    def brokers(self) -> list[ClusterNode]:
        return [node for node in self.nodes if node.role == BROKER]

    @property
    def session_timeout_ms(self) -> int:
        """How long after its last heartbeat a broker is fenced, and other replicas lead its partitions."""
        return int(self.own_settings(self.controller).get("broker.session.timeout.ms", _SESSION_TIMEOUT_MS))

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
        # Brokers look for controllers of kwire while these start. A Java controller may take longer than they wait.
        is_java = self.controller.kind == APACHE
        for group in (self.controllers, self.brokers) if is_java else (self.nodes,):
            started = [node for node in group if self.state(node) == "stopped"]
            for node in started:
                self._spawn(node)
            self._save()
            for node in started:
                self._wait_ready(node)
                yield node

    def wait_for_brokers(self, timeout_s: float = _READY_S) -> None:
        """Wait until each broker that runs knows all of them. Raises ClusterError."""
        running = self._running_brokers()
        deadline = time.monotonic() + timeout_s
        while any(brokers_known(node.nodes_port, self._tls) < len(running) for node in running):
            if time.monotonic() > deadline:
                tails = "\n".join(f"{node.name}: {self.log_tail(node, 3)}" for node in self.nodes)
                raise ClusterError(f"the brokers are not in the cluster after {timeout_s:g} s:\n{tails}")
            time.sleep(_POLL_S)

    def store_users(self, users: Mapping[str, str]) -> list[str]:
        """Store users of a secured cluster; without any the first start makes one.

        Returns lines that tell its password. The brokers must run. Raises ClusterError.
        """
        running = self._running_brokers()
        if self.security is None or not running:
            return []
        if not users:
            return self.security.make_first_user(running, self.super_users)
        self.security.store_users(running, users)
        return []

    def start_node(self, node_id: int) -> None:
        """Start one node, and wait until it serves. Raises ClusterError."""
        node = self.node(node_id)
        if self.state(node) != "stopped":
            raise ClusterError(f"{node.name} runs already")
        self._spawn(node)
        self._save()
        self._wait_ready(node)

    def stop(self) -> None:
        """Stop the brokers cleanly, then the controllers."""
        for group in (*([node] for node in self.brokers), self.controllers):
            self._stop(group)
        self._save()

    def stop_node(self, node_id: int) -> None:
        """Stop one node cleanly: a broker hands its leaderships over first. Raises ClusterError."""
        self._stop([self._running(node_id)])
        self._save()

    def kill(self, node_id: int) -> None:
        """End a node at once (SIGKILL). Raises ClusterError."""
        node = self._running(node_id)
        self._note_ending([node], KILLED)
        send(node.pid, signal.SIGKILL)
        self._wait_gone(node)
        self._save()

    def pause(self, node_id: int) -> None:
        """Pause a node's process (SIGSTOP), as if its machine hung. Raises ClusterError."""
        self._send([self._running(node_id)], signal.SIGSTOP, until_not="running")

    def resume(self, node_id: int) -> None:
        """Resume a paused node (SIGCONT). Raises ClusterError."""
        self._send([self._running(node_id)], signal.SIGCONT, until_not="paused")

    def pause_all(self) -> list[ClusterNode]:
        """Pause every process (SIGSTOP); returns the nodes that ran."""
        running = [node for node in self.nodes if self.state(node) == "running"]
        self._send(running, signal.SIGSTOP, until_not="running")
        return running

    @contextmanager
    def restarting(self) -> Iterator[None]:
        """Within the block no node need run: ``kwire cluster`` continues nevertheless."""
        self.is_restarting = True
        self._save()
        try:
            yield
        finally:
            self.is_restarting = False
            self._save()

    def kill_all(self) -> None:
        """End every process at once."""
        running = [node for node in self.nodes if self.state(node) != "stopped"]
        self._note_ending(running, KILLED)
        for node in running:
            send(node.pid, signal.SIGKILL)
        for node in running:
            self._wait_gone(node)
        self._save()

    def state(self, node: ClusterNode) -> str:
        """Tell whether a node is ``running``, ``paused`` or ``stopped``."""
        return state_of(node.pid, node.started_ticks, self._file(node))

    def log_tail(self, node: ClusterNode, lines: int = _TAIL_LINES) -> str:
        """Return the end of a node's log."""
        path = self._log(node)
        return "\n".join(path.read_text("utf-8", "replace").splitlines()[-lines:]) if path.exists() else ""

    def data(self, node: ClusterNode) -> Path:
        """The data directory of a node."""
        return self.folder / node.folder_name / "data"

    def own_settings(self, node: ClusterNode) -> dict[str, str]:
        """The settings of a node without those that say which one it is, and where."""
        identity = settings_of(node, self.controllers, self.folder / node.folder_name)
        return {key: value for key, value in read_settings(self._file(node)).items() if key not in identity}

    def _file(self, node: ClusterNode) -> Path:
        return self.folder / node.folder_name / "server.properties"

    def _log(self, node: ClusterNode) -> Path:
        return self.folder / node.folder_name / "log"

    @property
    def _tls(self) -> SSLContext | None:
        return None if self.security is None else self.security.tls

    def _write_settings(self, node: ClusterNode, given: Mapping[str, str], users: Collection[str]) -> None:
        texts = {**shared_settings(len(self.brokers)), **given}
        if self.security is not None:
            texts |= self.security.settings(node, self.nodes, users, given)
        file = self._file(node)
        file.parent.mkdir(parents=True, exist_ok=True)
        write_settings(file, {**texts, **settings_of(node, self.controllers, file.parent)})

    def _running_brokers(self) -> list[ClusterNode]:
        return [node for node in self.brokers if self.state(node) == "running"]

    def _running(self, node_id: int) -> ClusterNode:
        node = self.node(node_id)
        if self.state(node) == "stopped":
            raise ClusterError(f"{node.name} does not run")
        return node

    def _spawn(self, node: ClusterNode) -> None:
        if node.kind == APACHE:
            from kwire.testing.clusters.apache_controllers import find_kafka

            node.pid = spawn_program(find_kafka(self.kafka_home).command(self._file(node)), self._log(node))
        else:
            control = ["--control", f"127.0.0.1:{node.control_port}"] if node.control_port else []
            node.pid = self.spawn(self._file(node), self._log(node), control)
        node.started_ticks = started_at(node.pid)
        node.ending = ""

    def _note_ending(self, nodes: Sequence[ClusterNode], ending: str) -> None:
        """Note why nodes end, before they do, for a process that watches them."""
        for node in nodes:
            node.ending = ending
        if nodes:
            self._save()

    def _wait_ready(self, node: ClusterNode) -> None:
        deadline = time.monotonic() + _READY_S
        while time.monotonic() < deadline:
            if self._is_ready(node):
                return
            if self.state(node) == "stopped":
                raise ClusterError(f"{node.name} does not start; its log ends:\n{self.log_tail(node)}")
            time.sleep(_POLL_S)
        raise ClusterError(f"{node.name} is not ready after {_READY_S:g} s; its log ends:\n{self.log_tail(node)}")

    def _is_ready(self, node: ClusterNode) -> bool:
        """A controller of Apache Kafka serves before its quorum has a leader; brokers and kwire's controller do not."""
        if not answers(node.nodes_port, self._tls):
            return False
        ports = [one.port for one in self.controllers]
        return node.kind != APACHE or node.id in voters_of_the_leader(ports, self._tls)

    def _send(self, nodes: Sequence[ClusterNode], number: signal.Signals, *, until_not: str) -> None:
        for node in nodes:
            send(node.pid, number)
        for node in nodes:
            while self.state(node) == until_not:  # the signal takes effect a little later
                time.sleep(_POLL_S / 10)

    def _stop(self, nodes: Sequence[ClusterNode]) -> None:
        running = [node for node in nodes if self.state(node) != "stopped"]
        self._note_ending(running, STOPPED)
        for node in running:
            send(node.pid, signal.SIGCONT)
            send(node.pid, signal.SIGTERM)
        for node in running:
            if not self._wait_gone(node):
                send(node.pid, signal.SIGKILL)
                self._wait_gone(node)

    def _wait_gone(self, node: ClusterNode) -> bool:
        if not wait_gone(node.pid, _STOP_S):
            return False
        node.pid = 0
        return True

    def _save(self) -> None:
        path = self.folder / _STATE
        half = path.with_suffix(f".{os.getpid()}")  # another process may write at the same time
        content = {
            "nodes": [asdict(node) for node in self.nodes],
            "kafka_home": self.kafka_home,
            "secured": self.is_secured,
            "is_restarting": self.is_restarting,
        }
        half.write_text(json.dumps(content, indent=2) + "\n", "utf-8")
        half.replace(path)


def _kafka(controllers: str, count: int, given: str | os.PathLike[str] | None) -> KafkaHome | None:
    """Find what runs the controllers of Apache Kafka. Raises ClusterError for options that do not fit."""
    if controllers == APACHE:
        from kwire.testing.clusters.apache_controllers import find_kafka

        return find_kafka(given)
    if given is not None:
        raise ClusterError("--kafka-home counts for --controllers apache only")
    if count != 1:
        raise ClusterError(
            f"--controller-count {count} needs --controllers apache: kwire's controller is the only voter of its quorum"
        )
    return None
