"""A small blocking producer: the commands send records with it.

Responsible for: batches by partition, the choice of a partition, idempotence (KIP-98), retries. Must not depend on: the
source of records.

One request is in flight at a time, so retries keep the order. A retried batch keeps its bytes and so its sequence
numbers; a broker that has it already answers DUPLICATE_SEQUENCE_NUMBER and stores it once.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from kwire.cli.connections.client import TRANSIENT_ERRORS, Cluster, check, no_partition
from kwire.cli.connections.connection import ClientError, ConnectionLost, TimedOut
from kwire.errors import Code, KafkaError
from kwire.types import TopicPartition
from kwire.wire.batches.batch import NO_PRODUCER_EPOCH, NO_PRODUCER_ID, NO_SEQUENCE
from kwire.wire.batches.compression import Codec
from kwire.wire.batches.records import Headers, Record, build_batch
from kwire.wire.messages import InitProducerIdRequest, InitProducerIdResponse, ProduceRequest, ProduceResponse
from kwire.wire.partitioner import partition_of_key

ALL: Final = -1

# Version 13 replaces topic names with topic ids (KIP-516); this producer uses names.
_PRODUCE_BY_NAME: Final = 12

# Upper estimate of the bytes that a batch and a request add to those of a record.
_RECORD_OVERHEAD_BYTES: Final = 32
_RETRY_PAUSE_S: Final = 0.1
_RETRIABLE: Final = TRANSIENT_ERRORS | {
    Code.UNKNOWN_TOPIC_OR_PARTITION,
    Code.REQUEST_TIMED_OUT,
    Code.NOT_ENOUGH_REPLICAS,
    Code.NOT_ENOUGH_REPLICAS_AFTER_APPEND,
    Code.KAFKA_STORAGE_ERROR,
}

Undelivered = Callable[[str, Record, KafkaError | ClientError], None]


class NoSuchTopic(ClientError):
    """The topic did not appear in the metadata in time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProducerConfig:
    """How to send; names are those of the Java producer's settings."""

    acks: int = ALL
    idempotent: bool = True
    codec: Codec = Codec.NONE
    batch_bytes: int = 16_384
    retries: int = 2_147_483_647
    request_timeout_ms: int = 30_000
    max_block_ms: int = 60_000
    delivery_timeout_ms: int = 120_000


@dataclass(slots=True)
class _Pending:
    """The records of one partition that are not sent yet."""

    records: list[Record] = field(default_factory=list)
    size_bytes: int = 0


