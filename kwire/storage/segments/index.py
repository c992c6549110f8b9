"""The three index files beside a segment.

Responsible for: their formats, finding an entry, keeping them no longer than the log. Must not depend on:
batches, segments.

```
.index      8 bytes an entry:  int32 last offset of a batch (relative to the segment's base), int32 its position
.timeindex 12 bytes an entry:  int64 largest timestamp up to here, int32 relative offset of the batch that has it
.txnindex  34 bytes an entry:  int16 version 0, int64 producer id, int64 first offset, int64 last offset (the marker's),
                               int64 last stable offset once this transaction is done; aborted transactions only
```
The first two are sparse: an entry for each ``index.interval.bytes`` of log. They can always be rebuilt from the log, so
new entries wait in memory until there are some dozens (a crash costs a short walk at the next start), and the part that
is on disk stays there: a lookup is a handful of small reads, and an idle index costs no memory.
"""

from __future__ import annotations

import contextlib
import operator
from bisect import bisect_right
from collections.abc import Iterator
from struct import Struct
from typing import Final, NamedTuple

from kwire.errors import StorageFailure
from kwire.storage.files import File, Files, Syncer

# Entries that may wait in memory, and entries read at once when a search is nearly done.
UNWRITTEN_MAX: Final = 64
_SEARCH_BLOCK: Final = 512


class IndexDamaged(StorageFailure):
    """An index does not hold what was written to it; it must be rebuilt from the log."""


class SparseIndex:
    """Entries of two ascending numbers each. Base of the offset index and the time index."""

    __slots__ = ("_entry", "_unwritten", "_written", "base_offset", "count", "file", "last")

    _entry: Struct

    def __init__(self, file: File, entry: Struct, base_offset: int) -> None:
        self.base_offset = base_offset
        self.file = file
        self._entry = entry
        self._unwritten: list[tuple[int, int]] = []
        self._written = self.count = self._count_written()
        self.last = self._read(self._written - 1) if self._written else None

    def __len__(self) -> int:
        return self.count

    def entry(self, index: int) -> tuple[int, int]:
        """Return the entry at ``index`` as it is stored, offsets relative."""
        if index >= self._written:
            return self._unwritten[index - self._written]
        return self._read(index)

    def entries(self) -> Iterator[tuple[int, int]]:
        """All entries as they are stored, offsets relative."""
        return (self.entry(index) for index in range(len(self)))

    @property
    def waiting(self) -> int:
        """How many entries are not in the file yet."""
        return len(self._unwritten)

    def write_out(self) -> None:
        """Write waiting entries to the file, which is created even if there are none."""
        self.file.append([b"".join([self._entry.pack(*entry) for entry in self._unwritten])], self._unwritten_bytes())
        self._written += len(self._unwritten)
        self._unwritten.clear()

    def truncate_entries(self, count: int) -> None:
        """Keep the first ``count`` entries."""
        del self._unwritten[max(0, count - self._written) :]
        self.count = min(self.count, count)
        if count < self._written:
            self.file.truncate(count * self._entry.size)
            self._written = count
        self.last = self.entry(count - 1) if count else None

    def close(self) -> None:
        self.file.close()

    def _append(self, first: int, second: int) -> None:
        self.last = (first, second)
        self._unwritten.append(self.last)
        self.count += 1

    def _unwritten_bytes(self) -> int:
        return len(self._unwritten) * self._entry.size

    def _floor(self, target: int, field: int = 0) -> int:
        """Return the index of the last entry whose ``field`` is at most ``target``, -1 if there is none."""
        return self._find(target, field)[0]

    def _find(self, target: int, field: int) -> tuple[int, tuple[int, int]]:
        """The same with the values of the entry, which mean nothing if the index is -1."""
        if self._unwritten and self._unwritten[0][field] <= target:
            index = bisect_right(self._unwritten, target, key=operator.itemgetter(field)) - 1
            return self._written + index, self._unwritten[index]
        low, high = 0, self._written
        while high - low > _SEARCH_BLOCK:
            middle = (low + high) // 2
            if self._read(middle)[field] <= target:
                low = middle
            else:
                high = middle
        size, count = self._entry.size, high - low
        block = self.file.read(low * size, count * size)
        if len(block) != count * size:
            raise IndexDamaged(self.file.path, "shorter than expected")
        unpack_from = self._entry.unpack_from
        index = bisect_right(range(count), target, key=lambda index: unpack_from(block, index * size)[field]) - 1
        if index < 0:
            return low - 1, (0, 0)
        first, second = unpack_from(block, index * size)
        return low + index, (first, second)

    def _read(self, index: int) -> tuple[int, int]:
        content = self.file.read(index * self._entry.size, self._entry.size)
        if len(content) != self._entry.size:
            raise IndexDamaged(self.file.path, "shorter than expected")
        first, second = self._entry.unpack(content)
        return first, second

    def _count_written(self) -> int:
        """Count the entries on disk. A killed Apache Kafka leaves its preallocated index with zeros at the end."""
        count = self.file.size // self._entry.size
        if count and self._read(count - 1) == (0, 0):
            low, high = 0, count - 1
            while low < high:
                middle = (low + high) // 2
                if self._read(middle) == (0, 0):
                    high = middle
                else:
                    low = middle + 1
            count = low
        if self.file.size != count * self._entry.size:
            self.file.truncate(count * self._entry.size)
        return count


