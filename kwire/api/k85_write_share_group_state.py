"""WriteShareGroupState (key 85).

Versions: 0-1.

Behaviour: stores changes of the state of share partitions, for their leader. Brokers ask; a client needs CLUSTER_ACTION
on the cluster.

Version notes: 1 the number of delivered records (KIP-1226).
"""

from __future__ import annotations

from typing import Any

from kwire.api.probes import UNKNOWN_NAME, Probe
from kwire.api.share_states import each_partition
from kwire.broker.requests.context import Context
from kwire.coordinators.share.coordinator import Write
from kwire.coordinators.share.state import SharePartitionKey, StateBatch
from kwire.errors import KafkaError
from kwire.wire.messages import WriteShareGroupStateRequest, WriteShareGroupStateResponse

PROBE: Probe = {"group_id": UNKNOWN_NAME}

PartitionResult = WriteShareGroupStateResponse.PartitionResult


async def handle(context: Context, request: WriteShareGroupStateRequest) -> WriteShareGroupStateResponse:
    """Each partition by itself."""

    async def write(key: SharePartitionKey, wanted: Any) -> PartitionResult:
        batches = tuple(
            StateBatch(each.first_offset, each.last_offset, each.delivery_state, each.delivery_count)
            for each in wanted.state_batches
        )
        change = Write(
            wanted.state_epoch, wanted.leader_epoch, wanted.start_offset, wanted.delivery_complete_count, batches
        )
        await context.broker.share_states.write(context, key, change)
        return PartitionResult(partition=key.partition)

    return WriteShareGroupStateResponse(
        results=[
            WriteShareGroupStateResponse.WriteStateResult(topic_id=topic_id, partitions=partitions)
            for topic_id, partitions in await each_partition(context, request, write, _refused)
        ]
    )


def _refused(index: int, refusal: KafkaError) -> PartitionResult:
    return PartitionResult(partition=index, error_code=refusal.code, error_message=refusal.message)