class Producer:
    """Send records to the leaders of their partitions. ``undelivered`` is called for each record that was not sent."""

    def __init__(self, cluster: Cluster, config: ProducerConfig, undelivered: Undelivered) -> None:
        self._cluster = cluster
        self._config = config
        self._undelivered = undelivered
        self._pending: dict[TopicPartition, _Pending] = {}
        self._leaders: dict[str, list[int]] = {}
        self._sticky: dict[str, tuple[int, int]] = {}  # topic -> partition in use for records without key, bytes so far
        self._producer_id = NO_PRODUCER_ID
        self._producer_epoch = NO_PRODUCER_EPOCH
        self._sequences: dict[TopicPartition, int] = {}

    def send(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        headers: Headers = (),
        *,
        partition: int | None = None,
        timestamp_ms: int | None = None,
    ) -> None:
        """Add a record to its batch; sends full batches first. Calls ``undelivered`` when the record cannot be sent."""
        stamp = time.time_ns() // 1_000_000 if timestamp_ms is None else timestamp_ms
        record = Record(0, stamp, key, value, headers)
        size_bytes = _size(record)
        try:
            count = len(self._partitions(topic))
            index = self._choose(topic, key, count, size_bytes) if partition is None else partition
            if not 0 <= index < count:
                raise KafkaError(Code.UNKNOWN_TOPIC_OR_PARTITION, no_partition(topic, index, count))
        except (KafkaError, ClientError) as error:
            self._undelivered(topic, record, error)
            return
        place = TopicPartition(topic, index)
        pending = self._pending.setdefault(place, _Pending())
        if pending.records and pending.size_bytes + size_bytes > self._config.batch_bytes:
            self.flush()
            pending = self._pending.setdefault(place, _Pending())
        pending.records.append(record._replace(offset=len(pending.records)))
        pending.size_bytes += size_bytes

    def flush(self) -> None:
        """Send all pending batches, and wait for the answers."""
        pending, self._pending = self._pending, {}
        batches = {place: each.records for place, each in pending.items()}
        deadline_s = time.monotonic() + self._config.delivery_timeout_ms / 1000
        attempts = 0
        while batches:
            failed = self._send_all(batches)
            retry = {}
            for place, error in failed.items():
                if isinstance(error, KafkaError) and error.code is Code.MESSAGE_TOO_LARGE and len(batches[place]) > 1:
                    self._send_halves(place, batches[place])
                elif attempts < self._config.retries and _is_retriable(error) and time.monotonic() < deadline_s:
                    retry[place] = batches[place]
                else:
                    self._fail(place, batches[place], error)
            if retry:
                attempts += 1
                time.sleep(_RETRY_PAUSE_S)
                self._leaders.clear()
            batches = retry

    def _send_all(self, batches: dict[TopicPartition, list[Record]]) -> dict[TopicPartition, KafkaError | ClientError]:
        """Send one batch for each partition, leader by leader; return those that failed."""
        failed: dict[TopicPartition, KafkaError | ClientError] = {}
        by_leader: dict[int, list[TopicPartition]] = {}
        for place in batches:
            try:
                by_leader.setdefault(self._leader(place), []).append(place)
            except (KafkaError, ClientError) as error:
                failed[place] = error
        for leader, places in by_leader.items():
            try:
                failed.update(self._send_to(leader, {place: batches[place] for place in places}))
            except (KafkaError, ClientError) as error:
                failed.update(dict.fromkeys(places, error))
        return failed

    def _send_to(
        self, leader: int, batches: dict[TopicPartition, list[Record]]
    ) -> dict[TopicPartition, KafkaError | ClientError]:
        self._init_producer_id()
        topics: dict[str, list[ProduceRequest.PartitionProduceData]] = {}
        for place, records in batches.items():
            topics.setdefault(place.topic, []).append(
                ProduceRequest.PartitionProduceData(index=place.partition, records=self._encode(place, records))
            )
        request = ProduceRequest(
            acks=self._config.acks,
            timeout_ms=self._config.request_timeout_ms,
            topic_data=[
                ProduceRequest.TopicProduceData(name=name, partition_data=items) for name, items in topics.items()
            ],
        )
        connection = self._cluster.node(leader)
        version = connection.version_of(ProduceRequest, _PRODUCE_BY_NAME)
        if self._config.acks == 0:
            connection.send_only(request, version)
            return {}
        answer = self._cluster.call_on(connection, request, ProduceResponse, version=version)
        answers = {
            TopicPartition(topic.name, item.index): item
            for topic in answer.responses
            for item in topic.partition_responses
        }
        failed: dict[TopicPartition, KafkaError | ClientError] = {}
        for place, records in batches.items():
            refusal = _refusal(answers.get(place))
            if refusal is not None:
                failed[place] = refusal
            else:
                self._sequences[place] = self._sequences.get(place, 0) + len(records)
        return failed

    def _encode(self, place: TopicPartition, records: list[Record]) -> bytes:
        idempotent = self._producer_id != NO_PRODUCER_ID
        return build_batch(
            records,
            codec=self._config.codec,
            producer_id=self._producer_id,
            producer_epoch=self._producer_epoch,
            base_sequence=self._sequences.get(place, 0) if idempotent else NO_SEQUENCE,
        )

    def _send_halves(self, place: TopicPartition, records: list[Record]) -> None:
        middle = len(records) // 2
        for half in (records[:middle], records[middle:]):
            numbered = [record._replace(offset=index) for index, record in enumerate(half)]
            self._pending[place] = _Pending(numbered)
            self.flush()

    def _fail(self, place: TopicPartition, records: list[Record], error: KafkaError | ClientError) -> None:
        # The broker may have written the batch or not, so only a new producer id makes the next sequence number valid.
        self._producer_id = NO_PRODUCER_ID
        self._sequences.clear()
        for record in records:
            self._undelivered(place.topic, record, error)

    def _init_producer_id(self) -> None:
        """Request a producer id, unless there is one or the producer is not idempotent."""
        if not self._config.idempotent or self._config.acks != ALL or self._producer_id != NO_PRODUCER_ID:
            return
        answer = self._cluster.call(
            InitProducerIdRequest(transactional_id=None, transaction_timeout_ms=60_000),
            InitProducerIdResponse,
            version=self._cluster.any().version_of(InitProducerIdRequest, _STABLE_INIT_PRODUCER_ID),
        )
        check(answer.error_code)
        self._producer_id, self._producer_epoch = answer.producer_id, answer.producer_epoch

    def _choose(self, topic: str, key: bytes | None, count: int, size_bytes: int) -> int:
        """Choose as the Java producer does: by the key's hash, else one partition until a batch is full (KIP-794)."""
        if key is not None:
            return partition_of_key(key, count)
        index, used_bytes = self._sticky.get(topic, (-1, 0))
        if not 0 <= index < count or used_bytes >= self._config.batch_bytes:
            index, used_bytes = random.randrange(count), 0  # noqa: S311 - the choice is not a secret
        self._sticky[topic] = index, used_bytes + size_bytes
        return index

    def _leader(self, place: TopicPartition) -> int:
        leader = self._partitions(place.topic)[place.partition]
        if leader < 0:
            self._leaders.pop(place.topic, None)
            raise KafkaError(Code.LEADER_NOT_AVAILABLE)
        return leader

    def _partitions(self, topic: str) -> list[int]:
        """The leader of each partition; waits for a topic that does not exist, because a broker may create it."""
        known = self._leaders.get(topic)
        if known is not None:
            return known
        deadline_s = time.monotonic() + self._config.max_block_ms / 1000
        while True:
            try:
                found = self._cluster.metadata([topic], auto_create=True).topics[0]
            except ConnectionLost:
                found = None
            if found is not None:
                if found.error_code == Code.INVALID_TOPIC_EXCEPTION:
                    raise KafkaError(Code.INVALID_TOPIC_EXCEPTION, f"Invalid topics: [{topic}]")
                if found.error_code and found.error_code not in _RETRIABLE:
                    check(found.error_code)
                if not found.error_code and found.partitions:
                    leaders = {item.partition_index: item.leader_id for item in found.partitions}
                    self._leaders[topic] = [leaders[index] for index in sorted(leaders)]
                    return self._leaders[topic]
            if time.monotonic() >= deadline_s:
                raise NoSuchTopic(f"Topic {topic} not present in metadata after {self._config.max_block_ms} ms.")
            time.sleep(_RETRY_PAUSE_S)


# Version 6 is unstable and for transactions of KIP-939.
_STABLE_INIT_PRODUCER_ID: Final = 5


def _refusal(item: ProduceResponse.PartitionProduceResponse | None) -> KafkaError | None:
    """The error of a batch in an answer; None if the batch was written."""
    if item is None:
        return KafkaError(Code.UNKNOWN_SERVER_ERROR, "the broker's answer does not contain the partition")
    # A duplicate was written by an earlier attempt.
    if item.error_code in (Code.NONE, Code.DUPLICATE_SEQUENCE_NUMBER):
        return None
    message = item.error_message or next((each.batch_index_error_message for each in item.record_errors), None)
    return KafkaError(Code(item.error_code), message)


def _is_retriable(error: KafkaError | ClientError) -> bool:
    if isinstance(error, KafkaError):
        return error.code in _RETRIABLE
    return isinstance(error, ConnectionLost | TimedOut)


def _size(record: Record) -> int:
    parts = [record.key, record.value, *(each for header in record.headers for each in (header[0].encode(), header[1]))]
    return _RECORD_OVERHEAD_BYTES + sum(len(part) for part in parts if part is not None)
