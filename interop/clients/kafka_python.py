"""kafka-python: every scenario with the library's default settings unless the scenario is about a setting."""

import threading
import time

import kafka
from kafka import OffsetAndMetadata, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, NewPartitions, NewTopic
from scenarios import CODECS, main, same, secured, shapes

KafkaAdminClient = secured(kafka.KafkaAdminClient)
KafkaConsumer = secured(kafka.KafkaConsumer)
KafkaProducer = secured(kafka.KafkaProducer)


def make_topic(bootstrap: str, name: str, partitions: int = 1, configs: dict[str, str] | None = None) -> str:
    admin = KafkaAdminClient(bootstrap_servers=bootstrap)
    admin.create_topics([NewTopic(name, partitions, 1, topic_configs=configs or {})])
    admin.close()
    return name


def send(bootstrap: str, topic: str, records: list, **settings) -> None:
    producer = KafkaProducer(bootstrap_servers=bootstrap, **settings)
    futures = [producer.send(topic, key=key, value=value, headers=headers) for key, value, headers in records]
    producer.flush()
    for future in futures:
        future.get(timeout=30)
    producer.close()


def read(bootstrap: str, topic: str, count: int, **settings) -> list:
    consumer = KafkaConsumer(
        topic, bootstrap_servers=bootstrap, auto_offset_reset="earliest", consumer_timeout_ms=90_000, **settings
    )
    records = []
    for record in consumer:
        records.append(record)
        if len(records) == count:
            break
    consumer.close()
    same(len(records), count)
    return records


def numbered(count: int) -> list:
    return [(b"k%d" % n, b"v%d" % n, []) for n in range(count)]


def round_trip(bootstrap: str, prefix: str) -> None:
    topic = make_topic(bootstrap, prefix, 3)
    send(bootstrap, topic, numbered(1000))
    seen = read(bootstrap, topic, 1000)
    same(sorted(record.value for record in seen), sorted(value for _, value, _ in numbered(1000)))
    for partition in range(3):
        offsets = [record.offset for record in seen if record.partition == partition]
        same(offsets, list(range(len(offsets))))


def codecs(bootstrap: str, prefix: str) -> None:
    topic = make_topic(bootstrap, prefix)
    for codec in CODECS:
        send(bootstrap, topic, [(None, f"{codec}-{n}".encode() * 20, []) for n in range(100)], compression_type=codec)
    seen = [record.value for record in read(bootstrap, topic, 100 * len(CODECS))]
    same(seen, [f"{codec}-{n}".encode() * 20 for codec in CODECS for n in range(100)])


def acks(bootstrap: str, prefix: str) -> None:
    topic = make_topic(bootstrap, prefix)
    for wanted in (0, 1, "all"):
        send(bootstrap, topic, [(None, str(wanted).encode(), [])] * 10, acks=wanted, enable_idempotence=False)
    same(
        sorted(record.value for record in read(bootstrap, topic, 30)), sorted([b"0"] * 10 + [b"1"] * 10 + [b"all"] * 10)
    )


def record_shapes(bootstrap: str, prefix: str) -> None:
    topic = make_topic(bootstrap, prefix)
    sendable = [shape for shape in shapes() if shape[:2] != (None, None)]
    send(bootstrap, topic, sendable)
    seen = [(record.key, record.value, list(record.headers)) for record in read(bootstrap, topic, len(sendable))]
    same(seen, sendable)


def megabyte(bootstrap: str, prefix: str) -> None:
    topic = make_topic(bootstrap, prefix)
    send(bootstrap, topic, [(None, b"m" * 1_000_000, [])] * 3)
    same([len(record.value) for record in read(bootstrap, topic, 3)], [1_000_000] * 3)


def idempotent(bootstrap: str, prefix: str) -> None:
    topic = make_topic(bootstrap, prefix, 2)
    send(bootstrap, topic, numbered(2000), enable_idempotence=True, linger_ms=1)
    same(len({record.value for record in read(bootstrap, topic, 2000)}), 2000)


