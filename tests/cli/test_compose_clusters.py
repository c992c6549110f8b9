"""The clusters of docker/cluster, by the image's entry point with the settings of the files; docker alone is left out.

The names and ports of the compose network mean free ports of this machine (``compose_names/sitecustomize.py``).
"""

import re
import signal
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
from image_root import ImageRoot

from kwire.testing.local_nodes import free_ports

ROOT = Path(__file__).parent.parent.parent
FILES = {name: ROOT / "docker" / "cluster" / f"{name}-controller.yml" for name in ("kwire", "apache")}
NODES = ("controller", "broker-1", "broker-2", "broker-3")
PORTS = {"controller": 9093, "broker-1": 9092, "broker-2": 9092, "broker-3": 9092}


def settings_of(text, service):
    """The environment of a service, with the blocks that it takes in."""
    blocks = {
        name: dict(re.findall(r"^  (\w+): (.*)$", lines, re.MULTILINE))
        for name, lines in re.findall(r"^x-[a-z-]+: &([a-z-]+)\n((?:  .*\n)+)", text, re.MULTILINE)
    }
    (own,) = re.findall(rf"^  {service}:\n(?:    .*\n)*?    environment:\n((?:      .*\n)+)", text, re.MULTILINE)
    taken = re.search(r"<<: (.*)", own)[1]
    merged = {}
    for name in re.findall(r"\*([a-z-]+)", taken):
        merged |= blocks[name]
    return merged | dict(re.findall(r"^      (\w+): (.*)$", own, re.MULTILINE))


class Compose:
    """The services of a file as processes of one image; ``names`` says where each service listens."""

    def __init__(self, image, text):
        ports = dict(zip(NODES, free_ports(len(NODES)), strict=True))
        self.text = text
        self.names = " ".join(f"{name}:{PORTS[name]}=127.0.0.1:{port}" for name, port in ports.items())
        self.environment = {
            **image.environment,
            "PYTHONPATH": str(Path(__file__).parent / "compose_names"),
            "COMPOSE_NAMES": f"{self.names} localhost:9093=127.0.0.1:{ports['controller']}",
        }
        self.image = image
        self.ports = ports

    def start(self, name):
        settings = settings_of(self.text, name)
        listeners = settings["KAFKA_LISTENERS"].replace(f"0.0.0.0:{PORTS[name]}", f"127.0.0.1:{self.ports[name]}")
        settings["KAFKA_LISTENERS"] = listeners.replace("0.0.0.0:9094", "127.0.0.1:0")
        settings["KAFKA_LOG_DIRS"] = str(self.image.path / f"data-{name}")
        return subprocess.Popen(
            [self.image.path / "opt/kafka/entrypoint.sh"],
            env={**self.environment, **settings},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, line):
        return subprocess.run(
            line, shell=True, env=self.environment, capture_output=True, text=True, timeout=60, check=True
        ).stdout


@pytest.fixture
def compose(tmp_path):
    running = Compose(ImageRoot(tmp_path / "root"), FILES["kwire"].read_text())
    with ExitStack() as stack:
        processes = []
        for name in NODES:
            process = stack.enter_context(running.start(name))
            stack.callback(process.kill)
            processes.append(process)
        for process in processes:
            lines = iter(process.stdout.readline, "")
            assert any(line.startswith("ready ") for line in lines), "ended before it was ready"
        yield running
        for process in reversed(processes):  # brokers first: each hands its leaderships over
            process.send_signal(signal.SIGTERM)
            output, _ = process.communicate(timeout=60)
            assert process.returncode == 0, output


def test_three_brokers_and_a_controller_of_kwire(compose):
    """A topic has a replica on each broker, all in sync, and the controller's health check succeeds."""
    health = re.search(r"test: (.*)", compose.text)[1]
    assert "LeaderId:               100" in compose.run(health)
    identity = f"Cluster ID: {settings_of(compose.text, 'controller')['CLUSTER_ID']}\n"
    assert compose.run("kafka-cluster.sh cluster-id --bootstrap-controller localhost:9093") == identity
    assert compose.run("kafka-cluster.sh cluster-id --bootstrap-server broker-2:9092") == identity

    topics = "kafka-topics.sh --bootstrap-server broker-1:9092"
    assert compose.run(f"{topics} --create --topic messages") == "Created topic messages.\n"
    described = in_sync(compose, f"{topics} --describe --topic messages")
    assert "ReplicationFactor: 3" in described
    assert "min.insync.replicas=2" in described


def in_sync(compose, command):
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        described = compose.run(command)
        replicas = re.search(r"Isr: ([\d,]+)", described)[1]
        if len(replicas.split(",")) == 3:
            break
        time.sleep(0.1)  # a poll, bounded above
    return described


@pytest.mark.parametrize("name", NODES[1:])
def test_the_brokers_are_the_same_under_either_controller(name):
    ours, theirs = (settings_of(path.read_text(), name) for path in FILES.values())

    assert ours == theirs
    assert ours["KAFKA_NODE_ID"] == name[-1]
    assert ours["KAFKA_PROCESS_ROLES"] == "broker"


def test_the_official_controller_is_of_the_release_that_kwire_speaks():
    from kwire.kafka_release import RELEASE

    text = FILES["apache"].read_text()
    controller = settings_of(text, "controller")
    assert f"image: apache/kafka:{RELEASE}\n" in text
    assert controller["KAFKA_CONTROLLER_QUORUM_VOTERS"] == f"{controller['KAFKA_NODE_ID']}@controller:9093"
