"""Data directories with groups of all kinds: what one broker wrote of them, the other one goes on with."""

import time
from collections.abc import Callable
from typing import Any

from interop.brokers import Apache, Kwire, copy_data
from interop.case import Run, case
from interop.cases.shares import begin_at_the_start
from interop.waiting import wait_until
from kwire.cli.admin import groups as admin
from kwire.cli.admin import share_groups as shares
from kwire.cli.connections.client import Cluster
from kwire.cli.connections.connection import parse_addresses
from kwire.cli.records.share_consumer import REJECT, RELEASE, ShareConsumer, SharedRecord
from kwire.wire.messages import (
    StreamsGroupDescribeRequest,
    StreamsGroupDescribeResponse,
    StreamsGroupHeartbeatRequest,
    StreamsGroupHeartbeatResponse,
)

TOPIC = "of-all-kinds"
RECORDS = 20
PROTOCOLS = ("classic", "consumer")
SHARE = "share"
STREAMS = "streams"


def cluster_of(broker: Apache | Kwire) -> Cluster:
    return Cluster(parse_addresses(broker.bootstrap), timeout_s=40)


def write(broker: Apache | Kwire) -> None:
    """Members of each kind of group read and commit; of the share group's records, each has another fate."""
    from confluent_kafka import Producer
    from confluent_kafka.admin import AdminClient, NewTopic

    bootstrap = {"bootstrap.servers": broker.bootstrap}
    admin_client = AdminClient(bootstrap)
    admin_client.create_topics([NewTopic(TOPIC, 1, 1)])[TOPIC].result()
    producer = Producer(bootstrap)
    for number in range(RECORDS):
        producer.produce(TOPIC, b"%d" % number, partition=0)
    assert producer.flush(30) == 0
    for protocol in PROTOCOLS:
        assert len(consume(broker, protocol, 7)) == 7
    with cluster_of(broker) as cluster:
        begin_at_the_start(cluster, SHARE)
        consumer = ShareConsumer(cluster, SHARE, [TOPIC], records_max=8, strict=True)
        held = acquire(consumer, 8)
        for record in held:
            number = int(record.value or b"")
            if number < 6:
                consumer.acknowledge(record, (1, RELEASE, REJECT)[number % 3])
        assert consumer.commit() == []
        # The last two are held by a member that vanishes; the stop of the broker gives them back.
        assert has_all_tasks(cluster)
        cluster.close()


def has_all_tasks(cluster: Cluster) -> bool:
    """A member joins the streams group, gets its tasks, and vanishes."""
    info = StreamsGroupHeartbeatRequest.TopicInfo(
        name=f"{STREAMS}-changelog",
        topic_configs=[StreamsGroupHeartbeatRequest.KeyValue(key="cleanup.policy", value="compact")],
    )
    part = StreamsGroupHeartbeatRequest.Subtopology(
        subtopology_id="0", source_topics=[TOPIC], state_changelog_topics=[info]
    )
    member_id, epoch, owned = f"m{time.monotonic_ns()}", 0, []
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        joining = epoch == 0
        request = StreamsGroupHeartbeatRequest(
            group_id=STREAMS, member_id=member_id, member_epoch=epoch,
            rebalance_timeout_ms=5000 if joining else -1, process_id="p",
            topology=StreamsGroupHeartbeatRequest.Topology(subtopologies=[part]) if joining else None,
            active_tasks=owned, standby_tasks=[], warmup_tasks=[],
        )  # fmt: skip
        answer = cluster.call_on(cluster.coordinator(STREAMS), request, StreamsGroupHeartbeatResponse)
        assert not answer.error_code, answer
        epoch = answer.member_epoch
        if answer.active_tasks is not None:
            owned = [
                StreamsGroupHeartbeatRequest.TaskIds(subtopology_id=each.subtopology_id, partitions=each.partitions)
                for each in answer.active_tasks
            ]
        if [(each.subtopology_id, each.partitions) for each in owned] == [("0", [0])]:
            return True
        time.sleep(0.3)  # a poll, bounded above
    return False


def consume(broker: Apache | Kwire, protocol: str, count: int) -> list[bytes]:
    from confluent_kafka import Consumer

    consumer = Consumer({
        "bootstrap.servers": broker.bootstrap, "group.id": protocol, "group.protocol": protocol,
        "auto.offset.reset": "earliest", "enable.auto.commit": False, "enable.auto.offset.store": False,
    })  # fmt: skip
    consumer.subscribe([TOPIC])
    seen: list[bytes] = []
    deadline = time.monotonic() + 60
    while len(seen) < count:
        assert time.monotonic() < deadline, f"{protocol}: {seen}"
        record = consumer.poll(0.5)
        if record is not None and record.error() is None:
            seen.append(record.value())
            consumer.store_offsets(record)
    consumer.commit(asynchronous=False)
    consumer.close()
    return seen


