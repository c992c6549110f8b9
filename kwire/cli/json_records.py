"""A record as a JSON object on one line: what ``kwire consume --json`` writes and ``kwire produce --json`` reads.

Owns: the form. May not know: where records come from and go.

    {"topic": "messages", "partition": 0, "offset": 5, "timestamp": 1767225600000, "key": null, "value": "hello",
     "headers": [["name", "value"]]}

Bytes that are no UTF-8 stand as {"base64": "..."}. What is read may leave out everything but the value; topic and
offset are passed over, as they are the broker's to give. A value that is neither text, null nor base64 goes to the
topic as the JSON that it is.
"""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any, Final, NamedTuple

from kwire.wire.records import Headers

_FIELDS: Final = frozenset({"topic", "partition", "offset", "timestamp", "key", "value", "headers"})
_BASE64: Final = "base64"


class JsonRecordError(ValueError):
    """A line is no record in JSON; the message says which line and why."""


class JsonRecord(NamedTuple):
    """A record that was read; ``partition`` and ``timestamp_ms`` are None where it says none."""

    key: bytes | None
    value: bytes | None
    headers: Headers
    partition: int | None
    timestamp_ms: int | None


def format_record(
    *,
    topic: str,
    partition: int,
    offset: int,
    timestamp_ms: int,
    key: bytes | None,
    value: bytes | None,
    headers: Headers,
) -> str:
    """Write a record as one line, without its end."""
    return json.dumps(
        {
            "topic": topic,
            "partition": partition,
            "offset": offset,
            "timestamp": timestamp_ms,
            "key": _text(key),
            "value": _text(value),
            "headers": [[name, _text(content)] for name, content in headers],
        },
        ensure_ascii=False,
    )


def parse_record(line: bytes, number: int) -> JsonRecord:
    """Read a record from line ``number``. Raises JsonRecordError."""
    try:
        found = json.loads(line)
    except ValueError as error:
        raise JsonRecordError(f"line {number} is no JSON: {error}") from error
    if not isinstance(found, dict) or "value" not in found:
        raise JsonRecordError(f'line {number} is no record: write {{"value": ...}}, and "key" and "headers" if wanted')
    unknown = sorted(found.keys() - _FIELDS)
    if unknown:
        raise JsonRecordError(f"line {number}: a record has no {unknown[0]!r}; it has {', '.join(sorted(_FIELDS))}")
    return JsonRecord(
        _bytes(found.get("key"), number),
        _bytes(found["value"], number),
        _headers(found.get("headers"), number),
        _number(found.get("partition"), "partition", number),
        _number(found.get("timestamp"), "timestamp", number),
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
            raise JsonRecordError(f"line {number}: {value[_BASE64]!r} is no base64") from error
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
        raise JsonRecordError(f"line {number}: {what} {value!r} is no number")
    return value
