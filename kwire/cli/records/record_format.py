r"""The formats of ``kwire consume -f``, which are kcat's.

Responsible for: reading a format and writing records with it. Must not depend on: the source of records.

``%s`` value, ``%S`` its length or -1, ``%R`` its length as four bytes, ``%k`` key, ``%K`` its length or -1, ``%t``
topic, ``%p`` partition, ``%o`` offset, ``%T`` timestamp in ms, ``%h`` headers as ``name=value,name=value``, ``%%`` a
percent sign; ``\n \r \t \xHH`` as in C. Nothing is added at the end of a record.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Mapping
from typing import Any, Final

_TOKEN: Final = re.compile(r"%(.)|\\x([0-9a-fA-F]{2})|\\(.)|([^%\\]+)", re.DOTALL)
_ESCAPES: Final = {"n": b"\n", "r": b"\r", "t": b"\t", "\\": b"\\"}


class FormatError(ValueError):
    """The format has a part that is not known; the message names it."""


def compile_format(text: str) -> Callable[[Any], bytes]:
    """Make a function from a record (of kafka-python) to its bytes. Raises FormatError."""
    parts: list[bytes | Callable[[Any], bytes]] = []
    position = 0
    for token in _TOKEN.finditer(text):
        if token.start() != position:
            break
        position = token.end()
        parts.append(_part(token))
    if position != len(text):
        raise FormatError(f"{text[position:]!r} ends in the middle of an escape")
    return lambda record: b"".join(part if isinstance(part, bytes) else part(record) for part in parts)


def _part(token: re.Match[str]) -> bytes | Callable[[Any], bytes]:
    percent, code, escaped, literal = token.groups()
    if literal is not None:
        return literal.encode()
    if code is not None:
        return bytes([int(code, 16)])
    if escaped is not None:
        return _ESCAPES.get(escaped, escaped.encode())
    if percent == "%":
        return b"%"
    if percent not in _FIELDS:
        raise FormatError(f"%{percent} is not known; known are {' '.join('%' + name for name in _FIELDS)} and %%")
    return _FIELDS[percent]


def _length(content: bytes | None) -> int:
    return -1 if content is None else len(content)


def _headers(record: Any) -> bytes:
    return b",".join(name.encode() + b"=" + (b"NULL" if value is None else value) for name, value in record.headers)


_FIELDS: Final[Mapping[str, Callable[[Any], bytes]]] = {
    "s": lambda record: bytes(record.value or b""),
    "S": lambda record: b"%d" % _length(record.value),
    "R": lambda record: struct.pack(">i", _length(record.value)),
    "k": lambda record: bytes(record.key or b""),
    "K": lambda record: b"%d" % _length(record.key),
    "t": lambda record: str(record.topic).encode(),
    "p": lambda record: b"%d" % record.partition,
    "o": lambda record: b"%d" % record.offset,
    "T": lambda record: b"%d" % record.timestamp,
    "h": _headers,
}
