"""AddPartitionsToTxn (key 24).

Versions: 0-5.

Behaviour: adds the partitions that a transaction is going to write to, and begins the transaction. If one of the
partitions does not exist none is added.

Version notes: 2 the PRODUCER_FENCED error, which was INVALID_PRODUCER_EPOCH (KIP-588); 4 brokers ask, for several
transactions at once, either to add or only to verify (KIP-890); 5 TRANSACTION_ABORTABLE.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final

from kwire.api.pacing import paced, paced_list
from kwire.api.probes import INDEXES, TRANSACTION, Probe
from kwire.broker.requests.context import Context
from kwire.coordinators.machine import ProducerStamp
from kwire.coordinators.transaction.transaction import NEW_EPOCH_SINCE
from kwire.errors import Code, KafkaError
from kwire.metadata.features import TRANSACTION_VERSION
from kwire.personas import persona
from kwire.security.operations import Operation, ResourceType
from kwire.types import INTERNAL_TOPICS, TopicPartition
from kwire.wire.messages import AddPartitionsToTxnRequest, AddPartitionsToTxnResponse

PROBE: Probe = {
    "transactions": [{**TRANSACTION, "topics": INDEXES}],
    **{f"v3_and_below_{name}": value for name, value in TRANSACTION.items()},
    "v3_and_below_topics": INDEXES,
}

_PRODUCER_FENCED_SINCE: Final = 2  # KIP-588
_BY_BROKERS_SINCE: Final = 4  # KIP-890

Topic = AddPartitionsToTxnRequest.AddPartitionsToTxnTopic
TopicResult = AddPartitionsToTxnResponse.AddPartitionsToTxnTopicResult
PartitionResult = AddPartitionsToTxnResponse.AddPartitionsToTxnPartitionResult
TransactionResult = AddPartitionsToTxnResponse.AddPartitionsToTxnResult


async def handle(context: Context, request: AddPartitionsToTxnRequest) -> AddPartitionsToTxnResponse:
    if context.api_version < _BY_BROKERS_SINCE:
        producer = ProducerStamp(request.v3_and_below_producer_id, request.v3_and_below_producer_epoch)
        topics = request.v3_and_below_topics
        results = await _add(context, request.v3_and_below_transactional_id, producer, topics)
        return AddPartitionsToTxnResponse(throttle_time_ms=context.throttle_ms, results_by_topic_v3_and_below=results)
    context.authorize_cluster(Operation.CLUSTER_ACTION)
    by_transaction = []
    async for one in paced(context, request.transactions):
        producer = ProducerStamp(one.producer_id, one.producer_epoch)
        do = _verify if one.verify_only else _add
        results = await do(context, one.transactional_id, producer, one.topics)
        by_transaction.append(TransactionResult(transactional_id=one.transactional_id, topic_results=results))
    return AddPartitionsToTxnResponse(throttle_time_ms=context.throttle_ms, results_by_transaction=by_transaction)


async def _add(
    context: Context, transactional_id: str, producer: ProducerStamp, topics: Sequence[Topic]
) -> list[TopicResult]:
    by_broker = context.api_version >= _BY_BROKERS_SINCE
    asked = await _partitions(context, topics)
    if not by_broker and not context.may(Operation.WRITE, ResourceType.TRANSACTIONAL_ID, transactional_id):
        return await _results(context, dict.fromkeys(asked, Code.TRANSACTIONAL_ID_AUTHORIZATION_FAILED))
    impossible = await _impossible(context, asked, allow_internal=by_broker)
    if impossible:
        return await _results(context, dict.fromkeys(asked, Code.OPERATION_NOT_ATTEMPTED) | impossible)
    code = Code.NONE
    try:
        await context.broker.transactions.add_partitions(
            context, transactional_id, producer, asked, client_version=_client_version(context)
        )
    except KafkaError as refusal:
        code = refusal.code
        if code is Code.PRODUCER_FENCED and context.api_version < _PRODUCER_FENCED_SINCE:
            code = Code.INVALID_PRODUCER_EPOCH
    return [
        TopicResult(
            name=topic.name,
            results_by_partition=await paced_list(context, partial(_result, code), topic.partitions),
        )
        async for topic in paced(context, topics)
    ]


def _client_version(context: Context) -> int:
    """What a transaction of this request has for transaction.version, which releases before 4.0 do not know."""
    if context.api_version < _BY_BROKERS_SINCE:
        return 0
    release = persona(context.broker.configs.broker["kwire.as.release"])
    return NEW_EPOCH_SINCE if release is None or TRANSACTION_VERSION in release.supported else 0


async def _verify(
    context: Context, transactional_id: str, producer: ProducerStamp, topics: Sequence[Topic]
) -> list[TopicResult]:
    asked = await _partitions(context, topics)
    impossible = await _impossible(context, asked, allow_internal=True)
    if impossible:
        return await _results(context, dict.fromkeys(asked, Code.OPERATION_NOT_ATTEMPTED) | impossible)
    try:
        machine = await context.broker.transactions.machine(context, transactional_id)
        codes = machine.verify_partitions(transactional_id, producer, asked)
    except KafkaError as refusal:
        codes = dict.fromkeys(asked, refusal.code)
    return await _results(context, codes)


async def _impossible(
    context: Context, asked: Sequence[TopicPartition], *, allow_internal: bool
) -> dict[TopicPartition, Code]:
    """The partitions that cannot be written to; clients may not write to internal topics."""
    found = {}
    async for each in paced(context, asked):
        may_write = allow_internal or (
            each.topic not in INTERNAL_TOPICS and context.may(Operation.WRITE, ResourceType.TOPIC, each.topic)
        )
        if not may_write:
            found[each] = Code.TOPIC_AUTHORIZATION_FAILED
        elif context.broker.image.partition(*each) is None:
            found[each] = Code.UNKNOWN_TOPIC_OR_PARTITION
    return found


async def _partitions(context: Context, topics: Sequence[Topic]) -> list[TopicPartition]:
    asked: list[TopicPartition] = []
    async for topic in paced(context, topics):
        asked += await paced_list(context, partial(TopicPartition, topic.name), topic.partitions)
    return asked


async def _results(context: Context, codes: Mapping[TopicPartition, Code]) -> list[TopicResult]:
    by_topic: dict[str, list[PartitionResult]] = {}
    async for (topic, index), code in paced(context, codes.items()):
        by_topic.setdefault(topic, []).append(_result(code, index))
    return [
        TopicResult(name=topic, results_by_partition=results)
        async for topic, results in paced(context, by_topic.items())
    ]


def _result(code: Code, index: int) -> PartitionResult:
    return PartitionResult(partition_index=index, partition_error_code=code)
