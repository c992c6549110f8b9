"""How many partitions each broker leads, is in sync for, and is eligible to lead.

Responsible for: counts that follow the image, so that the controller need not look at all partitions to learn that a
broker has nothing left to hand over. Must not depend on: when an image changes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from kwire.limits import METADATA_STEP_VISITS
from kwire.metadata.entities import NO_LEADER, Partition
from kwire.metadata.image import Delta, MetadataImage


class ReplicaCounts:
    """Counts of partitions by broker id; empty until ``count_in_steps`` has run, then kept up to date by ``follow``.

    ``in_sync`` has the partitions that the broker leaves when it is fenced (``leaves``), ``last_in_sync`` those
    without a leader that it stays listed in.
    """

    def __init__(self) -> None:
        self.led: Counter[int] = Counter()
        self.in_sync: Counter[int] = Counter()
        self.last_in_sync: Counter[int] = Counter()
        self.eligible: Counter[int] = Counter()
        self.partitions = 0
        self.led_by_others = 0  # partitions whose leader is not the preferred one, or that have none

    @classmethod
    def of(cls, image: MetadataImage) -> ReplicaCounts:
        """Count all partitions at once."""
        counts = cls()
        for _ in counts.count_in_steps(image):
            pass
        return counts

    @property
    def leaderless(self) -> int:
        """The number of partitions without a leader."""
        return self.led[NO_LEADER]

    def listed(self, broker_id: int) -> int:
        """Return the number of partitions that have a broker as in-sync or as eligible replica."""
        return self.in_sync[broker_id] + self.last_in_sync[broker_id] + self.eligible[broker_id]

    def count_in_steps(self, image: MetadataImage) -> Iterator[None]:
        """Add all partitions; yields between two steps. The image must not change meanwhile."""
        visited = 0
        for topic in image.topics.values():
            for partition in topic.partitions:
                self._add(partition, 1)
                visited += 1
                if visited % (METADATA_STEP_VISITS // 4) == 0:  # counting takes longer than looking
                    yield

    def follow(self, delta: Delta) -> None:
        """Follow a change of the image."""
        for partition in delta.partitions_created.values():
            self._add(partition, 1)
        for before, after in delta.partitions_changed.values():
            self._add(before, -1)
            self._add(after, 1)
        for topic in delta.topics_deleted:
            for partition in topic.partitions:
                self._add(partition, -1)

    def _add(self, partition: Partition, times: int) -> None:
        self.partitions += times
        self.led[partition.leader] += times
        in_sync = self.last_in_sync if _has_only_last(partition) else self.in_sync
        for broker_id in partition.isr:
            in_sync[broker_id] += times
        for broker_id in partition.eligible_leader_replicas:
            self.eligible[broker_id] += times
        if partition.leader != partition.preferred_leader:
            self.led_by_others += times


def leaves(broker_id: int, partition: Partition) -> bool:
    """Tell whether a broker that is fenced leaves the in-sync set, or the leadership, of a partition."""
    return broker_id in partition.isr and not _has_only_last(partition)


def _has_only_last(partition: Partition) -> bool:
    return partition.leader == NO_LEADER and len(partition.isr) == 1
