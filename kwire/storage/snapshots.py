"""The .snapshot files of a log: its producers as of some offset, so that a start need not read the whole log.

Responsible for: the file format and which snapshots there are. Must not depend on: the log, when a snapshot is due.

```
int16 version 1, uint32 CRC-32C of what follows, int32 count, then for each producer:
    int64 producer id, int16 epoch, int32 last sequence, int64 last offset, int32 offset delta of the last batch,
    int64 timestamp, int32 coordinator epoch, int64 first offset of the open transaction or -1
```
The name of the file is the offset up to which the log is included. The timestamp is when the producer last appended, by
its own clock. Apache Kafka writes the time of the last records there and expires by it, which forgets a live producer
that copies records of years ago.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from struct import Struct
from typing import Final

from kwire.storage.files import Files
from kwire.storage.producer_state import Producer, ProducerBatch, ProducerStates
from kwire.storage.segments.segment import file_name
from kwire.wire.batches.batch import NO_SEQUENCE
from kwire.wire.batches.crc import crc32c

SNAPSHOT_SUFFIX: Final = ".snapshot"
_VERSION: Final = 1
_HEADER: Final = Struct(">hIi")
_CRC_START: Final = 6
_ENTRY: Final = Struct(">qhiqiqiq")


class Snapshots:
    """The snapshot files of one directory. ``offsets`` are those of the files, ascending."""

    __slots__ = ("_directory", "_files", "offsets", "unsynced")

    def __init__(self, files: Files, directory: str, offsets: Iterable[int], *, recovery_point: int = 0) -> None:
        self.offsets = sorted(offsets)
        # Names of files that the disk may not hold.
        self.unsynced = {file_name(each) + SNAPSHOT_SUFFIX for each in self.offsets if each >= recovery_point}
        self._files = files
        self._directory = directory

    def take(self, states: ProducerStates, offset: int, segment_offsets: Collection[int]) -> None:
        """Write a snapshot at ``offset``; remove the one before it, unless a segment begins there."""
        if self.offsets and self.offsets[-1] >= offset:
            return
        self._files.write_bytes(self._path(offset), write_snapshot(states.producers.values()), durable=False)
        self.unsynced.add(file_name(offset) + SNAPSHOT_SUFFIX)
        previous = self.offsets[-1] if self.offsets else None
        self.offsets.append(offset)
        if previous is not None and previous not in segment_offsets:
            self._remove(previous)

    def load_latest(self, states: ProducerStates, first_offset: int, end_offset: int) -> int:
        """Fill ``states`` from the latest sound snapshot and return its offset, or ``first_offset`` without one.

        Snapshots that are damaged, or outside of the log, which begins at ``first_offset``, are removed.
        """
        self.remove_before(first_offset)
        self.remove_above(end_offset)
        while self.offsets:
            offset = self.offsets[-1]
            producers = read_snapshot(self._files.read_bytes(self._path(offset)) or b"")
            if producers is not None:
                states.load(producers)
                return offset
            self._remove(offset)
        states.clear()
        return first_offset

    def remove_above(self, offset: int) -> None:
        """Remove the snapshots at higher offsets; one at ``offset`` stays."""
        for each in [each for each in self.offsets if each > offset]:
            self._remove(each)

    def remove_before(self, offset: int) -> None:
        """Remove the snapshots at lower offsets; one at ``offset`` stays."""
        for each in [each for each in self.offsets if each < offset]:
            self._remove(each)

    def remove(self, offset: int) -> None:
        """Remove the snapshot at ``offset`` if there is one."""
        if offset in self.offsets:
            self._remove(offset)

    def _remove(self, offset: int) -> None:
        self._files.remove(self._path(offset))
        self.offsets.remove(offset)

    def _path(self, offset: int) -> str:
        return f"{self._directory}/{file_name(offset)}{SNAPSHOT_SUFFIX}"


def write_snapshot(producers: Iterable[Producer]) -> bytes:
    """Make the content of a snapshot file."""
    entries = b"".join([_ENTRY.pack(*_snapshot_entry(producer)) for producer in producers])
    header = bytearray(_HEADER.pack(_VERSION, 0, len(entries) // _ENTRY.size))
    crc = crc32c(entries, crc32c(memoryview(header)[_CRC_START:]))
    header[2:_CRC_START] = crc.to_bytes(4, "big")
    return bytes(header) + entries


def read_snapshot(content: bytes) -> list[Producer] | None:
    """Return the producers of a snapshot file, None if it is damaged."""
    if len(content) < _HEADER.size:
        return None
    version, crc, count = _HEADER.unpack_from(content)
    if version != _VERSION or crc32c(memoryview(content)[_CRC_START:]) != crc:
        return None
    if count < 0 or len(content) != _HEADER.size + count * _ENTRY.size:
        return None
    producers = []
    for entry in _ENTRY.iter_unpack(memoryview(content)[_HEADER.size :]):
        producer_id, epoch, sequence, offset, delta, timestamp, coordinator_epoch, first_offset = entry
        batches = (ProducerBatch(sequence, offset, delta, timestamp),) if offset >= 0 else ()
        producers.append(
            Producer(producer_id, epoch, coordinator_epoch, timestamp, timestamp, max(first_offset, -1), batches)
        )
    return producers


def _snapshot_entry(producer: Producer) -> tuple[int, ...]:
    last = producer.batches[-1] if producer.batches else ProducerBatch(NO_SEQUENCE, -1, 0, -1)
    return (
        producer.producer_id,
        producer.epoch,
        last.last_sequence,
        last.last_offset,
        last.offset_delta,
        producer.last_seen_ms,
        producer.coordinator_epoch,
        producer.transaction_first_offset,
    )
