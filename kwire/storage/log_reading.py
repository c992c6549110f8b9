"""Reading the log of one partition: by offset, by time, by leader epoch.

Responsible for: which segments and offsets a log has, and lookups in it. Must not depend on: how the log
changes, which is in ``log``, clocks, waiting.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from kwire.errors import Code, KafkaError, StorageFailure
from kwire.storage.config import LogConfig
from kwire.storage.epochs import EpochEnd
from kwire.storage.files import Files, FileSlice
from kwire.storage.producer_state import ProducerStates
from kwire.storage.recovery import recovery
from kwire.storage.segments import lookup
from kwire.storage.segments.index import AbortedTransaction
from kwire.storage.segments.lookup import TimestampOffset
from kwire.storage.segments.segment import Segment
from kwire.wire.batches.batch import is_valid_batch, read_batch_header

_READ_BYTES: Final = 1024 * 1024


class ReadableLog:
    """The segments and offsets of a log; every method only reads. ``Log`` has the methods that change it."""

    def __init__(self, files: Files, path: str, config: LogConfig, recovered: recovery.Recovered) -> None:
        self.files = files
        self.path = path
        self.config = config
        self.segments = recovered.segments
        self.log_start_offset = recovered.log_start_offset
        self.end_offset = recovered.end_offset
        self.high_watermark = recovered.end_offset
        self.producers: ProducerStates = recovered.producers
        self.epochs = recovered.epochs
        self._any_aborted = recovered.any_aborted
        # An end offset inside a segment and its position: many reads end at the same last stable offset.
        self._known_end = (-1, -1)

    @property
    def active(self) -> Segment:
        return self.segments[-1]

    @property
    def last_stable_offset(self) -> int:
        """All transactions that begin below it have ended, with a marker below the high watermark."""
        producers = self.producers
        if not (producers.open or producers.undecided):
            return self.high_watermark  # the usual case, asked several times for each fetch
        unstable = producers.first_unstable_offset
        assert unstable is not None
        return min(self.high_watermark, max(unstable, self.log_start_offset))

    @property
    def latest_epoch(self) -> int:
        """The epoch of the last batch, -1 if no batch has one."""
        return self.epochs.latest

    def check_offset(self, offset: int) -> None:
        """Raise KafkaError(OFFSET_OUT_OF_RANGE) for an offset before the log start or after the log end."""
        if not self.log_start_offset <= offset <= self.end_offset:
            raise self._out_of_range(offset)

    def read(self, offset: int, *, max_bytes: int, end_offset: int, at_least_one: bool = False) -> FileSlice | None:
        """Return the batches from the one that holds ``offset`` on, below ``end_offset``, up to ``max_bytes``.

        The last batch may be cut off. A first batch that does not fit is returned whole if ``at_least_one``, else not
        at all. None: nothing to read. ``FileSlice.end_offset`` is the bound below which Kafka lists aborted
        transactions with these batches. Raises KafkaError (OFFSET_OUT_OF_RANGE) or StorageFailure.
        """
        if not self.log_start_offset <= offset <= self.end_offset:
            raise self._out_of_range(offset)
        if offset >= end_offset:
            return None
        segments = self.segments
        index = lookup.segment_index(segments, offset)
        found = segments[index].find(offset)
        while found is None:
            # Compaction may have left nothing at the end of a segment.
            index += 1
            if index == len(segments):
                return None
            found = segments[index].find(offset)
        segment = segments[index]
        next_base = segments[index + 1].base_offset if index + 1 < len(segments) else self.end_offset
        end = segment.size_bytes if end_offset >= next_base else self._position_of(segment, end_offset)
        available = end - found.position
        if available <= 0 or (max_bytes < found.size_bytes and not at_least_one):
            return None
        count = min(available, max(max_bytes, found.size_bytes))
        # The next offset in the index behind the slice is above all its records and cheap to find. The reader's end
        # offset is no such bound: Kafka also lists transactions that were aborted above it.
        behind = segment.offsets.offset_behind(found.position + count) if self._any_aborted else None
        piece = segment.file.slice(found.position, count)
        piece.end_offset = next_base if behind is None else behind
        return piece

    def read_batches(
        self, offset: int, *, end_offset: int | None = None, read_bytes: int = _READ_BYTES
    ) -> Iterator[memoryview]:
        """Give each whole batch from the one that holds ``offset`` on, below ``end_offset``, to be replayed.

        Raises StorageFailure for a batch that fails its checksum.
        """
        end_offset = self.end_offset if end_offset is None else end_offset
        offset = max(offset, self.log_start_offset)
        while (piece := self.read(offset, max_bytes=read_bytes, end_offset=end_offset, at_least_one=True)) is not None:
            try:
                chunk = memoryview(piece.pread())
            finally:
                piece.close()
            behind = offset
            for batch, behind in lookup.whole_batches(chunk, end_offset):  # noqa: B007 (the last one counts)
                self._check_crc(batch)
                yield batch
            if behind == offset:
                raise StorageFailure(self.path, f"there is no whole batch for offset {offset}")
            offset = behind

    def aborted_transactions(self, first_offset: int, end_offset: int) -> list[AbortedTransaction]:
        """Aborted transactions with records from ``first_offset`` to below ``end_offset``."""
        return lookup.aborted_transactions(self.segments, first_offset, end_offset) if self._any_aborted else []

    def offset_for_timestamp(self, timestamp_ms: int) -> TimestampOffset | None:
        """Find the first record that is not earlier than ``timestamp_ms``."""
        return lookup.offset_for_timestamp(self.segments, timestamp_ms, self.log_start_offset)

    def max_timestamp(self) -> TimestampOffset | None:
        """Find the record with the largest timestamp; it may be below the log start offset, see ``lookup``."""
        return lookup.max_timestamp(self.segments)

    def offset_for_epoch(self, epoch: int) -> EpochEnd:
        """Answer OffsetForLeaderEpoch (KIP-101)."""
        return self.epochs.end_of(epoch, self.end_offset)

    def epoch_of(self, offset: int) -> int:
        """Return the leader epoch in which the record at ``offset`` was written, -1 if unknown."""
        return self.epochs.epoch_of(offset)

    # --- helpers

    def _check_crc(self, batch: memoryview) -> None:
        header = read_batch_header(batch)
        if not is_valid_batch(batch, 0, header):
            raise StorageFailure(self.path, f"the batch at offset {header.base_offset} fails its checksum")

    def _out_of_range(self, offset: int) -> KafkaError:
        return KafkaError(
            Code.OFFSET_OUT_OF_RANGE, f"offset {offset} is outside of {self.log_start_offset} to {self.end_offset}"
        )

    def _position_of(self, segment: Segment, end_offset: int) -> int:
        """Return the position in ``segment`` at which reading below ``end_offset`` ends."""
        known_offset, position = self._known_end
        if known_offset != end_offset:
            found = segment.find(end_offset)
            position = segment.size_bytes if found is None else found.position
            self._known_end = (end_offset, position)
        return position
