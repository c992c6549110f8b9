"""Variable-length integers, as records and compact fields hold them.

Responsible for: the protobuf encoding, 7 bits a byte, lowest first; plain for lengths and counts, zig-zag where a value
may be negative. Must not depend on: the meaning of numbers.

A varint has at most 5 bytes and 32 bits, a varlong at most 10 bytes and 64 bits. Bits beyond are dropped, as in Kafka;
a byte more is a ValueError, and bytes that end too early are an IndexError.
"""

from __future__ import annotations

from typing import Final

_VARINT_BYTES_MAX: Final = 5
_VARLONG_BYTES_MAX: Final = 10

_ONE_BYTE: Final = tuple(bytes([value]) for value in range(0x80))


def encode_varint(value: int) -> bytes:
    """Encode a signed number, zig-zag. Also for varlongs: the bytes do not depend on the width."""
    zigzag = value << 1 if value >= 0 else (~value << 1) | 1
    return _ONE_BYTE[zigzag] if zigzag < 0x80 else encode_unsigned_varint(zigzag)


def encode_unsigned_varint(value: int) -> bytes:
    """Encode a number that is not negative. Also for varlongs. Raises ValueError for a negative one."""
    if 0 <= value < 0x80:
        return _ONE_BYTE[value]
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def read_varint(buffer: bytes | bytearray | memoryview, position: int) -> tuple[int, int]:
    """Read a signed 32-bit number; returns it and the position behind it."""
    raw, position = _read(buffer, position, _VARINT_BYTES_MAX)
    raw &= 0xFFFF_FFFF
    return (raw >> 1) ^ -(raw & 1), position


def read_unsigned_varint(buffer: bytes | bytearray | memoryview, position: int) -> tuple[int, int]:
    """Read an unsigned 32-bit number; returns it and the position behind it."""
    raw, position = _read(buffer, position, _VARINT_BYTES_MAX)
    return raw & 0xFFFF_FFFF, position


def read_unsigned_varlong(buffer: bytes | bytearray | memoryview, position: int) -> tuple[int, int]:
    """Read an unsigned 64-bit number; returns it and the position behind it."""
    raw, position = _read(buffer, position, _VARLONG_BYTES_MAX)
    return raw & 0xFFFF_FFFF_FFFF_FFFF, position


def _read(buffer: bytes | bytearray | memoryview, position: int, bytes_max: int) -> tuple[int, int]:
    raw = 0
    for shift in range(0, 7 * bytes_max, 7):
        byte = buffer[position]
        position += 1
        raw |= (byte & 0x7F) << shift
        if byte < 0x80:
            return raw, position
    raise ValueError(f"a variable-length integer of more than {bytes_max} bytes")
