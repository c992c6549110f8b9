"""The command ``kwire cluster``: with controllers of Apache Kafka, and secured."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import confluent_kafka
from confluent_kafka.admin import AdminClient, NewTopic

from interop.brokers import PYTHON
from interop.case import Run, case
from interop.cases.cluster import in_java, in_python
from interop.jars import CURRENT, ROOT, libs, need
from interop.waiting import wait_until
from kwire.testing.clusters.local_cluster import LocalCluster
from kwire.testing.clusters.requests import leader_of_the_quorum

OLDER, OLDEST = "4.3.1", "4.0.0"
TOPIC = "t"
KWIRE_COMMAND = (PYTHON, "-P", "-m", "kwire")
# Failures are noticed soon.
SOON = ("--set=broker.session.timeout.ms=4000", "--set=broker.heartbeat.interval.ms=500")
USER, PASSWORD = "alice", "alice-secret"


Settings = dict[str, str | int | float | bool]


class Command:
    """A running ``kwire cluster``, and other commands about it."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.folder = folder
        self._data = ("--data", str(folder))
        self._log = folder.with_suffix(".log").open("ab")
        command = [*KWIRE_COMMAND, "cluster", *arguments, *self._data]
        self._process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=self._log, text=True)
        assert self._process.stdout is not None
        self.lines: list[str] = []
        for line in self._process.stdout:
            self.lines.append(line.rstrip("\n"))
            if line.startswith("bootstrap.servers="):
                break
        else:
            raise AssertionError(f"the command ended: {self.lines} {folder.with_suffix('.log').read_text()}")
        self.bootstrap = self.lines[-1].removeprefix("bootstrap.servers=")

    def act(self, *words: str | int) -> str:
        """Run a command about the cluster; returns what it printed."""
        command = [*KWIRE_COMMAND, "cluster", *map(str, words), *self._data]
        finished = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=150)
        assert finished.returncode == 0, f"{words}: {finished.stdout}{finished.stderr}"
        return finished.stdout

    def states(self) -> dict[int, str]:
        """The state of each node, as ``status`` shows it."""
        rows = (line.split() for line in self.act("status").splitlines())
        return {int(row[1]): row[3] for row in rows}

    @property
    def cluster(self) -> LocalCluster:
        return LocalCluster.open(self.folder)

    def tails(self) -> str:
        cluster = self.cluster
        return "\n".join(f"--- {node.name}\n{cluster.log_tail(node, 15)}" for node in cluster.nodes)

    def stop(self) -> None:
        self._process.send_signal(signal.SIGINT)
        assert self._process.wait(120) == 0, self.folder.with_suffix(".log").read_text()

    def close(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        if LocalCluster.is_in(self.folder):
            self.cluster.kill_all()


@contextlib.contextmanager
def running(folder: Path, *arguments: str) -> Iterator[Command]:
    folder.parent.mkdir(parents=True, exist_ok=True)
    command = Command(folder, *arguments)
    try:
        yield command
        command.stop()
        assert {node.pid for node in command.cluster.nodes} == {0}
    except AssertionError as failure:
        raise AssertionError(f"{failure}\n{command.tails()}") from failure
    finally:
        command.close()


def official(release: str = CURRENT) -> tuple[str, ...]:
    """The options of a cluster with controllers of a release."""
    need("java")
    return ("--port", "0", "--controllers", "apache", "--kafka-home", str(libs(release).parent), *SOON)


def make_topic(admin: AdminClient, name: str) -> None:
    admin.create_topics([NewTopic(name, 3, 3)])[name].result(60)
    wait_in_sync(admin, name)


def wait_in_sync(admin: AdminClient, name: str) -> None:
    def in_sync() -> list[list[int]]:
        return [one.isrs for one in admin.list_topics(name, timeout=10).topics[name].partitions.values()]

    def are_all() -> bool:
        found = in_sync()
        return bool(found) and all(len(isrs) == 3 for isrs in found)

    wait_until(are_all, lambda: f"{name} is not in sync: {in_sync()}", timeout_s=90, pause_s=0.3)


def write(settings: Settings, count: int) -> None:
    failed: list[str] = []
    producer = confluent_kafka.Producer({**settings, "acks": "all"})
    for number in range(count):
        producer.produce(TOPIC, str(number), on_delivery=lambda error, _: failed.append(str(error)) if error else None)
    assert producer.flush(60) == 0
    assert not failed, failed[:3]


def count_records(settings: Settings) -> int:
    consumer = confluent_kafka.Consumer({**settings, "group.id": "counts"})
    partitions = [confluent_kafka.TopicPartition(TOPIC, index) for index in range(3)]
    total = sum(consumer.get_watermark_offsets(one, timeout=20)[1] for one in partitions)
    consumer.close()
    return total


@case("cluster", "command", "three official controllers: the active one is killed, all start again")
def three_official_controllers(run: Run) -> None:
    folder = run.folder / "cluster"
    options = (*official(), "--controller-count", "3")
    with running(folder, *options) as command:
        settings = plain_settings(command)
        admin = AdminClient(settings)
        make_topic(admin, TOPIC)
        write(settings, 100)
        active = leader_of_the_quorum([one.port for one in command.cluster.controllers])
        assert active in {100, 101, 102}, active
        command.act("kill", active)
        make_topic(admin, "made-by-the-next-one")
        command.act("start", active)
        command.act("pause", 2)
        running_nodes = dict.fromkeys((100, 101, 102, 1, 3), "running")
        assert command.states() == {**running_nodes, 2: "paused"}
        command.act("resume", 2)
        command.act("kill", 1)
        write(settings, 100)
        command.act("start", 1)
        wait_in_sync(admin, TOPIC)
    with running(folder, *options) as command:
        assert count_records(settings) == 200
        write(settings, 100)
        levels = run.tool("features", "--bootstrap-server", command.bootstrap, "describe").ok().out
        assert "metadata.version" in levels


@case("cluster", "command", f"a controller of {OLDER}")
def older_official_controller(run: Run) -> None:
    one_official_controller(run, OLDER)


@case("cluster", "command", f"a controller of {OLDEST}")
def oldest_official_controller(run: Run) -> None:
    one_official_controller(run, OLDEST)


def one_official_controller(run: Run, release: str) -> None:
    with running(run.folder / "cluster", *official(release)) as command:
        settings = plain_settings(command)
        make_topic(AdminClient(settings), TOPIC)
        write(settings, 100)
        command.act("stop", 100)
        command.act("start", 100)
        make_topic(AdminClient(settings), "second")


def secure_options() -> tuple[str, ...]:
    return ("--secure", "--user", f"{USER}:{PASSWORD}")


def plain_settings(command: Command) -> Settings:
    return {"bootstrap.servers": command.bootstrap, "log_level": 0}


def secure_settings(command: Command) -> Settings:
    return {
        **plain_settings(command),
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": USER,
        "sasl.password": PASSWORD,
        "ssl.ca.location": command.cluster.ca_file,
    }


@case("cluster", "command", "secured: librdkafka and the Java client ride through a killed leader")
def secured(run: Run) -> None:
    with running(run.folder / "cluster", "--port", "0", *SOON, *secure_options()) as command:
        settings = secure_settings(command)
        admin = AdminClient(settings)
        commands = {"confluent": in_python("confluent"), "java": in_java}
        for name in commands:
            make_topic(admin, name)  # each client reads what it wrote, and each broker leads a partition
        ride = {name: make(command.bootstrap, name, f"{name}-readers") for name, make in commands.items()}
        clients = {name: start_client(run.folder, name, words, settings) for name, words in ride.items()}
        try:
            time.sleep(8)  # the clients write and read before the leader is killed
            leader = admin.list_topics("java", timeout=10).topics["java"].partitions[0].leader
            command.act("kill", leader)
            time.sleep(6)  # and while it is away
            command.act("start", leader)
            for name in clients:
                wait_in_sync(admin, name)
            found = {name: json.loads(client.communicate(timeout=150)[0]) for name, client in clients.items()}
        finally:
            for client in clients.values():
                client.kill()
        print(f"broker {leader} was killed: {found}")
        for one in found.values():
            assert one["acknowledged"] > 200, found
            assert not one["missing"], found
            assert not one["errors"], found
        refuse_without_acls(command, settings)


def start_client(folder: Path, name: str, words: list[str], settings: Settings) -> subprocess.Popen[str]:
    """Start a client of ride-through with a login; each library has its own names for that."""
    if name == "java":
        module = "org.apache.kafka.common.security.scram.ScramLoginModule"
        settings = {
            "security.protocol": "SASL_SSL",
            "sasl.mechanism": "SCRAM-SHA-512",
            "sasl.jaas.config": f'{module} required username="{USER}" password="{PASSWORD}";',
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": settings["ssl.ca.location"],
        }
    file = folder / f"{name}.properties"
    file.write_text("".join(f"{key}={value}\n" for key, value in settings.items() if key != "bootstrap.servers"))
    environment = {**os.environ, "RIDE_SETTINGS": str(file)}
    return subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)


