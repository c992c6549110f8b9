"""Incremental fetch sessions: what each answer of a session holds, and what a session remembers of deleted topics."""

from typing import Any

from interop.oracle.asker import Asker, records
from interop.oracle.story import story

UNKNOWN_ID = "AAAAAAAAAAAAAAAAAAAAbg"
COMMITTED = {"isolationLevel": 1}


class Session:
    """One fetch session on one connection; topics are named by (topic, partition, offset)."""

    def __init__(self, ask: Asker, version: int) -> None:
        self.ask = ask
        self.version = version
        self.ids = {"no-such-topic": UNKNOWN_ID}
        self.session_id = self.epoch = 0

    def topic(self, stem: str, partitions: int = 1) -> str:
        name = self.ask.topic(f"{stem}{self.version}", partitions)
        self.ids.setdefault(name, self.ask.topic_id(name))
        return name

    def fetch(self, label: str, *wanted: tuple[str, int, int], forget: tuple[tuple[str, int], ...] = (), **fields: Any):
        topics = [
            {
                **self._named(name),
                "partitions": [
                    {"partition": index, "currentLeaderEpoch": -1, "fetchOffset": offset, "partitionMaxBytes": 1 << 16}
                ],
            }
            for name, index, offset in wanted
        ]
        body = {
            "replicaId": -1, "maxWaitMs": 0, "minBytes": 1, "maxBytes": 1 << 20, "isolationLevel": 0,
            "sessionId": self.session_id, "sessionEpoch": self.epoch, "topics": topics,
            "forgottenTopicsData": [{**self._named(name), "partitions": [index]} for name, index in forget],
        }  # fmt: skip
        answer = self.ask.ask("Fetch", self.version, {**body, **fields}, label=label)
        if self.epoch == 0:
            self.session_id = answer["sessionId"]
        self.epoch += 1

    def _named(self, name: str) -> dict[str, str]:
        return {"topic": name} if self.version < 13 else {"topicId": self.ids[name]}


@story("Fetch")
def fetch_sessions_that_grow_and_shrink(ask: Asker) -> None:
    for version in (7, 12, 13, 18):
        session = Session(ask, version)
        one, other = session.topic("one", 3), session.topic("other")
        session.fetch("full, no topics")
        session.fetch("a first partition", (one, 0, 0))
        ask.produce(one, records("a"), note=False)
        session.fetch("its record")
        session.fetch("its record again")
        session.fetch("behind it", (one, 0, 1))
        session.fetch("nothing new")
        session.fetch("added and forgotten", (one, 1, 0), forget=((one, 1),))
        ask.produce(one, records("a"), partition=1, note=False)
        session.fetch("nothing of what was forgotten")
        session.fetch("forgets what is not there", forget=((other, 0),))
        session.fetch("changed and all forgotten", (one, 0, 0), forget=((one, 0),))
        session.fetch("after its end")


@story("Fetch")
def fetch_sessions_under_a_byte_limit(ask: Asker) -> None:
    for version in (12, 17):
        session = Session(ask, version)
        topic = session.topic("r", 3)
        for index in range(3):
            ask.produce(topic, records("z" * 900), partition=index, note=False)
        session.fetch("full", *((topic, index, 0) for index in range(3)), ("no-such-topic", 0, 0), maxBytes=100)
        for turn in range(4):
            session.fetch(f"turn {turn}", maxBytes=100)
        ask.produce(topic, records("q" * 900), partition=2, note=False)
        session.fetch("a watermark behind the limit", maxBytes=100)
        session.fetch("no bytes", maxBytes=0)
        session.fetch("an offset behind the end, behind the limit", (topic, 2, 99), maxBytes=100)
        session.fetch("again", maxBytes=100)


@story("Fetch", "DeleteTopics")
def fetch_sessions_of_deleted_topics(ask: Asker) -> None:
    for version in (12, 13, 17):
        session = Session(ask, version)
        topic = session.topic("d", 2)
        ask.produce(topic, records("a", "b"), note=False)
        session.fetch("full", (topic, 0, 0), (topic, 1, 0), **COMMITTED)
        ask.ask("DeleteTopics", 6, {"topics": [{"name": topic}], "timeoutMs": 5000}, note=False)
        ask.wait_for_metadata()
        session.fetch("deleted", **COMMITTED)
        session.fetch("deleted, asked for", (topic, 0, 1), **COMMITTED)
        session.topic("d")
        session.fetch("created again", **COMMITTED)
        session.fetch("still so", **COMMITTED)
        session.fetch("read_uncommitted", isolationLevel=0)
        session.fetch("asked for", (topic, 0, 0), **COMMITTED)
        later = Session(ask, version)
        later.ids = session.ids
        later.fetch("a new session by the old id", (topic, 0, 0), **COMMITTED)
        later.fetch("and again", **COMMITTED)
        session.fetch("forgotten", forget=((topic, 1),), **COMMITTED)


@story("Fetch", "InitProducerId", "EndTxn")
def fetch_sessions_over_an_open_transaction(ask: Asker) -> None:
    for version in (11, 17):
        session = Session(ask, version)
        topic = session.topic("t")
        transactional_id = f"{ask.prefix}-{version}"
        body = {"transactionalId": transactional_id, "transactionTimeoutMs": 60000, "producerId": -1}
        producer = ask.until(
            "InitProducerId", 4, {**body, "producerEpoch": -1}, lambda answer: answer["errorCode"] == 0
        )
        stamp = {"producer_id": producer["producerId"], "producer_epoch": producer["producerEpoch"]}
        session.fetch("full", (topic, 0, 0), **COMMITTED)
        batch = records("a", **stamp, base_sequence=0, transactional=True)
        ask.produce(topic, batch, 12, transactional_id=transactional_id, note=False)
        session.fetch("open", **COMMITTED)
        session.fetch("nothing new", **COMMITTED)
        ask.produce(topic, records("b"), note=False)
        session.fetch("a watermark behind the transaction", **COMMITTED)
        session.fetch("read_uncommitted", isolationLevel=0)
        session.fetch("read_committed again", **COMMITTED)
        end = {"transactionalId": transactional_id, "producerId": stamp["producer_id"], "committed": False}
        ask.ask("EndTxn", 4, {**end, "producerEpoch": stamp["producer_epoch"]}, note=False)
        ask.until(
            "ListOffsets",
            7,
            {
                "replicaId": -1,
                "isolationLevel": 1,
                "topics": [{"name": topic, "partitions": [{"partitionIndex": 0, "timestamp": -1}]}],
            },
            lambda answer: answer["topics"][0]["partitions"][0]["offset"] == 3,
        )
        session.fetch("aborted", **COMMITTED)
