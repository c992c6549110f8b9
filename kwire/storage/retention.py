"""How many segments of a log are to be deleted: by retention time, retention size, log start offset.

Responsible for: the decision. Must not depend on: clocks, files, what removing a segment means.

Segments are deleted from the oldest on, up to the first that is kept. Nothing above the high watermark is deleted, and
the last segment only if it is not empty.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from kwire.storage.config import LogConfig
from kwire.storage.segment import Segment


class RetainedLog(Protocol):
    """The part of a log that retention reads."""

    @property
    def segments(self) -> Sequence[Segment]: ...
    @property
    def config(self) -> LogConfig: ...
    @property
    def log_start_offset(self) -> int: ...
    @property
    def end_offset(self) -> int: ...
    @property
    def high_watermark(self) -> int: ...


def segments_to_delete(log: RetainedLog, now_ms: int) -> int:
    """Count the segments to delete, from the first on.

    Time and size do not apply to a log that is only compacted.
    """
    count = _count(log, 0, lambda _, next_base: next_base is not None and next_base <= log.log_start_offset)
    if not log.config.delete:
        return count
    count = _count(log, count, lambda segment, _: _is_too_old(segment, log.config.retention_ms, now_ms))
    if log.config.retention_bytes < 0:
        return count
    surplus = sum(segment.size_bytes for segment in log.segments[count:]) - log.config.retention_bytes

    def is_surplus(segment: Segment, _next_base: int | None) -> bool:
        nonlocal surplus
        surplus -= segment.size_bytes
        return surplus >= 0

    return _count(log, count, is_surplus)


def _count(log: RetainedLog, count: int, may_go: Callable[[Segment, int | None], bool]) -> int:
    """Count on from ``count`` while the next segment may be deleted."""
    segments = log.segments
    while count < len(segments):
        segment = segments[count]
        next_base = segments[count + 1].base_offset if count + 1 < len(segments) else None
        behind = log.end_offset if next_base is None else next_base
        is_last_and_empty = next_base is None and segment.size_bytes == 0
        if is_last_and_empty or behind > log.high_watermark or not may_go(segment, next_base):
            return count
        count += 1
    return count


def _is_too_old(segment: Segment, retention_ms: int, now_ms: int) -> bool:
    return retention_ms >= 0 and now_ms - segment.largest_timestamp() > retention_ms
