"""Make a construct schema for a message and a version: the layout of its bytes, readable and runnable.

Responsible for: the Construct subclasses below, and which of them a field has at a version (present, nullable, compact,
tagged). Must not depend on: speed. ``compiler`` matches over these nodes to write the code that serves requests;
``parse`` and ``build`` interpret them, for ``kwire codec`` and as a second implementation in tests.

Stock construct nodes hide lambdas and cannot be matched; these are plain values with their Field attached. They also
read as Kafka does: a count never exceeds the bytes left, a length is never negative except -1 where null is allowed.
"""

# ruff: noqa: SLF001 - _parse and _build are how construct's nodes call one another

from __future__ import annotations

import io
import json
import struct
from collections.abc import Iterator
from typing import Any, NamedTuple

from construct import Construct, ConstructError, SizeofError, stream_read, stream_write

from kwire.errors import ProtocolViolation
from kwire.wire.message import EncodingError, Message
from kwire.wire.spec import Field, walk

STRING_BYTES_MAX = 0x7FFF  # Kafka refuses longer strings in either encoding
VARINT_MAX = 0x7FFFFFFF


def parse(message: type[Message], version: int, buffer: bytes) -> Message:
    """Interpret the schema over the whole of ``buffer``. Raises ProtocolViolation."""
    stream = io.BytesIO(buffer)
    try:
        value: Message = schema(message, version).parse_stream(stream)
    except ConstructError as error:
        raise ProtocolViolation(f"{message.NAME} v{version}: {_one_line(error)}") from error
    if stream.tell() != len(buffer):
        raise ProtocolViolation(f"{message.NAME} v{version}: {len(buffer) - stream.tell()} bytes too many")
    return value


def build(value: Message, version: int) -> bytes:
    """Interpret the schema to make bytes. Raises EncodingError."""
    try:
        built: bytes = schema(type(value), version).build(value)
    except ConstructError as error:
        raise EncodingError(f"{value.NAME} v{version}: {_one_line(error)}") from error
    return built


def _one_line(error: ConstructError) -> str:
    return " ".join(str(error).split())


def schema(message: type[Message], version: int) -> Structure:
    """Make the schema of a message at a version. The version must be one of the message's."""
    assert version in message.VERSIONS, (message.NAME, version)
    flexible = message.FLEXIBLE_FROM is not None and version >= message.FLEXIBLE_FROM
    classes = {
        field.struct.name: getattr(message, field.struct.name) for _, field in walk(message.FIELDS) if field.struct
    }
    return _Version(version, flexible, classes).structure(message, message.FIELDS)


def show(structure: Structure) -> str:
    """Write a schema to be read: a line for each field, in the order of the bytes, tagged ones last."""
    rows = list(_rows(structure, ""))
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(2)]
    return "".join(f"{name:{widths[0]}}  {type_:{widths[1]}}  {note}".rstrip() + "\n" for name, type_, note in rows)


def _rows(structure: Structure, indent: str) -> Iterator[tuple[str, str, str]]:
    members = [("", member) for member in structure.members]
    if structure.tagged is not None:
        members += [(f"tag {tag}", member) for tag, member in sorted(structure.tagged.members.items())]
    for tag, (field, node) in members:
        default = f"default {json.dumps(field.default)}" if field.has_default else ""
        yield indent + field.name, str(node), ", ".join(filter(None, (tag, default)))
        inner = node.item if isinstance(node, Array) else node
        inner = inner.structure if isinstance(inner, NullableStructure) else inner
        if isinstance(inner, Structure):
            yield from _rows(inner, indent + "  ")
    if structure.tagged is not None:
        yield indent + "(tagged fields)", str(structure.tagged), ""


# The nodes. Each has ``size_min``: no value takes fewer bytes.


class Malformed(ConstructError):  # type: ignore[misc]
    """The bytes, or the value to be built, are not of this schema."""


class Node(Construct):  # type: ignore[misc]
    """Base of our nodes."""

    size_min: int

    def __str__(self) -> str:
        """Name the type as ``show`` prints it."""
        raise NotImplementedError

    def _sizeof(self, _context: Any, path: str) -> int:
        raise SizeofError("depends on the value", path=path)


