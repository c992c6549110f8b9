"""A cluster of processes: controllers and brokers, kwire's and Apache Kafka's, with a proxy between the nodes.

Responsible for: settings, formatting, starting, killing, pausing and stopping the processes, and waiting until replicas
are in sync. Must not depend on: what clients do.

Each broker has two listeners: CLIENT, which clients reach directly, and BROKER, which other brokers reach through the
proxy. Controllers are reached through the proxy too.
"""

from __future__ import annotations

import base64
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

import confluent_kafka.admin

from interop.brokers import PYTHON, free_port, wait_until_serving
from interop.cluster.ask import ask
from interop.cluster.proxy import Network
from interop.jars import CURRENT, ROOT, classpath, need
from interop.waiting import wait_until
from kwire.metadata.features import GROUP_VERSION, SERVED, SHARE_VERSION, STREAMS_VERSION
from kwire.wire import messages as m

CLUSTER_ID: Final = "kwireInteropClusterIdA"
FIRST_CONTROLLER: Final = 3000
KWIRE: Final = "kwire"
APACHE: Final = "apache"

JVM: Final = ("-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto")
_INTERNAL_PARTITIONS: Final = 4

# How Apache Kafka's controllers are formatted so that a kwire broker can join.
WHAT_KWIRE_SERVES: Final = tuple(
    part
    for name in (GROUP_VERSION, SHARE_VERSION, STREAMS_VERSION)
    if name not in SERVED
    for part in ("--feature", f"{name}=0")
)


def common_settings(replication_factor: int) -> dict[str, str]:
    """Settings for a small cluster whose failures are noticed soon."""
    factor, in_sync = str(replication_factor), str(min(2, replication_factor))
    return {
        "default.replication.factor": factor,
        "min.insync.replicas": in_sync,
        "num.partitions": "3",
        "offsets.topic.replication.factor": factor,
        "offsets.topic.num.partitions": str(_INTERNAL_PARTITIONS),
        "transaction.state.log.replication.factor": factor,
        "transaction.state.log.min.isr": in_sync,
        "transaction.state.log.num.partitions": str(_INTERNAL_PARTITIONS),
        "share.coordinator.state.topic.replication.factor": factor,
        "share.coordinator.state.topic.min.isr": in_sync,
        "share.coordinator.state.topic.num.partitions": str(_INTERNAL_PARTITIONS),
        "group.initial.rebalance.delay.ms": "0",
        "broker.heartbeat.interval.ms": "500",
        "broker.session.timeout.ms": "3000",
        "replica.lag.time.max.ms": "4000",
        "log.cleaner.dedupe.buffer.size": "2097152",
        "unclean.leader.election.enable": "false",
        # On a busy machine a JVM needs longer than the usual minute until its controller is active.
        "initial.broker.registration.timeout.ms": "180000",
    }


