"""Lookups in the ordered segments of a log: by offset, by time, aborted transactions.

Responsible for: finding the segment, the batch and, for a timestamp, the record inside it. No other reading of a log
decompresses batches. Must not depend on: which records a reader may see.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from kwire.storage.segments.index import AbortedTransaction, IndexDamaged
from kwire.storage.segments.segment import BatchPosition, Segment
from kwire.wire.batches.batch import HEADER_BYTES, NO_TIMESTAMP, BatchHeader, read_batch_header


class TimestampOffset(NamedTuple):
    """A record's time and place, with the leader epoch of its batch (-1 if it has none)."""

    timestamp_ms: int
    offset: int
    leader_epoch: int


def segment_index(segments: Sequence[Segment], offset: int) -> int:
    """Return the index of the segment that would hold ``offset``."""
    if offset >= segments[-1].base_offset:
        return len(segments) - 1
    return max(0, bisect_right(segments, offset, key=lambda segment: segment.base_offset) - 1)


def whole_batches(chunk: memoryview, end_offset: int) -> Iterator[tuple[memoryview, int]]:
    """Give each whole batch of ``chunk`` that begins below ``end_offset``, and the offset behind it."""
    at = 0
    while at + HEADER_BYTES <= len(chunk):
        header = read_batch_header(chunk, at)
        end = at + header.size_bytes
        if header.base_offset >= end_offset or end > len(chunk):
            return
        yield chunk[at:end], header.next_offset
        at = end


def aborted_transactions(segments: Sequence[Segment], first_offset: int, end_offset: int) -> list[AbortedTransaction]:
    """Aborted transactions with records from ``first_offset`` to below ``end_offset``."""
    aborted: list[AbortedTransaction] = []
    for segment in segments[segment_index(segments, first_offset) :]:
        overlapping, complete = segment.aborted_between(first_offset, end_offset)
        aborted += overlapping
        if complete:
            break
    return aborted


def offset_for_timestamp(
    segments: Sequence[Segment], timestamp_ms: int, log_start_offset: int
) -> TimestampOffset | None:
    """Find the first record at or after ``log_start_offset`` that is not earlier than ``timestamp_ms``."""
    for segment in segments:
        if segment.size_bytes and segment.largest_timestamp() >= timestamp_ms:
            found = _search(segment, timestamp_ms, log_start_offset)
            if found is not None:
                return found
    return None


def max_timestamp(segments: Sequence[Segment]) -> TimestampOffset | None:
    """Find the first record that has the largest timestamp of all that the segments hold.

    As in Apache Kafka that includes records below the log start offset, until their segment is deleted.
    """
    timestamp_ms = max((segment.max_timestamp[0] for segment in segments), default=NO_TIMESTAMP)
    for segment in segments:
        if segment.size_bytes and segment.max_timestamp[0] == timestamp_ms:
            return _search(segment, timestamp_ms, segment.base_offset)
    return None


def _search(segment: Segment, timestamp_ms: int, log_start_offset: int) -> TimestampOffset | None:
    try:
        found = _start(segment, timestamp_ms, log_start_offset)
    except IndexDamaged:
        # The log is authoritative.
        segment.rebuild_indexes()
        found = _start(segment, timestamp_ms, log_start_offset)
    if found is None:
        return None
    for position, header in segment.walk(found.position):
        if header.max_timestamp >= timestamp_ms:
            hit = _search_batch(segment, position, header, timestamp_ms, log_start_offset)
            if hit is not None:
                return hit
    return None


def _start(segment: Segment, timestamp_ms: int, log_start_offset: int) -> BatchPosition | None:
    """The batch at or after ``log_start_offset`` before which nothing is as late as ``timestamp_ms``.

    A time index entry is valid if its batch has its timestamp: every earlier batch has at most that timestamp, even if
    other entries are damaged. Raises IndexDamaged otherwise.
    """
    entry = segment.times.before(timestamp_ms)
    if entry is None:
        return segment.find(log_start_offset)
    latest_ms, offset = entry
    found = segment.find(offset)
    if found is not None:
        header = read_batch_header(segment.file.read(found.position, HEADER_BYTES))
        # Old releases name the record itself, not the last of its batch.
        if header.base_offset <= offset and header.max_timestamp == latest_ms:
            return found if offset >= log_start_offset else segment.find(log_start_offset)
    raise IndexDamaged(segment.times.file.path, f"no batch at {offset} has its latest record at {latest_ms}")


def _search_batch(
    segment: Segment, position: int, header: BatchHeader, timestamp_ms: int, log_start_offset: int
) -> TimestampOffset | None:
    is_complete = header.record_count == header.last_offset_delta + 1
    if header.is_log_append_time and is_complete and header.base_offset >= log_start_offset:
        # All records of the batch have its time, so the first is the one.
        return TimestampOffset(header.max_timestamp, header.base_offset, header.leader_epoch)
    # Imported at first use: only lookups by time decompress batches here.
    from kwire.wire.batches.records import read_records  # noqa: PLC0415

    batch = memoryview(segment.file.read(position, header.size_bytes))
    for record in read_records(batch):
        if record.timestamp_ms >= timestamp_ms and record.offset >= log_start_offset:
            return TimestampOffset(record.timestamp_ms, record.offset, header.leader_epoch)
    return None
