"""AlterPartition (key 56).

Versions: 2-3.

Behaviour: the leader of partitions proposes other in-sync replicas (KIP-497). A proposal is accepted if leader epoch
and partition epoch are the current ones and each proposed replica is registered, unfenced and not shutting down. A
stale broker epoch refuses the whole request. The leader may receive the answer or the record in the metadata log first.

Version notes: 2 topic ids (KIP-841); 3 broker epochs of the replicas (KIP-903).
"""

from __future__ import annotations

from typing import Final

from kwire.api.controller.serving import serving
from kwire.broker.controller.alter_partition import answer_alter_partition
from kwire.broker.requests.context import Context
from kwire.security.operations import Operation
from kwire.wire.messages import AlterPartitionRequest, AlterPartitionResponse

_EPOCHS_SINCE: Final = 3  # KIP-903


async def handle(context: Context, request: AlterPartitionRequest) -> AlterPartitionResponse:
    context.authorize_cluster(Operation.CLUSTER_ACTION)
    with_epochs = context.api_version >= _EPOCHS_SINCE
    response = await answer_alter_partition(
        serving(context), request, with_epochs=with_epochs, yield_turn=context.yield_turn
    )
    response.throttle_time_ms = context.throttle_ms
    return response
