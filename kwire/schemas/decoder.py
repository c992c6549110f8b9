"""Keys and values as JSON text, by the schemas of a registry.

Responsible for: from bytes to text or to a sentence why not. Must not depend on: processes, HTTP.
"""

from __future__ import annotations

from typing import Final, TypedDict

from kwire.schemas.cache import CompiledSchemas
from kwire.schemas.compiled import Compiled
from kwire.schemas.framing import Framed, SchemaId
from kwire.schemas.problems import SchemaError, reason

TEXT_MAX: Final = 1 << 18


class Decoded(TypedDict, total=False):
    """A decoded key or value: ``type``, ``name`` and ``text``, or ``error``. ``schema`` is the id or GUID."""

    schema: SchemaId
    type: str
    name: str
    text: str
    error: str


class Decoder:
    """Decodes by the schemas of one registry."""

    def __init__(self, schemas: CompiledSchemas) -> None:
        self._schemas = schemas

    def knows(self, schema: SchemaId) -> bool:
        """Whether no request to the registry is needed."""
        return self._schemas.knows(schema)

    async def decode(self, framed: Framed) -> Decoded:
        """Decode a key or value."""
        schema = framed.schema
        try:
            kind, compiled = await self._schemas.get(schema)
            name, text = _decode(compiled, framed)
        except SchemaError as error:
            return {"schema": schema, "error": f"schema {schema}: {error}"}
        except (MemoryError, RecursionError):
            return {"schema": schema, "error": f"schema {schema}: these bytes need too much memory to decode"}
        return {"schema": schema, "type": kind, "name": name, "text": text}


def _decode(compiled: Compiled, framed: Framed) -> tuple[str, str]:
    try:
        name, text = compiled.decode(framed.payload, framed.indexes)
    except (SchemaError, MemoryError, RecursionError):
        raise
    except Exception as error:  # noqa: BLE001 (libraries raise many kinds of errors for bytes that do not fit)
        raise SchemaError(f"these bytes do not fit it: {reason(error)}") from None
    if len(text) > TEXT_MAX:
        raise SchemaError(f"its text would have {len(text)} characters; at most {TEXT_MAX} are shown")
    return name, text
