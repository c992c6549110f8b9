"""The nodes of a local cluster: ids, roles, ports, and the settings in their server.properties.

Responsible for: ids, roles, ports and settings as values. Must not depend on: processes, certificates.
"""

from __future__ import annotations

import contextlib
import random
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

CONTROLLER_ID: Final = 100
BROKER: Final = "broker"
CONTROLLER: Final = "controller"
KWIRE: Final = "kwire"
APACHE: Final = "apache"
STOPPED: Final = "stopped"
KILLED: Final = "killed"

# The listeners: CONTROLLER leads to controllers; a secured cluster has NODES for brokers among each other, and CLIENTS.
CONTROLLERS: Final = "CONTROLLER"
NODES: Final = "BROKER"
CLIENTS: Final = "SASL_SSL"

_LOWEST_PORT: Final = 15000
_USUAL_EPHEMERAL: Final = 32768  # Linux; other systems begin higher
_TRIES: Final = 1000


class ClusterError(RuntimeError):
    """An operation on the cluster failed: one sentence."""


@dataclass(slots=True)
class ClusterNode:
    """One process. ``pid`` is 0 while it does not run.

    ``started_ticks`` is when the process started, in ticks since the machine did; 0 where there is no /proc.
    ``kind`` is whose program it is, "kwire" or "apache". ``inner_port`` is where the other brokers of a secured cluster
    connect, 0 where they use ``port``. ``control_port`` is 0 where it serves no control interface. ``ending`` is what
    was done to end the process, ``STOPPED`` or ``KILLED``; "" if nothing was.
    """

    id: int
    role: str
    port: int
    pid: int = 0
    started_ticks: int = 0
    kind: str = KWIRE
    inner_port: int = 0
    control_port: int = 0
    ending: str = ""

    @property
    def control_url(self) -> str | None:
        """The URL of its control interface, None where it has none."""
        return f"http://127.0.0.1:{self.control_port}" if self.control_port else None

    @property
    def name(self) -> str:
        return f"{self.role} {self.id}"

    @property
    def folder_name(self) -> str:
        return f"{self.role}-{self.id}"

    @property
    def nodes_port(self) -> int:
        """Where other nodes connect."""
        return self.inner_port or self.port


def make_nodes(*, brokers: int, controllers: int, kind: str, port: int, secured: bool) -> list[ClusterNode]:
    """Number the nodes and give them ports, from ``port`` on: brokers, controllers, inner ones of brokers.

    ``kind`` is that of the controllers, which come first. With port 0 all ports are free ones.
    """
    count = brokers + controllers + (brokers if secured else 0)
    ports = [port + index for index in range(count)] if port else free_ports(count)
    inner = ports[brokers + controllers :] or [0] * brokers
    return [
        *(
            ClusterNode(CONTROLLER_ID + index, CONTROLLER, ports[brokers + index], kind=kind)
            for index in range(controllers)
        ),
        *(ClusterNode(index + 1, BROKER, ports[index], inner_port=inner[index]) for index in range(brokers)),
    ]


def settings_of(node: ClusterNode, controllers: Sequence[ClusterNode], directory: Path) -> dict[str, str]:
    """Return the settings that only this node has."""
    listeners = f"{CONTROLLERS if node.role == CONTROLLER else 'PLAINTEXT'}://localhost:{node.port}"
    if node.inner_port:
        listeners = f"{CLIENTS}://localhost:{node.port},{NODES}://localhost:{node.inner_port}"
    return {
        "process.roles": node.role,
        "node.id": str(node.id),
        "controller.listener.names": CONTROLLERS,
        "controller.quorum.bootstrap.servers": ",".join(f"localhost:{one.port}" for one in controllers),
        "listeners": listeners,
        "log.dirs": str(directory / "data"),
    }


def shared_settings(brokers: int) -> dict[str, str]:
    """Settings of all nodes that are not Kafka's defaults, or that depend on the number of brokers.

    Replication factors are Kafka's, or the number of brokers if that is smaller. A test that kills a broker waits for
    the end of its session, so that is 3 s instead of 9.
    """
    factor, in_sync = str(min(3, brokers)), str(min(2, brokers))
    return {
        "broker.heartbeat.interval.ms": "500",
        "broker.session.timeout.ms": "3000",
        "default.replication.factor": factor,
        "offsets.topic.replication.factor": factor,
        "transaction.state.log.replication.factor": factor,
        "transaction.state.log.min.isr": in_sync,
        "share.coordinator.state.topic.replication.factor": factor,
        "share.coordinator.state.topic.min.isr": in_sync,
    }


def write_settings(path: Path, settings: Mapping[str, str]) -> None:
    """Write a file of settings."""
    path.write_text("".join(f"{key}={value}\n" for key, value in settings.items()), "utf-8")


def read_settings(path: Path) -> dict[str, str]:
    """Read a file of settings, one a line."""
    lines = path.read_text("utf-8").splitlines()
    pairs = (line.partition("=") for line in lines if line.strip() and not line.lstrip().startswith("#"))
    return {key.strip(): value.strip() for key, _, value in pairs}


def free_ports(count: int) -> list[int]:
    """Find ports that are free now, and that the system gives to no program by itself.

    A node that is down then finds its port free again, unless a program asks for this very number.
    """
    ports: list[int] = []
    for port in random.sample(range(_LOWEST_PORT, _first_ephemeral_port()), _TRIES):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            ports.append(port)
        if len(ports) == count:
            return ports
    raise ClusterError(f"of {_TRIES} ports from {_LOWEST_PORT} on fewer than {count} are free")


def _first_ephemeral_port() -> int:
    """Return the first port that the system chooses where a program asks for any."""
    try:
        first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text("ascii").split()[0])
    except OSError:
        return _USUAL_EPHEMERAL
    return first if first > _LOWEST_PORT + _TRIES else _USUAL_EPHEMERAL
