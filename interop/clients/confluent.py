"""confluent-kafka, which is librdkafka: every scenario with default settings unless the scenario is about a setting."""

import time

import confluent_kafka
import confluent_kafka.admin
from confluent_kafka import OFFSET_BEGINNING, AcknowledgeType, ConsumerGroupTopicPartitions, KafkaError, TopicPartition
from confluent_kafka.admin import (
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    OffsetSpec,
    ResourceType,
)
from scenarios import CODECS, main, same, security, shapes

SECURITY = {
    {
        "protocol": "security.protocol",
        "ca": "ssl.ca.location",
        "certificate": "ssl.certificate.location",
        "key": "ssl.key.location",
    }[name]: value
    for name, value in security().items()
}


def Producer(config: dict) -> confluent_kafka.Producer:  # noqa: N802 (in the place of the class)
    return confluent_kafka.Producer(SECURITY | config)


def Consumer(config: dict) -> confluent_kafka.Consumer:  # noqa: N802
    return confluent_kafka.Consumer(SECURITY | config)


def AdminClient(config: dict) -> confluent_kafka.admin.AdminClient:  # noqa: N802
    return confluent_kafka.admin.AdminClient(SECURITY | config)


def admin_client(bootstrap: str) -> confluent_kafka.admin.AdminClient:
    return AdminClient({"bootstrap.servers": bootstrap})


def done(futures: dict) -> dict:
    return {key: future.result(30) for key, future in futures.items()}


def make_topic(bootstrap: str, name: str, partitions: int = 1, configs: dict[str, str] | None = None) -> str:
    admin = admin_client(bootstrap)  # futures of a client that is collected are cancelled
    done(admin.create_topics([NewTopic(name, partitions, 1, config=configs or {})]))
    return name


def send(bootstrap: str, topic: str, records: list, **settings) -> None:
    failures: list = []
    producer = Producer(
        {"bootstrap.servers": bootstrap, **{key.replace("_", "."): value for key, value in settings.items()}}
    )
    for key, value, headers in records:
        producer.produce(
            topic, key=key, value=value, headers=headers, on_delivery=lambda err, _: err and failures.append(err)
        )
    same(producer.flush(60), 0)
    same(failures, [])


def collect(consumer: confluent_kafka.Consumer, count: int, timeout_s: float = 100) -> list:
    records: list = []
    deadline = time.monotonic() + timeout_s
    while len(records) < count and time.monotonic() < deadline:
        for record in consumer.consume(500, 0.2):
            if record.error():
                # A topic that was made a moment ago may be unknown to the consumer's first look.
                assert record.error().code() == KafkaError.UNKNOWN_TOPIC_OR_PART, record.error()
                continue
            records.append(record)
    same(len(records), count)
    return records


def read(bootstrap: str, topic: str, count: int, group: str = "", **settings) -> list:
    config = {"bootstrap.servers": bootstrap, "group.id": group or topic + "-readers", "auto.offset.reset": "earliest"}
    consumer = Consumer({**config, **{key.replace("_", "."): value for key, value in settings.items()}})
    consumer.subscribe([topic])
    records = collect(consumer, count)
    consumer.close()
    return records


def numbered(count: int) -> list:
    return [(b"k%d" % n, b"v%d" % n, []) for n in range(count)]


def round_trip(bootstrap: str, prefix: str) -> None:
    topic = make_topic(bootstrap, prefix, 3)
    send(bootstrap, topic, numbered(1000))
    seen = read(bootstrap, topic, 1000)
    same(sorted(record.value() for record in seen), sorted(value for _, value, _ in numbered(1000)))


def auto_create(bootstrap: str, prefix: str) -> None:
    send(bootstrap, prefix, numbered(10))
    same(len(read(bootstrap, prefix, 10)), 10)


def codecs(bootstrap: str, prefix: str) -> None:
    topic = make_topic(bootstrap, prefix)
    for codec in CODECS:
        send(bootstrap, topic, [(None, f"{codec}-{n}".encode() * 20, []) for n in range(100)], compression_type=codec)
    seen = [record.value() for record in read(bootstrap, topic, 100 * len(CODECS))]
    same(seen, [f"{codec}-{n}".encode() * 20 for codec in CODECS for n in range(100)])


def acks(bootstrap: str, prefix: str) -> None:
    topic = make_topic(bootstrap, prefix)
    for wanted in ("0", "1", "all"):
        send(bootstrap, topic, [(None, wanted.encode(), [])] * 10, acks=wanted)
    same(sorted(r.value() for r in read(bootstrap, topic, 30)), sorted([b"0"] * 10 + [b"1"] * 10 + [b"all"] * 10))


def record_shapes(bootstrap: str, prefix: str) -> None:
    topic = make_topic(bootstrap, prefix)
    send(bootstrap, topic, shapes())
    seen = [(r.key(), r.value(), list(r.headers() or [])) for r in read(bootstrap, topic, len(shapes()))]
    same(seen, shapes())


