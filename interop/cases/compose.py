"""docker/cluster/apache-controller.yml without docker: the services as processes with the environment of the file.

The controller is configured by the program of the official image that turns its environment into settings and formats
the directory (kafka.docker.KafkaDockerWrapper), then started as the image does.
"""

import os
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

from interop.brokers import wait_until_serving
from interop.case import Run, case
from interop.cluster.rig import JVM, Node
from interop.jars import ROOT, classpath, need

sys.path.append(str(ROOT / "tests" / "cli"))


@case("cluster", "compose", "three kwire brokers and the controller of the official image")
def official_controller(run: Run) -> None:
    from compose_services import FILES, NODES, Compose, in_sync
    from image_root import ImageRoot

    compose = Compose(ImageRoot(run.folder / "root"), FILES["apache"].read_text())
    with ExitStack() as stack:
        controller = Node(100, "apache", run.folder / "controller", True, compose.ports["controller"])
        controller.folder.mkdir()
        stack.callback(controller.kill)
        start_controller(controller, compose.settings("controller"))
        brokers = []
        for name in NODES[1:]:
            brokers.append(stack.enter_context(compose.start(name)))
            stack.callback(brokers[-1].kill)
        for process in brokers:
            wait_for_ready(process, controller)
        wait_until_serving(controller.port, controller.process, controller)  # type: ignore[arg-type]
        topics = "kafka-topics.sh --bootstrap-server broker-1:9092"
        assert compose.run(f"{topics} --create --topic messages") == "Created topic messages.\n"
        described = in_sync(compose, f"{topics} --describe --topic messages")
        assert "ReplicationFactor: 3" in described, described
        identity = "kafka-cluster.sh cluster-id --bootstrap-server broker-3:9092"
        assert compose.run(identity) == f"Cluster ID: {compose.settings('controller')['CLUSTER_ID']}\n"
        quorum = compose.run("kafka-metadata-quorum.sh --bootstrap-server broker-1:9092 describe --status")
        assert "LeaderId:               100" in quorum, quorum
        for process in brokers:
            process.send_signal(signal.SIGTERM)
            output, _ = process.communicate(timeout=60)
            assert process.returncode == 0, output
        controller.stop()


def start_controller(controller: Node, settings: dict[str, str]) -> None:
    """Configure and start the controller as the image does with these variables."""
    configs = {name: controller.folder / name for name in ("default", "mounted", "final")}
    for folder in configs.values():
        folder.mkdir()
    hosts = controller.folder / "hosts"
    hosts.write_text("127.0.0.1 controller localhost\n")  # the name in the network of the file
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("KAFKA_", "KWIRE_"))}
    java = [need("java"), *JVM, f"-Djdk.net.hosts.file={hosts}", "-cp", classpath()]
    arguments = [f"--{name}-configs-dir={folder}" for name, folder in configs.items()]
    prepared = subprocess.run(
        [*java, "kafka.docker.KafkaDockerWrapper", "setup", *arguments],
        env={**environment, **settings}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert prepared.returncode == 0, prepared.stdout + prepared.stderr
    file = configs["final"] / "server.properties"
    assert "controller.quorum.voters=100@controller:9093" in file.read_text(), file.read_text()
    assert (Path(settings["KAFKA_LOG_DIRS"]) / "meta.properties").exists(), prepared.stdout
    with controller.log.open("ab") as log:
        controller.process = subprocess.Popen(
            [*java, "kafka.Kafka", str(file)], env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )


def wait_for_ready(process: subprocess.Popen[str], controller: Node) -> None:
    """Read the output of a broker until it is ready."""
    assert process.stdout is not None
    lines: list[str] = []
    for line in process.stdout:
        lines.append(line)
        if line.startswith("ready "):
            return
    raise AssertionError(f"a broker ended: {''.join(lines)}\n{controller.tail()}")
