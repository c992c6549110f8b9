"""Requests that repeat an earlier one except for its records, recognized by their bytes.

Responsible for: the bytes that frames with one records field have in common, and replies made by packing numbers into
an encoded one. Must not depend on: single APIs.

Two produce requests of one client for one partition differ only in the correlation id and the records; comparing the
other bytes costs a quarter of decoding them.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import NamedTuple

from kwire.wire.codec import RequestHeader, encode_parts
from kwire.wire.compilation.decoding import read_varint
from kwire.wire.compilation.encoding import write_varint
from kwire.wire.message import Message

# API key and version, which are compared, and the correlation id, which is not.
START = Struct(">ii")
# The fill of a reply: its correlation id, and the numbers that the template was made with.
Fill = Callable[..., bytes]


class Shape(NamedTuple):
    """The bytes of a frame from byte 8 to the length of its records, and those behind the records."""

    before: bytes
    behind: bytes


def shape_of(header: RequestHeader, frame: memoryview, request: Message) -> Shape | None:
    """Return the shape of a frame with one records field of compact length; None if it has not exactly that.

    None too if ``request``, which ``frame`` was decoded into, would be encoded in other bytes.
    """
    parts = encode_parts(request, header.api_version)
    if len(parts) != 3:
        return None
    first, records, last = bytes(parts[0]), parts[1], bytes(parts[2])
    length = write_varint(len(records) + 1)
    # The records are a view of the frame, so they are in it where they should be if what surrounds them is; comparing
    # views of a large batch costs 6 ns a byte.
    start = header.body_position + len(first)
    end = start + len(records)
    if (
        not first.endswith(length)
        or len(frame) != end + len(last)
        or frame[header.body_position : start] != first
        or frame[end:] != last
    ):
        return None
    return Shape(bytes(frame[START.size : header.body_position]) + first[: -len(length)], last)


def records_between(frame: memoryview, position: int, behind: bytes) -> memoryview | None:
    """Return the records whose compact length is at ``position``; None unless exactly ``behind`` follows them.

    Raises ProtocolViolation for an invalid length; there must be at least five bytes.
    """
    length = frame[position]
    position += 1
    if length > 127:
        second = frame[position]
        if second < 128:
            length = length & 127 | second << 7
            position += 1
        else:
            length, position = read_varint(frame, position, length)
    end = position + length - 1
    return frame[position:end] if length and frame[end:] == behind else None


def reply_template(reply: bytes, format_: str, *numbers: int) -> Fill:
    """Make ``fill(correlation_id, *numbers)`` out of a reply that holds ``numbers`` once, packed by ``format_``."""
    packed = Struct(f">{format_}").pack(*numbers)
    at = reply.index(packed)
    assert reply.find(packed, at + 1) < 0, "numbers that are in the reply more than once"
    middle, end = reply[START.size : at], reply[at + len(packed) :]
    pack = Struct(f">4si{len(middle)}s{format_}{len(end)}s").pack
    size = reply[:4]

    def fill(correlation_id: int, *numbers: int) -> bytes:
        return pack(size, correlation_id, middle, *numbers, end)

    return fill
