"""Compaction: of each key only the latest record stays.

Responsible for: what of a log can be cleaned and how badly it needs it, which records and batches stay, writing the
cleaned segments and putting them in the place of the old ones. Must not depend on: what keys and values mean, other
logs, clocks, threads. Follows Apache Kafka's cleaner batch for batch: both write the same bytes into the cleaned
segments.

A round has two passes. The first reads the dirty part and notes for each key the offset of its latest record. The
second reads the log from its beginning, drops superseded records, and writes the rest into new segments. Offsets stay
what they were, so there are gaps; a batch keeps its first and last offset, and is compressed with the same codec.

Kept although superseded or empty:

* a record without a value (a tombstone), until ``delete.retention.ms`` after the round that first met it. That time is
  written into the batch in place of its base timestamp (KIP-534), so that only the broker's clock decides;
* the marker of a transaction as long as a record of it is there, and then as long as a tombstone;
* the last batch of each producer that may still write, for its sequence, even without its records; and the last batch
  of the round, for its offset.

Segments are replaced in a way that a crash at any step leaves either the old or the new ones: the new one is written
under names that end in ``.cleaned``, synced, and renamed to ``.swap``; the old ones are renamed to ``.deleted``; then
``.swap`` is dropped. After a crash, ``recovery`` finishes or undoes the steps that were interrupted.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Generator, Iterator, Sequence
from functools import partial
from typing import Final, NamedTuple, TypeVar

from kwire.errors import Code, KafkaError
from kwire.storage.compaction.files import CleanedSegment, Task, read_batch
from kwire.storage.compaction.keys import OffsetMap
from kwire.storage.compaction.transactions import CleanedTransactions
from kwire.storage.files import Buffer
from kwire.storage.flush import PendingFlush
from kwire.storage.log import Log
from kwire.storage.recovery.recovery import SWAP_SUFFIX
from kwire.storage.segments.index import OffsetIndex, TimeIndex
from kwire.storage.segments.segment import (
    RELATIVE_OFFSET_MAX,
    AppendedBatch,
    PendingDeletion,
    Segment,
)
from kwire.wire.batches.batch import (
    CODEC_MASK,
    DELETE_HORIZON,
    HEADER_BYTES,
    NO_TIMESTAMP,
    BatchHeader,
    is_valid_batch,
    read_batch_header,
)
from kwire.wire.batches.compression import Codec, compress
from kwire.wire.batches.records import (
    Span,
    assemble_batch,
    open_batch,
    scan_records,
    timestamp_of,
    with_timestamp_delta,
)

T = TypeVar("T")

# The most work of one slice: a few milliseconds.
SLICE_BYTES: Final = 256 * 1024
SLICE_RECORDS: Final = 500
_READ_BYTES: Final = 128 * 1024
# A batch up to this size is opened or compressed at once; a larger one would take longer than a slice may.
_CODEC_BYTES_MAX: Final = 32 * 1024
# The cost of reading and filtering a batch, and of rebuilding one, beside its records; counted in records.
_BATCH_RECORDS: Final = 2
_REBUILT_RECORDS: Final = 4
# At most this much is read, copied or written at once; larger pieces are left to the driver, in a thread.
_MOVED_BYTES_MAX: Final = 512 * 1024
# Hashing this many bytes of a key takes as long as one record.
_KEY_BYTES_PER_RECORD: Final = 4096


class Cleanable(NamedTuple):
    """What of a log can be cleaned."""

    first_dirty_offset: int
    # Base offset of the first segment that may not be cleaned yet.
    end_offset: int
    clean_bytes: int
    cleanable_bytes: int
    # Some record waits longer than max.compaction.lag.ms allows.
    is_overdue: bool

    @property
    def ratio(self) -> float:
        """Dirty bytes as a share of the bytes that could be cleaned, 0 to 1."""
        total_bytes = self.clean_bytes + self.cleanable_bytes
        return self.cleanable_bytes / total_bytes if total_bytes else 0.0

    def is_due(self, min_ratio: float) -> bool:
        return self.cleanable_bytes > 0 and (self.is_overdue or self.ratio > min_ratio)


class Slice(NamedTuple):
    """A short piece of work that was just done, and what the driver must do before it takes the next."""

    moved_bytes: int
    # To be called, best in a thread: it waits for the disk, or computes for long without Python's lock.
    blocking: Callable[[], object] | None = None
    # To be removed when due.
    deletions: Sequence[PendingDeletion] = ()


def cleanable_part(log: Log, cleaned_offset: int | None, now_ms: int) -> Cleanable:
    """Tell what of ``log`` can be cleaned; below ``cleaned_offset`` it was cleaned already, None if it never was.

    The active segment stays as it is, and so do those from the first on that reaches beyond the last stable offset or
    holds a record younger than ``min.compaction.lag.ms``.
    """
    segments, config = log.segments, log.config
    first_dirty = log.log_start_offset if cleaned_offset is None else cleaned_offset
    if not log.log_start_offset <= first_dirty <= log.end_offset:
        # Records were deleted or truncated: the cleaned offset is no longer valid.
        first_dirty = log.log_start_offset
    dirty = segments[_floor(segments, first_dirty) : -1]
    uncleanable = min(log.last_stable_offset, log.active.base_offset)
    if config.min_compaction_lag_ms > 0:
        youngest_ms = now_ms - config.min_compaction_lag_ms
        young = (segment.base_offset for segment in dirty if segment.largest_timestamp() > youngest_ms)
        uncleanable = min(uncleanable, next(young, uncleanable))
    end_offset = segments[_floor(segments, max(uncleanable, first_dirty))].base_offset
    first_times = (segment.first_timestamp for segment in dirty)
    oldest_ms = min((time for time in first_times if time > 0), default=None)
    return Cleanable(
        first_dirty_offset=first_dirty,
        end_offset=end_offset,
        clean_bytes=sum(segment.size_bytes for segment in segments if segment.base_offset < first_dirty),
        cleanable_bytes=sum(segment.size_bytes for segment in dirty if segment.base_offset < end_offset),
        is_overdue=oldest_ms is not None and oldest_ms < now_ms - max(config.max_compaction_lag_ms, 0),
    )


class Compaction:
    """One round over one log. Its numbers can be read at any time."""

    def __init__(
        self, log: Log, cleanable: Cleanable, *, now_ms: int, map_bytes_max: int, slice_bytes: int = SLICE_BYTES
    ) -> None:
        self.log = log
        self.cleanable = cleanable
        self.bytes_to_read = cleanable.clean_bytes + 2 * cleanable.cleanable_bytes
        self.bytes_read = 0
        self.bytes_written = 0
        self.records_read = 0
        self.records_kept = 0
        self.keyless_records = 0
        # The offset up to which the log is clean once the round is done; None if it was not finished.
        self.cleaned_offset: int | None = None
        self._now_ms = now_ms
        self._slice_bytes = min(slice_bytes, SLICE_BYTES)
        self._latest = OffsetMap(map_bytes_max)
        self._transactions = CleanedTransactions()
        self._last_batches: dict[int, tuple[int, int]] = {}
        self._moved_bytes = 0
        self._records = 0

    def slices(self) -> Generator[Slice]:
        """Do the round, a slice at a time; ``close`` the generator to abandon it.

        Meanwhile the log may be read and appended to, and segments may be deleted; if one was being cleaned, the round
        ends unfinished. Raises StorageFailure, or KafkaError for a batch that cannot be read.
        """
        yield from self._note_latest_offsets()
        end_offset = self._latest.end_offset
        self._transactions = CleanedTransactions()
        sources = [segment for segment in self.log.segments[:-1] if segment.base_offset < end_offset]
        for group in self._grouped(sources):
            replaced = yield from self._clean(group)
            if not replaced:
                return
        self.cleaned_offset = end_offset

    # --- the first pass

    def _note_latest_offsets(self) -> Generator[Slice]:
        log, (start, end) = self.log, self.cleanable[:2]
        self._transactions.add_aborted(log.aborted_transactions(start, end))
        dirty = [segment for segment in log.segments[_floor(log.segments, start) :] if segment.base_offset < end]
        for index, segment in enumerate(dirty):
            for found in self._batches(segment, start):
                if isinstance(found, Slice):
                    yield found
                    continue
                header, batch = found
                yield from self._note_batch(header, batch, start)
                if header.last_offset >= start:
                    self._latest.end_offset = header.next_offset
                if self._latest.is_full:
                    # What follows is left for the next round.
                    return
            self._latest.end_offset = dirty[index + 1].base_offset if index + 1 < len(dirty) else end

    def _note_batch(self, header: BatchHeader, batch: memoryview, start: int) -> Generator[Slice]:
        self._records += _BATCH_RECORDS
        is_aborted = self._transactions.note(header, batch)
        if not header.is_control and not is_aborted:
            payload = yield from self._opened(header, batch)
            note, base_offset = self._latest.note, header.base_offset
            for span in scan_records(header.record_count, payload):
                offset = base_offset + span.offset_delta
                if span.key_end >= span.key_start and offset >= start:
                    note(payload[span.key_start : span.key_end], offset)
                self._records += 1 + max(0, span.key_end - span.key_start) // _KEY_BYTES_PER_RECORD
                if self._records >= SLICE_RECORDS:
                    yield self._slice()
        if self._moved_bytes >= self._slice_bytes:
            yield self._slice()

    # --- the second pass

    def _grouped(self, sources: Sequence[Segment]) -> list[list[Segment]]:
        """Group adjacent segments that fit into one, so that cleaned segments do not get smaller with each round."""
        config = self.log.config
        groups: list[list[Segment]] = []
        sizes = (0, 0, 0)
        for index, segment in enumerate(sources):
            more = (
                segment.size_bytes,
                len(segment.offsets) * OffsetIndex.ENTRY.size,
                len(segment.times) * TimeIndex.ENTRY.size,
            )
            behind = sources[index + 1].base_offset if index + 1 < len(sources) else self.cleanable.end_offset
            fits = groups and (
                sizes[0] + more[0] <= config.segment_bytes
                and max(sizes[1] + more[1], sizes[2] + more[2]) <= config.segment_index_bytes
                and (segment.size_bytes == 0 or behind - 1 - groups[-1][0].base_offset <= RELATIVE_OFFSET_MAX)
            )
            if fits:
                groups[-1].append(segment)
                sizes = (sizes[0] + more[0], sizes[1] + more[1], sizes[2] + more[2])
            else:
                groups.append([segment])
                sizes = more
        return groups

    def _clean(self, group: Sequence[Segment]) -> Generator[Slice, None, bool]:
        """Replace ``group`` by one segment with its retained records; False if one of its segments was deleted."""
        log = self.log
        if not log.holds(group):
            return False
        behind = log.segments[log.segments.index(group[-1]) + 1]
        self._last_batches = {
            producer.producer_id: (producer.last_offset, producer.epoch)
            for producer in log.producers.producers.values()
        }
        sizes = [segment.size_bytes for segment in group]
        cleaned = CleanedSegment(log.files, log.path, group[0].base_offset)
        try:
            cleaned.create()
            for segment, following in zip(group, [*group[1:], behind], strict=True):
                self._transactions.add_aborted(log.aborted_transactions(segment.base_offset, following.base_offset))
                yield from self._clean_into(cleaned, segment)
            cleaned.seal()
            flush = PendingFlush(log.files, 0, cleaned.syncers(sealed=True), [log.path])
            try:
                yield self._slice(flush.sync)
            finally:
                flush.close()
            if not log.holds(group) or [segment.size_bytes for segment in group] != sizes:
                return False
            cleaned.rename(SWAP_SUFFIX)
        finally:
            # Abandoned or failed. A rename that failed may have left files of both names.
            if not cleaned.is_complete:
                cleaned.remove()
        yield self._slice(deletions=self._put_in_place(cleaned, group))
        return True

    def _clean_into(self, cleaned: CleanedSegment, segment: Segment) -> Generator[Slice]:
        interval_bytes = self.log.config.index_interval_bytes
        parts: list[Buffer] = []
        rows: list[AppendedBatch] = []
        for found in self._batches(segment):
            if isinstance(found, Slice):
                yield found
                continue
            header, batch = found
            kept = yield from self._filter(header, batch, cleaned)
            if kept is not None:
                parts.append(kept)
                after = read_batch_header(kept)
                rows.append(AppendedBatch(after.base_offset, after.last_offset, after.max_timestamp, len(kept)))
            if self._moved_bytes >= self._slice_bytes or self._records >= SLICE_RECORDS:
                yield from self._write(cleaned, parts, rows, interval_bytes)
                parts, rows = [], []
                yield self._slice()
        yield from self._write(cleaned, parts, rows, interval_bytes)

    def _write(
        self, cleaned: CleanedSegment, parts: list[Buffer], rows: list[AppendedBatch], interval_bytes: int
    ) -> Generator[Slice]:
        if parts:
            size_bytes = sum(map(len, parts))
            write = partial(cleaned.append, parts, size_bytes, rows, interval_bytes)
            if size_bytes <= _MOVED_BYTES_MAX:
                write()
            else:
                yield from self._elsewhere(write)
            self.bytes_written += size_bytes
            self._moved_bytes += size_bytes

    def _filter(
        self, header: BatchHeader, batch: memoryview, cleaned: CleanedSegment
    ) -> Generator[Slice, None, Buffer | None]:
        """Return the batch with its retained records; None if the whole batch is dropped."""
        is_over = self._transactions.note(header, batch, cleaned.aborted)
        horizon_ms = header.delete_horizon_ms
        drops_records = is_over
        if header.is_control:
            drops_records = is_over and horizon_ms is not None and horizon_ms <= self._now_ms
        self.records_read += header.record_count
        self._records += _BATCH_RECORDS
        kept = _Kept()
        if not drops_records:
            kept = yield from self._kept(header, batch)
        if kept.spans:
            self.records_kept += len(kept.spans)
            needs_horizon = horizon_ms is None and (kept.any_tombstone or (header.is_control and is_over))
            after: Buffer = batch
            if needs_horizon:
                horizon_ms = self._now_ms + self.log.config.delete_retention_ms
            if needs_horizon or len(kept.spans) < header.record_count:
                after = yield from self._rebuilt(header, kept, horizon_ms)
            # Freed in portions: freeing 50,000 at once takes 20 ms.
            while len(kept.spans) > 2 * SLICE_RECORDS:
                del kept.spans[-2 * SLICE_RECORDS :]
                yield self._slice()
            return after
        if (header.producer_id >= 0 and self._is_last_of_producer(header)) or (
            header.next_offset == self.cleanable.end_offset
        ):
            return _emptied(header)
        return None

    def _kept(self, header: BatchHeader, batch: memoryview) -> Generator[Slice, None, _Kept]:
        kept = _Kept((yield from self._opened(header, batch)))
        payload, latest, base_offset = kept.payload, self._latest, header.base_offset
        horizon_ms = header.delete_horizon_ms
        keeps_tombstones = horizon_ms is None or self._now_ms < horizon_ms
        for span in scan_records(header.record_count, payload):
            offset = base_offset + span.offset_delta
            is_tombstone = span.value_end < span.value_start
            if header.is_control or offset >= latest.end_offset:
                stays = True
            elif span.key_end < span.key_start:
                self.keyless_records += 1
                stays = False
            else:
                stays = (not is_tombstone or keeps_tombstones) and latest.is_latest(
                    payload[span.key_start : span.key_end], offset
                )
            if stays:
                kept.spans.append(span)
                kept.any_tombstone |= is_tombstone
            self._records += 1 + max(0, span.key_end - span.key_start) // _KEY_BYTES_PER_RECORD
            if self._records >= 2 * SLICE_RECORDS:
                # In the middle of a batch: this slice writes nothing.
                yield self._slice()
        return kept

    def _rebuilt(self, header: BatchHeader, kept: _Kept, horizon_ms: int | None) -> Generator[Slice, None, bytes]:
        """Rebuild the batch with the retained records; only their timestamp deltas may change."""
        base_timestamp = timestamp_of(header, kept.spans[0]) if horizon_ms is None else horizon_ms
        max_timestamp = NO_TIMESTAMP
        parts = []
        for span in kept.spans:
            timestamp_ms = timestamp_of(header, span)
            max_timestamp = max(max_timestamp, timestamp_ms)
            parts.append(with_timestamp_delta(kept.payload, span, timestamp_ms - base_timestamp))
            self._records += 1
            if self._records >= 2 * SLICE_RECORDS:
                yield self._slice()
        rebuilt = header._replace(
            attributes=header.attributes | (DELETE_HORIZON if horizon_ms is not None else 0),
            base_timestamp=base_timestamp,
            max_timestamp=header.max_timestamp if header.is_log_append_time else max_timestamp,
            record_count=len(parts),
        )
        self._records += _REBUILT_RECORDS
        work = partial(_assembled, rebuilt, parts)
        return work() if self._is_short(header, sum(map(len, parts))) else (yield from self._elsewhere(work))

    def _is_last_of_producer(self, header: BatchHeader) -> bool:
        last_offset, epoch = self._last_batches.get(header.producer_id, (None, None))
        if last_offset is None:
            return False
        if last_offset >= 0:
            return header.last_offset == last_offset
        # The marker is the last batch of the producer: its epoch fences older ones.
        return header.is_control and header.producer_epoch == epoch

    def _put_in_place(self, cleaned: CleanedSegment, group: Sequence[Segment]) -> list[PendingDeletion]:
        log = self.log
        deletions = []
        for segment in group:
            deletions += segment.rename_to_deleted(self._now_ms + log.config.file_delete_delay_ms)
        cleaned.rename("")
        log.replace_segments(group, Segment(log.files, log.path, cleaned.base_offset, names=cleaned.names()))
        return deletions

    # --- both

    def _batches(self, segment: Segment, from_offset: int = 0) -> Iterator[Slice | tuple[BatchHeader, memoryview]]:
        """Give the batches of a segment, from the one on that holds ``from_offset``, and slices to be driven."""
        found = segment.find(from_offset) if from_offset > segment.base_offset else None
        position = found.position if found else 0
        end = segment.size_bytes
        while position + HEADER_BYTES <= end:
            chunk = memoryview(segment.file.read(position, min(_READ_BYTES, end - position)))
            at = 0
            while at + HEADER_BYTES <= len(chunk):
                header = read_batch_header(chunk, at)
                if at + header.size_bytes > len(chunk):
                    if at:
                        break
                    read = Task(partial(read_batch, segment, position, header))
                    if header.size_bytes <= _MOVED_BYTES_MAX:
                        read.run()
                    else:
                        yield self._slice(read.run)
                    chunk, is_valid = read.result()
                else:
                    is_valid = is_valid_batch(chunk, at, header)
                if not is_valid:
                    # A rewritten batch would get a right CRC over wrong bytes.
                    where = f"{segment.file.path}: the batch at position {position + at}"
                    raise KafkaError(Code.CORRUPT_MESSAGE, f"{where} fails its checksum")
                self.bytes_read += header.size_bytes
                self._moved_bytes += header.size_bytes
                yield header, chunk[at : at + header.size_bytes]
                at += header.size_bytes
            if at == 0:
                return
            position += at

    def _opened(self, header: BatchHeader, batch: memoryview) -> Generator[Slice, None, bytes]:
        if self._is_short(header, header.size_bytes):
            return open_batch(batch, header)
        return (yield from self._elsewhere(partial(open_batch, batch, header)))

    def _is_short(self, header: BatchHeader, byte_count: int) -> bool:
        """Whether a batch of this many bytes may be decompressed or compressed at once."""
        return byte_count < (_MOVED_BYTES_MAX if header.codec == Codec.NONE else _CODEC_BYTES_MAX)

    def _elsewhere(self, work: Callable[[], T]) -> Generator[Slice, None, T]:
        """Have ``work`` done by the driver."""
        task = Task(work)
        yield self._slice(task.run)
        return task.result()

    def _slice(self, blocking: Callable[[], object] | None = None, deletions: Sequence[PendingDeletion] = ()) -> Slice:
        moved_bytes, self._moved_bytes, self._records = self._moved_bytes, 0, 0
        return Slice(moved_bytes, blocking, deletions)


class _Kept:
    """The retained records of a batch, and the payload that holds them."""

    __slots__ = ("any_tombstone", "payload", "spans")

    def __init__(self, payload: bytes = b"") -> None:
        self.payload = payload
        self.spans: list[Span] = []
        self.any_tombstone = False


def _assembled(header: BatchHeader, parts: Sequence[bytes]) -> bytes:
    payload = b"".join(parts)
    return assemble_batch(header, compress(Codec(header.codec), payload))


def _emptied(header: BatchHeader) -> bytes:
    """Make a batch without records that keeps offsets, sequence and epoch."""
    return assemble_batch(
        header._replace(
            attributes=header.attributes & ~(CODEC_MASK | DELETE_HORIZON), base_timestamp=NO_TIMESTAMP, record_count=0
        ),
        b"",
    )


def _floor(segments: Sequence[Segment], offset: int) -> int:
    """Return the index of the segment that ``offset`` belongs to."""
    return max(0, bisect_right(segments, offset, key=lambda segment: segment.base_offset) - 1)
