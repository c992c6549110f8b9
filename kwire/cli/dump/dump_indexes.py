"""The index files of a log in a dump: their entries, and whether they agree with the log.

Responsible for: reading .index, .timeindex and .txnindex (a broker may have them open and preallocated), comparing them
with the .log file of the same name, and the messages for mismatches. Must not depend on: options, the content of
records.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from operator import itemgetter
from pathlib import Path
from struct import Struct
from typing import NamedTuple

from kwire.cli.dump.dump_batches import base_offset_of, batches
from kwire.cli.java.names import hash_order
from kwire.storage.segments.index import OffsetIndex, TimeIndex, TransactionIndex
from kwire.wire.batches.batch import NO_TIMESTAMP
from kwire.wire.batches.records import read_records


class IndexOptions(NamedTuple):
    """What to do with an index."""

    sanity_only: bool
    verify_only: bool
    batch_bytes_max: int


class Faults:
    """The mismatches by file; printed at the end of a dump."""

    def __init__(self) -> None:
        self.mismatches: dict[str, dict[int, int]] = {}
        self.wrong_times: dict[str, list[tuple[int, int]]] = {}
        self.unordered_times: dict[str, list[tuple[int, int]]] = {}
        self.times_not_found: dict[str, list[tuple[int, int]]] = {}
        self.gaps: dict[str, dict[int, int]] = {}

    def lines(self) -> Iterator[str]:
        """Yield the lines of the official tool, files in its order."""
        for name in _java_order(self.mismatches):
            yield f"Mismatches in :{name}"
            for indexed, offset in sorted(self.mismatches[name].items(), reverse=True):
                yield f"  Index offset: {indexed}, log offset: {offset}"
        for name in _java_order(self.wrong_times):
            yield f"Found timestamp mismatch in :{name}"
            for indexed, logged in self.wrong_times[name]:
                yield f"  Index timestamp: {indexed}, log timestamp: {logged}"
        for name in _java_order(self.unordered_times):
            yield f"Found out of order timestamp in :{name}"
            for time, before in self.unordered_times[name]:
                yield f"  Index timestamp: {time}, Previously indexed timestamp: {before}"
        for name in _java_order(self.times_not_found):
            yield "The following indexed offsets are not found in the log."
            for indexed, offset in self.times_not_found[name]:
                yield f"Indexed offset: {indexed}, found log offset: {offset}"
        for name in _java_order(self.gaps):
            yield f"Non-consecutive offsets in {name}"
            for before, after in sorted(self.gaps[name].items()):
                yield f"  {before} is followed by {after}"


def _java_order(names: Iterable[str]) -> list[str]:
    # The official tool keeps them in a hash map, where a new entry precedes the older ones of its bucket.
    return hash_order(reversed(list(names)))


def show_offset_index(path: Path, options: IndexOptions, faults: Faults) -> Iterator[str]:
    """Yield the lines for a .index file. Raises ValueError, OSError."""
    base_offset = base_offset_of(path)
    log_path = _log_beside(path)
    entries = _entries(path, OffsetIndex.ENTRY)
    if not entries:
        yield f"{path} is empty."
        return
    if options.sanity_only:
        _check_sanity(path, OffsetIndex.ENTRY.size, entries[-1][0] > 0, entries[-1][0] + base_offset)
        yield f"{path} passed sanity check."
        return
    for relative_offset, position in _until_zeros(entries):
        offset = base_offset + relative_offset
        found = next(batches(log_path, position, options.batch_bytes_max), None)
        if found is None:
            raise ValueError(
                f"{path}: the entry of offset {offset} points to position {position}, where no batch starts"
            )
        if found.header.last_offset != offset:
            faults.mismatches.setdefault(str(path.absolute()), {})[offset] = found.header.last_offset
        if not options.verify_only:
            yield f"offset: {offset} position: {position}"


def show_time_index(path: Path, options: IndexOptions, faults: Faults) -> Iterator[str]:
    """Yield the lines for a .timeindex file. Raises ValueError, OSError."""
    base_offset = base_offset_of(path)
    log_path = _log_beside(path)
    entries = _entries(path, TimeIndex.ENTRY)
    positions = list(_until_zeros(_entries(path.with_suffix(".index"), OffsetIndex.ENTRY)))
    if options.sanity_only:
        if entries:
            _check_sanity(path, TimeIndex.ENTRY.size, entries[-1][1] >= 0, entries[-1][1] + base_offset)
        yield f"{path} passed sanity check."
        return
    name = str(path.absolute())
    previous_ms = NO_TIMESTAMP
    for index, (timestamp_ms, relative_offset) in enumerate(entries):
        if index > 0 and relative_offset == 0:
            return
        offset = base_offset + relative_offset
        before = bisect_right(positions, relative_offset, key=itemgetter(0))
        last_offset, latest_ms = _batch_at(log_path, positions[before - 1][1] if before else 0, offset)
        if last_offset != offset:
            faults.times_not_found.setdefault(name, []).append((offset, last_offset))
        else:
            if latest_ms != timestamp_ms:
                faults.wrong_times.setdefault(name, []).append((timestamp_ms, latest_ms))
            if previous_ms >= timestamp_ms:
                faults.unordered_times.setdefault(name, []).append((timestamp_ms, previous_ms))
        if not options.verify_only:
            yield f"timestamp: {timestamp_ms} offset: {offset}"
        previous_ms = timestamp_ms


def show_transaction_index(path: Path) -> Iterator[str]:
    """Yield the lines for a .txnindex file: aborted transactions."""
    for version, producer_id, first, last, stable in _entries(path, TransactionIndex.ENTRY):
        yield (
            f"version: {version} producerId: {producer_id} firstOffset: {first} lastOffset: {last} "
            f"lastStableOffset: {stable}"
        )


def _batch_at(log_path: Path, start: int, offset: int) -> tuple[int, int]:
    """Return last offset and largest timestamp of the first batch from ``start`` that ends at ``offset`` or later.

    (-1, -1) if there is none. The timestamp is found only if the batch ends at ``offset``.
    """
    found = next((each for each in batches(log_path, start) if each.header.last_offset >= offset), None)
    if found is None:
        return -1, NO_TIMESTAMP
    last_offset = found.header.last_offset
    records = read_records(found.content) if last_offset == offset else ()
    return last_offset, max((record.timestamp_ms for record in records), default=NO_TIMESTAMP)


def _log_beside(path: Path) -> Path:
    log_path = path.with_suffix(".log")
    # An index without its log is an error even if the log is not read.
    log_path.stat()
    return log_path


def _entries(path: Path, entry: Struct) -> list[tuple[int, ...]]:
    content = path.read_bytes()
    return list(entry.iter_unpack(content[: len(content) // entry.size * entry.size]))


def _until_zeros(entries: list[tuple[int, ...]]) -> Iterator[tuple[int, ...]]:
    """Skip the zeros after the last entry: the index of a broker that runs, or was killed, is preallocated."""
    for index, entry in enumerate(entries):
        if index > 0 and entry[0] == 0:
            return
        yield entry


def _check_sanity(path: Path, entry_bytes: int, is_in_order: bool, last_offset: int) -> None:
    """Check an index as a broker does at its start. Raises ValueError."""
    if not is_in_order:
        raise ValueError(
            f"Corrupt index found, index file ({path}) has non-zero size but the last offset is {last_offset} which is "
            f"no greater than the base offset {base_offset_of(path)}."
        )
    size_bytes = path.stat().st_size
    if size_bytes % entry_bytes:
        raise ValueError(
            f"Index file {path} is corrupt, found {size_bytes} bytes which is neither positive nor a multiple of "
            f"{entry_bytes}."
        )
