"""Schemas by their ids, from a schema registry.

Responsible for: the REST calls, the meaning of their answers, schemas that refer to others, remembering failures. Must
not depend on: how HTTP is spoken, formats.

The calls of Confluent Schema Registry, which Karapace and Apicurio (under /apis/ccompat/v7) document too:

    GET /schemas/ids/17, /schemas/guids/GUID
    GET /subjects/NAME/versions/3             a schema that another refers to
    GET /subjects/NAME/versions/latest        the schema to write by

A second request, with ``?format=serialized``, asks for a Protobuf schema as a FileDescriptorProto in base64 instead of
its source. It is sent for Protobuf alone: some versions of registries fail for the other types.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, TypeAlias
from urllib.parse import quote, unquote

import trio

from kwire.schemas.address import ANSWER_S
from kwire.schemas.framing import SchemaId
from kwire.schemas.problems import SchemaError

# A failure is answered from memory for so long.
FAILURE_KEPT_S: Final = 10.0
REFERENCES_MAX: Final = 100
_FAILURES_MAX: Final = 1000
# Source has spaces and braces: a registry that does not know ``format`` for a path answers with source.
_BASE64: Final = re.compile(r"[A-Za-z0-9+/]+={0,2}")

# ``await fetch(path)`` gives status and body. Raises SchemaError without an answer.
Fetch: TypeAlias = Callable[[str], Awaitable[tuple[int, bytes]]]


@dataclass(frozen=True, slots=True)
class Schema:
    """A schema as the registry has it.

    ``imports`` are the schemas that it refers to, with their names; each comes after those that it refers to itself.
    """

    kind: str
    text: str
    imports: tuple[tuple[str, str], ...] = ()


class _Given(NamedTuple):
    """A schema as an answer has it; ``serialized`` of Protobuf, where the registry has that form."""

    name: str
    source: str
    serialized: str | None


class Registry:
    """Loads schemas. ``name`` is its URL in sentences, without a password; ``answer_s`` as of ``RegistryAddress``."""

    def __init__(self, name: str, fetch: Fetch, *, answer_s: float = ANSWER_S) -> None:
        self._answer_s = answer_s
        self._name = name
        self._fetch = fetch
        self._failures: dict[SchemaId | None, tuple[float, str]] = {}

    async def load(self, schema_id: SchemaId) -> Schema:
        """Get a schema and the schemas that it refers to. Raises SchemaError."""
        self._raise_remembered(schema_id)
        try:
            with trio.fail_after(self._answer_s):
                return await self._load(schema_id)
        except trio.TooSlowError:
            sentence = f"{self._name} did not answer within {self._answer_s:g} s"
            raise self._remembered(schema_id, SchemaError(sentence, about_registry=True)) from None
        except SchemaError as error:
            raise self._remembered(schema_id, error) from None

    async def find(self, subject: str, version: int | None) -> int:
        """Ask for the id of a version of a subject, of the latest without ``version``. Raises SchemaError.

        A failure is not remembered: who writes a record waits for the answer.
        """
        path = f"/subjects/{quote(subject, safe='')}/versions/{'latest' if version is None else version}"
        try:
            with trio.fail_after(self._answer_s):
                answer = await self._get(path)
        except trio.TooSlowError:
            raise SchemaError(f"{self._name} did not answer within {self._answer_s:g} s") from None
        self._failures.pop(None, None)
        schema_id = answer.get("id")
        if not isinstance(schema_id, int) or not 0 < schema_id < 1 << 31:
            raise SchemaError(f"{self._name} answered without the id of a schema")
        return schema_id

    async def _load(self, schema_id: SchemaId) -> Schema:
        path = f"/schemas/{'guids' if isinstance(schema_id, str) else 'ids'}/{schema_id}"
        answer = await self._get(path)
        kind = answer.get("schemaType") or "AVRO"
        found: dict[tuple[str, int], _Given] = {}
        await self._import(answer, kind, found, [])
        given = [*found.values(), await self._given("", answer, kind, path)]
        # Some registries serialize a file alone and not one that it imports: they must all be of one form.
        texts = [(each.name, each.serialized) for each in given if each.serialized is not None]
        if len(texts) < len(given):
            texts = [(each.name, each.source) for each in given]
        return Schema(kind, texts[-1][1], tuple(texts[:-1]))

    async def _import(
        self,
        answer: dict[str, Any],
        kind: str,
        found: dict[tuple[str, int], _Given],
        parents: list[tuple[str, int]],
    ) -> None:
        """Add the schemas that a schema refers to, depth first."""
        for name, place in _references(answer, self._name):
            if place in parents:
                raise SchemaError(f"{self._name} has a schema that refers to itself: {place[0]} version {place[1]}")
            if place in found:
                continue
            if len(found) + len(parents) >= REFERENCES_MAX:
                raise SchemaError(f"it refers to more than {REFERENCES_MAX} schemas")
            subject, version = place
            path = f"/subjects/{quote(subject, safe='')}/versions/{version}"
            needed = await self._get(path)
            await self._import(needed, kind, found, [*parents, place])
            found[place] = await self._given(name, needed, kind, path)

    async def _given(self, name: str, answer: dict[str, Any], kind: str, path: str) -> _Given:
        serialized = None
        if kind == "PROTOBUF":
            with contextlib.suppress(SchemaError):  # a registry that has the source alone
                serialized = str((await self._get(f"{path}?format=serialized"))["schema"])
        is_base64 = serialized is not None and _BASE64.fullmatch(serialized) is not None
        return _Given(name, str(answer["schema"]), serialized if is_base64 else None)

    async def _get(self, path: str) -> dict[str, Any]:
        status, body = await self._fetch(path)
        if status != 200:
            raise self._refusal(status, path)
        try:
            answer = json.loads(body)
        except (ValueError, RecursionError):
            raise SchemaError(f"{self._name} answered with something that is not JSON") from None
        if not isinstance(answer, dict) or not isinstance(answer.get("schema"), str):
            raise SchemaError(f"{self._name} answered with JSON that is not a schema")
        if not isinstance(answer.get("schemaType") or "", str):
            raise SchemaError(f"{self._name} answered with a schema of an unknown type")
        return answer

    def _refusal(self, status: int, path: str) -> SchemaError:
        if status == 404:
            what = "it" if path.startswith("/schemas") else unquote(path.removeprefix("/subjects/"))
            return SchemaError(f"{self._name} does not have {what}")
        if status in (401, 403):
            return SchemaError(f"{self._name} refused the login (HTTP status {status})", about_registry=True)
        if 300 <= status < 400:
            sentence = f"{self._name} sends elsewhere (HTTP status {status}): give that address instead"
            return SchemaError(sentence, about_registry=True)
        return SchemaError(f"{self._name} answered with HTTP status {status}", about_registry=status >= 500)

    def _raise_remembered(self, schema_id: SchemaId) -> None:
        for about in (None, schema_id):
            failed = self._failures.get(about)
            if failed is not None and trio.current_time() < failed[0]:
                raise SchemaError(failed[1])

    def _remembered(self, schema_id: SchemaId, error: SchemaError) -> SchemaError:
        if len(self._failures) >= _FAILURES_MAX:
            self._failures.clear()
        about = None if error.about_registry else schema_id
        self._failures[about] = (trio.current_time() + FAILURE_KEPT_S, str(error))
        return error


def _references(answer: dict[str, Any], name: str) -> list[tuple[str, tuple[str, int]]]:
    """Give name, subject and version of each schema that a schema refers to."""
    references = answer.get("references") or []
    try:
        return [(str(each["name"]), (str(each["subject"]), int(each["version"]))) for each in references]
    except (KeyError, TypeError, ValueError):
        raise SchemaError(f"{name} answered with references that cannot be read") from None
