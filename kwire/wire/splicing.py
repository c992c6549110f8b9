"""Replace the values of some fields in an encoded message and leave every other byte as it is.

Responsible for: finding structures that have the fields, by walking over the bytes. Must not depend on: the meaning of
fields, frames, headers.

Decoding and encoding again would lose tagged fields that the spec does not know, and cost more, as bytes behind the
last such structure are not read here. The size of a tagged field with a replaced value is written again.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Collection
from typing import Any, Final, NamedTuple, TypeAlias

from construct import ConstructError

from kwire.errors import ProtocolViolation
from kwire.wire.compilation.decoding import read_tag, skip_tags
from kwire.wire.compilation.schema import (
    INT8,
    Array,
    CompactLength,
    Fixed,
    Node,
    NullableStructure,
    Prefixed,
    String,
    Structure,
    schema,
)
from kwire.wire.message import Message
from kwire.wire.varint import encode_unsigned_varint, read_unsigned_varint

Values: TypeAlias = tuple[Any, ...]
Change: TypeAlias = Callable[[Values], Values]
_Skip: TypeAlias = Callable[[memoryview, int], int]
_Visit: TypeAlias = "Callable[[memoryview, int, _Output, Change], int]"

_NUMBER: Final = struct.Struct(">i")
_SHORT: Final = struct.Struct(">h")


class Splicer:
    """Of one message at one version. ``fields`` are found wherever one structure has all of them, in this order.

    Structures inside fields named in ``excluded`` are left alone.
    """

    def __init__(
        self, message: type[Message], version: int, fields: Collection[str], *, excluded: Collection[str] = ()
    ) -> None:
        self._name = f"{message.NAME} v{version}"
        self._fields = tuple(fields)
        self._excluded = frozenset(excluded)
        self._visit = self._visitor(schema(message, version), outermost=True)

    @property
    def finds(self) -> bool:
        """Whether the message has such structures at this version."""
        return self._visit is not None

    def splice(self, buffer: memoryview, position: int, change: Change) -> bytes | None:
        """Replace the values for which ``change`` gives others; None if there are none.

        ``position`` is where the message begins; bytes before it are copied. Raises ProtocolViolation for bytes
        that are not of this message.
        """
        if self._visit is None:
            return None
        output = _Output(buffer, 0)
        try:
            end = self._visit(buffer, position, output, change)
        except (IndexError, ValueError, struct.error, ConstructError) as error:
            raise ProtocolViolation(f"{self._name}: {error}") from error
        if end > len(buffer):
            raise ProtocolViolation(f"{self._name}: a field goes beyond the end at {len(buffer)}")
        return output.until(len(buffer)) if output.changed else None

    def _visitor(self, node: Node, *, outermost: bool = False) -> _Visit | None:
        match node:
            case Array():
                inner = self._visitor(node.item)
                return None if inner is None else _visit_array(node, inner)
            case NullableStructure():
                inner = self._visitor(node.structure)
                return None if inner is None else _visit_nullable(node, inner)
            case Structure():
                return self._structure(node, outermost=outermost)
        return None

    def _structure(self, node: Structure, *, outermost: bool) -> _Visit | None:
        names = [field.name for field, _ in node.members]
        wanted = set(self._fields) if set(self._fields) <= set(names) else set()
        steps: list[_Step] = []
        for field, child in node.members:
            visit = None if field.name in self._excluded else self._visitor(child)
            steps.append(_Step(field.name if field.name in wanted else None, child, skipper(child), visit))
        tagged = {
            tag: visit
            for tag, (field, child) in (node.tagged.members if node.tagged else {}).items()
            if field.name not in self._excluded and (visit := self._visitor(child)) is not None
        }
        while steps and outermost and not tagged and steps[-1].is_passed_over:
            steps.pop()
        if not tagged and all(step.is_passed_over for step in steps):
            return None
        tags = (outermost and not tagged) or node.tagged is None
        return _visit_structure(_joined(steps), len(wanted), None if tags else tagged)


class _Step(NamedTuple):
    """One field of a structure: skipped, visited, or (``name`` is not None) a value that may be replaced."""

    name: str | None
    node: Node | None
    skip: _Skip
    visit: _Visit | None

    @property
    def is_passed_over(self) -> bool:
        return self.name is None and self.visit is None


class _Output:
    """The output so far. ``copied`` is the position in ``buffer`` up to which it is complete."""

    __slots__ = ("_buffer", "_written", "changed", "copied")

    def __init__(self, buffer: memoryview, copied: int) -> None:
        self._buffer = buffer
        self._written = bytearray()
        self.copied = copied
        self.changed = False

    def replace(self, start: int, end: int, content: bytes) -> None:
        self._written += self._buffer[self.copied : start]
        self._written += content
        self.copied = end
        self.changed = True

    def until(self, end: int) -> bytes:
        return bytes(self._written + self._buffer[self.copied : end])


def _visit_array(node: Array, inner: _Visit) -> _Visit:
    read_count = _length(node)

    def visit(buffer: memoryview, position: int, output: _Output, change: Change) -> int:
        count, position = read_count(buffer, position)
        for _ in range(count):
            position = inner(buffer, position, output, change)
        return position

    return visit


def _visit_nullable(node: NullableStructure, inner: _Visit) -> _Visit:
    present_from = 0 if node.marker is INT8 else 1

    def visit(buffer: memoryview, position: int, output: _Output, change: Change) -> int:
        marker = buffer[position] if present_from else int.from_bytes(buffer[position : position + 1], signed=True)
        position += 1
        return inner(buffer, position, output, change) if marker >= present_from else position

    return visit


def _visit_structure(steps: list[_Step], wanted: int, tagged: dict[int, _Visit] | None) -> _Visit:
    """``tagged`` None: the tagged fields, if there are any, need not be read."""

    def visit(buffer: memoryview, position: int, output: _Output, change: Change) -> int:
        spans: list[tuple[Node, int, int]] = []
        for name, node, skip, visit_inner in steps:
            if visit_inner is not None:
                position = visit_inner(buffer, position, output, change)
                continue
            start, position = position, skip(buffer, position)
            if name is not None and node is not None:
                spans.append((node, start, position))
                if len(spans) == wanted:
                    _replace(buffer, spans, output, change)
        if tagged is None:
            return position
        return _visit_tagged(buffer, position, tagged, output, change)

    return visit


def _visit_tagged(buffer: memoryview, position: int, tagged: dict[int, _Visit], output: _Output, change: Change) -> int:
    count, position = read_unsigned_varint(buffer, position)
    for _ in range(count):
        start = position
        tag, size, position = read_tag(buffer, position)
        end = position + size
        visit = tagged.get(tag)
        if visit is not None:
            content = _Output(buffer, position)
            if visit(buffer, position, content, change) != end:
                raise ValueError(f"the tagged field {tag} has another size than it says")
            if content.changed:
                written = content.until(end)
                head = encode_unsigned_varint(tag) + encode_unsigned_varint(len(written))
                output.replace(start, end, head + written)
        position = end
    return position


def _replace(buffer: memoryview, spans: list[tuple[Node, int, int]], output: _Output, change: Change) -> None:
    values = tuple(_value(node, buffer[start:end]) for node, start, end in spans)
    changed = change(values)
    if changed == values:
        return
    for (node, start, end), value in zip(spans, changed, strict=True):
        output.replace(start, end, node.build(value))


def _value(node: Node, content: memoryview) -> Any:
    if isinstance(node, Fixed):
        return node.packer.unpack(content)[0]
    return node.parse(bytes(content))


# Skipping values


def skipper(node: Node) -> _Skip:
    """Make the function that gives the position behind a value."""
    match node:
        case Fixed():
            return _skip_bytes(node.size_min)
        case Array():
            return _skip_array(node)
        case Prefixed():
            return _skip_prefixed(node)
        case NullableStructure():
            present_from = 0 if node.marker is INT8 else 1
            inner = skipper(node.structure)

            def skip(buffer: memoryview, position: int) -> int:
                marker = (
                    buffer[position] if present_from else int.from_bytes(buffer[position : position + 1], signed=True)
                )
                return inner(buffer, position + 1) if marker >= present_from else position + 1

            return skip
        case Structure():
            return _skip_structure(node)
    raise AssertionError(node)


def reader(message: type[Message], version: int, name: str) -> Callable[[memoryview, int], Any]:
    """Make the function that reads one of the outermost fields of a message that begins at a position.

    It raises ProtocolViolation.
    """
    members = schema(message, version).members
    at = [field.name for field, _ in members].index(name)
    node = members[at].node
    *skips, skip_found = [skipper(each.node) for each in members[: at + 1]]

    def read(buffer: memoryview, position: int) -> Any:
        try:
            for skip in skips:
                position = skip(buffer, position)
            return _value(node, buffer[position : skip_found(buffer, position)])
        except (IndexError, ValueError, struct.error, ConstructError) as error:
            raise ProtocolViolation(f"{message.NAME} v{version}: {error}") from error

    return read


def _skip_bytes(count: int) -> _Skip:
    return lambda _buffer, position: position + count


def _length(node: Prefixed) -> Callable[[memoryview, int], tuple[int, int]]:
    """Make the function that reads a length or count, 0 for null, and the position behind it."""
    if isinstance(node.prefix, CompactLength):

        def read_compact(buffer: memoryview, position: int) -> tuple[int, int]:
            count = buffer[position]
            position += 1
            if count > 127:
                count, position = read_unsigned_varint(buffer, position - 1)
            return (count - 1 if count else 0), position

        return read_compact
    packer, size = (_SHORT, 2) if isinstance(node, String) else (_NUMBER, 4)

    def read_plain(buffer: memoryview, position: int) -> tuple[int, int]:
        (count,) = packer.unpack_from(buffer, position)
        if count < -1:
            raise ValueError(f"a length or count of {count}")
        return max(count, 0), position + size

    return read_plain


def _skip_prefixed(node: Prefixed) -> _Skip:
    read_length = _length(node)

    def skip(buffer: memoryview, position: int) -> int:
        length, position = read_length(buffer, position)
        return position + length

    return skip


def _skip_array(node: Array) -> _Skip:
    read_count = _length(node)
    item_bytes = _fixed_bytes(node.item)
    if item_bytes is not None:
        each = item_bytes

        def skip_equal(buffer: memoryview, position: int) -> int:
            count, position = read_count(buffer, position)
            return position + count * each

        return skip_equal
    inner = skipper(node.item)

    def skip(buffer: memoryview, position: int) -> int:
        count, position = read_count(buffer, position)
        for _ in range(count):
            position = inner(buffer, position)
        return position

    return skip


def _skip_structure(node: Structure) -> _Skip:
    steps = [step.skip for step in _joined([_Step(None, child, skipper(child), None) for _, child in node.members])]
    has_tags = node.tagged is not None

    def skip(buffer: memoryview, position: int) -> int:
        for step in steps:
            position = step(buffer, position)
        if not has_tags:
            return position
        count = buffer[position]
        return skip_tags(buffer, position + 1, count) if count else position + 1

    return skip


def _joined(steps: list[_Step]) -> list[_Step]:
    """Make one step of adjacent numbers."""
    joined: list[_Step] = []
    run = 0
    for step in steps:
        size = _fixed_bytes(step.node) if step.is_passed_over and step.node is not None else None
        if size is not None:
            run += size
            continue
        if run:
            joined.append(_Step(None, None, _skip_bytes(run), None))
            run = 0
        joined.append(step)
    if run:
        joined.append(_Step(None, None, _skip_bytes(run), None))
    return joined


def _fixed_bytes(node: Node) -> int | None:
    """How many bytes each value takes; None if that differs."""
    if isinstance(node, Fixed):
        return node.size_min
    if isinstance(node, Structure) and node.tagged is None:
        sizes = [_fixed_bytes(child) for _, child in node.members]
        return None if None in sizes else sum(size for size in sizes if size is not None)
    return None
