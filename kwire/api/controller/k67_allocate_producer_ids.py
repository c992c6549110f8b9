"""AllocateProducerIds (key 67).

Versions: 0.

Behaviour: reserves a block of 1000 producer ids for a broker (KIP-730). A stale epoch or an unknown broker gets
STALE_BROKER_EPOCH.
"""

from __future__ import annotations

from kwire.api.controller.serving import serving
from kwire.broker.requests.context import Context
from kwire.errors import KafkaError
from kwire.security.operations import Operation
from kwire.wire.messages import AllocateProducerIdsRequest, AllocateProducerIdsResponse


def handle(context: Context, request: AllocateProducerIdsRequest) -> AllocateProducerIdsResponse:
    context.authorize_cluster(Operation.CLUSTER_ACTION)
    try:
        block = serving(context).allocate_producer_ids(request.broker_id, request.broker_epoch)
    except KafkaError as refusal:
        return AllocateProducerIdsResponse(throttle_time_ms=context.throttle_ms, error_code=refusal.code)
    return AllocateProducerIdsResponse(
        throttle_time_ms=context.throttle_ms, producer_id_start=block.start, producer_id_len=len(block)
    )
