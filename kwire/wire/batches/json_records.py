"""A record as a JSON object on one line: what ``kwire consume --json`` writes and ``kwire produce --json`` reads.

Responsible for: the format. Must not depend on: the source and the target of records.

    {"topic": "messages", "partition": 0, "offset": 5, "timestamp": 1767225600000, "key": null, "value": "hello",
     "headers": [["name", "value"]]}

Bytes that are not UTF-8 are written as {"base64": "..."}. A record to produce needs "value" only; its topic and offset
are ignored, because the broker assigns them. A value that is neither text, null nor base64 is produced as JSON text.
"""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any, Final, NamedTuple

from kwire.wire.batches.records import Headers

_FIELDS: Final = frozenset({"topic", "partition", "offset", "timestamp", "key", "value", "headers"})
_BASE64: Final = "base64"


class JsonRecordError(ValueError):
    """A line is not a record in JSON; the message names the line and the reason."""


class JsonRecord(NamedTuple):
    """A record that was read; ``partition`` and ``timestamp_ms`` are None where the line has none."""

    key: bytes | None
    value: bytes | None
    headers: Headers
    partition: int | None
    timestamp_ms: int | None


def record_fields(
    *,
    topic: str,
    partition: int,
    offset: int,
    timestamp_ms: int,
    key: bytes | None,
    value: bytes | None,
    headers: Headers,
) -> dict[str, Any]:
    """Return a record as a value for ``json``."""
    return {
        "topic": topic,
        "partition": partition,
        "offset": offset,
        "timestamp": timestamp_ms,
        "key": _text(key),
        "value": _text(value),
        "headers": [[name, _text(content)] for name, content in headers],
    }


def parse_record(line: bytes, number: int) -> JsonRecord:
    """Read a record from line ``number``. Raises JsonRecordError."""
    try:
        fields = json.loads(line)
    except ValueError as error:
        raise JsonRecordError(f"line {number} is not JSON: {error}") from error
    return read_record(fields, number)


def read_record(fields: object, number: int) -> JsonRecord:
    """Read a record from a JSON value; ``number`` is its place. Raises JsonRecordError."""
    if not isinstance(fields, dict) or "value" not in fields:
        raise JsonRecordError(
            f'line {number} is not a record: write {{"value": ...}}, and optionally "key" and "headers"'
        )
    unknown = sorted(fields.keys() - _FIELDS)
    if unknown:
        raise JsonRecordError(
            f"line {number}: a record has no field {unknown[0]!r}; its fields are {', '.join(sorted(_FIELDS))}"
        )
    return JsonRecord(
        _bytes(fields.get("key"), number),
        _bytes(fields["value"], number),
        _headers(fields.get("headers"), number),
        _number(fields.get("partition"), "partition", number),
        _number(fields.get("timestamp"), "timestamp", number),
    )


def _text(content: bytes | None) -> Any:
    if content is None:
        return None
    try:
        return content.decode()
    except UnicodeDecodeError:
        return {_BASE64: base64.b64encode(content).decode()}


def _bytes(value: Any, number: int) -> bytes | None:
    if value is None:
        return None
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, dict) and value.keys() == {_BASE64}:
        try:
            return base64.b64decode(value[_BASE64], validate=True)
        except (binascii.Error, TypeError, ValueError) as error:
            raise JsonRecordError(f"line {number}: {value[_BASE64]!r} is not base64") from error
    return json.dumps(value, ensure_ascii=False).encode()


def _headers(value: Any, number: int) -> Headers:
    if isinstance(value, dict):
        value = list(value.items())
    if value is None:
        return ()
    if not isinstance(value, list) or not all(
        isinstance(pair, list | tuple) and len(pair) == 2 and isinstance(pair[0], str) for pair in value
    ):
        raise JsonRecordError(f"line {number}: headers are [[name, value], ...]")
    return tuple((name, _bytes(content, number)) for name, content in value)


def _number(value: Any, what: str, number: int) -> int | None:
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise JsonRecordError(f"line {number}: {what} {value!r} is not a number from 0")
    return value
