"""DescribeTransactions (key 65).

Versions: 0.

Behaviour: the state of each transactional id, and the partitions of its open transaction (KIP-664).
"""

from __future__ import annotations

from kwire.api.pacing import paced
from kwire.api.probes import UNKNOWN_NAME, Probe
from kwire.broker.requests.context import Context
from kwire.errors import Code, KafkaError
from kwire.security.operations import Operation, ResourceType
from kwire.wire.messages import DescribeTransactionsRequest, DescribeTransactionsResponse

PROBE: Probe = {"transactional_ids": [UNKNOWN_NAME]}

TransactionState = DescribeTransactionsResponse.TransactionState


async def handle(context: Context, request: DescribeTransactionsRequest) -> DescribeTransactionsResponse:
    return DescribeTransactionsResponse(
        throttle_time_ms=context.throttle_ms,
        transaction_states=[await _describe(context, each) async for each in paced(context, request.transactional_ids)],
    )


async def _describe(context: Context, transactional_id: str) -> TransactionState:
    try:
        context.authorize(Operation.DESCRIBE, ResourceType.TRANSACTIONAL_ID, transactional_id)
        if not transactional_id:
            raise KafkaError(Code.INVALID_REQUEST)
        machine = await context.broker.transactions.machine(context, transactional_id)
        transaction = machine.describe(transactional_id)
    except KafkaError as refusal:
        return TransactionState(transactional_id=transactional_id, error_code=refusal.code)
    topics: dict[str, list[int]] = {}
    for topic, index in sorted(transaction.partitions):
        if context.may(Operation.DESCRIBE, ResourceType.TOPIC, topic):
            topics.setdefault(topic, []).append(index)
    return TransactionState(
        transactional_id=transactional_id,
        transaction_state=transaction.state.title,
        transaction_timeout_ms=transaction.timeout_ms,
        transaction_start_time_ms=transaction.start_ms,
        producer_id=transaction.producer_id,
        producer_epoch=transaction.producer_epoch,
        topics=[
            DescribeTransactionsResponse.TopicData(topic=topic, partitions=indexes) for topic, indexes in topics.items()
        ],
    )
