"""The container image's entry point and layout, in a scratch root: no container engine is needed."""

import http.client
import json
import re
import signal
import socket
import subprocess
import sys
import tomllib
from contextlib import contextmanager
from pathlib import Path

import pytest
from image_root import ImageRoot
from kafka import KafkaAdminClient

from kwire.testing.clusters.nodes import free_ports

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def image(tmp_path):
    return ImageRoot(tmp_path / "root")


@contextmanager
def entrypoint(image, **variables):
    """The entry point as the image runs it; gives the process, which must end cleanly by SIGTERM."""
    log = image.path.parent / "log"
    with log.open("w") as stderr:
        process = subprocess.Popen(
            [image.path / "opt/kafka/entrypoint.sh"],
            env={**image.environment, **variables},
            cwd=image.path / "home/kwire",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )
    try:
        yield process
        process.send_signal(signal.SIGTERM)
        assert process.wait(150) == 0, log.read_text()
    finally:
        process.kill()
        process.stdout.close()
        process.wait()


def log_of(image):
    return (image.path.parent / "log").read_text()


def cluster_of(port):
    admin = KafkaAdminClient(bootstrap_servers=f"localhost:{port}")
    try:
        return admin.describe_cluster()
    finally:
        admin.close()


def serve_settings(image, **variables):
    """The settings that the image's broker would run with, by key."""
    shown = subprocess.run(
        [image.path / "etc/kafka/docker/settings", "config", "--changed", "--json"],
        env={**image.environment, **variables},
        capture_output=True,
        text=True,
        check=True,
    )
    return {line["key"]: line["value"] for line in json.loads(shown.stdout)}


def test_without_variables_it_listens_on_every_interface_and_keeps_data_in_the_volume(image):
    settings = serve_settings(image)

    assert settings["listeners"] == "PLAINTEXT://0.0.0.0:9092"
    assert settings["log.dirs"] == f"{image.path}/var/lib/kafka/data"
    assert "VOLUME /var/lib/kafka/data" in (ROOT / "Dockerfile").read_text()


def test_it_serves_and_prints_what_programs_wait_for(image):
    with entrypoint(image, KAFKA_LISTENERS="PLAINTEXT://0.0.0.0:0") as process:
        ready = process.stdout.readline()
        assert re.fullmatch(r"ready PLAINTEXT://0\.0\.0\.0:\d+\n", ready)
        assert "Transitioning from RECOVERY to RUNNING" in process.stdout.readline()
        assert cluster_of(ready.rsplit(":", 1)[1].strip())["brokers"][0]["host"] == "localhost"
    assert (image.path / "var/lib/kafka/data/meta.properties").exists()


def test_variables_open_the_control_interface_for_other_machines_with_a_token(image):
    variables = {"KWIRE_CONTROL": "0.0.0.0:0", "KWIRE_CONTROL_TOKEN": "secret", "KWIRE_CONSOLE": "1"}
    with entrypoint(image, KAFKA_LISTENERS="PLAINTEXT://0.0.0.0:0", **variables) as process:
        lines = iter(process.stdout.readline, "")
        address = next(line for line in lines if line.startswith("control ")).split()[1]
        port = int(address.rpartition(":")[2])
        assert [status_of(port, "/v1/topics", token) for token in (None, "wrong", "secret")] == [401, 401, 200]
        assert status_of(port, "/console/", None) == 200


def status_of(port, path, token):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request("GET", path, headers={} if token is None else {"Authorization": f"Bearer {token}"})
        return connection.getresponse().status
    finally:
        connection.close()


