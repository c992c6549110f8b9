"""Invalid batches and fields in Produce, Fetch, ListOffsets and other requests about records."""

import base64

from interop.oracle.asker import FIXED_TIME_MS, Asker, records, versions
from interop.oracle.story import story
from kwire.wire.batches.batch import HEADER_BYTES, read_batch_header
from kwire.wire.batches.records import assemble_batch

UNKNOWN_ID = "AAAAAAAAAAAAAAAAAAAAbg"


@story("Produce")
def produce_a_batch_and_part_of_one(ask: Asker) -> None:
    """A whole batch is accepted when an incomplete one follows it."""
    topic = ask.topic("p", 2)
    good, compressed = records("a", "b"), records("c", "d" * 100, codec=1)

    def patched(position: int, raw: bytes) -> bytes:
        return good[:position] + raw + good[position + len(raw) :]

    behind = {f"{count} bytes": good[:count] for count in (5, 11, 12, 16, 17, 30, 61, len(good) - 1)}
    behind["a compressed one, cut"] = compressed[:-1]
    behind["magic 3, cut"] = patched(16, b"\3")[:40]
    behind["magic -1, cut"] = patched(16, b"\xff")[:40]
    behind["magic 1, cut"] = patched(16, b"\1")[:40]
    behind["no length, cut"] = patched(8, b"\0\0\0\0")[:40]
    behind["a negative length, cut"] = patched(8, b"\xff\xff\xff\xff")[:40]
    behind["a batch of the same producer"] = records("z", producer_id=5, producer_epoch=0, base_sequence=0)[:-2]
    behind["zeros"] = bytes(100)
    for version in (3, 9, 12):
        for label, rest in behind.items():
            ask.produce(topic, good + rest, version, label=f"and {label}")
            ask.produce(topic, compressed + rest, version, label=f"compressed, and {label}")
        ask.produce(topic, good + patched(8, b"\x7f\xff\xff\xff"), version, partition=1, label="and a huge length")
    ask.fetch(topic)


@story("Produce", "ListOffsets")
def batches_that_decompress_to_more_than_a_topic_takes(ask: Asker) -> None:
    """max.decompressed.message.bytes, since Kafka 4.4."""
    for policy in ("delete", "compact"):
        topic = ask.topic(policy, configs={"max.decompressed.message.bytes": "3000", "cleanup.policy": policy})
        for codec in range(5):
            for size in (2000, 2900, 3000, 5000, 200_000):
                ask.produce(topic, records("x" * size, codec=codec), 9, label=f"codec {codec}, {size} bytes")
            batch = records(*["y" * 100] * 40, codec=codec)
            ask.produce(topic, batch, 9, label=f"codec {codec}, 40 records of 100 bytes")
        ask.fetch(topic)


@story("Produce")
def produce_several_partitions(ask: Asker) -> None:
    topic, other = ask.topic("p", 2), ask.topic("q")

    def part(index: int, batch: bytes) -> dict:
        return {"index": index, "records": base64.b64encode(batch).decode()}

    def topics(*named: tuple[str, list[dict]]) -> list[dict]:
        return [{"name": name, "topicId": ids.get(name, UNKNOWN_ID), "partitionData": parts} for name, parts in named]

    ids = {name: ask.topic_id(name) for name in (topic, other)}
    a, bad = records("a"), records("a")[:-1]
    for version in (3, 8, 12, 13):
        for label, named in (
            ("nothing", []),
            ("a topic without partitions", [(topic, [])]),
            ("a partition twice", [(topic, [part(0, a), part(0, records("b"))])]),
            ("a topic twice", [(topic, [part(0, a)]), (topic, [part(1, a)])]),
            ("two topics", [(topic, [part(0, a), part(1, a)]), (other, [part(0, a)])]),
            ("one good, one bad", [(topic, [part(0, a), part(1, bad), part(7, a)]), ("no-such", [part(0, a)])]),
            ("a negative partition", [(topic, [part(-1, a)])]),
            ("no name", [("", [part(0, a)])]),
        ):
            body = {"acks": -1, "timeoutMs": 10000, "transactionalId": None, "topicData": topics(*named)}
            ask.ask("Produce", version, body, label=label)
        for label, fields in (
            ("acks -2", {"acks": -2}),
            ("a negative timeout", {"timeoutMs": -1}),
            ("no time at all", {"timeoutMs": 0}),
            ("an empty transactional id", {"transactionalId": ""}),
        ):
            body = {"acks": -1, "timeoutMs": 10000, "transactionalId": None, "topicData": topics((topic, [part(0, a)]))}
            ask.ask("Produce", version, {**body, **fields}, label=label)
    for index in (0, 1):
        ask.fetch(topic, partition=index)


