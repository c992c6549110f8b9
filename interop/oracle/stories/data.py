"""Produce, Fetch, ListOffsets, OffsetForLeaderEpoch, DeleteRecords: what moves records."""

import base64
import time

from interop.oracle.asker import FIXED_TIME_MS, Asker, records, versions
from interop.oracle.story import story
from kwire.wire.batches.records import Record, build_batch

CODECS = {"none": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}


@story("Produce", smoke=True)
def produce_at_each_version(ask: Asker) -> None:
    topic = ask.topic("p", 2)
    for version in versions("Produce"):
        ask.produce(topic, records("a", "b"), version)
        ask.produce(topic, records("c"), version, acks=1, label="acks 1")
        ask.produce(topic, records("d"), version, acks=0, label="acks 0")
        ask.produce(topic, records("e"), version, acks=2, label="acks 2")
        ask.produce(topic, records("f"), version, partition=9, label="bad partition")
        if version < 13:
            ask.produce("no-such", records("f"), version, label="unknown topic")
            ask.produce("bad name", records("f"), version, label="bad name")
        else:
            ask.produce("", records("f"), version, topic_id="AAAAAAAAAAAAAAAAAAAAbg", label="unknown id")
            ask.produce("", records("f"), version, topic_id="AAAAAAAAAAAAAAAAAAAAAA", label="zero id")
    ask.fetch(topic)


@story("Produce")
def produce_damaged(ask: Asker) -> None:
    topic = ask.topic("p")
    good = records("a", "b")

    def patched(position: int, raw: bytes) -> bytes:
        return good[:position] + raw + good[position + len(raw) :]

    wrong = {
        # Null records are not asked about: Apache Kafka never answers them, nor anything behind them.
        "empty records": b"",
        "cut": good[:-3],
        "crc": patched(17, b"\0\0\0\0"),
        "magic 1": patched(16, b"\1"),
        "magic 3": patched(16, b"\3"),
        "magic 0": patched(16, b"\0"),
        "a byte too many": good + b"\0",
        "two batches": good + good,
        "length too small": patched(8, b"\0\0\0\1"),
        "length negative": patched(8, b"\xff\xff\xff\xff"),
        "base offset 7": patched(0, (7).to_bytes(8, "big")),
    }
    for label, batch in wrong.items():
        for version in (3, 9, 12):
            ask.produce(topic, batch, version, label=label)
    # From here on the CRC is right and the content is not.
    entries = [Record(n, FIXED_TIME_MS, b"k", b"v", ()) for n in range(3)]
    odd = {
        "control batch": build_batch(entries[:1], control=True),
        "a hole in the offsets": build_batch(
            [Record(0, FIXED_TIME_MS, None, b"a", ()), Record(2, FIXED_TIME_MS, None, b"b", ())]
        ),
        "log append time": build_batch(entries, log_append_time_ms=FIXED_TIME_MS),
        "transactional without an id": build_batch(
            entries, producer_id=1, producer_epoch=0, base_sequence=0, transactional=True
        ),
        "sequence without a producer": build_batch(entries, base_sequence=5),
        "producer without a sequence": build_batch(entries, producer_id=7, producer_epoch=0),
        "no timestamp": records("a", timestamp_ms=-1),
        "negative timestamp": records("a", timestamp_ms=-1000),
        "far in the future": records("a", timestamp_ms=int(time.time() * 1000) + 10**10),
    }
    for label, batch in odd.items():
        ask.produce(topic, batch, 9, label=label)
    ask.fetch(topic)


@story("Produce")
def produce_codecs(ask: Asker) -> None:
    values = [f"value {n} " * 20 for n in range(50)]
    for wanted in ("producer", "uncompressed", "gzip", "snappy", "lz4", "zstd"):
        topic = ask.topic(wanted, configs={"compression.type": wanted})
        for name, codec in CODECS.items():
            for version in (3, 6, 7, 11):
                ask.produce(topic, records(*values, codec=codec), version, label=f"{name} into {wanted}")
        answer = ask.fetch(topic, 0, note=False)
        stored = answer["responses"][0]["partitions"][0]
        seen = codecs_of(base64.b64decode(stored["records"]))
        ask.note(f"codecs in {wanted}", seen)
        ask.note(f"end of {wanted}", stored["highWatermark"])


