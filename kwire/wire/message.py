"""The base of every protocol message: a slotted class made from its spec.

Responsible for: the base class, default values, and making the classes. Must not depend on: bytes, the meaning of
versions, or which messages exist (``messages`` does).

A message carries no version. One class has the fields of all versions; a field that a version lacks holds its default.
The constructor is generated source, because responses are built on the hot path and a loop over keywords would cost
three times as much. It is generated when the first object of the class is made: a start imports a hundred classes, and
makes objects of a dozen.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from kwire.types import ZERO_UUID
from kwire.wire.spec import Field, MessageSpec, Struct, Versions, walk


class EncodingError(ValueError):
    """A message cannot be encoded: a value out of range, or one that the version has no field for."""


class Message:  # noqa: PLW1641 - mutable, hence without a hash
    """Base of all messages and of the structs inside them. Fields are keyword arguments and plain attributes."""

    __slots__: tuple[str, ...] = ()

    NAME: ClassVar[str]
    FIELDS: ClassVar[tuple[Field, ...]]
    # These are of the message itself; the structs inside repeat their message's.
    KIND: ClassVar[str]
    KEY: ClassVar[int]  # API key, or record type; -1 for what has neither
    VERSIONS: ClassVar[Versions]
    FLEXIBLE_FROM: ClassVar[int | None]
    # What the source of the constructor names.
    _SCOPE: ClassVar[dict[str, Any]]

    def __init__(self, **values: Any) -> None:
        make = _constructor(type(self))
        type(self).__init__ = make  # type: ignore[method-assign]
        make(self, **values)

    @classmethod
    def default(cls, field: Field) -> Any:
        """Make the value that ``field`` has when none is given."""
        return getattr(cls(), field.name)

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in self.__slots__)

    def __repr__(self) -> str:
        return f"{type(self).__qualname__}({', '.join(f'{name}={getattr(self, name)!r}' for name in self.__slots__)})"


def make_class(spec: MessageSpec) -> type[Message]:
    """Make the class of a message, with the classes of its structs as attributes."""
    structs: dict[str, dict[str, Field]] = {}
    for _, field in walk(spec.fields):
        if field.struct is not None:
            _merge(structs.setdefault(field.struct.name, {}), field.struct, spec.name)
    shared = {
        "__module__": "kwire.wire.messages",
        "KIND": spec.kind,
        "KEY": spec.key,
        "VERSIONS": spec.versions,
        "FLEXIBLE_FROM": None if spec.flexible.highest < spec.flexible.lowest else spec.flexible.lowest,
    }
    scope: dict[str, Any] = {"NEW": _NEW, "ZERO_UUID": ZERO_UUID}
    for name, fields in structs.items():
        scope[name] = _make(name, f"{spec.name}.{name}", tuple(fields.values()), shared, scope)
    nested = {name: scope[name] for name in structs}
    return _make(spec.name, spec.name, spec.fields, {**shared, **nested}, scope)


class _New:
    """Default of arguments whose default value must not be shared."""

    def __repr__(self) -> str:
        return "<new>"


_NEW = _New()


def _merge(fields: dict[str, Field], struct: Struct, where: str) -> None:
    """Two structs of one name in one message are one class; only the versions of their fields may differ."""
    for field in struct.fields:
        known = fields.setdefault(field.name, field)
        if (known.type, known.item, known.has_default, known.default) != (
            field.type,
            field.item,
            field.has_default,
            field.default,
        ):
            raise ValueError(f"{where}: {struct.name}.{field.name} is there twice and differs")


def _make(
    name: str, qualname: str, fields: tuple[Field, ...], shared: dict[str, Any], scope: dict[str, Any]
) -> type[Message]:
    slots = tuple(field.name for field in fields)
    body = dict(shared, __qualname__=qualname, __slots__=slots, NAME=name, FIELDS=fields, _SCOPE=scope)
    return type(name, (Message,), body)


def _constructor(message: type[Message]) -> Callable[..., None]:
    code = compile(_init_source(message.FIELDS), f"<kwire {message.__qualname__}.__init__>", "exec")
    functions: dict[str, Any] = {}
    exec(code, message._SCOPE, functions)  # noqa: S102, SLF001 - the source is ours, out of our own spec files
    made: Callable[..., None] = functions["__init__"]
    return made


def _init_source(fields: tuple[Field, ...]) -> str:
    if not fields:
        return "def __init__(self): pass"
    arguments = ", ".join(f"{field.name}={default_source(field)}" for field in fields)
    lines = [f"def __init__(self, *, {arguments}):"]
    for field in fields:
        value = field.name
        if default_source(field) == "NEW":
            fresh = "[]" if field.type == "array" else f"{field.struct.name}()" if field.struct else "?"
            value = f"{fresh} if {field.name} is NEW else {field.name}"
        lines.append(f"    self.{field.name} = {value}")
    return "\n".join(lines)


def default_source(field: Field) -> str:
    """Write the default of a field as Python source; NEW for lists and structs, which are made for each message."""
    if field.has_default or field.type == "records":
        return repr(field.default)
    if field.type in ("array", "struct"):
        return "NEW"
    if field.type == "uuid":
        return "ZERO_UUID"
    return "b''" if field.type == "bytes" else repr(field.default)
