"""Encoders: the flat functions that turn messages into bytes.

Responsible for: writing their source, and the functions that the source calls where it is not inlined. Must not depend
on: the cache of functions. ``compiler`` explains what makes them fast.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import NoReturn

from kwire.wire.compilation.schema import (
    INT8,
    STRING_BYTES_MAX,
    Array,
    Bytes,
    CompactLength,
    Fixed,
    Member,
    Node,
    NullableStructure,
    Prefixed,
    Records,
    String,
    Structure,
    TaggedFields,
)
from kwire.wire.compilation.source import SourceWriter
from kwire.wire.message import EncodingError, Message, default_source
from kwire.wire.spec import Field


class EncoderWriter(SourceWriter):
    """Writes ``encode(m, o, parts)``: m is the message, o the bytearray that grows.

    Numbers are collected in ``run`` up to the next value of unknown size, and are then packed together.
    """

    # Exceptions of Python where a field has a value of a wrong type.
    NOT_A_VALUE = ("StructError", "AttributeError", "TypeError", "OverflowError", "UnicodeEncodeError")

    def __init__(self, message: type[Message], version: int) -> None:
        super().__init__(message, version, "encode")
        self.run: list[tuple[str, str]] = []  # struct format, expression; "x" packs a zero byte and takes no value
        self.out = "o"

    def write(self) -> None:
        with self.block(f"def {self.function}(m, o, parts):"):
            with self.block("try:"):
                self.structure(self.schema, "m")
                self.flush()
                self.line("return o")
            with self.block("except EncodingError as error:"):
                self.line(f'raise EncodingError(f"{self.message.NAME} v{self.version}: {{error}}") from None')
            with self.block(f"except ({', '.join(self.NOT_A_VALUE)}) as error:"):
                self.line(f'raise EncodingError(f"{self.message.NAME} v{self.version}: {{error}}") from error')

    def packed(self) -> str:
        """Return the collected numbers as an expression of bytes."""
        format_ = "".join(character for character, _ in self.run)
        values = ", ".join(expression for _, expression in self.run if expression)
        self.run.clear()
        if not values:
            return repr(bytes(len(format_)))
        return f"{self.use_struct('pack', format_)}({values})"

    def flush(self) -> None:
        if self.run:
            self.line(f"{self.out} += {self.packed()}")

    def structure(self, node: Structure, variable: str) -> None:
        for field in node.absent:
            if not field.ignorable:
                value = f"{variable}.{field.name}"
                with self.block(f"if not ({self.is_default(field, value)}):"):
                    self.line(f"{self.use(no_place)}({field.name!r}, {value})")
        for field, child in node.members:
            self.value(child, f"{variable}.{field.name}", field.name)
        if node.tagged is not None:
            self.tagged_fields(node.tagged, variable)

    def is_default(self, field: Field, value: str) -> str:
        """Write the condition that a field is at its default."""
        default = default_source(field)
        if default == "None":
            return f"{value} is None"
        if default != "NEW":
            return f"{value} == {default}"
        if field.type == "array":
            return f"{value} is not None and not {value}"
        assert field.struct is not None
        fields = getattr(self.message, field.struct.name).FIELDS
        inner = " and ".join(f"({self.is_default(child, f'{value}.{child.name}')})" for child in fields)
        return f"{value} is not None and {inner}"

    def value(self, node: Node, value: str, name: str) -> None:
        match node:
            case Fixed():
                if node.type_name == "uuid":
                    with self.block(f"if len({value}) != 16:"):
                        self.line(f"{self.use(bad_value)}({name!r}, {value})")
                self.run.append((node.format, value))
            case Array():
                self.array(node, value, name)
            case Prefixed():
                self.prefixed(node, value, name)
            case Structure():
                variable = self.fresh("s")
                self.line(f"{variable} = {value}")
                self.structure(node, variable)
            case NullableStructure():
                self.nullable_structure(node, value)
            case _:
                raise AssertionError(node)

    def prefix(self, node: Prefixed, length: str) -> None:
        """Write a length or count, together with the collected numbers."""
        if not isinstance(node.prefix, CompactLength):
            self.run.append((node.prefix.format, length))
            self.flush()
            return
        waiting = list(self.run)
        with self.block(f"if {length} < 127:"):
            if waiting:
                self.run.append(("B", f"{length} + 1"))
                self.flush()
            else:
                self.line(f"{self.out}.append({length} + 1)")
        with self.block("else:"):
            self.run = waiting
            before = f"{self.packed()} + " if waiting else ""
            self.line(f"{self.out} += {before}{self.use(write_varint)}({length} + 1)")

    def null(self, node: Prefixed) -> None:
        if isinstance(node.prefix, CompactLength):
            self.run.append(("x", ""))
        else:
            self.run.append((node.prefix.format, "-1"))
        self.flush()

    @contextmanager
    def unless_null(self, node: Prefixed, variable: str) -> Iterator[None]:
        if not node.nullable:
            yield
            return
        waiting = list(self.run)
        with self.block(f"if {variable} is None:"):
            self.null(node)
        self.run = waiting
        with self.block("else:"):
            yield

    def prefixed(self, node: Prefixed, value: str, name: str) -> None:
        variable, length = self.fresh("v"), self.fresh("n")
        self.line(f"{variable} = {value}")
        with self.unless_null(node, variable):
            match node:
                case Records():
                    self.records(node, variable, length)
                    return
                case String():
                    self.line(f"{variable} = {variable}.encode()")
                    self.line(f"{length} = len({variable})")
                    with self.block(f"if {length} > {STRING_BYTES_MAX}:"):
                        self.line(f"{self.use(bad_value)}({name!r}, f'a string of {{{length}}} bytes')")
                case _:
                    assert isinstance(node, Bytes)
                    self.line(f"{length} = len({variable})")
            self.prefix(node, length)
            self.line(f"{self.out} += {variable}")

    def records(self, node: Records, variable: str, length: str) -> None:
        """Make records a part of their own, so that they are not copied."""
        with self.block(f"if isinstance({variable}, (list, tuple)):"):
            self.line(f"{length} = sum(map(len, {variable}))")
        with self.block("else:"):
            self.line(f"{length} = len({variable})")
            self.line(f"{variable} = ({variable},)")
        self.prefix(node, length)
        with self.block(f"if {length}:"):
            self.line(f"parts.append({self.out})")
            self.line(f"parts += {variable}")
            self.line(f"{self.out} = bytearray()")

    def array(self, node: Array, value: str, name: str) -> None:
        variable, length = self.fresh("v"), self.fresh("n")
        self.line(f"{variable} = {value}")
        with self.unless_null(node, variable):
            self.line(f"{length} = len({variable})")
            if isinstance(node.item, Fixed) and node.item.type_name != "uuid":
                self.numbers(node, node.item, variable, length)
                return
            self.prefix(node, length)
            item = self.fresh("i")
            with self.block(f"for {item} in {variable}:"):
                if isinstance(node.item, Structure):
                    self.structure(node.item, item)
                else:
                    self.value(node.item, item, name)
                self.flush()

    def numbers(self, node: Array, item: Fixed, variable: str, length: str) -> None:
        self.flush()
        compact = isinstance(node.prefix, CompactLength)
        packers = f"pack_array_{'B' if compact else 'i'}_{item.format}".replace("?", "t")
        self.names[packers] = array_packers("B" if compact else "i", item.format)
        with self.block(f"if {length} < 9:"):
            self.line(f"{self.out} += {packers}[{length}]({length}{' + 1' if compact else ''}, *{variable})")
        with self.block("else:"):
            self.prefix(node, length)
            self.names["pack"] = struct.pack
            self.line(f"{self.out} += pack(f'>{{{length}}}{item.format}', *{variable})")

    def nullable_structure(self, node: NullableStructure, value: str) -> None:
        self.flush()
        variable = self.fresh("s")
        self.line(f"{variable} = {value}")
        with self.block(f"if {variable} is None:"):
            self.line(f"{self.out}.append({255 if node.marker is INT8 else 0})")
        with self.block("else:"):
            self.run.append(("b", "1"))
            self.structure(node.structure, variable)
            self.flush()

    def tagged_fields(self, node: TaggedFields, variable: str) -> None:
        self.run.append(("x", ""))
        if not node.members:
            return
        members = sorted(node.members.items())
        conditions = {tag: self.is_default(field, f"{variable}.{field.name}") for tag, (field, _) in members}
        with self.block(f"if {' and '.join(f'({condition})' for condition in conditions.values())}:"):
            waiting = list(self.run)
            self.flush()
        self.run = waiting[:-1]
        with self.block("else:"):
            self.flush()
            tags, content = self.fresh("tags"), self.fresh("o")
            self.line(f"{tags} = []")
            for tag, member in members:
                with self.block(f"if not ({conditions[tag]}):"):
                    self.one_tag(tag, member, variable, tags, content)
            self.line(f"{self.out} += {self.use(write_varint)}(len({tags}))")
            with self.block(f"for tag, {content} in {tags}:"):
                self.line(f"{self.out} += tag + {self.use(write_varint)}(len({content})) + {content}")

    def one_tag(self, tag: int, member: Member, variable: str, tags: str, content: str) -> None:
        outer, self.out = self.out, content
        self.line(f"{content} = bytearray()")
        self.value(member.node, f"{variable}.{member.field.name}", member.field.name)
        self.flush()
        self.line(f"{tags}.append(({write_varint(tag)!r}, {content}))")
        self.out = outer


# What generated code calls


def write_varint(value: int) -> bytes:
    """Write an unsigned varint."""
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def no_place(name: str, value: object) -> NoReturn:
    raise EncodingError(f"this version has no field {name}, which is {value!r}")


def bad_value(name: str, value: object) -> NoReturn:
    raise EncodingError(f"{name} cannot be {value!r}")


@cache
def array_packers(prefix: str, item: str) -> tuple[Callable[..., bytes], ...]:
    """For short arrays of numbers: count and items in one call. The index is the number of items."""
    return tuple(struct.Struct(f">{prefix}{count}{item}").pack for count in range(9))
