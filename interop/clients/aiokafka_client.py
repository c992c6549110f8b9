"""aiokafka: every scenario with default settings unless the scenario is about a setting."""

import asyncio
import time

import aiokafka
import aiokafka.admin
from aiokafka import TopicPartition
from aiokafka.admin import NewPartitions, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from scenarios import CODECS, main, same, secured, shapes

AIOKafkaConsumer = secured(aiokafka.AIOKafkaConsumer)
AIOKafkaProducer = secured(aiokafka.AIOKafkaProducer)
AIOKafkaAdminClient = secured(aiokafka.admin.AIOKafkaAdminClient)


async def make_topic(bootstrap: str, name: str, partitions: int = 1) -> str:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    answer = await admin.create_topics([NewTopic(name, partitions, 1)])
    same([error[1] for error in answer.topic_errors], [0])
    await admin.close()
    return name


async def send(bootstrap: str, topic: str, records: list, **settings) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, **settings)
    await producer.start()
    futures = [await producer.send(topic, key=key, value=value, headers=headers) for key, value, headers in records]
    await asyncio.gather(*futures)
    await producer.stop()


async def take(consumer: aiokafka.AIOKafkaConsumer, count: int) -> list:
    records: list = []
    async with asyncio.timeout(100):
        while len(records) < count:
            for batch in (await consumer.getmany(timeout_ms=500)).values():
                records += batch
    same(len(records), count)
    return records


async def read(bootstrap: str, topic: str, count: int, **settings) -> list:
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=bootstrap, auto_offset_reset="earliest", **settings)
    await consumer.start()
    try:
        return await take(consumer, count)
    finally:
        await consumer.stop()


def numbered(count: int) -> list:
    return [(b"k%d" % n, b"v%d" % n, []) for n in range(count)]


async def round_trip(bootstrap: str, prefix: str) -> None:
    topic = await make_topic(bootstrap, prefix, 3)
    await send(bootstrap, topic, numbered(1000))
    seen = await read(bootstrap, topic, 1000)
    same(sorted(record.value for record in seen), sorted(value for _, value, _ in numbered(1000)))


async def codecs(bootstrap: str, prefix: str) -> None:
    topic = await make_topic(bootstrap, prefix)
    for codec in CODECS:
        records = [(None, f"{codec}-{n}".encode() * 20, []) for n in range(100)]
        await send(bootstrap, topic, records, compression_type=codec)
    seen = [record.value for record in await read(bootstrap, topic, 100 * len(CODECS))]
    same(seen, [f"{codec}-{n}".encode() * 20 for codec in CODECS for n in range(100)])


async def acks(bootstrap: str, prefix: str) -> None:
    topic = await make_topic(bootstrap, prefix)
    for wanted in (0, 1, "all"):
        await send(bootstrap, topic, [(None, str(wanted).encode(), [])] * 10, acks=wanted)
    seen = sorted(record.value for record in await read(bootstrap, topic, 30))
    same(seen, sorted([b"0"] * 10 + [b"1"] * 10 + [b"all"] * 10))


async def record_shapes(bootstrap: str, prefix: str) -> None:
    topic = await make_topic(bootstrap, prefix)
    sendable = [(k, v, h) for k, v, h in shapes() if (k, v) != (None, None)]
    await send(bootstrap, topic, sendable)
    seen = [(r.key, r.value, list(r.headers)) for r in await read(bootstrap, topic, len(sendable))]
    same(seen, sendable)


async def megabyte(bootstrap: str, prefix: str) -> None:
    topic = await make_topic(bootstrap, prefix)
    await send(bootstrap, topic, [(None, b"m" * 1_000_000, [])] * 3)
    same([len(record.value) for record in await read(bootstrap, topic, 3)], [1_000_000] * 3)


async def idempotent(bootstrap: str, prefix: str) -> None:
    topic = await make_topic(bootstrap, prefix, 2)
    await send(bootstrap, topic, numbered(2000), enable_idempotence=True)
    same(len({record.value for record in await read(bootstrap, topic, 2000)}), 2000)


async def until(condition, what: str) -> None:
    try:
        async with asyncio.timeout(100):
            while not condition():  # noqa: ASYNC110 - the library has no event to wait for
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"not in 100 s: {what}") from None


