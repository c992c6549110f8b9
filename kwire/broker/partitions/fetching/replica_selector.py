"""Which replica a consumer should read a partition from: one in its own rack (KIP-392).

Responsible for: the choice of ``RackAwareReplicaSelector``, one of Apache Kafka's values of ``replica.selector.class``.
Must not depend on: requests.
"""

from __future__ import annotations

from typing import Final

from kwire.broker.partitions.partition import Partition
from kwire.metadata.image import MetadataImage

RACK_AWARE: Final = "org.apache.kafka.common.replica.RackAwareReplicaSelector"
NO_REPLICA: Final = -1


class RackAwareReplicaSelector:
    """Chooses among the replicas in sync; ``image`` has their racks."""

    def __init__(self, image: MetadataImage) -> None:
        self._image = image

    def preferred(self, partition: Partition, offset: int, *, rack: str, listener: str, now_ms: int) -> int:
        """Return the broker to which a consumer in ``rack`` should go for the record at ``offset``; -1: stay here.

        The leader stays if it is in that rack, or no other replica there can serve the offset. Of several replicas the
        one that has copied most is chosen. ``listener`` is that of the consumer: the broker must have it.
        """
        leader = partition.leader
        if leader is None or self._rack_of(partition.cluster.node_id) == rack:
            return NO_REPLICA
        chosen = NO_REPLICA
        best = (-1, 0, 0)
        for broker_id in partition.isr:
            if not leader.is_follower(broker_id) or not self._may_serve(broker_id, rack, listener):
                continue
            progress = leader.progress(broker_id)
            if not progress.log_start_offset <= offset <= progress.end_offset:
                continue
            lag_ms = now_ms - (progress.caught_up_ms or 0)
            if (progress.end_offset, -lag_ms, broker_id) > best or chosen == NO_REPLICA:
                chosen, best = broker_id, (progress.end_offset, -lag_ms, broker_id)
        return chosen

    def _rack_of(self, broker_id: int) -> str | None:
        broker = self._image.brokers.get(broker_id)
        return None if broker is None else broker.rack

    def _may_serve(self, broker_id: int, rack: str, listener: str) -> bool:
        broker = self._image.brokers.get(broker_id)
        return (
            broker is not None
            and not broker.fenced
            and broker.rack == rack
            and any(point.listener == listener for point in broker.endpoints)
        )
