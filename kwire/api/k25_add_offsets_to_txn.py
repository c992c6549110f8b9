"""AddOffsetsToTxn (key 25).

Versions: 0-4.

Behaviour: a producer is going to commit offsets of a group in its transaction: the partition of ``__consumer_offsets``
that has the group is added to it.

Version notes: 2 the PRODUCER_FENCED error, which was INVALID_PRODUCER_EPOCH (KIP-588); 4 TRANSACTION_ABORTABLE
(KIP-890), whose clients of transaction version 2 do not send this request any more.
"""

from __future__ import annotations

from typing import Final

from kwire.api.probes import TRANSACTION, UNKNOWN_NAME, Probe
from kwire.broker.requests.context import Context
from kwire.coordinators.machine import ProducerStamp
from kwire.errors import Code, KafkaError
from kwire.security.operations import Operation, ResourceType
from kwire.wire.messages import AddOffsetsToTxnRequest, AddOffsetsToTxnResponse

PROBE: Probe = {**TRANSACTION, "group_id": UNKNOWN_NAME}

_PRODUCER_FENCED_SINCE: Final = 2  # KIP-588


async def handle(context: Context, request: AddOffsetsToTxnRequest) -> AddOffsetsToTxnResponse:
    broker = context.broker
    code = Code.NONE
    try:
        context.authorize(Operation.WRITE, ResourceType.TRANSACTIONAL_ID, request.transactional_id)
        context.authorize(Operation.READ, ResourceType.GROUP, request.group_id)
        await broker.transactions.add_partitions(
            context,
            request.transactional_id,
            ProducerStamp(request.producer_id, request.producer_epoch),
            [await broker.groups.partition_of(request.group_id)],
            client_version=0,
        )
    except KafkaError as refusal:
        code = refusal.code
        if code is Code.PRODUCER_FENCED and context.api_version < _PRODUCER_FENCED_SINCE:
            code = Code.INVALID_PRODUCER_EPOCH
    return AddOffsetsToTxnResponse(throttle_time_ms=context.throttle_ms, error_code=code)