class Fixed(Node):
    """A number, a boolean or a uuid: always the same number of bytes. ``format`` is the struct module's character."""

    def __init__(self, name: str, format_: str) -> None:
        super().__init__()
        self.type_name = name
        self.format = format_
        self.packer = struct.Struct(">" + format_)
        self.size_min = self.packer.size

    def __str__(self) -> str:
        return self.type_name

    def _parse(self, stream: Any, _context: Any, path: str) -> Any:
        return self.packer.unpack(stream_read(stream, self.size_min, path))[0]

    def _build(self, value: Any, stream: Any, _context: Any, path: str) -> Any:
        if self.type_name == "uuid" and len(value) != self.size_min:
            raise Malformed(f"a uuid has 16 bytes, not {len(value)}", path=path)
        try:
            packed = self.packer.pack(value)
        except struct.error as error:
            raise Malformed(f"{value!r}: {error}", path=path) from error
        stream_write(stream, packed, self.size_min, path)
        return value

    def _sizeof(self, _context: Any, _path: str) -> int:
        return self.size_min


class UnsignedVarint(Node):
    """Seven bits a byte, the lowest first; at most 31 bits."""

    size_min = 1

    def __str__(self) -> str:
        return "unsigned varint"

    def _parse(self, stream: Any, _context: Any, path: str) -> int:
        value = 0
        for shift in range(0, 35, 7):
            byte: int = stream_read(stream, 1, path)[0]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                break
        else:
            raise Malformed("varint of more than five bytes", path=path)
        if value > VARINT_MAX:
            raise Malformed(f"varint {value} is over 31 bits", path=path)
        return value

    def _build(self, value: int, stream: Any, _context: Any, path: str) -> int:
        rest = value
        encoded = bytearray()
        while rest > 0x7F:
            encoded.append(rest & 0x7F | 0x80)
            rest >>= 7
        encoded.append(rest)
        stream_write(stream, bytes(encoded), len(encoded), path)
        return value


class CompactLength(UnsignedVarint):
    """A length or count plus one; zero is null and reads as -1."""

    def _parse(self, stream: Any, context: Any, path: str) -> int:
        return super()._parse(stream, context, path) - 1

    def _build(self, value: int, stream: Any, context: Any, path: str) -> int:
        return super()._build(value + 1, stream, context, path)


INT8 = Fixed("int8", "b")
INT16 = Fixed("int16", "h")
INT32 = Fixed("int32", "i")
UNSIGNED_VARINT = UnsignedVarint()
COMPACT_LENGTH = CompactLength()
FIXED = {
    "bool": Fixed("bool", "?"),
    "int8": INT8,
    "int16": INT16,
    "uint16": Fixed("uint16", "H"),
    "int32": INT32,
    "uint32": Fixed("uint32", "I"),
    "int64": Fixed("int64", "q"),
    "float64": Fixed("float64", "d"),
    "uuid": Fixed("uuid", "16s"),
}


class Prefixed(Node):
    """Base of the nodes that begin with a length or count."""

    content: str

    def __init__(self, prefix: Fixed | CompactLength, *, nullable: bool) -> None:
        super().__init__()
        self.prefix = prefix
        self.nullable = nullable
        self.size_min = prefix.size_min

    def __str__(self) -> str:
        compact = "compact " if isinstance(self.prefix, CompactLength) else ""
        return f"{compact}{self.content}{' or null' if self.nullable else ''}"

    def _parse(self, stream: Any, context: Any, path: str) -> Any:
        count = self.prefix._parse(stream, context, path)
        if count == -1 and self.nullable:
            return None
        if count < 0:
            raise Malformed(f"length {count}" if count < -1 else "null is not allowed", path=path)
        return self._parse_content(count, stream, context, path)

    def _build(self, value: Any, stream: Any, context: Any, path: str) -> Any:
        if value is None:
            if not self.nullable:
                raise Malformed("null is not allowed", path=path)
            self.prefix._build(-1, stream, context, path)
        else:
            self._build_content(value, stream, context, path)
        return value

    def _parse_content(self, count: int, stream: Any, context: Any, path: str) -> Any:
        raise NotImplementedError

    def _build_content(self, value: Any, stream: Any, context: Any, path: str) -> None:
        raise NotImplementedError


