"""The command lines of Testcontainers' Kafka modules on the container image, in a scratch root.

A module starts the container with a command that waits for a start script, copies that script into the container, and
waits for a line of the log. Here the container is a process, ports are free ports of this machine, and absolute paths
have the scratch root before them; variables, commands and scripts are the modules' own. Versions of August 2026: Java
2.x (three classes), Go, Python 4.x, Node 11.x.
"""

import contextlib
import os
import re
import signal
import socket
import subprocess
from dataclasses import dataclass, field

import pytest
from image_root import ImageRoot
from kafka import KafkaConsumer, KafkaProducer

from kwire.testing.clusters.nodes import free_ports

# The ports of the modules; each becomes a free one.
PORTS = (9092, 9093, 9094, 2181)
CLUSTER_ID = "4L6g3nShT-eMCtK--X86sw"

COMMON = {
    "KAFKA_INTER_BROKER_LISTENER_NAME": "BROKER",
    "KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR": "1",
    "KAFKA_OFFSETS_TOPIC_NUM_PARTITIONS": "1",
    "KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS": "0",
}
LONG_FLUSH = {"KAFKA_LOG_FLUSH_INTERVAL_MESSAGES": "9223372036854775807"}
TRANSACTIONS = {
    "KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR": "1",
    "KAFKA_TRANSACTION_STATE_LOG_MIN_ISR": "1",
}
TWO_LISTENERS = {
    "KAFKA_LISTENERS": "PLAINTEXT://0.0.0.0:9093,BROKER://0.0.0.0:9092",
    "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP": "BROKER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
}
THREE_LISTENERS = {
    "KAFKA_LISTENERS": "PLAINTEXT://0.0.0.0:9093,BROKER://0.0.0.0:9092,CONTROLLER://0.0.0.0:9094",
    "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP": "BROKER:PLAINTEXT,PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
}
KRAFT = {
    "KAFKA_PROCESS_ROLES": "broker,controller",
    "KAFKA_CONTROLLER_LISTENER_NAMES": "CONTROLLER",
    "KAFKA_CONTROLLER_QUORUM_VOTERS": "1@localhost:9094",
    "KAFKA_NODE_ID": "1",
}
SED = "sed -i '/KAFKA_ZOOKEEPER_CONNECT/d' /etc/confluent/docker/configure"


def appended_format(cluster_id):
    words = f"kafka-storage format --ignore-formatted -t {cluster_id} -c /etc/kafka/kafka.properties"
    return f"echo '{words}' >> /etc/confluent/docker/configure"


def zookeeper(file):
    return [
        f"echo 'clientPort=2181' > {file}",
        f"echo 'dataDir=/var/lib/zookeeper/data' >> {file}",
        f"echo 'dataLogDir=/var/lib/zookeeper/log' >> {file}",
        f"zookeeper-server-start {file} &",
    ]


@dataclass
class Module:
    """How a module starts a container. ``advertised`` is what its script says, with the mapped port of the host."""

    variables: dict[str, str]
    script: str
    lines: list[str]
    awaited: str
    entrypoint: bool = False  # whether the image's own entry point gets the command
    shell: str = ""
    cluster_id: str | None = None
    advertised: str = "PLAINTEXT://localhost:9093,BROKER://localhost:9092"
    open_ports: list[int] = field(default_factory=list)

    @property
    def command(self):
        return f"while [ ! -f {self.script} ]; do sleep 0.1; done; {self.shell} {self.script}"


RUNNING = r"Transitioning from RECOVERY to RUNNING"
STARTED = r"\[KafkaServer id=\d+\] started"

