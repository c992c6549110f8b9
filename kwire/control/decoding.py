"""Keys and values of records as JSON text, and of such texts, by the schemas of a registry.

Responsible for: the field ``decoded`` of a record, and keeping the work out of the event loop. Must not depend on:
HTTP, formats.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, Final

import trio

from kwire.schemas.address import RegistryAddress
from kwire.schemas.choice import SchemaChoice
from kwire.schemas.framing import KEY_HEADER, VALUE_HEADER, find_schema, schema_header
from kwire.schemas.process import Content, SchemaProcess
from kwire.wire.batches.records import Record

_PARTS: Final = ("key", "value")


class RecordDecoder:
    """Decodes and encodes by the schemas of the registry at ``address``; one call after the other."""

    def __init__(self, address: RegistryAddress) -> None:
        self.url = address.url
        self._process = SchemaProcess(address)
        self._one = trio.CapacityLimiter(1)

    async def decoded(self, records: Sequence[Record]) -> list[dict[str, Any]]:
        """Decode the key and value of each record, where they name a schema."""
        answers = await self._ask(records, None)
        return [
            {part: answer for part, answer in zip(_PARTS, both, strict=True) if answer is not None} for both in answers
        ]

    async def holding(self, records: Sequence[Record], text: str) -> list[bool]:
        """Tell for each record whether its decoded key or value contains a text."""
        return [any(each is not None for each in both) for both in await self._ask(records, text)]

    async def _ask(self, records: Sequence[Record], text: str | None) -> list[Sequence[Any]]:
        contents = [content for record in records for content in _contents(record)]
        if not any(contents):
            return [(None, None)] * len(records)
        # The thread ends by itself after the client has closed or the broker has stopped.
        answers = await trio.to_thread.run_sync(
            partial(self._process.decode, contents, containing=text), abandon_on_cancel=True, limiter=self._one
        )
        return [answers[place : place + 2] for place in range(0, len(answers), 2)]

    async def encoded(self, choice: SchemaChoice, texts: Sequence[str]) -> list[bytes]:
        """Encode texts of JSON by one schema. Raises NotEncoded."""
        encode = partial(self._process.encode, choice, texts)
        return await trio.to_thread.run_sync(encode, abandon_on_cancel=True, limiter=self._one)

    def close(self) -> None:
        """End the process that decodes and encodes."""
        self._process.close()


def _contents(record: Record) -> tuple[Content | None, Content | None]:
    return _content(record, record.key, KEY_HEADER), _content(record, record.value, VALUE_HEADER)


def _content(record: Record, content: bytes | None, name: str) -> Content | None:
    if content is None:
        return None
    header = schema_header(record.headers, name)
    return None if find_schema(content, header) is None else Content(content, header)
