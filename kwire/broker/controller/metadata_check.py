"""Checks the batches of the metadata log before any of it is used or truncated.

Responsible for: telling a damaged log, which is refused with nothing changed, from a batch that a crash left
incomplete at the end, which may be cut. Must not depend on: the content of records.

Every batch must carry the right CRC. The CRC does not cover the first 16 bytes, so these are checked by the rules of
this log: offsets follow each other without a gap, the length is that of the batch, and the leader epoch is the one that
the last LeaderChange batch began.

A crash in the middle of a write leaves an incomplete batch at the end. It may be cut only where that is possible: after
a kill on the same boot a write is complete or ends too early; after a crash of the machine the unsynced end may have
any content; after a clean stop every batch is complete.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Final

from kwire.broker.logs import Logger
from kwire.errors import StorageFailure
from kwire.storage.files import Files
from kwire.wire.batches.batch import CRC_START, HEADER_BYTES, MAGIC, BatchHeader, is_valid_batch, read_batch_header
from kwire.wire.batches.crc import crc32c

logger = Logger("kwire.metadata")

# Small batches are checked together, up to this size: a step takes a few ms at most.
_STEP_BYTES: Final = 64 * 1024

_SUFFIX = ".log"
_OFFSET_DIGITS = 20
_MAGIC_POSITION = 16


def check_metadata_log(
    files: Files, directory: str, *, from_offset: int, epoch: int, clean: bool, same_boot: bool
) -> Generator[None, None, None]:
    """Check every batch from the segment that holds ``from_offset`` on; yields between two steps.

    ``from_offset`` and ``epoch`` are those of the snapshot that is loaded; ``clean`` and ``same_boot`` say how the last
    run ended. An incomplete batch that may be cut is logged, and left to recovery.
    Raises StorageFailure for anything else that is wrong, with the file, the position and the offset.
    """
    segments = list(_segments(files, directory, from_offset))
    begins_there = bool(segments) and segments[0][0] == from_offset
    walk = _Walk(epoch if begins_there else None)
    for index, (base_offset, path, size_bytes) in enumerate(segments):
        content = _read(files, path, size_bytes)
        walk.begin_segment(base_offset, path)
        position = next_step = 0
        while position < len(content):
            if position >= next_step:
                next_step = position + _STEP_BYTES
                yield
            problem = walk.check(content, position)
            if problem is not None:
                is_last = all(not size for _, _, size in segments[index + 1 :])
                _judge(walk, content, position, problem, is_last=is_last, clean=clean, same_boot=same_boot)
                return
            position += read_batch_header(content, position).size_bytes


class _Walk:
    """State of a walk over the log: the offset and the epoch that the next batch must have."""

    def __init__(self, epoch: int | None) -> None:
        self.path = ""
        self.offset = -1
        # None: the log begins before the snapshot, in an epoch that is not known.
        self.epoch = epoch

    def begin_segment(self, base_offset: int, path: str) -> None:
        self.path = path
        if self.offset not in {-1, base_offset}:
            raise StorageFailure(
                path, f"the metadata log has a gap: offset {self.offset} is missing. {_advice(path, 0, self.offset)}"
            )
        self.offset = base_offset

    def check(self, content: memoryview, position: int) -> str | None:
        """Return the problem of the batch at ``position``; if it has none, return None and advance to the next."""
        if position + HEADER_BYTES > len(content):
            return "ends within the header of a batch"
        header = read_batch_header(content, position)
        if position + header.size_bytes > len(content):
            return "ends within a batch"
        if not is_valid_batch(content, position, header):
            return "a batch fails its checksum"
        if header.base_offset != self.offset or header.next_offset <= header.base_offset:
            return f"a batch has offset {header.base_offset} where {self.offset} comes next"
        if not self._follows_epoch(header, content, position):
            return f"a batch has leader epoch {header.leader_epoch} within epoch {self.epoch}"
        self.offset = header.next_offset
        self.epoch = header.leader_epoch
        return None

    def _follows_epoch(self, header: BatchHeader, content: memoryview, position: int) -> bool:
        if self.epoch is None or header.leader_epoch == self.epoch:
            return True
        return header.leader_epoch > self.epoch and _begins_epoch(header, content, position)


def _begins_epoch(header: BatchHeader, content: memoryview, position: int) -> bool:
    """Whether a batch is a LeaderChange: a control batch whose first key is int16 version, int16 type 2."""
    if not header.is_control:
        return False
    key = bytes(content[position + HEADER_BYTES : position + header.size_bytes])[:16]
    return b"\x00\x00\x00\x02" in key


def _judge(
    walk: _Walk, content: memoryview, position: int, problem: str, *, is_last: bool, clean: bool, same_boot: bool
) -> None:
    """Log an incomplete batch at the end, or raise StorageFailure."""
    rest = content[position:]
    may_be_incomplete = is_last and not clean and not any(_batches_after(rest))
    if may_be_incomplete and same_boot:
        may_be_incomplete = _ends_early(rest)
    if not may_be_incomplete:
        raise StorageFailure(
            walk.path,
            f"the metadata log is damaged at position {position} (offset {walk.offset}): {problem}. "
            f"{_advice(walk.path, position, walk.offset)}",
        )
    logger.warning(
        "incomplete batch at the end of the metadata log is cut",
        path=walk.path,
        position=position,
        offset=walk.offset,
        lost_bytes=len(rest),
        problem=problem,
    )


def _advice(path: str, position: int, offset: int) -> str:
    return (
        "Nothing was changed. Restore the directory from a copy; or, to give up every change of topics, configs and"
        f" ids from offset {offset} on, cut {path} to {position} bytes and delete the segments after it"
    )


def _ends_early(rest: memoryview) -> bool:
    """Whether the bytes are the beginning of one batch whose end was never written."""
    if len(rest) < HEADER_BYTES:
        return True
    header = read_batch_header(rest)
    # A damaged length looks the same, but then the whole batch is there and its CRC is right.
    return header.magic == MAGIC and header.size_bytes > len(rest) and crc32c(rest[CRC_START:]) != header.crc


def _batches_after(rest: memoryview) -> Iterator[int]:
    """Find the positions of valid batches behind the one that is not."""
    content = bytes(rest)
    at = content.find(bytes([MAGIC]), _MAGIC_POSITION + 1)
    while at != -1:
        position = at - _MAGIC_POSITION
        if position + HEADER_BYTES <= len(rest):
            header = read_batch_header(rest, position)
            if (
                HEADER_BYTES <= header.size_bytes <= len(rest) - position
                and header.record_count > 0
                and is_valid_batch(rest, position, header)
            ):
                yield position
        at = content.find(bytes([MAGIC]), at + 1)


def _segments(files: Files, directory: str, from_offset: int) -> Iterator[tuple[int, str, int]]:
    """Base offset, path and size of the segments that hold ``from_offset`` or later ones."""
    sizes = files.sizes(directory)
    bases = sorted(
        int(name[:_OFFSET_DIGITS])
        for name in sizes
        if name.endswith(_SUFFIX) and len(name) == _OFFSET_DIGITS + len(_SUFFIX) and name[:_OFFSET_DIGITS].isdigit()
    )
    first = max((base for base in bases if base <= from_offset), default=from_offset)
    for base in bases:
        if base >= first:
            name = f"{base:0{_OFFSET_DIGITS}d}{_SUFFIX}"
            yield base, f"{directory}/{name}", sizes[name]


def _read(files: Files, path: str, size_bytes: int) -> memoryview:
    file = files.open(path, size=size_bytes, writable=False)
    try:
        return memoryview(file.read(0, size_bytes))
    finally:
        file.close()
