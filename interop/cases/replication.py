"""A broker of the target and a Java broker replicate to each other under an official controller.

Each case ends with both brokers stopped and their logs compared byte for byte; the official dump-log reads both.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Mapping
from pathlib import Path

import confluent_kafka
from confluent_kafka import ElectionType, TopicPartition
from confluent_kafka.admin import NewTopic

from interop.case import Run, case
from interop.cluster.proxy import Mode
from interop.cluster.replicas import compare, log_bytes, partition_directories
from interop.cluster.rig import APACHE, Rig
from interop.waiting import wait_until

TOPIC = "copied"
OURS, JAVA = 1, 2


def pair(run: Run, **settings: str) -> Rig:
    """Broker 1 is of the target, broker 2 and the controller are Java."""
    names = {name.replace("_", "."): value for name, value in settings.items()}
    return Rig(
        run.folder,
        brokers=(run.target, APACHE),
        controllers=(APACHE,),
        settings={"min.insync.replicas": "1", "num.replica.fetchers": "1"} | names,
        replication_factor=2,
    )


def create(rig: Rig, **configs: str) -> None:
    """A topic of two partitions: each broker leads one."""
    topic = NewTopic(
        TOPIC,
        num_partitions=2,
        replica_assignment=[[OURS, JAVA], [JAVA, OURS]],
        config={name.replace("_", "."): value for name, value in configs.items()},
    )
    admin = rig.admin()
    admin.create_topics([topic])[TOPIC].result(30)
    rig.wait_in_sync()


def write(
    rig: Rig,
    count: int,
    *,
    codec: str = "none",
    value_bytes: int = 100,
    only: int | None = None,
    at: int | None = None,
) -> None:
    """Write with acks=all to both partitions, or to one; each record must be acknowledged.

    ``at``: the broker to ask for metadata, where the other one has old metadata.
    """
    failures: list[object] = []
    producer = confluent_kafka.Producer(
        {
            "bootstrap.servers": rig.bootstrap if at is None else f"127.0.0.1:{rig.broker(at).port}",
            "acks": "all",
            "compression.type": codec,
            "linger.ms": 5,
            "enable.idempotence": True,
            "log_level": 0,
        }
    )
    for number in range(count):
        producer.produce(
            TOPIC,
            str(number).encode().ljust(value_bytes, b"."),
            key=str(number % 50),
            partition=number % 2 if only is None else only,
            on_delivery=lambda error, _: failures.append(error) if error else None,
        )
        producer.poll(0)
    left = producer.flush(90)
    assert (left, failures[:3]) == (0, []), rig.tails()


def transact(rig: Rig) -> None:
    producer = confluent_kafka.Producer({"bootstrap.servers": rig.bootstrap, "transactional.id": "t", "log_level": 0})
    producer.init_transactions(60)
    for ends_well in (True, False, True):
        producer.begin_transaction()
        for number in range(20):
            producer.produce(TOPIC, f"in a transaction {number}", partition=number % 2)
        producer.flush(30)
        (producer.commit_transaction if ends_well else producer.abort_transaction)(30)


def wait_for_leaders(rig: Rig, wanted: Mapping[int, int]) -> None:
    wait_until(
        lambda: rig.leaders(TOPIC) == wanted,
        lambda: f"the leaders are not {wanted}\n{rig.tails()}",
        not_yet=(confluent_kafka.KafkaException,),
    )


def elect_preferred(rig: Rig) -> None:
    """Elect until each broker leads its partition; a broker that is not unfenced yet cannot be elected."""
    admin, wanted = rig.admin(), {0: OURS, 1: JAVA}
    partitions = [TopicPartition(TOPIC, index) for index in wanted]

    def elected() -> bool:
        with contextlib.suppress(confluent_kafka.KafkaException):  # one that needs no election is an error
            admin.elect_leaders(ElectionType.PREFERRED, partitions).result(30)
        return rig.leaders(TOPIC) == wanted

    wait_until(
        elected,
        lambda: f"the leaders are not {wanted}\n{rig.tails()}",
        pause_s=0.5,
        not_yet=(confluent_kafka.KafkaException,),
    )


def bounce(rig: Rig, node_id: int, *, in_order: bool) -> None:
    """Stop or kill a broker, write while it is away, and let it catch up."""
    node, other = rig.broker(node_id), JAVA if node_id == OURS else OURS
    if in_order:
        node.stop()
    else:
        node.kill()
    wait_for_leaders(rig, {0: other, 1: other})
    write(rig, 400, codec="lz4")
    node.start()
    node.wait()
    rig.wait_in_sync()
    elect_preferred(rig)


def assert_equal_logs(run: Run, rig: Rig) -> None:
    """Stop both brokers in order; then their logs must be the same bytes, and readable."""
    rig.broker(OURS).stop()
    rig.broker(JAVA).stop()
    differences = compare(rig.data(), only=[TOPIC])
    assert not differences, [str(one) for one in differences]
    ends = {node.id: [dump(run, path) for path in directories(node.data)] for node in rig.brokers}
    assert ends[OURS] == ends[JAVA], ends
    assert min(ends[OURS]) > 0


def directories(data: Path) -> list[Path]:
    return [path for name, path in sorted(partition_directories(data).items()) if name.startswith(f"{TOPIC}-")]


def dump(run: Run, directory: Path) -> int:
    """Return the last offset that the official dump-log finds in the log of a partition."""
    logs = ",".join(str(path) for path in sorted(directory.glob("*.log")))
    printed = run.tool("dump-log", "--files", logs).out
    assert "isvalid: false" not in printed.lower(), printed[-2000:]
    return max(int(one) for one in re.findall(r"lastOffset: (\d+)", printed))


@case("cluster", "replication", "logs are equal through kills", smoke=True)
def through_kills(run: Run) -> None:
    with pair(run) as rig:
        create(rig)
        for codec in ("none", "gzip", "zstd"):
            write(rig, 300, codec=codec)
        transact(rig)
        for node_id, in_order in ((OURS, False), (JAVA, False), (OURS, True), (JAVA, True)):
            bounce(rig, node_id, in_order=in_order)
        write(rig, 100)
        rig.wait_in_sync()
        assert_equal_logs(run, rig)


@case("cluster", "replication", "divergence is cut")
def divergence(run: Run) -> None:
    """A leader that is cut off writes what is not committed; it must give that up when it returns."""
    # A follower that is slow must not leave the ISR before its leader is cut off: then there is no other leader.
    with pair(run, unclean_leader_election_enable="false", replica_lag_time_max_ms="30000") as rig:
        create(rig, min_insync_replicas="1")
        write(rig, 100)
        for leader, partition in ((OURS, 0), (JAVA, 1)):
            cut_leader_writes_alone(rig, leader, partition)
            elect_preferred(rig)
        write(rig, 50)
        assert_equal_logs(run, rig)


def cut_leader_writes_alone(rig: Rig, leader: int, partition: int) -> None:
    """acks=1 to a leader that neither the other broker nor the controller reaches."""
    other = JAVA if leader == OURS else OURS
    controller = rig.controllers[0].id
    alone = confluent_kafka.Producer(
        {"bootstrap.servers": f"127.0.0.1:{rig.broker(leader).port}", "acks": 1, "log_level": 0}
    )
    alone.list_topics(TOPIC, timeout=10)
    rig.network.set(leader, other, Mode.CUT)
    rig.network.set(leader, controller, Mode.CUT)
    for number in range(5):
        alone.produce(TOPIC, f"not committed {number}", partition=partition)
    assert alone.flush(10) == 0
    wait_for_leaders_at(rig, other, {partition: other})
    write(rig, 20, only=partition, at=other)
    rig.network.heal()
    rig.wait_in_sync()


def wait_for_leaders_at(rig: Rig, node_id: int, wanted: Mapping[int, int]) -> None:
    """Ask one broker, because the other one has old metadata."""

    def are_leaders() -> bool:
        client = confluent_kafka.Producer(
            {"bootstrap.servers": f"127.0.0.1:{rig.broker(node_id).port}", "log_level": 0}
        )
        found = client.list_topics(TOPIC, timeout=10).topics[TOPIC].partitions
        return all(found[index].leader == leader for index, leader in wanted.items())

    wait_until(are_leaders, lambda: f"the leaders are not {wanted}\n{rig.tails()}", pause_s=0.3)


@case("cluster", "replication", "catch-up rate")
def catch_up(run: Run) -> None:
    """How fast each broker copies 200 MB that were written while it was away; printed, and the logs are equal."""
    with pair(run) as rig:
        create(rig)
        for node_id, partition in ((OURS, 1), (JAVA, 0)):
            node = rig.broker(node_id)
            node.kill()
            wait_for_leaders(rig, {0: 3 - node_id, 1: 3 - node_id})
            write(rig, 10_000, value_bytes=20_000, only=partition)
            node.start()
            node.wait()
            path = node.data / f"{TOPIC}-{partition}"  # made when the broker copies its first records
            goal = len(log_bytes(partition_directories(rig.broker(3 - node_id).data)[f"{TOPIC}-{partition}"]))
            begun, first = time.monotonic(), size_of(path)
            while (size := size_of(path)) < goal and time.monotonic() < begun + 120:
                time.sleep(0.01)  # a poll, bounded above
            took = time.monotonic() - begun
            print(f"{node.name}: {(size - first) / 1e6:.0f} MB in {took:.1f} s, {(size - first) / 1e6 / took:.0f} MB/s")
            assert size == goal
            rig.wait_in_sync()
            elect_preferred(rig)
        assert_equal_logs(run, rig)


def size_of(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.glob("*.log"))
