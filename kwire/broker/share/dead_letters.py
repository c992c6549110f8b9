"""Writes the dead letters of share groups (KIP-1191).

Responsible for: the checks of the dead letter topic, creating it, reading the records to copy, and appending. Must not
depend on: how records are delivered, when a record is archived.

A group has a dead letter topic if share.version is finalized at 2 and its config errors.deadletterqueue.topic.name is
not empty. Source partition N writes to partition N modulo the number of partitions of that topic.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final

import trio

from kwire.broker.clock import Clock
from kwire.broker.controller.interface import Controller, only
from kwire.broker.partitions.fetching.reading import ReadUpTo, read_partition
from kwire.broker.partitions.partition import Partition
from kwire.broker.partitions.partitions import Partitions
from kwire.broker.partitions.validate import LargeBatch
from kwire.errors import Code, KafkaError
from kwire.metadata.configs.effective import EffectiveConfigs
from kwire.metadata.features import SHARE_VERSION
from kwire.metadata.image import MetadataImage
from kwire.storage.files import FileSlice
from kwire.storage.segments.segment import walk_slice
from kwire.wire.batches.batch import HEADER_BYTES, read_batch_header
from kwire.wire.batches.records import Record, build_batch, read_records

if TYPE_CHECKING:  # loaded with the first share group, or by a node of a cluster
    from kwire.broker.share.remote_dead_letters import RemoteDeadLetters
    from kwire.coordinators.share.dead_letters import DeadLetters

_SINCE: Final = 2  # of share.version
# Records beyond these bytes are not copied: their dead letters have headers alone, as those of Apache Kafka.
_COPIED_BYTES_MAX: Final = 1 << 20
# Codes while the leader of a partition changes or a topic is created.
_WRITTEN_AGAIN: Final = frozenset(
    {
        Code.LEADER_NOT_AVAILABLE,
        Code.NETWORK_EXCEPTION,
        Code.NOT_ENOUGH_REPLICAS,
        Code.NOT_LEADER_OR_FOLLOWER,
        Code.UNKNOWN_TOPIC_ID,
        Code.UNKNOWN_TOPIC_OR_PARTITION,
    }
)
# In total as long as Apache Kafka's five attempts.
_PAUSES_MS: Final = (100, 200, 400, 800, 1600, 3200, 6400)
_NEW_TOPIC: Final = {"errors.deadletterqueue.group.enable": "true", "message.timestamp.type": "CreateTime"}


class DeadLettersRefused(Exception):
    """The configs do not allow the dead letters. One sentence."""


class DeadLetterWriter:
    """``remote``: for partitions that other brokers lead, if there are others."""

    def __init__(
        self,
        *,
        clock: Clock,
        configs: EffectiveConfigs,
        image: MetadataImage,
        partitions: Partitions,
        controller: Controller,
        remote: RemoteDeadLetters | None = None,
    ) -> None:
        self._clock = clock
        self._configs = configs
        self._image = image
        self._partitions = partitions
        self._controller = controller
        self._remote = remote

    def serves(self, topic: str) -> bool:
        """Whether archived records of a group are written as dead letters; ``topic``: the config of the group."""
        return bool(topic) and self._image.features.get(SHARE_VERSION, 0) >= _SINCE

    async def write(self, group_id: str, source: Partition, letters: DeadLetters) -> None:
        """Write and commit one dead letter for each record. Raises DeadLettersRefused, KafkaError, StorageFailure."""
        from kwire.coordinators.share.dead_letters import dead_letter_records  # noqa: PLC0415 (a start needs none)

        group = self._configs.group(group_id)
        name = group["errors.deadletterqueue.topic.name"]
        self._check(group_id, name)
        sources: Mapping[int, Record] = {}
        if group["errors.deadletterqueue.copy.record.enable"]:
            sources = await _sources(source, letters)
        await self._create(name)
        index = source.index % len(self._image.topics[name].partitions)
        records = dead_letter_records(
            letters,
            group_id=group_id,
            topic=source.topic,
            partition=source.index,
            sources=sources,
            now_ms=self._clock.now_ms(),
        )
        limit = self._configs.topic(name)["max.message.bytes"]
        for batch in _batches(records, limit):
            await self._write(name, index, batch)

    async def _create(self, name: str) -> None:
        """Create the topic unless it is there. Another broker may create it at the same time."""
        from kwire.metadata.commands.topics import CreateTopics  # noqa: PLC0415 (a start needs none)
        from kwire.metadata.decisions.topics import NewTopic  # noqa: PLC0415 (as above)

        if name in self._image.topics:
            return
        try:
            only(await self._controller.submit(CreateTopics([NewTopic(name=name, configs=dict(_NEW_TOPIC))])))
        except KafkaError as refusal:
            if refusal.code is not Code.TOPIC_ALREADY_EXISTS:
                raise
        for pause_ms in _PAUSES_MS:
            if name in self._image.topics:
                return
            await self._pause(pause_ms)
        raise KafkaError(Code.UNKNOWN_TOPIC_OR_PARTITION)

    async def _write(self, topic: str, index: int, batch: bytes) -> None:
        """Write a batch to the leader; again where it moves, or does not know the partition yet."""
        for pause_ms in _PAUSES_MS:
            try:
                await self._write_once(topic, index, batch)
            except KafkaError as refusal:
                if self._remote is None or refusal.code not in _WRITTEN_AGAIN:
                    raise
            else:
                return
            await self._pause(pause_ms)
        await self._write_once(topic, index, batch)

    async def _pause(self, pause_ms: int) -> None:
        over = trio.Event()
        self._clock.call_later(pause_ms, over.set)
        await over.wait()

    async def _write_once(self, topic: str, index: int, batch: bytes) -> None:
        partition = self._image.partition(topic, index)
        if self._remote is None or partition is None or partition.leader == self._remote.node_id:
            target = self._partitions.get(topic, index)
            next_offset, since = await _append(target, memoryview(batch))
            await target.committed(next_offset, since=since)
        elif partition.leader < 0:
            raise KafkaError(Code.LEADER_NOT_AVAILABLE)
        else:
            await self._remote.write(partition.leader, self._image.topics[topic].id, index, batch)

    def _check(self, group_id: str, name: str) -> None:
        broker = self._configs.broker
        prefix = broker["errors.deadletterqueue.topic.name.prefix"]
        if not name or name.startswith("__"):
            raise DeadLettersRefused(f"group {group_id} has no valid dead letter topic: {name!r}")
        if name in self._image.topics:
            if not self._configs.topic(name)["errors.deadletterqueue.group.enable"]:
                raise DeadLettersRefused(f"topic {name} does not have errors.deadletterqueue.group.enable=true")
        elif not broker["errors.deadletterqueue.auto.create.topics.enable"]:
            raise DeadLettersRefused(
                f"topic {name} does not exist, and errors.deadletterqueue.auto.create.topics.enable is false"
            )
        if not name.startswith(prefix):
            raise DeadLettersRefused(f"topic {name} does not begin with {prefix}")


async def _append(target: Partition, batch: memoryview) -> tuple[int, int]:
    """Append a batch like one of a producer. Returns the next offset, and ``leading_since`` of the append."""
    header = read_batch_header(batch)
    try:
        appended = target.append(batch, header, acks=-1, trusted=True)
    except LargeBatch as large:
        await trio.to_thread.run_sync(large.validate)
        appended = target.append(batch, header, acks=-1, trusted=True, large=large)
    return appended.next_offset, target.leading_since


async def _sources(source: Partition, letters: DeadLetters) -> dict[int, Record]:
    """The records of the source by offset; those that the log has deleted are missing."""
    offset = max(letters.first_offset, source.log.log_start_offset)
    try:
        piece = read_partition(
            source, offset, up_to=ReadUpTo.HIGH_WATERMARK, max_bytes=_COPIED_BYTES_MAX, at_least_one=True
        ).records
    except KafkaError as refusal:
        if refusal.code is not Code.OFFSET_OUT_OF_RANGE:
            raise
        return {}
    if piece is None:
        return {}
    try:
        # In a thread: decompression may take longer than a turn of the event loop.
        return await trio.to_thread.run_sync(_read, piece, letters)
    finally:
        piece.close()


def _read(piece: FileSlice, letters: DeadLetters) -> dict[int, Record]:
    found: dict[int, Record] = {}
    for at, header in walk_slice(piece):
        if header.base_offset > letters.last_offset:
            break
        if header.is_control or header.last_offset < letters.first_offset:
            continue
        for record in read_records(memoryview(piece.pread(at, header.size_bytes))):
            if letters.first_offset <= record.offset <= letters.last_offset:
                found[record.offset] = record
    return found


def _batches(records: list[Record], bytes_max: int) -> Iterator[bytes]:
    """Batches of at most ``bytes_max``, unless a single record is larger."""
    part: list[Record] = []
    size = HEADER_BYTES
    for record in records:
        record_size = _size(record)
        if part and size + record_size > bytes_max:
            yield build_batch(part)
            part, size = [], HEADER_BYTES
        part.append(record._replace(offset=len(part)))
        size += record_size
    yield build_batch(part)


def _size(record: Record) -> int:
    """At least the bytes of a record in a batch."""
    headers = sum(len(name) + len(value or b"") + 10 for name, value in record.headers)
    return len(record.key or b"") + len(record.value or b"") + headers + 30