def refuse_without_acls(command: Command, settings: Settings) -> None:
    """A user without ACLs creates nothing."""
    words = ("users", "add", "bob", "--password-stdin", "-b", command.bootstrap, *as_alice(command))
    added = run_kwire(*words, text="secret\n")
    assert added.returncode == 0, added.stderr
    bob = AdminClient({**settings, "sasl.username": "bob", "sasl.password": "secret"})
    refused = bob.create_topics([NewTopic("of-bob", 1, 1)])["of-bob"].exception(30)
    assert refused is not None, "bob created a topic"
    assert "AUTHORIZATION" in refused.args[0].name(), refused


def as_alice(command: Command) -> tuple[str, str]:
    from kwire.testing.client_properties import write_client_properties

    path = command.folder.parent / "alice.properties"
    write_client_properties(path, USER, PASSWORD, Path(command.cluster.ca_file))
    return ("--config", str(path))


def run_kwire(*words: str, text: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run([*KWIRE_COMMAND, *words], cwd=ROOT, input=text, capture_output=True, text=True, check=False)


@case("cluster", "command", "secured, under an official controller")
def secured_official(run: Run) -> None:
    folder = run.folder / "cluster"
    options = (*official(), *secure_options())
    with running(folder, *options) as command:
        settings = secure_settings(command)
        admin = AdminClient(settings)
        make_topic(admin, TOPIC)
        write(settings, 100)
        command.act("kill", 3)
        write(settings, 100)
        command.act("start", 3)
        wait_in_sync(admin, TOPIC)
        refuse_without_acls(command, settings)
    with running(folder) as command:
        assert not any(re.match("user ", line) for line in command.lines)
        assert count_records(settings) == 200
