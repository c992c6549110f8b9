"""AddPartitionsToTxn (key 24).

Versions: 0-5.

Behaviour: a producer says to which partitions its transaction is going to write, and thereby begins it. If one of the
partitions does not exist none is added.

Version notes: 2 the PRODUCER_FENCED error, which was INVALID_PRODUCER_EPOCH (KIP-588); 4 brokers ask, for several
transactions at once, either to add or only to verify (KIP-890); 5 TRANSACTION_ABORTABLE.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from kwire.broker.context import Context
from kwire.coordinators.machine import ProducerStamp
from kwire.coordinators.transaction.transaction import NEW_EPOCH_SINCE
from kwire.errors import Code, KafkaError
from kwire.types import TopicPartition
from kwire.wire.messages import AddPartitionsToTxnRequest, AddPartitionsToTxnResponse

_PRODUCER_FENCED_SINCE: Final = 2  # KIP-588
_BY_BROKERS_SINCE: Final = 4  # KIP-890

TopicResult = AddPartitionsToTxnResponse.AddPartitionsToTxnTopicResult
PartitionResult = AddPartitionsToTxnResponse.AddPartitionsToTxnPartitionResult
TransactionResult = AddPartitionsToTxnResponse.AddPartitionsToTxnResult


async def handle(context: Context, request: AddPartitionsToTxnRequest) -> AddPartitionsToTxnResponse:
    if context.api_version < _BY_BROKERS_SINCE:
        producer = ProducerStamp(request.v3_and_below_producer_id, request.v3_and_below_producer_epoch)
        asked = _partitions(request.v3_and_below_topics)
        codes = await _add(context, request.v3_and_below_transactional_id, producer, asked, verify_only=False)
        return AddPartitionsToTxnResponse(
            throttle_time_ms=context.throttle_ms, results_by_topic_v3_and_below=_results(codes)
        )
    results = []
    for one in request.transactions:
        producer = ProducerStamp(one.producer_id, one.producer_epoch)
        asked = _partitions(one.topics)
        codes = await _add(context, one.transactional_id, producer, asked, verify_only=one.verify_only)
        results.append(TransactionResult(transactional_id=one.transactional_id, topic_results=_results(codes)))
    return AddPartitionsToTxnResponse(throttle_time_ms=context.throttle_ms, results_by_transaction=results)


async def _add(
    context: Context,
    transactional_id: str,
    producer: ProducerStamp,
    asked: list[TopicPartition],
    *,
    verify_only: bool,
) -> dict[TopicPartition, Code]:
    image, transactions = context.broker.image, context.broker.transactions
    unknown = {each for each in asked if image.partition(*each) is None}
    if unknown:
        return {
            each: Code.UNKNOWN_TOPIC_OR_PARTITION if each in unknown else Code.OPERATION_NOT_ATTEMPTED for each in asked
        }
    try:
        if verify_only:
            machine = await transactions.machine(context, transactional_id)
            return machine.verify_partitions(transactional_id, producer, asked)
        client_version = NEW_EPOCH_SINCE if context.api_version >= _BY_BROKERS_SINCE else 0
        await transactions.add_partitions(context, transactional_id, producer, asked, client_version=client_version)
    except KafkaError as refusal:
        code = refusal.code
        if code is Code.PRODUCER_FENCED and context.api_version < _PRODUCER_FENCED_SINCE:
            code = Code.INVALID_PRODUCER_EPOCH
        return dict.fromkeys(asked, code)
    return dict.fromkeys(asked, Code.NONE)


def _partitions(topics: Iterable[AddPartitionsToTxnRequest.AddPartitionsToTxnTopic]) -> list[TopicPartition]:
    return [TopicPartition(topic.name, index) for topic in topics for index in topic.partitions]


def _results(codes: dict[TopicPartition, Code]) -> list[TopicResult]:
    by_topic: dict[str, list[PartitionResult]] = {}
    for (topic, index), code in codes.items():
        result = PartitionResult(partition_index=index, partition_error_code=code)
        by_topic.setdefault(topic, []).append(result)
    return [TopicResult(name=topic, results_by_partition=results) for topic, results in by_topic.items()]
