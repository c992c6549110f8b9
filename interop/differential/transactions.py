"""The life of producers: several per transactional id, fenced, expired, with markers; readers at both isolations."""

from interop.differential.operations import Json
from interop.differential.world import TOPICS, World, named, reference

# Two producers of one transactional id fence each other; p3 has none.
IDS = {"p0": "~x0", "p1": "~x0", "p2": "~x1", "p3": None}
NO_SUCH_ID = 4_000_000_000
LONG_MS = 60_000
SHORT_MS = 1000
PAUSE_S = 3.0
GROUP = "~g0"


class TransactionLife:
    def __init__(self, world: World) -> None:
        self.world = world
        for producer in IDS:
            if world.chance(0.7):
                self.init(producer)

    def step(self) -> None:
        producer = self.world.weighted({"p0": 5, "p1": 3, "p2": 4, "p3": 2})
        action = self.world.weighted(ACTIONS)
        action(self, producer)

    def init(self, producer: str, timeout_ms: int = LONG_MS) -> None:
        world = self.world
        body: Json = {
            "transactionalId": IDS[producer],
            "transactionTimeoutMs": timeout_ms,
            "producerId": -1,
            "producerEpoch": -1,
        }
        if world.chance(0.3):
            body |= self._stamp(producer)
        world.ask(producer, "InitProducerId", body, **self._kept(producer))

    def _kept(self, producer: str) -> dict[str, str]:
        return {f"pid_{producer}": "producerId", f"epoch_{producer}": "producerEpoch"}

    def _stamp(self, producer: str) -> Json:
        """The producer id and epoch, seldom an epoch beside it or another's id."""
        world = self.world
        whose = "p2" if world.chance(0.02) else producer
        epoch = reference(f"epoch.{producer}", 0, world.one(*[0] * 14, -1, 1))
        return {"producerId": reference(f"pid.{whose}", NO_SUCH_ID), "producerEpoch": epoch}

    def _id(self, producer: str) -> str:
        return "~x1" if self.world.chance(0.02) else IDS[producer] or "~x2"

    def add(self, producer: str) -> None:
        world = self.world
        version = world.version("AddPartitionsToTxn")
        topics = [
            {"name": topic, "partitions": world.some([0, 1, 2][: TOPICS[topic]])}
            for topic in world.some(list(TOPICS), 2)
        ]
        stamp = self._stamp(producer)
        entry = {"transactionalId": self._id(producer), **stamp, "verifyOnly": world.chance(0.3), "topics": topics}
        body = {
            "transactions": [entry],
            "v3AndBelowTransactionalId": entry["transactionalId"],
            "v3AndBelowProducerId": stamp["producerId"],
            "v3AndBelowProducerEpoch": stamp["producerEpoch"],
            "v3AndBelowTopics": topics,
        }
        world.ask(producer, "AddPartitionsToTxn", body, version=version)

    def produce(self, producer: str) -> None:
        """In sequence mostly; a duplicate, a gap, or records that are not transactional now and then."""
        world = self.world
        version = world.one(world.version("Produce"), world.version("Produce", 12))
        topics = []
        for topic in world.topics():
            partitions = [self._partition(producer, topic, index) for index in world.partitions(topic)]
            topics.append({**named(topic), "partitionData": partitions})
        body = {
            "transactionalId": None if world.chance(0.08) else IDS[producer],
            "acks": world.weighted({-1: 20, 1: 2, 0: 1}),
            "timeoutMs": 10000,
            "topicData": topics,
        }
        world.ask(producer, "Produce", body, version=version)

    def _partition(self, producer: str, topic: str, index: int) -> Json:
        world = self.world
        plus = world.one(*[0] * 10, -1, -2, 1, 5)
        batch: Json = {"values": [f"{producer}-{n}" for n in range(world.random.randint(1, 3))]}
        stamp = self._stamp(producer)
        batch |= {"producer": stamp["producerId"], "epoch": stamp["producerEpoch"]}
        batch["sequence"] = {"$next": [producer, topic, index], "plus": plus}
        batch["transactional"] = IDS[producer] is not None and not world.chance(0.06)
        if world.chance(0.04):
            batch = {"values": ["plain"]}
        return {"index": index, "records": {"$batch": batch}}

    def transaction(self, producer: str) -> None:
        """One that goes as it should."""
        self.produce(producer) if self.world.chance(0.5) else self.add(producer)
        for _ in range(self.world.random.randint(0, 2)):
            self.produce(producer)
        if self.world.chance(0.3):
            self.offsets(producer)
        self.end(producer)

    def end(self, producer: str) -> None:
        body = {
            "transactionalId": self._id(producer),
            **self._stamp(producer),
            "committed": self.world.chance(0.6),
        }
        self.world.ask(producer, "EndTxn", body, **self._kept(producer))

    def offsets(self, producer: str) -> None:
        world = self.world
        stamp, name = self._stamp(producer), self._id(producer)
        if world.chance(0.6):
            world.ask(producer, "AddOffsetsToTxn", {"transactionalId": name, **stamp, "groupId": GROUP})
        topic, partition = world.place()
        partitions = [
            {"partitionIndex": partition, "committedOffset": world.random.randrange(9), "committedMetadata": "x"}
        ]
        body = {
            "transactionalId": name, **stamp, "groupId": GROUP, "generationIdOrMemberEpoch": -1, "memberId": "",
            "groupInstanceId": None, "topics": [{"name": topic, "partitions": partitions}],
        }  # fmt: skip
        world.ask(producer, "TxnOffsetCommit", body)

    def read_offsets(self, _: str) -> None:
        world = self.world
        group = {"groupId": GROUP, "memberId": None, "memberEpoch": -1, "topics": None}
        version = world.version("OffsetFetch", 2)
        body = {"groupId": GROUP, "topics": None, "groups": [group], "requireStable": world.chance(0.7)}
        world.ask("reader", "OffsetFetch", body, version=version)

    def expire(self, producer: str) -> None:
        """A transaction that the coordinator aborts because its time is over."""
        self.init(producer, SHORT_MS)
        self.produce(producer) if self.world.chance(0.7) else self.add(producer)
        if self.world.chance(0.3):
            self.offsets(producer)
        self.world.pause(PAUSE_S)

    def read(self, _: str) -> None:
        world = self.world
        topic, partition = world.place()
        body = {
            "replicaId": -1, "maxWaitMs": 0, "minBytes": world.one(0, 1), "maxBytes": world.one(1 << 24, 200),
            "isolationLevel": world.one(0, 1, 1), "sessionId": 0, "sessionEpoch": -1,
            "topics": [
                {
                    "topic": topic, "topicId": {"$id": topic},
                    "partitions": [{
                        "partition": partition, "currentLeaderEpoch": -1,
                        "fetchOffset": world.one(0, 0, 1, 3, 8), "partitionMaxBytes": 1 << 20,
                    }],
                }
            ],
        }  # fmt: skip
        world.ask("reader", "Fetch", body)

    def list_offsets(self, _: str) -> None:
        world = self.world
        topic, partition = world.place()
        partitions = [{"partitionIndex": partition, "currentLeaderEpoch": -1, "timestamp": world.one(-1, -1, -2, -3)}]
        body = {
            "replicaId": -1, "isolationLevel": world.one(0, 1),
            "topics": [{"name": topic, "partitions": partitions}], "timeoutMs": 1000,
        }  # fmt: skip
        world.ask("reader", "ListOffsets", body)

    def describe(self, _: str) -> None:
        names = self.world.some(("~x0", "~x1", "~x2"))
        self.world.ask("admin", "DescribeTransactions", {"transactionalIds": names})

    def list(self, producer: str) -> None:
        world = self.world
        body = {
            "stateFilters": world.one([], [], ["Ongoing"], ["CompleteCommit", "Empty"], ["Nonsense"]),
            "producerIdFilters": world.one([], [], [reference(f"pid.{producer}", NO_SUCH_ID)]),
            "durationFilter": -1,
            "transactionalIdPattern": None,
        }
        world.ask("admin", "ListTransactions", body)

    def describe_producers(self, _: str) -> None:
        topics = [
            {"name": topic, "partitionIndexes": [self.world.partition(topic)]}
            for topic in self.world.some(list(TOPICS), 2)
        ]
        self.world.ask("admin", "DescribeProducers", {"topics": topics})

    def write_markers(self, producer: str) -> None:
        """What an administrator sends to end a transaction that hangs."""
        world = self.world
        topic, partition = world.place()
        marker = {
            **self._stamp(producer),
            "transactionResult": world.chance(0.3),
            "topics": [{"name": topic, "partitionIndexes": [partition]}],
            "coordinatorEpoch": world.one(0, 0, 0, -1),
            "transactionVersion": world.one(0, 0, 1, 2),
        }
        world.ask("admin", "WriteTxnMarkers", {"markers": [marker]})

    def delete_records(self, _: str) -> None:
        topic, partition = self.world.place()
        partitions = [{"partitionIndex": partition, "offset": self.world.one(-1, -1, 0, 50)}]
        body = {"topics": [{"name": topic, "partitions": partitions}], "timeoutMs": 5000}
        self.world.ask("admin", "DeleteRecords", body)


ACTIONS = {
    TransactionLife.init: 14,
    TransactionLife.add: 8,
    TransactionLife.produce: 16,
    TransactionLife.transaction: 16,
    TransactionLife.end: 12,
    TransactionLife.offsets: 7,
    TransactionLife.read_offsets: 4,
    TransactionLife.expire: 3,
    TransactionLife.read: 6,
    TransactionLife.list_offsets: 4,
    TransactionLife.describe: 5,
    TransactionLife.list: 2,
    TransactionLife.describe_producers: 4,
    TransactionLife.write_markers: 3,
    TransactionLife.delete_records: 2,
}
