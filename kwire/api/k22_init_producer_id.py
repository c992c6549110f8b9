"""InitProducerId (key 22).

Versions: 0-5. Version 6 is unstable in Kafka 4.3 and not advertised.

Behaviour: without a transactional id, a fresh producer id with epoch 0 for an idempotent producer (KIP-98).

Version notes: 3 a producer may name its id and epoch to go on with (KIP-360); 4 the PRODUCER_FENCED error; 5
TRANSACTION_ABORTABLE (KIP-890).
"""

from __future__ import annotations

from kwire.broker.context import Context
from kwire.errors import Code
from kwire.wire.messages import InitProducerIdRequest, InitProducerIdResponse


def handle(context: Context, request: InitProducerIdRequest) -> InitProducerIdResponse:
    one_is_missing = (request.producer_id == -1) != (request.producer_epoch == -1)
    if one_is_missing or request.transactional_id == "":
        return InitProducerIdResponse(error_code=Code.INVALID_REQUEST, producer_epoch=-1)
    if request.transactional_id is not None:
        # Transactions are not served yet: FindCoordinator refuses them first, and so do we.
        return InitProducerIdResponse(error_code=Code.COORDINATOR_NOT_AVAILABLE, producer_epoch=-1)
    return InitProducerIdResponse(
        throttle_time_ms=context.throttle_ms, producer_id=context.broker.producer_ids.next(), producer_epoch=0
    )
