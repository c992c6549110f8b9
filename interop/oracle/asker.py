"""Sends requests built from the specs, one at a time, and writes down what came back."""

import base64
import contextlib
import itertools
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from interop.advertised import KEYS
from interop.oracle.normal import Normalizer
from kwire.wire import codec
from kwire.wire.batches.records import Record, build_batch
from kwire.wire.message import Message

Json = dict[str, Any]
UNSTABLE = {("InitProducerId", 6)}
# The same for both brokers, old enough not to be taken for "now", young enough for the default retention.
FIXED_TIME_MS = (int(time.time()) // 3600 - 5) * 3_600_000


class Closed(Exception):
    """The broker closed the connection instead of answering."""


class NotInRelease(Exception):
    """A story asks with an API that the release does not have."""


@dataclass
class Step:
    label: str
    answer: Any


@dataclass
class Asker:
    """One connection to one broker; what it asks goes into a transcript that several connections may share."""

    port: int
    prefix: str
    eager: bool  # answers come when the change is made; Apache's metadata follows a moment later
    transcript: list[Step] = field(default_factory=list)
    normalizer: Normalizer = field(default_factory=Normalizer)
    name: str = ""
    highest: Mapping[int, int] | None = None  # versions by API key that an older release has; None: all
    _socket: socket.socket | None = None
    _correlation: itertools.count = field(default_factory=itertools.count)  # type: ignore[type-arg]
    _pending: list[tuple[str, int, int, str]] = field(default_factory=list)

    def other(self, name: str) -> "Asker":
        """A second connection in the same story."""
        return Asker(self.port, self.prefix, self.eager, self.transcript, self.normalizer, name, self.highest)

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    # Asking

    def ask(
        self, api: str, version: int, body: Json | None = None, *, label: str = "", note: bool = True, own: bool = False
    ) -> Json:
        """The answer as JSON, {} when the connection was closed. Fields that the version lacks are not sent."""
        self.send(api, version, body, label=label)
        return self.receive(note=note, own=own)

    def send(self, api: str, version: int, body: Json | None = None, *, label: str = "") -> None:
        key = KEYS[api]
        if self.highest is not None:
            if key not in self.highest:
                raise NotInRelease(api)
            version = min(version, self.highest[key])
        request_class = codec.request_class(key)
        request = codec.from_json(request_class, version, pruned(request_class, body or {}, version))
        correlation = next(self._correlation)
        frame = codec.encode_request(key, version, correlation, "oracle", request)
        label = " ".join(filter(None, (self.name, f"{api} v{version}", label)))
        self._pending.append((api, version, correlation, label))
        with contextlib.suppress(OSError):
            self._connection().sendall(frame)

    def receive(self, *, note: bool = True, own: bool = False, timeout_s: float = 15) -> Json:
        api, version, correlation, label = self._pending.pop(0)
        try:
            frame = self._read_frame(timeout_s)
            heard, message = codec.decode_response(KEYS[api], version, memoryview(frame))
        except Closed:
            self.close()
            self._note(note, label, "the connection was closed")
            return {}
        except TimeoutError:
            self.close()
            self._note(note, label, "no answer")
            return {}
        assert heard == correlation, f"{label}: answer to {heard} instead of {correlation}"
        answer = codec.to_json(message, version)
        self._note(note, label, self.normalizer.normal(answer, api, self.prefix if own else None))
        if note:
            self._check_canonical(label, message, KEYS[api], version, frame)
        return answer

    def silent(self, api: str, version: int, body: Json, *, label: str = "") -> None:
        """A request that has no answer (acks=0); what is checked is that the connection still works behind it."""
        self.send(api, version, body, label=label)
        self._pending.pop()
        self.ask("ApiVersions", 0, note=False)

    def raw(self, body: bytes, label: str) -> None:
        """Bytes as they are, behind a size: whether they are answered or the connection is closed is written down."""
        self._connection().sendall(len(body).to_bytes(4, "big") + body)
        try:
            self._note(True, label, {"answered with bytes": len(self._read_frame(5))})
        except Closed:
            self._note(True, label, "the connection was closed")
        except TimeoutError:
            self._note(True, label, "no answer")
        self.close()

    def each_version(
        self,
        api: str,
        body: Json | None = None,
        *,
        label: str = "",
        own: bool = False,
        lowest: int = 0,
        highest: int = 99,
    ) -> Json:
        """The same body at every version both brokers know; gives the last answer."""
        answer: Json = {}
        for version in versions(api):
            newest = 99 if self.highest is None else self.highest.get(KEYS[api], -1)
            if lowest <= version <= min(highest, newest):
                answer = self.ask(api, version, body, label=label, own=own)
        return answer

    def until(self, api: str, version: int, body: Json, done: Any, *, timeout_s: float = 15) -> Json:
        """Asks without writing down until the answer pleases."""
        deadline = time.monotonic() + timeout_s
        while True:
            answer = self.ask(api, version, body, note=False)
            if done(answer):
                return answer
            assert time.monotonic() < deadline, f"{api} never got as far as expected: {answer}"
            time.sleep(0.05)  # a poll, bounded above

    def wait_for_metadata(self, seconds: float = 0.4) -> None:
        """Apache's brokers apply a change of metadata a moment after it was answered."""
        if not self.eager:
            time.sleep(seconds)

    def note(self, label: str, value: Any) -> None:
        self._note(True, label, value)

    # What most stories begin with

    def topic(self, stem: str = "t", partitions: int = 1, configs: dict[str, str] | None = None) -> str:
        name = f"{self.prefix}-{stem}"
        wish = {
            "name": name,
            "numPartitions": partitions,
            "replicationFactor": 1,
            "configs": [{"name": key, "value": value} for key, value in (configs or {}).items()],
        }
        answer = self.ask("CreateTopics", 7, {"topics": [wish], "timeoutMs": 10000}, note=False)
        assert answer["topics"][0]["errorCode"] == 0, answer
        self.ready(name, partitions)
        return name

    def ready(self, name: str, partitions: int) -> None:
        body = {"topics": [{"name": name}], "allowAutoTopicCreation": False}

        def led(answer: Json) -> bool:
            found = answer["topics"][0]["partitions"]
            return len(found) == partitions and all(p["leaderId"] == 1 and p["errorCode"] == 0 for p in found)

        answer = self.until("Metadata", 12, body, led)
        self.normalizer.known_id(answer["topics"][0]["topicId"], name)
        every = [{"partitionIndex": n, "timestamp": -1} for n in range(partitions)]
        wish = {"replicaId": -1, "topics": [{"name": name, "partitions": every}]}
        self.until(
            "ListOffsets", 7, wish, lambda got: all(p["errorCode"] == 0 for t in got["topics"] for p in t["partitions"])
        )

    def topic_id(self, name: str) -> str:
        body = {"topics": [{"name": name}], "allowAutoTopicCreation": False}
        found: str = self.ask("Metadata", 12, body, note=False)["topics"][0]["topicId"]
        return found

    def produce(
        self, topic: str, batch: bytes | None, version: int = 11, *, partition: int = 0, acks: int = -1,
        label: str = "",
        transactional_id: str | None = None, topic_id: str = "", note: bool = True,
    ) -> Json:  # fmt: skip
        records = None if batch is None else base64.b64encode(batch).decode()
        entry = {
            "name": topic,
            "topicId": topic_id or (self.topic_id(topic) if version >= 13 else ""),
            "partitionData": [],
        }
        entry["partitionData"] = [{"index": partition, "records": records}]
        body = {"acks": acks, "timeoutMs": 10000, "transactionalId": transactional_id, "topicData": [entry]}
        if acks == 0:
            self.silent("Produce", version, body, label=label)
            return {}
        return self.ask("Produce", version, body, label=label, note=note)

    def fetch(
        self, topic: str, offset: int = 0, version: int = 12, *, partition: int = 0, label: str = "",
        topic_id: str = "",
        note: bool = True, **fields: Any,
    ) -> Json:  # fmt: skip
        """One partition, at once; fields of the request or of the partition may be given."""
        inner = {"partition": partition, "currentLeaderEpoch": -1, "fetchOffset": offset, "partitionMaxBytes": 1 << 20}
        body = {"replicaId": -1, "maxWaitMs": 0, "minBytes": 1, "maxBytes": 1 << 24, "sessionId": 0, "sessionEpoch": -1}
        for name, value in fields.items():
            (inner if name in inner or name in ("lastFetchedEpoch", "logStartOffset") else body)[name] = value
        named = {"topic": topic, "topicId": topic_id or (self.topic_id(topic) if version >= 13 else "")}
        body.setdefault("topics", [{**named, "partitions": [inner]}])  # type: ignore[arg-type]
        return self.ask("Fetch", version, body, label=label, note=note)

    # The wire

    def _connection(self) -> socket.socket:
        if self._socket is None:
            self._socket = socket.create_connection(("localhost", self.port), 10)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self._socket

    def _read_frame(self, timeout_s: float) -> bytes:
        connection = self._connection()
        connection.settimeout(timeout_s)
        size = int.from_bytes(self._read(connection, 4), "big")
        return self._read(connection, size)

    def _read(self, connection: socket.socket, count: int) -> bytes:
        got = bytearray()
        while len(got) < count:
            try:
                part = connection.recv(count - len(got))
            except ConnectionError:
                raise Closed from None
            if not part:
                raise Closed
            got += part
        return bytes(got)

    def _note(self, note: bool, label: str, answer: Any) -> None:
        if note:
            self.transcript.append(Step(label, answer))

    def _check_canonical(self, label: str, message: Message, key: int, version: int, frame: bytes) -> None:
        # A tag that carries its default, or bytes behind the message, are no part of the message: the size tells.
        size = canonical_bytes(message, key, version)
        if size != len(frame):
            self.transcript.append(Step(label + " (size beyond its fields)", len(frame) - size))


def canonical_bytes(message: Message, key: int, version: int) -> int:
    """The size of the response frame that holds this message and nothing else."""
    header = 5 if key != 18 and _flexible(key, version) else 4
    return header + len(codec.encode(message, version))


def _flexible(key: int, version: int) -> bool:
    flexible_from = codec.request_class(key).FLEXIBLE_FROM
    return flexible_from is not None and version >= flexible_from


def versions(api: str) -> list[int]:
    lowest, highest = codec.request_class(KEYS[api]).VERSIONS
    return [version for version in range(lowest, highest + 1) if (api, version) not in UNSTABLE]


def pruned(cls: Any, body: Json, version: int) -> Json:
    """The body without the fields that the version does not have."""
    return _pruned(cls.FIELDS, body, version)


def _pruned(fields: Any, body: Json, version: int) -> Json:
    named = {item.json: item for item in fields}
    unknown = body.keys() - named.keys()
    assert not unknown, f"no version has {unknown}"
    kept: Json = {}
    for key, value in body.items():
        item = named[key]
        if version not in item.versions:
            continue
        if item.struct is not None and value is not None:
            inner = item.struct.fields
            many = isinstance(value, list)
            kept[key] = [_pruned(inner, one, version) for one in value] if many else _pruned(inner, value, version)
        else:
            kept[key] = value
    return kept


def records(
    *values: str | bytes | None, key: bytes | None = b"k", timestamp_ms: int = FIXED_TIME_MS, **batch: Any
) -> bytes:
    """A batch with one record per value, a millisecond apart."""
    entries = [
        Record(n, timestamp_ms + n, key, value.encode() if isinstance(value, str) else value, ())
        for n, value in enumerate(values)
    ]
    return build_batch(entries, **batch)
