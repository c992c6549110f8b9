"""InitProducerId (key 22).

Versions: 0-5. Version 6 (two-phase commit) is unstable in Kafka 4.3 and not advertised.

Behaviour: without a transactional id, a fresh producer id with epoch 0 for an idempotent producer. With one, the
producer id of that transactional id and an epoch that fences all earlier producers; an open transaction is aborted
first, and the client is answered CONCURRENT_TRANSACTIONS (KIP-98).

Version notes: 3 a producer may name its id and epoch to go on with (KIP-360); 4 the PRODUCER_FENCED error, which was
INVALID_PRODUCER_EPOCH; 5 TRANSACTION_ABORTABLE (KIP-890).
"""

from __future__ import annotations

from typing import Final

from kwire.api.probes import Probe
from kwire.broker.requests.context import Context
from kwire.coordinators.machine import ProducerStamp
from kwire.coordinators.transaction.commands import InitProducerId
from kwire.errors import Code, KafkaError
from kwire.security.authorizer import denied
from kwire.security.operations import Operation, ResourceType
from kwire.wire.messages import InitProducerIdRequest, InitProducerIdResponse

# An empty transactional id is invalid; null would allocate a producer id.
PROBE: Probe = {"transactional_id": "", "transaction_timeout_ms": 1000}

_PRODUCER_FENCED_SINCE: Final = 4  # KIP-588


async def handle(context: Context, request: InitProducerIdRequest) -> InitProducerIdResponse:
    try:
        stamp = await _init(context, request)
    except KafkaError as refusal:
        return _refused(context, refusal.code)
    return InitProducerIdResponse(
        throttle_time_ms=context.throttle_ms, producer_id=stamp.producer_id, producer_epoch=stamp.producer_epoch
    )


async def _init(context: Context, request: InitProducerIdRequest) -> ProducerStamp:
    if (request.producer_id == -1) != (request.producer_epoch == -1):
        raise KafkaError(Code.INVALID_REQUEST)
    _authorize(context, request.transactional_id)
    if request.transactional_id is None:
        return ProducerStamp(await context.broker.producer_ids.next(), 0)
    expected = None if request.producer_id == -1 else ProducerStamp(request.producer_id, request.producer_epoch)
    command = InitProducerId(request.transactional_id, request.transaction_timeout_ms, expected)
    return await context.broker.transactions.init_producer_id(context, command)


def _refused(context: Context, code: Code) -> InitProducerIdResponse:
    if code is Code.PRODUCER_FENCED and context.api_version < _PRODUCER_FENCED_SINCE:
        code = Code.INVALID_PRODUCER_EPOCH
    return InitProducerIdResponse(throttle_time_ms=context.throttle_ms, error_code=code, producer_epoch=-1)


def _authorize(context: Context, transactional_id: str | None) -> None:
    """An idempotent producer needs IDEMPOTENT_WRITE on the cluster, or WRITE on any topic (KIP-679)."""
    if transactional_id is not None:
        context.authorize(Operation.WRITE, ResourceType.TRANSACTIONAL_ID, transactional_id)
    elif not (
        context.may_cluster(Operation.IDEMPOTENT_WRITE, audited=False)
        or context.may_any(Operation.WRITE, ResourceType.TOPIC)
    ):
        raise denied(ResourceType.CLUSTER)
