"""Keys and values of JSON text, by the schemas of a registry.

Responsible for: from text to bytes with the id of their schema, or to a sentence why not. Must not depend on:
processes, HTTP.
"""

from __future__ import annotations

from kwire.schemas.cache import CompiledSchemas
from kwire.schemas.choice import SchemaChoice
from kwire.schemas.framing import frame
from kwire.schemas.problems import SchemaError, reason
from kwire.schemas.registry import Registry


class Encoder:
    """Encodes by the schemas of one registry."""

    def __init__(self, schemas: CompiledSchemas, registry: Registry) -> None:
        self._schemas = schemas
        self._registry = registry

    async def find(self, choice: SchemaChoice) -> int:
        """Ask for the id of a version of a subject. Raises SchemaError."""
        return await self._registry.find(choice["subject"], choice.get("version"))

    async def encode(self, schema_id: int, message: str | None, text: str) -> bytes:
        """Give a key or value as serializers write it. Raises SchemaError."""
        try:
            kind, compiled = await self._schemas.get(schema_id)
            if message is not None and kind != "PROTOBUF":
                raise SchemaError(f"a message is chosen in Protobuf only, and it is {kind}")
            return frame(schema_id, compiled.encode(text, message))
        except SchemaError as error:
            raise SchemaError(f"schema {schema_id}: {error}") from None
        except (MemoryError, RecursionError):
            raise SchemaError(f"schema {schema_id}: this value needs too much memory to encode") from None
        except Exception as error:  # noqa: BLE001 (libraries raise many kinds of errors for values that do not fit)
            raise SchemaError(f"schema {schema_id}: this value does not fit it: {reason(error)}") from None
