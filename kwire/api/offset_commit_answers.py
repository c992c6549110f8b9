"""The topics of an OffsetCommit or TxnOffsetCommit answer, put together as Apache Kafka does.

Responsible for: which topics the answer lists and in which order, when a request lists a topic twice or without
partitions. Must not depend on: how offsets are committed.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import TypeVar

K = TypeVar("K", bound=Hashable)
P = TypeVar("P")


def merge_answers(
    refused: Mapping[K, Sequence[P]], committed: Sequence[tuple[K, Sequence[P]]]
) -> list[tuple[K, list[P]]]:
    """Return the topics of the answer, each with its partitions.

    ``refused``: by topic, what was answered without the group coordinator. ``committed``: for each entry of the request
    what the coordinator answered; entries without partitions are left out. While nothing was refused, entries stay as
    the request has them, also two for one topic; else each topic is listed once, what was refused first.
    """
    entries = [(topic, list(partitions)) for topic, partitions in committed if partitions]
    if not refused:
        return entries
    merged = {topic: list(partitions) for topic, partitions in refused.items()}
    for topic, partitions in entries:
        merged.setdefault(topic, []).extend(partitions)
    return list(merged.items())
