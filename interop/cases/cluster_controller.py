"""Brokers of Apache Kafka under kwire's controller: requests while all run, and failures of each.

Each case begins with a cluster of its own: a kwire controller, a Java broker of the current release and one of 4.3.1.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

import confluent_kafka
import confluent_kafka.admin

from interop.case import Run, case
from interop.cluster.rig import APACHE, KWIRE, Rig
from interop.waiting import wait_until

OLDER = "4.3.1"
OLDER_METADATA_VERSION = "4.3-IV0"
TOPIC = "life"


def java_brokers(folder: Path) -> Rig:
    """A cluster of two Java brokers under a kwire controller."""
    rig = Rig(folder, brokers=(APACHE, APACHE), controllers=(KWIRE,), settings={"min.insync.replicas": "1"})
    rig.broker(2).release = OLDER
    rig.controllers[0].format_arguments = ("--release-version", OLDER_METADATA_VERSION)
    return rig


@case("cluster", "java brokers", "two Java brokers under kwire's controller")
def java_brokers_serve_requests(run: Run) -> None:
    with java_brokers(run.folder / "java-brokers") as rig:
        create(rig)
        write(rig, 0, 100)
        read_in_group(rig, 100)
        commit_transaction(rig)
        describes_quorum(run, rig)
        reassign(run, rig)
        client = rig.admin()
        client.delete_topics([TOPIC])[TOPIC].result(30)


@case("cluster", "java brokers", "Java brokers that are killed or stopped return, and so does the controller")
def java_brokers_fail_and_return(run: Run) -> None:
    with java_brokers(run.folder / "java-brokers") as rig:
        create(rig)
        write(rig, 0, 100)
        rig.broker(1).kill()
        wait_for_leaders(rig, without=1)
        write(rig, 100, 200)
        rig.broker(1).start()
        rig.broker(1).wait()
        rig.wait_in_sync()
        rig.broker(2).stop()  # a controlled shutdown
        wait_for_leaders(rig, without=2)
        write(rig, 200, 300)
        rig.broker(2).start()
        rig.broker(2).wait()
        rig.wait_in_sync()
        read_in_group(rig, 300)
        restart_controller(rig)
        write(rig, 300, 310)


def create_topic(rig: Rig, topic: confluent_kafka.admin.NewTopic) -> None:
    client = rig.admin()  # kept until the answer is there
    client.create_topics([topic], request_timeout=20)[topic.topic].result(30)


def create(rig: Rig) -> None:
    create_topic(rig, confluent_kafka.admin.NewTopic(TOPIC, num_partitions=4, replication_factor=2))
    rig.wait_in_sync()
    assert sorted(set(rig.leaders(TOPIC).values())) == [1, 2]


def write(rig: Rig, first: int, end: int) -> None:
    """Write the numbers ``first`` to ``end`` with acks=all; each must be acknowledged."""
    failures = []
    producer = confluent_kafka.Producer({"bootstrap.servers": rig.bootstrap, "acks": "all", "log_level": 0})
    for number in range(first, end):
        producer.produce(
            TOPIC,
            str(number),
            partition=number % 4,
            on_delivery=lambda error, _: failures.append(error) if error else None,
        )
    left = producer.flush(60)
    assert (left, failures) == (0, []), rig.tails()


def read_in_group(rig: Rig, count: int, group: str = "readers") -> None:
    consumer = confluent_kafka.Consumer(
        {
            "bootstrap.servers": rig.bootstrap,
            "group.id": group,
            "auto.offset.reset": "earliest",
            "isolation.level": "read_committed",
            "log_level": 0,
        }
    )
    consumer.subscribe([TOPIC])
    found, deadline = set(), time.monotonic() + 60
    while len(found) < count and time.monotonic() < deadline:
        record = consumer.poll(1)
        if record is not None and not record.error():
            found.add(record.value())
    consumer.commit(asynchronous=False)
    consumer.close()
    assert found >= {str(number).encode() for number in range(count)}, f"{len(found)} of {count}\n{rig.tails()}"


def commit_transaction(rig: Rig) -> None:
    producer = confluent_kafka.Producer({"bootstrap.servers": rig.bootstrap, "transactional.id": "t", "log_level": 0})
    producer.init_transactions(60)
    for ends_well in (False, True):
        producer.begin_transaction()
        producer.produce(TOPIC, "transactional", partition=0)
        producer.flush(30)
        (producer.commit_transaction if ends_well else producer.abort_transaction)(30)


def describes_quorum(run: Run, rig: Rig) -> None:
    told = run.tool("metadata-quorum", "--bootstrap-server", rig.bootstrap, "describe", "--replication").ok().out
    rows = {row.split()[0]: row.split() for row in told.splitlines()[1:] if row.strip()}
    assert rows["3000"][-1] == "Leader", told
    assert [rows[node][-1] for node in ("1", "2")] == ["Observer", "Observer"], told
    status = run.tool("metadata-quorum", "--bootstrap-server", rig.bootstrap, "describe", "--status").ok().out
    assert "LeaderId:               3000" in status, status


def wait_for_leaders(rig: Rig, *, without: int) -> None:
    wait_until(
        lambda: not {without, -1} & set(rig.leaders(TOPIC).values()),
        lambda: f"the leaders are {rig.leaders(TOPIC)}\n{rig.tails()}",
    )


def reassign(run: Run, rig: Rig) -> None:
    """Move the only replica of a partition from one broker to the other, with the official tool."""
    create_topic(rig, confluent_kafka.admin.NewTopic("moved", num_partitions=1, replica_assignment=[[1]]))
    plan = run.folder / "move.json"
    plan.write_text(json.dumps({"version": 1, "partitions": [{"topic": "moved", "partition": 0, "replicas": [2]}]}))
    at = ("--bootstrap-server", rig.bootstrap, "--reassignment-json-file", str(plan))
    run.tool("reassign-partitions", *at, "--execute").ok()

    def placed() -> tuple[int, list[int], list[int]]:
        partition = rig.admin().list_topics("moved", timeout=10).topics["moved"].partitions[0]
        return partition.leader, partition.replicas, partition.isrs

    wait_until(lambda: placed() == (2, [2], [2]), lambda: f"not moved: {placed()}\n{rig.tails()}")


def restart_controller(rig: Rig) -> None:
    """Kill the controller and start it again: brokers go on with the registrations that they had."""
    controller = rig.controllers[0]
    controller.kill()
    controller.start()
    controller.wait()
    topic = confluent_kafka.admin.NewTopic("after", num_partitions=2, replication_factor=2)
    deadline = time.monotonic() + 60
    while True:
        try:
            create_topic(rig, topic)
        except confluent_kafka.KafkaException as error:
            if time.monotonic() > deadline:
                raise AssertionError(f"{error}\n{rig.tails()}") from error
            time.sleep(0.5)  # a poll, bounded above
        else:
            break
    rig.wait_in_sync()
