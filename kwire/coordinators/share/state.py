"""The delivery state of records as the share coordinator stores it (KIP-932).

Responsible for: the values that share partitions and the share coordinator exchange, and merging updates into it. Must
not depend on: records of the log, share partitions.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from enum import IntEnum
from itertools import pairwise
from typing import Final, NamedTuple

from kwire.types import Uuid

# The start offset of a share partition that was initialized and not read yet: share.auto.offset.reset decides.
UNKNOWN_START_OFFSET: Final = -1
# The number of delivered records of a share partition that was not read yet.
UNKNOWN_COUNT: Final = -1


class DeliveryState(IntEnum):
    """The state of a record's delivery. The share coordinator never stores ACQUIRED."""

    AVAILABLE = 0
    ACQUIRED = 1
    ACKNOWLEDGED = 2
    ARCHIVING = 3
    """A dead letter of the record is being written (KIP-1191)."""
    ARCHIVED = 4

    @property
    def is_final(self) -> bool:
        """Whether the record is never delivered again."""
        return self in _FINAL


_FINAL: Final = frozenset({DeliveryState.ACKNOWLEDGED, DeliveryState.ARCHIVED})


class SharePartitionKey(NamedTuple):
    """One partition as one share group reads it."""

    group_id: str
    topic_id: Uuid
    partition: int


class StateBatch(NamedTuple):
    """The state of all records from ``first_offset`` to ``last_offset``, both included."""

    first_offset: int
    last_offset: int
    delivery_state: int
    delivery_count: int


def combine(stored: Iterable[StateBatch], update: Iterable[StateBatch], start_offset: int) -> list[StateBatch]:
    """Merge an update into the stored batches; both may overlap. The result is sorted and does not overlap.

    Where two batches cover an offset, the higher delivery count holds, then the higher state: a record's state only
    moves forward. Neighbours with equal states become one batch. Offsets below ``start_offset`` are dropped, unless
    that is UNKNOWN_START_OFFSET.
    """
    batches = sorted(_from(start_offset, [*stored, *update]))
    if len(batches) < 2:
        return batches
    edges = sorted({each.first_offset for each in batches} | {each.last_offset + 1 for each in batches})
    combined: list[StateBatch] = []
    covering: list[tuple[int, int, int]] = []  # of the batches that may cover the edge: the highest state first
    place = 0
    for edge, next_edge in pairwise(edges):
        while place < len(batches) and batches[place].first_offset == edge:
            batch = batches[place]
            heapq.heappush(covering, (-batch.delivery_count, -batch.delivery_state, batch.last_offset))
            place += 1
        while covering and covering[0][2] < edge:
            heapq.heappop(covering)
        if covering:
            count, state, _ = covering[0]
            _extend(combined, StateBatch(edge, next_edge - 1, -state, -count))
    return combined


def _from(start_offset: int, batches: Iterable[StateBatch]) -> Iterable[StateBatch]:
    """The parts of the batches that lie at ``start_offset`` or behind it."""
    for batch in batches:
        if start_offset == UNKNOWN_START_OFFSET or batch.first_offset >= start_offset:
            yield batch
        elif batch.last_offset >= start_offset:
            yield batch._replace(first_offset=start_offset)


def _extend(combined: list[StateBatch], batch: StateBatch) -> None:
    if combined:
        last = combined[-1]
        if last.last_offset + 1 == batch.first_offset and last[2:] == batch[2:]:
            combined[-1] = last._replace(last_offset=batch.last_offset)
            return
    combined.append(batch)
