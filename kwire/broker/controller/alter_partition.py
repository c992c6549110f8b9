"""The answer to AlterPartition, for brokers of other processes and for the broker of this one.

Responsible for: the message on both sides of ``ClusterController.alter_partitions``. Must not depend on: connections,
authorization.
"""

from __future__ import annotations

import trio

from kwire.broker.controller.cluster_controller import ClusterController
from kwire.errors import KafkaError
from kwire.metadata.cluster.alter_partition import Proposal, ProposedReplica
from kwire.metadata.entities import Partition
from kwire.wire.messages import AlterPartitionRequest, AlterPartitionResponse

Answer = AlterPartitionResponse.PartitionData


def answer_alter_partition(
    controller: ClusterController, request: AlterPartitionRequest, *, with_epochs: bool = True
) -> AlterPartitionResponse:
    """Decide the proposals of a request. ``with_epochs``: it has the broker epochs of replicas (version 3, KIP-903).

    Raises KafkaError(STALE_BROKER_EPOCH), StorageFailure.
    """
    proposals = [
        Proposal(
            topic_id=topic.topic_id,
            index=one.partition_index,
            leader_epoch=one.leader_epoch,
            partition_epoch=one.partition_epoch,
            isr=tuple(ProposedReplica(each.broker_id, each.broker_epoch) for each in one.new_isr_with_epochs)
            if with_epochs
            else tuple(map(ProposedReplica, one.new_isr)),
            recovery_state=one.leader_recovery_state,
        )
        for topic in request.topics
        for one in topic.partitions
    ]
    results = iter(controller.alter_partitions(request.broker_id, request.broker_epoch, proposals))
    return AlterPartitionResponse(
        topics=[
            AlterPartitionResponse.TopicData(
                topic_id=topic.topic_id,
                partitions=[_answer(one.partition_index, next(results)) for one in topic.partitions],
            )
            for topic in request.topics
        ],
    )


async def ask_own_controller(controller: ClusterController, request: AlterPartitionRequest) -> AlterPartitionResponse:
    """Decide proposals of the broker of this node, as if they had come by a connection."""
    await trio.lowlevel.checkpoint()
    return answer_alter_partition(controller, request)


def _answer(index: int, result: Partition | KafkaError) -> Answer:
    if isinstance(result, KafkaError):
        return Answer(partition_index=index, error_code=result.code)
    return Answer(
        partition_index=index,
        leader_id=result.leader,
        leader_epoch=result.leader_epoch,
        isr=list(result.isr),
        leader_recovery_state=result.leader_recovery_state,
        partition_epoch=result.partition_epoch,
    )
