"""WriteTxnMarkers (key 27).

Versions: 1-2.

Behaviour: appends markers that end transactions, whatever the coordinator thinks of them: brokers do it for each other,
and ``kafka-transactions abort`` for a transaction that nobody is going to end (KIP-664).

Version notes: 2 the transaction version of each marker, by which the producer's epoch is judged (KIP-890).
"""

from __future__ import annotations

from typing import TypeAlias

from kwire.broker.coordination.markers import Marker, append_marker
from kwire.broker.partitions.partition import Partition
from kwire.broker.requests.context import Context
from kwire.coordinators.machine import ProducerStamp
from kwire.errors import Code, KafkaError, StorageFailure
from kwire.types import TopicPartition
from kwire.wire.messages import WriteTxnMarkersRequest, WriteTxnMarkersResponse

PartitionResult = WriteTxnMarkersResponse.WritableTxnMarkerPartitionResult
# A partition, the offset behind the marker that was appended to it, and the answer that waits for the commit.
Uncommitted: TypeAlias = tuple[Partition, int, PartitionResult]


async def handle(context: Context, request: WriteTxnMarkersRequest) -> WriteTxnMarkersResponse:
    uncommitted: list[Uncommitted] = []
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
                            _append(context, TopicPartition(topic.name, index), marker, uncommitted)
                            for index in topic.partition_indexes
                        ],
                    )
                    for topic in wanted.topics
                ],
            )
        )
    for partition, next_offset, result in uncommitted:
        try:
            await partition.committed(next_offset)
        except KafkaError as refusal:
            result.error_code = refusal.code
        except StorageFailure as failure:
            context.broker.storage_failed(failure)
            result.error_code = Code.KAFKA_STORAGE_ERROR
    return WriteTxnMarkersResponse(markers=answers)


def _append(context: Context, where: TopicPartition, marker: Marker, uncommitted: list[Uncommitted]) -> PartitionResult:
    result = PartitionResult(partition_index=where.partition)
    try:
        if marker.producer.producer_epoch < 0:
            context.broker.partitions.get(*where)
            # As Kafka says it, which cannot build such a marker.
            raise KafkaError(Code.UNKNOWN_SERVER_ERROR)
        partition, next_offset = append_marker(context.broker, where, marker)
    except KafkaError as refusal:
        result.error_code = refusal.code
    except StorageFailure as failure:
        context.broker.storage_failed(failure)
        result.error_code = Code.KAFKA_STORAGE_ERROR
    else:
        if not partition.is_committed(next_offset):
            uncommitted.append((partition, next_offset, result))
    return result