@dataclass(slots=True)
class Node:
    """One process. ``port`` is that of its CLIENT listener, or of its CONTROLLER listener."""

    id: int
    kind: str
    folder: Path
    is_controller: bool
    port: int
    settings: dict[str, str] = field(default_factory=dict)
    program: Sequence[str] = ()
    release: str = CURRENT  # of Apache Kafka
    format_arguments: Sequence[str] = ()
    jvm: Sequence[str] = JVM
    voters: Sequence[str] = ()  # of --initial-controllers; without any a controller is formatted as the only one
    process: subprocess.Popen[bytes] | None = None
    paused: bool = False

    @property
    def name(self) -> str:
        return f"{'controller' if self.is_controller else 'broker'} {self.id} ({self.kind})"

    @property
    def protocols(self) -> list[str]:
        return self.settings["listener.security.protocol.map"].split(",")

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def log(self) -> Path:
        return self.folder / "log"

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def tail(self, lines: int = 40) -> str:
        if not self.log.exists():
            return ""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    @property
    def file(self) -> Path:
        return self.folder / "server.properties"

    def write_file(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.file.write_text("".join(f"{key}={value}\n" for key, value in self.settings.items()))

    def format(self) -> None:
        """Format the log directory, unless it is formatted."""
        if "process.roles" not in self.settings or (self.data / "meta.properties").exists():
            return
        quorum: tuple[str, ...] = ()
        if self.is_controller:
            quorum = ("--initial-controllers", ",".join(self.voters)) if self.voters else ("--standalone",)
        if self.kind == KWIRE:
            command = [PYTHON, "-P", "-m", "kwire", "scripts", "kafka-storage", "format"]
        else:
            command = [need("java"), *JVM, "-cp", classpath(self.release), "kafka.tools.StorageTool", "format"]
        command += ["-t", CLUSTER_ID, "-c", str(self.file), *quorum, *self.format_arguments]
        finished = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
        assert finished.returncode == 0, f"{self.name}: {finished.stdout}{finished.stderr}"

    def start(self) -> None:
        """Start the process; does not wait until it serves."""
        assert not self.is_running, f"{self.name} runs already"
        if self.kind == KWIRE:
            program = self.program or (PYTHON, "-P", "-m", "kwire")
            command = [*program, "serve", "--config", str(self.file)]
        else:
            command = [
                need("java"), *self.jvm, "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
                "-cp", classpath(self.release), "kafka.Kafka", str(self.file),
            ]  # fmt: skip
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, cwd=ROOT
            )

    def wait(self, timeout_s: float = 180) -> None:
        """Wait until the process serves. For a controller with TLS it does not: its brokers wait for it."""
        assert self.process is not None
        if self.is_controller and {"CONTROLLER:SSL", "CONTROLLER:SASL_SSL"}.intersection(self.protocols):
            return
        wait_until_serving(self.port, self.process, self, timeout_s)  # type: ignore[arg-type]

    def kill(self) -> None:
        process, self.process = self.process, None
        self.paused = False
        if process is not None:
            process.kill()
            process.wait()

    def pause(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)
        self.paused = True

    def resume(self) -> None:
        if self.process is not None and self.paused:
            self.process.send_signal(signal.SIGCONT)
        self.paused = False

    def stop(self, timeout_s: float = 60) -> None:
        """Send SIGTERM and wait. Raises AssertionError if the process does not end."""
        process, self.process = self.process, None
        if process is None:
            return
        if self.paused:
            process.send_signal(signal.SIGCONT)
            self.paused = False
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise AssertionError(f"{self.name} did not stop in {timeout_s} s; its log ends:\n{self.tail()}") from None


