"""The records of ``__consumer_offsets``.

Responsible for: which versions are written, and recognizing their types. Must not depend on: groups, offsets as state,
the log.

    key    int16 record type, then the key's fields        always at version 0
    value  int16 value version, then the value's fields    none at all: a tombstone

Types 0 and 1 are offsets (0: written by old brokers), 2 is a classic group; the rest belongs to the newer
kinds of groups (KIP-848, KIP-932, KIP-1071). What Kafka 4.4 writes: offsets at version 4 with the topic's id, or at 1
where the client asked for a retention of its own (versions 2-4 of OffsetCommit); classic groups at version 3; the
newer kinds at version 0.
"""

import struct
from collections.abc import Mapping
from typing import Any, Final, NamedTuple, TypeAlias

from kwire.coordinators.group.commands import CommittedOffset
from kwire.coordinators.machine import Record
from kwire.errors import ProtocolViolation
from kwire.types import OFFSETS_TOPIC
from kwire.wire import messages
from kwire.wire.codec import decode, encode
from kwire.wire.message import Message
from kwire.wire.messages import GroupMetadataKey, GroupMetadataValue, OffsetCommitKey, OffsetCommitValue

OFFSET_VERSION = 4
OFFSET_VERSION_WITH_EXPIRY = 1
GROUP_VERSION = 3

_INT16 = struct.Struct(">h")

_OFFSET_TYPES = frozenset({0, 1})
_GROUP_TYPE = 2
# Type -> kind of group, and the names of the messages for key and value.
_MODERN: Final[Mapping[int, tuple[str, str]]] = {
    3: ("consumer", "ConsumerGroupMetadata"),
    4: ("consumer", "ConsumerGroupPartitionMetadata"),
    5: ("consumer", "ConsumerGroupMemberMetadata"),
    6: ("consumer", "ConsumerGroupTargetAssignmentMetadata"),
    7: ("consumer", "ConsumerGroupTargetAssignmentMember"),
    8: ("consumer", "ConsumerGroupCurrentMemberAssignment"),
    10: ("share", "ShareGroupMemberMetadata"),
    11: ("share", "ShareGroupMetadata"),
    12: ("share", "ShareGroupTargetAssignmentMetadata"),
    13: ("share", "ShareGroupTargetAssignmentMember"),
    14: ("share", "ShareGroupCurrentMemberAssignment"),
    15: ("share", "ShareGroupStatePartitionMetadata"),
    16: ("consumer", "ConsumerGroupRegularExpression"),
    17: ("streams", "StreamsGroupMetadata"),
    19: ("streams", "StreamsGroupMemberMetadata"),
    20: ("streams", "StreamsGroupTargetAssignmentMetadata"),
    21: ("streams", "StreamsGroupTargetAssignmentMember"),
    22: ("streams", "StreamsGroupCurrentMemberAssignment"),
    23: ("streams", "StreamsGroupTopology"),
}


class OffsetEntry(NamedTuple):
    group_id: str
    topic: str
    partition: int
    value: OffsetCommitValue | None


class GroupEntry(NamedTuple):
    group_id: str
    value: GroupMetadataValue | None


class ModernEntry(NamedTuple):
    """A record of a consumer, share or streams group. ``key`` and ``value`` are messages; None is a tombstone."""

    group_id: str
    kind: str
    key: Any
    value: Any


Entry: TypeAlias = OffsetEntry | GroupEntry | ModernEntry


def offset_record(group_id: str, topic: str, partition: int, offset: CommittedOffset | None) -> Record:
    """The record that commits ``offset``; a tombstone for None."""
    key = _INT16.pack(1) + encode(OffsetCommitKey(group=group_id, topic=topic, partition=partition), 0)
    if offset is None:
        return Record(key, None)
    version = OFFSET_VERSION if offset.expire_ms == -1 else OFFSET_VERSION_WITH_EXPIRY
    value = OffsetCommitValue(
        offset=offset.offset,
        leader_epoch=offset.leader_epoch,
        metadata=offset.metadata,
        commit_timestamp=offset.commit_ms,
        expire_timestamp=offset.expire_ms,
        topic_id=offset.topic_id,
    )
    return Record(key, _INT16.pack(version) + encode(value, version))


def group_record(group_id: str, value: GroupMetadataValue | None) -> Record:
    """The record of a classic group; a tombstone for None."""
    key = _INT16.pack(_GROUP_TYPE) + encode(GroupMetadataKey(group=group_id), 0)
    return Record(key, None if value is None else _INT16.pack(GROUP_VERSION) + encode(value, GROUP_VERSION))


def modern_record(key: Message, value: Message | None) -> Record:
    """A record of a newer kind of group; a tombstone for None."""
    return Record(
        _INT16.pack(type(key).KEY) + encode(key, 0), None if value is None else _INT16.pack(0) + encode(value, 0)
    )


def read_record(key: bytes, value: bytes | None) -> Entry | None:
    """The meaning of a record; None for a type that Kafka 4.4 does not know. ProtocolViolation if it cannot be read."""
    try:
        return _read(key, value)
    except (struct.error, UnicodeDecodeError) as error:
        raise ProtocolViolation(f"not a record of {OFFSETS_TOPIC}: {error}") from error


def _read(key: bytes, value: bytes | None) -> Entry | None:
    (record_type,) = _INT16.unpack_from(key)
    if record_type in _OFFSET_TYPES:
        offset_key = decode(OffsetCommitKey, 0, memoryview(key)[2:])
        read = None if value is None else decode(OffsetCommitValue, *_versioned(value))
        return OffsetEntry(offset_key.group, offset_key.topic, offset_key.partition, read)
    if record_type == _GROUP_TYPE:
        group_key = decode(GroupMetadataKey, 0, memoryview(key)[2:])
        return GroupEntry(group_key.group, None if value is None else decode(GroupMetadataValue, *_versioned(value)))
    if record_type in _MODERN:
        return _read_modern(record_type, key, value)
    return None


def _read_modern(record_type: int, key: bytes, value: bytes | None) -> ModernEntry:
    kind, name = _MODERN[record_type]
    read_key: Any = decode(getattr(messages, f"{name}Key"), 0, memoryview(key)[2:])
    read_value = None if value is None else decode(getattr(messages, f"{name}Value"), *_versioned(value))
    return ModernEntry(read_key.group_id, kind, read_key, read_value)


def _versioned(value: bytes) -> tuple[int, memoryview]:
    return _INT16.unpack_from(value)[0], memoryview(value)[2:]
