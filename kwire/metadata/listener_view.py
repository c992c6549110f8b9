"""The cluster as clients of one listener see it: brokers at that listener, leaders, replicas that are offline.

Responsible for: the brokers and partitions in answers to Metadata, DescribeTopicPartitions and DescribeCluster, as from
Apache Kafka's metadata cache. Must not depend on: requests, authorization.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from kwire.errors import Code
from kwire.metadata.entities import (
    DIRECTORY_LOST,
    DIRECTORY_MIGRATING,
    DIRECTORY_UNASSIGNED,
    NO_LEADER,
    BrokerNode,
    Endpoint,
    Partition,
)
from kwire.metadata.image import MetadataImage
from kwire.types import Uuid


class PartitionView(NamedTuple):
    """A partition for one listener. ``leader`` is -1, with a code that says why, where clients cannot reach it."""

    code: Code
    leader: int
    offline_replicas: list[int]


class ListenerView:
    """``own`` is the listener that a client is connected to, of the broker ``own_id``."""

    def __init__(self, image: MetadataImage, own_id: int, own: Endpoint) -> None:
        self._image = image
        self._own_id = own_id
        self._own = own
        # By leader, replicas and directories: the partitions of a cluster share a few of these.
        self._known: dict[tuple[int, tuple[int, ...], tuple[Uuid, ...]], PartitionView] = {}
        self._offline = {node.id for node in image.brokers.values() if node.fenced or self.endpoint(node.id) is None}

    def endpoint(self, node_id: int) -> Endpoint | None:
        """Return where a broker has the listener; None if it is not registered or lacks it."""
        node = self._image.brokers.get(node_id)
        if node is None:
            return None
        if node_id == self._own_id:
            return self._own
        return next((one for one in node.endpoints if one.listener == self._own.listener), None)

    def brokers(self, *, with_fenced: bool = False) -> list[tuple[BrokerNode, Endpoint]]:
        """Return the brokers that have the listener, without those that are fenced unless these are asked for."""
        return [
            (node, endpoint)
            for node in self._image.brokers.values()
            if (with_fenced or not node.fenced) and (endpoint := self.endpoint(node.id)) is not None
        ]

    def controller_id(self) -> int:
        """Return the broker to which clients send requests for the controller, which it forwards; -1 without one.

        Apache Kafka names a random one; this broker saves a connection.
        """
        usable = [node.id for node, _ in self.brokers()]
        return self._own_id if self._own_id in usable or not usable else usable[0]

    def partition(self, partition: Partition) -> PartitionView:
        """Describe a partition."""
        key = (partition.leader, partition.replicas, partition.directories)
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = self._describe(partition)
        return found

    def _describe(self, partition: Partition) -> PartitionView:
        brokers = self._image.brokers
        code, leader = Code.NONE, partition.leader
        if leader == NO_LEADER or leader not in brokers:
            code, leader = Code.LEADER_NOT_AVAILABLE, NO_LEADER
        elif self.endpoint(leader) is None:
            code, leader = Code.LISTENER_NOT_FOUND, NO_LEADER
        offline = [
            replica
            for replica, directory in zip(partition.replicas, _directories(partition), strict=True)
            if replica not in brokers or replica in self._offline or not _has_directory(brokers[replica], directory)
        ]
        return PartitionView(code, leader, offline)


def _directories(partition: Partition) -> Sequence[Uuid]:
    """The directory of each replica; unknown to a broker older than KIP-858."""
    if len(partition.directories) == len(partition.replicas):
        return partition.directories
    return [DIRECTORY_MIGRATING] * len(partition.replicas)


def _has_directory(broker: BrokerNode, directory: Uuid) -> bool:
    """Whether a replica's directory is online; one that is not known yet counts as online."""
    if directory in {DIRECTORY_MIGRATING, DIRECTORY_UNASSIGNED} or not broker.log_dirs:
        return True
    return directory != DIRECTORY_LOST and directory in broker.log_dirs
