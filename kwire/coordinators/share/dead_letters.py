"""Dead letters: records that a share group archives undelivered, written to another topic (KIP-1191).

Responsible for: their causes, and the record of each. Must not depend on: share partitions, where the
records are written.

A dead letter has headers that name the place of the record, the group and the cause; key and value are those of the
record if the group's config errors.deadletterqueue.copy.record.enable says so, else null.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import NamedTuple

from kwire.wire.batches.records import Record


class Cause(Enum):
    """The value is the text of the header ``__dlq.errors.message``."""

    REJECTED = "Offset rejected by client."
    DELIVERY_COUNT_EXCEEDED = "Offset delivery count exceeded the threshold."


class DeadLetters(NamedTuple):
    """The records from ``first_offset`` to ``last_offset``, both included."""

    first_offset: int
    last_offset: int
    delivery_count: int
    cause: Cause


def cause_of(delivery_count: int, delivery_count_max: int) -> Cause:
    """The cause for records whose cause was not stored."""
    return Cause.DELIVERY_COUNT_EXCEEDED if delivery_count >= delivery_count_max else Cause.REJECTED


def dead_letter_records(
    letters: DeadLetters, *, group_id: str, topic: str, partition: int, sources: Mapping[int, Record], now_ms: int
) -> list[Record]:
    """One record for each offset. ``sources``: the records whose key and value are copied, by offset."""
    found = []
    for number, offset in enumerate(range(letters.first_offset, letters.last_offset + 1)):
        source = sources.get(offset)
        headers = (
            ("__dlq.errors.topic", topic.encode()),
            ("__dlq.errors.partition", b"%d" % partition),
            ("__dlq.errors.offset", b"%d" % offset),
            ("__dlq.errors.group", group_id.encode()),
            ("__dlq.errors.delivery.count", b"%d" % letters.delivery_count),
            ("__dlq.errors.message", letters.cause.value.encode()),
        )
        key, value = (None, None) if source is None else (source.key, source.value)
        found.append(Record(number, now_ms, key, value, headers))
    return found
