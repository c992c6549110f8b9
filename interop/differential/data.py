"""Records: batches good and bad, fetches with and without sessions, offsets by time, and what deletes records."""

from interop.differential.operations import Json
from interop.differential.world import TOPICS, World, named

CONFIGS: dict[str, tuple[str, ...]] = {
    "cleanup.policy": ("delete", "compact", "compact,delete", ""),
    "message.timestamp.type": ("CreateTime", "LogAppendTime"),
    "max.message.bytes": ("1048588", "200"),
    "compression.type": ("producer", "gzip", "uncompressed", "zstd", "lz4", "snappy"),
    "message.timestamp.before.max.ms": ("9223372036854775807", "1000"),
    "message.timestamp.after.max.ms": ("3600000", "9223372036854775807"),
    "segment.bytes": ("1073741824", "1048576"),
    "min.insync.replicas": ("1", "2"),
}
# Places in a batch's header, their format, and values that may or may not be believed. A magic or a codec that no
# release has, or a length below 14 or beyond all bounds makes Apache Kafka refuse the whole request; the oracle's
# stories ask that.
HEADER: tuple[tuple[int, str, tuple[int, ...]], ...] = (
    (0, ">q", (0, 5, -1, 2**62)),  # base offset
    (8, ">i", (48, 49, 60, 10_000)),  # length
    (12, ">i", (0, 7, -2)),  # leader epoch
    (16, ">b", (0, 1)),  # magic
    (17, ">I", (0, 0xFFFFFFFF)),  # crc
    (21, ">h", (1, 2, 3, 4, 8, 16, 32, 48, 64, 128)),  # attributes
    (23, ">i", (0, 1, 9, -1)),  # last offset delta
    (27, ">q", (0, -1, 10**12, 2**62)),  # base timestamp
    (35, ">q", (0, -1, 10**12, 2**62)),  # max timestamp
    (43, ">q", (-1, 0, 77)),  # producer id
    (51, ">h", (-1, 0, 5, -2)),  # producer epoch
    (53, ">i", (-1, 0, 5, -2, 2**31 - 1)),  # base sequence
    (57, ">i", (0, 1, 9, -1, 2**31 - 1)),  # record count
)