class Member(threading.Thread):
    """A consumer in a group that notes what it owns and what it reads until told to stop."""

    def __init__(self, bootstrap: str, topic: str, group: str, **settings) -> None:
        super().__init__(daemon=True)
        self.settings = {"bootstrap_servers": bootstrap, "group_id": group, "auto_offset_reset": "earliest", **settings}
        self.topic = topic
        self.owned: frozenset = frozenset()
        self.seen: list = []
        self.stopping = False
        self.start()

    def run(self) -> None:
        consumer = KafkaConsumer(self.topic, **self.settings)
        while not self.stopping:
            # Not less: kafka-python 3.0 forgets a join of which the answer comes after the poll that began it.
            for records in consumer.poll(timeout_ms=2000).values():
                self.seen += [record.value for record in records]
            self.owned = frozenset(tp.partition for tp in consumer.assignment())
        consumer.close()

    def stop(self) -> None:
        self.stopping = True
        self.join(30)


def until(condition, what: str, timeout_s: float = 100) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"not in {timeout_s} s: {what}"
        time.sleep(0.05)  # a poll, bounded above


def group(bootstrap: str, prefix: str, **settings) -> None:
    topic = make_topic(bootstrap, prefix, 4)
    send(bootstrap, topic, numbered(100))
    first = Member(bootstrap, topic, prefix, **settings)
    until(lambda: len(first.seen) == 100 and len(first.owned) == 4, "one member reads all")
    second = Member(bootstrap, topic, prefix, **settings)
    until(lambda: len(first.owned) == 2 and len(second.owned) == 2, "two members share four partitions")
    same(first.owned | second.owned, frozenset(range(4)))
    first.stop()
    until(lambda: len(second.owned) == 4, "the one that stays takes over")
    send(bootstrap, topic, [(b"x%d" % n, b"late-%d" % n, []) for n in range(20)])
    until(lambda: len(second.seen) == 20, "only what was not committed is read again")
    second.stop()
    same(sorted(second.seen), sorted(b"late-%d" % n for n in range(20)))


def cooperative(bootstrap: str, prefix: str) -> None:
    from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor as Cooperative

    group(bootstrap, prefix, partition_assignment_strategy=[Cooperative])


def static(bootstrap: str, prefix: str) -> None:
    topic = make_topic(bootstrap, prefix, 2)
    send(bootstrap, topic, numbered(10))
    member = Member(bootstrap, topic, prefix, group_instance_id="one")
    until(lambda: len(member.seen) == 10, "a static member reads")
    member.stop()
    again = Member(bootstrap, topic, prefix, group_instance_id="one")
    until(lambda: len(again.owned) == 2, "it comes back and owns the same")
    admin = KafkaAdminClient(bootstrap_servers=bootstrap)
    described = str(admin.describe_groups([prefix]))
    assert "one" in described, described
    admin.close()
    again.stop()


def commit_and_seek(bootstrap: str, prefix: str) -> None:
    topic = make_topic(bootstrap, prefix)
    send(bootstrap, topic, numbered(50))
    tp = TopicPartition(topic, 0)
    consumer = KafkaConsumer(bootstrap_servers=bootstrap, group_id=prefix, enable_auto_commit=False)
    consumer.assign([tp])
    consumer.commit({tp: OffsetAndMetadata(17, "half way", -1)})
    same(consumer.committed(tp), 17)
    same(consumer.committed(tp, metadata=True).metadata, "half way")
    consumer.seek(tp, 45)
    seen: list = []
    while len(seen) < 5:
        seen += [record.offset for records in consumer.poll(1000).values() for record in records]
    same(seen, [45, 46, 47, 48, 49])
    same((consumer.beginning_offsets([tp])[tp], consumer.end_offsets([tp])[tp]), (0, 50))
    consumer.close()


