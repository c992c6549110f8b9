"""OffsetForLeaderEpoch (key 23).

Versions: 2-4.

Behaviour: where an epoch ended in this log (KIP-101, KIP-279), so that a consumer can tell that its position was
truncated (KIP-320).

Version notes: 3 replica id (-2: the debugging consumer); 4 flexible.
"""

from __future__ import annotations

from kwire.api.pacing import paced
from kwire.api.probes import PARTITIONS, Probe
from kwire.broker.requests.context import Context
from kwire.errors import Code, KafkaError, StorageFailure
from kwire.security.operations import Operation, ResourceType
from kwire.wire.messages import OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse

PROBE: Probe = {"replica_id": -2, "topics": PARTITIONS}

EpochEndOffset = OffsetForLeaderEpochResponse.EpochEndOffset


async def handle(context: Context, request: OffsetForLeaderEpochRequest) -> OffsetForLeaderEpochResponse:
    return OffsetForLeaderEpochResponse(
        throttle_time_ms=context.throttle_ms,
        topics=[
            OffsetForLeaderEpochResponse.OffsetForLeaderTopicResult(
                topic=topic.topic,
                partitions=[_answer(context, topic.topic, wanted) async for wanted in paced(context, topic.partitions)],
            )
            for topic in request.topics
        ],
    )


def _answer(
    context: Context, topic: str, wanted: OffsetForLeaderEpochRequest.OffsetForLeaderPartition
) -> EpochEndOffset:
    try:
        if not context.may_cluster(Operation.CLUSTER_ACTION):
            context.authorize(Operation.DESCRIBE, ResourceType.TOPIC, topic)
        partition = context.broker.partitions.get_in_epoch(topic, wanted.partition, wanted.current_leader_epoch)
        leader_epoch, end_offset = partition.log.offset_for_epoch(wanted.leader_epoch)
    except KafkaError as refusal:
        return EpochEndOffset(partition=wanted.partition, error_code=refusal.code)
    except StorageFailure as failure:
        context.broker.storage_failures.report(failure)
        return EpochEndOffset(partition=wanted.partition, error_code=Code.KAFKA_STORAGE_ERROR)
    return EpochEndOffset(partition=wanted.partition, leader_epoch=leader_epoch, end_offset=end_offset)
