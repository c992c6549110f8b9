"""The wire format of schema registries: which schema a key or value was written with.

Responsible for: finding the id or GUID of the schema and the bytes that it describes; writing the id. Must not depend
on: schemas.

    content  0 | schema id (4 bytes, big-endian) | Protobuf: message indexes | payload
    header   1 | GUID (16 bytes) | Protobuf: message indexes           ``__key_schema_id``, ``__value_schema_id``

With the header the content is the payload alone.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple, TypeAlias

KEY_HEADER: Final = "__key_schema_id"
VALUE_HEADER: Final = "__value_schema_id"

# The id of a schema, or its GUID.
SchemaId: TypeAlias = int | str

_BY_ID: Final = 0
_BY_GUID: Final = 1
_ID_END: Final = 5
_GUID_END: Final = 17
_INDEXES_MAX: Final = 100
_HEADER_BYTES_MAX: Final = 1024


class Framed(NamedTuple):
    """A key or value with the schema it was written with.

    ``payload`` begins with the message indexes of Protobuf unless ``indexes`` has them.
    """

    schema: SchemaId
    payload: bytes
    indexes: bytes | None = None


class FramingError(ValueError):
    """The message indexes are cut off or cannot be. One sentence."""


def find_schema(content: bytes, header: bytes | None) -> Framed | None:
    """Find the schema that a key or value was written with; None for bytes that name none.

    ``header`` is the value of KEY_HEADER or VALUE_HEADER of the record. Registries number schemas from 1.
    """
    if header is not None:
        if len(header) >= _GUID_END and header[0] == _BY_GUID:
            return Framed(str(uuid.UUID(bytes=header[1:_GUID_END])), content, header[_GUID_END:])
        if len(header) >= _ID_END and header[0] == _BY_ID:
            return Framed(int.from_bytes(header[1:_ID_END], "big"), content, header[_ID_END:])
    if len(content) >= _ID_END and content[0] == _BY_ID:
        schema = int.from_bytes(content[1:_ID_END], "big")
        return Framed(schema, content[_ID_END:]) if schema else None
    return None


def schema_header(headers: Iterable[tuple[str, bytes | None]], name: str) -> bytes | None:
    """Give the value of the first header called ``name``, without what follows the longest message indexes."""
    value = next((value for key, value in headers if key == name), None)
    return None if value is None else value[:_HEADER_BYTES_MAX]


def read_message_indexes(content: bytes) -> tuple[list[int], bytes]:
    """Read which message of a .proto file was written: a path of indexes, and the rest. Raises FramingError.

    The indexes are zigzag varints after their count. A count of 0 stands for the first message.
    """
    count, position = _varint(content, 0)
    if not 0 <= count <= _INDEXES_MAX:
        raise FramingError(f"a message cannot have {count} indexes")
    indexes = []
    for _ in range(count):
        index, position = _varint(content, position)
        indexes.append(index)
    return indexes or [0], content[position:]


def frame(schema_id: int, content: bytes) -> bytes:
    """Put the id of its schema before a payload; for Protobuf the message indexes come before the payload."""
    return bytes([_BY_ID]) + schema_id.to_bytes(_ID_END - 1, "big") + content


def write_message_indexes(path: Sequence[int]) -> bytes:
    """Write which message of a .proto file follows, as ``read_message_indexes`` reads it."""
    if path == [0]:
        return b"\0"
    content = bytearray()
    for number in (len(path), *path):
        rest = number << 1  # zigzag; indexes are not negative
        while rest >= 0x80:
            content.append(0x80 | (rest & 0x7F))
            rest >>= 7
        content.append(rest)
    return bytes(content)


def _varint(content: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while position < len(content) and shift < 35:
        byte = content[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return (value >> 1) ^ -(value & 1), position
        shift += 7
    raise FramingError("the message indexes are cut off")
