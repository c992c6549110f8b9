"""What topics hold: reading records without a group, and filling a broker from a seed.

Responsible for: records out of and into partitions, export of a topic. Must not depend on: where a seed comes from.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import cycle, islice
from typing import Any, Final

from kwire.broker.broker import Broker
from kwire.broker.controller.interface import only
from kwire.broker.partitions.partition import Partition
from kwire.control.internal_client import InternalClient
from kwire.control.seeds import Seed, SeedTopic
from kwire.errors import Code, KafkaError
from kwire.metadata.alter_configs import ConfigChange
from kwire.metadata.commands import CreateAcls, CreateTopics, IncrementalAlterConfigs
from kwire.metadata.entities import Resource, ResourceType
from kwire.metadata.topics import NewTopic
from kwire.server.initial_users import store_users
from kwire.wire.batch import read_batch_header
from kwire.wire.json_records import JsonRecord, record_fields
from kwire.wire.messages import ProduceRequest
from kwire.wire.partitioner import partition_of_key
from kwire.wire.records import Record, build_batch, read_records

RECORDS_MAX: Final = 10_000
_READ_BYTES: Final = 1 << 20
_BATCH_BYTES: Final = 500_000
_BATCH_RECORDS: Final = 1000
_RECORD_OVERHEAD_BYTES: Final = 32
_SET: Final = 0
_PRODUCE_BY_NAME: Final = 12
_TIMEOUT_MS: Final = 30_000


def partitions_of(broker: Broker, topic: str) -> Mapping[int, Partition]:
    """Give the partitions of a topic. Raises KafkaError(UNKNOWN_TOPIC_OR_PARTITION)."""
    if topic not in broker.image.topics:
        raise KafkaError(Code.UNKNOWN_TOPIC_OR_PARTITION, f"there is no topic {topic}")
    return dict(sorted(broker.partitions.of_topic(topic).items()))


def record_count(broker: Broker, topic: str) -> int:
    """Give the number of offsets from the start to the end of all partitions of a topic, 0 without the topic."""
    partitions = broker.partitions.of_topic(topic).values()
    return sum(one.high_watermark - one.log.log_start_offset for one in partitions)


def read_topic(
    broker: Broker, topic: str, *, partition: int | None = None, offset: int | None = None, last: int = 100
) -> list[dict[str, Any]]:
    """Give up to ``last`` records of each partition: from ``offset`` on, or the last ones.

    A record has topic, partition, offset, timestamp, key, value and headers. Control records are left out; records of
    open and aborted transactions are there. Raises KafkaError, StorageFailure.
    """
    found = partitions_of(broker, topic)
    if partition is not None and partition not in found:
        raise KafkaError(Code.UNKNOWN_TOPIC_OR_PARTITION, f"the topic {topic} has no partition {partition}")
    chosen = found.values() if partition is None else [found[partition]]
    records: list[dict[str, Any]] = []
    for one in chosen:
        start = max(one.log.log_start_offset, one.high_watermark - last) if offset is None else offset
        records += islice(_records(one, start), last)
    return records


def _records(partition: Partition, offset: int) -> Iterator[dict[str, Any]]:
    log = partition.log
    offset = max(offset, log.log_start_offset)
    while offset < log.high_watermark:
        piece = log.read(offset, max_bytes=_READ_BYTES, end_offset=log.high_watermark, at_least_one=True)
        if piece is None:
            return
        try:
            content = memoryview(piece.pread())
        finally:
            piece.close()
        position = 0
        while position + 12 <= len(content):
            size = 12 + int.from_bytes(content[position + 8 : position + 12], "big")
            if position + size > len(content):
                break
            batch = content[position : position + size]
            header = read_batch_header(batch)
            for record in () if header.is_control else read_records(batch):
                if record.offset >= offset:
                    yield record_fields(
                        topic=partition.topic,
                        partition=partition.index,
                        offset=record.offset,
                        timestamp_ms=record.timestamp_ms,
                        key=record.key,
                        value=record.value,
                        headers=record.headers,
                    )
            offset = header.next_offset
            position += size


def export_topic(broker: Broker, topic: str) -> dict[str, Any]:
    """Give a topic as a seed: its partitions, configs and records. Raises KafkaError."""
    partitions = partitions_of(broker, topic)
    records = [
        {name: fields[name] for name in ("partition", "timestamp", "key", "value", "headers")}
        for one in partitions.values()
        for fields in _records(one, 0)
    ]
    configs = dict(broker.image.config(ResourceType.TOPIC, topic))
    return {"topics": {topic: {"partitions": len(partitions), "configs": configs, "records": records}}}


async def plant(broker: Broker, client: InternalClient, seed: Seed) -> dict[str, int]:
    """Fill a broker; returns how many topics were created and how many records written.

    A topic that exists keeps its partitions and gets the configs and records. Raises KafkaError at the first refusal:
    what was done before it stays.
    """
    if seed.configs:
        await _configure(broker, Resource(ResourceType.BROKER, ""), seed.configs)
    missing = [topic for topic in seed.topics if topic.name not in broker.image.topics]
    if missing:
        new = [NewTopic(topic.name, topic.partitions or -1, configs=dict(topic.configs)) for topic in missing]
        for created in await broker.controller.submit(CreateTopics(new, described=False)):
            if isinstance(created, KafkaError):
                raise created
    for topic in seed.topics:
        if topic not in missing and topic.configs:
            await _configure(broker, Resource(ResourceType.TOPIC, topic.name), topic.configs)
    for user, refusal in (await store_users(broker, seed.users)).items():
        raise KafkaError(refusal.code, f"cannot store user {user}: {refusal.message or refusal.code.name}")
    if seed.acls:
        for outcome in await broker.controller.submit(CreateAcls(list(seed.acls))):
            if isinstance(outcome, KafkaError):
                raise outcome
    written = 0
    for topic in seed.topics:
        written += await _write(broker, client, topic)
    return {"topics": len(missing), "records": written}


async def _configure(broker: Broker, resource: Resource, configs: Mapping[str, str]) -> None:
    changes = [ConfigChange(name, _SET, value) for name, value in configs.items()]
    only(await broker.controller.submit(IncrementalAlterConfigs([(resource, changes)])))


async def _write(broker: Broker, client: InternalClient, topic: SeedTopic) -> int:
    count = len(partitions_of(broker, topic.name))
    now_ms = broker.clock.now_ms()
    by_partition: dict[int, list[Record]] = defaultdict(list)
    turns = cycle(range(count))
    for each in topic.records:
        index = _choose(each, count, turns)
        timestamp_ms = now_ms if each.timestamp_ms is None else each.timestamp_ms
        records = by_partition[index]
        records.append(Record(len(records), timestamp_ms, each.key, each.value, each.headers))
    for index, records in by_partition.items():
        for batch in _batches(records):
            await _produce(client, topic.name, index, batch)
    return len(topic.records)


def _choose(record: JsonRecord, count: int, turns: Iterator[int]) -> int:
    if record.partition is not None:
        return record.partition
    return next(turns) if record.key is None else partition_of_key(record.key, count)


def _batches(records: Sequence[Record]) -> Iterator[bytes]:
    batch: list[Record] = []
    size = 0
    for record in records:
        size += len(record.key or b"") + len(record.value or b"") + _RECORD_OVERHEAD_BYTES
        batch.append(record._replace(offset=len(batch)))
        if size >= _BATCH_BYTES or len(batch) >= _BATCH_RECORDS:
            yield build_batch(batch)
            batch, size = [], 0
    if batch:
        yield build_batch(batch)


async def _produce(client: InternalClient, topic: str, index: int, batch: bytes) -> None:
    partition = ProduceRequest.PartitionProduceData(index=index, records=memoryview(batch))
    request = ProduceRequest(
        acks=-1,
        timeout_ms=_TIMEOUT_MS,
        topic_data=[ProduceRequest.TopicProduceData(name=topic, partition_data=[partition])],
    )
    response = await client.call(request, _PRODUCE_BY_NAME)
    answer = response.responses[0].partition_responses[0]
    if answer.error_code:
        raise KafkaError(Code(answer.error_code), f"{topic}-{index}: {answer.error_message or 'not written'}")
