"""Decoders: the flat functions that turn bytes into messages.

Responsible for: writing their source, and the functions that the source calls where it is not inlined. Must not depend
on: the cache of functions. ``compiler`` explains what makes them fast and safe.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from kwire.errors import ProtocolViolation
from kwire.wire.compilation.schema import (
    INT8,
    STRING_BYTES_MAX,
    VARINT_MAX,
    Array,
    CompactLength,
    Fixed,
    Node,
    NullableStructure,
    Prefixed,
    Records,
    String,
    Structure,
    TaggedFields,
)
from kwire.wire.compilation.source import SourceWriter
from kwire.wire.message import Message, default_source
from kwire.wire.spec import Field


class DecoderWriter(SourceWriter):
    """Writes ``decode(b, p, exact)``: b is the buffer, p the position, end its end.

    Numbers are collected in ``run`` up to the next value of unknown size, and are then read together.
    """

    def __init__(self, message: type[Message], version: int) -> None:
        super().__init__(message, version, "decode")
        self.run: list[tuple[str, str]] = []  # struct format, where the value goes

    def write(self) -> None:
        with self.block(f"def {self.function}(b, p, exact):"):
            # Where no view is kept: a slice of bytes costs half of a slice of a view.
            self.line("b = memoryview(b)" if _holds_records(self.schema) else "b = bytes(b)")
            self.line("end = len(b)")
            with self.block("try:"):
                result = self.structure(self.schema)
            with self.block("except ProtocolViolation as error:"):
                self.line(f'raise ProtocolViolation(f"{self.message.NAME} v{self.version}: {{error}}") from None')
            with self.block("except UnicodeDecodeError as error:"):
                self.line(f'raise ProtocolViolation(f"{self.message.NAME} v{self.version}: {{error}}") from error')
            with self.block("except (StructError, IndexError) as error:"):
                text = f"{self.message.NAME} v{self.version}: a field at {{p}} goes beyond the end at {{end}}"
                self.line(f'raise ProtocolViolation(f"{text}") from error')
            with self.block("if exact and p != end:"):
                self.line(
                    f'raise ProtocolViolation(f"{self.message.NAME} v{self.version}: {{end - p}} bytes too many")'
                )
            self.line(f"return {result}")

    def flush(self) -> None:
        """Read the collected numbers."""
        if not self.run:
            return
        format_ = "".join(character for character, _ in self.run)
        targets = ", ".join(target for _, target in self.run)
        size = struct.calcsize(">" + format_)
        self.run.clear()
        if format_ == "B":
            self.line(f"{targets} = b[p]")
        else:
            comma = "," if targets.count(",") == 0 else ""
            self.line(f"{targets}{comma} = {self.use_struct('unpack_from', format_)}(b, p)")
        self.line(f"p += {size}")

    def structure(self, node: Structure) -> str:
        """Write the reading of a structure; return the variable that holds it."""
        name = self.use_class(node.message)
        variable = self.fresh(_snake_initial(name))
        self.line(f"{variable} = new({name})")
        present = {member.field.name for member in node.members}
        for field in node.message.FIELDS:
            if field.name not in present:
                self.line(f"{variable}.{field.name} = {self.default(field)}")
        for field, child in node.members:
            self.value(child, f"{variable}.{field.name}", field.name)
        if node.tagged is not None:
            self.tagged_fields(node.tagged, variable)
        self.flush()
        return variable

    def default(self, field: Field) -> str:
        text = default_source(field)
        if text != "NEW":
            return text
        if field.struct is None or field.type == "array":
            return "[]"
        return self.use_class(getattr(self.message, field.struct.name)) + "()"

    def value(self, node: Node, target: str, name: str) -> None:
        """Write the reading of one value into ``target``."""
        match node:
            case Fixed():
                self.run.append((node.format, target))
            case Array():
                self.array(node, target, name)
            case Prefixed():
                self.prefixed(node, target, name)
            case Structure():
                self.flush()
                self.line(f"{target} = {self.structure(node)}")
            case NullableStructure():
                self.nullable_structure(node, target)
            case _:
                raise AssertionError(node)

    def length(self, node: Prefixed) -> str:
        """Write the reading of a length or count; return its variable. Compact ones are still plus one."""
        variable = self.fresh("n")
        if isinstance(node.prefix, CompactLength):
            self.run.append(("B", variable))
            self.flush()
            with self.block(f"if {variable} > 127:"):
                self.line(f"{variable}, p = {self.use(read_varint)}(b, p, {variable})")
        else:
            self.run.append((node.prefix.format, variable))
            self.flush()
        return variable

    @contextmanager
    def unless_null(self, node: Prefixed, target: str, name: str, length: str) -> Iterator[int]:
        """Open the branch with a value; yields the number to subtract from the length."""
        compact = isinstance(node.prefix, CompactLength)
        null = "0" if compact else "-1"
        if node.nullable:
            with self.block(f"if {length} == {null}:"):
                self.line(f"{target} = None")
            with self.block("else:"):
                if not compact:
                    with self.block(f"if {length} < 0:"):
                        self.line(f"{self.use(bad_length)}({name!r}, {length})")
                yield int(compact)
            return
        with self.block(f"if {length} <= 0:" if compact else f"if {length} < 0:"):
            self.line(f"{self.use(bad_length)}({name!r}, {length}{' - 1' if compact else ''})")
        yield int(compact)

    def prefixed(self, node: Prefixed, target: str, name: str) -> None:
        length = self.length(node)
        with self.unless_null(node, target, name, length) as excess:
            self.line(f"q = p + {length}{f' - {excess}' if excess else ''}")
            check = "q > end"
            if isinstance(node, String) and excess:
                check += f" or {length} > {STRING_BYTES_MAX + excess}"
            with self.block(f"if {check}:"):
                self.line(f"{self.use(too_long)}({name!r}, q - p)")
            match node:
                case String():
                    self.line(f"{target} = str(b[p:q], 'utf-8')")
                case Records():
                    self.line(f"{target} = b[p:q]")
                case _:
                    self.line(f"{target} = bytes(b[p:q])")
            self.line("p = q")

    def array(self, node: Array, target: str, name: str) -> None:
        length = self.length(node)
        with self.unless_null(node, target, name, length) as excess:
            if excess:
                self.line(f"{length} -= 1")
            check = f"{length} * {node.item.size_min}" if node.item.size_min > 1 else length
            with self.block(f"if {check} > end - p:"):
                self.line(f"{self.use(too_long)}({name!r}, {length})")
            if isinstance(node.item, Fixed) and node.item.type_name != "uuid":
                self.names["unpack_from"] = struct.unpack_from
                self.line(f"{target} = list(unpack_from(f'>{{{length}}}{node.item.format}', b, p)) if {length} else []")
                self.line(f"p += {check}")
                return
            items = self.fresh("items")
            self.line(f"{target} = {items} = []")
            with self.block(f"for _ in range({length}):"):
                if isinstance(node.item, Structure):
                    self.line(f"{items}.append({self.structure(node.item)})")
                else:
                    self.value(node.item, "item", name)
                    self.flush()
                    self.line(f"{items}.append(item)")

    def nullable_structure(self, node: NullableStructure, target: str) -> None:
        marker = self.fresh("n")
        self.run.append(("b" if node.marker is INT8 else "B", marker))
        self.flush()
        if node.marker is not INT8:
            with self.block(f"if {marker} > 127:"):
                self.line(f"{marker}, p = {self.use(read_varint)}(b, p, {marker})")
        with self.block(f"if {marker} < {0 if node.marker is INT8 else 1}:"):
            self.line(f"{target} = None")
        with self.block("else:"):
            self.line(f"{target} = {self.structure(node.structure)}")

    def tagged_fields(self, node: TaggedFields, variable: str) -> None:
        count = self.fresh("tags")
        self.run.append(("B", count))
        self.flush()
        if not node.members:
            with self.block(f"if {count}:"):
                self.line(f"p = {self.use(skip_tags)}(b, p, {count})")
            return
        tag, size, limit = self.fresh("tag"), self.fresh("size"), self.fresh("limit")
        with self.block(f"if {count}:"):
            with self.block(f"if {count} > 127:"):
                self.line(f"{count}, p = {self.use(read_varint)}(b, p, {count})")
            with self.block(f"for _ in range({count}):"):
                self.line(f"{tag}, {size}, p = {self.use(read_tag)}(b, p)")
                self.line(f"{limit} = p + {size}")
                with self.block(f"if {limit} > end:"):
                    self.line(f"{self.use(too_long)}('tagged field', {size})")
                word = "if"
                for number, (field, child) in node.members.items():
                    with self.block(f"{word} {tag} == {number}:"):
                        self.value(child, f"{variable}.{field.name}", field.name)
                        self.flush()
                    word = "elif"
                with self.block("else:"):
                    self.line(f"p = {limit}")
                with self.block(f"if p != {limit}:"):
                    self.line(f"{self.use(bad_length)}('tagged field', {size})")


def _holds_records(node: Node) -> bool:
    match node:
        case Records():
            return True
        case Array():
            return _holds_records(node.item)
        case Structure():
            return any(_holds_records(member.node) for member in node.members)
        case _:
            return False


def _snake_initial(name: str) -> str:
    """Make a variable name of a class name: its capitals in lower case."""
    return "".join(letter for letter in name if letter.isupper()).lower() + "_"


# What generated code calls


def read_varint(buffer: bytes | memoryview, position: int, byte: int) -> tuple[int, int]:
    """Read the rest of an unsigned varint whose first byte, over 127, was read. Return value and position behind it."""
    value = byte & 0x7F
    for shift in (7, 14, 21, 28):
        byte = buffer[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if value > VARINT_MAX:
                raise ProtocolViolation(f"varint {value} is over 31 bits")
            return value, position
    raise ProtocolViolation("varint of more than five bytes")


def skip_tags(buffer: bytes | memoryview, position: int, count: int) -> int:
    """Skip unknown tagged fields. ``count`` is the first byte of their number, not zero."""
    if count > 127:
        count, position = read_varint(buffer, position, count)
    for _ in range(count):
        _, size, position = read_tag(buffer, position)
        position += size
        if position > len(buffer):
            raise ProtocolViolation(f"tagged field of {size} bytes")
    return position


def read_tag(buffer: bytes | memoryview, position: int) -> tuple[int, int, int]:
    """Read tag and size; return them and the position of the content."""
    tag = buffer[position]
    position += 1
    if tag > 127:
        tag, position = read_varint(buffer, position, tag)
    size = buffer[position]
    position += 1
    if size > 127:
        size, position = read_varint(buffer, position, size)
    return tag, size, position


def bad_length(name: str, length: int) -> NoReturn:
    raise ProtocolViolation(f"{name}: null is not allowed" if length == -1 else f"{name}: length {length}")


def too_long(name: str, length: int) -> NoReturn:
    raise ProtocolViolation(f"{name}: {length} do not fit the bytes left, or what Kafka allows")
