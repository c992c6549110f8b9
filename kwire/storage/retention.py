"""How many segments of a log are to be deleted: by retention time, retention size, log start offset.

Responsible for: the decision. Must not depend on: clocks, files, how a segment is removed.

Segments are deleted from the oldest on, up to the first that is kept. Nothing above the high watermark is deleted, and
the last segment only if it is not empty.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Protocol

from kwire.storage.config import LogConfig
from kwire.storage.segments.segment import Segment

# Renaming the files of a segment takes some tens of microseconds.
SEGMENTS_DELETED_AT_ONCE: Final = 50
# As the log line about deleted segments has them.
START_OFFSET: Final = "log start offset"
TIME: Final = "retention.ms"
SIZE: Final = "retention.bytes"


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


def segments_to_delete(log: RetainedLog, now_ms: int) -> list[str]:
    """The reasons for which segments are to be deleted, one for each segment, from the first on.

    Time and size do not apply to a log that is only compacted.
    """
    reasons: list[str] = []
    start = log.log_start_offset
    _extend(reasons, log, START_OFFSET, lambda _, next_base: next_base is not None and next_base <= start)
    if not log.config.delete:
        return reasons
    _extend(reasons, log, TIME, lambda segment, _: _is_too_old(segment, log.config.retention_ms, now_ms))
    if log.config.retention_bytes < 0:
        return reasons
    surplus = sum(segment.size_bytes for segment in log.segments[len(reasons) :]) - log.config.retention_bytes

    def is_surplus(segment: Segment, _next_base: int | None) -> bool:
        nonlocal surplus
        surplus -= segment.size_bytes
        return surplus >= 0

    _extend(reasons, log, SIZE, is_surplus)
    return reasons


def _extend(reasons: list[str], log: RetainedLog, reason: str, may_go: Callable[[Segment, int | None], bool]) -> None:
    """Add the reason once for each of the next segments that may be deleted for it."""
    segments = log.segments
    while len(reasons) < len(segments):
        index = len(reasons)
        segment = segments[index]
        next_base = segments[index + 1].base_offset if index + 1 < len(segments) else None
        behind = log.end_offset if next_base is None else next_base
        is_last_and_empty = next_base is None and segment.size_bytes == 0
        if is_last_and_empty or behind > log.high_watermark or not may_go(segment, next_base):
            return
        reasons.append(reason)


def _is_too_old(segment: Segment, retention_ms: int, now_ms: int) -> bool:
    return retention_ms >= 0 and now_ms - segment.largest_timestamp() > retention_ms
