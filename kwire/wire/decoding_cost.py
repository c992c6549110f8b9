"""Estimates whether decoding a request takes long, without decoding it.

Responsible for: the bound above which a request is decoded in a thread. Must not depend on: connections, threads.

Decoding takes time for each item of a request, not for each byte of a record batch, whose records are only borrowed. A
large Produce request is therefore decoded in a thread only if it has many partitions.
"""

from __future__ import annotations

from struct import Struct
from struct import error as StructError  # noqa: N812 (a class)
from typing import Final

from kwire.errors import ProtocolViolation
from kwire.limits import DECODE_INLINE_PARTITIONS_MAX
from kwire.wire.codec import RequestHeader
from kwire.wire.compilation.decoding import read_varint, skip_tags

_PRODUCE_KEY: Final = 0
_COMPACT_SINCE: Final = 9
_TOPIC_IDS_SINCE: Final = 13  # KIP-516
_TOPIC_ID_BYTES: Final = 16
_ACKS_AND_TIMEOUT_BYTES: Final = 6
_INDEX_BYTES: Final = 4
_INT16: Final = Struct(">h")
_INT32: Final = Struct(">i")


def decodes_slowly(header: RequestHeader, frame: memoryview) -> bool:
    """Tell whether decoding a request of more than ``DECODE_INLINE_BYTES_MAX`` takes more than a few milliseconds."""
    return header.api_key != _PRODUCE_KEY or _has_many_partitions(header, frame)


def _has_many_partitions(header: RequestHeader, frame: memoryview) -> bool:
    """Tell whether a Produce request has more than ``DECODE_INLINE_PARTITIONS_MAX`` topics or partitions."""
    walk = _Walk(frame, header.body_position, is_compact=header.api_version >= _COMPACT_SINCE)
    has_ids = header.api_version >= _TOPIC_IDS_SINCE
    try:
        walk.pass_string()  # transactional id
        walk.position += _ACKS_AND_TIMEOUT_BYTES
        topics = walk.count()
        if topics > DECODE_INLINE_PARTITIONS_MAX:
            return True
        partitions = 0
        for topic in range(topics):
            if has_ids:
                walk.position += _TOPIC_ID_BYTES
            else:
                walk.pass_string()
            of_topic = walk.count()
            partitions += of_topic
            if partitions > DECODE_INLINE_PARTITIONS_MAX:
                return True
            if topic == topics - 1:
                return False
            for _ in range(of_topic):
                walk.position += _INDEX_BYTES
                walk.pass_records()
                walk.pass_tags()
            walk.pass_tags()
    except (IndexError, StructError, ProtocolViolation):
        pass  # the decoder will refuse it
    return False


class _Walk:
    """A position in a frame, moved behind one field after the other."""

    __slots__ = ("_frame", "_is_compact", "position")

    def __init__(self, frame: memoryview, position: int, *, is_compact: bool) -> None:
        self._frame = frame
        self._is_compact = is_compact
        self.position = position

    def pass_string(self) -> None:
        self._pass(self._length(_INT16))

    def pass_records(self) -> None:
        self._pass(self._length(_INT32))

    def count(self) -> int:
        """Read the number of items of an array; 0 for null."""
        return max(0, self._length(_INT32))

    def pass_tags(self) -> None:
        if self._is_compact:
            count = self._frame[self.position]
            self.position += 1
            if count:
                self.position = skip_tags(self._frame, self.position, count)

    def _pass(self, length: int) -> None:
        self.position += max(0, length)

    def _length(self, plain: Struct) -> int:
        if not self._is_compact:
            (length,) = plain.unpack_from(self._frame, self.position)
            self.position += plain.size
            return int(length)
        first = self._frame[self.position]
        self.position += 1
        if first > 127:
            first, self.position = read_varint(self._frame, self.position, first)
        return first - 1
