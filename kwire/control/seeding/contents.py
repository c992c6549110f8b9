"""Filling a broker: seeds, records of one topic; and a topic as a seed.

Responsible for: records into partitions, topics, configs, users and ACLs of a seed, export of a topic. Must not depend
on: where a seed comes from, HTTP.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import cycle
from typing import Any, Final

from kwire.broker.broker import Broker
from kwire.broker.controller.interface import only
from kwire.control.internal_client import InternalClient
from kwire.control.records import partitions_of, read_partition, shown
from kwire.control.seeding.seeds import Seed
from kwire.errors import Code, KafkaError
from kwire.metadata.commands.configs import IncrementalAlterConfigs
from kwire.metadata.commands.security import CreateAcls
from kwire.metadata.commands.topics import CreateTopics
from kwire.metadata.decisions.alter_configs import ConfigChange
from kwire.metadata.decisions.topics import NewTopic
from kwire.metadata.entities import Resource, ResourceType
from kwire.server.initial_users import store_users
from kwire.wire.batches.json_records import JsonRecord
from kwire.wire.batches.records import Record, build_batch
from kwire.wire.messages import ProduceRequest
from kwire.wire.partitioner import partition_of_key

_BATCH_BYTES: Final = 500_000
_BATCH_RECORDS: Final = 1000
_RECORD_OVERHEAD_BYTES: Final = 32
_SET: Final = 0
_PRODUCE_BY_NAME: Final = 12
_TIMEOUT_MS: Final = 30_000


def export_topic(broker: Broker, topic: str) -> dict[str, Any]:
    """Give a topic as a seed: its partitions, configs and records. Raises KafkaError."""
    partitions = partitions_of(broker, topic)
    records = [
        {name: fields[name] for name in ("partition", "timestamp", "key", "value", "headers")}
        for one in partitions.values()
        for fields in (shown(one, record) for record in read_partition(one, 0))
    ]
    configs = dict(broker.image.config(ResourceType.TOPIC, topic))
    return {"topics": {topic: {"partitions": len(partitions), "configs": configs, "records": records}}}


async def apply_seed(broker: Broker, client: InternalClient, seed: Seed) -> dict[str, int]:
    """Fill a broker; returns how many topics were created and how many records written.

    A topic that exists keeps its partitions and gets the configs and records. Raises KafkaError at the first refusal;
    earlier changes stay.
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
        written += len(await write_records(broker, client, topic.name, topic.records))
    return {"topics": len(missing), "records": written}


async def _configure(broker: Broker, resource: Resource, configs: Mapping[str, str]) -> None:
    changes = [ConfigChange(name, _SET, value) for name, value in configs.items()]
    only(await broker.controller.submit(IncrementalAlterConfigs([(resource, changes)])))


async def write_records(
    broker: Broker, client: InternalClient, topic: str, records: Sequence[JsonRecord]
) -> list[tuple[int, int]]:
    """Write records to a topic; returns partition and offset of each, in their order.

    Raises KafkaError at the first refusal; earlier records stay.
    """
    count = len(partitions_of(broker, topic))
    now_ms = broker.clock.now_ms()
    by_partition: dict[int, list[Record]] = defaultdict(list)
    places: list[tuple[int, int]] = []
    turns = cycle(range(count))
    for each in records:
        index = _choose(each, count, turns)
        timestamp_ms = now_ms if each.timestamp_ms is None else each.timestamp_ms
        chosen = by_partition[index]
        places.append((index, len(chosen)))
        chosen.append(Record(len(chosen), timestamp_ms, each.key, each.value, each.headers))
    offsets: dict[int, list[int]] = defaultdict(list)
    for index, of_partition in by_partition.items():
        for batch, size in _batches(of_partition):
            base_offset = await _produce(client, topic, index, batch)
            offsets[index].extend(range(base_offset, base_offset + size))
    return [(index, offsets[index][place]) for index, place in places]


def _choose(record: JsonRecord, count: int, turns: Iterator[int]) -> int:
    if record.partition is not None:
        return record.partition
    return next(turns) if record.key is None else partition_of_key(record.key, count)


def _batches(records: Sequence[Record]) -> Iterator[tuple[bytes, int]]:
    """Yield batches, each with its number of records."""
    batch: list[Record] = []
    size = 0
    for record in records:
        size += len(record.key or b"") + len(record.value or b"") + _RECORD_OVERHEAD_BYTES
        batch.append(record._replace(offset=len(batch)))
        if size >= _BATCH_BYTES or len(batch) >= _BATCH_RECORDS:
            yield build_batch(batch), len(batch)
            batch, size = [], 0
    if batch:
        yield build_batch(batch), len(batch)


async def _produce(client: InternalClient, topic: str, index: int, batch: bytes) -> int:
    """Write one batch; returns its base offset."""
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
    return int(answer.base_offset)
