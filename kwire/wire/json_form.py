"""Messages as JSON values, in the names and shapes of Kafka's own JSON converters.

Responsible for: that form. Must not depend on: bytes on the wire. Tools and tests use it; it is not optimized.

Names are camelCase; bytes and records are base64; a uuid is Kafka's 22 characters. A tagged field at its default is
left out, and so is every field that the version lacks.
"""

from __future__ import annotations

import base64
from typing import Any, TypeVar

from kwire.types import uuid_from_text, uuid_text
from kwire.wire.message import EncodingError, Message
from kwire.wire.spec import Field

M = TypeVar("M", bound=Message)


def to_json(message: Message, version: int) -> dict[str, Any]:
    """Turn a message into a value for json.dumps.

    Raises EncodingError for a value that the version has no field for.
    """
    return _structure_to_json(message, message.FIELDS, version)


def from_json(cls: type[M], version: int, value: dict[str, Any]) -> M:
    """Turn the value of ``to_json`` back into a message. Raises ValueError for names that the version does not have."""
    return _structure_from_json(cls, cls, cls.FIELDS, version, value)


def _structure_to_json(message: Message, fields: tuple[Field, ...], version: int) -> dict[str, Any]:
    # ``fields`` are those of the place where the structure is; two places may have them in different versions.
    values = {}
    for field in fields:
        value = getattr(message, field.name)
        at_default = value == message.default(field)
        if version in field.versions:
            if not (version in field.tagged and at_default):
                values[field.json] = _value_to_json(field, value, version)
        elif not at_default and not field.ignorable:
            raise EncodingError(f"{message.NAME} v{version}: this version has no {field.name}, which is {value!r}")
    return values


def _value_to_json(field: Field, value: Any, version: int) -> Any:
    if value is None:
        return None
    if field.type == "array":
        return [_item_to_json(field, field.item, item, version) for item in value]
    return _item_to_json(field, field.type, value, version)


def _item_to_json(field: Field, kind: str, value: Any, version: int) -> Any:
    match kind:
        case "struct":
            assert field.struct is not None
            return _structure_to_json(value, field.struct.fields, version)
        case "uuid":
            return uuid_text(value)
        case "bytes":
            return base64.b64encode(value).decode("ascii")
        case "records":
            parts = value if isinstance(value, (list, tuple)) else [value]
            return base64.b64encode(b"".join(parts)).decode("ascii")
        case _:
            return value


def _structure_from_json(
    root: type[Message], cls: type[M], fields: tuple[Field, ...], version: int, value: dict[str, Any]
) -> M:
    named = {field.json: field for field in fields if version in field.versions}
    unknown = value.keys() - named.keys()
    if unknown:
        raise ValueError(f"{cls.NAME} v{version} has no {', '.join(sorted(unknown))}")
    return cls(**{named[key].name: _value_from_json(root, named[key], item, version) for key, item in value.items()})


def _value_from_json(root: type[Message], field: Field, value: Any, version: int) -> Any:
    if value is None:
        return None
    if field.type == "array":
        return [_item_from_json(root, field, field.item, item, version) for item in value]
    return _item_from_json(root, field, field.type, value, version)


def _item_from_json(root: type[Message], field: Field, kind: str, value: Any, version: int) -> Any:
    match kind:
        case "struct":
            assert field.struct is not None
            struct = field.struct
            return _structure_from_json(root, getattr(root, struct.name), struct.fields, version, value)
        case "uuid":
            return uuid_from_text(value)
        case "bytes" | "records":
            return base64.b64decode(value, validate=True)
        case "float64":
            return float(value)
        case _:
            return value
