"""Lines of text as records, and back: the input of the console producer and the output of the console consumer.

Responsible for: the properties of Kafka's line reader and default formatter (key, headers, null marker, separators,
the columns before a value), and the deserializers by name. Must not depend on: producers, consumers.
"""

from __future__ import annotations

import math
import struct
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, NamedTuple

from kwire.wire.batches.records import Headers


class LineError(ValueError):
    """A line does not fit the properties, or the properties do not fit each other."""


class Line(NamedTuple):
    key: bytes | None
    value: bytes | None
    headers: Headers


@dataclass(frozen=True, slots=True)
class LineReader:
    """Turns a line into a record's key, value and headers; fields as Kafka's ``LineMessageReader`` has them."""

    parse_key: bool = False
    parse_headers: bool = False
    ignore_error: bool = False
    key_separator: bytes = b"\t"
    headers_delimiter: bytes = b"\t"
    headers_separator: bytes = b","
    headers_key_separator: bytes = b":"
    null_marker: bytes | None = None

    @classmethod
    def of(cls, properties: Mapping[str, str]) -> LineReader:
        """Make a reader out of properties, and ignore unknown ones. Raises LineError."""
        fields: dict[str, Any] = {
            name: properties[name.replace("_", ".")].strip().lower() == "true"
            for name in ("parse_key", "parse_headers", "ignore_error")
            if name.replace("_", ".") in properties
        }
        fields |= {
            name: properties[name.replace("_", ".")].encode()
            for name in ("key_separator", "headers_delimiter", "headers_separator", "null_marker")
            if name.replace("_", ".") in properties
        }
        if "headers.key.separator" in properties:
            fields["headers_key_separator"] = properties["headers.key.separator"].encode()
        reader = cls(**fields)
        reader._check()
        return reader

    def _check(self) -> None:
        separators = {
            "headers.delimiter": self.headers_delimiter,
            "headers.separator": self.headers_separator,
            "headers.key.separator": self.headers_key_separator,
        }
        names = list(separators)
        for index, first in enumerate(names):
            for second in names[index + 1 :]:
                if separators[first] == separators[second]:
                    raise LineError(f"{first} and {second} may not be equal")
        for name, value in {"key.separator": self.key_separator, **separators}.items():
            if value == self.null_marker:
                raise LineError(f"null.marker and {name} may not be equal")

    def read(self, line: bytes, number: int) -> Line:
        """Split a line without its end. Raises LineError."""
        headers: Headers = ()
        key: bytes | None = None
        rest = line
        if self.parse_headers:
            text, rest = self._split(rest, line, self.headers_delimiter, "headers delimiter", number)
            headers = () if text is None or text == self.null_marker else tuple(self._headers(text, number))
        if self.parse_key:
            key, rest = self._split(rest, line, self.key_separator, "key separator", number)
        return Line(self._null(key), self._null(rest), headers)

    def _split(self, rest: bytes, line: bytes, separator: bytes, what: str, number: int) -> tuple[bytes | None, bytes]:
        head, found, tail = rest.partition(separator)
        if found:
            return head, tail
        if self.ignore_error:
            return None, rest
        raise LineError(f"No {what} found on line number {number}: '{line.decode(errors='replace')}'")

    def _headers(self, text: bytes, number: int) -> Iterator[tuple[str, bytes | None]]:
        for pair in text.split(self.headers_separator):
            name, found, value = pair.partition(self.headers_key_separator)
            if not found and not self.ignore_error:
                raise LineError(
                    f"No header key separator found in pair '{pair.decode(errors='replace')}' on line number {number}"
                )
            if name == self.null_marker:
                marker = name.decode(errors="replace")
                raise LineError(f"Header keys should not be equal to the null marker '{marker}' as they can't be null")
            yield name.decode(errors="replace"), self._null(value) if found else None

    def _null(self, value: bytes | None) -> bytes | None:
        return None if value == self.null_marker else value


class ConsumedRecord(NamedTuple):
    """A record to print; ``timestamp_type`` is 0 for create time, 1 for log append time.

    ``delivery_count`` is that of a share group, else None.
    """

    partition: int
    offset: int
    timestamp_ms: int
    timestamp_type: int
    leader_epoch: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    delivery_count: int | None = None


Deserializer = Callable[[bytes], bytes]


