"""EndTxn (key 26).

Versions: 0-5.

Behaviour: commits or aborts. The answer comes when the decision is in the log; the markers are written in the same
turn, so that the client may begin its next transaction at once.

Version notes: 2 the PRODUCER_FENCED error, which was INVALID_PRODUCER_EPOCH (KIP-588); 4 TRANSACTION_ABORTABLE; 5 each
end raises the epoch, and the answer has the producer id and epoch of the next transaction (KIP-890).
"""

from __future__ import annotations

from typing import Final

from kwire.api.probes import TRANSACTION, Probe
from kwire.broker.requests.context import Context
from kwire.coordinators.machine import ProducerStamp
from kwire.coordinators.transaction.commands import EndTransaction
from kwire.coordinators.transaction.transaction import NEW_EPOCH_SINCE
from kwire.errors import Code, KafkaError, StorageFailure
from kwire.security.operations import Operation, ResourceType
from kwire.wire.messages import EndTxnRequest, EndTxnResponse

PROBE: Probe = {**TRANSACTION, "committed": False}

_PRODUCER_FENCED_SINCE: Final = 2  # KIP-588
_NEW_EPOCH_SINCE: Final = 5  # KIP-890


async def handle(context: Context, request: EndTxnRequest) -> EndTxnResponse:
    command = EndTransaction(
        request.transactional_id,
        ProducerStamp(request.producer_id, request.producer_epoch),
        commit=request.committed,
        client_version=NEW_EPOCH_SINCE if context.api_version >= _NEW_EPOCH_SINCE else 0,
    )
    try:
        context.authorize(Operation.WRITE, ResourceType.TRANSACTIONAL_ID, request.transactional_id)
        stamp = await context.broker.transactions.end(context, command)
    except KafkaError as refusal:
        return _refused(context, refusal.code)
    except StorageFailure as failure:
        context.broker.storage_failures.report(failure)
        return _refused(context, Code.COORDINATOR_NOT_AVAILABLE)
    return EndTxnResponse(
        throttle_time_ms=context.throttle_ms, producer_id=stamp.producer_id, producer_epoch=stamp.producer_epoch
    )


def _refused(context: Context, code: Code) -> EndTxnResponse:
    if code is Code.PRODUCER_FENCED and context.api_version < _PRODUCER_FENCED_SINCE:
        code = Code.INVALID_PRODUCER_EPOCH
    return EndTxnResponse(throttle_time_ms=context.throttle_ms, error_code=code)
