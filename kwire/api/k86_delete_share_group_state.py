"""DeleteShareGroupState (key 86).

Versions: 0.

Behaviour: the state of share partitions is deleted; of one without a state, nothing is. Brokers ask; a client needs
CLUSTER_ACTION on the cluster.
"""

from __future__ import annotations

from typing import Any

from kwire.api.probes import UNKNOWN_NAME, Probe
from kwire.api.share_states import each_partition
from kwire.broker.requests.context import Context
from kwire.coordinators.share.state import SharePartitionKey
from kwire.errors import KafkaError
from kwire.wire.messages import DeleteShareGroupStateRequest, DeleteShareGroupStateResponse

PROBE: Probe = {"group_id": UNKNOWN_NAME}

PartitionResult = DeleteShareGroupStateResponse.PartitionResult


async def handle(context: Context, request: DeleteShareGroupStateRequest) -> DeleteShareGroupStateResponse:
    """Each partition by itself."""

    async def delete(key: SharePartitionKey, _wanted: Any) -> PartitionResult:
        await context.broker.share_states.delete(context, key)
        return PartitionResult(partition=key.partition)

    return DeleteShareGroupStateResponse(
        results=[
            DeleteShareGroupStateResponse.DeleteStateResult(topic_id=topic_id, partitions=partitions)
            for topic_id, partitions in await each_partition(context, request, delete, _refused)
        ]
    )


def _refused(index: int, refusal: KafkaError) -> PartitionResult:
    return PartitionResult(partition=index, error_code=refusal.code, error_message=refusal.message)
