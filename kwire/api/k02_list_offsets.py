"""ListOffsets (key 2).

Versions: 1-11.

Behaviour: an offset for a timestamp, or for one of the special timestamps. A consumer sees offsets below the high
watermark (read_committed: below the last stable offset), replicas and the debugging consumer (-2) the whole log. That
consumer may ask a follower too.

Version notes: 4 leader epochs (KIP-320); 7 max timestamp (KIP-734); 8 earliest local (KIP-405); 9 latest tiered
(KIP-1005); 10 timeout (KIP-1075); 11 earliest pending upload (KIP-1023). A special timestamp below its version is
UNSUPPORTED_VERSION.

Left out: tiered storage, so the local log is the whole log, and the tiered offsets are unknown (-1), as on an
Apache Kafka broker without remote storage. The max timestamp may be that of a deleted record, as in Apache Kafka, until
its segment is deleted.
"""

from __future__ import annotations

from typing import Final

from kwire.api.pacing import paced
from kwire.api.probes import NAMED, PARTITION, Probe
from kwire.broker.partitions.partition import READ_COMMITTED, Partition
from kwire.broker.requests.context import Context
from kwire.errors import Code, KafkaError, StorageFailure
from kwire.security.operations import Operation, ResourceType
from kwire.types import TopicPartition
from kwire.wire.messages import ListOffsetsRequest, ListOffsetsResponse

PROBE: Probe = {"replica_id": -1, "topics": [{**NAMED, "partitions": [{**PARTITION, "timestamp": -1}]}]}

LATEST: Final = -1
EARLIEST: Final = -2
MAX_TIMESTAMP: Final = -3
EARLIEST_LOCAL: Final = -4
LATEST_TIERED: Final = -5
EARLIEST_PENDING_UPLOAD: Final = -6

# The first version that has a special timestamp (KIP-734, 405, 1005, 1023).
_KNOWN_SINCE: Final = {
    LATEST: 1,
    EARLIEST: 1,
    MAX_TIMESTAMP: 7,
    EARLIEST_LOCAL: 8,
    LATEST_TIERED: 9,
    EARLIEST_PENDING_UPLOAD: 11,
}
_EPOCHS_SINCE: Final = 4  # KIP-320
_NOT_AVAILABLE_SINCE: Final = 5  # KIP-207
_CONSUMER: Final = -1
_DEBUGGING_CONSUMER: Final = -2

PartitionResponse = ListOffsetsResponse.ListOffsetsPartitionResponse


async def handle(context: Context, request: ListOffsetsRequest) -> ListOffsetsResponse:
    """Answer each partition by itself; a partition that is listed twice is INVALID_REQUEST."""
    named: set[TopicPartition] = set()
    twice: set[TopicPartition] = set()
    for topic in request.topics:
        for wanted in topic.partitions:
            key = TopicPartition(topic.name, wanted.partition_index)
            (twice if key in named else named).add(key)
    asked = {
        TopicPartition(topic.name, one.partition_index): one for topic in request.topics for one in topic.partitions
    }
    by_topic: dict[str, list[PartitionResponse]] = {}
    async for key, wanted in paced(context, asked.items()):
        by_topic.setdefault(key.topic, []).append(
            _answer(context, request, key.topic, wanted, asked_twice=key in twice)
        )
    return ListOffsetsResponse(
        throttle_time_ms=context.throttle_ms,
        topics=[
            ListOffsetsResponse.ListOffsetsTopicResponse(name=name, partitions=answers)
            for name, answers in by_topic.items()
        ],
    )


def _answer(
    context: Context,
    request: ListOffsetsRequest,
    topic: str,
    wanted: ListOffsetsRequest.ListOffsetsPartition,
    *,
    asked_twice: bool,
) -> PartitionResponse:
    try:
        context.authorize(Operation.DESCRIBE, ResourceType.TOPIC, topic)
        if asked_twice:
            raise KafkaError(Code.INVALID_REQUEST)
        if wanted.timestamp < 0 and context.api_version < _KNOWN_SINCE.get(wanted.timestamp, 2**15):
            raise KafkaError(Code.UNSUPPORTED_VERSION)
        partition = context.broker.partitions.get_in_epoch(
            topic, wanted.partition_index, wanted.current_leader_epoch, leads=request.replica_id != _DEBUGGING_CONSUMER
        )
        timestamp_ms, offset, leader_epoch = _look_up(request, partition, wanted.timestamp)
        if context.api_version < _EPOCHS_SINCE:
            leader_epoch = -1
    except KafkaError as refusal:
        code = refusal.code
        if code == Code.OFFSET_NOT_AVAILABLE and context.api_version < _NOT_AVAILABLE_SINCE:
            code = Code.LEADER_NOT_AVAILABLE
        return PartitionResponse(partition_index=wanted.partition_index, error_code=code)
    except StorageFailure as failure:
        context.broker.storage_failures.report(failure)
        return PartitionResponse(partition_index=wanted.partition_index, error_code=Code.KAFKA_STORAGE_ERROR)
    return PartitionResponse(
        partition_index=wanted.partition_index, timestamp=timestamp_ms, offset=offset, leader_epoch=leader_epoch
    )


_UNKNOWN: Final = (-1, -1, -1)


def _look_up(request: ListOffsetsRequest, partition: Partition, timestamp: int) -> tuple[int, int, int]:
    """Timestamp, offset and leader epoch; for a special timestamp, such as latest, the timestamp is -1."""
    log = partition.log
    end = log.last_stable_offset if request.isolation_level == READ_COMMITTED else log.high_watermark
    if request.replica_id != _CONSUMER:
        end = log.end_offset
    # A leader that does not know yet how far the replicas are must not show an earlier end than its predecessor did.
    leader = partition.leader
    is_behind = (
        leader is not None and request.replica_id == _CONSUMER and leader.epoch_start_offset > log.high_watermark
    )
    if timestamp == LATEST:
        if is_behind:
            raise KafkaError(Code.OFFSET_NOT_AVAILABLE)
        return -1, end, partition.leader_epoch
    if timestamp in (EARLIEST, EARLIEST_LOCAL):
        if log.log_start_offset == log.end_offset:
            return -1, log.log_start_offset, partition.leader_epoch  # the epoch of the next record
        return -1, log.log_start_offset, log.epoch_of(log.log_start_offset)
    if timestamp in (LATEST_TIERED, EARLIEST_PENDING_UPLOAD):
        return _UNKNOWN
    found = log.max_timestamp() if timestamp == MAX_TIMESTAMP else log.offset_for_timestamp(timestamp)
    if found is None or found.offset >= end:
        if is_behind:
            raise KafkaError(Code.OFFSET_NOT_AVAILABLE)
        return _UNKNOWN
    return found.timestamp_ms, found.offset, found.leader_epoch
