"""AlterPartition (key 56).

Versions: 2-3.

Behaviour: the leader of partitions proposes other in-sync replicas (KIP-497). A proposal holds if leader epoch and
partition epoch are the current ones and each proposed replica is registered, unfenced and not shutting down. A stale
broker epoch refuses the whole request. Either the answer or the record in the metadata log may arrive first.

Version notes: 2 topic ids (KIP-841); 3 broker epochs of the replicas (KIP-903).
"""

from __future__ import annotations

from typing import Final

from kwire.api.controller.serving import serving
from kwire.broker.requests.context import Context
from kwire.errors import KafkaError
from kwire.metadata.cluster.alter_partition import Proposal, ProposedReplica
from kwire.metadata.entities import Partition
from kwire.security.operations import Operation
from kwire.wire.messages import AlterPartitionRequest, AlterPartitionResponse

_EPOCHS_SINCE: Final = 3  # KIP-903

Answer = AlterPartitionResponse.PartitionData


def handle(context: Context, request: AlterPartitionRequest) -> AlterPartitionResponse:
    context.authorize_cluster(Operation.CLUSTER_ACTION)
    with_epochs = context.api_version >= _EPOCHS_SINCE
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
    results = iter(serving(context).alter_partitions(request.broker_id, request.broker_epoch, proposals))
    return AlterPartitionResponse(
        throttle_time_ms=context.throttle_ms,
        topics=[
            AlterPartitionResponse.TopicData(
                topic_id=topic.topic_id,
                partitions=[_answer(one.partition_index, next(results)) for one in topic.partitions],
            )
            for topic in request.topics
        ],
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
