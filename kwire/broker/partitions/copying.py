"""Changes of a follower's log: appending the leader's batches, truncating, following the leader's offsets.

Responsible for: these changes of one partition. Must not depend on: requests, connections, which leader it is.

Batches are appended byte for byte: offsets, epochs and times are the leader's. A segment that is full by its size ends
at the same batch as on the leader.
"""

from __future__ import annotations

from kwire.broker.logs import Logger
from kwire.broker.partitions.partition import Partition
from kwire.errors import Code, KafkaError
from kwire.storage.log import Log
from kwire.wire.batches.batch import HEADER_BYTES, BatchHeader, is_valid_batch, read_batch_header

log = Logger("kwire.replication")


def append_copied(partition: Partition, records: memoryview) -> int:
    """Append the whole batches of ``records``; returns their size in bytes. The last batch may be cut off.

    Batches end where one has a later leader epoch than this replica knows (KAFKA-18723): a leader that was deposed may
    have truncated its log, and copied other records to the same place, before it had sent what it read there.

    Raises KafkaError: CORRUPT_MESSAGE for a batch that fails its checksum, OFFSET_OUT_OF_RANGE for one that does not
    follow the log; StorageFailure. Batches before it are in the log then.
    """
    opened = partition.log
    position, now_ms = 0, partition.clock.now_ms()
    while len(records) - position >= HEADER_BYTES:
        headers, size = _next_batches(opened, records, position, leader_epoch=partition.leader_epoch)
        if not headers:
            break
        end = opened.end_offset
        if end == opened.log_start_offset and headers[0].base_offset < end < headers[0].next_offset:
            # The leader's log starts within this batch, because records were deleted.
            restart_at(partition, headers[0].base_offset)
        opened.append(
            records[position : position + size],
            headers,
            leader_epoch=partition.leader_epoch,
            now_ms=now_ms,
            assign_offsets=False,
            check_sequence=False,
        )
        partition.note_copied(size)
        position += size
    return position


def follow_leader_offsets(partition: Partition, *, high_watermark: int, log_start_offset: int) -> None:
    """Move the high watermark and the log start up to the leader's. Raises StorageFailure."""
    partition.follow_high_watermark(high_watermark)
    opened = partition.log
    start = min(log_start_offset, opened.high_watermark)
    if start > opened.log_start_offset:
        opened.delete_records_before(start)
        partition.note_change()


def truncate(partition: Partition, offset: int) -> None:
    """Remove the records from ``offset`` on. Raises StorageFailure."""
    partition.log.truncate_to(offset, now_ms=partition.clock.now_ms())
    partition.note_truncated()
    partition.cluster.truncated(partition.topic_partition)


def cut_doubtful(partition: Partition) -> None:
    """Remove what may lack records since the last stop, before it is copied from the leader. Raises StorageFailure."""
    opened = partition.log
    offset = opened.doubtful_from
    if offset is None:
        return
    log.warning(
        "log truncated: records may be missing in it since the last stop",
        partition=str(partition),
        offset=offset,
        log_start_offset=opened.log_start_offset,
        log_end_offset=opened.end_offset,
    )
    truncate(partition, offset)
    opened.doubtful_from = None


def restart_at(partition: Partition, offset: int) -> None:
    """Remove all records; the log begins at ``offset``. Raises StorageFailure."""
    partition.log.truncate_fully_and_start_at(offset)
    partition.note_truncated()
    partition.cluster.truncated(partition.topic_partition)


def _next_batches(
    opened: Log, records: memoryview, position: int, *, leader_epoch: int
) -> tuple[list[BatchHeader], int]:
    """Return the headers and the size of the next batches, up to ``leader_epoch``, that go into one segment."""
    headers: list[BatchHeader] = []
    size = 0
    room = opened.config.segment_bytes - opened.active.size_bytes
    while len(records) - position - size >= HEADER_BYTES:
        header = read_batch_header(records, position + size)
        end = size + header.size_bytes
        if position + end > len(records) or (headers and end > room) or header.leader_epoch > leader_epoch:
            break
        if not is_valid_batch(records, position + size, header):
            raise KafkaError(Code.CORRUPT_MESSAGE, f"the batch at offset {header.base_offset} fails its checksum")
        headers.append(header)
        size = end
    return headers, size
