"""Reassignments: partitions move to other replicas (KIP-455).

Responsible for: the first step (the new replicas are added to the old ones) and undoing it. The last step comes when
all replicas that stay are in sync: ``partition_changes`` adds it to the change that makes it possible. Must not depend
on: how replicas catch up.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from kwire.errors import Code, KafkaError
from kwire.metadata.cluster.partition_changes import PartitionChanges
from kwire.metadata.configs.effective import EffectiveConfigs
from kwire.metadata.decisions.decision import DONE, Decision, Outcome
from kwire.metadata.decisions.placement import check_assignment
from kwire.metadata.entities import Partition
from kwire.metadata.image import MetadataImage
from kwire.types import TopicPartition
from kwire.wire.message import Message
from kwire.wire.messages import PartitionChangeRecord


class Reassignment(NamedTuple):
    """Where a partition's replicas should be; None to stop a reassignment under way."""

    partition: TopicPartition
    replicas: tuple[int, ...] | None


def alter_reassignments(
    image: MetadataImage,
    configs: EffectiveConfigs,
    wanted: Sequence[Reassignment],
    *,
    allow_replication_factor_change: bool = True,
) -> Decision[Outcome]:
    """Move partitions to other replicas, or stop a move."""
    changes = PartitionChanges(image, configs)
    records: list[Message] = []
    results: list[Outcome | KafkaError] = []
    for item in wanted:
        try:
            record = _reassign_one(image, changes, item, allow_replication_factor_change)
        except KafkaError as refusal:
            results.append(refusal)
            continue
        if record is not None:
            records.append(record)
        results.append(DONE)
    return Decision(records, results)


def _reassign_one(
    image: MetadataImage, changes: PartitionChanges, item: Reassignment, allow_replication_factor_change: bool
) -> PartitionChangeRecord | None:
    (topic, index), replicas = item
    if topic not in image.topics:
        raise KafkaError(Code.UNKNOWN_TOPIC_OR_PARTITION, f"Unable to find a topic named {topic}.")
    partition = image.partition(topic, index)
    if partition is None:
        raise KafkaError(Code.UNKNOWN_TOPIC_OR_PARTITION, f"Unable to find partition {topic}:{index}.")
    if replicas is None:
        return _stop(changes, topic, partition)
    check_assignment(image, replicas, None)
    replication_factor = len(partition.replicas) - len(partition.adding_replicas)
    if not allow_replication_factor_change and len(replicas) != replication_factor:
        raise KafkaError(
            Code.INVALID_REPLICATION_FACTOR,
            f"The replication factor is changed from {replication_factor} to {len(replicas)}",
        )
    removing = sorted(set(partition.replicas) - set(replicas))
    return changes.change(
        topic,
        partition,
        replicas=[*replicas, *removing],
        removing=removing or None,
        adding=sorted(set(replicas) - set(partition.replicas)) or None,
    )


def _stop(changes: PartitionChanges, topic: str, partition: Partition) -> PartitionChangeRecord | None:
    """Go back to the replicas from before. If none of them is in sync, the first one counts as in sync from now on."""
    if not partition.is_reassigning:
        raise KafkaError(Code.NO_REASSIGNMENT_IN_PROGRESS)
    isr = [one for one in partition.isr if one not in partition.adding_replicas]
    if not isr and not changes.allows_unclean(topic):
        raise KafkaError(
            Code.INVALID_REPLICA_ASSIGNMENT,
            f"Unable to revert partition assignment for {topic}:{partition.index} because it would require an unclean"
            " leader election.",
        )
    replicas = [one for one in partition.replicas if one not in partition.adding_replicas]
    return changes.change(
        topic,
        partition,
        isr=isr or replicas[:1],
        replicas=replicas,
        removing=[],
        adding=[],
        election=changes.usual_election(topic),
    )
