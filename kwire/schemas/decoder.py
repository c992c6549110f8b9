"""Keys and values as JSON text, by the schemas of a registry.

Responsible for: from bytes to text or to a sentence why not; keeping compiled schemas. Must not depend on: processes,
HTTP.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, Final, TypedDict

from kwire.schemas.avro import compile_avro
from kwire.schemas.compiled import Compiled
from kwire.schemas.framing import Framed, SchemaId
from kwire.schemas.json_schema import compile_json_schema
from kwire.schemas.problems import SchemaError, TooSlow, reason
from kwire.schemas.protobuf import compile_protobuf
from kwire.schemas.registry import Registry, Schema

COMPILED_MAX: Final = 200
TEXT_MAX: Final = 1 << 18

_KINDS: Final[Mapping[str, Callable[[Schema], Compiled]]] = {
    "AVRO": compile_avro,
    "PROTOBUF": compile_protobuf,
    "JSON": compile_json_schema,
}


class Decoded(TypedDict, total=False):
    """A decoded key or value: ``type``, ``name`` and ``text``, or ``error``. ``schema`` is the id or GUID."""

    schema: SchemaId
    type: str
    name: str
    text: str
    error: str


class Decoder:
    """Decodes by the schemas of one registry."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._compiled: OrderedDict[SchemaId, tuple[str, Compiled]] = OrderedDict()

    def knows(self, schema: SchemaId) -> bool:
        """Whether no request to the registry is needed."""
        return schema in self._compiled

    async def decode(self, framed: Framed) -> Decoded:
        """Decode a key or value."""
        schema = framed.schema
        try:
            kind, compiled = await self._compiled_of(schema)
            name, text = _decode(compiled, framed)
        except SchemaError as error:
            return {"schema": schema, "error": f"schema {schema}: {error}"}
        except (MemoryError, RecursionError):
            return {"schema": schema, "error": f"schema {schema}: these bytes need too much memory to decode"}
        return {"schema": schema, "type": kind, "name": name, "text": text}

    async def _compiled_of(self, schema: SchemaId) -> tuple[str, Compiled]:
        if schema in self._compiled:
            self._compiled.move_to_end(schema)
            return self._compiled[schema]
        loaded = await self._registry.load(schema)
        make = _KINDS.get(loaded.kind)
        if make is None:
            raise SchemaError(f"its type {loaded.kind} is not one of {', '.join(_KINDS)}")
        self._compiled[schema] = found = (loaded.kind, _contained(make, loaded))
        if len(self._compiled) > COMPILED_MAX:
            self._compiled.popitem(last=False)
        return found


def _contained(make: Callable[[Schema], Compiled], schema: Schema) -> Compiled:
    """Compile a schema; one that cannot be compiled gives the same error for each of its values."""
    try:
        return make(schema)
    except TooSlow:
        raise
    except SchemaError as error:
        sentence = str(error)

    def refuse(_payload: bytes, _indexes: bytes | None) -> Any:
        raise SchemaError(sentence)

    return refuse


def _decode(compiled: Compiled, framed: Framed) -> tuple[str, str]:
    try:
        name, text = compiled(framed.payload, framed.indexes)
    except (SchemaError, MemoryError, RecursionError):
        raise
    except Exception as error:  # noqa: BLE001 (libraries raise many kinds of errors for bytes that do not fit)
        raise SchemaError(f"these bytes do not fit it: {reason(error)}") from None
    if len(text) > TEXT_MAX:
        raise SchemaError(f"its text would have {len(text)} characters; at most {TEXT_MAX} are shown")
    return name, text
