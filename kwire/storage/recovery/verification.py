"""Checks a log that is not in use, without changing it.

Responsible for: reading every batch of a log directory with its CRC and offsets. Must not depend on: repairing
(``recovery``), what the records mean.
"""

from __future__ import annotations

from typing import NamedTuple

from kwire.errors import StorageFailure
from kwire.storage.files import Files
from kwire.storage.recovery.losses import missing_segments
from kwire.storage.recovery.recovery import sound_batches
from kwire.storage.segments.segment import LOG_SUFFIX, Segment, file_name


class Verification(NamedTuple):
    """What a log holds. ``problems`` are sentences, each with the file and position or offset it is about."""

    segments: int
    batches: int
    size_bytes: int
    end_offset: int
    problems: tuple[str, ...]


def verify_log(files: Files, path: str) -> Verification:
    """Read a whole log directory. Raises StorageFailure if a file cannot be read."""
    names = files.sizes(path)
    suffixed = len(file_name(0)) + len(LOG_SUFFIX)
    offsets = sorted(int(name[:20]) for name in names if name.endswith(LOG_SUFFIX) and len(name) == suffixed)
    problems = [
        f"{path}/{file_name(loss.first_offset)}{LOG_SUFFIX}: {loss.cause}"
        for loss in missing_segments(names, offsets, min(offsets, default=0))
    ]
    batches, end_offset = 0, 0
    for base_offset, next_base in zip(offsets, [*offsets[1:], None], strict=False):
        segment = Segment(files, path, base_offset, names=names)
        end_offset = max(end_offset, base_offset)
        end = 0
        for position, header in sound_batches(segment, 0, end_offset=next_base):
            batches += 1
            end_offset = header.next_offset
            end = position + header.size_bytes
        if end != segment.size_bytes and not _is_zeros(segment, end):
            problems.append(
                f"{segment.file.path}: no sound batch at position {end} (offset {end_offset}),"
                f" {segment.size_bytes - end} bytes follow"
            )
        segment.close()
    return Verification(
        len(offsets), batches, sum(names[file_name(base) + LOG_SUFFIX] for base in offsets), end_offset, tuple(problems)
    )


def _is_zeros(segment: Segment, position: int) -> bool:
    """Whether the rest of the file is zeros, as in a preallocated file."""
    while position < segment.size_bytes:
        chunk = segment.file.read(position, min(1024 * 1024, segment.size_bytes - position))
        if not chunk:
            raise StorageFailure(segment.file.path, f"ends at position {position}")
        if chunk.strip(b"\0"):
            return False
        position += len(chunk)
    return True