@story("Produce")
def produce_records_that_contradict_the_header(ask: Asker) -> None:
    """Each batch has the right CRC, and a connection of its own, whose first batches are checked."""
    topic = ask.topic("p")
    plain = records("a" * 30, "b", "c")[HEADER_BYTES:]
    for codec in range(5):
        good = records("a" * 30, "b", "c", codec=codec)
        header, payload = read_batch_header(good), good[HEADER_BYTES:]
        for label, batch in (
            ("garbage", assemble_batch(header, b"\x55" * 100)),
            ("plain records", assemble_batch(header._replace(attributes=codec), plain)),
            ("cut", assemble_batch(header, payload[:-3])),
            ("a count of 2", assemble_batch(header._replace(record_count=2, last_offset_delta=1), payload)),
            ("a count of 5", assemble_batch(header._replace(record_count=5, last_offset_delta=4), payload)),
            ("a late max timestamp", assemble_batch(header._replace(max_timestamp=FIXED_TIME_MS + 9999), payload)),
            ("an early max timestamp", assemble_batch(header._replace(max_timestamp=FIXED_TIME_MS - 9999), payload)),
            ("codec 7", assemble_batch(header._replace(attributes=7), payload)),
        ):
            for version in (3, 11):
                producer = ask.other("a producer")
                producer.produce(topic, batch, version, label=f"codec {codec}, {label}")
                producer.close()
    ask.fetch(topic)


@story("Fetch")
def fetches_with_odd_fields(ask: Asker) -> None:
    topic = ask.topic("f")
    ask.produce(topic, records("a", "b"), note=False)
    for version in (4, 11, 12, 17):
        ask.fetch(topic, 0, version, replicaId=7, replicaState={"replicaId": 7, "replicaEpoch": -1}, label="replica 7")
        ask.fetch(topic, 0, version, replicaId=-2, replicaState={"replicaId": -2, "replicaEpoch": -1}, label="debugger")
        ask.fetch(topic, 0, version, maxBytes=0, label="no bytes at all")
        ask.fetch(topic, 0, version, maxBytes=-1, label="less than no bytes")
        ask.fetch(topic, -2, version, label="offset -2")
        ask.fetch(topic, 0, version, partition=-1, label="partition -1")
        ask.fetch(topic, 2**62, version, label="a huge offset")
        ask.fetch(topic, 0, version, logStartOffset=5, label="a log start")
        ask.fetch(topic, 0, version, rackId="nowhere", label="a rack")
        if version >= 7:
            ask.fetch(topic, 0, version, sessionEpoch=-2, label="session epoch -2")
            ask.fetch(topic, 0, version, sessionId=5, sessionEpoch=0, label="a new session in place of none")
            forgotten = [{"topic": topic, "topicId": ask.topic_id(topic), "partitions": [0]}]
            ask.fetch(topic, 0, version, forgottenTopicsData=forgotten, label="forgets without a session")
        if version >= 12:
            ask.fetch(topic, 0, version, clusterId="another-cluster", label="another cluster")
        if version < 13:
            for name in ("", "bad name"):
                ask.fetch(name, 0, version, label=f"named {name!r}")


