"""The image in real containers: the compose files, and Testcontainers for Java and Python.

What needs no container engine is tested by `tests/cli` (the entry point, compose files and command lines of
Testcontainers in a scratch root). These cases ask a real engine: see `interop.containers.engine` for what they need.
"""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec

from interop.brokers import PYTHON
from interop.case import Run, Skip, case
from interop.containers.engine import Compose, api, image
from interop.jars import ROOT, TOOLS, Missing, classpath
from interop.java import compile_program
from interop.waiting import wait_until

PROGRAMS = ROOT / "interop" / "containers"
PORTS = (9092, 9192, 9292)  # which the compose files publish
_READY_S = 90

_has_the_ports = threading.Lock()  # cases run in parallel


@case("containers", "compose", "one broker")
def one_broker(run: Run) -> None:
    with started(run, "docker-compose.yml") as compose:
        until_ready(lambda: compose.is_healthy("kafka"))
        topics = "kafka-topics.sh --bootstrap-server kafka:9092"
        assert compose.run("kafka", f"{topics} --create --topic messages") == "Created topic messages.\n"
        run.produce("messages", "kept", server="localhost:9092")
        compose.stop("kafka")
        compose.start("kafka")
        until_ready(lambda: compose.is_healthy("kafka"))
        assert run.consume("messages", 1, server="localhost:9092") == ["kept"]
        listed = compose.run("kafka", "kafka-topics.sh --zookeeper zookeeper:2181 --list").splitlines()
        assert listed == ["__consumer_offsets", "messages"], listed


@case("containers", "compose", "three brokers, one of them killed")
def three_brokers(run: Run) -> None:
    with started(run, "docker/cluster/kwire-controller.yml") as compose:
        for service in ("controller", "broker-1", "broker-2", "broker-3"):
            until_ready(partial(compose.is_healthy, service))
        topics = "kafka-topics.sh --bootstrap-server broker-1:9092"
        assert compose.run("broker-1", f"{topics} --create --topic messages") == "Created topic messages.\n"
        acknowledged = ("--producer-property", "acks=all")
        run.produce("messages", "1", "2", args=acknowledged, server="localhost:9092,localhost:9292")
        compose.kill("broker-2")
        run.produce("messages", "3", "4", args=acknowledged, server="localhost:9092,localhost:9292")
        assert run.consume("messages", 4, server="localhost:9292") == ["1", "2", "3", "4"]
        compose.start("broker-2")
        isr = f"{topics} --describe --topic messages"
        until_ready(lambda: compose.run("broker-1", isr).partition("Isr: ")[2].split()[0].count(",") == 2)


@case("containers", "Testcontainers", "Java: three classes")
def testcontainers_java(run: Run) -> None:
    jars = classpath("testcontainers")
    classes = TOOLS / "classes-testcontainers"
    compile_program(PROGRAMS / "TestcontainersModules.java", classes, jars)
    with api(run.folder) as environment:
        command = ["java", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", f"{classes}:{jars}"]
        finished = run.program([*command, "TestcontainersModules", image()], env=environment, timeout_s=300).ok()
    finished.prints("apache/kafka 0 armed 201", '"fired":2', "confluentinc/cp-kafka 0", "with ZooKeeper 0")


@case("containers", "Testcontainers", "Python")
def testcontainers_python(run: Run) -> None:
    if find_spec("testcontainers") is None:
        raise Missing("the Python packages testcontainers and packaging are not installed")
    with api(run.folder) as environment:
        command = [PYTHON, str(PROGRAMS / "testcontainers_module.py"), image()]
        finished = run.program(command, env={**environment, "PYTHONPATH": str(ROOT)}, timeout_s=300).ok()
    finished.prints("offset 0 fired 2")


@contextlib.contextmanager
def started(run: Run, file: str) -> Iterator[Compose]:
    """The services of a file. Skips where another process has one of their ports, or Apache Kafka is under test."""
    if run.target != "kwire":
        raise Skip("the image is kwire's")
    compose = Compose(ROOT / file)
    with _has_the_ports:
        for port in PORTS:
            with socket.socket() as probe:
                if probe.connect_ex(("localhost", port)) == 0:
                    raise Skip(f"port {port}, which the compose file publishes, is in use")
        try:
            compose.up()
            yield compose
        finally:
            compose.down()


def until_ready(holds: Callable[[], bool]) -> None:
    wait_until(holds, lambda: "not ready", timeout_s=_READY_S, pause_s=0.5)
