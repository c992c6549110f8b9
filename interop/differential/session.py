"""One run of a sequence against one broker: connections, answers that come later, and the waits that Apache needs.

Responsible for: sending each operation on its connection, and the answer of each operation in the end. Must not depend
on: what a correct answer is.

A JoinGroup or SyncGroup may be answered only after requests on other connections. So a request is given a moment; when
its answer has not come by then, the sequence goes on and the answer is taken when it comes.
"""

import contextlib
import select
import socket
import time
from dataclasses import replace
from typing import Any

from interop.advertised import KEYS
from interop.brokers import Apache, Kwire
from interop.differential.group_waits import after_heartbeat
from interop.differential.operations import Json, Operation
from interop.differential.values import Values, fitted
from interop.oracle.asker import canonical_bytes
from kwire.wire import codec

MAY_WAIT = {"JoinGroup", "SyncGroup"}
MEMBER_EPOCH = "at."
HEARTBEATS = {"ConsumerGroupHeartbeat", "ShareGroupHeartbeat", "StreamsGroupHeartbeat"}
PROBE = "probe"
REPEATED = "repeated"
MOMENT_S = 0.12
ANSWER_S = 5.0
END_S = 1.5
# The longest wait for an answer that a later operation refers to: a JoinGroup may be answered only when the session of
# a member that vanished ends, after a minute. It is waited for once.
KEPT_S = 1.0
# The operations that are not sent in this time are not sent at all.
SEQUENCE_S = 60.0
NOT_SENT = "not sent: the sequence took too long"
CLOSED = "the connection was closed"
NO_ANSWER = "no answer"
# Apache Kafka's broker applies a change of metadata a moment after it was answered.
CHANGES_METADATA = {
    "CreateTopics", "DeleteTopics", "CreatePartitions", "AlterConfigs", "IncrementalAlterConfigs", "AlterClientQuotas",
    "AlterUserScramCredentials", "ElectLeaders", "AlterPartitionReassignments", "Metadata", "UpdateFeatures",
    "UnregisterBroker",
}  # fmt: skip
CONCURRENT_TRANSACTIONS = 51
ALWAYS_CREATES_BEFORE = 4  # a version of Metadata
# A config whose value shows how far the broker has applied changes of metadata.
GROUP_RESOURCE, GROUP_CONFIG, SHORTEST_SESSION_MS = 32, "consumer.session.timeout.ms", 45_000
UNDER_WAY = {"PrepareCommit", "PrepareAbort", "PrepareEpochFence"}


def creates_topics(operation: Operation) -> bool:
    return operation.version < ALWAYS_CREATES_BEFORE or bool(operation.body.get("allowAutoTopicCreation", True))


