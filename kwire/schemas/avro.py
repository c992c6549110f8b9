"""Avro: one value in the binary encoding, without the head of a file.

Responsible for: making a reader and a writer of a schema. Must not depend on: where the schema comes from.
"""

from __future__ import annotations

import io
import json
from typing import Any

import fastavro

from kwire.schemas.avro_values import AvroValues
from kwire.schemas.compiled import Compiled
from kwire.schemas.json_text import to_json
from kwire.schemas.problems import SchemaError, reason
from kwire.schemas.registry import Schema


def compile_avro(schema: Schema) -> Compiled:
    """Make a reader and a writer. Raises SchemaError."""
    named: dict[str, Any] = {}
    try:
        for _, text in schema.imports:
            fastavro.parse_schema(json.loads(text), named_schemas=named)
        parsed: Any = fastavro.parse_schema(json.loads(schema.text), named_schemas=named)
    except Exception as error:  # noqa: BLE001 (the library raises many kinds for an invalid schema)
        raise SchemaError(f"it is not an Avro schema: {reason(error)}") from None
    kind = parsed.get("type") if isinstance(parsed, dict) else parsed
    name = parsed.get("name", kind) if isinstance(parsed, dict) else kind
    read = _read_bytes if kind == "bytes" else _read

    def decode(payload: bytes, _indexes: bytes | None) -> tuple[str, str]:
        return name if isinstance(name, str) else "union", to_json(read(payload, parsed))

    values = AvroValues(parsed, named)

    def encode(text: str, _message: str | None) -> bytes:
        content = io.BytesIO()
        fastavro.schemaless_writer(content, parsed, values.read(text))
        return content.getvalue()

    return Compiled(decode, encode)


def _read(payload: bytes, parsed: Any) -> Any:
    return fastavro.schemaless_reader(io.BytesIO(payload), parsed, None)


def _read_bytes(payload: bytes, parsed: Any) -> Any:
    """Read a value of type bytes, which Java's serializer writes without its length."""
    content = io.BytesIO(payload)
    try:
        value = fastavro.schemaless_reader(content, parsed, None)
    except (EOFError, ValueError):
        return payload
    return payload if content.read(1) else value
