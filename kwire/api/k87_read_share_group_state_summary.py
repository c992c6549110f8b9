"""ReadShareGroupStateSummary (key 87).

Versions: 0-1.

Behaviour: start offset and epochs of share partitions, without a change of the epochs. Brokers ask; a client needs
CLUSTER_ACTION on the cluster.

Version notes: 1 the number of delivered records (KIP-1226).
"""

from __future__ import annotations

from typing import Any

from kwire.api.probes import UNKNOWN_NAME, Probe
from kwire.api.share_states import each_partition
from kwire.broker.requests.context import Context
from kwire.coordinators.share.state import UNKNOWN_COUNT, UNKNOWN_START_OFFSET, SharePartitionKey
from kwire.errors import KafkaError
from kwire.wire.messages import ReadShareGroupStateSummaryRequest, ReadShareGroupStateSummaryResponse

PROBE: Probe = {"group_id": UNKNOWN_NAME}

PartitionResult = ReadShareGroupStateSummaryResponse.PartitionResult


async def handle(context: Context, request: ReadShareGroupStateSummaryRequest) -> ReadShareGroupStateSummaryResponse:
    """Each partition by itself."""

    async def summarize(key: SharePartitionKey, _wanted: Any) -> PartitionResult:
        state = await context.broker.share_states.summary(context, key)
        if state is None:
            return PartitionResult(
                partition=key.partition, start_offset=UNKNOWN_START_OFFSET, delivery_complete_count=UNKNOWN_COUNT
            )
        return PartitionResult(
            partition=key.partition,
            state_epoch=state.state_epoch,
            leader_epoch=state.leader_epoch,
            start_offset=state.start_offset,
            delivery_complete_count=state.delivered_count,
        )

    return ReadShareGroupStateSummaryResponse(
        results=[
            ReadShareGroupStateSummaryResponse.ReadStateSummaryResult(topic_id=topic_id, partitions=partitions)
            for topic_id, partitions in await each_partition(context, request, summarize, _refused)
        ]
    )


def _refused(index: int, refusal: KafkaError) -> PartitionResult:
    return PartitionResult(partition=index, error_code=refusal.code, error_message=refusal.message)
