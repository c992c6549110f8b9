"""The records of ``__share_group_state``.

Responsible for: writing and reading them. Must not depend on: what a state means, the log.

    key    int16 record type (0 snapshot, 1 update), then group, topic id and partition       at version 0
    value  int16 value version (0), then ShareSnapshotValue or ShareUpdateValue; none: the state is deleted

A snapshot has the whole state of a share partition. An update has the batches that changed, the start offset and the
leader epoch, and counts on top of the last snapshot.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from kwire.coordinators.machine import Record
from kwire.coordinators.share.state import UNKNOWN_COUNT, SharePartitionKey, StateBatch
from kwire.wire.codec import decode, encode
from kwire.wire.messages import ShareSnapshotKey, ShareSnapshotValue, ShareUpdateKey, ShareUpdateValue

_INT16 = struct.Struct(">h")
_SNAPSHOT: Final = 0
_UPDATE: Final = 1
_VALUE_VERSION: Final = 0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The whole state of a share partition. ``created_ms``: of the snapshot; ``written_ms``: of the last write."""

    snapshot_epoch: int
    state_epoch: int
    leader_epoch: int
    start_offset: int
    delivered_count: int = UNKNOWN_COUNT
    created_ms: int = 0
    written_ms: int = 0
    batches: tuple[StateBatch, ...] = ()


@dataclass(frozen=True, slots=True)
class Update:
    """The changes since the snapshot of this epoch; -1 for an epoch or offset that did not change."""

    snapshot_epoch: int
    leader_epoch: int
    start_offset: int
    delivered_count: int = UNKNOWN_COUNT
    batches: tuple[StateBatch, ...] = ()


@dataclass(frozen=True, slots=True)
class Entry:
    """``value`` None: the state is deleted."""

    key: SharePartitionKey
    value: Snapshot | Update | None


def snapshot_record(key: SharePartitionKey, snapshot: Snapshot) -> Record:
    value = ShareSnapshotValue(
        snapshot_epoch=snapshot.snapshot_epoch,
        state_epoch=snapshot.state_epoch,
        leader_epoch=snapshot.leader_epoch,
        start_offset=snapshot.start_offset,
        delivery_complete_count=snapshot.delivered_count,
        create_timestamp=snapshot.created_ms,
        write_timestamp=snapshot.written_ms,
        state_batches=[
            ShareSnapshotValue.StateBatch(
                first_offset=first, last_offset=last, delivery_state=state, delivery_count=count
            )
            for first, last, state, count in snapshot.batches
        ],
    )
    return Record(_snapshot_key(key), _INT16.pack(_VALUE_VERSION) + encode(value, _VALUE_VERSION))


def update_record(key: SharePartitionKey, update: Update) -> Record:
    value = ShareUpdateValue(
        snapshot_epoch=update.snapshot_epoch,
        leader_epoch=update.leader_epoch,
        start_offset=update.start_offset,
        delivery_complete_count=update.delivered_count,
        state_batches=[
            ShareUpdateValue.StateBatch(
                first_offset=first, last_offset=last, delivery_state=state, delivery_count=count
            )
            for first, last, state, count in update.batches
        ],
    )
    message = ShareUpdateKey(group_id=key.group_id, topic_id=key.topic_id, partition=key.partition)
    return Record(
        _INT16.pack(_UPDATE) + encode(message, 0), _INT16.pack(_VALUE_VERSION) + encode(value, _VALUE_VERSION)
    )


def tombstone(key: SharePartitionKey) -> Record:
    return Record(_snapshot_key(key), None)


def read_record(key: bytes, value: bytes | None) -> Entry | None:
    """Read a record; None for a version that Kafka 4.3 does not know. ProtocolViolation when it cannot be read."""
    kind = _INT16.unpack_from(key)[0]
    if kind not in (_SNAPSHOT, _UPDATE):
        return None
    named = (
        decode(ShareSnapshotKey, 0, memoryview(key)[2:])
        if kind == _SNAPSHOT
        else decode(ShareUpdateKey, 0, memoryview(key)[2:])
    )
    share_partition = SharePartitionKey(named.group_id, named.topic_id, named.partition)
    if value is None:
        return Entry(share_partition, None)
    if _INT16.unpack_from(value)[0] != _VALUE_VERSION:
        return None
    if kind == _SNAPSHOT:
        found = decode(ShareSnapshotValue, _VALUE_VERSION, memoryview(value)[2:])
        return Entry(
            share_partition,
            Snapshot(
                found.snapshot_epoch,
                found.state_epoch,
                found.leader_epoch,
                found.start_offset,
                found.delivery_complete_count,
                found.create_timestamp,
                found.write_timestamp,
                _batches(found.state_batches),
            ),
        )
    changed = decode(ShareUpdateValue, _VALUE_VERSION, memoryview(value)[2:])
    return Entry(
        share_partition,
        Update(
            changed.snapshot_epoch,
            changed.leader_epoch,
            changed.start_offset,
            changed.delivery_complete_count,
            _batches(changed.state_batches),
        ),
    )


def _snapshot_key(key: SharePartitionKey) -> bytes:
    message = ShareSnapshotKey(group_id=key.group_id, topic_id=key.topic_id, partition=key.partition)
    return _INT16.pack(_SNAPSHOT) + encode(message, 0)


def _batches(
    found: Iterable[ShareSnapshotValue.StateBatch] | Iterable[ShareUpdateValue.StateBatch],
) -> tuple[StateBatch, ...]:
    return tuple(
        StateBatch(each.first_offset, each.last_offset, each.delivery_state, each.delivery_count) for each in found
    )
