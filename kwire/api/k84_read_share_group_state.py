"""ReadShareGroupState (key 84).

Versions: 0.

Behaviour: the state of share partitions for a leader; leaders of lower epochs are fenced. Brokers ask;
a client needs CLUSTER_ACTION on the cluster.
"""

from __future__ import annotations

from typing import Any

from kwire.api.probes import UNKNOWN_NAME, Probe
from kwire.api.share_states import each_partition
from kwire.broker.requests.context import Context
from kwire.coordinators.share.state import SharePartitionKey
from kwire.errors import KafkaError
from kwire.wire.messages import ReadShareGroupStateRequest, ReadShareGroupStateResponse

PROBE: Probe = {"group_id": UNKNOWN_NAME}

PartitionResult = ReadShareGroupStateResponse.PartitionResult


async def handle(context: Context, request: ReadShareGroupStateRequest) -> ReadShareGroupStateResponse:
    """Each partition by itself."""

    async def read(key: SharePartitionKey, wanted: Any) -> PartitionResult:
        state = await context.broker.share_states.read(context, key, wanted.leader_epoch)
        return PartitionResult(
            partition=key.partition,
            state_epoch=state.state_epoch,
            start_offset=state.start_offset,
            state_batches=[
                ReadShareGroupStateResponse.StateBatch(
                    first_offset=first, last_offset=last, delivery_state=delivery_state, delivery_count=count
                )
                for first, last, delivery_state, count in state.batches
            ],
        )

    return ReadShareGroupStateResponse(
        results=[
            ReadShareGroupStateResponse.ReadStateResult(topic_id=topic_id, partitions=partitions)
            for topic_id, partitions in await each_partition(context, request, read, _refused)
        ]
    )


def _refused(index: int, refusal: KafkaError) -> PartitionResult:
    return PartitionResult(partition=index, error_code=refusal.code, error_message=refusal.message)
