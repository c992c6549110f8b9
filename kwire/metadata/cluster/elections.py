"""Elections that a client asks for (KIP-460).

Responsible for: when an election is needed or possible. Must not depend on: requests.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from kwire.errors import Code, KafkaError
from kwire.metadata.cluster.partition_changes import Election, PartitionChanges
from kwire.metadata.configs.effective import EffectiveConfigs
from kwire.metadata.decisions.decision import DONE, Decision, Outcome
from kwire.metadata.entities import NO_LEADER
from kwire.metadata.image import MetadataImage
from kwire.types import TopicPartition
from kwire.wire.message import Message
from kwire.wire.messages import PartitionChangeRecord

PREFERRED: Final = 0
UNCLEAN: Final = 1


def elect_leaders(
    image: MetadataImage, configs: EffectiveConfigs, election_type: int, partitions: Sequence[TopicPartition]
) -> Decision[Outcome]:
    """Elect the preferred leader, or for a partition without one any replica that is there."""
    changes = PartitionChanges(image, configs)
    records: list[Message] = []
    results: list[Outcome | KafkaError] = []
    for topic, index in partitions:
        try:
            records.append(_elect_one(image, changes, election_type, topic, index))
            results.append(DONE)
        except KafkaError as refusal:
            results.append(refusal)
    return Decision(records, results)


def bump_leader_epoch(image: MetadataImage, topic: str, index: int) -> list[Message]:
    """Begin a new leader epoch of a partition with its current leader. Raises KafkaError."""
    partition = image.partition(topic, index)
    if partition is None:
        raise KafkaError(Code.UNKNOWN_TOPIC_OR_PARTITION, f"there is no partition {topic}-{index}")
    if partition.leader == NO_LEADER:
        raise KafkaError(Code.LEADER_NOT_AVAILABLE, f"the partition {topic}-{index} has no leader")
    return [PartitionChangeRecord(topic_id=partition.topic_id, partition_id=index, leader=partition.leader)]


def _elect_one(
    image: MetadataImage, changes: PartitionChanges, election_type: int, topic: str, index: int
) -> PartitionChangeRecord:
    if topic not in image.topics:
        raise KafkaError(Code.UNKNOWN_TOPIC_OR_PARTITION, f"No such topic as {topic}")
    partition = image.partition(topic, index)
    if partition is None:
        raise KafkaError(Code.UNKNOWN_TOPIC_OR_PARTITION, f"No such partition as {topic}-{index}")
    done = (
        partition.preferred_leader == partition.leader
        if election_type == PREFERRED
        else (partition.leader != NO_LEADER)
    )
    if done:
        raise KafkaError(Code.ELECTION_NOT_NEEDED, "Leader election not needed for topic partition.")
    election = Election.PREFERRED if election_type == PREFERRED else Election.UNCLEAN
    record = changes.change(topic, partition, election=election)
    if record is not None:
        return record
    if election is Election.PREFERRED:
        raise KafkaError(Code.PREFERRED_LEADER_NOT_AVAILABLE, "The preferred leader was not available.")
    raise KafkaError(Code.ELIGIBLE_LEADERS_NOT_AVAILABLE, "Eligible topic partition leaders are not available.")
