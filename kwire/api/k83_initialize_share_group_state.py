"""InitializeShareGroupState (key 83).

Versions: 0.

Behaviour: the state of share partitions is initialized again, at a start offset or at an unknown one. Brokers ask; a
client needs CLUSTER_ACTION on the cluster.
"""

from __future__ import annotations

from typing import Any

from kwire.api.probes import UNKNOWN_NAME, Probe
from kwire.api.share_states import each_partition
from kwire.broker.requests.context import Context
from kwire.coordinators.share.state import SharePartitionKey
from kwire.errors import KafkaError
from kwire.wire.messages import InitializeShareGroupStateRequest, InitializeShareGroupStateResponse

PROBE: Probe = {"group_id": UNKNOWN_NAME}

PartitionResult = InitializeShareGroupStateResponse.PartitionResult


async def handle(context: Context, request: InitializeShareGroupStateRequest) -> InitializeShareGroupStateResponse:
    """Each partition by itself."""

    async def initialize(key: SharePartitionKey, wanted: Any) -> PartitionResult:
        await context.broker.share_states.initialize(context, key, wanted.state_epoch, wanted.start_offset)
        return PartitionResult(partition=key.partition)

    return InitializeShareGroupStateResponse(
        results=[
            InitializeShareGroupStateResponse.InitializeStateResult(topic_id=topic_id, partitions=partitions)
            for topic_id, partitions in await each_partition(context, request, initialize, _refused)
        ]
    )


def _refused(index: int, refusal: KafkaError) -> PartitionResult:
    return PartitionResult(partition=index, error_code=refusal.code, error_message=refusal.message)