class Bytes(Prefixed):
    """Bytes that are copied out of the buffer."""

    content = "bytes"

    def _parse_content(self, count: int, stream: Any, _context: Any, path: str) -> Any:
        return stream_read(stream, count, path)

    def _build_content(self, value: Any, stream: Any, context: Any, path: str) -> None:
        self.prefix._build(len(value), stream, context, path)
        stream_write(stream, value, len(value), path)


class Records(Bytes):
    """Record batches: views that are not read, possibly in several parts."""

    content = "records"

    def _build_content(self, value: Any, stream: Any, context: Any, path: str) -> None:
        parts = value if isinstance(value, (list, tuple)) else [value]
        super()._build_content(b"".join(parts), stream, context, path)


class String(Bytes):
    """UTF-8 text."""

    content = "string"

    def _parse_content(self, count: int, stream: Any, context: Any, path: str) -> str:
        if count > STRING_BYTES_MAX:
            raise Malformed(f"string of {count} bytes", path=path)
        try:
            return str(super()._parse_content(count, stream, context, path), "utf-8")
        except UnicodeDecodeError as error:
            raise Malformed(str(error), path=path) from error

    def _build_content(self, value: str, stream: Any, context: Any, path: str) -> None:
        encoded = value.encode()
        if len(encoded) > STRING_BYTES_MAX:
            raise Malformed(f"string of {len(encoded)} bytes", path=path)
        super()._build_content(encoded, stream, context, path)


class Array(Prefixed):
    """A count, then that many items."""

    def __init__(self, item: Node, prefix: Fixed | CompactLength, *, nullable: bool) -> None:
        super().__init__(prefix, nullable=nullable)
        self.item = item
        self.content = f"array of {item}"
        assert item.size_min > 0, "items of no bytes would let a count be anything"

    def _parse_content(self, count: int, stream: Any, context: Any, path: str) -> list[Any]:
        if count * self.item.size_min > _bytes_left(stream):
            raise Malformed(f"{count} items do not fit the bytes left", path=path)
        return [self.item._parse(stream, context, f"{path}[{index}]") for index in range(count)]

    def _build_content(self, value: list[Any], stream: Any, context: Any, path: str) -> None:
        self.prefix._build(len(value), stream, context, path)
        for index, item in enumerate(value):
            self.item._build(item, stream, context, f"{path}[{index}]")


class Member(NamedTuple):
    """One field of a structure and how it looks."""

    field: Field
    node: Node


class Structure(Node):
    """Fields in order, then, in flexible versions, the tagged ones."""

    def __init__(
        self, message: type[Message], members: list[Member], tagged: TaggedFields | None, absent: list[Field]
    ) -> None:
        super().__init__()
        self.message = message
        self.members = members
        self.tagged = tagged
        self.absent = absent  # fields that this version lacks
        self.size_min = sum(member.node.size_min for member in members) + (tagged is not None)

    def __str__(self) -> str:
        return self.message.NAME

    def _parse(self, stream: Any, context: Any, path: str) -> Message:
        values = {field.name: node._parse(stream, context, f"{path}.{field.name}") for field, node in self.members}
        if self.tagged is not None:
            values |= self.tagged._parse(stream, context, path)
        return self.message(**values)

    def _build(self, value: Message, stream: Any, context: Any, path: str) -> Message:
        for field in self.absent:
            if not field.ignorable and getattr(value, field.name) != self.message.default(field):
                raise Malformed("this version has no such field", path=f"{path}.{field.name}")
        for field, node in self.members:
            node._build(getattr(value, field.name), stream, context, f"{path}.{field.name}")
        if self.tagged is not None:
            self.tagged._build(value, stream, context, path)
        return value


class NullableStructure(Node):
    """A marker, then the structure unless the marker is null's.

    The marker is an int8 of -1 or 1 among a structure's fields, an unsigned varint of 0 or 1 in a tagged field.
    """

    def __init__(self, structure: Structure, marker: Fixed | UnsignedVarint) -> None:
        super().__init__()
        self.structure = structure
        self.marker = marker
        self.size_min = 1

    def __str__(self) -> str:
        return f"{self.structure} or null"

    def _parse(self, stream: Any, context: Any, path: str) -> Message | None:
        marker = self.marker._parse(stream, context, path)
        return self.structure._parse(stream, context, path) if self._is_present(marker) else None

    def _is_present(self, marker: int) -> bool:
        return bool(marker >= 0 if self.marker is INT8 else marker > 0)

    def _build(self, value: Message | None, stream: Any, context: Any, path: str) -> Message | None:
        if value is None:
            self.marker._build(-1 if self.marker is INT8 else 0, stream, context, path)
        else:
            self.marker._build(1, stream, context, path)
            self.structure._build(value, stream, context, path)
        return value