@dataclass(frozen=True, slots=True)
class LineFormatter:
    """Writes a record as Kafka's ``DefaultMessageFormatter`` does."""

    print_timestamp: bool = False
    print_partition: bool = False
    print_offset: bool = False
    print_delivery: bool = False
    print_epoch: bool = False
    print_headers: bool = False
    print_key: bool = False
    print_value: bool = True
    key_separator: bytes = b"\t"
    line_separator: bytes = b"\n"
    headers_separator: bytes = b","
    null_literal: bytes = b"null"
    key_deserializer: Deserializer | None = None
    value_deserializer: Deserializer | None = None
    headers_deserializer: Deserializer | None = None

    @classmethod
    def of(cls, properties: Mapping[str, str]) -> LineFormatter:
        """Make a formatter out of properties. Raises LineError for a deserializer that is not known here."""
        fields: dict[str, Any] = {
            f"print_{what}": properties[f"print.{what}"].strip().lower() == "true"
            for what in ("timestamp", "partition", "offset", "delivery", "epoch", "headers", "key", "value")
            if f"print.{what}" in properties
        }
        fields |= {
            name: properties[name.replace("_", ".")].encode()
            for name in ("key_separator", "line_separator", "headers_separator", "null_literal")
            if name.replace("_", ".") in properties
        }
        fields |= {
            f"{what}_deserializer": deserializer(properties[f"{what}.deserializer"])
            for what in ("key", "value", "headers")
            if f"{what}.deserializer" in properties
        }
        if "header.deserializer" in properties:  # the name in Kafka's help text
            fields["headers_deserializer"] = deserializer(properties["header.deserializer"])
        return cls(**fields)

    def write(self, record: ConsumedRecord) -> bytes:
        """Return the line, with its end."""
        columns = []
        if self.print_timestamp:
            kind = ("CreateTime", "LogAppendTime")[record.timestamp_type] if record.timestamp_ms >= 0 else None
            columns.append(b"NO_TIMESTAMP" if kind is None else f"{kind}:{record.timestamp_ms}".encode())
        if self.print_partition:
            columns.append(b"Partition:%d" % record.partition)
        if self.print_offset:
            columns.append(b"Offset:%d" % record.offset)
        if self.print_delivery:
            count = record.delivery_count
            columns.append(b"Delivery:NOT_PRESENT" if count is None else b"Delivery:%d" % count)
        if self.print_epoch:
            columns.append(b"Epoch:%d" % record.leader_epoch if record.leader_epoch >= 0 else b"Epoch:NOT_PRESENT")
        if self.print_headers:
            columns.append(self._headers(record.headers))
        if self.print_key:
            columns.append(self._field(record.key, self.key_deserializer))
        if self.print_value:
            columns.append(self._field(record.value, self.value_deserializer))
        return self.key_separator.join(columns) + self.line_separator

    def _headers(self, headers: Headers) -> bytes:
        if not headers:
            return b"NO_HEADERS"
        return self.headers_separator.join(
            name.encode() + b":" + self._field(value, self.headers_deserializer) for name, value in headers
        )

    def _field(self, value: bytes | None, deserialize: Deserializer | None) -> bytes:
        if value is None:
            return self.null_literal
        return value if deserialize is None else deserialize(value)


def deserializer(name: str) -> Deserializer:
    """Find a deserializer by its Java class name, with or without the package. Raises LineError."""
    short = name.removeprefix("org.apache.kafka.common.serialization.").removesuffix("Deserializer")
    found = _DESERIALIZERS.get(short)
    if found is None:
        raise LineError(
            f"{name} is a Java class that cannot be loaded here; supported are "
            + ", ".join(f"{each}Deserializer" for each in _DESERIALIZERS)
        )
    return found


def _number(layout: str, what: str) -> Deserializer:
    size = struct.calcsize(layout)

    def read(value: bytes) -> bytes:
        if len(value) != size:
            raise LineError(f"Size of data received by {what}Deserializer is not {size}")
        return java_number(struct.unpack(layout, value)[0], double=layout == ">d").encode()

    return read


def java_number(number: float, *, double: bool) -> str:
    """Write a number as Java does: 1.0E10, NaN, Infinity, and the fewest digits that parse to the same number."""
    if isinstance(number, int):
        return str(number)
    if math.isnan(number):
        return "NaN"
    if math.isinf(number):
        return "Infinity" if number > 0 else "-Infinity"
    exact = Decimal(repr(number) if double else _shortest_float(number)).normalize()
    sign, digits, exponent = exact.as_tuple()
    assert isinstance(exponent, int)
    if number == 0 or 1e-3 <= abs(number) < 1e7:
        plain = f"{exact:f}"
        return plain if "." in plain else f"{plain}.0"
    rest = "".join(map(str, digits[1:])) or "0"
    return f"{'-' if sign else ''}{digits[0]}.{rest}E{len(digits) + exponent - 1}"


def _shortest_float(number: float) -> str:
    for digits in range(1, 10):
        text = f"{number:.{digits}g}"
        # Rounding up the largest float overflows.
        with suppress(OverflowError):
            if struct.unpack(">f", struct.pack(">f", float(text)))[0] == number:
                return text
    return repr(number)


def _boolean(value: bytes) -> bytes:
    if value not in (b"\0", b"\1"):
        raise LineError(
            "Size of data received by BooleanDeserializer is not 1" if len(value) != 1 else "Unexpected byte"
        )
    return b"true" if value == b"\1" else b"false"


def _uuid(value: bytes) -> bytes:
    try:
        return str(uuid.UUID(value.decode())).encode()
    except ValueError as error:
        raise LineError("Error parsing data into UUID") from error


def _escaped(value: bytes) -> bytes:
    r"""Write bytes as Kafka's ``Bytes`` does: printable ASCII except the backslash is unchanged, all else is \xHH."""
    return "".join(chr(each) if 32 <= each < 127 and each != 92 else f"\\x{each:02X}" for each in value).encode()


def _hex(value: bytes) -> bytes:
    return value.hex().encode()


def _void(_value: bytes) -> bytes:
    raise LineError("Data should be null for a VoidDeserializer.")


_DESERIALIZERS: Final[dict[str, Deserializer]] = {
    "String": lambda value: value.decode(errors="replace").encode(),
    "Integer": _number(">i", "Integer"),
    "Long": _number(">q", "Long"),
    "Short": _number(">h", "Short"),
    "Float": _number(">f", "Float"),
    "Double": _number(">d", "Double"),
    "Boolean": _boolean,
    "UUID": _uuid,
    "Bytes": _escaped,
    # Java prints the class and identity of an array, which is useless; kwire prints the bytes in hex.
    "ByteArray": _hex,
    "Void": _void,
}
