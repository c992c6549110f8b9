"""Which schema a key or value is written by.

Responsible for: reading a choice from a JSON value. Must not depend on: registries, the command line.

    {"subject": "orders-value"}                   its latest version
    {"subject": "orders-value", "version": 3}
    {"id": 17, "message": "shop.Order"}           a message of Protobuf, else the first of the file
"""

from __future__ import annotations

from typing import Any, Final, TypedDict, cast

_KEYS: Final = ("subject", "version", "id", "message")
_NUMBER_MAX: Final = 2**31 - 1


class SchemaChoice(TypedDict, total=False):
    """Has either ``id`` or ``subject``."""

    id: int
    subject: str
    version: int
    message: str


class ChoiceError(ValueError):
    """A choice cannot be read. One sentence."""


def read_choice(given: object, what: str) -> SchemaChoice:
    """Read a JSON value; ``what`` names it in errors. Raises ChoiceError."""
    if not isinstance(given, dict):
        raise ChoiceError(f'{what} is an object such as {{"subject": "orders-value"}} or {{"id": 17}}')
    for name in given:
        if name not in _KEYS:
            raise ChoiceError(f"{what} has no {name!r}; known are {', '.join(_KEYS)}")
    if ("id" in given) == ("subject" in given):
        raise ChoiceError(f"{what} has a subject or an id")
    if "id" in given and "version" in given:
        raise ChoiceError(f"{what}: a version is one of a subject, and an id needs none")
    for name in ("subject", "message"):
        if name in given and (not isinstance(given[name], str) or not given[name]):
            raise ChoiceError(f"{what}: {name} is a text that is not empty, not {given[name]!r}")
    for name in ("id", "version"):
        if name in given and not _is_number(given[name]):
            raise ChoiceError(f"{what}: {name} is a whole number from 1, not {given[name]!r}")
    return cast("SchemaChoice", dict(given))


def _is_number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= _NUMBER_MAX