@story("ListOffsets")
def list_offsets_of_odd_logs(ask: Asker) -> None:
    empty, cut, timeless = ask.topic("empty"), ask.topic("cut"), ask.topic("timeless")
    stamped = ask.topic("stamped", configs={"message.timestamp.type": "LogAppendTime"})
    shuffled = ask.topic("shuffled")
    for n in range(6):
        ask.produce(cut, records("a", "b", timestamp_ms=FIXED_TIME_MS + 1000 * n), note=False)
        ask.produce(shuffled, records("a", "b", timestamp_ms=FIXED_TIME_MS + 1000 * (n * 5 % 6)), note=False)
    ask.produce(timeless, records("a", timestamp_ms=-1), note=False)
    ask.produce(stamped, records("a", "b"), note=False)
    gone = {"topics": [{"name": cut, "partitions": [{"partitionIndex": 0, "offset": 5}]}], "timeoutMs": 3000}
    ask.ask("DeleteRecords", 2, gone, note=False)
    for version in versions("ListOffsets"):
        for timestamp in (
            -1, -2, -3, -4, -5, -6, -8, -(2**63), 0, 1, FIXED_TIME_MS - 1, FIXED_TIME_MS, FIXED_TIME_MS + 2000,
            FIXED_TIME_MS + 2001, FIXED_TIME_MS + 5000, FIXED_TIME_MS + 5001, FIXED_TIME_MS + 5002, 2**63 - 1,
        ):  # fmt: skip
            parts = [{"partitionIndex": 0, "currentLeaderEpoch": -1, "timestamp": timestamp}]
            topics = [{"name": name, "partitions": parts} for name in (empty, cut, timeless, stamped, shuffled)]
            body = {"replicaId": -1, "isolationLevel": 0, "topics": topics, "timeoutMs": 5000}
            ask.ask(
                "ListOffsets", version, body, label=f"at {timestamp - FIXED_TIME_MS if timestamp > 1 else timestamp}"
            )


@story("ListOffsets")
def list_offsets_of_odd_requests(ask: Asker) -> None:
    topic = ask.topic("l", 2)
    ask.produce(topic, records("a", "b"), note=False)

    def part(index: int = 0, timestamp: int = -1, epoch: int = -1) -> dict:
        return {"partitionIndex": index, "currentLeaderEpoch": epoch, "timestamp": timestamp}

    for version in versions("ListOffsets"):
        for label, named, fields in (
            ("isolation level 7", [(topic, [part()])], {"isolationLevel": 7}),
            ("isolation level -1", [(topic, [part()])], {"isolationLevel": -1}),
            ("replica 1", [(topic, [part()])], {"replicaId": 1}),
            ("replica 7", [(topic, [part()])], {"replicaId": 7}),
            ("replica -3", [(topic, [part()])], {"replicaId": -3}),
            ("a negative timeout", [(topic, [part()])], {"timeoutMs": -1}),
            ("a partition twice, two times", [(topic, [part(), part(0, -2)])], {}),
            ("a partition twice, and another", [(topic, [part(), part(0, -2), part(1)])], {}),
            ("a topic twice", [(topic, [part()]), (topic, [part(1)])], {}),
            ("a topic twice, the same partition", [(topic, [part()]), (topic, [part()])], {}),
            ("no name", [("", [part()])], {}),
            ("no partitions", [(topic, [])], {}),
            ("partition -1", [(topic, [part(-1)])], {}),
            ("leader epoch -2", [(topic, [part(epoch=-2)])], {}),
            ("one good, one bad", [(topic, [part(), part(9)]), ("no-such", [part()])], {}),
        ):
            topics = [{"name": name, "partitions": parts} for name, parts in named]
            body = {"replicaId": -1, "isolationLevel": 0, "topics": topics, "timeoutMs": 5000, **fields}
            ask.ask("ListOffsets", version, body, label=label)


