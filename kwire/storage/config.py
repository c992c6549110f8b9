"""The settings of one log.

Responsible for: names, types and Kafka's defaults of the settings that storage itself applies. Must not depend on:
where they come from.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

FOREVER: Final = 2**63 - 1


@dataclass(frozen=True, slots=True)
class LogConfig:
    """Each field is the topic config of the same name, dots for underscores."""

    segment_bytes: int = 1024 * 1024 * 1024
    segment_ms: int = 7 * 24 * 3600 * 1000
    segment_jitter_ms: int = 0
    segment_index_bytes: int = 10 * 1024 * 1024
    index_interval_bytes: int = 4096
    preallocate: bool = False
    flush_messages: int = FOREVER
    flush_ms: int = FOREVER
    # cleanup.policy
    delete: bool = True
    compact: bool = False
    retention_ms: int = 7 * 24 * 3600 * 1000
    retention_bytes: int = -1
    file_delete_delay_ms: int = 60_000
    delete_retention_ms: int = 24 * 3600 * 1000
    min_compaction_lag_ms: int = 0
    max_compaction_lag_ms: int = FOREVER
    min_cleanable_dirty_ratio: float = 0.5
    # message.timestamp.type=LogAppendTime
    log_append_time: bool = False

    @property
    def segment_ms_max(self) -> int:
        """The largest age of an active segment; the compaction lag counts too, as that segment is not compacted."""
        if self.compact and self.max_compaction_lag_ms > 0:
            return min(self.max_compaction_lag_ms, self.segment_ms)
        return self.segment_ms
