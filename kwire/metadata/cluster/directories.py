"""Which log directory holds a replica (KIP-858).

Responsible for: the checks of AssignReplicasToDirs and its records. Must not depend on: requests, files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from kwire.errors import Code
from kwire.metadata.cluster.leadership import lose_replicas
from kwire.metadata.cluster.partition_changes import PartitionChanges
from kwire.metadata.configs.effective import EffectiveConfigs
from kwire.metadata.entities import BrokerNode
from kwire.metadata.image import MetadataImage
from kwire.types import TopicPartition, Uuid
from kwire.wire.message import Message


@dataclass(frozen=True, slots=True)
class ReplicaDirectory:
    """A replica, by topic id and partition, and the directory that holds it."""

    topic_id: Uuid
    index: int
    directory: Uuid


class Assigned(NamedTuple):
    """The records, and one error code for each replica, in their order."""

    records: list[Message]
    codes: list[Code]


def assign_directories(
    image: MetadataImage, configs: EffectiveConfigs, broker: BrokerNode, replicas: Sequence[ReplicaDirectory]
) -> Assigned:
    """Record where a broker holds replicas. One in a directory that is offline is in sync no more."""
    changes = PartitionChanges(image, configs)
    records: list[Message] = []
    codes: list[Code] = []
    offline: set[tuple[Uuid, int]] = set()
    for one in replicas:
        topic = image.topics_by_id.get(one.topic_id)
        if topic is None:
            codes.append(Code.UNKNOWN_TOPIC_ID)
            continue
        if not 0 <= one.index < len(topic.partitions):
            codes.append(Code.UNKNOWN_TOPIC_OR_PARTITION)
            continue
        partition = topic.partitions[one.index]
        if broker.id not in partition.replicas:
            codes.append(Code.NOT_LEADER_OR_FOLLOWER)
            continue
        record = changes.change(topic.name, partition, directory=(broker.id, one.directory))
        if record is not None:
            records.append(record)
        if one.directory not in broker.log_dirs:
            offline.add((one.topic_id, one.index))
        codes.append(Code.NONE)
    if offline:
        records += lose_replicas(image, configs, broker.id, offline)
    return Assigned(records, codes)


def assign_own_directories(
    image: MetadataImage, configs: EffectiveConfigs, broker_id: int, directories: Mapping[TopicPartition, Uuid]
) -> list[Message]:
    """Record in which log directory the controller's own broker holds its replicas, where the image has another."""
    changes = PartitionChanges(image, configs)
    records: list[Message] = []
    for (topic, index), directory in directories.items():
        partition = image.partition(topic, index)
        if partition is None or broker_id not in partition.replicas:
            continue
        record = changes.change(topic, partition, directory=(broker_id, directory))
        if record is not None:
            records.append(record)
    return records
