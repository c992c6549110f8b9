"""Keys and values of text that are encoded by the schemas of a registry.

Responsible for: reading a schema of the command line, and the bytes of a text of JSON. Must not depend on: producers,
how lines become records.
"""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

from kwire.schemas.address import RegistryAddress
from kwire.schemas.choice import SchemaChoice
from kwire.schemas.problems import NotEncoded
from kwire.schemas.process import SchemaProcess

Part: TypeAlias = Literal["key", "value"]
PARTS: Final[tuple[Part, Part]] = ("key", "value")


def read_schema(text: str, message: str | None) -> SchemaChoice:
    """Read an id, or a subject whose latest version is used."""
    choice: SchemaChoice = {"id": int(text)} if text.isdecimal() else {"subject": text}
    if message is not None:
        choice["message"] = message
    return choice


class RecordEncoder:
    """Encodes the parts that have a schema. A subject is asked for once: all records have the same schema."""

    def __init__(self, registry: RegistryAddress, choices: dict[Part, SchemaChoice]) -> None:
        self._process = SchemaProcess(registry)
        self._choices = choices
        self._found: dict[Part, SchemaChoice] = {}

    def encodes(self, part: Part) -> bool:
        """Whether this part of a record has a schema."""
        return part in self._choices

    def encode(self, part: Part, text: str) -> bytes:
        """Encode a text of JSON. Raises NotEncoded."""
        try:
            if part not in self._found:
                self._found[part] = self._process.find(self._choices[part])
            return self._process.encode(self._found[part], [text])[0]
        except NotEncoded as error:
            raise NotEncoded(f"{part}: {error}", error.place) from None

    def close(self) -> None:
        """End the process that encodes."""
        self._process.close()
