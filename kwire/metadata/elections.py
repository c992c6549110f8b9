"""Commands on leaders and replicas: elections and reassignments.

Responsible for: when an election is needed or possible, which reassignments are possible, and the records. Must not
depend on: how replicas catch up (there is one broker: a reassignment is complete at once, or impossible).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from kwire.errors import Code, KafkaError
from kwire.metadata.decision import DONE, Decision, Outcome, default_directory, is_active
from kwire.metadata.entities import NO_LEADER, Partition
from kwire.metadata.image import MetadataImage
from kwire.metadata.placement import check_assignment
from kwire.types import TopicPartition
from kwire.wire.message import Message
from kwire.wire.messages import PartitionChangeRecord

PREFERRED = 0
UNCLEAN = 1

_RECOVERING = 1
_NO_LEADER_CHANGE = -2


class Reassignment(NamedTuple):
    """Where a partition's replicas should be; None to stop a reassignment under way."""

    partition: TopicPartition
    replicas: tuple[int, ...] | None


def elect_leaders(image: MetadataImage, election_type: int, partitions: Sequence[TopicPartition]) -> Decision[Outcome]:
    """Elect the preferred leader, or for a partition without one any replica that is there (KIP-460)."""
    records: list[Message] = []
    results: list[Outcome | KafkaError] = []
    for topic, index in partitions:
        try:
            records.append(_elect_one(image, election_type, topic, index))
            results.append(DONE)
        except KafkaError as refusal:
            results.append(refusal)
    return Decision(records, results)


def alter_reassignments(
    image: MetadataImage, wanted: Sequence[Reassignment], *, allow_replication_factor_change: bool = True
) -> Decision[Outcome]:
    """Move partitions to other replicas (KIP-455)."""
    records: list[Message] = []
    results: list[Outcome | KafkaError] = []
    for item in wanted:
        try:
            records += _reassign_one(image, item, allow_replication_factor_change)
            results.append(DONE)
        except KafkaError as refusal:
            results.append(refusal)
    return Decision(records, results)


def _elect_one(image: MetadataImage, election_type: int, topic: str, index: int) -> PartitionChangeRecord:
    if topic not in image.topics:
        raise KafkaError(Code.UNKNOWN_TOPIC_OR_PARTITION, f"No such topic as {topic}")
    partition = image.partition(topic, index)
    if partition is None:
        raise KafkaError(Code.UNKNOWN_TOPIC_OR_PARTITION, f"No such partition as {topic}-{index}")
    if election_type == PREFERRED:
        if partition.leader == partition.preferred_leader:
            raise KafkaError(Code.ELECTION_NOT_NEEDED, "Leader election not needed for topic partition.")
        preferred = partition.preferred_leader
        if preferred not in partition.isr or not _is_there(image, preferred):
            raise KafkaError(Code.PREFERRED_LEADER_NOT_AVAILABLE, "The preferred leader was not available.")
        return PartitionChangeRecord(topic_id=partition.topic_id, partition_id=index, leader=preferred)
    if partition.leader != NO_LEADER:
        raise KafkaError(Code.ELECTION_NOT_NEEDED, "Leader election not needed for topic partition.")
    return _unclean_leader(image, partition)


def _unclean_leader(image: MetadataImage, partition: Partition) -> PartitionChangeRecord:
    for clean, candidates in (
        (True, partition.isr),
        (True, partition.eligible_leader_replicas),
        (False, partition.replicas),
    ):
        for broker_id in candidates:
            if _is_there(image, broker_id):
                return PartitionChangeRecord(
                    topic_id=partition.topic_id,
                    partition_id=partition.index,
                    leader=broker_id,
                    isr=None if broker_id in partition.isr else [broker_id],
                    leader_recovery_state=-1 if clean else _RECOVERING,
                    eligible_leader_replicas=[] if partition.eligible_leader_replicas else None,
                    last_known_elr=[] if partition.last_known_elr else None,
                )
    raise KafkaError(Code.ELIGIBLE_LEADERS_NOT_AVAILABLE, "Eligible topic partition leaders are not available.")


def _is_there(image: MetadataImage, broker_id: int) -> bool:
    broker = image.brokers.get(broker_id)
    return broker is not None and is_active(broker)


def _reassign_one(image: MetadataImage, item: Reassignment, allow_replication_factor_change: bool) -> list[Message]:
    (topic, index), replicas = item
    if topic not in image.topics:
        raise KafkaError(Code.UNKNOWN_TOPIC_OR_PARTITION, f"Unable to find a topic named {topic}.")
    partition = image.partition(topic, index)
    if partition is None:
        raise KafkaError(Code.UNKNOWN_TOPIC_OR_PARTITION, f"Unable to find partition {topic}:{index}.")
    if replicas is None:
        return [_stop_reassignment(partition)]
    check_assignment(image, replicas, None)
    if not allow_replication_factor_change and len(replicas) != len(partition.replicas):
        raise KafkaError(
            Code.INVALID_REPLICATION_FACTOR,
            f"The replication factor is changed from {len(partition.replicas)} to {len(replicas)}",
        )
    if tuple(replicas) == partition.replicas and not partition.is_reassigning:
        return []
    if not set(replicas) <= set(partition.isr):
        # Another broker would have to copy the log first; there is only one broker.
        raise KafkaError(
            Code.INVALID_REPLICA_ASSIGNMENT, f"Brokers {sorted(set(replicas) - set(partition.isr))} are not in sync."
        )
    leader = partition.leader if partition.leader in replicas else replicas[0]
    return [
        PartitionChangeRecord(
            topic_id=partition.topic_id,
            partition_id=index,
            replicas=list(replicas),
            isr=[broker_id for broker_id in replicas if broker_id in partition.isr],
            leader=_NO_LEADER_CHANGE if leader == partition.leader else leader,
            removing_replicas=[] if partition.removing_replicas else None,
            adding_replicas=[] if partition.adding_replicas else None,
            directories=[_directory_of(image, partition, broker_id) for broker_id in replicas],
        )
    ]


def _stop_reassignment(partition: Partition) -> PartitionChangeRecord:
    """Go back to the replicas from before. Only a directory of a larger cluster has a reassignment under way."""
    if not partition.is_reassigning:
        raise KafkaError(Code.NO_REASSIGNMENT_IN_PROGRESS)
    kept = [broker_id for broker_id in partition.replicas if broker_id not in partition.adding_replicas]
    return PartitionChangeRecord(
        topic_id=partition.topic_id,
        partition_id=partition.index,
        replicas=kept,
        isr=[broker_id for broker_id in partition.isr if broker_id in kept],
        removing_replicas=[],
        adding_replicas=[],
        directories=[
            directory
            for broker_id, directory in zip(partition.replicas, partition.directories, strict=False)
            if broker_id in kept
        ],
    )


def _directory_of(image: MetadataImage, partition: Partition, broker_id: int) -> bytes:
    if broker_id in partition.replicas and len(partition.directories) == len(partition.replicas):
        return partition.directories[partition.replicas.index(broker_id)]
    return default_directory(image, broker_id)
