"""JSON Schema: the payload is JSON text.

Responsible for: checking that it is JSON. Must not depend on: the schema, which the value was checked with when it was
written.
"""

from __future__ import annotations

import json

from kwire.schemas.compiled import Compiled
from kwire.schemas.problems import SchemaError
from kwire.schemas.registry import Schema


def compile_json_schema(schema: Schema) -> Compiled:
    """Make a reader. Raises SchemaError."""
    try:
        parsed = json.loads(schema.text)
    except ValueError as error:
        raise SchemaError(f"it is not a JSON Schema: {error}") from None
    title = parsed.get("title") if isinstance(parsed, dict) else None

    def decode(payload: bytes, _indexes: bytes | None) -> tuple[str, str]:
        text = payload.decode()
        json.loads(text)
        return title if isinstance(title, str) else "", text

    return decode
