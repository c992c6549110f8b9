"""AddPartitionsToTxn (key 24).

Versions: 0-5.

Behaviour: adds the partitions that a transaction is going to write to, and begins the transaction. If one of the
partitions does not exist none is added.

Version notes: 2 the PRODUCER_FENCED error, which was INVALID_PRODUCER_EPOCH (KIP-588); 4 brokers ask, for several
transactions at once, either to add or only to verify (KIP-890); 5 TRANSACTION_ABORTABLE.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from kwire.broker.requests.context import Context
from kwire.coordinators.machine import ProducerStamp
from kwire.coordinators.transaction.transaction import NEW_EPOCH_SINCE
from kwire.errors import Code, KafkaError
from kwire.security.operations import Operation, ResourceType
from kwire.types import INTERNAL_TOPICS, TopicPartition
from kwire.wire.messages import AddPartitionsToTxnRequest, AddPartitionsToTxnResponse

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
    for one in request.transactions:
        producer = ProducerStamp(one.producer_id, one.producer_epoch)
        do = _verify if one.verify_only else _add
        results = await do(context, one.transactional_id, producer, one.topics)
        by_transaction.append(TransactionResult(transactional_id=one.transactional_id, topic_results=results))
    return AddPartitionsToTxnResponse(throttle_time_ms=context.throttle_ms, results_by_transaction=by_transaction)


async def _add(
    context: Context, transactional_id: str, producer: ProducerStamp, topics: Sequence[Topic]
) -> list[TopicResult]:
    by_broker = context.api_version >= _BY_BROKERS_SINCE
    asked = _partitions(topics)
    if not by_broker and not context.may(Operation.WRITE, ResourceType.TRANSACTIONAL_ID, transactional_id):
        return _results(dict.fromkeys(asked, Code.TRANSACTIONAL_ID_AUTHORIZATION_FAILED))
    impossible = _impossible(context, asked, allow_internal=by_broker)
    if impossible:
        return _results({each: impossible.get(each, Code.OPERATION_NOT_ATTEMPTED) for each in asked})
    code = Code.NONE
    try:
        await context.broker.transactions.add_partitions(
            context, transactional_id, producer, asked, client_version=NEW_EPOCH_SINCE if by_broker else 0
        )
    except KafkaError as refusal:
        code = refusal.code
        if code is Code.PRODUCER_FENCED and context.api_version < _PRODUCER_FENCED_SINCE:
            code = Code.INVALID_PRODUCER_EPOCH
    return [
        TopicResult(
            name=topic.name,
            results_by_partition=[
                PartitionResult(partition_index=index, partition_error_code=code) for index in topic.partitions
            ],
        )
        for topic in topics
    ]


async def _verify(
    context: Context, transactional_id: str, producer: ProducerStamp, topics: Sequence[Topic]
) -> list[TopicResult]:
    asked = _partitions(topics)
    impossible = _impossible(context, asked, allow_internal=True)
    if impossible:
        return _results({each: impossible.get(each, Code.OPERATION_NOT_ATTEMPTED) for each in asked})
    try:
        machine = await context.broker.transactions.machine(context, transactional_id)
        return _results(machine.verify_partitions(transactional_id, producer, asked))
    except KafkaError as refusal:
        return _results(dict.fromkeys(asked, refusal.code))


def _impossible(context: Context, asked: list[TopicPartition], *, allow_internal: bool) -> dict[TopicPartition, Code]:
    """The partitions that cannot be written to; clients may not write to internal topics."""
    found = {}
    for each in asked:
        may_write = allow_internal or (
            each.topic not in INTERNAL_TOPICS and context.may(Operation.WRITE, ResourceType.TOPIC, each.topic)
        )
        if not may_write:
            found[each] = Code.TOPIC_AUTHORIZATION_FAILED
        elif context.broker.image.partition(*each) is None:
            found[each] = Code.UNKNOWN_TOPIC_OR_PARTITION
    return found


def _partitions(topics: Sequence[Topic]) -> list[TopicPartition]:
    return [TopicPartition(topic.name, index) for topic in topics for index in topic.partitions]


def _results(codes: dict[TopicPartition, Code]) -> list[TopicResult]:
    by_topic: dict[str, list[PartitionResult]] = {}
    for (topic, index), code in codes.items():
        result = PartitionResult(partition_index=index, partition_error_code=code)
        by_topic.setdefault(topic, []).append(result)
    return [TopicResult(name=topic, results_by_partition=results) for topic, results in by_topic.items()]
