"""The state of the other brokers that partitions use, and the functions that reach the controller.

Responsible for: the values. Must not depend on: partitions, the metadata image.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from kwire.errors import StorageFailure
from kwire.types import TopicPartition


@dataclass(slots=True, eq=False)
class ClusterView:
    """The state of the cluster for the leaders on this broker; shared by its partitions.

    ``alive`` has the broker epoch of each broker that may be in sync: registered, not fenced, not in controlled
    shutdown. ``propose`` is called when a partition has a change of its in-sync replicas for the controller.
    """

    node_id: int
    alive: Mapping[int, int]
    lag_time_max_ms: int
    propose: Callable[[TopicPartition], None]
    # Whether the log directory that has a broker's replica is online, as of the metadata.
    is_online: Callable[[TopicPartition, int], bool] = field(default_factory=lambda: _always)
    # Called when a log whose role has changed fails.
    storage_failed: Callable[[StorageFailure], None] = field(default_factory=lambda: _report_nothing)
    # A follower's log was cut: what the checkpoints say of it may be too high.
    truncated: Callable[[TopicPartition], None] = field(default_factory=lambda: _nothing)

    @classmethod
    def of_one(cls, node_id: int) -> ClusterView:
        """The view of a broker that is alone: no partition has followers, so nothing is ever proposed."""
        return cls(node_id, {}, 0, _nothing)


def _always(partition: TopicPartition, broker_id: int) -> bool:
    del partition, broker_id
    return True


def _report_nothing(failure: StorageFailure) -> None:
    del failure


def _nothing(partition: TopicPartition) -> None:
    del partition