def codecs_of(raw: bytes) -> list[int]:
    found, position = [], 0
    while position + 61 <= len(raw):
        found.append(raw[position + 22] & 7)
        position += 12 + int.from_bytes(raw[position + 8 : position + 12], "big")
    return found


@story("Produce")
def produce_against_topic_settings(ask: Asker) -> None:
    small = ask.topic("small", configs={"max.message.bytes": "1000"})
    ask.produce(small, records("x" * 2000), label="too large")
    ask.produce(small, records("x" * 100), label="small enough")
    ask.produce(small, records("x" * 2000, codec=1), label="small when compressed")
    ask.produce(small, records("a") + records("b"), label="two small ones")
    compact = ask.topic("compact", configs={"cleanup.policy": "compact"})
    ask.produce(compact, records("a", key=None), label="no key on a compacted topic")
    ask.produce(compact, records("a", "b", key=None, codec=2), label="no key, compressed")
    ask.produce(compact, records("a", key=b""), label="an empty key")
    strict = ask.topic(
        "strict", configs={"message.timestamp.before.max.ms": "60000", "message.timestamp.after.max.ms": "60000"}
    )
    now = int(time.time() * 1000)
    ask.produce(strict, records("a", timestamp_ms=now), label="now")
    ask.produce(strict, records("a", timestamp_ms=now - 600_000), label="too old")
    ask.produce(strict, records("a", timestamp_ms=now + 600_000), label="too new")
    ask.produce(strict, records("a", timestamp_ms=-1), label="no timestamp on a strict topic")
    stamped = ask.topic("stamped", configs={"message.timestamp.type": "LogAppendTime"})
    for codec in CODECS.values():
        ask.produce(stamped, records("a", "b", codec=codec), label=f"log append time, codec {codec}")
    ask.fetch(stamped)
    isr = ask.topic("isr", configs={"min.insync.replicas": "2"})
    ask.produce(isr, records("a"), label="not enough replicas")
    ask.produce(isr, records("a"), acks=1, label="not enough replicas, acks 1")
    roll = ask.topic("roll", configs={"segment.bytes": "1048576"})
    ask.produce(roll, records("x" * 1_040_000), label="nearly a segment")
    ask.produce(roll, records("x" * 1_040_000), label="the next segment")
    ask.produce(roll, records("x" * 1_047_000, "y" * 1000), label="larger than a segment")


@story("Produce", "InitProducerId")
def idempotent_producers(ask: Asker) -> None:
    topic = ask.topic("p", 2)
    body = {"transactionalId": None, "transactionTimeoutMs": 60000, "producerId": -1, "producerEpoch": -1}
    ask.each_version("InitProducerId", body)
    made = ask.ask("InitProducerId", 4, body)
    producer_id = made["producerId"]

    def batch(sequence: int, count: int = 1, *, epoch: int = 0, producer: int = producer_id) -> bytes:
        return records(*["v"] * count, producer_id=producer, producer_epoch=epoch, base_sequence=sequence)

    ask.produce(topic, batch(0), label="sequence 0")
    ask.produce(topic, batch(0), label="sequence 0 again")
    ask.produce(topic, batch(1, 5), label="sequence 1-5")
    ask.produce(topic, batch(6), label="sequence 6")
    ask.produce(topic, batch(1, 5), label="sequence 1-5 again")
    ask.produce(topic, batch(2, 2), label="sequence 2-3, inside one that was")
    ask.produce(topic, batch(9), label="sequence 9, a gap")
    for sequence in range(7, 13):
        ask.produce(topic, batch(sequence), label=f"sequence {sequence}")
    ask.produce(topic, batch(6), label="older than the five kept")
    ask.produce(topic, batch(0, epoch=1), label="epoch 1 from 0")
    ask.produce(topic, batch(13), label="old epoch")
    ask.produce(topic, batch(5, epoch=2), label="epoch 2 from 5")
    ask.produce(topic, batch(0, epoch=2), label="epoch 2 from 0")
    ask.produce(topic, batch(3), partition=1, label="first one is sequence 3")
    ask.produce(topic, batch(0, producer=999_999), partition=1, label="a producer id that was never allocated")
    ask.produce(topic, batch(1, 2) + batch(3, 1), label="two batches in one request")
    ask.fetch(topic)
    ask.each_version("DescribeProducers", {"topics": [{"name": topic, "partitionIndexes": [0, 1, 7]}]})
    for fields in (
        {"producerId": producer_id, "producerEpoch": 0},
        {"producerId": 5, "producerEpoch": -1},
        {"transactionalId": ""},
        {"transactionTimeoutMs": 0},
    ):
        ask.ask("InitProducerId", 4, {**body, **fields}, label=str(sorted(fields)))


