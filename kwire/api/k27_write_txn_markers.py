"""WriteTxnMarkers (key 27).

Versions: 1-2.

Behaviour: appends markers that end transactions, whatever the coordinator's state: brokers do it for each other, and
``kafka-transactions abort`` for a transaction that has no coordinator to end it (KIP-664). As in Apache Kafka the
answer has each producer once and in it each topic once; topics and producers without partitions are left out. A
partition that is listed twice for a marker gets one marker; Apache Kafka never answers such a request.

Version notes: 2 the transaction version of each marker, by which the producer's epoch is judged (KIP-890).
"""

from __future__ import annotations

from typing import TypeAlias

from kwire.api.pacing import paced
from kwire.api.probes import Probe
from kwire.broker.coordination.transactions.markers import AppendedMarker, Marker
from kwire.broker.requests.context import Context
from kwire.coordinators.machine import ProducerStamp
from kwire.errors import Code, KafkaError, StorageFailure
from kwire.security.operations import Operation
from kwire.types import TopicPartition
from kwire.wire.batches.batch import NO_PRODUCER_EPOCH, NO_PRODUCER_ID
from kwire.wire.messages import WriteTxnMarkersRequest, WriteTxnMarkersResponse

PROBE: Probe = {}

PartitionResult = WriteTxnMarkersResponse.WritableTxnMarkerPartitionResult
# A marker that was appended, and the answer that waits for the commit.
Uncommitted: TypeAlias = tuple[AppendedMarker, PartitionResult]


async def handle(context: Context, request: WriteTxnMarkersRequest) -> WriteTxnMarkersResponse:
    allowed = context.may_cluster(Operation.ALTER, audited=False) or context.may_cluster(Operation.CLUSTER_ACTION)
    uncommitted: list[Uncommitted] = []
    # Producer id -> topic -> partition -> its answer.
    answers: dict[int, dict[str, dict[int, PartitionResult]]] = {}
    for wanted in request.markers:
        producer = ProducerStamp(wanted.producer_id, wanted.producer_epoch)
        marker = Marker(producer, wanted.transaction_result, wanted.coordinator_epoch, wanted.transaction_version)
        partitions = dict.fromkeys(TopicPartition(one.name, i) for one in wanted.topics for i in one.partition_indexes)
        async for where in paced(context, partitions):
            by_topic = answers.setdefault(wanted.producer_id, {}).setdefault(where.topic, {})
            if allowed:
                by_topic[where.partition] = _append(context, where, marker, uncommitted)
            else:
                by_topic[where.partition] = PartitionResult(
                    partition_index=where.partition, error_code=Code.CLUSTER_AUTHORIZATION_FAILED
                )
    for appended, result in uncommitted:
        try:
            await appended.committed()
        except KafkaError as refusal:
            result.error_code = refusal.code
        except StorageFailure as failure:
            context.broker.storage_failures.report(failure)
            result.error_code = Code.KAFKA_STORAGE_ERROR
    return WriteTxnMarkersResponse(
        markers=[
            WriteTxnMarkersResponse.WritableTxnMarkerResult(
                producer_id=producer_id,
                topics=[
                    WriteTxnMarkersResponse.WritableTxnMarkerTopicResult(
                        name=name, partitions=list(partitions.values())
                    )
                    for name, partitions in by_topic.items()
                ],
            )
            for producer_id, by_topic in answers.items()
        ]
    )


def _append(context: Context, where: TopicPartition, marker: Marker, uncommitted: list[Uncommitted]) -> PartitionResult:
    result = PartitionResult(partition_index=where.partition)
    try:
        if marker.producer.producer_id == NO_PRODUCER_ID or marker.producer.producer_epoch == NO_PRODUCER_EPOCH:
            context.broker.partitions.get(*where)
            # Apache Kafka's code for such a marker.
            raise KafkaError(Code.UNKNOWN_SERVER_ERROR)
        appended = context.broker.markers.append(where, marker)
    except KafkaError as refusal:
        result.error_code = refusal.code
    except StorageFailure as failure:
        context.broker.storage_failures.report(failure)
        result.error_code = Code.KAFKA_STORAGE_ERROR
    else:
        if not appended.is_committed:
            uncommitted.append((appended, result))
    return result