def seek_by_time(bootstrap: str, prefix: str) -> None:
    topic = make_topic(bootstrap, prefix)
    producer = KafkaProducer(bootstrap_servers=bootstrap, compression_type="gzip", linger_ms=100)
    base = int(time.time()) * 1000 - 100_000_000  # yesterday: the default retention keeps it
    for n in range(100):
        producer.send(topic, b"%d" % n, timestamp_ms=base + n * 1000)
    producer.close()
    tp = TopicPartition(topic, 0)
    consumer = KafkaConsumer(bootstrap_servers=bootstrap)
    found = consumer.offsets_for_times({tp: base + 41_500})[tp]
    same((found.offset, found.timestamp), (42, base + 42_000))
    same(consumer.offsets_for_times({tp: base + 1_000_000})[tp], None)
    consumer.close()


def pause(bootstrap: str, prefix: str) -> None:
    topic = make_topic(bootstrap, prefix, 2)
    producer = KafkaProducer(bootstrap_servers=bootstrap)
    for partition in (0, 1):
        producer.send(topic, b"p%d" % partition, partition=partition)
    producer.close()
    both = [TopicPartition(topic, 0), TopicPartition(topic, 1)]
    consumer = KafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    consumer.assign(both)
    consumer.pause(both[1])
    seen: list = []
    until(lambda: seen.extend(r.value for rs in consumer.poll(200).values() for r in rs) or seen, "the other partition")
    same(seen, [b"p0"])
    consumer.resume(both[1])
    until(lambda: seen.extend(r.value for rs in consumer.poll(200).values() for r in rs) or len(seen) == 2, "resumed")
    consumer.close()


def administer(bootstrap: str, prefix: str) -> None:
    admin = KafkaAdminClient(bootstrap_servers=bootstrap)
    admin.create_topics([NewTopic(prefix, 2, 1, topic_configs={"retention.ms": "1000000"})])
    assert prefix in admin.list_topics()
    (described,) = admin.describe_topics([prefix])
    same(len(described["partitions"]), 2)
    admin.create_partitions({prefix: NewPartitions(5)})
    (described,) = admin.describe_topics([prefix])
    same(len(described["partitions"]), 5)
    resource = ConfigResource(ConfigResourceType.TOPIC, prefix)
    assert "1000000" in str(admin.describe_configs([resource]))
    admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, prefix, {"retention.ms": "2000000"})])
    assert "2000000" in str(admin.describe_configs([resource]))
    send(bootstrap, prefix, numbered(10))
    consumer = KafkaConsumer(bootstrap_servers=bootstrap, group_id=prefix)
    consumer.assign([TopicPartition(prefix, 0)])
    consumer.commit({TopicPartition(prefix, 0): OffsetAndMetadata(1, "", -1)})
    consumer.close()
    assert prefix in str(admin.list_groups())
    assert prefix in str(admin.describe_groups([prefix]))
    admin.delete_groups([prefix])
    assert prefix not in str(admin.list_groups())
    admin.delete_records({TopicPartition(prefix, 0): -1})
    admin.describe_cluster()
    admin.describe_log_dirs()
    admin.describe_features()
    admin.describe_metadata_quorum()
    admin.delete_topics([prefix])
    assert prefix not in admin.list_topics()
    admin.close()


def transactions(bootstrap: str, prefix: str) -> None:
    topic = make_topic(bootstrap, prefix)
    producer = KafkaProducer(bootstrap_servers=bootstrap, transactional_id=prefix)
    producer.init_transactions()
    for n in range(6):
        producer.begin_transaction()
        producer.send(topic, b"tx-%d" % n)
        producer.flush()
        if n % 2:
            producer.abort_transaction()
        else:
            producer.commit_transaction()
    producer.close()
    same([r.value for r in read(bootstrap, topic, 3, isolation_level="read_committed")], [b"tx-0", b"tx-2", b"tx-4"])
    same(len(read(bootstrap, topic, 6)), 6)


SCENARIOS = {
    "round-trip": round_trip,
    "codecs": codecs,
    "acks": acks,
    "shapes": record_shapes,
    "megabyte": megabyte,
    "idempotent": idempotent,
    "group": group,
    "cooperative": cooperative,
    "static": static,
    "commit-and-seek": commit_and_seek,
    "seek-by-time": seek_by_time,
    "pause": pause,
    "admin": administer,
    "transactions": transactions,
}

if __name__ == "__main__":
    main(SCENARIOS)