@story("DescribeProducers")
def describe_producers_of_unknown_partitions(ask: Asker) -> None:
    for name in ("no-such", "bad name", ""):
        ask.each_version("DescribeProducers", {"topics": [{"name": name, "partitionIndexes": [0]}]}, label=repr(name))


@story("Fetch", smoke=True)
def fetch_at_each_version(ask: Asker) -> None:
    topic = ask.topic("f", 2)
    for n in range(5):
        ask.produce(topic, records(f"a{n}", f"b{n}"), note=False)
    for version in versions("Fetch"):
        ask.fetch(topic, 0, version)
        ask.fetch(topic, 3, version, label="from the middle of a batch")
        ask.fetch(topic, 10, version, label="at the end")
        ask.fetch(topic, 11, version, label="past the end")
        ask.fetch(topic, -1, version, label="negative offset")
        ask.fetch(topic, 0, version, partition=9, label="bad partition")
        ask.fetch(topic, 0, version, partitionMaxBytes=100, label="100 bytes a partition")
        ask.fetch(topic, 0, version, maxBytes=1, label="one byte at most")
        ask.fetch(topic, 0, version, partitionMaxBytes=0, label="no bytes a partition")
        ask.fetch(topic, 0, version, isolationLevel=1, label="read committed")
        ask.fetch(topic, 0, version, isolationLevel=7, label="isolation level 7")
        ask.fetch(topic, 0, version, minBytes=-1, maxWaitMs=-1, label="negative limits")
        ask.fetch(topic, 0, version, partitionMaxBytes=-1, label="negative bytes a partition")
        if version < 13:
            ask.fetch("no-such", 0, version, label="unknown topic")
        else:
            ask.fetch("", 0, version, topic_id="AAAAAAAAAAAAAAAAAAAAbg", label="unknown id")
            ask.fetch("", 0, version, topic_id="AAAAAAAAAAAAAAAAAAAAAA", label="zero id")
        if version >= 9:
            ask.fetch(topic, 0, version, currentLeaderEpoch=0, label="leader epoch 0")
            ask.fetch(topic, 0, version, currentLeaderEpoch=5, label="unknown leader epoch")
        if version >= 12:
            ask.fetch(topic, 5, version, lastFetchedEpoch=0, label="last fetched epoch 0")
            ask.fetch(topic, 5, version, lastFetchedEpoch=3, label="last fetched epoch 3")


@story("Fetch")
def fetch_several_partitions(ask: Asker) -> None:
    one, two = ask.topic("a", 2), ask.topic("b")
    for topic, partition in ((one, 0), (one, 1), (two, 0)):
        for n in range(4):
            ask.produce(topic, records("x" * 500, str(n)), partition=partition, note=False)
    for version in (4, 11, 12, 17):
        ids = {name: ask.topic_id(name) for name in (one, two)}

        def part(partition: int, offset: int = 0, limit: int = 1 << 20) -> dict:
            return {"partition": partition, "currentLeaderEpoch": -1, "fetchOffset": offset, "partitionMaxBytes": limit}

        topics = [
            {"topic": one, "topicId": ids[one], "partitions": [part(0), part(1, 2), part(5)]},
            {"topic": two, "topicId": ids[two], "partitions": [part(0, 99)]},
        ]
        ask.fetch("", 0, version, topic_id=ids[one], topics=topics, label="several")
        ask.fetch("", 0, version, topic_id=ids[one], topics=topics, maxBytes=700, label="700 bytes in all")
        tight = [{"topic": one, "topicId": ids[one], "partitions": [part(1, 0, 10), part(0, 0, 10)]}]
        ask.fetch("", 0, version, topic_id=ids[one], topics=tight, label="the first one gives at least a batch")
        twice = [{"topic": one, "topicId": ids[one], "partitions": [part(0), part(0, 4)]}]
        ask.fetch("", 0, version, topic_id=ids[one], topics=twice, label="a partition twice")
        ask.fetch("", 0, version, topic_id=ids[one], topics=[], label="nothing")


