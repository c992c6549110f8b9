"""AlterPartition: the leader of a partition proposes another set of in-sync replicas (KIP-497, KIP-903).

Responsible for: the checks, in Apache Kafka's order, and the record. The proposal is compared and set by leader epoch
and partition epoch. Must not depend on: requests.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

from kwire.errors import Code, KafkaError
from kwire.metadata.cluster.partition_changes import NO_LEADER_CHANGE, RECOVERED, RECOVERING, PartitionChanges
from kwire.metadata.entities import Partition, Topic
from kwire.metadata.image import MetadataImage
from kwire.types import Uuid
from kwire.wire.messages import PartitionChangeRecord

_ANY_EPOCH: Final = -1


class ProposedReplica(NamedTuple):
    """A replica and the broker epoch that its fetches had; -1 is not compared."""

    broker_id: int
    broker_epoch: int = _ANY_EPOCH


@dataclass(frozen=True, slots=True)
class Proposal:
    """The in-sync replicas that a leader proposes for one partition."""

    topic_id: Uuid
    index: int
    leader_epoch: int
    partition_epoch: int
    isr: tuple[ProposedReplica, ...]
    recovery_state: int = RECOVERED


def alter_partition(
    image: MetadataImage, changes: PartitionChanges, leader_id: int, proposal: Proposal
) -> tuple[PartitionChangeRecord | None, KafkaError | None]:
    """Decide one proposal. Returns its record and the refusal, each None where there is none.

    Both come together when the proposal completes a reassignment that takes the leadership away: NEW_LEADER_ELECTED.
    """
    try:
        topic, partition = _find(image, proposal)
        _check_epochs(partition, leader_id, proposal)
        _check_isr(image, partition, proposal)
    except KafkaError as refusal:
        return None, refusal
    record = changes.change(
        topic.name,
        partition,
        isr=[one.broker_id for one in proposal.isr],
        recovery_state=proposal.recovery_state,
        election=changes.usual_election(topic.name),
    )
    if record is not None and record.leader not in {leader_id, NO_LEADER_CHANGE}:
        return record, KafkaError(Code.NEW_LEADER_ELECTED)
    return record, None


def _find(image: MetadataImage, proposal: Proposal) -> tuple[Topic, Partition]:
    topic = image.topics_by_id.get(proposal.topic_id)
    if topic is None:
        raise KafkaError(Code.UNKNOWN_TOPIC_ID)
    if not 0 <= proposal.index < len(topic.partitions):
        raise KafkaError(Code.UNKNOWN_TOPIC_OR_PARTITION)
    return topic, topic.partitions[proposal.index]


def _check_epochs(partition: Partition, leader_id: int, proposal: Proposal) -> None:
    # A leader that knows more than this controller has followed another one.
    if proposal.leader_epoch > partition.leader_epoch or proposal.partition_epoch > partition.partition_epoch:
        raise KafkaError(Code.NOT_CONTROLLER)
    if proposal.leader_epoch < partition.leader_epoch:
        raise KafkaError(Code.FENCED_LEADER_EPOCH)
    if leader_id != partition.leader:
        raise KafkaError(Code.INVALID_REQUEST)
    if proposal.partition_epoch < partition.partition_epoch:
        raise KafkaError(Code.INVALID_UPDATE_VERSION)


def _check_isr(image: MetadataImage, partition: Partition, proposal: Proposal) -> None:
    proposed = [one.broker_id for one in proposal.isr]
    known = len(set(proposed)) == len(proposed) and set(proposed) <= set(partition.replicas)
    if not known or partition.leader not in proposed:
        raise KafkaError(Code.INVALID_REQUEST)
    if proposal.recovery_state not in {RECOVERED, RECOVERING}:
        raise KafkaError(Code.INVALID_REQUEST)
    if proposal.recovery_state == RECOVERING and (len(proposed) > 1 or partition.leader_recovery_state == RECOVERED):
        raise KafkaError(Code.INVALID_REQUEST)
    if not all(_is_eligible(image, one) for one in proposal.isr):
        raise KafkaError(Code.INELIGIBLE_REPLICA)


def _is_eligible(image: MetadataImage, replica: ProposedReplica) -> bool:
    broker = image.brokers.get(replica.broker_id)
    if broker is None or broker.in_controlled_shutdown or broker.fenced:
        return False
    return replica.broker_epoch in {_ANY_EPOCH, broker.epoch}
