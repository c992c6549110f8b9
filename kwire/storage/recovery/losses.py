"""Records that recovery removes from a log or finds missing, so that they can be reported.

Responsible for: cutting and removing during recovery, how many offsets and bytes that removes, and keeping the
bytes in files if the settings ask for it. Must not depend on: which batches are sound (``recovery`` decides), where
losses are reported.

Removed bytes are kept in the directory of the log, as ``BASE_OFFSET.log.POSITION.cut``. Neither kwire nor
Apache Kafka reads files of that name; they are deleted with the topic.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from enum import StrEnum
from typing import Final, NamedTuple

from kwire.storage.files import File, Files
from kwire.storage.segments.segment import (
    INDEX_SUFFIX,
    LOG_SUFFIX,
    TIME_INDEX_SUFFIX,
    Segment,
    file_name,
    walk_headers,
)
from kwire.wire.batches.batch import HEADER_BYTES, MAGIC, STAMP_BYTES, BatchHeader, read_batch_header

CUT_SUFFIX: Final = ".cut"
_COPY_BYTES: Final = 1024 * 1024


class Cause(StrEnum):
    """Why records are lost."""

    INCOMPLETE_BATCH = "incomplete batch at the end of the log"
    DAMAGED_BATCH = "a batch fails its check"
    SEGMENT_MISSING = "the .log file of a segment is missing"
    SEGMENT_EMPTY = "the .log file of a segment is empty"
    SHORT_LOG = "the log ends before an offset that it had reached"
    DIRECTORY_MISSING = "the directory of the partition is missing"


class Loss(NamedTuple):
    """Offsets that a log has lost: from ``first_offset`` to below ``end_offset``.

    ``end_offset`` is the least that the removed bytes, file names and checkpoints show; it equals ``first_offset`` if
    nothing shows how many records the ``size_bytes`` held.
    """

    first_offset: int
    end_offset: int
    size_bytes: int
    cause: Cause


class Cuts:
    """Removes bytes from one log during recovery; ``losses`` are the records that this removed."""

    def __init__(self, files: Files, path: str, *, keep: bool, preallocated: bool) -> None:
        self.losses: list[Loss] = []
        self._files = files
        self._path = path
        self._keep = keep
        self._preallocated = preallocated

    def cut(self, segment: Segment, position: int, next_offset: int) -> None:
        """Cut the .log file of ``segment`` at ``position``; ``next_offset`` is the end offset then.

        Zeros at the end are no loss where a file is preallocated.
        """
        file, size_bytes = segment.file, segment.size_bytes - position
        if self._preallocated:
            size_bytes = _end_of_data(file, position, file.size) - position
        if size_bytes:
            self.losses.append(_cut_loss(file, position, position + size_bytes, next_offset))
            if self._keep:
                self._keep_aside(segment, position, size_bytes)
        segment.cut_file(position)

    def remove(self, segment: Segment, cause: Cause) -> None:
        """Remove a whole segment."""
        if segment.size_bytes:
            end_offset = segment.base_offset
            for _, header in segment.walk():
                end_offset = max(end_offset, header.next_offset)
            self.losses.append(Loss(segment.base_offset, end_offset, segment.size_bytes, cause))
            if self._keep:
                self._keep_aside(segment, 0, segment.size_bytes)
        segment.remove()

    def total(
        self, log_start_offset: int, end_offset: int, *, known_end: int, incomplete_batch_is_loss: bool
    ) -> list[Loss]:
        """Return the losses of a log that now ends at ``end_offset`` and had reached ``known_end`` before.

        ``incomplete_batch_is_loss``: after a kill it is not, because the write that the kill met was not acknowledged.
        """
        losses = [loss for loss in self.losses if incomplete_batch_is_loss or loss.cause is not Cause.INCOMPLETE_BATCH]
        if known_end > max([end_offset, *(loss.end_offset for loss in losses)]):
            at_end = [loss for loss in losses if loss.end_offset >= end_offset]
            last = max(at_end, default=Loss(end_offset, known_end, 0, Cause.SHORT_LOG))
            losses = [*(loss for loss in losses if loss is not last), last._replace(end_offset=known_end)]
        losses = [loss._replace(first_offset=max(loss.first_offset, log_start_offset)) for loss in losses]
        # Records below the log start offset were deleted before.
        return sorted(loss for loss in losses if loss.end_offset >= loss.first_offset)

    def _keep_aside(self, segment: Segment, position: int, size_bytes: int) -> None:
        path = f"{self._path}/{file_name(segment.base_offset)}{LOG_SUFFIX}.{position}{CUT_SUFFIX}"
        self._files.remove(path)
        kept = self._files.open(path, size=0)
        end = position + size_bytes
        while position < end:
            chunk = segment.file.read(position, min(_COPY_BYTES, end - position))
            kept.append([chunk], len(chunk))
            position += len(chunk)
        kept.close()


def missing_segments(names: dict[str, int], offsets: list[int], log_start_offset: int) -> list[Loss]:
    """Find segments whose .log file is missing or empty though an index shows that they had records.

    ``offsets`` are the base offsets of the .log files in ``names``. The last segment's end is not known here.
    """
    losses = []
    for name, size in sorted(names.items()):
        base_offset = int(name[:20]) if name[:20].isdigit() else -1
        stem = file_name(base_offset)
        if name not in (stem + TIME_INDEX_SUFFIX, stem + INDEX_SUFFIX) or base_offset < log_start_offset:
            continue
        later = [offset for offset in offsets if offset > base_offset]
        end_offset = min(later, default=base_offset)
        # An index without its log: when a segment is deleted, the .log file is renamed last.
        if base_offset not in offsets:
            loss = Loss(base_offset, end_offset, 0, Cause.SEGMENT_MISSING)
        elif size and not names[stem + LOG_SUFFIX]:
            loss = Loss(base_offset, end_offset, 0, Cause.SEGMENT_EMPTY)
        else:
            continue
        if loss not in losses:
            losses.append(loss)
    return losses


def doubtful_from(losses: Sequence[Loss], end_offset: int, *, unsynced_from: int) -> int:
    """Return from where on records may be missing before others, in a log that ends at ``end_offset``."""
    return min([unsynced_from, end_offset, *(loss.first_offset for loss in losses if loss.end_offset <= end_offset)])


def _cut_loss(file: File, position: int, end: int, next_offset: int) -> Loss:
    """The loss between two positions of a file, as far as its headers can be read."""
    header = None
    if position + HEADER_BYTES <= end:
        header = read_batch_header(file.read(position, HEADER_BYTES))
    end_offset = next_offset
    # A write that did not complete leaves the beginning of the next batch and nothing behind it.
    is_torn = header is None or (
        header.magic == MAGIC and header.base_offset == next_offset and header.size_bytes > end - position
    )
    if not is_torn:
        for _, later in walk_headers(file, position, end):
            # No CRC covers the offsets. A record takes several bytes, so there are fewer records than bytes.
            if not end_offset <= later.base_offset <= later.last_offset < next_offset + end - position:
                break
            end_offset = later.next_offset
    cause = Cause.INCOMPLETE_BATCH if is_torn else Cause.DAMAGED_BATCH
    return Loss(next_offset, end_offset, end - position, cause)


def _end_of_data(file: File, position: int, end: int) -> int:
    """Return the position behind the last byte that is not zero."""
    found = position
    while position < end:
        chunk = file.read(position, min(_COPY_BYTES, end - position))
        if not chunk:
            break
        stripped = chunk.rstrip(b"\0")
        if stripped:
            found = position + len(stripped)
        position += len(chunk)
    return found


def is_legacy_message(chunk: memoryview, header: BatchHeader) -> bool:
    """Tell whether ``chunk`` begins with a message of magic 0 or 1: data of an old format, not an incomplete batch."""
    if header.magic >= MAGIC or not STAMP_BYTES < header.size_bytes <= len(chunk):
        return False
    # Its CRC-32 is where a batch has the leader epoch, and covers everything from the magic on.
    return zlib.crc32(chunk[STAMP_BYTES : header.size_bytes]) == header.leader_epoch & 0xFFFFFFFF
