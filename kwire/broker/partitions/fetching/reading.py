"""Read one partition for a fetch: the records and offsets that a consumer, a share consumer or a follower gets.

Responsible for: the order of the checks (leader epoch, diverging log, offset range), how far each kind of reader sees,
the slice of the log, aborted transactions, and the watermarks of the answer. Must not depend on: requests, sessions,
waiting.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Final, NamedTuple

from kwire.broker.partitions.partition import Partition
from kwire.errors import Code, KafkaError
from kwire.storage.epochs import EpochEnd
from kwire.storage.files import FileSlice
from kwire.storage.log import Log
from kwire.storage.segments.index import AbortedTransaction
from kwire.types import quick


class ReadUpTo(Enum):
    """How far a reader sees (Apache Kafka's FetchIsolation)."""

    HIGH_WATERMARK = 0
    """Consumers with read_uncommitted."""
    LAST_STABLE_OFFSET = 1
    """Consumers with read_committed."""
    LOG_END = 2
    """Followers and the debugging consumer."""


class PartitionRead(NamedTuple):
    """The result of a read. The caller sends or closes ``records``."""

    records: FileSlice | None
    """None: there is nothing to read, there is no room, or the logs diverge."""
    high_watermark: int
    last_stable_offset: int
    log_start_offset: int
    aborted: Sequence[AbortedTransaction] | None
    """Aborted transactions in the records; None unless the reader sees up to the last stable offset."""
    diverging: EpochEnd | None
    """Where the reader's log must be truncated to (KIP-595); then there are no records."""


_as_read: Final = quick(PartitionRead)


def visible_end(log: Log, up_to: ReadUpTo) -> int:
    """Return the offset below which the reader sees records."""
    if up_to is ReadUpTo.HIGH_WATERMARK:
        return log.high_watermark
    return log.last_stable_offset if up_to is ReadUpTo.LAST_STABLE_OFFSET else log.end_offset


def read_partition(
    partition: Partition,
    offset: int,
    *,
    leader_epoch: int = -1,
    last_fetched_epoch: int = -1,
    up_to: ReadUpTo,
    max_bytes: int,
    at_least_one: bool,
) -> PartitionRead:
    """Read whole batches from ``offset`` on, at most ``max_bytes``; the last may be cut.

    ``leader_epoch`` and ``last_fetched_epoch`` are the reader's; below 0 it does not know them. ``at_least_one``: a
    first batch that is larger than ``max_bytes`` is given whole. Raises KafkaError: FENCED_LEADER_EPOCH,
    UNKNOWN_LEADER_EPOCH, OFFSET_OUT_OF_RANGE; or StorageFailure.
    """
    if leader_epoch >= 0:
        partition.check_leader_epoch(leader_epoch)
    log = partition.log
    high_watermark, last_stable_offset, log_start_offset = (
        log.high_watermark,
        log.last_stable_offset,
        log.log_start_offset,
    )
    aborted: Sequence[AbortedTransaction] | None = None
    if last_fetched_epoch >= 0:
        diverging = _diverging_epoch(log, offset, last_fetched_epoch)
        if diverging is not None:
            return _as_read((None, high_watermark, last_stable_offset, log_start_offset, None, diverging))
    if up_to is ReadUpTo.HIGH_WATERMARK:
        end_offset = high_watermark
    elif up_to is ReadUpTo.LAST_STABLE_OFFSET:
        end_offset, aborted = last_stable_offset, ()
    else:
        end_offset = log.end_offset
    if max_bytes > 0 or at_least_one:
        records = log.read(offset, max_bytes=max(max_bytes, 0), end_offset=end_offset, at_least_one=at_least_one)
        if records is not None and aborted is not None:
            aborted = log.aborted_transactions(offset, records.end_offset)
    else:
        # No room: the offset is still checked, and the watermarks are still returned.
        records = None
        log.check_offset(offset)
    return _as_read((records, high_watermark, last_stable_offset, log_start_offset, aborted, None))


def _diverging_epoch(log: Log, offset: int, last_fetched_epoch: int) -> EpochEnd | None:
    """Return the end of the reader's last epoch in this log, if the reader's log differs after it."""
    end = log.offset_for_epoch(last_fetched_epoch)
    if end.epoch < 0 or end.end_offset < 0:
        raise KafkaError(Code.OFFSET_OUT_OF_RANGE)
    return end if end.epoch < last_fetched_epoch or end.end_offset < offset else None
