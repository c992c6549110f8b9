"""Flat Python out of a schema: the functions that decode and encode every message at run time.

Owns: code generation, and the few helpers that generated code calls. May not know: what a message means, headers,
frames, who keeps the functions (``codec`` does).

What makes generated code fast: no calls per field, one ``struct`` call for a run of adjacent numbers (lengths and
counts ride along), objects made without their constructor. What makes it safe: a count is compared with the bytes left
before anything is made of it, a slice with the end of the buffer before it is taken, and numbers go through
``struct``, which checks by itself.

Generated source is registered with ``linecache``, so a traceback shows its lines; ``source`` returns it.
"""

from __future__ import annotations

import linecache
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, NoReturn, TypeAlias

from kwire.errors import ProtocolViolation
from kwire.types import ZERO_UUID
from kwire.wire.message import EncodingError, Message, default_source
from kwire.wire.schema import (
    INT8,
    STRING_BYTES_MAX,
    VARINT_MAX,
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
    schema,
)
from kwire.wire.spec import Field

# (buffer, position, exact) -> message. If exact, bytes behind the message are a violation.
Decoder: TypeAlias = Callable[[bytes | memoryview, int, bool], Message]
# (message, out, parts) -> the bytearray that was written last. What went before it, when records stand in between, is
# in ``parts``.
Encoder: TypeAlias = Callable[[Any, bytearray, list[Any]], bytearray]


def decoder(message: type[Message], version: int) -> Decoder:
    """Make the function that decodes ``message`` at ``version``. It raises ProtocolViolation."""
    function: Decoder = _compile(_DecoderWriter(message, version))
    return function


def encoder(message: type[Message], version: int) -> Encoder:
    """Make the function that encodes ``message`` at ``version``. It raises EncodingError."""
    function: Encoder = _compile(_EncoderWriter(message, version))
    return function


def source(message: type[Message], version: int) -> str:
    """Write the source of both functions, to be read."""
    return _DecoderWriter(message, version).text() + "\n\n" + _EncoderWriter(message, version).text()


def _compile(writer: _Writer) -> Any:
    text = writer.text()
    filename = f"<kwire {writer.function}>"
    linecache.cache[filename] = (len(text), None, text.splitlines(keepends=True), filename)
    scope = writer.names
    exec(compile(text, filename, "exec"), scope)  # noqa: S102 - our own text, out of our own spec files
    return scope[writer.function]


# What generated code calls where it does not go straight on


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
    """Pass over tagged fields that nobody knows. ``count`` is the first byte of their number, not zero."""
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


def write_varint(value: int) -> bytes:
    """Write an unsigned varint."""
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def bad_length(name: str, length: int) -> NoReturn:
    raise ProtocolViolation(f"{name}: null is not allowed" if length == -1 else f"{name}: length {length}")


def too_long(name: str, length: int) -> NoReturn:
    raise ProtocolViolation(f"{name}: {length} do not fit the bytes left, or what Kafka allows")


def no_place(name: str, value: object) -> NoReturn:
    raise EncodingError(f"this version has no field {name}, which is {value!r}")


def bad_value(name: str, value: object) -> NoReturn:
    raise EncodingError(f"{name} cannot be {value!r}")


@cache
def _array_packers(prefix: str, item: str) -> tuple[Callable[..., bytes], ...]:
    """For short arrays of numbers: count and items in one call. The index is the number of items."""
    return tuple(struct.Struct(f">{prefix}{count}{item}").pack for count in range(9))


# Writing source


class _Writer:
    """Lines of source, fresh names, and the values that the source refers to by name."""

    def __init__(self, message: type[Message], version: int, verb: str) -> None:
        self.message = message
        self.version = version
        self.function = f"{verb}_{message.NAME}_v{version}"
        self.schema = schema(message, version)
        self.lines: list[str] = []
        self.depth = 0
        self.names: dict[str, Any] = {
            "ProtocolViolation": ProtocolViolation,
            "EncodingError": EncodingError,
            "StructError": struct.error,
            "new": object.__new__,
            "ZERO_UUID": ZERO_UUID,
        }
        self.counters: dict[str, int] = {}

    def text(self) -> str:
        if not self.lines:
            self.write()
        return "\n".join(self.lines) + "\n"

    def write(self) -> None:
        raise NotImplementedError

    def line(self, text: str) -> None:
        self.lines.append("    " * self.depth + text)

    @contextmanager
    def block(self, text: str) -> Iterator[None]:
        self.line(text)
        self.depth += 1
        yield
        self.depth -= 1

    def fresh(self, name: str) -> str:
        """Make a local variable's name that nothing else uses."""
        number = self.counters[name] = self.counters.get(name, 0) + 1
        return f"{name}{number}"

    def use(self, helper: Callable[..., Any]) -> str:
        self.names[helper.__name__] = helper
        return helper.__name__

    def use_class(self, message: type[Message]) -> str:
        self.names[message.NAME] = message
        return message.NAME

    def use_struct(self, verb: str, format_: str) -> str:
        """Name the bound method of a struct, such as unpack_hi for ``Struct(">hi").unpack_from``."""
        name = f"{verb}_{format_}".replace("16s", "u").replace("?", "t")
        if name not in self.names:
            self.names[name] = getattr(struct.Struct(">" + format_), verb)
        return name


class _DecoderWriter(_Writer):
    """Writes ``decode(b, p, exact)``: b is the buffer, p the position, end its end.

    Numbers wait in ``run`` until something of unknown size comes, and are then read together.
    """

    def __init__(self, message: type[Message], version: int) -> None:
        super().__init__(message, version, "decode")
        self.run: list[tuple[str, str]] = []  # struct format, where the value goes

    def write(self) -> None:
        with self.block(f"def {self.function}(b, p, exact):"):
            # Where nothing will be borrowed: slices of bytes cost half of what slices of a view cost.
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
        """Read the numbers that wait."""
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
        """Write the reading of a length or count; return its variable. Compact ones are still one too many."""
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
        """Open the branch in which there is a value; yields what is to be subtracted from the length."""
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


class _EncoderWriter(_Writer):
    """Writes ``encode(m, o, parts)``: m is the message, o the bytearray that grows.

    Numbers wait in ``run`` until something of unknown size comes, and are then packed together.
    """

    # What Python raises where a field holds something that is no value of its type.
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
        """Take the numbers that wait, as an expression of bytes."""
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
        """Write a length or count, together with the numbers that wait."""
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
        """Records become parts of their own, so that nobody copies them."""
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
        self.names[packers] = _array_packers("B" if compact else "i", item.format)
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
    """Make a variable name out of a class name: its capitals, small."""
    return "".join(letter for letter in name if letter.isupper()).lower() + "_"