class Rig:
    """``brokers`` and ``controllers``: the kind of each process, "kwire" or "apache"; brokers have ids from 1 on.

    Without controllers there is one broker, which is its own controller. Several controllers, all Apache Kafka's, are
    the voters of one quorum. ``programs``: what runs instead of ``python -m kwire``, by broker id. With ``direct`` no
    proxy is between the nodes: for measurements. ``client``: settings of librdkafka for clients.
    """

    def __init__(
        self,
        folder: Path,
        *,
        brokers: Sequence[str],
        controllers: Sequence[str] = (KWIRE,),
        settings: Mapping[str, str] | None = None,
        programs: Mapping[int, Sequence[str]] | None = None,
        replication_factor: int = 3,
        release: str = CURRENT,
        format_arguments: Sequence[str] = WHAT_KWIRE_SERVES,
        direct: bool = False,
        jvm: Sequence[str] = JVM,
        client: Mapping[str, str] | None = None,
    ) -> None:
        assert controllers or len(brokers) == 1, "several brokers need a controller"
        assert len(controllers) < 2 or KWIRE not in controllers, "kwire's controller is the only voter"
        self.folder = folder
        self.network = Network()
        self._direct = direct
        self._client = dict(client or {})
        self.controllers = [self._controller(FIRST_CONTROLLER + index, kind) for index, kind in enumerate(controllers)]
        # Where the others reach the controllers.
        self._bootstrap_controllers = ",".join(
            controller.settings["advertised.listeners"].removeprefix("CONTROLLER://") for controller in self.controllers
        )
        for controller in self.controllers:
            controller.settings["controller.quorum.bootstrap.servers"] = self._bootstrap_controllers
            if len(controllers) > 1:
                controller.voters = [_voter(one) for one in self.controllers]
            if KWIRE in brokers and controller.kind == APACHE:
                controller.format_arguments = format_arguments
        self.replication_factor = min(replication_factor, len(brokers))
        shared = common_settings(self.replication_factor) | dict(settings or {})
        for controller in self.controllers:
            controller.settings |= shared
        self.brokers = [
            self._broker(index + 1, kind, shared, (programs or {}).get(index + 1, ()))
            for index, kind in enumerate(brokers)
        ]
        for node in self.nodes:
            node.release = release
            node.jvm = jvm

    def __enter__(self) -> Self:
        """Start all nodes; the end of the block kills them."""
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def _controller(self, node_id: int, kind: str) -> Node:
        node = Node(node_id, kind, self.folder / f"controller-{node_id}", True, free_port())
        proxy = self._front(node_id, node.port)
        node.settings = {
            "process.roles": "controller",
            "node.id": str(node_id),
            "listeners": f"CONTROLLER://127.0.0.1:{node.port}",
            "advertised.listeners": f"CONTROLLER://127.0.0.1:{proxy}",
            "listener.security.protocol.map": "CONTROLLER:PLAINTEXT",
            "controller.listener.names": "CONTROLLER",
            "log.dirs": str(node.data),
        }
        return node

    def _broker(self, node_id: int, kind: str, shared: Mapping[str, str], program: Sequence[str]) -> Node:
        node = Node(node_id, kind, self.folder / f"broker-{node_id}", False, free_port(), program=program)
        inner = free_port()
        proxy = self._front(node_id, inner)
        node.settings = {
            "process.roles": "broker",
            "node.id": str(node_id),
            "listeners": f"CLIENT://127.0.0.1:{node.port},BROKER://127.0.0.1:{inner}",
            "advertised.listeners": f"CLIENT://127.0.0.1:{node.port},BROKER://127.0.0.1:{proxy}",
            "listener.security.protocol.map": "CLIENT:PLAINTEXT,BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "inter.broker.listener.name": "BROKER",
            "controller.listener.names": "CONTROLLER",
            "controller.quorum.bootstrap.servers": self._bootstrap_controllers,
            "log.dirs": str(node.data),
            **shared,
        }
        if not self.controllers:
            for name in ("process.roles", "controller.listener.names", "controller.quorum.bootstrap.servers"):
                del node.settings[name]
        return node

    def _front(self, node_id: int, port: int) -> int:
        """The port that other nodes use."""
        return port if self._direct else self.network.proxy(node_id, port)

    @property
    def bootstrap(self) -> str:
        return ",".join(f"127.0.0.1:{node.port}" for node in self.brokers)

    @property
    def nodes(self) -> list[Node]:
        return [*self.controllers, *self.brokers]

    def broker(self, node_id: int) -> Node:
        return self.brokers[node_id - 1]

    def start(self) -> None:
        """Format and start all nodes, and wait until each broker is in the metadata."""
        for node in self.nodes:
            node.write_file()
            node.format()
        for node in self.nodes:
            node.start()
        for node in self.nodes:
            node.wait()
        self.wait_for_brokers(len(self.brokers))

    def admin(self) -> confluent_kafka.admin.AdminClient:
        return confluent_kafka.admin.AdminClient(self.client_settings({"socket.timeout.ms": 10_000}))

    def client_settings(self, more: Mapping[str, object] | None = None) -> dict[str, object]:
        """The settings of a client of librdkafka."""
        return {"bootstrap.servers": self.bootstrap, "log_level": 0, **self._client, **(more or {})}

    def wait_for_brokers(self, count: int, timeout_s: float = 60) -> None:
        """Wait until a client sees so many brokers."""
        admin = self.admin()
        wait_until(
            lambda: len(admin.list_topics(timeout=5).brokers) == count,
            lambda: f"a client does not see {count} brokers\n{self.tails()}",
            timeout_s=timeout_s,
            not_yet=(confluent_kafka.KafkaException,),
        )

    def out_of_sync(self) -> list[str]:
        """The partitions that lack an in-sync replica or a leader, as any broker describes them."""
        return [
            f"{topic.topic}-{partition.id} {partition.replicas} isr {partition.isrs}"
            for topic in self.admin().list_topics(timeout=10).topics.values()
            for partition in topic.partitions.values()
            if partition.leader < 0 or set(partition.isrs) != set(partition.replicas)
        ]

    def wait_in_sync(self, timeout_s: float = 90) -> None:
        """Wait until all replicas of all partitions are in sync."""
        missing = ["no answer"]

        def is_in_sync() -> bool:
            nonlocal missing
            missing = self.out_of_sync()
            return not missing

        wait_until(
            is_in_sync,
            lambda: f"not in sync: {missing}\n{self.tails()}",
            timeout_s=timeout_s,
            pause_s=0.3,
            not_yet=(confluent_kafka.KafkaException,),
        )

    def active_controller(self, timeout_s: float = 30) -> Node:
        """The controller that leads the metadata quorum, as a broker or another controller describes it."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            for node in self.brokers:
                found = _quorum_leader(node.port) if node.is_running else None
                leader = next((one for one in self.controllers if one.id == found and one.is_running), None)
                if leader is not None and not leader.paused:
                    return leader
            time.sleep(0.2)  # a poll, bounded above
        raise AssertionError(f"no active controller in {timeout_s} s\n{self.tails()}")

    def leaders(self, topic: str) -> dict[int, int]:
        """The leader of each partition."""
        found = self.admin().list_topics(topic, timeout=10).topics[topic]
        return {partition.id: partition.leader for partition in found.partitions.values()}

    def assert_alive(self) -> None:
        """Raise AssertionError if a process has ended that was not killed."""
        for node in self.nodes:
            code = None if node.process is None else node.process.poll()
            assert code is None, f"{node.name} ended with {code}; its log ends:\n{node.tail()}"

    def tails(self) -> str:
        return "\n".join(f"--- {node.name}\n{node.tail(15)}" for node in self.nodes)

    def data(self) -> dict[int, Path]:
        """The log directories of the brokers."""
        return {node.id: node.data for node in self.brokers}

    def memory_bytes(self) -> dict[str, int]:
        """Resident memory of each process."""
        pages = os.sysconf("SC_PAGE_SIZE")
        return {
            node.name: int(Path(f"/proc/{node.process.pid}/statm").read_text().split()[1]) * pages
            for node in self.nodes
            if node.process is not None and node.is_running
        }

    def stop(self) -> None:
        """Stop the brokers in order, then the controllers."""
        self.network.heal()
        for node in [*self.brokers, *self.controllers]:
            node.resume()
            node.stop()

    def close(self) -> None:
        """End every process, whatever its state."""
        for node in self.nodes:
            node.kill()
        self.network.close()


def _voter(controller: Node) -> str:
    """A controller as ``--initial-controllers`` names it."""
    directory_id = base64.urlsafe_b64encode(controller.id.to_bytes(2, "big") * 8).decode().rstrip("=")
    return f"{controller.id}@{controller.settings['advertised.listeners'].removeprefix('CONTROLLER://')}:{directory_id}"


def _quorum_leader(port: int) -> int | None:
    """The leader of the metadata quorum, as the broker at a port describes it; None without an answer."""
    partition = m.DescribeQuorumRequest.PartitionData(partition_index=0)
    topic = m.DescribeQuorumRequest.TopicData(topic_name="__cluster_metadata", partitions=[partition])
    try:
        response = ask(port, m.DescribeQuorumRequest(topics=[topic]), version=2)
    except OSError:
        return None
    if response.error_code or not response.topics:
        return None
    found: int = response.topics[0].partitions[0].leader_id
    return found
