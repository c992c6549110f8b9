"""Three brokers of the target under a controller of the same kind, while brokers fail and return."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from confluent_kafka.admin import NewTopic

from interop.case import Run, case
from interop.cluster import faults
from interop.cluster import run as cluster_run
from interop.cluster.rig import Rig
from interop.jars import ROOT

CLIENTS = ROOT / "interop" / "clients"


@contextmanager
def cluster(run: Run, brokers: int = 3) -> Iterator[Rig]:
    rig = Rig(run.folder, brokers=[run.target] * brokers, controllers=[run.target])
    try:
        rig.start()
        yield rig
    finally:
        rig.close()


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


def ride_through(run: Run, library: str) -> None:
    with cluster(run) as rig:
        make_topic(rig, "t")
        command = [sys.executable, "-W", "ignore", str(CLIENTS / "ride_through.py"), library, rig.bootstrap, "t", "g"]
        client = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            time.sleep(5)  # the clients write and read before the first kill
            killed = kill_leader_then_coordinator(rig, "t", "g")
            out, _ = client.communicate(timeout=240)
        finally:
            client.kill()
        found = json.loads(out)
        assert found["acknowledged"] > 500, (killed, found)
        assert not found["missing"], (killed, found)
        assert not found["errors"], (killed, found)


def ride(library: str) -> Callable[[Run], None]:
    def body(run: Run) -> None:
        ride_through(run, library)

    return body


for _library in ("confluent", "kafka-python"):
    case("cluster", "ride-through", _library)(ride(_library))


@case("cluster", "history", "kills-pauses-and-cuts")
def every_promise_is_kept(run: Run) -> None:
    with cluster(run) as rig:
        planned = faults.schedule(11, 6, brokers=(1, 2, 3), controllers=(3000,), kinds=faults.KINDS)
        outcome = cluster_run.run(rig, planned, seed=11)
        assert outcome.is_good, [*outcome.failures, *map(str, outcome.violations)][:20]
