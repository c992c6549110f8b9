"""WriteTxnMarkers (key 27).

Versions: 1-2.

Behaviour: appends markers that end transactions, whatever the coordinator thinks of them: brokers do it for each other,
and ``kafka-transactions abort`` for a transaction that nobody is going to end (KIP-664).

Version notes: 2 the transaction version of each marker, by which the producer's epoch is judged (KIP-890).
"""

from __future__ import annotations

from kwire.broker.coordination.markers import Marker, append_marker
from kwire.broker.partitions.partition import Partition
from kwire.broker.requests.context import Context
from kwire.coordinators.machine import ProducerStamp
from kwire.errors import Code, KafkaError, StorageFailure
from kwire.types import TopicPartition
from kwire.wire.messages import WriteTxnMarkersRequest, WriteTxnMarkersResponse

PartitionResult = WriteTxnMarkersResponse.WritableTxnMarkerPartitionResult


async def handle(context: Context, request: WriteTxnMarkersRequest) -> WriteTxnMarkersResponse:
    to_flush: list[tuple[Partition, PartitionResult]] = []
    answers = []
    for wanted in request.markers:
        producer = ProducerStamp(wanted.producer_id, wanted.producer_epoch)
        marker = Marker(producer, wanted.transaction_result, wanted.coordinator_epoch, wanted.transaction_version)
        answers.append(
            WriteTxnMarkersResponse.WritableTxnMarkerResult(
                producer_id=wanted.producer_id,
                topics=[
                    WriteTxnMarkersResponse.WritableTxnMarkerTopicResult(
                        name=topic.name,
                        partitions=[
                            _append(context, TopicPartition(topic.name, index), marker, to_flush)
                            for index in topic.partition_indexes
                        ],
                    )
                    for topic in wanted.topics
                ],
            )
        )
    for partition, result in to_flush:
        try:
            await context.broker.flusher.flush(partition)
        except StorageFailure as failure:
            context.broker.storage_failed(failure)
            result.error_code = Code.KAFKA_STORAGE_ERROR
    return WriteTxnMarkersResponse(markers=answers)


def _append(
    context: Context, where: TopicPartition, marker: Marker, to_flush: list[tuple[Partition, PartitionResult]]
) -> PartitionResult:
    result = PartitionResult(partition_index=where.partition)
    try:
        if marker.producer.producer_epoch < 0:
            context.broker.partitions.get(*where)
            # As Kafka says it, which cannot build such a marker.
            raise KafkaError(Code.UNKNOWN_SERVER_ERROR)
        partition = append_marker(context.broker, where, marker)
    except KafkaError as refusal:
        result.error_code = refusal.code
    except StorageFailure as failure:
        context.broker.storage_failed(failure)
        result.error_code = Code.KAFKA_STORAGE_ERROR
    else:
        if partition.must_flush:
            to_flush.append((partition, result))
    return result
