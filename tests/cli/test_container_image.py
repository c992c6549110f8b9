"""The container image's entry point and layout, in a scratch folder: no image can be built on every machine."""

import os
import re
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

from kafka import KafkaAdminClient

ROOT = Path(__file__).parent.parent.parent


@contextmanager
def entrypoint(home, **variables):
    """The entry point as the image runs it; gives the process and the lines in which it says that it is ready."""
    environment = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "KWIRE_HOME": str(home),
        "KWIRE_MOUNTED_CONFIG": str(home / "mounted"),
        **variables,
    }
    with (home / "log").open("w") as log:
        process = subprocess.Popen(
            [ROOT / "docker" / "entrypoint.sh"],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    try:
        yield process
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.stdout.close()
        process.wait()


def image_home(folder):
    (folder / "config").mkdir()
    baked = (ROOT / "docker" / "server.properties").read_text()
    (folder / "config" / "server.properties").write_text(
        baked.replace("/var/lib/kafka/data", str(folder / "data")).replace(":9092", ":0")
    )
    return folder


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def cluster_of(port):
    admin = KafkaAdminClient(bootstrap_servers=f"localhost:{port}")
    try:
        return admin.describe_cluster()
    finally:
        admin.close()


def test_without_variables_it_serves_what_is_baked_in(tmp_path):
    with entrypoint(image_home(tmp_path)) as process:
        ready = process.stdout.readline()
        assert re.fullmatch(r"ready PLAINTEXT://0\.0\.0\.0:\d+\n", ready)
        assert cluster_of(ready.rsplit(":", 1)[1].strip())["brokers"][0]["host"] == "localhost"
    assert (tmp_path / "data" / "meta.properties").exists()


def test_the_variables_that_people_paste(tmp_path):
    port = free_port()
    with entrypoint(
        image_home(tmp_path),
        KAFKA_ADVERTISED_LISTENERS=f"PLAINTEXT://127.0.0.1:{port}",
        KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR="1",
        KAFKA_ZOOKEEPER_CONNECT="zookeeper:2181",
        KAFKA_VERSION="4.3.1",
        KAFKA_OPTS="-Xmx1g",
        CLUSTER_ID="4L6g3nShT-eMCtK--X86sw",
    ) as process:
        assert process.stdout.readline() == f"ready PLAINTEXT://0.0.0.0:{port}\n"
        cluster = cluster_of(port)
        assert cluster["cluster_id"] == "4L6g3nShT-eMCtK--X86sw"
        assert (cluster["brokers"][0]["host"], cluster["brokers"][0]["port"]) == ("127.0.0.1", port)
    assert "zookeeper.connect" in (tmp_path / "log").read_text()


def test_a_mounted_file_takes_the_place_of_the_baked_one(tmp_path):
    home = image_home(tmp_path)
    (home / "mounted").mkdir()
    (home / "mounted" / "server.properties").write_text(
        f"process.roles=broker,controller\nnode.id=7\ncontroller.quorum.voters=7@localhost:9093\n"
        f"listeners=PLAINTEXT://localhost:0,CONTROLLER://localhost:9093\ncontroller.listener.names=CONTROLLER\n"
        f"log.dirs={tmp_path / 'elsewhere'}\n"
    )
    with entrypoint(home) as process:
        assert process.stdout.readline().startswith("ready PLAINTEXT://localhost:")
    assert "node.id=7" in (tmp_path / "elsewhere" / "meta.properties").read_text()


def test_arguments_are_run_instead():
    finished = subprocess.run(
        [ROOT / "docker" / "entrypoint.sh", "echo", "hello"], capture_output=True, text=True, check=True
    )
    assert finished.stdout == "hello\n"


def test_the_image_is_built_from_what_is_here():
    dockerfile = (ROOT / "Dockerfile").read_text()
    for name in re.findall(r"^COPY (?!--)(\S+(?: \S+)*) \S+$", dockerfile, re.MULTILINE):
        for source in name.split():
            assert (ROOT / source).exists(), source