@story("OffsetForLeaderEpoch")
def offset_for_leader_epoch_of_odd_requests(ask: Asker) -> None:
    topic = ask.topic("e", 2)
    ask.produce(topic, records("a", "b"), note=False)

    def part(index: int = 0, epoch: int = 0, current: int = -1) -> dict:
        return {"partition": index, "currentLeaderEpoch": current, "leaderEpoch": epoch}

    for version in versions("OffsetForLeaderEpoch"):
        for label, replica, named in (
            ("a consumer", -1, [(topic, [part()])]),
            ("replica 7", 7, [(topic, [part()])]),
            ("epoch -2", -2, [(topic, [part(epoch=-2)])]),
            ("a huge epoch", -2, [(topic, [part(epoch=2**31 - 1)])]),
            ("current epoch -2", -2, [(topic, [part(current=-2)])]),
            ("an empty log", -2, [(topic, [part(1)])]),
            ("a partition twice", -2, [(topic, [part(), part(epoch=5)])]),
            ("a topic twice", -2, [(topic, [part()]), (topic, [part(1)])]),
            ("no name", -2, [("", [part()])]),
            ("bad name", -2, [("bad name", [part()])]),
            ("partition -1", -2, [(topic, [part(-1)])]),
            ("no partitions", -2, [(topic, [])]),
            ("nothing", -2, []),
        ):
            topics = [{"topic": name, "partitions": parts} for name, parts in named]
            ask.ask("OffsetForLeaderEpoch", version, {"replicaId": replica, "topics": topics}, label=label)


@story("DeleteRecords")
def delete_records_of_odd_requests(ask: Asker) -> None:
    topic = ask.topic("d", 2)
    both = ask.topic("both", configs={"cleanup.policy": "compact,delete"})
    for name in (topic, both):
        ask.produce(name, records("a", "b", "c", "d"), note=False)

    def part(index: int = 0, offset: int = 1) -> dict:
        return {"partitionIndex": index, "offset": offset}

    for version in versions("DeleteRecords"):
        for label, named, timeout_ms in (
            ("inside a batch", [(topic, [part()])], 3000),
            ("compacted and deleted", [(both, [part()])], 3000),
            ("offset -2", [(topic, [part(offset=-2)])], 3000),
            ("no time", [(topic, [part(offset=2)])], 0),
            ("a negative timeout", [(topic, [part(offset=2)])], -1),
            ("a partition twice", [(topic, [part(offset=2), part(offset=3)])], 3000),
            ("a topic twice", [(topic, [part(offset=3)]), (topic, [part(1, 0)])], 3000),
            ("partition -1", [(topic, [part(-1)])], 3000),
            ("no name", [("", [part()])], 3000),
            ("bad name", [("bad name", [part()])], 3000),
            ("an internal topic", [("__consumer_offsets", [part(0, 0)])], 3000),
            ("the metadata log", [("__cluster_metadata", [part(0, 0)])], 3000),
            ("no partitions", [(topic, [])], 3000),
            ("nothing", [], 3000),
        ):
            topics = [{"name": name, "partitions": parts} for name, parts in named]
            ask.ask("DeleteRecords", version, {"topics": topics, "timeoutMs": timeout_ms}, label=label)
    ask.fetch(topic, 3, label="from the new start")


@story("DescribeProducers")
def describe_producers_of_odd_requests(ask: Asker) -> None:
    topic = ask.topic("p", 2)
    for label, named in (
        ("a partition twice", [(topic, [0, 0])]),
        ("a topic twice", [(topic, [0]), (topic, [1])]),
        ("partition -1", [(topic, [-1])]),
        ("no partitions", [(topic, [])]),
        ("an internal topic", [("__consumer_offsets", [0])]),
        ("nothing", []),
    ):
        topics = [{"name": name, "partitionIndexes": parts} for name, parts in named]
        ask.each_version("DescribeProducers", {"topics": topics}, label=label)