@story("Fetch")
def fetch_sessions(ask: Asker) -> None:
    topic = ask.topic("s", 3)
    ask.produce(topic, records("a"), note=False)
    for version in (7, 12, 13, 17):
        topic_id = ask.topic_id(topic)

        def entry(partition: int, offset: int = 0) -> dict:
            return {
                "partition": partition,
                "currentLeaderEpoch": -1,
                "fetchOffset": offset,
                "partitionMaxBytes": 1 << 20,
            }

        def wish(*parts: dict, session: int, epoch: int, forget: list | None = None, topic_id: str = topic_id) -> dict:
            topics = [{"topic": topic, "topicId": topic_id, "partitions": list(parts)}] if parts else []
            return {
                "replicaId": -1, "maxWaitMs": 0, "minBytes": 1, "maxBytes": 1 << 24, "sessionId": session, "sessionEpoch": epoch,
                "topics": topics, "forgottenTopicsData": forget or [],
            }  # fmt: skip

        def go(label: str, body: dict, version: int = version) -> int:
            return int(ask.ask("Fetch", version, body, label=label).get("sessionId", 0))

        session = go("a new session", wish(entry(0), entry(1), session=0, epoch=0))
        go("nothing new", wish(session=session, epoch=1))
        ask.produce(topic, records("b"), partition=1, note=False)
        go("partition 1 has more", wish(session=session, epoch=2))
        go("moved on", wish(entry(1, 1), entry(0, 1), session=session, epoch=3))
        go("partition 2 added", wish(entry(2), session=session, epoch=4))
        forgotten = [{"topic": topic, "topicId": topic_id, "partitions": [2]}]
        go("partition 2 forgotten", wish(session=session, epoch=5, forget=forgotten))
        go("wrong epoch", wish(session=session, epoch=9))
        go("epoch as expected", wish(session=session, epoch=6))
        go("unknown session", wish(session=123456, epoch=1))
        go("bad partition in a session", wish(entry(9), session=session, epoch=7))
        go("closed", wish(session=session, epoch=-1))
        go("after closing", wish(session=session, epoch=8))
        go("a session, replaced", wish(entry(0), session=session, epoch=0))


@story("Fetch")
def fetch_waits(ask: Asker) -> None:
    topic = ask.topic("w")
    body = {"maxWaitMs": 300, "minBytes": 1}
    started = time.monotonic()
    ask.fetch(topic, 0, 12, label="nothing comes", **body)
    ask.note("it waited", 0.25 < time.monotonic() - started < 5)
    producer = ask.other("producer")
    inner = {"partition": 0, "currentLeaderEpoch": -1, "fetchOffset": 0, "partitionMaxBytes": 1 << 20}
    wish = {"replicaId": -1, "maxWaitMs": 10_000, "minBytes": 1, "maxBytes": 1 << 24, "sessionEpoch": -1}
    ask.send("Fetch", 12, {**wish, "topics": [{"topic": topic, "partitions": [inner]}]}, label="something comes")
    time.sleep(0.2)  # the Fetch waits at the broker
    producer.produce(topic, records("a"))
    started = time.monotonic()
    ask.receive()
    ask.note("it woke", time.monotonic() - started < 2)
    ask.send(
        "Fetch",
        12,
        {**wish, "minBytes": 200, "topics": [{"topic": topic, "partitions": [inner]}]},
        label="until 200 bytes",
    )
    time.sleep(0.2)  # the Fetch waits at the broker
    producer.produce(topic, records("b" * 200))
    ask.receive()
    producer.close()


@story("ListOffsets", smoke=True)
def list_offsets(ask: Asker) -> None:
    topic = ask.topic("l", 2)
    for n in range(4):
        ask.produce(topic, records("a", "b", "c", timestamp_ms=FIXED_TIME_MS + n * 1000), note=False)
    compressed = ask.topic("z")
    for codec in (1, 2, 3, 4):
        batch = records(*map(str, range(10)), timestamp_ms=FIXED_TIME_MS + codec * 1000, codec=codec)
        ask.produce(compressed, batch, note=False)
    times = {
        "latest": -1, "earliest": -2, "max timestamp": -3, "earliest local": -4, "last tiered": -5, "earliest pending": -6, "-7": -7,
        "0": 0, "exact": FIXED_TIME_MS + 1000, "inside": FIXED_TIME_MS + 1001, "between": FIXED_TIME_MS + 1500, "after": FIXED_TIME_MS + 10**6,
    }  # fmt: skip
    for version in versions("ListOffsets"):
        for label, timestamp in times.items():
            for isolation in (0, 1) if version >= 2 else (0,):
                parts = [{"partitionIndex": n, "currentLeaderEpoch": -1, "timestamp": timestamp} for n in (0, 1)]
                topics = [{"name": topic, "partitions": parts}, {"name": compressed, "partitions": parts[:1]}]
                body = {"replicaId": -1, "isolationLevel": isolation, "topics": topics, "timeoutMs": 5000}
                ask.ask("ListOffsets", version, body, label=f"{label}, isolation {isolation}")


