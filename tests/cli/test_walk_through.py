"""The walk-through that people know from tutorials, word for word; this test stands in for docker alone.

The broker runs by the image's entry point with the environment of docker-compose.yml, the scripts are those that the
image installs, and the names ``kafka`` and ``zookeeper`` with the port 9092 mean the broker's free port here
(``compose_names/sitecustomize.py``), as they mean the container in a compose network.
"""

from __future__ import annotations

import re
import select
import signal
import subprocess
from contextlib import contextmanager
from pathlib import Path

import pytest
from image_root import ImageRoot

ROOT = Path(__file__).parent.parent.parent
MESSAGE = "{'user_id': 1, 'recipient_id': 2, 'message': 'Hi.'}"


class Container:
    """Where commands are run as in a container of the compose network."""

    def __init__(self, environment):
        self.environment = environment

    def run(self, line, fed=None):
        ended = subprocess.run(
            line, shell=True, env=self.environment, input=fed, capture_output=True, text=True, timeout=150, check=False
        )
        assert "Traceback" not in ended.stderr, ended.stderr
        return ended

    @contextmanager
    def running(self, line, folder=None):
        """A command that does not end by itself; the lines that it prints."""
        with subprocess.Popen(
            ["sh", "-c", f"exec {line}"],
            env=self.environment,
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                yield process
            finally:
                process.send_signal(signal.SIGINT)
                process.communicate(timeout=150)


def compose_environment():
    """The variables of the service in docker-compose.yml, listening on free ports of this machine alone."""
    text = (ROOT / "docker-compose.yml").read_text()
    block = re.search(r"^    environment:\n((?:      .*\n)+)", text, re.MULTILINE)[1]
    variables = dict(re.findall(r"^      (KAFKA_\w+): (.*?)(?: #.*)?$", block, re.MULTILINE))
    assert "PLAINTEXT://kafka:9092" in variables["KAFKA_ADVERTISED_LISTENERS"]
    assert "- zookeeper" in text
    return {**variables, "KAFKA_LISTENERS": re.sub(r"0\.0\.0\.0:\d+", "127.0.0.1:0", variables["KAFKA_LISTENERS"])}


@pytest.fixture
def container(tmp_path):
    image = ImageRoot(tmp_path / "root")
    base = image.environment
    with subprocess.Popen(
        [image.path / "opt/kafka/entrypoint.sh"],
        env={**base, **compose_environment()},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as broker:
        try:
            address = re.fullmatch(r"ready PLAINTEXT://(127\.0\.0\.1:\d+)\n", broker.stdout.readline())[1]
            yield Container(
                {
                    **base,
                    "PYTHONPATH": str(Path(__file__).parent / "compose_names"),
                    "COMPOSE_NAMES": f"kafka:9092={address} zookeeper:9092={address}",
                }
            )
            broker.send_signal(signal.SIGTERM)
            assert broker.wait(150) == 0
        finally:
            broker.kill()


def test_topics_a_message_and_topics_again(container):
    created = container.run(
        "kafka-topics.sh --create --zookeeper zookeeper:2181 --replication-factor 1 --partitions 1 --topic messages"
    )
    assert (created.returncode, created.stdout) == (0, "Created topic messages.\n")
    assert "WARNING" in created.stderr
    assert "--bootstrap-server zookeeper:9092" in created.stderr

    listed = container.run("kafka-topics.sh --list --zookeeper zookeeper:2181")
    assert (listed.returncode, listed.stdout) == (0, "messages\n")

    described = container.run("kafka-topics.sh --describe --zookeeper zookeeper:2181 --topic messages")
    assert described.returncode == 0
    heading, partition = described.stdout.splitlines()
    assert re.fullmatch(
        r"Topic: messages\tTopicId: [\w-]{22}\tPartitionCount: 1\tReplicationFactor: 1\tConfigs: ?.*", heading
    )
    assert partition.startswith("\tTopic: messages\tPartition: 0\tLeader: 1\tReplicas: 1\tIsr: 1")

    produced = container.run("kafka-console-producer.sh --broker-list kafka:9092 --topic messages", f"{MESSAGE}\n")
    assert produced.returncode == 0

    with container.running(
        "kafka-console-consumer.sh --bootstrap-server kafka:9092 --topic messages --from-beginning"
    ) as consumer:
        assert consumer.stdout.readline() == f"{MESSAGE}\n"

    deleted = container.run("kafka-topics.sh --delete --zookeeper zookeeper:2181 --topic messages")
    assert (deleted.returncode, deleted.stdout) == (0, "")
    # With and without .sh, as the packages of different makers have it.
    listed = container.run("kafka-topics --list --exclude-internal --bootstrap-server kafka:9092")
    assert (listed.returncode, listed.stdout.strip()) == (0, "")


def test_without_from_beginning_only_new_messages_appear(container):
    produce = "kafka-console-producer.sh --broker-list kafka:9092 --topic messages"
    container.run("kafka-topics.sh --create --bootstrap-server kafka:9092 --topic messages")
    container.run(produce, "old\n")

    with (
        container.running("kafka-console-consumer.sh --bootstrap-server kafka:9092 --topic messages") as consumer,
        container.running(produce) as producer,
    ):
        # The consumer says nothing when it is ready; what comes after that is new.
        while not select.select([consumer.stdout], [], [], 0.1)[0]:
            producer.stdin.write("new\n")
            producer.stdin.flush()

        assert consumer.stdout.readline() == "new\n"


def test_the_programs_of_the_example(container):
    container.run(
        "kafka-topics.sh --create --zookeeper zookeeper:2181 --partitions 1 --replication-factor 1 --topic messages"
    )
    folder = ROOT / "examples" / "messages"
    with (
        container.running("python producer.py kafka:9092", folder),
        container.running("python consumer.py kafka:9092", folder) as consumer,
    ):
        line = consumer.stdout.readline()

    assert re.fullmatch(r"partition 0 offset \d+: \{'user_id': \d+, 'recipient_id': \d+, 'message': '\w+'\}\n", line)
