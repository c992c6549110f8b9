"""Compiled schemas by their ids.

Responsible for: loading, compiling and keeping them. Must not depend on: keys and values.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, Final

from kwire.schemas.avro import compile_avro
from kwire.schemas.compiled import Compiled
from kwire.schemas.framing import SchemaId
from kwire.schemas.json_schema import compile_json_schema
from kwire.schemas.problems import SchemaError, TooSlow
from kwire.schemas.protobuf import compile_protobuf
from kwire.schemas.registry import Registry, Schema

COMPILED_MAX: Final = 200

_KINDS: Final[Mapping[str, Callable[[Schema], Compiled]]] = {
    "AVRO": compile_avro,
    "PROTOBUF": compile_protobuf,
    "JSON": compile_json_schema,
}


class CompiledSchemas:
    """The schemas of one registry that were used last."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._compiled: OrderedDict[SchemaId, tuple[str, Compiled]] = OrderedDict()

    def knows(self, schema: SchemaId) -> bool:
        """Whether no request to the registry is needed."""
        return schema in self._compiled

    async def get(self, schema: SchemaId) -> tuple[str, Compiled]:
        """Give the type of a schema and what is made of it. Raises SchemaError."""
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

    def refuse(*_arguments: object) -> Any:
        raise SchemaError(sentence)

    return Compiled(refuse, refuse)
