"""One .log file and the three indexes beside it.

Responsible for: appending whole batches, finding the position of an offset, when a sparse index gets an entry, sealing,
cutting off, and the names of a segment's files. Must not depend on: other segments, producers, which offsets are
visible, why a segment is rolled or deleted.

A segment's files are named by the first offset that it may hold, in 20 digits. Files appear when something is written
to them. ``position`` is a byte in the .log file.
"""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from struct import Struct
from typing import Final, NamedTuple

from kwire.errors import StorageFailure
from kwire.storage.config import LogConfig
from kwire.storage.files import Buffer, File, Files, FileSlice, Syncer
from kwire.storage.segments.index import (
    UNWRITTEN_MAX,
    AbortedTransaction,
    IndexDamaged,
    OffsetIndex,
    TimeIndex,
    TransactionIndex,
)
from kwire.wire.batches.batch import HEADER_BYTES, NO_TIMESTAMP, OVERHEAD_BYTES, BatchHeader, read_batch_header

LOG_SUFFIX: Final = ".log"
INDEX_SUFFIX: Final = ".index"
TIME_INDEX_SUFFIX: Final = ".timeindex"
TRANSACTION_INDEX_SUFFIX: Final = ".txnindex"
DELETED_SUFFIX: Final = ".deleted"
SUFFIXES: Final = (LOG_SUFFIX, INDEX_SUFFIX, TIME_INDEX_SUFFIX, TRANSACTION_INDEX_SUFFIX)

RELATIVE_OFFSET_MAX: Final = 2**31 - 1

# Bytes read at once when headers are walked: enough for the batches between two entries of the sparse index.
_WALK_BYTES: Final = 4096 + HEADER_BYTES
_SCAN_BYTES: Final = 256 * 1024
# Where a batch begins, how long it is and its last offset delta: all that a walk needs.
_STEP: Final = Struct(">qi11xi")
_OFFSET_ENTRY_BYTES: Final = OffsetIndex.ENTRY.size
_TIME_ENTRY_BYTES: Final = TimeIndex.ENTRY.size
# Appended batches of which the position is remembered: consumers at the log end read one of these.
_RECENT_MAX: Final = 8


class BatchPosition(NamedTuple):
    """A batch in a segment."""

    position: int
    size_bytes: int


class AppendedBatch(NamedTuple):
    """The fields of an appended batch that the segment and the producer state need."""

    base_offset: int
    last_offset: int
    max_timestamp: int
    size_bytes: int


class PendingDeletion(NamedTuple):
    """A file or directory to be removed when ``due_ms`` has come. ``reason``: what retention deleted it for."""

    path: str
    due_ms: int
    is_directory: bool
    reason: str = ""