class OffsetIndex(SparseIndex):
    """Where to start walking for an offset."""

    __slots__ = ()

    ENTRY: Final = Struct(">ii")

    def __init__(self, file: File, base_offset: int) -> None:
        super().__init__(file, self.ENTRY, base_offset)

    def append(self, last_offset: int, position: int) -> None:
        self._append(last_offset - self.base_offset, position)

    def before(self, offset: int) -> tuple[int, int] | None:
        """Return last offset and position of the last indexed batch that ends at or before ``offset``."""
        index, (relative_offset, position) = self._find(offset - self.base_offset, 0)
        return (relative_offset + self.base_offset, position) if index >= 0 else None

    def offset_behind(self, position: int) -> int | None:
        """Return the last offset of the first indexed batch at or behind ``position``, None if there is none.

        A very first entry exactly at ``position`` does not count: Kafka's search passes over it.
        """
        if self.last is None or self.last[1] < position:
            return None
        index = self._floor(position - 1, field=1) + 1
        if index == 0 and self.entry(0)[1] == position:
            index = 1
        return self.entry(index)[0] + self.base_offset if index < len(self) else None

    def truncate_to_position(self, position: int) -> None:
        self.truncate_entries(self._floor(position - 1, field=1) + 1)


class TimeIndex(SparseIndex):
    """Where to start looking for a timestamp. Both numbers of an entry rise from entry to entry."""

    __slots__ = ()

    ENTRY: Final = Struct(">qi")

    def __init__(self, file: File, base_offset: int) -> None:
        super().__init__(file, self.ENTRY, base_offset)

    def append_if_later(self, timestamp_ms: int, offset: int) -> None:
        """Add an entry unless the last one is as late; ``offset`` is absolute."""
        if self.last is None or timestamp_ms > self.last[0]:
            self._append(timestamp_ms, offset - self.base_offset)

    def before(self, timestamp_ms: int) -> tuple[int, int] | None:
        """Return the last entry that is not later: its timestamp, and an offset in the first batch that has it.

        No record before that batch is as late as ``timestamp_ms``.
        """
        index, (latest_ms, relative_offset) = self._find(timestamp_ms, 0)
        return (latest_ms, relative_offset + self.base_offset) if index >= 0 else None

    def truncate_to_offset(self, offset: int) -> None:
        """Keep the entries below ``offset``."""
        self.truncate_entries(self._floor(offset - self.base_offset - 1, field=1) + 1)


class AbortedTransaction(NamedTuple):
    """One entry of the transaction index: the marker at ``last_offset`` aborted what began at ``first_offset``."""

    producer_id: int
    first_offset: int
    last_offset: int
    last_stable_offset: int


class TransactionIndex:
    """Aborted transactions whose marker is in this segment, in order of their markers. Few segments have any."""

    __slots__ = ("_files", "_loaded", "_path", "_written")

    ENTRY: Final = Struct(">hqqqq")
    VERSION: Final = 0

    def __init__(self, files: Files, path: str, *, exists: bool) -> None:
        self._files = files
        self._path = path
        self._loaded: list[AbortedTransaction] | None = None if exists else []
        self._written = 0

    def entries(self) -> list[AbortedTransaction]:
        """All entries. The list belongs to the index and is not to be changed."""
        if self._loaded is None:
            content = self._files.read_bytes(self._path) or b""
            whole = len(content) // self.ENTRY.size * self.ENTRY.size
            self._loaded = [AbortedTransaction._make(entry[1:]) for entry in self.ENTRY.iter_unpack(content[:whole])]
            self._written = len(self._loaded)
        return self._loaded

    def append(self, aborted: AbortedTransaction) -> None:
        """Add an aborted transaction, unless a replay of the log's tail adds it again."""
        entries = self.entries()
        if entries and entries[-1].last_offset >= aborted.last_offset:
            return
        entries.append(aborted)
        # The marker is in the log already, so this must not fail: on a full disk the entry stays in memory.
        with contextlib.suppress(StorageFailure):
            self.write_out()

    def write_out(self) -> None:
        """Write the entries that could not be written while the disk was full."""
        if self._loaded is None or self._written == len(self._loaded):
            return
        waiting = self._loaded[self._written :]
        file = self._files.open(self._path, size=self._written * self.ENTRY.size)
        try:
            content = b"".join([self.ENTRY.pack(self.VERSION, *aborted) for aborted in waiting])
            file.append([content], len(content))
        finally:
            file.close()
        self._written = len(self._loaded)

    def truncate_to(self, offset: int) -> None:
        """Keep the transactions whose marker is below ``offset``."""
        self._keep([aborted for aborted in self.entries() if aborted.last_offset < offset])

    def keep_synced(self, base_offset: int, synced_below: int) -> None:
        """Keep the transactions whose marker is below ``synced_below``: a loss of power may leave anything behind."""
        kept: list[AbortedTransaction] = []
        last_offset = base_offset - 1
        for aborted in self.entries():
            if not last_offset < aborted.last_offset < synced_below:
                break
            kept.append(aborted)
            last_offset = aborted.last_offset
        self._keep(kept)

    def _keep(self, kept: list[AbortedTransaction]) -> None:
        if len(kept) == len(self.entries()):
            return
        file = self._files.open(self._path, size=self._written * self.ENTRY.size)
        try:
            self._written = min(self._written, len(kept))
            file.truncate(self._written * self.ENTRY.size)
        finally:
            file.close()
        self._loaded = kept

    def syncers(self) -> list[Syncer]:
        """A handle to sync the file, if it exists."""
        if not self.entries():
            return []
        file = self._files.open(self._path, size=self._written * self.ENTRY.size)
        try:
            return [file.syncer()]
        finally:
            file.close()
