"""Rewrites answers: sets a field in the whole answer, or in the items that a scope names.

Responsible for: finding the fields, and checking values against their types. Must not depend on: single APIs, rules.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from kwire.faults.subjects import Subject, TopicName, with_fields
from kwire.wire.codec import Message
from kwire.wire.spec import Field, walk

_KINDS: Final[Mapping[str, type]] = {"string": str, "bool": bool, "float64": float}


def fields_of(message: type[Message], version: int) -> dict[str, Field]:
    """Give the fields of a message whose values can be set, by name: those that are no arrays, records or bytes."""
    return {
        field.name: field
        for _, field in walk(message.FIELDS)
        if version in field.versions and field.struct is None and _kind(field) is not None
    }


def fits(field: Field, value: object) -> bool:
    """Tell whether a field can have a value."""
    kind = _kind(field)
    if value is None:
        return bool(field.nullable)
    if kind is float:
        return type(value) in {int, float} and math.isfinite(value)  # type: ignore[arg-type]
    if kind is int:
        return type(value) is int and _lowest(field) <= value <= _highest(field)
    return kind is not None and isinstance(value, kind)


def _lowest(field: Field) -> int:
    return 0 if _is_unsigned(field) else -_highest(field) - 1


def _highest(field: Field) -> int:
    bits = int(str(field.type).partition("int")[2])
    return int(2 ** (bits if _is_unsigned(field) else bits - 1)) - 1


def _is_unsigned(field: Field) -> bool:
    return str(field.type).startswith("u")


def rewrite(
    message: Message,
    version: int,
    values: Mapping[str, Any],
    matches: Callable[[Subject], bool],
    topic_name: TopicName,
) -> None:
    """Set fields in each element that matches."""
    _rewrite(message, message.FIELDS, Subject(), "", (version, values, matches, topic_name))


def _rewrite(
    item: Message,
    fields: Iterable[Field],
    subject: Subject,
    array: str,
    wanted: tuple[int, Mapping[str, Any], Callable[[Subject], bool], TopicName],
) -> None:
    # ``fields``: those of the class may be of other versions, where a message has one struct at two places.
    version, values, matches, topic_name = wanted
    subject = with_fields(subject, item, array, topic_name)
    chosen = matches(subject)
    for field in fields:
        if version not in field.versions:
            continue
        value = getattr(item, field.name)
        inner = () if field.struct is None else field.struct.fields
        if field.type == "array":
            for element in value or ():
                if isinstance(element, Message):
                    _rewrite(element, inner, subject, field.name, wanted)
        elif isinstance(value, Message):
            _rewrite(value, inner, subject, field.name, wanted)
        elif chosen and field.name in values:
            setattr(item, field.name, values[field.name])


def _kind(field: Field) -> type | None:
    if field.type == "array":
        return None
    return int if "int" in str(field.type) else _KINDS.get(str(field.type))