class DataLife:
    def __init__(self, world: World) -> None:
        self.world = world
        self.session_version = world.version("Fetch", 7)

    @staticmethod
    def topic_configs(world: World) -> dict[str, dict[str, str]]:
        """Each topic with one or two configs that are not the default, or none."""
        chosen: dict[str, dict[str, str]] = {}
        for topic in TOPICS:
            keys = world.some(list(CONFIGS), 2) if world.chance(0.6) else []
            chosen[topic] = {key: world.random.choice(CONFIGS[key]) for key in keys}
        return chosen

    def step(self) -> None:
        self.world.weighted(ACTIONS)(self)

    def produce(self) -> None:
        world = self.world
        topics = []
        for topic in world.topics():
            partitions = [{"index": index, "records": self._records()} for index in world.partitions(topic)]
            topics.append({**named(topic), "partitionData": partitions})
        body = {
            "transactionalId": None, "acks": world.weighted({-1: 20, 1: 6, 0: 3, 2: 1}), "timeoutMs": 5000,
            "topicData": topics,
        }  # fmt: skip
        world.ask("producer", "Produce", body)

    def _records(self) -> Json:
        world = self.world
        size = world.weighted({1: 10, 40: 4, 400: 1})
        batch: Json = {"values": [f"v*{size}" for _ in range(world.random.randint(1, 4))]}
        if world.chance(0.3):
            batch["codec"] = world.random.randint(1, 4)
        if world.chance(0.1):
            batch["no_key"] = True
        if world.chance(0.2):
            batch["values"][-1] = None
        if world.chance(0.3):
            batch["time_ms"] = world.one(-50, 10, 5000, 10 * 3_600_000, -40 * 86_400_000)
        if world.chance(0.15):
            batch |= {"producer": 9_000_000 + world.random.randrange(2), "epoch": world.random.randrange(2)}
            batch["sequence"] = world.random.randrange(4)
        if world.chance(0.15):
            batch["damage"] = [self._damage()]
        return {"$batch": batch}

    def _damage(self) -> Json:
        world = self.world
        if world.chance(0.1):
            return {"cut": world.one(0, 11, 12, 17, 60, 61, 65)}
        if world.chance(0.1):
            return {"twice": True}
        at, form, values = world.random.choice(HEADER)
        return {"at": at, "format": form, "value": world.random.choice(values), "crc": at != 17 and world.chance(0.9)}

    def fetch(self) -> None:
        """Without a session."""
        world = self.world
        body = self._fetch(session_id=0, epoch=-1)
        body["topics"] = [self._wish(topic) for topic in world.some(list(TOPICS))]
        world.ask("reader", "Fetch", body)

    def _fetch(self, *, session_id: object, epoch: object) -> Json:
        world = self.world
        return {
            "replicaId": -1, "maxWaitMs": world.one(0, 0, 0, 30), "minBytes": world.one(0, 1, 1, 500),
            "maxBytes": world.weighted({1 << 24: 8, 300: 2, 1: 1}), "isolationLevel": world.one(0, 0, 1),
            "sessionId": session_id, "sessionEpoch": epoch, "topics": [], "forgottenTopicsData": [], "rackId": "",
        }  # fmt: skip

    def _wish(self, topic: str) -> Json:
        world = self.world
        partitions = [
            {
                "partition": world.partition(topic),
                "currentLeaderEpoch": world.weighted({-1: 20, 0: 4, 1: 1, -2: 1}),
                "fetchOffset": world.weighted({0: 8, 1: 3, 2: 3, 4: 3, 9: 1, -1: 1}),
                "lastFetchedEpoch": world.weighted({-1: 12, 0: 2, 1: 1}),
                "logStartOffset": -1,
                "partitionMaxBytes": world.weighted({1 << 20: 8, 100: 2, 1: 1}),
            }
            for _ in range(world.random.randint(1, 2))
        ]
        return {"topic": topic, "topicId": {"$id": topic}, "partitions": partitions}

    def open_session(self) -> None:
        world = self.world
        body = self._fetch(session_id=0, epoch=0)
        body["topics"] = [self._wish(topic) for topic in world.some(list(TOPICS))]
        world.ask("reader", "Fetch", body, version=self.session_version, session_s="sessionId")
        self.epoch = 1

    epoch = 1

    def continue_session(self) -> None:
        """With a partition added, changed or forgotten, or nothing at all."""
        world = self.world
        body = self._fetch(session_id={"$": "session.s", "else": 77}, epoch=self.epoch + world.one(*[0] * 12, -1, 1))
        if world.chance(0.35):
            body["topics"] = [self._wish(topic) for topic in world.some(list(TOPICS), 2)]
        if world.chance(0.25):
            topic = world.topic()
            forgotten = {"topic": topic, "topicId": {"$id": topic}, "partitions": [world.partition(topic)]}
            body["forgottenTopicsData"] = [forgotten]
        world.ask("reader", "Fetch", body, version=self.session_version)
        self.epoch += 1

    def close_session(self) -> None:
        body = self._fetch(session_id={"$": "session.s", "else": 77}, epoch=-1)
        self.world.ask("reader", "Fetch", body, version=self.session_version)

    def list_offsets(self) -> None:
        world = self.world
        topics = []
        for topic in world.some(list(TOPICS), 2):
            partitions = [
                {
                    "partitionIndex": world.partition(topic),
                    "currentLeaderEpoch": world.weighted({-1: 20, 0: 3, 1: 1, -2: 1}),
                    "timestamp": world.one(-1, -2, -3, -4, -5, -6, -7, 0, 10**12, 2**62),
                }
                for _ in range(world.random.randint(1, 2))
            ]
            topics.append({"name": topic, "partitions": partitions})
        body = {"replicaId": -1, "isolationLevel": world.one(0, 0, 1), "topics": topics, "timeoutMs": 1000}
        world.ask("reader", "ListOffsets", body)

    def end_of_epoch(self) -> None:
        world = self.world
        topics = [
            {
                "topic": topic,
                "partitions": [
                    {
                        "partition": world.partition(topic),
                        "currentLeaderEpoch": world.one(-1, -1, 0, 1, -2),
                        "leaderEpoch": world.one(0, 0, 1, -1, 9),
                    }
                ],
            }
            for topic in world.some(list(TOPICS), 2)
        ]
        world.ask("reader", "OffsetForLeaderEpoch", {"replicaId": -1, "topics": topics})

    def delete_records(self) -> None:
        world = self.world
        topics = [
            {
                "name": topic,
                "partitions": [{"partitionIndex": world.partition(topic), "offset": world.one(-1, 0, 1, 2, 3, 50, -2)}],
            }
            for topic in world.some(list(TOPICS), 2)
        ]
        world.ask("admin", "DeleteRecords", {"topics": topics, "timeoutMs": 5000})

    def delete_and_create(self) -> None:
        """The same name again: nothing of the old topic may be left in the new one."""
        world = self.world
        topic = world.random.choice(list(TOPICS))
        if world.chance(0.8):
            body = {"topicNames": [topic], "topics": [{"name": topic}], "timeoutMs": 5000}
            world.ask("admin", "DeleteTopics", body)
        if world.chance(0.8):
            wish = {"name": topic, "numPartitions": TOPICS[topic], "replicationFactor": 1}
            world.ask("admin", "CreateTopics", {"topics": [wish], "timeoutMs": 5000}, version=7)

    def configure(self) -> None:
        world = self.world
        key = world.random.choice(list(CONFIGS))
        operation = world.one(0, 0, 0, 1)
        change = {"name": key, "configOperation": operation, "value": world.random.choice(CONFIGS[key])}
        resources = [{"resourceType": 2, "resourceName": world.topic(), "configs": [change]}]
        world.ask("admin", "IncrementalAlterConfigs", {"resources": resources, "validateOnly": False})

    def describe_producers(self) -> None:
        topics = [
            {"name": topic, "partitionIndexes": [self.world.partition(topic)]}
            for topic in self.world.some(list(TOPICS), 2)
        ]
        self.world.ask("admin", "DescribeProducers", {"topics": topics})


ACTIONS = {
    DataLife.produce: 26,
    DataLife.fetch: 10,
    DataLife.open_session: 6,
    DataLife.continue_session: 18,
    DataLife.close_session: 2,
    DataLife.list_offsets: 9,
    DataLife.end_of_epoch: 3,
    DataLife.delete_records: 6,
    DataLife.delete_and_create: 4,
    DataLife.configure: 4,
    DataLife.describe_producers: 3,
}