class TaggedFields(Node):
    """A count, then tag, size and content of each field that is not at its default. Unknown tags are skipped."""

    size_min = 1

    def __init__(self, message: type[Message], members: dict[int, Member]) -> None:
        super().__init__()
        self.message = message
        self.members = members

    def __str__(self) -> str:
        return f"{len(self.members)} known" if self.members else "none known"

    def _parse(self, stream: Any, context: Any, path: str) -> dict[str, Any]:
        values = {}
        for _ in range(UNSIGNED_VARINT._parse(stream, context, path)):
            tag = UNSIGNED_VARINT._parse(stream, context, path)
            size = UNSIGNED_VARINT._parse(stream, context, path)
            if size > _bytes_left(stream):
                raise Malformed(f"tag {tag} of {size} bytes", path=path)
            if tag not in self.members:
                stream_read(stream, size, path)
                continue
            end = stream.tell() + size
            field, node = self.members[tag]
            values[field.name] = node._parse(stream, context, f"{path}.{field.name}")
            if stream.tell() != end:
                raise Malformed(f"tag {tag} says {size} bytes and has others", path=path)
        return values

    def _build(self, value: Message, stream: Any, context: Any, path: str) -> Message:
        given = [
            (tag, field, node)
            for tag, (field, node) in sorted(self.members.items())
            if getattr(value, field.name) != self.message.default(field)
        ]
        UNSIGNED_VARINT._build(len(given), stream, context, path)
        for tag, field, node in given:
            content = io.BytesIO()
            node._build(getattr(value, field.name), content, context, f"{path}.{field.name}")
            UNSIGNED_VARINT._build(tag, stream, context, path)
            UNSIGNED_VARINT._build(len(content.getvalue()), stream, context, path)
            stream_write(stream, content.getvalue(), len(content.getvalue()), path)
        return value


def _bytes_left(stream: Any) -> int:
    return len(stream.getbuffer()) - int(stream.tell())


# From fields to nodes


class _Version(NamedTuple):
    """All that a version decides."""

    version: int
    flexible: bool
    classes: dict[str, type[Message]]

    def structure(self, message: type[Message], fields: tuple[Field, ...]) -> Structure:
        members: list[Member] = []
        tagged: dict[int, Member] = {}
        for field in fields:
            if self.version not in field.versions:
                continue
            if field.tag is not None and self.version in field.tagged:
                tagged[field.tag] = Member(field, self.node(field))
            else:
                members.append(Member(field, self.node(field)))
        return Structure(
            message,
            members,
            TaggedFields(message, tagged) if self.flexible else None,
            # Fields of a struct of the same name elsewhere in the message count as absent too.
            [
                field
                for field in message.FIELDS
                if not any(field.name == f.name and self.version in f.versions for f in fields)
            ],
        )

    def node(self, field: Field) -> Node:
        compact = self.flexible if field.flexible is None else self.version in field.flexible
        nullable = self.version in field.nullable
        if field.type == "array":
            item = self._plain(field, field.item, compact=compact, nullable=False)
            return Array(item, COMPACT_LENGTH if compact else INT32, nullable=nullable)
        return self._plain(field, field.type, compact=compact, nullable=nullable)

    def _plain(self, field: Field, kind: str, *, compact: bool, nullable: bool) -> Node:
        if kind == "struct":
            assert field.struct is not None
            structure = self.structure(self.classes[field.struct.name], field.struct.fields)
            if not nullable:
                return structure
            return NullableStructure(structure, UNSIGNED_VARINT if self.version in field.tagged else INT8)
        if kind == "string":
            return String(COMPACT_LENGTH if compact else INT16, nullable=nullable)
        if kind == "bytes":
            return Bytes(COMPACT_LENGTH if compact else INT32, nullable=nullable)
        if kind == "records":
            return Records(COMPACT_LENGTH if compact else INT32, nullable=nullable)
        return FIXED[kind]