MODULES = {
    "java-apache": Module(
        {
            **COMMON,
            **TRANSACTIONS,
            **LONG_FLUSH,
            **KRAFT,
            "CLUSTER_ID": CLUSTER_ID,
            "KAFKA_LISTENERS": "PLAINTEXT://:9092,BROKER://:9093,CONTROLLER://:9094",
            "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP": "BROKER:PLAINTEXT,PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        },
        "/tmp/testcontainers_start.sh",
        ["#!/bin/bash", "export KAFKA_ADVERTISED_LISTENERS=@LISTENERS@", "/etc/kafka/docker/run "],
        RUNNING,
        entrypoint=True,
        cluster_id=CLUSTER_ID,
        advertised="PLAINTEXT://localhost:9092,BROKER://localhost:9093",
    ),
    "java-confluent": Module(
        {**COMMON, **TRANSACTIONS, **LONG_FLUSH, **KRAFT, **THREE_LISTENERS, "CLUSTER_ID": CLUSTER_ID},
        "/tmp/testcontainers_start.sh",
        ["#!/bin/bash", "export KAFKA_ADVERTISED_LISTENERS=@LISTENERS@", "/etc/confluent/docker/run "],
        RUNNING,
        entrypoint=True,
        cluster_id=CLUSTER_ID,
    ),
    "java-old-zookeeper": Module(
        {
            **COMMON,
            **TRANSACTIONS,
            **LONG_FLUSH,
            **TWO_LISTENERS,
            "KAFKA_BROKER_ID": "1",
            "KAFKA_ZOOKEEPER_CONNECT": "localhost:2181",
        },
        "/tmp/testcontainers_start.sh",
        [
            "#!/bin/bash",
            "export KAFKA_ADVERTISED_LISTENERS=@LISTENERS@",
            "echo '' > /etc/confluent/docker/ensure ",
            *zookeeper("/tmp/zookeeper.properties"),
            "/etc/confluent/docker/run ",
        ],
        STARTED,
        open_ports=[2181],
    ),
    "java-old-kraft": Module(
        {
            **COMMON,
            **TRANSACTIONS,
            **LONG_FLUSH,
            **KRAFT,
            **THREE_LISTENERS,
            "KAFKA_BROKER_ID": "1",
            "CLUSTER_ID": CLUSTER_ID,
        },
        "/tmp/testcontainers_start.sh",
        [
            "#!/bin/bash",
            "export KAFKA_ADVERTISED_LISTENERS=@LISTENERS@",
            "echo '' > /etc/confluent/docker/ensure ",
            SED,
            appended_format(f'"{CLUSTER_ID}"'),
            "/etc/confluent/docker/run ",
        ],
        RUNNING,
        cluster_id=CLUSTER_ID,
    ),
    "go": Module(
        {
            **COMMON,
            **TRANSACTIONS,
            **LONG_FLUSH,
            **KRAFT,
            **THREE_LISTENERS,
            "KAFKA_BROKER_ID": "1",
            "KAFKA_REST_BOOTSTRAP_SERVERS": THREE_LISTENERS["KAFKA_LISTENERS"],
            "CLUSTER_ID": "test-cluster",
        },
        "/usr/sbin/testcontainers_start.sh",
        [
            "#!/bin/bash",
            "source /etc/confluent/docker/bash-config",
            "export KAFKA_ADVERTISED_LISTENERS=@LISTENERS@",
            "echo Starting Kafka KRaft mode",
            SED,
            appended_format('"$(kafka-storage random-uuid)"'),
            "echo '' > /etc/confluent/docker/ensure",
            "/etc/confluent/docker/configure",
            "/etc/confluent/docker/launch",
        ],
        RUNNING,
        shell="bash",
    ),
    "python-zookeeper": Module(
        {**COMMON, **TWO_LISTENERS, "KAFKA_BROKER_ID": "1", "KAFKA_LOG_FLUSH_INTERVAL_MESSAGES": "10000000"},
        "/tc-start.sh",
        [
            "#!/bin/bash",
            *zookeeper("zookeeper.properties"),
            "export KAFKA_ZOOKEEPER_CONNECT='localhost:2181'",
            "export KAFKA_ADVERTISED_LISTENERS=@LISTENERS@",
            ". /etc/confluent/docker/bash-config",
            "/etc/confluent/docker/configure",
            "/etc/confluent/docker/launch",
        ],
        STARTED,
        entrypoint=True,
        shell="sh",
        open_ports=[2181],
    ),
    "python-kraft": Module(
        {**COMMON, **KRAFT, **THREE_LISTENERS, "KAFKA_BROKER_ID": "1", "CLUSTER_ID": "MkU3OEVBNTcwNTJENDM2Qk"},
        "/tc-start.sh",
        [
            "#!/bin/bash",
            SED,
            appended_format("MkU3OEVBNTcwNTJENDM2Qk"),
            "export KAFKA_ADVERTISED_LISTENERS=@LISTENERS@",
            ". /etc/confluent/docker/bash-config",
            "/etc/confluent/docker/configure",
            "/etc/confluent/docker/launch",
        ],
        r"Kafka Server started",
        entrypoint=True,
        shell="sh",
        cluster_id="MkU3OEVBNTcwNTJENDM2Qk",
        advertised="PLAINTEXT://localhost:9093,BROKER://$(hostname -i | cut -d' ' -f1):9092",
    ),
    "node-zookeeper": Module(
        {
            **COMMON,
            **LONG_FLUSH,
            **TWO_LISTENERS,
            "KAFKA_BROKER_ID": "1",
            "KAFKA_TRANSACTION_STATE_LOG_MIN_ISR": "1",
            "KAFKA_CONFLUENT_SUPPORT_METRICS_ENABLE": "false",
            "KAFKA_ZOOKEEPER_CONNECT": "localhost:2181",
            "KAFKA_ADVERTISED_LISTENERS": "BROKER://localhost:9092",
        },
        "/tmp/testcontainers_start.sh",
        [
            "#!/bin/bash",
            "export KAFKA_ADVERTISED_LISTENERS=@LISTENERS@",
            "echo '' > /etc/confluent/docker/ensure ",
            *zookeeper("zookeeper.properties"),
            "/etc/confluent/docker/run ",
        ],
        STARTED,
        open_ports=[2181, 9093],
    ),
    "node-kraft": Module(
        {
            **COMMON,
            **LONG_FLUSH,
            **KRAFT,
            **THREE_LISTENERS,
            "KAFKA_BROKER_ID": "1",
            "KAFKA_TRANSACTION_STATE_LOG_MIN_ISR": "1",
            "KAFKA_ADVERTISED_LISTENERS": "BROKER://localhost:9092",
            "CLUSTER_ID": CLUSTER_ID,
        },
        "/tmp/testcontainers_start.sh",
        ["#!/bin/bash", "export KAFKA_ADVERTISED_LISTENERS=@LISTENERS@", "/etc/confluent/docker/run "],
        RUNNING,
        cluster_id=CLUSTER_ID,
        open_ports=[9093],
    ),
}


@pytest.mark.parametrize("name", MODULES)
def test_a_module_starts_the_image_and_clients_reach_the_mapped_port(tmp_path, name):
    module = MODULES[name]
    image, ports = ImageRoot(tmp_path / "root"), dict(zip(PORTS, free_ports(len(PORTS)), strict=True))

    def here(text):
        return re.sub(r"\b(9092|9093|9094|2181)\b", lambda port: str(ports[int(port[0])]), image.inside(text))

    command = ["sh", "-c", here(module.command)]
    entrypoint = [image.path / "opt/kafka/entrypoint.sh"] if module.entrypoint else []
    log = tmp_path / "log"
    with (
        log.open("w") as output,
        subprocess.Popen(
            [*entrypoint, *command],
            env={**image.environment, **{key: here(text) for key, text in module.variables.items()}},
            cwd=image.path / "home/kwire",
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # a container is stopped with every process in it
        ) as container,
    ):
        try:
            script = here("\n".join(module.lines).replace("@LISTENERS@", module.advertised))
            copied = image.path / here(module.script)
            copied.with_suffix(".part").write_text(script + "\n")
            copied.with_suffix(".part").chmod(0o777)
            copied.with_suffix(".part").rename(copied)
            wait_for(container, log, module.awaited)

            exchange_a_message(ports[9092 if "://:9092" in module.variables["KAFKA_LISTENERS"] else 9093])
            for port in module.open_ports:
                socket.create_connection(("localhost", ports[port])).close()
        finally:
            end_session(container)

    printed = log.read_text()
    assert "Traceback" not in printed
    assert "environment variables are not broker settings" not in printed
    assert "No such file" not in printed
    if module.cluster_id is not None:
        assert f"cluster.id={module.cluster_id}" in (image.path / "var/lib/kafka/data/meta.properties").read_text()


def wait_for(container, log, pattern):
    """Wait until a line of the log has the pattern; a start script that ends before that is a failure."""
    while not re.search(pattern, log.read_text()):
        with contextlib.suppress(subprocess.TimeoutExpired):
            container.wait(0.1)
            pytest.fail(f"the container ended without {pattern!r}:\n{log.read_text()}")


def exchange_a_message(port):
    address = f"localhost:{port}"
    producer = KafkaProducer(bootstrap_servers=address)
    producer.send("messages", b"hello").get(150)
    producer.close()
    consumer = KafkaConsumer(
        "messages",
        bootstrap_servers=address,
        group_id="readers",
        auto_offset_reset="earliest",
        consumer_timeout_ms=150_000,
    )
    assert next(consumer).value == b"hello"
    consumer.close()


def end_session(container):
    with contextlib.suppress(ProcessLookupError):
        os.killpg(container.pid, signal.SIGKILL)