@story("ListOffsets")
def list_offsets_refused(ask: Asker) -> None:
    topic = ask.topic("l")

    def wish(name: str, *parts: tuple[int, int], isolation: int = 0, replica: int = -1) -> dict:
        entries = [{"partitionIndex": n, "currentLeaderEpoch": epoch, "timestamp": -1} for n, epoch in parts]
        topics = [{"name": name, "partitions": entries}]
        return {"replicaId": replica, "isolationLevel": isolation, "topics": topics, "timeoutMs": 5000}

    for version in versions("ListOffsets"):
        ask.ask("ListOffsets", version, wish("no-such", (0, -1)), label="unknown topic")
        ask.ask("ListOffsets", version, wish("bad name", (0, -1)), label="bad name")
        ask.ask("ListOffsets", version, wish(topic, (5, -1)), label="bad partition")
        ask.ask("ListOffsets", version, wish(topic, (0, -1), (0, -1)), label="a partition twice")
        ask.ask("ListOffsets", version, wish(topic, (0, -1), replica=-2), label="debugging consumer")
        if version >= 4:
            ask.ask("ListOffsets", version, wish(topic, (0, 0)), label="leader epoch 0")
            ask.ask("ListOffsets", version, wish(topic, (0, 3)), label="unknown leader epoch")
        ask.ask("ListOffsets", version, {**wish(topic), "topics": []}, label="nothing")


@story("OffsetForLeaderEpoch")
def offset_for_leader_epoch(ask: Asker) -> None:
    topic = ask.topic("e")
    ask.produce(topic, records("a", "b"), note=False)
    for version in versions("OffsetForLeaderEpoch"):
        for label, name, partition, epoch, current in (
            ("epoch 0", topic, 0, 0, -1),
            ("epoch 1", topic, 0, 1, -1),
            ("epoch -1", topic, 0, -1, -1),
            ("current epoch", topic, 0, 0, 0),
            ("unknown current epoch", topic, 0, 0, 4),
            ("bad partition", topic, 7, 0, -1),
            ("unknown topic", "no-such", 0, 0, -1),
        ):
            entry = {"partition": partition, "currentLeaderEpoch": current, "leaderEpoch": epoch}
            ask.ask(
                "OffsetForLeaderEpoch",
                version,
                {"replicaId": -2, "topics": [{"topic": name, "partitions": [entry]}]},
                label=label,
            )


@story("DeleteRecords")
def delete_records(ask: Asker) -> None:
    topic = ask.topic("d", 2)
    for version in versions("DeleteRecords"):
        for n in range(10):
            ask.produce(topic, records(str(n)), note=False)
        for label, name, partition, offset in (
            ("to 3", topic, 0, 3 + 10 * version),
            ("to 2, which is gone", topic, 0, 2),
            ("to the end", topic, 0, -1),
            ("past the end", topic, 0, 999),
            ("negative", topic, 0, -5),
            ("an empty partition", topic, 1, 0),
            ("an empty partition to the end", topic, 1, -1),
            ("bad partition", topic, 7, 0),
            ("unknown topic", "no-such", 0, 0),
        ):
            entry = {"partitionIndex": partition, "offset": offset}
            body = {"topics": [{"name": name, "partitions": [entry]}], "timeoutMs": 3000}
            ask.ask("DeleteRecords", version, body, label=label)
        ask.fetch(topic, 0, 12, label="before the start")
    compacted = ask.topic("c", configs={"cleanup.policy": "compact"})
    ask.produce(compacted, records("a"), note=False)
    body = {"topics": [{"name": compacted, "partitions": [{"partitionIndex": 0, "offset": 1}]}], "timeoutMs": 3000}
    ask.ask("DeleteRecords", 2, body, label="on a compacted topic")
