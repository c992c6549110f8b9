"""Parse ``protocol_specs/`` into trees of fields: the only parser of that language.

Responsible for: the syntax (docs/protocol-specs.md), the field tree, and which file holds which message. Must not
depend on: how a field is encoded, message classes.

A file is read when a message in it is first used, and then only that message's lines are parsed, because a start uses
about twenty of the 272 messages.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple, TypeAlias

Default: TypeAlias = int | float | str | None

# The upper end of an open range such as "3+". Real versions are int16.
OPEN = 32767
PRIMITIVES = frozenset(
    {"bool", "int8", "int16", "uint16", "int32", "uint32", "int64", "float64", "uuid", "string", "bytes", "records"}
)


class Versions(NamedTuple):
    """A range of versions, both ends included; ``NO_VERSIONS`` is empty."""

    lowest: int
    highest: int

    def __contains__(self, version: object) -> bool:
        return isinstance(version, int) and self.lowest <= version <= self.highest

    def __str__(self) -> str:
        if self.highest < self.lowest:
            return "none"
        if self.highest == OPEN:
            return f"{self.lowest}+"
        return f"{self.lowest}" if self.lowest == self.highest else f"{self.lowest}-{self.highest}"


NO_VERSIONS = Versions(0, -1)


class Struct(NamedTuple):
    """A named group of fields. The same name within one message means the same class."""

    name: str
    fields: tuple[Field, ...]


class Field(NamedTuple):
    """One field, for all versions of its message.

    ``type`` is one of PRIMITIVES, "struct", or "array"; of an array ``item`` is the type of its elements. ``struct`` is
    there when ``type`` or ``item`` is "struct".
    """

    name: str
    type: str
    item: str
    struct: Struct | None
    versions: Versions
    nullable: Versions
    tag: int | None
    tagged: Versions
    flexible: Versions | None  # None: as the message
    has_default: bool
    default: Default
    ignorable: bool
    json: str


class MessageSpec(NamedTuple):
    """One message. ``key`` is the API key of a request or response, the record type of a record, else -1."""

    kind: str  # request, response, header, record, data
    name: str
    key: int
    versions: Versions
    flexible: Versions
    stable: Versions
    listeners: tuple[str, ...]
    flags: tuple[str, ...]
    fields: tuple[Field, ...]


class SpecError(Exception):
    """A spec file breaks the rules of its language; the text names file and line."""


@cache
def load(name: str) -> MessageSpec:
    """Find the spec of the message called ``name``, such as "FetchRequest". Raises KeyError for an unknown name."""
    block = _block(name)
    return _parse_message(block)


def load_api(key: int, kind: str) -> MessageSpec:
    """Find the spec of the request or response with this API key. Raises KeyError for a key that has none."""
    return load(_api_names()[key] + kind.capitalize())


def api_keys() -> tuple[int, ...]:
    """Every API key that has a spec, in order."""
    return tuple(sorted(_api_names()))


def names() -> tuple[str, ...]:
    """Every message there is, in the order of the files."""
    return tuple(name for path in _paths() for name in _blocks(path))


def record_names(family: str) -> tuple[str, ...]:
    """List the messages of ``records/<family>.spec``."""
    return tuple(_blocks(f"{_directory()}/records/{family}.spec"))


def parse(text: str, where: str = "spec") -> list[MessageSpec]:
    """Every message in ``text``."""
    return [_parse_message(block) for block in _split(text, where).values()]


# Which file holds what


def _directory() -> Path:
    package = Path(__file__).resolve().parent.parent
    inside = package / "protocol_specs"  # in a wheel
    return inside if inside.is_dir() else package.parent / "protocol_specs"


@cache
def _paths() -> tuple[str, ...]:
    directory = str(_directory())
    return tuple(
        f"{folder}/{name}"
        for folder in (directory, f"{directory}/records")
        for name in sorted(os.listdir(folder))  # noqa: PTH208 (a Path for each file costs more than reading the list)
        if name.endswith(".spec")
    )


@cache
def _api_paths() -> dict[str, str]:
    """Files of APIs by the snake_case name of the API: 00_produce.spec is "produce"."""
    return {_file_name(path)[3:-5]: path for path in _paths() if _file_name(path)[:2].isdigit()}


@cache
def _other_paths() -> tuple[str, ...]:
    """Files of what is no API: headers and records."""
    apis = set(_api_paths().values())
    return tuple(path for path in _paths() if path not in apis)


def _file_name(path: str) -> str:
    return path.rpartition("/")[2]


@cache
def _api_names() -> dict[int, str]:
    """Map keys to API names, out of file names alone. A test asserts that heading and file name agree."""
    return {int(_file_name(path)[:2]): _camel(stem) for stem, path in _api_paths().items()}


def _camel(snake: str) -> str:
    return "".join(word.capitalize() for word in snake.split("_"))


def snake(camel: str) -> str:
    """FetchSnapshot is fetch_snapshot."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", camel).lower()


