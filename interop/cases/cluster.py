"""Three brokers of the target under a controller of the same kind, while brokers fail and return."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable

from confluent_kafka.admin import NewTopic

from interop.case import Run, case
from interop.cases.clients_other import franz_go
from interop.cluster import faults
from interop.cluster import run as cluster_run
from interop.cluster.rig import APACHE, JVM, Rig
from interop.jars import CURRENT, ROOT, classpath, need
from interop.java import CLASSES, compile_sources

CLIENTS = ROOT / "interop" / "clients"

# (bootstrap servers, topic, group) to the command of a program like clients/ride_through.py.
Command = Callable[[str, str, str], list[str]]


def cluster(run: Run, brokers: int = 3) -> Rig:
    return Rig(run.folder, brokers=[run.target] * brokers, controllers=[run.target])


def make_topic(rig: Rig, name: str, partitions: int = 3) -> None:
    admin = rig.admin()  # futures of a client that is collected are cancelled
    for future in admin.create_topics([NewTopic(name, partitions, 3)]).values():
        future.result(60)
    rig.wait_in_sync()


def coordinator_of(rig: Rig, group: str) -> int:
    """The node id of a group's coordinator."""
    admin = rig.admin()
    (future,) = admin.describe_consumer_groups([group]).values()
    found: int = future.result(30).coordinator.id
    return found


def kill_leader_then_coordinator(rig: Rig, topic: str, group: str) -> list[str]:
    """Kill, one after the other, the leader of partition 0 and the group's coordinator; both return."""
    killed = []
    for find in (lambda: rig.leaders(topic)[0], lambda: coordinator_of(rig, group)):
        node = rig.broker(find())
        killed.append(node.name)
        node.kill()
        time.sleep(5)  # clients write and read while the broker is away
        node.start()
        node.wait()
        rig.wait_in_sync()
        time.sleep(2)  # clients go on before the next kill
    return killed


def in_python(library: str) -> Command:
    return lambda server, topic, group: [
        sys.executable, "-W", "ignore", str(CLIENTS / "ride_through.py"), library, server, topic, group
    ]  # fmt: skip


def in_java(server: str, topic: str, group: str) -> list[str]:
    compile_sources()
    path = os.pathsep.join([classpath(), str(CLASSES / f"for-{CURRENT}")])
    quiet = "-Dorg.slf4j.simpleLogger.defaultLogLevel=error"
    return [need("java"), *JVM, quiet, "-cp", path, "RideThrough", server, topic, group]


def in_go(server: str, topic: str, _group: str) -> list[str]:
    return [*franz_go(), server, "ride-through", topic]


LIBRARIES: dict[str, Command] = {
    "confluent": in_python("confluent"),
    "kafka-python": in_python("kafka-python"),
    "java": in_java,
    "franz-go": in_go,
}


def ride_through(run: Run, make_command: Command) -> None:
    with cluster(run) as rig:
        make_topic(rig, "t")
        group = "t-readers"
        command = make_command(rig.bootstrap, "t", group)
        client = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            time.sleep(5)  # the clients write and read before the first kill
            killed = kill_leader_then_coordinator(rig, "t", group)
            out, _ = client.communicate(timeout=240)
        finally:
            client.kill()
        assert out.strip(), f"{command[0]} ended with {client.returncode} and printed nothing; killed: {killed}"
        found = json.loads(out.splitlines()[0])
        print(f"{killed} were killed: {found}")
        assert found["acknowledged"] > 500, (killed, found)
        assert not found["missing"], (killed, found)
        assert not found["errors"], (killed, found)


def ride(make_command: Command) -> Callable[[Run], None]:
    def body(run: Run) -> None:
        ride_through(run, make_command)

    return body


for _library, _command in LIBRARIES.items():
    case("cluster", "ride-through", _library)(ride(_command))


@case("cluster", "history", "kills-pauses-and-cuts")
def every_promise_is_kept(run: Run) -> None:
    with cluster(run) as rig:
        check_history(rig, seed=11, count=6)


def mixed(*others: str) -> Callable[[Run], None]:
    """A broker of the target beside others, under Apache Kafka's controller."""

    def body(run: Run) -> None:
        brokers = [run.target, *(other or run.target for other in others)]
        with Rig(run.folder, brokers=brokers, controllers=[APACHE]) as rig:
            check_history(rig, seed=12, count=4)

    return body


case("cluster", "history", "one-broker-beside-two-of-java")(mixed(APACHE, APACHE))
case("cluster", "history", "two-brokers-beside-one-of-java")(mixed("", APACHE))


def check_history(rig: Rig, *, seed: int, count: int) -> None:
    planned = faults.schedule(
        seed,
        count,
        brokers=[node.id for node in rig.brokers],
        controllers=[node.id for node in rig.controllers],
        kinds=faults.KINDS,
    )
    outcome = cluster_run.run(rig, planned, seed=seed)
    assert outcome.is_good, [*outcome.failures, *map(str, outcome.violations)][:20]
