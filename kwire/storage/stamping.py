"""Prepares batches for an append: offset, leader epoch and, with LogAppendTime, timestamp.

Responsible for: the parts to be written to the file, the offsets and positions of the batches, and the result of an
append. Must not depend on: files, segments, producers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from kwire.errors import Code, KafkaError
from kwire.storage.files import Buffer
from kwire.storage.segments.segment import AppendedBatch
from kwire.types import quick
from kwire.wire.batches.batch import (
    HEADER_BYTES,
    OVERHEAD_BYTES,
    STAMP_BYTES,
    BatchHeader,
    stamp,
    with_log_append_time,
)


class Appended(NamedTuple):
    """Where an append was written, as in the produce response."""

    base_offset: int
    last_offset: int
    # -1 if records keep their own time.
    log_append_time_ms: int
    log_start_offset: int
    # These batches were appended before; nothing was written.
    duplicate: bool

    @property
    def next_offset(self) -> int:
        """The offset behind the last record: what to wait for until it is committed."""
        return self.last_offset + 1


as_appended = quick(Appended)
_as_row = quick(AppendedBatch)


def stamp_batches(
    batches: memoryview, headers: Sequence[BatchHeader], offset: int, *, leader_epoch: int, append_time_ms: int
) -> tuple[list[Buffer], list[AppendedBatch]]:
    """Give the batches offsets from ``offset`` on, and ``append_time_ms`` as their timestamp unless it is -1.

    The records themselves are not copied.
    """
    if append_time_ms < 0 and len(headers) == 1:
        # The usual case: the one batch of a producer.
        (header,) = headers
        end = header.length + OVERHEAD_BYTES
        last_offset = offset + header.last_offset_delta
        return (
            [stamp(offset, header.length, leader_epoch), batches[STAMP_BYTES:end]],
            [_as_row((offset, last_offset, header.max_timestamp, end))],
        )
    parts: list[Buffer] = []
    rows: list[AppendedBatch] = []
    at = 0
    for header in headers:
        end = at + header.length + OVERHEAD_BYTES
        timestamp_ms = header.max_timestamp
        if append_time_ms < 0:
            parts += (stamp(offset, header.length, leader_epoch), batches[at + STAMP_BYTES : end])
        else:
            timestamp_ms = append_time_ms
            head = with_log_append_time(batches, at, header, append_time_ms)
            parts += (stamp(offset, header.length, leader_epoch), head, batches[at + HEADER_BYTES : end])
        last_offset = offset + header.last_offset_delta
        rows.append(_as_row((offset, last_offset, timestamp_ms, end - at)))
        offset = last_offset + 1
        at = end
    return parts, rows


def take_stamped_batches(
    batches: memoryview, headers: Sequence[BatchHeader], offset: int
) -> tuple[list[Buffer], list[AppendedBatch]]:
    """Take batches with the offsets that a leader gave them; KafkaError (OFFSET_OUT_OF_RANGE) if one is below."""
    rows = []
    for header in headers:
        if header.base_offset < offset:
            raise KafkaError(
                Code.OFFSET_OUT_OF_RANGE, f"a batch with offset {header.base_offset} cannot follow {offset - 1}"
            )
        offset = header.next_offset
        rows.append(AppendedBatch(header.base_offset, offset - 1, header.max_timestamp, header.size_bytes))
    return [batches], rows