def test_the_control_interface_needs_a_token_there(image):
    refused = subprocess.run(
        [image.path / "opt/kafka/entrypoint.sh"],
        env={**image.environment, "KWIRE_CONTROL": "0.0.0.0:9644"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert refused.returncode != 0
    assert "--control 0.0.0.0 can be reached by others: add --control-token" in refused.stderr


def test_the_image_has_the_packages_of_the_test_bench():
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert re.search(r"pip wheel .* '\.\[control,schemas\]'", dockerfile)
    assert re.search(r"pip install .* 'kwire\[control,schemas\]'", dockerfile)
    assert "EXPOSE 9092 9644" in dockerfile
    assert {"control", "schemas"} <= set(
        tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    )


def test_variables_of_well_known_compose_files(image):
    (port,) = free_ports(1)
    with entrypoint(
        image,
        KAFKA_ADVERTISED_LISTENERS=f"PLAINTEXT://127.0.0.1:{port}",
        KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR="1",
        KAFKA_ZOOKEEPER_CONNECT="zookeeper:2181",
        KAFKA_VERSION="4.3.1",
        KAFKA_OPTS="-Xmx1g",
        KAFKA_NUM_PARTITONS="3",
        KAFKA_PARTITIONS_NUM="3",
        CLUSTER_ID="4L6g3nShT-eMCtK--X86sw",
    ) as process:
        assert process.stdout.readline() == f"ready PLAINTEXT://:{port}\n"
        cluster = cluster_of(port)
        assert cluster["cluster_id"] == "4L6g3nShT-eMCtK--X86sw"
        assert (cluster["brokers"][0]["host"], cluster["brokers"][0]["port"]) == ("127.0.0.1", port)
    warnings = [line for line in log_of(image).splitlines() if "warning" in line]
    assert len(warnings) == 3
    assert "OPEN TO OTHER MACHINES" in warnings[2]
    assert "zookeeper.connect" in warnings[1]
    assert "KAFKA_NUM_PARTITONS, KAFKA_PARTITIONS_NUM" in warnings[0]


def test_variables_of_the_bitnami_image_are_accepted(image):
    port, controller = free_ports(2)
    with entrypoint(
        image,
        KAFKA_CFG_NODE_ID="0",
        KAFKA_CFG_PROCESS_ROLES="controller,broker",
        KAFKA_CFG_CONTROLLER_QUORUM_VOTERS="0@kafka:9093",
        KAFKA_CFG_CONTROLLER_LISTENER_NAMES="CONTROLLER",
        KAFKA_CFG_LISTENERS=f"PLAINTEXT://:{port},CONTROLLER://:{controller}",
        KAFKA_CFG_ADVERTISED_LISTENERS=f"PLAINTEXT://127.0.0.1:{port}",
        KAFKA_CFG_LISTENER_SECURITY_PROTOCOL_MAP="CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
        KAFKA_KRAFT_CLUSTER_ID="4L6g3nShT-eMCtK--X86sw",
        ALLOW_PLAINTEXT_LISTENER="yes",
    ) as process:
        assert process.stdout.readline() == f"ready PLAINTEXT://:{port}\n"
        cluster = cluster_of(port)
    assert cluster["cluster_id"] == "4L6g3nShT-eMCtK--X86sw"
    assert cluster["controller_id"] == 0
    warnings = [line for line in log_of(image).splitlines() if "OPEN TO OTHER MACHINES" in line]
    assert [f":{one}" in line for one, line in zip((port, controller), warnings, strict=True)] == [True, True]


def test_variables_of_the_wurstmeister_image_are_accepted(image):
    (port,) = free_ports(1)
    with entrypoint(
        image,
        KAFKA_ADVERTISED_HOST_NAME="127.0.0.1",
        KAFKA_ADVERTISED_PORT=str(port),
        KAFKA_PORT=str(port),
        KAFKA_CREATE_TOPICS="a:2:1,b:1:1:compact",
    ) as process:
        assert process.stdout.readline() == f"ready PLAINTEXT://:{port}\n"
        admin = KafkaAdminClient(bootstrap_servers=f"localhost:{port}")
        topics = {topic["name"]: len(topic["partitions"]) for topic in admin.describe_topics(["a", "b"])}
        admin.close()
    assert topics == {"a": 2, "b": 1}


def test_a_mounted_file_takes_the_place_of_the_defaults(image, tmp_path):
    (image.path / "mnt/shared/config").mkdir(parents=True)
    (image.path / "mnt/shared/config/server.properties").write_text(
        f"process.roles=broker,controller\nnode.id=7\ncontroller.quorum.voters=7@localhost:9093\n"
        f"listeners=PLAINTEXT://localhost:0,CONTROLLER://localhost:0\ncontroller.listener.names=CONTROLLER\n"
        f"log.dirs={tmp_path / 'elsewhere'}\n"
    )
    with entrypoint(image) as process:
        assert process.stdout.readline().startswith("ready PLAINTEXT://localhost:")
    assert "node.id=7" in (tmp_path / "elsewhere" / "meta.properties").read_text()


def test_arguments_are_run_instead():
    finished = subprocess.run(
        [ROOT / "docker" / "entrypoint.sh", "echo", "hello"], capture_output=True, text=True, check=True
    )
    assert finished.stdout == "hello\n"


def test_zookeeper_server_start_listens_on_its_client_port(image, tmp_path):
    (port,) = free_ports(1)
    (tmp_path / "zookeeper.properties").write_text(f"dataDir=/var/lib/zookeeper\nclientPort={port}\n")
    with subprocess.Popen(
        [sys.executable, image.path / "opt/kafka/bin/zookeeper-server-start", tmp_path / "zookeeper.properties"],
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert (
                process.stderr.readline()
                == f"Kafka 4 does not use ZooKeeper: port {port} answers ruok and nothing else.\n"
            )
            connected = connect(port)
            connected.sendall(b"ruok")
            assert connected.recv(10) == b"imok"
            connected.close()
        finally:
            process.kill()


def connect(port):
    while True:
        try:
            return socket.create_connection(("localhost", port))
        except ConnectionRefusedError:
            continue


def test_the_image_is_built_from_what_is_here():
    dockerfile = (ROOT / "Dockerfile").read_text()
    for name in re.findall(r"^COPY (?!--)(\S+(?: \S+)*) \S+$", dockerfile, re.MULTILINE):
        for source in name.split():
            assert (ROOT / source).exists(), source


def test_start_scripts_of_other_images_may_change_the_files_that_they_change():
    owned = re.search(r"chown -R kwire (.*)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)[1].split()

    assert {"/etc/kafka", "/etc/confluent", "/var/lib/kafka"} <= set(owned)


def settings_given(image, tmp_path, **variables):
    """The environment in which the image would run kwire."""
    (tmp_path / "bin").mkdir()
    fake = tmp_path / "bin" / "kwire"
    fake.write_text("#!/bin/sh\nenv\n")
    fake.chmod(0o755)
    environment = {**image.environment, **variables}
    environment["PATH"] = f"{tmp_path / 'bin'}:{environment['PATH']}"
    command = [image.path / "etc/kafka/docker/settings", "serve"]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert ran.stderr == ""
    return dict(line.partition("=")[::2] for line in ran.stdout.splitlines())


def test_the_output_of_commands_is_in_the_settings(image, tmp_path):
    given = settings_given(
        image,
        tmp_path,
        HOSTNAME_COMMAND="echo my-host | tr a-z A-Z",
        PORT_COMMAND="echo 12345",
        RACK_COMMAND="echo 'rack one'",
        BROKER_ID_COMMAND="echo 7",
        KAFKA_ADVERTISED_LISTENERS="IN://_{HOSTNAME_COMMAND}:_{PORT_COMMAND},OUT://_{HOSTNAME_COMMAND}:1",
        KAFKA_LISTENERS="IN://:9092",
    )
    assert given["KAFKA_ADVERTISED_LISTENERS"] == "IN://MY-HOST:12345,OUT://MY-HOST:1"
    assert (given["KAFKA_LISTENERS"], given["KAFKA_BROKER_RACK"], given["KAFKA_BROKER_ID"]) == (
        "IN://:9092",
        "rack one",
        "7",
    )


def test_a_rack_that_is_given_goes_before_its_command(image, tmp_path):
    given = settings_given(image, tmp_path, RACK_COMMAND="echo a", KAFKA_BROKER_RACK="b")
    assert given["KAFKA_BROKER_RACK"] == "b"
    assert "KAFKA_BROKER_ID" not in given