def megabyte(bootstrap: str, prefix: str) -> None:
    topic = make_topic(bootstrap, prefix)
    send(bootstrap, topic, [(None, b"m" * 990_000, [])] * 3)
    same([len(record.value()) for record in read(bootstrap, topic, 3)], [990_000] * 3)


def idempotent(bootstrap: str, prefix: str) -> None:
    topic = make_topic(bootstrap, prefix, 2)
    send(bootstrap, topic, numbered(5000), enable_idempotence=True)
    same(len({record.value() for record in read(bootstrap, topic, 5000)}), 5000)


def poll_until(consumers: list, condition, what: str, timeout_s: float = 100) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"not in {timeout_s} s: {what}: {[len(c.assignment()) for c in consumers]}"
        for consumer in consumers:
            consumer.consume(100, 0.1)


def group(bootstrap: str, prefix: str, **settings) -> None:
    topic = make_topic(bootstrap, prefix, 4)
    config = {"bootstrap.servers": bootstrap, "group.id": prefix, "auto.offset.reset": "earliest", **settings}
    first = Consumer(config)
    first.subscribe([topic])
    poll_until([first], lambda: len(first.assignment()) == 4, "one member owns all")
    second = Consumer(config)
    second.subscribe([topic])
    both = [first, second]
    poll_until(both, lambda: [len(c.assignment()) for c in both] == [2, 2], "two members share")
    same({tp.partition for c in both for tp in c.assignment()}, set(range(4)))
    first.close()
    poll_until([second], lambda: len(second.assignment()) == 4, "the one that stays takes over")
    send(bootstrap, topic, numbered(40))
    seen = collect(second, 40)
    same(sorted(r.value() for r in seen), sorted(value for _, value, _ in numbered(40)))
    second.close()
    send(bootstrap, topic, [(None, b"late", [])])
    same([r.value() for r in read(bootstrap, topic, 1, group=prefix)], [b"late"])


def roundrobin(bootstrap: str, prefix: str) -> None:
    group(bootstrap, prefix, **{"partition.assignment.strategy": "roundrobin"})


def cooperative(bootstrap: str, prefix: str) -> None:
    group(bootstrap, prefix, **{"partition.assignment.strategy": "cooperative-sticky"})


def new_group_protocol(bootstrap: str, prefix: str) -> None:
    group(bootstrap, prefix, **{"group.protocol": "consumer"})


def share_group(bootstrap: str, prefix: str) -> None:
    """What is accepted or rejected does not come again; what is released does, with a higher delivery count."""
    topic = make_topic(bootstrap, prefix, 2)
    earliest = ConfigEntry("share.auto.offset.reset", "earliest", incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.GROUP, prefix, incremental_configs=[earliest])
    admin = admin_client(bootstrap)
    done(admin.incremental_alter_configs([resource]))
    send(bootstrap, topic, numbered(100))
    config = {
        "bootstrap.servers": bootstrap,
        "group.id": prefix,
        "share.acknowledgement.mode": "explicit",
        "log_level": 0,
    }
    members = [confluent_kafka.ShareConsumer(SECURITY | config) for _ in range(2)]
    for member in members:
        member.subscribe([topic])
    settled: set[bytes] = set()
    again: set[bytes] = set()
    deadline = time.monotonic() + 60
    while len(settled) < 100 and time.monotonic() < deadline:
        for member in members:
            records = [record for record in member.poll(0.2) if record.error() is None]
            for record in records:
                value = record.value()
                same(record.delivery_count(), 2 if value in again else 1)
                if int(value[1:]) % 2 == 0 and value not in again:
                    again.add(value)
                    member.acknowledge(record, AcknowledgeType.RELEASE)
                    continue
                assert value not in settled, f"{value!r} came again"
                settled.add(value)
                member.acknowledge(record, AcknowledgeType.REJECT if value.endswith(b"9") else AcknowledgeType.ACCEPT)
            if records:
                same([error for error in member.commit_sync(20.0).values() if error is not None], [])
    same((len(settled), len(again)), (100, 50))
    for member in members:
        member.close()


def static(bootstrap: str, prefix: str) -> None:
    topic = make_topic(bootstrap, prefix, 2)
    config = {
        "bootstrap.servers": bootstrap,
        "group.id": prefix,
        "group.instance.id": "one",
        "auto.offset.reset": "earliest",
    }
    for _ in range(2):
        consumer = Consumer(config)
        consumer.subscribe([topic])
        poll_until([consumer], lambda c=consumer: len(c.assignment()) == 2, "a static member owns both, and again")
        consumer.close()


def commit_and_seek(bootstrap: str, prefix: str) -> None:
    topic = make_topic(bootstrap, prefix)
    send(bootstrap, topic, numbered(50))
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": prefix, "enable.auto.commit": False})
    consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
    consumer.commit(offsets=[TopicPartition(topic, 0, 17, metadata="half way")], asynchronous=False)
    (committed,) = consumer.committed([TopicPartition(topic, 0)], 20)
    same((committed.offset, committed.metadata), (17, "half way"))
    same(consumer.get_watermark_offsets(TopicPartition(topic, 0), 20), (0, 50))
    consumer.close()