def _block(name: str) -> _Block:
    for suffix in ("Request", "Response"):
        path = _api_paths().get(snake(name.removesuffix(suffix))) if name.endswith(suffix) else None
        if path is not None:
            return _blocks(path)[name]
    for path in _other_paths():
        block = _blocks(path).get(name)
        if block is not None:
            return block
    raise KeyError(name)


# Text to blocks, one for each message


class _Block(NamedTuple):
    where: str
    line: int  # of the heading, counted from 1
    heading: str
    body: list[str]


@cache
def _blocks(path: str) -> dict[str, _Block]:
    return _split(Path(path).read_text("utf-8"), _file_name(path))


def _split(text: str, where: str) -> dict[str, _Block]:
    blocks: dict[str, _Block] = {}
    block: _Block | None = None
    for number, line in enumerate(text.splitlines(), 1):
        if not line or line.isspace() or line.lstrip()[0] == "#":
            continue
        if line[0] != " ":
            block = _Block(where, number, line, [])
            name = _message_name(block)
            if name in blocks:
                raise SpecError(f"{where}:{number}: {name} is there twice")
            blocks[name] = block
        elif block is None:
            raise SpecError(f"{where}:{number}: a field before the first heading")
        else:
            # Blank lines and comments inside a message would shift the line numbers of errors, so keep the real one.
            block.body.append(f"{line}\0{number}")
    return blocks


_SUFFIX = {"request": "Request", "response": "Response", "header": "", "record": "", "data": ""}


def _message_name(block: _Block) -> str:
    words = block.heading.split(None, 2)
    if len(words) < 2 or words[0] not in _SUFFIX:
        raise SpecError(f"{block.where}:{block.line}: a heading reads KIND NAME ..., not {block.heading!r}")
    return words[1] + _SUFFIX[words[0]]


# One block to a message


def _parse_message(block: _Block) -> MessageSpec:
    kind = block.heading.split(None, 1)[0]
    options: dict[str, str] = {}
    flags = []
    for word in block.heading.split()[2:]:
        option, equals, value = word.partition("=")
        if equals:
            options[option] = value
        else:
            flags.append(word)
    try:
        versions = parse_versions(options.pop("versions"))
        spec = MessageSpec(
            kind=kind,
            name=_message_name(block),
            key=int(options.pop("type" if kind == "record" else "key", "-1")),
            versions=versions,
            flexible=parse_versions(options.pop("flexible", "none")),
            stable=parse_versions(options.pop("stable", str(versions))),
            listeners=tuple(options.pop("listeners", "").split(",")) if "listeners" in options else (),
            flags=tuple(flags),
            fields=_Lines(block).fields(versions),
        )
    except (KeyError, ValueError) as error:
        raise SpecError(f"{block.where}:{block.line}: bad heading {block.heading!r}: {error}") from error
    if options:
        raise SpecError(f"{block.where}:{block.line}: unknown option {next(iter(options))!r}")
    return spec


@cache
def parse_versions(text: str) -> Versions:
    """Parse "3+", "0-12", "4" or "none". Raises ValueError."""
    if text == "none":
        return NO_VERSIONS
    if text.endswith("+"):
        return Versions(int(text[:-1]), OPEN)
    lowest, dash, highest = text.partition("-")
    return Versions(int(lowest), int(highest if dash else lowest))


