"""The embedded consumer protocol: metadata in JoinGroup and assignments in SyncGroup of classic consumers.

Responsible for: reading subscriptions and assignments, writing assignments. Must not depend on: groups.

Each is an int16 version and the message at that version; a newer version than those known is read as the newest one.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from typing import TypeVar

from kwire.errors import ProtocolViolation
from kwire.wire import messages
from kwire.wire.codec import decode, encode
from kwire.wire.message import Message

_INT16 = struct.Struct(">h")


M = TypeVar("M", bound=Message)


class MalformedProtocol(Exception):
    """The bytes are not the consumer protocol: the group uses another one under the same type."""


def read_subscription(metadata: bytes) -> messages.ConsumerProtocolSubscription:
    """Raises MalformedProtocol."""
    return _read(messages.ConsumerProtocolSubscription, metadata)


def read_assignment(assignment: bytes) -> tuple[dict[str, frozenset[int]], bool]:
    """The partitions by topic, and whether an assignor added data of its own; empty for no bytes.

    Raises MalformedProtocol.
    """
    if not assignment:
        return {}, False
    read = _read(messages.ConsumerProtocolAssignment, assignment)
    return {each.topic: frozenset(each.partitions) for each in read.assigned_partitions}, bool(read.user_data)


def write_assignment(partitions: Mapping[str, Iterable[int]], version: int) -> bytes:
    """Write at the version of the member's subscription, or the newest one known."""
    written = min(max(version, 0), messages.ConsumerProtocolAssignment.VERSIONS.highest)
    message = messages.ConsumerProtocolAssignment(
        assigned_partitions=[
            messages.ConsumerProtocolAssignment.TopicPartition(topic=topic, partitions=sorted(held))
            for topic, held in partitions.items()
        ]
    )
    return _INT16.pack(written) + encode(message, written)


def version_of(metadata: bytes) -> int:
    """Raises MalformedProtocol."""
    if len(metadata) < _INT16.size:
        raise MalformedProtocol("no version")
    version: int = _INT16.unpack_from(metadata)[0]
    return version


def _read(message: type[M], data: bytes) -> M:
    version = version_of(data)
    if version < 0:
        raise MalformedProtocol(f"version {version}")
    try:
        return decode(message, min(version, message.VERSIONS.highest), memoryview(data)[_INT16.size :])
    except ProtocolViolation as error:
        raise MalformedProtocol(str(error)) from error
