"""ListTransactions (key 66).

Versions: 0-2.

Behaviour: all transactional ids that this broker coordinates, or those that pass every filter. The answer lists the
states of the filter that do not exist (KIP-664).

Version notes: 1 only transactions that have lasted longer (KIP-994); 2 only ids that match a pattern as
a whole (KIP-1152); its language is RE2.
"""

from __future__ import annotations

from kwire.api.pacing import paced, paced_lazily
from kwire.api.probes import Probe
from kwire.broker.requests.context import Context
from kwire.coordinators.transaction.commands import TransactionFilter
from kwire.coordinators.transaction.transaction import State
from kwire.errors import Code, KafkaError
from kwire.security.operations import Operation, ResourceType
from kwire.wire.messages import ListTransactionsRequest, ListTransactionsResponse

PROBE: Probe = {}

_STATES = frozenset(state.title for state in State)


async def handle(context: Context, request: ListTransactionsRequest) -> ListTransactionsResponse:
    wanted = TransactionFilter(
        frozenset(request.state_filters),
        frozenset(request.producer_id_filters),
        request.duration_filter,
        request.transactional_id_pattern,
    )
    unknown = [each for each in request.state_filters if each not in _STATES]
    now_ms = context.broker.transactions.now_ms()
    try:
        found = []
        for machine in await context.broker.transactions.machines(context):
            found += [
                each
                async for each in paced_lazily(context, machine.list(wanted, now_ms))
                if each is not None
                and context.may(Operation.DESCRIBE, ResourceType.TRANSACTIONAL_ID, each.transactional_id)
            ]
    except KafkaError as refusal:
        return ListTransactionsResponse(throttle_time_ms=context.throttle_ms, error_code=refusal.code)
    return ListTransactionsResponse(
        throttle_time_ms=context.throttle_ms,
        error_code=Code.NONE,
        unknown_state_filters=list(dict.fromkeys(unknown)),
        transaction_states=[
            ListTransactionsResponse.TransactionState(
                transactional_id=each.transactional_id, producer_id=each.producer_id, transaction_state=each.state
            )
            async for each in paced(context, found)
        ],
    )