def acquire(consumer: ShareConsumer, count: int) -> list[SharedRecord]:
    found: list[SharedRecord] = []
    deadline = time.monotonic() + 60
    while len(found) < count:
        assert time.monotonic() < deadline, found
        consumer.records_max = count - len(found)
        found += consumer.poll(500)
    return found


def state(broker: Apache | Kwire) -> dict[str, Any]:
    with cluster_of(broker) as cluster:
        listed = sorted((each.id, each.type, each.state) for each in admin.list_groups(cluster))
        starts = shares.share_start_offsets(cluster, SHARE)
        topic_id = cluster.metadata([TOPIC]).topics[0].topic_id
        group = shares.describe_share_group(cluster, SHARE)
        request = StreamsGroupDescribeRequest(group_ids=[STREAMS])
        streams = cluster.call_on(cluster.coordinator(STREAMS), request, StreamsGroupDescribeResponse).groups[0]
        return {
            "listed": listed,
            "committed": {one: {at: each.offset for at, each in admin.committed_offsets(cluster, one).items()}
                          for one in PROTOCOLS},
            "starts": {at: (each.offset, each.lag) for at, each in starts.items()},
            "deliveries": shares.delivery_counts(cluster, SHARE, TOPIC, topic_id, starts),
            "epochs": (group.epoch, group.assignment_epoch),
            "streams": (streams.group_epoch, streams.assignment_epoch, streams.topology and streams.topology.epoch),
        }  # fmt: skip


def without_members(broker: Apache | Kwire) -> dict[str, Any]:
    """The state, once all groups are loaded and sessions of members that vanished have ended."""
    found: dict[str, Any] = {}

    def all_are_empty() -> bool:
        nonlocal found
        found = state(broker)
        listed = {name: state for name, _, state in found["listed"]}
        return listed == dict.fromkeys((*PROTOCOLS, SHARE, STREAMS), "Empty")

    wait_until(all_are_empty, lambda: found, timeout_s=90, pause_s=0.5)
    return found


def handed_over(run: Run, writer: str, reader: str) -> None:
    settings = {
        "group.share.session.timeout.ms": "4000",
        "group.share.min.session.timeout.ms": "3000",
        "group.share.heartbeat.interval.ms": "1000",
        "group.share.min.heartbeat.interval.ms": "500",
        "group.streams.session.timeout.ms": "4000",
        "group.streams.min.session.timeout.ms": "3000",
        "group.streams.heartbeat.interval.ms": "1000",
        "group.streams.min.heartbeat.interval.ms": "500",
        "group.streams.initial.rebalance.delay.ms": "0",
    }
    make: Callable[..., Apache | Kwire] = run.own_broker
    first = make(settings, kind=writer)
    first.start()
    write(first)
    before = without_members(first)
    assert before["committed"] == {one: {(TOPIC, 0): 7} for one in PROTOCOLS}, before
    first.stop()
    second = make(settings, kind=reader, data=copy_data(first.data, run.folder / "copy"))
    second.start()
    after = without_members(second)
    assert after == before, f"written {before}\nserved  {after}"
    for protocol in PROTOCOLS:
        assert consume(second, protocol, 5) == [b"%d" % number for number in range(7, 12)]
    with cluster_of(second) as cluster:
        consumer = ShareConsumer(cluster, SHARE, [TOPIC], records_max=5, strict=True)
        again = [(int(each.value or b""), each.delivery_count) for each in acquire(consumer, 6)]
        # What was accepted or rejected does not come again; what was released and held does, and is counted.
        assert sorted(again) == [(1, 2), (4, 2), (6, 2), (7, 2), (8, 1), (9, 1)], again
        consumer.close()
        assert has_all_tasks(cluster)
    before = without_members(second)
    second.stop()
    third = make(settings, kind=writer, data=copy_data(second.data, run.folder / "copy-back"))
    third.start()
    after = without_members(third)
    assert after == before, f"written {before}\nserved  {after}"
    third.stop()


@case("datadirs", "groups of all kinds", "to-apache-and-back", requires=("ShareFetch", "ConsumerGroupHeartbeat"))
def to_apache(run: Run) -> None:
    handed_over(run, run.target, "apache")


@case("datadirs", "groups of all kinds", "from-apache-and-back", requires=("ShareFetch", "ConsumerGroupHeartbeat"))
def from_apache(run: Run) -> None:
    handed_over(run, "apache", run.target)


@case(
    "datadirs", "groups of all kinds", "from-apache-4.3.1-and-back", requires=("ShareFetch", "ConsumerGroupHeartbeat")
)
def from_the_release_before(run: Run) -> None:
    handed_over(run, "apache-4.3.1", run.target)
