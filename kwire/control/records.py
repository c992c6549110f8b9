"""Records of topics, without a group: the last ones, those from an offset or a time on, search, and following the end.

Responsible for: reading records in pieces that do not hold the event loop. Must not depend on: HTTP.

Control records are left out; records of open and aborted transactions are there. A record has topic, partition, offset,
timestamp, key, value and headers, as ``kwire consume --json`` writes it.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, TypeAlias

import trio

from kwire.broker.broker import Broker
from kwire.broker.partitions.partition import Partition
from kwire.broker.partitions.watches import Watch
from kwire.errors import Code, KafkaError
from kwire.wire.batch import read_batch_header
from kwire.wire.json_records import record_fields
from kwire.wire.records import Record, read_records

RECORDS_MAX: Final = 10_000
SCANNED_MAX: Final = 100_000
# A reader that follows the end and is further behind than this continues at the end.
BEHIND_MAX: Final = 10_000
_READ_BYTES: Final = 1 << 20
_SLICE_S: Final = 0.002


Emit: TypeAlias = Callable[[dict[str, Any]], Awaitable[None]]
Skip: TypeAlias = Callable[[int], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Selection:
    """Which records: of one partition or all, from ``offset`` or ``timestamp_ms`` on, else the last ones."""

    partition: int | None = None
    offset: int | None = None
    timestamp_ms: int | None = None
    last: int = 100


def partitions_of(broker: Broker, topic: str) -> Mapping[int, Partition]:
    """Give the partitions of a topic. Raises KafkaError(UNKNOWN_TOPIC_OR_PARTITION)."""
    if topic not in broker.image.topics:
        raise KafkaError(Code.UNKNOWN_TOPIC_OR_PARTITION, f"there is no topic {topic}")
    return dict(sorted(broker.partitions.of_topic(topic).items()))


def record_count(broker: Broker, topic: str) -> int:
    """Give the number of offsets from the start to the end of all partitions of a topic, 0 without the topic."""
    partitions = broker.partitions.of_topic(topic).values()
    return sum(one.high_watermark - one.log.log_start_offset for one in partitions)


def read_topic(broker: Broker, topic: str, chosen: Selection) -> list[dict[str, Any]]:
    """Give up to ``last`` records of each chosen partition. Raises KafkaError, StorageFailure."""
    records: list[dict[str, Any]] = []
    for one in _chosen(broker, topic, chosen.partition):
        start = _start(one, chosen, max(one.log.log_start_offset, one.high_watermark - chosen.last))
        records += [shown(one, record) for record in islice(read_partition(one, start), chosen.last)]
    return records


async def search_topic(broker: Broker, topic: str, text: str, chosen: Selection) -> dict[str, Any]:
    """Give records whose key, value or headers hold ``text``, from the start of the log unless another is chosen.

    Stops after ``last`` records or SCANNED_MAX scanned ones; ``next`` has the offset of each partition where another
    search goes on, and is empty at the end. Raises KafkaError, StorageFailure.
    """
    wanted = text.encode()
    found: list[dict[str, Any]] = []
    following: dict[int, int] = {}
    scanned = 0
    pause = _Pause()
    for one in _chosen(broker, topic, chosen.partition):
        position = _start(one, chosen, one.log.log_start_offset)
        for record in read_partition(one, position):
            if len(found) >= chosen.last or scanned >= SCANNED_MAX:
                following[one.index] = record.offset
                break
            scanned += 1
            if _holds(record, wanted):
                found.append(shown(one, record))
            await pause.when_due()
            if one.deleted:
                break
    return {"records": found, "scanned": scanned, "next": following}


class Tail:
    """The records of a topic, or of one partition, that are written after this was made. Raises KafkaError."""

    def __init__(self, broker: Broker, topic: str, partition: int | None) -> None:
        self._positions = {one: one.high_watermark for one in _chosen(broker, topic, partition)}

    async def run(self, emit: Emit, skip: Skip) -> None:
        """Call ``emit`` with each record, until the topic is deleted.

        ``skip`` gets the number of records that were left out because ``emit`` is too slow. Raises StorageFailure.
        """
        watch = Watch(committed_only=False)
        for one in self._positions:
            one.watch(watch, one)
        try:
            while not any(one.deleted for one in self._positions):
                changed = watch.arm(0)
                moved = [await self._emit_new(one, emit, skip) for one in self._positions]
                if not any(moved):
                    await changed.wait()
        finally:
            for one in self._positions:
                one.unwatch(watch)

    async def _emit_new(self, one: Partition, emit: Emit, skip: Skip) -> bool:
        begin, end = self._positions[one], one.high_watermark
        self._positions[one] = end
        if begin >= end:
            return False
        if end - begin > BEHIND_MAX:
            await skip(end - begin)
            return True
        for record in read_partition(one, begin):
            if record.offset >= end:
                break
            await emit(shown(one, record))
        return True


def read_partition(partition: Partition, offset: int) -> Iterator[Record]:
    """Yield the records from ``offset`` to the high watermark; each piece is read when it is needed."""
    log = partition.log
    offset = max(offset, log.log_start_offset)
    while offset < log.high_watermark and not partition.deleted:
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
                    yield record
            offset = header.next_offset
            position += size


def shown(partition: Partition, record: Record) -> dict[str, Any]:
    """Return a record as a value for ``json``."""
    return record_fields(
        topic=partition.topic,
        partition=partition.index,
        offset=record.offset,
        timestamp_ms=record.timestamp_ms,
        key=record.key,
        value=record.value,
        headers=record.headers,
    )


def _chosen(broker: Broker, topic: str, index: int | None) -> Sequence[Partition]:
    found = partitions_of(broker, topic)
    if index is not None and index not in found:
        raise KafkaError(Code.UNKNOWN_TOPIC_OR_PARTITION, f"the topic {topic} has no partition {index}")
    return list(found.values()) if index is None else [found[index]]


def _start(partition: Partition, chosen: Selection, default: int) -> int:
    if chosen.timestamp_ms is not None:
        found = partition.log.offset_for_timestamp(chosen.timestamp_ms)
        return partition.high_watermark if found is None else found.offset
    return default if chosen.offset is None else chosen.offset


def _holds(record: Record, wanted: bytes) -> bool:
    return (
        (record.value is not None and wanted in record.value)
        or (record.key is not None and wanted in record.key)
        or any(wanted in name.encode() or (value is not None and wanted in value) for name, value in record.headers)
    )


class _Pause:
    """Gives way to the rest of the event loop after each slice of time."""

    def __init__(self) -> None:
        self._until_s = time.perf_counter() + _SLICE_S

    async def when_due(self) -> None:
        if time.perf_counter() >= self._until_s:
            await trio.lowlevel.checkpoint()
            self._until_s = time.perf_counter() + _SLICE_S
