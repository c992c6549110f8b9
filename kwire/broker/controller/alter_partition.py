"""The answer to AlterPartition, for brokers of other processes and for the broker of this one.

Responsible for: the message on both sides of ``ClusterController.alter_partitions``. Must not depend on: connections,
authorization.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

from kwire.broker.controller.cluster_controller import ClusterController
from kwire.errors import KafkaError
from kwire.limits import METADATA_STEP_RECORDS
from kwire.metadata.cluster.alter_partition import Proposal, ProposedReplica
from kwire.metadata.entities import Partition
from kwire.types import Uuid
from kwire.wire.messages import AlterPartitionRequest, AlterPartitionResponse

Answer = AlterPartitionResponse.PartitionData


async def answer_alter_partition(
    controller: ClusterController,
    request: AlterPartitionRequest,
    *,
    with_epochs: bool = True,
    yield_turn: Callable[[], Awaitable[None]] = trio.lowlevel.checkpoint,
) -> AlterPartitionResponse:
    """Decide the proposals of a request, some at a time. Each is decided by itself.

    ``with_epochs``: it has the broker epochs of replicas (version 3, KIP-903).

    Raises KafkaError(STALE_BROKER_EPOCH), StorageFailure.
    """
    answer = [AlterPartitionResponse.TopicData(topic_id=topic.topic_id, partitions=[]) for topic in request.topics]
    asked = [(topic, one) for topic in zip(answer, request.topics, strict=True) for one in topic[1].partitions]
    for start in range(0, len(asked) or 1, METADATA_STEP_RECORDS):
        if start:
            await yield_turn()
        some = asked[start : start + METADATA_STEP_RECORDS]
        proposals = [_proposal(topic.topic_id, one, with_epochs=with_epochs) for (_, topic), one in some]
        results = controller.alter_partitions(request.broker_id, request.broker_epoch, proposals)
        for ((answered, _), one), result in zip(some, results, strict=True):
            answered.partitions.append(_answer(one.partition_index, result))
    return AlterPartitionResponse(topics=answer)


async def ask_own_controller(controller: ClusterController, request: AlterPartitionRequest) -> AlterPartitionResponse:
    """Decide proposals of the broker of this node, as if they had come by a connection."""
    await trio.lowlevel.checkpoint()
    return await answer_alter_partition(controller, request)


def _proposal(topic_id: Uuid, one: AlterPartitionRequest.PartitionData, *, with_epochs: bool) -> Proposal:
    return Proposal(
        topic_id=topic_id,
        index=one.partition_index,
        leader_epoch=one.leader_epoch,
        partition_epoch=one.partition_epoch,
        isr=tuple(ProposedReplica(each.broker_id, each.broker_epoch) for each in one.new_isr_with_epochs)
        if with_epochs
        else tuple(map(ProposedReplica, one.new_isr)),
        recovery_state=one.leader_recovery_state,
    )


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
