"""DescribeProducers (key 61).

Versions: 0.

Behaviour: the producers of a partition's log: last sequence, last timestamp, and the first offset of an open
transaction (KIP-664).
"""

from __future__ import annotations

from kwire.api.pacing import paced
from kwire.api.probes import INDEXES, Probe
from kwire.broker.requests.context import Context
from kwire.errors import Code, KafkaError, StorageFailure
from kwire.metadata.config_rules import check_topic_name
from kwire.security.operations import Operation, ResourceType
from kwire.storage.producer_state import Producer
from kwire.wire.messages import DescribeProducersRequest, DescribeProducersResponse

PROBE: Probe = {"topics": INDEXES}

PartitionAnswer = DescribeProducersResponse.PartitionResponse


async def handle(context: Context, request: DescribeProducersRequest) -> DescribeProducersResponse:
    return DescribeProducersResponse(
        throttle_time_ms=context.throttle_ms,
        topics=[
            DescribeProducersResponse.TopicResponse(
                name=topic.name,
                partitions=[
                    await _describe(context, topic.name, index)
                    async for index in paced(context, topic.partition_indexes)
                ],
            )
            for topic in request.topics
        ],
    )


async def _describe(context: Context, topic: str, index: int) -> PartitionAnswer:
    answer = PartitionAnswer(partition_index=index, error_message=None)
    try:
        context.authorize(Operation.READ, ResourceType.TOPIC, topic)
        check_topic_name(topic)
        if topic not in context.broker.image.topics:
            message = "This server does not host this topic-partition."
            raise KafkaError(Code.UNKNOWN_TOPIC_OR_PARTITION, message)
        producers = context.broker.partitions.get(topic, index).log.producers.producers
        answer.active_producers = [_producer(producer) async for producer in paced(context, producers.values())]
    except KafkaError as refusal:
        answer.error_code, answer.error_message = refusal.code, refusal.message
    except StorageFailure as failure:
        context.broker.storage_failures.report(failure)
        answer.error_code = Code.KAFKA_STORAGE_ERROR
    return answer


def _producer(producer: Producer) -> DescribeProducersResponse.ProducerState:
    return DescribeProducersResponse.ProducerState(
        producer_id=producer.producer_id,
        producer_epoch=producer.epoch,
        last_sequence=producer.last_sequence,
        last_timestamp=producer.last_timestamp_ms,
        coordinator_epoch=producer.coordinator_epoch,
        current_txn_start_offset=producer.transaction_first_offset,
    )
