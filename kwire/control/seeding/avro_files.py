"""Records of a seed from Avro files.

Responsible for: reading an object container file, and its values as keys, and as values in JSON or Avro. Must
not depend on: topics.

    {"records": "orders.avro", "avro": {"schema": "order.avsc", "key": "id", "value": "avro", "schema_id": 7}}

``schema`` is a file with the reader's schema, to which the values are resolved; without it they have the schema of the
file. ``key`` is the field that becomes the key of the record. ``value`` is "json" (the default) or "avro", the binary
encoding; ``schema_id`` puts the header in front of it that serializers of a schema registry write: a zero byte, and the
id in four bytes.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from kwire.control.seeding.seed_error import SeedError
from kwire.schemas.json_text import to_json

KEYS: Final = ("schema", "key", "value", "schema_id")
_FORMS: Final = ("json", "avro")
_SCHEMA_ID_MAX: Final = 2**31 - 1


@dataclass(frozen=True, slots=True)
class AvroOptions:
    """How records are made of the values of a file."""

    schema: Path | None = None
    key: str | None = None
    value: str = "json"
    schema_id: int | None = None


def read_options(given: object, folder: Path, what: str) -> AvroOptions:
    """Read the object ``avro`` of a topic; ``folder`` is where the seed is. Raises SeedError."""
    if not isinstance(given, Mapping):
        raise SeedError(f"{what}: avro is an object with {', '.join(KEYS)}")
    for name in given:
        if name not in KEYS:
            raise SeedError(f"{what}: avro has no {name!r}; known are {', '.join(KEYS)}")
    schema, key, value, schema_id = (given.get(name) for name in KEYS)
    for name, text in (("schema", schema), ("key", key)):
        if text is not None and not isinstance(text, str):
            raise SeedError(f"{what}: {name} of avro is a text, not {text!r}")
    if value not in (None, *_FORMS):
        raise SeedError(f"{what}: value of avro is {' or '.join(_FORMS)}, not {value!r}")
    if schema_id is not None:
        if isinstance(schema_id, bool) or not isinstance(schema_id, int) or not 0 <= schema_id <= _SCHEMA_ID_MAX:
            raise SeedError(f"{what}: schema_id of avro is a whole number from 0, not {schema_id!r}")
        if value != "avro":
            raise SeedError(f'{what}: schema_id of avro is for "value": "avro"')
    return AvroOptions(None if schema is None else folder / schema, key, value or "json", schema_id)


def read_avro(path: Path, options: AvroOptions) -> Iterator[dict[str, Any]]:
    """Yield a record for each value of a file, as a seed has it. Raises SeedError."""
    try:
        import fastavro  # noqa: PLC0415 (an optional dependency)
    except ImportError:
        raise SeedError(f"{path}: reading Avro needs another package: pip install 'kwire[avro]'") from None
    schema = None if options.schema is None else _read_schema(options.schema)
    try:
        content = io.BytesIO(path.read_bytes())
    except OSError as error:
        raise SeedError(f"cannot read {path}: {error.strerror}") from None
    try:
        reader = fastavro.reader(content, schema)
        written_as = schema if schema is not None else reader.writer_schema
        for number, value in enumerate(reader, 1):
            yield {
                "key": _key(value, options.key, f"{path}: value {number}"),
                "value": _value(value, written_as, options),
            }
    except SeedError:
        raise
    except Exception as error:  # noqa: BLE001 (a file may break the reader in any way)
        raise SeedError(f"cannot read {path} as Avro: {error or type(error).__name__}") from None


def _read_schema(path: Path) -> Any:
    import fastavro  # noqa: PLC0415

    try:
        return fastavro.parse_schema(json.loads(path.read_bytes()))
    except OSError as error:
        raise SeedError(f"cannot read {path}: {error.strerror}") from None
    except Exception as error:  # noqa: BLE001
        raise SeedError(f"{path} is no Avro schema: {error or type(error).__name__}") from None


def _key(value: Any, name: str | None, where: str) -> Any:
    if name is None:
        return None
    if not isinstance(value, Mapping) or name not in value:
        raise SeedError(f"{where} has no field {name!r}")
    key = value[name]
    return key if key is None or isinstance(key, str) else _base64(key) if isinstance(key, bytes) else to_json(key)


def _value(value: Any, schema: Any, options: AvroOptions) -> Any:
    if options.value == "json":
        return None if value is None else to_json(value)
    import fastavro  # noqa: PLC0415

    encoded = io.BytesIO()
    if options.schema_id is not None:
        encoded.write(b"\0" + options.schema_id.to_bytes(4, "big"))
    fastavro.schemaless_writer(encoded, schema, value)
    return _base64(encoded.getvalue())


def _base64(content: bytes) -> dict[str, str]:
    return {"base64": base64.b64encode(content).decode()}
