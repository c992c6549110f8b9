"""Records whose keys and values are decoded by the schemas of a registry.

Responsible for: the texts in place of bytes, and a note where they cannot be decoded. Must not depend on: consumers,
the format of lines.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from kwire.cli.connections.broker_option import note
from kwire.schemas.address import RegistryAddress
from kwire.schemas.framing import KEY_HEADER, VALUE_HEADER, schema_header
from kwire.schemas.process import Content, SchemaProcess


@dataclass(frozen=True, slots=True)
class DecodedRecord:
    """A record of a consumer with the text of its key and value."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Any


class RecordTexts:
    """Decodes one record after the other."""

    def __init__(self, registry: RegistryAddress) -> None:
        self._process = SchemaProcess(registry)
        self._noted: set[str] = set()

    def decoded(self, record: Any) -> dict[str, Any]:
        """Decode key and value, where they name a schema, as the HTTP interface does."""
        contents = [
            None if content is None else Content(bytes(content), schema_header(record.headers, header))
            for content, header in ((record.key, KEY_HEADER), (record.value, VALUE_HEADER))
        ]
        answers = zip(("key", "value"), self._process.decode(contents), strict=True)
        return {part: answer for part, answer in answers if answer is not None}

    def replaced(self, record: Any) -> DecodedRecord:
        """Give the record with texts for bytes.

        A key or value that is not decoded keeps its bytes; each reason is noted once.
        """
        decoded = self.decoded(record)
        for answer in decoded.values():
            if "error" in answer and answer["error"] not in self._noted:
                self._noted.add(answer["error"])
                note(answer["error"])

        def text(part: str, content: bytes | None) -> bytes | None:
            found = decoded.get(part, {}).get("text")
            return content if found is None else found.encode()

        return DecodedRecord(
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            timestamp=record.timestamp,
            key=text("key", record.key),
            value=text("value", record.value),
            headers=record.headers,
        )

    def close(self) -> None:
        """End the process that decodes."""
        self._process.close()