class Segment:
    """One segment of a log. ``names`` are the files of its directory with their sizes: the disk need not be read."""

    __slots__ = (
        "_bytes_since_entry",
        "_directory",
        "_files",
        "_first_timestamp",
        "_index_bytes",
        "_max_timestamp",
        "_offsets",
        "_recent",
        "_sealed_size",
        "_times",
        "aborted",
        "base_offset",
        "created_ms",
        "file",
        "unsynced",
    )

    def __init__(
        self,
        files: Files,
        directory: str,
        base_offset: int,
        *,
        names: dict[str, int] | None = None,
        created_ms: int = 0,
    ) -> None:
        name = file_name(base_offset)
        self._files = files
        self._directory = directory
        names = names or {}
        self.base_offset = base_offset
        self.created_ms = created_ms
        self.file: File = files.open(self.path(LOG_SUFFIX), size=names.get(name + LOG_SUFFIX, 0))
        self.aborted = TransactionIndex(
            files, self.path(TRANSACTION_INDEX_SUFFIX), exists=name + TRANSACTION_INDEX_SUFFIX in names
        )
        # Sizes of the two sparse indexes before they are opened.
        self._index_bytes = (names.get(name + INDEX_SUFFIX, 0), names.get(name + TIME_INDEX_SUFFIX, 0))
        # Whether the .log file may hold bytes that are not synced.
        self.unsynced = False
        # The indexes and the largest timestamp are looked at when first needed: a thousand logs open at once.
        self._offsets: OffsetIndex | None = None
        self._times: TimeIndex | None = None
        self._max_timestamp: tuple[int, int] | None = None
        self._first_timestamp: int | None = None
        self._bytes_since_entry = 0
        self._recent: dict[int, tuple[int, int]] = {}

    @property
    def size_bytes(self) -> int:
        return self.file.size

    @property
    def offsets(self) -> OffsetIndex:
        if self._offsets is None:
            path = self.path(INDEX_SUFFIX)
            size, _ = self._index_bytes
            self._offsets = OffsetIndex(self._files.open(path, size=size), self.base_offset)
        return self._offsets

    @property
    def times(self) -> TimeIndex:
        if self._times is None:
            path = self.path(TIME_INDEX_SUFFIX)
            _, size = self._index_bytes
            self._times = TimeIndex(self._files.open(path, size=size), self.base_offset)
        return self._times

    def path(self, suffix: str) -> str:
        return f"{self._directory}/{file_name(self.base_offset)}{suffix}"

    # --- writing

    def create_file(self) -> None:
        """Create the empty .log file, which otherwise appears at the first append. Raises StorageFailure."""
        # Through the descriptor, as after a failed append the file is open: a new file of the same name would replace
        # it.
        self.file.truncate(0)

    def append(
        self, parts: list[Buffer], size_bytes: int, batches: Sequence[AppendedBatch], index_interval_bytes: int
    ) -> None:
        """Write ``parts``, which hold ``batches``, at the end; or nothing (StorageFailure)."""
        # All that may have to be read is read before the write: after it nothing may fail.
        max_timestamp, max_timestamp_offset = self._max_timestamp or self.max_timestamp
        offsets, times = self._offsets, self._times
        if offsets is None or times is None:
            offsets, times = self.offsets, self.times
        since_entry = self._bytes_since_entry
        self.unsynced = True
        start = position = self.file.append(parts, size_bytes)
        if start == 0:
            self._first_timestamp = batches[0].max_timestamp
        recent = self._recent
        for base_offset, last_offset, timestamp, batch_bytes in batches:
            if timestamp > max_timestamp:
                max_timestamp, max_timestamp_offset = timestamp, last_offset
            if since_entry > index_interval_bytes:
                offsets.append(last_offset, position)
                times.append_if_later(max_timestamp, max_timestamp_offset)
                since_entry = 0
                if offsets.waiting >= UNWRITTEN_MAX:
                    # The batch is in the log already, so this must not fail: on a full disk the entries stay in memory.
                    with contextlib.suppress(StorageFailure):
                        self.write_out()
            recent[base_offset] = (position, batch_bytes)
            if len(recent) > _RECENT_MAX:
                del recent[next(iter(recent))]
            position += batch_bytes
            since_entry += batch_bytes
        self._bytes_since_entry = since_entry
        self._max_timestamp = (max_timestamp, max_timestamp_offset)

    def is_full(self, config: LogConfig, size_bytes: int, last_offset: int, now_ms: int, timestamp_ms: int) -> bool:
        """Whether an append of this size, last offset and timestamp needs a new segment."""
        size = self.file.size
        if size == 0:
            return last_offset - self.base_offset > RELATIVE_OFFSET_MAX
        if size + size_bytes > config.segment_bytes or last_offset - self.base_offset > RELATIVE_OFFSET_MAX:
            return True
        offsets, times = self._offsets, self._times
        if offsets is None or times is None:
            offsets, times = self.offsets, self.times
        # Kafka reserves one entry of the time index, which is added when the segment is sealed.
        if offsets.count >= config.segment_index_bytes // _OFFSET_ENTRY_BYTES or (
            times.count >= config.segment_index_bytes // _TIME_ENTRY_BYTES - 1
        ):
            return True
        first_timestamp = self._first_timestamp
        if first_timestamp is None:
            first_timestamp = self.first_timestamp
        waited_ms = timestamp_ms - first_timestamp if first_timestamp >= 0 else now_ms - self.created_ms
        limit_ms = config.segment_ms_max if config.compact else config.segment_ms
        if config.segment_jitter_ms:
            limit_ms -= self._jitter_ms(config)
        return waited_ms > limit_ms

    def seal(self) -> None:
        """Complete the indexes: a segment that gets no more batches, or a clean stop. Trims what was preallocated."""
        max_timestamp, offset = self.max_timestamp
        if max_timestamp != NO_TIMESTAMP:
            self.times.append_if_later(max_timestamp, offset)
        self.unsynced = True
        self.write_out()
        self.file.truncate(self.file.size)

    def write_out(self) -> None:
        """Write index entries that wait in memory to their files."""
        self.offsets.write_out()
        self.times.write_out()
        self.aborted.write_out()

    def truncate_to_position(self, position: int, next_offset: int) -> None:
        """Cut off everything from the batch at ``position`` on; ``next_offset`` is the end offset then."""
        # Indexes first: an index that is too short is repaired by a walk, one that is too long points behind the log.
        self.offsets.truncate_to_position(position)
        self.times.truncate_to_offset(next_offset)
        self.aborted.truncate_to(next_offset)
        self.file.truncate(position)
        self.unsynced = True
        self._recent.clear()
        self._max_timestamp = None
        self._first_timestamp = None
        self._bytes_since_entry = 0

    def rebuild_indexes(self, index_interval_bytes: int = 4096) -> None:
        """Rebuild the offset and time index from the batches."""
        self.forget_index_from(0)
        self.index_batches(self.walk(), 0, index_interval_bytes)
        self.write_out()

    def forget_index_from(self, position: int) -> None:
        """Remove index entries for the batches behind ``position``."""
        if position == 0:
            # The first batch never has an entry. Entries that are there may be damaged.
            self.offsets.truncate_entries(0)
            self.times.truncate_entries(0)
            return
        self.offsets.truncate_to_position(position + 1)
        last = self.offsets.last
        self.times.truncate_to_offset(last[0] + self.base_offset + 1 if last else self.base_offset)

    def index_batches(
        self, batches: Iterable[tuple[int, BatchHeader]], position: int, index_interval_bytes: int
    ) -> int:
        """Add index entries for ``batches``, which begin at ``position`` and have none; return where they end."""
        since_entry = 0
        largest = (NO_TIMESTAMP, self.base_offset)
        if self.times.last is not None:
            largest = (self.times.last[0], self.times.last[1] + self.base_offset)
        for at, header in batches:
            can_index = self._can_index(header)
            if can_index and header.max_timestamp > largest[0]:
                largest = (header.max_timestamp, header.last_offset)
            if can_index and since_entry > index_interval_bytes:
                self.offsets.append(header.last_offset, at)
                self.times.append_if_later(*largest)
                since_entry = 0
            since_entry += header.size_bytes
            position = at + header.size_bytes
        self._bytes_since_entry = since_entry
        self._recent.clear()
        self._max_timestamp = largest
        return position

    def cut_file(self, position: int) -> None:
        """Cut the .log file alone; the indexes do not reach beyond ``position``."""
        self.file.truncate(position)
        self.unsynced = True

    def syncers(self, *, sealed: bool) -> list[Syncer]:
        """Handles to sync what was written; with the indexes once the segment is ``sealed``."""
        # An aborted transaction may be in this index only, once a producer snapshot without it is written.
        syncers = [self.file.syncer(), *self.aborted.syncers()]
        if sealed:
            syncers += [index.file.syncer() for index in (self.offsets, self.times)]
        return syncers

    def rename_to_deleted(self, due_ms: int, reason: str = "") -> list[PendingDeletion]:
        """Rename the files; open slices of them stay readable."""
        deletions: list[PendingDeletion] = []
        # Not by a list of the directory: of many segments each would list all.
        for suffix in reversed(SUFFIXES):
            path = self.path(suffix)
            if self._files.exists(path):
                self._files.rename(path, path + DELETED_SUFFIX)
                deletions.append(PendingDeletion(path + DELETED_SUFFIX, due_ms, is_directory=False, reason=reason))
        self.close()
        return deletions

    def remove(self) -> None:
        """Remove the files for good."""
        self.close()
        # The .log file last: recovery takes an index without a log for missing records.
        for suffix in reversed(SUFFIXES):
            self._files.remove(self.path(suffix))

    def close(self) -> None:
        """Close descriptors; nothing is lost if the segment was sealed or its indexes written out."""
        self.file.close()
        if self._offsets is not None:
            self._offsets.close()
        if self._times is not None:
            self._times.close()

    # --- reading

    def find(self, offset: int) -> BatchPosition | None:
        """Find the first batch whose last offset is at least ``offset``; None if all batches end before."""
        recent = self._recent.get(offset)
        if recent is not None:
            return BatchPosition(*recent)
        try:
            return self._find_from(offset, self.offsets.before(offset))
        except IndexDamaged:
            # The log is authoritative.
            self.rebuild_indexes()
        return self._find_from(offset, self.offsets.before(offset))

    def _find_from(self, offset: int, indexed: tuple[int, int] | None) -> BatchPosition | None:
        """Walk from the batch that the index names; ``indexed`` is its last offset and position, which must match."""
        file, end = self.file, self.file.size
        expected, position = indexed or (None, 0)
        if indexed is not None and not 0 <= position <= end - HEADER_BYTES:
            raise IndexDamaged(self.offsets.file.path, f"an entry for {expected} points behind the end of the log")
        while position + HEADER_BYTES <= end:
            chunk = file.read(position, min(_WALK_BYTES, end - position))
            at = 0
            while at + HEADER_BYTES <= len(chunk):
                base_offset, length, last_delta = _STEP.unpack_from(chunk, at)
                if expected is not None and base_offset + last_delta != expected:
                    raise IndexDamaged(self.offsets.file.path, f"an entry for {expected} points to another batch")
                if base_offset + last_delta >= offset:
                    return BatchPosition(position + at, length + OVERHEAD_BYTES)
                if length < HEADER_BYTES - OVERHEAD_BYTES:
                    raise StorageFailure(file.path, f"no batch at position {position + at}")
                expected = None
                at += length + OVERHEAD_BYTES
            if at == 0:
                raise StorageFailure(file.path, f"shorter than expected at position {position}")
            position += at
        return None

    def walk(self, position: int = 0) -> Iterator[tuple[int, BatchHeader]]:
        """Headers from the batch at ``position`` on, each with its position, up to the first that is not whole."""
        return walk_headers(self.file, position, self.file.size)

    @property
    def max_timestamp(self) -> tuple[int, int]:
        """The largest timestamp and the last offset of the batch that has it; (-1, base offset) without one."""
        if self._max_timestamp is None:
            try:
                self._max_timestamp = self._find_max_timestamp()
            except IndexDamaged:
                # The log is authoritative.
                self.rebuild_indexes()
                self._max_timestamp = self._find_max_timestamp()
        return self._max_timestamp

    def _find_max_timestamp(self) -> tuple[int, int]:
        """Walk from the batch that the last entry of the time index names, whose timestamp must match."""
        largest, position = (NO_TIMESTAMP, self.base_offset), 0
        if self.file.size and self.times.last is not None:
            largest = (self.times.last[0], self.times.last[1] + self.base_offset)
            found = self.find(largest[1])
            header = None if found is None else read_batch_header(self.file.read(found.position, HEADER_BYTES))
            if found is None or header is None or header.max_timestamp != largest[0] or header.base_offset > largest[1]:
                raise IndexDamaged(self.times.file.path, f"no batch at {largest[1]} has its latest record then")
            position = found.position
        for _, header in self.walk(position):
            if header.max_timestamp > largest[0] and self._can_index(header):
                largest = (header.max_timestamp, header.last_offset)
        return largest

    def _can_index(self, header: BatchHeader) -> bool:
        """Tell whether the offset of a batch, which no CRC covers, is in the segment: damage may have moved it."""
        return 0 <= header.last_offset - self.base_offset <= RELATIVE_OFFSET_MAX

    @property
    def first_timestamp(self) -> int:
        """The max timestamp of the first batch, from which a segment's age is counted; -1 if there is none."""
        if self._first_timestamp is None:
            whole = self.file.size >= HEADER_BYTES
            first = read_batch_header(self.file.read(0, HEADER_BYTES)) if whole else None
            self._first_timestamp = first.max_timestamp if first else NO_TIMESTAMP
        return self._first_timestamp

    def largest_timestamp(self) -> int:
        """How recent the segment is: its largest timestamp, or when it was last written if its records have none."""
        timestamp_ms = self.max_timestamp[0]
        return timestamp_ms if timestamp_ms >= 0 else self._files.modified_ms(self.file.path)

    def read_end(self) -> tuple[int, int]:
        """Read from the file where its last whole batch ends: the offset and the position behind it.

        Where the index leads to no batch it is the segment's beginning.
        """
        next_offset, end = self.base_offset, 0
        for at, header in self.walk(self.offsets.last[1] if self.offsets.last else 0):
            next_offset = header.next_offset
            end = at + header.size_bytes
        return next_offset, end

    def aborted_between(self, first_offset: int, end_offset: int) -> tuple[list[AbortedTransaction], bool]:
        """Aborted transactions that overlap the offsets, and whether no later segment can hold another."""
        overlapping = []
        for aborted in self.aborted.entries():
            if aborted.last_offset >= first_offset and aborted.first_offset < end_offset:
                overlapping.append(aborted)
            if aborted.last_stable_offset >= end_offset:
                return overlapping, True
        return overlapping, False

    def _jitter_ms(self, config: LogConfig) -> int:
        """Spread the rolls of many logs that began together; always the same for one segment."""
        return zlib.crc32(self.path(LOG_SUFFIX).encode()) % min(config.segment_jitter_ms, config.segment_ms_max)


def walk_headers(file: File, position: int, end: int) -> Iterator[tuple[int, BatchHeader]]:
    """Headers from the batch at ``position`` on, each with its position, up to the first that is not whole."""
    return _walk(file.read, position, end)


def walk_slice(piece: FileSlice) -> Iterator[tuple[int, BatchHeader]]:
    """The same for a slice, with positions in it."""
    return _walk(piece.pread, 0, len(piece))


def _walk(read: Callable[[int, int], bytes], position: int, end: int) -> Iterator[tuple[int, BatchHeader]]:
    read_bytes = _WALK_BYTES
    while position + HEADER_BYTES <= end:
        chunk = read(position, min(read_bytes, end - position))
        at = 0
        while at + HEADER_BYTES <= len(chunk):
            header = read_batch_header(chunk, at)
            if header.length < HEADER_BYTES - OVERHEAD_BYTES or position + at + header.size_bytes > end:
                return
            yield position + at, header
            at += header.size_bytes
        if at == 0:
            return
        # Small batches are read many at once; of large ones little more than the header.
        read_bytes = _SCAN_BYTES if at < 2 * len(chunk) else _WALK_BYTES
        position += at


def file_name(offset: int) -> str:
    return f"{offset:020d}"
