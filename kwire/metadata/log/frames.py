"""The format of one metadata record in the log: a frame around its message.

    frame version   unsigned varint   1
    record type     unsigned varint   the message's key
    version         unsigned varint   of the message
    body                              the message, flexible

Responsible for: the frame. A record of an unknown type or version becomes a PreservedRecord and is written back
unchanged. Must not depend on: batches, offsets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from kwire.errors import ProtocolViolation
from kwire.metadata.entities import PreservedRecord
from kwire.metadata.features import record_version
from kwire.wire import codec
from kwire.wire.varint import encode_unsigned_varint, read_unsigned_varint

if TYPE_CHECKING:
    from kwire.metadata.image import Record

FRAME_VERSION = 1
# The bytes of a frame before the body, where each number has one byte.
_SHORT: Final = 3
_ONE_BYTE: Final = 0x80  # numbers below have one


def encode_record(record: Record, metadata_version: int) -> bytes:
    """Write one record under a level of metadata.version."""
    if isinstance(record, PreservedRecord):
        return _header(record.record_type, record.version) + record.body
    version = record_version(record, metadata_version)
    return _header(record.KEY, version) + codec.encode(record, version)


def decode_record(value: bytes | memoryview) -> Record:
    """Read one record. Raises ProtocolViolation for a frame of another version or a body that does not fit."""
    if len(value) > _SHORT and value[0] == FRAME_VERSION and value[1] < _ONE_BYTE and value[2] < _ONE_BYTE:
        record_type, version, position = value[1], value[2], _SHORT  # the usual frame, read without calls
    else:
        frame_version, position = read_unsigned_varint(value, 0)
        if frame_version != FRAME_VERSION:
            raise ProtocolViolation(f"metadata frame version {frame_version} is not {FRAME_VERSION}")
        record_type, position = read_unsigned_varint(value, position)
        version, position = read_unsigned_varint(value, position)
    body = bytes(value[position:])
    cls = codec.metadata_class(record_type)
    if cls is None or version not in cls.VERSIONS:
        return PreservedRecord(record_type, version, body)
    return codec.decode(cls, version, body)


def _header(record_type: int, version: int) -> bytes:
    return encode_unsigned_varint(FRAME_VERSION) + encode_unsigned_varint(record_type) + encode_unsigned_varint(version)