async def group(bootstrap: str, prefix: str, **settings) -> None:
    topic = await make_topic(bootstrap, prefix, 4)
    members = []
    for expected in ([4], [2, 2]):
        member = AIOKafkaConsumer(
            topic,
            bootstrap_servers=bootstrap,
            group_id=prefix,
            auto_offset_reset="earliest",
            heartbeat_interval_ms=500,
            **settings,
        )
        await member.start()
        members.append(member)
        await until(lambda expected=expected: [len(m.assignment()) for m in members] == expected, str(expected))
    await members[0].stop()
    await until(lambda: len(members[1].assignment()) == 4, "the one that stays takes over")
    await send(bootstrap, topic, numbered(40))
    await take(members[1], 40)
    await members[1].stop()
    await send(bootstrap, topic, [(None, b"late", [])])
    same([r.value for r in await read(bootstrap, topic, 1, group_id=prefix)], [b"late"])


async def static(bootstrap: str, prefix: str) -> None:
    topic = await make_topic(bootstrap, prefix, 2)
    for _ in range(2):
        member = AIOKafkaConsumer(topic, bootstrap_servers=bootstrap, group_id=prefix, group_instance_id="one")
        await member.start()
        await until(lambda member=member: len(member.assignment()) == 2, "a static member owns both, and again")
        await member.stop()


async def seek_by_time(bootstrap: str, prefix: str) -> None:
    topic = await make_topic(bootstrap, prefix)
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, compression_type="gzip")
    await producer.start()
    base = int(time.time()) * 1000 - 100_000_000  # yesterday: the default retention keeps it
    await asyncio.gather(*[await producer.send(topic, b"%d" % n, timestamp_ms=base + n * 1000) for n in range(100)])
    await producer.stop()
    tp = TopicPartition(topic, 0)
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap)
    await consumer.start()
    same((await consumer.offsets_for_times({tp: base + 41_500}))[tp].offset, 42)
    same(((await consumer.beginning_offsets([tp]))[tp], (await consumer.end_offsets([tp]))[tp]), (0, 100))
    consumer.assign([tp])
    consumer.seek(tp, 95)
    same([r.offset for r in await take(consumer, 5)], [95, 96, 97, 98, 99])
    await consumer.stop()


async def pause(bootstrap: str, prefix: str) -> None:
    topic = await make_topic(bootstrap, prefix, 2)
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap)
    await producer.start()
    for partition in (0, 1):
        await producer.send_and_wait(topic, b"p%d" % partition, partition=partition)
    await producer.stop()
    both = [TopicPartition(topic, 0), TopicPartition(topic, 1)]
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    consumer.assign(both)
    consumer.pause(both[1])
    same([r.value for r in await take(consumer, 1)], [b"p0"])
    consumer.resume(both[1])
    same([r.value for r in await take(consumer, 1)], [b"p1"])
    await consumer.stop()


async def administer(bootstrap: str, prefix: str) -> None:
    await make_topic(bootstrap, prefix, 2)
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    assert prefix in await admin.list_topics()
    await admin.create_partitions({prefix: NewPartitions(5)})
    (described,) = await admin.describe_topics([prefix])
    same(len(described["partitions"]), 5)
    await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, prefix, {"retention.ms": "2000000"})])
    for _ in range(50):  # Apache answers before its broker has applied the change
        described = str(await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, prefix)]))
        if "2000000" in described:
            break
        await asyncio.sleep(0.1)
    assert "2000000" in described, described
    await send(bootstrap, prefix, numbered(10))
    await read(bootstrap, prefix, 10, group_id=prefix)
    assert prefix in [name for name, *_ in await admin.list_consumer_groups()]
    offsets = await admin.list_consumer_group_offsets(prefix)
    same(sum(entry.offset for entry in offsets.values()), 10)
    await admin.delete_topics([prefix])
    await admin.close()


async def transactions(bootstrap: str, prefix: str) -> None:
    topic = await make_topic(bootstrap, prefix)
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, transactional_id=prefix)
    await producer.start()
    for n in range(6):
        await producer.begin_transaction()
        await producer.send_and_wait(topic, b"tx-%d" % n)
        await (producer.abort_transaction() if n % 2 else producer.commit_transaction())
    await producer.stop()
    seen = await read(bootstrap, topic, 3, isolation_level="read_committed")
    same([r.value for r in seen], [b"tx-0", b"tx-2", b"tx-4"])


def synchronous(body):
    return lambda bootstrap, prefix: asyncio.run(body(bootstrap, prefix))


SCENARIOS = {
    "round-trip": synchronous(round_trip),
    "codecs": synchronous(codecs),
    "acks": synchronous(acks),
    "shapes": synchronous(record_shapes),
    "megabyte": synchronous(megabyte),
    "idempotent": synchronous(idempotent),
    "group": synchronous(group),
    "static": synchronous(static),
    "seek-by-time": synchronous(seek_by_time),
    "pause": synchronous(pause),
    "admin": synchronous(administer),
    "transactions": synchronous(transactions),
}

if __name__ == "__main__":
    main(SCENARIOS)