def seek_by_time(bootstrap: str, prefix: str) -> None:
    topic = make_topic(bootstrap, prefix)
    producer = Producer({"bootstrap.servers": bootstrap, "compression.type": "lz4"})
    base = int(time.time()) * 1000 - 100_000_000  # yesterday: the default retention keeps it
    for n in range(100):
        producer.produce(topic, b"%d" % n, timestamp=base + n * 1000)
    producer.flush()
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": prefix})
    same(consumer.offsets_for_times([TopicPartition(topic, 0, base + 41_500)], 20)[0].offset, 42)
    consumer.close()


def pause(bootstrap: str, prefix: str) -> None:
    topic = make_topic(bootstrap, prefix, 2)
    producer = Producer({"bootstrap.servers": bootstrap})
    for partition in (0, 1):
        producer.produce(topic, b"p%d" % partition, partition=partition)
    producer.flush()
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": prefix})
    both = [TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in (0, 1)]
    consumer.assign(both)
    consumer.pause([both[1]])
    same([r.value() for r in collect(consumer, 1)], [b"p0"])
    same([r for r in consumer.consume(1, 0.5) if not r.error()], [])
    consumer.resume([both[1]])
    same([r.value() for r in collect(consumer, 1)], [b"p1"])
    consumer.close()


def administer(bootstrap: str, prefix: str) -> None:
    admin = admin_client(bootstrap)
    done(admin.create_topics([NewTopic(prefix, 2, 1, config={"retention.ms": "1000000"})]))
    assert prefix in admin.list_topics(timeout=20).topics
    done(admin.create_partitions([NewPartitions(prefix, 5)]))
    same(len(admin.list_topics(prefix, timeout=20).topics[prefix].partitions), 5)
    resource = ConfigResource(ResourceType.TOPIC, prefix)
    (configs,) = done(admin.describe_configs([resource])).values()
    same(configs["retention.ms"].value, "1000000")
    change = ConfigEntry("retention.ms", "2000000", incremental_operation=AlterConfigOpType.SET)
    done(admin.incremental_alter_configs([ConfigResource(ResourceType.TOPIC, prefix, incremental_configs=[change])]))
    (configs,) = done(admin.describe_configs([resource])).values()
    same(configs["retention.ms"].value, "2000000")
    send(bootstrap, prefix, numbered(10))
    tp = TopicPartition(prefix, 0)
    (listed,) = done(admin.list_offsets({tp: OffsetSpec.latest()})).values()
    assert listed.offset >= 0
    wish = [ConsumerGroupTopicPartitions(prefix, [TopicPartition(prefix, 0, 1)])]
    done(admin.alter_consumer_group_offsets(wish))
    (offsets,) = done(admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(prefix)])).values()
    same(offsets.topic_partitions[0].offset, 1)
    assert prefix in [g.group_id for g in admin.list_consumer_groups().result(30).valid]
    (described,) = done(admin.describe_consumer_groups([prefix])).values()
    same(described.group_id, prefix)
    done(admin.delete_consumer_groups([prefix]))
    (deleted,) = done(admin.delete_records([TopicPartition(prefix, 0, -1)])).values()
    assert deleted.low_watermark >= 0
    (cluster,) = [admin.describe_cluster().result(30)]
    same(len(cluster.nodes), 1)
    done(admin.delete_topics([prefix]))
    assert prefix not in admin.list_topics(timeout=20).topics


def transactions(bootstrap: str, prefix: str) -> None:
    topic = make_topic(bootstrap, prefix)
    producer = Producer({"bootstrap.servers": bootstrap, "transactional.id": prefix})
    producer.init_transactions(30)
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": prefix, "enable.auto.commit": False})
    for n in range(6):
        producer.begin_transaction()
        producer.produce(topic, b"tx-%d" % n)
        producer.send_offsets_to_transaction([TopicPartition(topic, 0, n)], consumer.consumer_group_metadata())
        if n % 2:
            producer.abort_transaction(30)
        else:
            producer.commit_transaction(30)
    seen = read(bootstrap, topic, 3, group=prefix + "-committed", isolation_level="read_committed")
    same([r.value() for r in seen], [b"tx-0", b"tx-2", b"tx-4"])
    (committed,) = consumer.committed([TopicPartition(topic, 0)], 20)
    same(committed.offset, 4)
    consumer.close()


SCENARIOS = {
    "round-trip": round_trip,
    "auto-create": auto_create,
    "codecs": codecs,
    "acks": acks,
    "shapes": record_shapes,
    "megabyte": megabyte,
    "idempotent": idempotent,
    "group": group,
    "roundrobin": roundrobin,
    "cooperative": cooperative,
    "new-group-protocol": new_group_protocol,
    "share-group": share_group,
    "static": static,
    "commit-and-seek": commit_and_seek,
    "seek-by-time": seek_by_time,
    "pause": pause,
    "admin": administer,
    "transactions": transactions,
}

if __name__ == "__main__":
    main(SCENARIOS)