class _Lines:
    """The lines of one message, read once from top to bottom; indentation shows which field belongs to which struct."""

    def __init__(self, block: _Block) -> None:
        self.where = block.where
        self.lines = block.body
        self.next = 0
        self.structs: dict[str, Struct] = {}

    def fields(self, versions: Versions) -> tuple[Field, ...]:
        """Read the message's own fields; fields without versions have ``versions``."""
        # "0+" and "0-12" of a message with versions 0-12 mean the same; keep fields open-ended.
        fields = self._level(0, Versions(versions.lowest, OPEN))
        if self.next < len(self.lines):
            raise self._error("this indentation closes more than was opened")
        return fields

    def _level(self, outer_indent: int, versions: Versions) -> tuple[Field, ...]:
        fields: list[Field] = []
        indent = self._indent()
        if indent <= outer_indent:
            return ()
        while self._indent() == indent:
            fields.append(self._field(indent, versions))
        if self._indent() > indent:
            raise self._error("indented, but the line above is no struct")
        if len({field.name for field in fields}) < len(fields):
            self.next -= 1
            raise self._error("two fields of the same name")
        return tuple(fields)

    def _indent(self) -> int:
        if self.next >= len(self.lines):
            return -1
        line = self.lines[self.next]
        return len(line) - len(line.lstrip(" "))

    def _error(self, text: str) -> SpecError:
        line, _, number = self.lines[min(self.next, len(self.lines) - 1)].partition("\0")
        return SpecError(f"{self.where}:{number}: {text}: {line.strip()!r}")

    def _field(self, indent: int, outer: Versions) -> Field:
        try:
            field = self._read_field(outer)
        except (ValueError, IndexError) as error:
            raise self._error(str(error)) from error
        self.next += 1
        if "struct" in (field.type, field.item):
            assert field.struct is not None
            name = field.struct.name
            fields = self._level(indent, field.versions)
            if fields:
                struct = Struct(name, fields)
                self.structs.setdefault(name, struct)
            elif name in self.structs:
                struct = self.structs[name]
            else:
                self.next -= 1
                raise self._error(f"{name} has no fields, and no {name} stands above")
            field = field._replace(struct=struct)
        return field

    def _read_field(self, outer: Versions) -> Field:
        words = self.lines[self.next].partition("\0")[0].split()
        name, type_ = words[0], words[1]
        rest = words[2:]
        versions = parse_versions(rest.pop(0)) if rest and rest[0][0].isdigit() else outer
        options: dict[str, str | None] = {}
        for word in rest:
            option, equals, value = word.partition("=")
            options[option] = value if equals else None
        nullable = NO_VERSIONS
        if type_.endswith("?"):
            type_, nullable = type_[:-1], versions
        if "nullable" in options:
            nullable = parse_versions(options.pop("nullable") or "")
        kind, item, struct = _read_type(type_)
        tag = options.pop("tag", None)
        tagged = options.pop("tagged", None)
        flexible = options.pop("flexible", None)
        has_default = "default" in options
        field = Field(
            name=name,
            type=kind,
            item=item,
            struct=Struct(struct, ()) if struct else None,
            versions=versions,
            nullable=nullable,
            tag=None if tag is None else int(tag),
            tagged=NO_VERSIONS if tag is None else parse_versions(tagged) if tagged else versions,
            flexible=None if flexible is None else parse_versions(flexible),
            has_default=has_default,
            default=_read_default(kind, options.pop("default")) if has_default else _ZERO.get(kind),
            ignorable="ignorable" in options and options.pop("ignorable") is None,
            json=options.pop("json", None) or _lower_camel(name),
        )
        if options:
            raise ValueError(f"unknown option {next(iter(options))!r}")
        return field


def _read_type(text: str) -> tuple[str, str, str]:
    """Read a type's word: type, item, name of the struct."""
    element = text.removeprefix("[]")
    struct = "" if element in PRIMITIVES else element
    if struct and not struct[0].isupper():
        raise ValueError(f"unknown type {text!r}")
    kind = "struct" if struct else element
    return ("array", kind, struct) if text.startswith("[]") else (kind, "", struct)


# Arrays and structs have no value here: each message gets its own.
_ZERO: dict[str, Default] = dict.fromkeys(("int8", "int16", "uint16", "int32", "uint32", "int64"), 0)
_ZERO |= {"bool": False, "float64": 0.0, "string": "", "records": None}


def _read_default(kind: str, text: str | None) -> Default:
    if text == "null":
        return None
    if text in ("true", "false"):
        return text == "true"
    if not text:
        raise ValueError("default= needs a value")
    if kind == "string":
        return text.strip('"')
    return float(text) if kind == "float64" else int(text)


def _lower_camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(word.capitalize() for word in others)


def walk(fields: tuple[Field, ...], path: str = "") -> Iterator[tuple[str, Field]]:
    """Every field with its dotted path, structs' fields behind their own."""
    for field in fields:
        yield path + field.name, field
        if field.struct is not None:
            yield from walk(field.struct.fields, f"{path}{field.name}.")
