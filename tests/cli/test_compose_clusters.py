"""The clusters of docker/cluster: brokers and a controller of kwire, and what the official image needs."""

import re
import signal
from contextlib import ExitStack

import pytest
from compose_services import FILES, NODES, Compose, in_sync, settings_of
from image_root import ImageRoot


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
            output, _ = process.communicate(timeout=150)
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
    # Its start script ends with an error where a controller has this variable.
    assert "KAFKA_ADVERTISED_LISTENERS" not in controller
    assert controller["KAFKA_CONTROLLER_QUORUM_VOTERS"] == f"{controller['KAFKA_NODE_ID']}@controller:9093"
