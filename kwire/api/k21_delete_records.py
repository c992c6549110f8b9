"""DeleteRecords (key 21).

Versions: 0-2.

Behaviour: moves a partition's log start offset; -1 means up to the high watermark (KIP-107). The answer comes once all
live replicas have moved theirs, or is REQUEST_TIMED_OUT. Segments that hold nothing else are deleted at the next
retention check. A partition that is listed twice is answered once, by its last
entry, as in Apache Kafka. Refused: internal topics, and topics whose ``cleanup.policy`` is "compact" alone; an empty
policy is not refused.
"""

from __future__ import annotations

from typing import Final

from kwire.api.pacing import paced
from kwire.api.probes import PARTITIONS, Probe
from kwire.broker.partitions.leading import low_watermark, records_deleted
from kwire.broker.partitions.partition import Partition
from kwire.broker.requests.context import Context
from kwire.errors import Code, KafkaError, StorageFailure
from kwire.security.operations import Operation, ResourceType
from kwire.types import INTERNAL_TOPICS
from kwire.wire.messages import DeleteRecordsRequest, DeleteRecordsResponse

PROBE: Probe = {"topics": PARTITIONS, "timeout_ms": 1000}

TopicResult = DeleteRecordsResponse.DeleteRecordsTopicResult
PartitionResult = DeleteRecordsResponse.DeleteRecordsPartitionResult

_INVALID: Final = -1


async def handle(context: Context, request: DeleteRecordsRequest) -> DeleteRecordsResponse:
    wanted = {(topic.name, one.partition_index): one.offset for topic in request.topics for one in topic.partitions}
    by_topic: dict[str, list[PartitionResult]] = {}
    incomplete: list[tuple[Partition, int, PartitionResult]] = []
    async for (topic, index), offset in paced(context, wanted.items()):
        by_topic.setdefault(topic, []).append(_delete(context, topic, index, offset, incomplete))
    if incomplete:
        await _await_replicas(context, request.timeout_ms, incomplete)
    return DeleteRecordsResponse(
        throttle_time_ms=context.throttle_ms,
        topics=[TopicResult(name=name, partitions=results) for name, results in by_topic.items()],
    )


def _delete(
    context: Context,
    topic: str,
    index: int,
    offset: int,
    incomplete: list[tuple[Partition, int, PartitionResult]],
) -> PartitionResult:
    """Delete on this leader; ``incomplete`` gets what other replicas have not deleted yet."""
    result = PartitionResult(partition_index=index, low_watermark=_INVALID)
    try:
        context.authorize(Operation.DELETE, ResourceType.TOPIC, topic)
        partition = context.broker.partitions.get(topic, index)
        if topic in INTERNAL_TOPICS:
            raise KafkaError(Code.INVALID_TOPIC_EXCEPTION)
        log_settings = partition.settings.log
        if log_settings.compact and not log_settings.delete:
            raise KafkaError(Code.POLICY_VIOLATION)
        start = partition.delete_records_before(offset)
        result.low_watermark = low_watermark(partition)
        # A log that begins behind the wanted offset already has nothing to wait for beyond that offset.
        wanted = min(start, partition.high_watermark if offset < 0 else offset)
        if result.low_watermark < wanted:
            incomplete.append((partition, wanted, result))
    except KafkaError as refusal:
        result.error_code = refusal.code
    except StorageFailure as failure:
        context.broker.storage_failures.report(failure)
        result.error_code = Code.KAFKA_STORAGE_ERROR
    return result


async def _await_replicas(
    context: Context, timeout_ms: int, incomplete: list[tuple[Partition, int, PartitionResult]]
) -> None:
    """Wait until the replicas have deleted what the leader has deleted."""
    clock = context.broker.clock
    await context.connection.send_pending()
    deadline_ms = clock.monotonic_ms() + timeout_ms
    for partition, wanted, result in incomplete:
        try:
            left_ms = deadline_ms - clock.monotonic_ms()
            result.low_watermark = await records_deleted(partition, wanted, timeout_ms=left_ms)
        except KafkaError as refusal:
            result.error_code = refusal.code
            result.low_watermark = _INVALID