class Connection:
    """A socket whose answers are read when they come, in order."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("localhost", port), 10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.pending: list[tuple[int, Operation, int]] = []  # place in the sequence, operation, correlation id
        self.closed = False
        self._buffer = bytearray()

    def send(self, frame: bytes) -> None:
        with contextlib.suppress(OSError):
            self.socket.settimeout(10)
            self.socket.sendall(frame)

    def receive(self, timeout_s: float) -> bytes | None:
        """The next answer, or None when it does not come in time or the peer has closed."""
        deadline = time.monotonic() + timeout_s
        while True:
            size = int.from_bytes(self._buffer[:4], "big") + 4
            if len(self._buffer) >= 4 and len(self._buffer) >= size:
                frame = bytes(self._buffer[4:size])
                del self._buffer[:size]
                return frame
            left = max(0.0, deadline - time.monotonic())
            if self.closed or not select.select([self.socket], [], [], left)[0]:
                return None
            self._read()

    def _read(self) -> None:
        try:
            part = self.socket.recv(1 << 20)
        except OSError:
            part = b""
        self.closed = not part
        self._buffer += part


class Session:
    """One broker, one run. `answers` has one entry for each operation when `run` is done."""

    def __init__(self, broker: Apache | Kwire, prefix: str) -> None:
        self.broker = broker
        self.is_apache = broker.name == "apache"
        self.values = Values(prefix, self._topic_ids, self._wait_for_kept)
        self.answers: list[Any] = []
        self.topic_ids: dict[str, list[str]] = {}
        self._connections: dict[str, Connection] = {}
        self._correlation = 0
        self._sent = Operation()  # the last Produce
        self._barriers = 0
        self._transactional_ids: set[str] = set()
        self._waited_for: set[int] = set()  # places whose answer was waited for in vain
        self._helper = Connection(broker.port)

    def run(self, operations: list[Operation]) -> list[Any]:
        self.answers = [None] * len(operations)
        deadline = time.monotonic() + SEQUENCE_S
        try:
            for place, operation in enumerate(operations):
                if time.monotonic() >= deadline:
                    self.answers[place:] = [NOT_SENT] * (len(operations) - place)
                    break
                self._perform(place, operation)
            self._finish()
        finally:
            for connection in [*self._connections.values(), self._helper]:
                connection.socket.close()
        return self.answers

    def _perform(self, place: int, operation: Operation) -> None:
        self._take_what_came()
        if operation.pause_s:
            time.sleep(operation.pause_s)  # the pause is a part of the sequence
            self._settle()
        elif not operation.api:
            self._close(operation.on)
        else:
            self._request(place, operation)

    def _request(self, place: int, operation: Operation) -> None:
        body = self.values.resolve(operation.body)
        self._remember_names(operation, body)
        connection = self._connection(operation.on)
        frame, correlation = self._frame(operation, body)
        waits = bool(connection.pending) or operation.api in MAY_WAIT
        connection.send(frame)
        if operation.api == "Produce" and body.get("acks") == 0:
            # It has no answer: one to the request behind it shows that the connection lives.
            probe = Operation(PROBE, "ApiVersions", 0)
            frame, correlation = self._frame(probe, {})
            connection.send(frame)
            operation = probe
        connection.pending.append((place, operation, correlation))
        self._drain(connection, MOMENT_S if waits else ANSWER_S)

    def _frame(self, operation: Operation, body: Json) -> tuple[bytes, int]:
        self._correlation += 1
        key = KEYS[operation.api]
        request_class = codec.request_class(key)
        request = codec.from_json(
            request_class, operation.version, fitted(request_class.FIELDS, body, operation.version)
        )
        client = operation.on or "helper"
        return codec.encode_request(key, operation.version, self._correlation, client, request), self._correlation

    # Answers

    def _take_what_came(self) -> None:
        for connection in list(self._connections.values()):
            self._drain(connection, 0)

    def _drain(self, connection: Connection, timeout_s: float) -> None:
        while connection.pending:
            frame = connection.receive(timeout_s)
            if frame is None:
                break
            self._answered(*connection.pending.pop(0), frame)
        if connection.closed:
            self._lost(connection, CLOSED)

    def _answered(self, place: int, operation: Operation, correlation: int, frame: bytes) -> None:
        key = KEYS[operation.api]
        heard, message = codec.decode_response(key, operation.version, memoryview(frame))
        answer = codec.to_json(message, operation.version)
        extra = len(frame) - canonical_bytes(message, key, operation.version)
        if heard != correlation:
            answer["answer to another request"] = True
        if extra:
            answer["bytes beyond its fields"] = extra
        self.answers[place] = answer
        if operation.on == PROBE:
            self.answers[place] = "no answer is due; the connection lives"
            return
        for name, path in operation.keep.items():
            self._keep(name, path, answer)
        self._follow_up(place, operation, answer)

    def _keep(self, name: str, path: str, answer: Any) -> None:
        for step in path.split("."):
            try:
                answer = answer[int(step)] if step.isdigit() else answer[step]
            except (IndexError, KeyError, TypeError):
                return
        if answer in (None, "", -1) or answer == self.values.kept.get(name):
            return
        if name.startswith(MEMBER_EPOCH) and answer == 0:  # of a refused heartbeat
            return
        self.values.kept[name] = answer
        if name.startswith(("pid.", "epoch.")):
            self.values.restart_sequences(name.partition(".")[2])

    def _follow_up(self, place: int, operation: Operation, answer: Json) -> None:
        """What has to be over, or remembered, before the next operation."""
        if operation.api in CHANGES_METADATA and self.is_apache:
            self._metadata_barrier()
            if operation.api == "DeleteTopics":
                time.sleep(0.05)
        if operation.api in ("CreateTopics", "Metadata"):
            for name in list(self.topic_ids):
                self._topic_ids(name)
        if operation.api in ("EndTxn", "InitProducerId"):
            self._settle()
        if operation.api == "InitProducerId" and answer["errorCode"] == CONCURRENT_TRANSACTIONS:
            self._again(place, operation)
        if operation.api == "Metadata" and operation.on != REPEATED and creates_topics(operation):
            self._repeat(place, operation)
        if operation.api in HEARTBEATS:
            request = self.values.resolve(operation.body)
            topics_were_created = after_heartbeat(self._ask, operation.api, request, answer)
            if topics_were_created and self.is_apache:
                self._metadata_barrier()
        if operation.api == "JoinGroup":
            self.values.joined[operation.on] = [member["memberId"] for member in answer["members"]]
        if operation.api == "Produce":
            self._count_sequences(answer)

    def _repeat(self, place: int, operation: Operation) -> None:
        """The answer once the topics are there: Apache Kafka's first one says that they do not exist."""
        repeated = replace(operation, on=REPEATED)
        frame, correlation = self._frame(operation, self.values.resolve(operation.body))
        connection = self._connection(operation.on)
        connection.send(frame)
        connection.pending.insert(0, (place, repeated, correlation))
        reply = connection.receive(ANSWER_S)
        if reply is not None:
            self._answered(*connection.pending.pop(0), reply)

    def _again(self, place: int, operation: Operation) -> None:
        """The same request until the transaction before is over, as every client sends it."""
        deadline = time.monotonic() + 5
        connection = self._connection(operation.on)
        while time.monotonic() < deadline:
            frame, correlation = self._frame(operation, self.values.resolve(operation.body))
            connection.send(frame)
            reply = connection.receive(ANSWER_S)
            if reply is None:
                return
            _, message = codec.decode_response(KEYS[operation.api], operation.version, memoryview(reply))
            answer = codec.to_json(message, operation.version)
            if answer["errorCode"] != CONCURRENT_TRANSACTIONS:
                self._answered(place, operation, correlation, reply)
                return
            time.sleep(0.05)

    def _lost(self, connection: Connection, why: str) -> None:
        for place, _, _ in connection.pending:
            self.answers[place] = why
        connection.pending.clear()
        connection.socket.close()
        self._connections = {name: one for name, one in self._connections.items() if one is not connection}

    def _close(self, name: str) -> None:
        if name in self._connections:
            self._lost(self._connections[name], "closed by the client")
            time.sleep(0.02)  # the broker sees the end of the connection

    def _wait_for_kept(self, name: str) -> None:
        for connection in list(self._connections.values()):
            while places := {
                place
                for place, operation, _ in connection.pending
                if name in operation.keep and place not in self._waited_for
            }:
                before = len(connection.pending)
                self._drain(connection, KEPT_S)
                if len(connection.pending) == before:
                    self._waited_for |= places

    def _finish(self) -> None:
        deadline = time.monotonic() + END_S
        for connection in list(self._connections.values()):
            while connection.pending and time.monotonic() < deadline:
                self._drain(connection, max(0.0, deadline - time.monotonic()))
            self._lost(connection, NO_ANSWER)

    # State that later operations refer to

    def _remember_names(self, operation: Operation, body: Json) -> None:
        if operation.api == "CreateTopics":
            for topic in body.get("topics", ()):
                self.topic_ids.setdefault(topic["name"], [])
        name = body.get("transactionalId")
        if operation.api == "InitProducerId" and name:
            self._transactional_ids.add(name)
        if operation.api == "Produce":
            self._sent = operation

    def _count_sequences(self, answer: Json) -> None:
        accepted: dict[tuple[Any, int], bool] = {}
        for topic in answer["responses"]:
            for partition in topic["partitionResponses"]:
                name = topic.get("name") or self._name_of(topic.get("topicId"))
                accepted[name, partition["index"]] = partition["errorCode"] == 0
        for topic in self._sent.body["topicData"] or ():
            for partition in topic["partitionData"] or ():
                wish = (partition.get("records") or {}).get("$batch") if isinstance(partition, dict) else None
                follows = wish and wish.get("sequence")
                if not isinstance(follows, dict) or "$next" not in follows:
                    continue
                producer, name, index = follows["$next"]
                if accepted.get((self.values.name(name), index)):
                    key = (producer, self.values.name(name), index)
                    last = follows.get("plus", 0) + len(wish.get("values", ["v"]))
                    self.values.sequences[key] = self.values.sequences.get(key, 0) + last

    def _name_of(self, topic_id: str | None) -> str:
        return next((name for name, ids in self.topic_ids.items() if topic_id in ids), "")

    def _topic_ids(self, name: str) -> list[str]:
        """Every id that the name has had, the newest last."""
        known = self.topic_ids.setdefault(name, [])
        answer = self._ask("Metadata", 12, {"topics": [{"name": name}], "allowAutoTopicCreation": False})
        topic = answer["topics"][0]
        if topic["errorCode"] == 0 and topic["topicId"] not in known:
            known.append(topic["topicId"])
        return known

    # Waits

    def _metadata_barrier(self) -> None:
        """Changes are applied in order: once a later one is visible, those before are in force."""
        self._barriers += 1
        value = str(SHORTEST_SESSION_MS + self._barriers)
        resource = {"resourceType": GROUP_RESOURCE, "resourceName": f"{self.values.prefix}-barrier"}
        change = {"name": GROUP_CONFIG, "configOperation": 0, "value": value}
        self._ask("IncrementalAlterConfigs", 1, {"resources": [{**resource, "configs": [change]}]})
        wish = {"resources": [{**resource, "configurationKeys": [GROUP_CONFIG]}]}
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            configs = self._ask("DescribeConfigs", 4, wish)["results"][0]["configs"]
            if configs and configs[0]["value"] == value:
                return
            time.sleep(0.002)  # a poll, bounded above

    def _settle(self) -> None:
        """Until no transaction is between its decision and its markers."""
        deadline = time.monotonic() + 5
        while self._transactional_ids and time.monotonic() < deadline:
            answer = self._ask("DescribeTransactions", 0, {"transactionalIds": sorted(self._transactional_ids)})
            if not any(state["transactionState"] in UNDER_WAY for state in answer["transactionStates"]):
                return
            time.sleep(0.01)  # a poll, bounded above

    def _ask(self, api: str, version: int, body: Json) -> Json:
        frame, _ = self._frame(Operation("helper", api, version), body)
        self._helper.send(frame)
        reply = self._helper.receive(ANSWER_S)
        assert reply is not None, f"{self.broker.name} did not answer {api}"
        _, message = codec.decode_response(KEYS[api], version, memoryview(reply))
        return codec.to_json(message, version)

    def _connection(self, name: str) -> Connection:
        if name not in self._connections:
            self._connections[name] = Connection(self.broker.port)
        return self._connections[name]
