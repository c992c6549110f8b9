"""Records of topics, without a group: the last ones, those from an offset or a time on, search, and following the end.

Responsible for: reading records in pieces that do not hold the event loop. Must not depend on: HTTP.

Control records are left out; records of open and aborted transactions are there. A record has topic, partition, offset,
timestamp, key, value and headers, as ``kwire consume --json`` writes it. With a ``RecordDecoder`` it also has
``decoded``: its key and value as JSON, by their schemas.
"""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, takewhile
from typing import Any, Final, TypeAlias

import trio

from kwire.broker.broker import Broker
from kwire.broker.partitions.partition import Partition
from kwire.broker.partitions.watches import Watch
from kwire.control.decoding import RecordDecoder
from kwire.errors import Code, KafkaError
from kwire.wire.batches.batch import read_batch_header
from kwire.wire.batches.json_records import record_fields
from kwire.wire.batches.records import Record, read_records

RECORDS_MAX: Final = 10_000
SCANNED_MAX: Final = 100_000
# A reader that follows the end and is further behind than this continues at the end.
BEHIND_MAX: Final = 10_000
# Decoding a record costs more than looking at its bytes.
SCANNED_DECODED_MAX: Final = 20_000
SEARCH_S_MAX: Final = 10.0
# How many records are given to the decoder at once, and how many bytes of them.
_PIECE_RECORDS: Final = 500
_PIECE_BYTES: Final = 1 << 20
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
    return [shown(one, record) for one, record in _read(broker, topic, chosen)]


async def read_decoded(
    broker: Broker, topic: str, chosen: Selection, decoder: RecordDecoder | None
) -> list[dict[str, Any]]:
    """Give the records of ``read_topic``, decoded."""
    return await _shown_decoded(_read(broker, topic, chosen), decoder)


async def search_topic(
    broker: Broker, topic: str, text: str, chosen: Selection, decoder: RecordDecoder | None = None
) -> dict[str, Any]:
    """Give records whose key, value or headers hold ``text``, from the start of the log unless another is chosen.

    With a decoder the decoded key and value count too. Stops after ``last`` records or SCANNED_MAX scanned ones; with a
    decoder after SCANNED_DECODED_MAX, or after SEARCH_S_MAX. ``next`` has the offset of each partition where another
    search continues, and is empty at the end. Raises KafkaError, StorageFailure.
    """
    search = _Search(text, chosen.last, decoder)
    for one in _chosen(broker, topic, chosen.partition):
        await search.search_partition(one, _start(one, chosen, one.log.log_start_offset))
    records = await _shown_decoded(search.found, decoder)
    return {"records": records, "scanned": search.scanned, "next": search.following}


class _Search:
    """A search in one partition after the other."""

    def __init__(self, text: str, last: int, decoder: RecordDecoder | None) -> None:
        self._text = text
        self._wanted = text.encode()
        self._last = last
        self._decoder = decoder
        self._scanned_max = SCANNED_MAX if decoder is None else SCANNED_DECODED_MAX
        self._until_s = math.inf if decoder is None else time.perf_counter() + SEARCH_S_MAX
        self._pause = _Pause()
        self.found: list[tuple[Partition, Record]] = []
        self.following: dict[int, int] = {}
        self.scanned = 0

    async def search_partition(self, one: Partition, position: int) -> None:
        for piece in _pieces(read_partition(one, position), self._decoder):
            if not await self._searched(one, piece):
                return
            await self._pause.when_due()
            if one.deleted:
                return

    async def _searched(self, one: Partition, piece: Sequence[Record]) -> bool:
        """Look at some records; False where the search ends before the last of them."""
        if time.perf_counter() >= self._until_s:
            self.following[one.index] = piece[0].offset
            return False
        matches = [False] * len(piece) if self._ended else await self._holding(piece)
        for record, holds in zip(piece, matches, strict=True):
            if self._ended:
                self.following[one.index] = record.offset
                return False
            self.scanned += 1
            if holds:
                self.found.append((one, record))
        return True

    @property
    def _ended(self) -> bool:
        return len(self.found) >= self._last or self.scanned >= self._scanned_max

    async def _holding(self, records: Sequence[Record]) -> list[bool]:
        raw = [_holds(record, self._wanted) for record in records]
        if self._decoder is None or all(raw):
            return raw
        decoded = await self._decoder.holding(records, self._text)
        return [one or other for one, other in zip(raw, decoded, strict=True)]


class Tail:
    """The records of a topic, or of one partition, that are written after this was made. Raises KafkaError."""

    def __init__(self, broker: Broker, topic: str, partition: int | None, decoder: RecordDecoder | None = None) -> None:
        self._decoder = decoder
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
        new = takewhile(lambda each: each.offset < end, read_partition(one, begin))
        for piece in _pieces(new, self._decoder):
            for each in await _shown_decoded([(one, record) for record in piece], self._decoder):
                await emit(each)
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


def _pieces(records: Iterable[Record], decoder: RecordDecoder | None) -> Iterator[list[Record]]:
    """Yield one record after the other, or with a decoder several at a time: asking it for each would be slow."""
    piece: list[Record] = []
    size = 0
    for record in records:
        piece.append(record)
        size += len(record.key or b"") + len(record.value or b"")
        if decoder is None or len(piece) >= _PIECE_RECORDS or size >= _PIECE_BYTES:
            yield piece
            piece, size = [], 0
    if piece:
        yield piece


async def _shown_decoded(
    records: Sequence[tuple[Partition, Record]], decoder: RecordDecoder | None
) -> list[dict[str, Any]]:
    if decoder is None:
        return [shown(one, record) for one, record in records]
    decoded = await decoder.decoded([record for _, record in records])
    return [
        {**shown(one, record), **({"decoded": each} if each else {})}
        for (one, record), each in zip(records, decoded, strict=True)
    ]


def _read(broker: Broker, topic: str, chosen: Selection) -> list[tuple[Partition, Record]]:
    records: list[tuple[Partition, Record]] = []
    for one in _chosen(broker, topic, chosen.partition):
        start = _start(one, chosen, max(one.log.log_start_offset, one.high_watermark - chosen.last))
        records += [(one, record) for record in islice(read_partition(one, start), chosen.last)]
    return records


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
