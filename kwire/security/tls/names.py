"""Distinguished names as Java prints them: the text of a principal.

Responsible for: ``distinguished_name``, the RFC 2253 form of a certificate's subject that X500Principal.getName() gives
and that Kafka's principals and mapping rules use. Must not depend on: rules.

    Name ::= SEQUENCE OF RelativeDistinguishedName       printed last to first, with "," between them
    RelativeDistinguishedName ::= SET OF AttributeTypeAndValue        printed in order, with "+" between them
    AttributeTypeAndValue ::= SEQUENCE { OBJECT IDENTIFIER, ANY }
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

_SEQUENCE, _SET, _OBJECT_IDENTIFIER = 0x30, 0x31, 0x06

# The attribute types that Java has a keyword for in this form. Others are printed as numbers, their values as hex.
_KEYWORDS: Final = {
    "2.5.4.3": "CN",
    "2.5.4.6": "C",
    "2.5.4.7": "L",
    "2.5.4.8": "ST",
    "2.5.4.9": "STREET",
    "2.5.4.10": "O",
    "2.5.4.11": "OU",
    "0.9.2342.19200300.100.1.1": "UID",
    "0.9.2342.19200300.100.1.25": "DC",
}
# UTF8String, PrintableString, T61String, IA5String, GeneralString, BMPString.
_STRINGS: Final = frozenset({0x0C, 0x13, 0x14, 0x16, 0x1B, 0x1E})
_ESCAPED: Final = frozenset(',=+<>#;"\\')


class MalformedName(ValueError):
    """Bytes that are no distinguished name."""


def distinguished_name(name: bytes) -> str:
    """Print a DER-encoded Name. Raises MalformedName."""
    try:
        _, content, _ = _element(name, 0, _SEQUENCE)
        relative = [_relative(part) for tag, part, _ in _elements(content) if tag == _SET]
    except IndexError as error:
        raise MalformedName("a distinguished name is cut short") from error
    return ",".join(reversed(relative))


def _relative(content: bytes) -> str:
    return "+".join(_attribute(part) for _, part, _ in _elements(content))


def _attribute(content: bytes) -> str:
    _, oid, end = _element(content, 0, _OBJECT_IDENTIFIER)
    tag, value, _ = _element(content, end)
    number = _dotted(oid)
    keyword = _KEYWORDS.get(number)
    if keyword is None or tag not in _STRINGS:
        return f"{keyword or number}=#{content[end:].hex()}"
    return f"{keyword}={_escaped(value.decode('utf-8', 'replace'))}"


def _escaped(text: str) -> str:
    chars = ["\\" + char if char in _ESCAPED else "\\00" if char == "\0" else char for char in text]
    whole = "".join(chars)
    inner = whole.strip(" \r")
    if not inner:
        return "".join("\\" + char for char in whole)
    start = whole.index(inner)
    before, after = whole[:start], whole[start + len(inner) :]
    return "".join("\\" + char for char in before) + inner + "".join("\\" + char for char in after)


def _dotted(oid: bytes) -> str:
    numbers: list[int] = []
    number = 0
    for byte in oid:
        number = number << 7 | byte & 0x7F
        if byte < 0x80:
            numbers.append(number)
            number = 0
    first = min(numbers[0] // 40, 2)
    return ".".join(map(str, (first, numbers[0] - 40 * first, *numbers[1:])))


def _elements(content: bytes) -> Iterator[tuple[int, bytes, int]]:
    position = 0
    while position < len(content):
        tag, value, position = _element(content, position)
        yield tag, value, position


def _element(content: bytes, position: int, wanted: int | None = None) -> tuple[int, bytes, int]:
    """Return tag, value and end of the DER element at a position."""
    tag, size = content[position], content[position + 1]
    start = position + 2
    if size >= 0x80:
        width = size & 0x7F
        size = int.from_bytes(content[start : start + width], "big")
        start += width
    if wanted is not None and tag != wanted:
        raise MalformedName(f"a distinguished name has tag {tag:#x} where {wanted:#x} belongs")
    if start + size > len(content):
        raise MalformedName("a distinguished name is cut short")
    return tag, content[start : start + size], start + size
