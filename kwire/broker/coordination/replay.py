"""Replays the log of a partition into a coordinator's machine.

Responsible for: reading records and transaction markers in slices, and telling committed records from uncommitted ones.
Must not depend on: any particular coordinator, how a machine is run.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from kwire.broker.partitions.partition import Partition
from kwire.coordinators.machine import Machine
from kwire.wire.batches.batch import BatchHeader, read_batch_header
from kwire.wire.batches.records import read_records

# Bytes that are replayed before other tasks run.
_SLICE_BYTES: Final = 64 * 1024
_MARKER_COMMIT: Final = 1


def replay_log(partition: Partition, machine: Machine) -> Iterator[None]:
    """Replay all that is in the log, in slices: each step replays one.

    Changes by records above the high watermark are held in the machine's timeline until they are committed. Raises
    StorageFailure, KafkaError, ProtocolViolation.
    """
    source = partition.log
    offset = source.log_start_offset
    while offset < source.end_offset:
        replayed_bytes = 0
        # Each slice reads from the log again, as the log may be cleaned or grow between two slices.
        for batch in source.read_batches(offset):
            header = read_batch_header(batch)
            is_held = not partition.is_committed(header.next_offset)
            if is_held:
                machine.timeline.begin()
            _replay_batch(batch, header, machine)
            if is_held:
                machine.timeline.hold(header.next_offset)
            offset = header.next_offset
            replayed_bytes += header.size_bytes
            if replayed_bytes >= _SLICE_BYTES:
                break
        if not replayed_bytes:
            return
        yield


def _replay_batch(batch: memoryview, header: BatchHeader, machine: Machine) -> None:
    producer_id, producer_epoch = header.producer_id, header.producer_epoch
    if header.is_control:
        for record in read_records(batch):
            kind = int.from_bytes((record.key or b"")[2:4], "big")
            machine.replay_marker(producer_id, producer_epoch, committed=kind == _MARKER_COMMIT)
        return
    if not header.is_transactional:
        producer_id = producer_epoch = -1
    for record in read_records(batch):
        machine.replay(
            record.key or b"",
            record.value,
            offset=record.offset,
            timestamp_ms=record.timestamp_ms,
            producer_id=producer_id,
            producer_epoch=producer_epoch,
        )
