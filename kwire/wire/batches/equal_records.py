"""Records of equal size in a row, checked column by column instead of one by one.

Responsible for: recognizing such a run, and checking it as ``record_checks`` checks each record. Must not depend on:
batches, error codes.

Where records of a batch have one size, keys of one length and no headers, each byte of their structure is at the same
place in every record. A slice of bytes with that step is one call, however many records there are: a run of a thousand
takes about 20 us, and one by one a millisecond.
"""

from __future__ import annotations

from typing import Final

from kwire.wire.varint import read_unsigned_varint, read_unsigned_varlong, read_varint

# The offset deltas of a batch as varints: one byte up to the first, two bytes up to the second.
_ONE_BYTE_MAX: Final = 64
_TWO_BYTES_MAX: Final = 8192
_TIME_BYTES_MAX: Final = 5

_OFFSETS: Final = bytes(range(0, 128, 2))
_LOW_OFFSETS: Final = bytes(range(128, 256, 2)) * (_TWO_BYTES_MAX // 64)
_HIGH_OFFSETS: Final = b"".join(bytes([number]) * 64 for number in range(_TWO_BYTES_MAX // 64))
# First bytes of numbers that are not negative: alone, and with more bytes behind them.
_ONE_BYTE_TIMES: Final = bytes(range(0, 128, 2))
_FIRST_BYTES_OF_TIMES: Final = bytes(range(128, 256, 2))


def equal_records(payload: bytes, position: int, index: int, count: int, run_min: int) -> tuple[int, int, int]:
    """Check a run of well-formed records from ``index`` on, which begins at ``position``; at most up to ``count``.

    ``run_min``: a shorter run is not taken. Returns how many records it has, the position behind them and their largest
    timestamp delta, which is not negative. No record: they are to be read one by one, whether right or wrong. Raises
    IndexError, ValueError for a first record that is not well-formed.
    """
    length, attributes_at = read_unsigned_varint(payload, position)
    size = attributes_at - position + (length >> 1)
    if payload[position:attributes_at] != payload[position + size : attributes_at + size]:
        return 0, position, 0  # the usual end of a run: a record of another size
    time_at = attributes_at + 1
    time, offset_at = read_unsigned_varlong(payload, time_at)
    offset, key_length_at = read_unsigned_varint(payload, offset_at)
    key_length, key_at = read_varint(payload, key_length_at)
    value_length_at = key_at + max(key_length, 0)
    value_length, value_at = read_varint(payload, value_length_at)
    headers_at = value_at + max(value_length, 0)
    records_max = _ONE_BYTE_MAX if index < _ONE_BYTE_MAX else _TWO_BYTES_MAX
    if (
        length & 1
        or offset != index << 1
        or min(key_length, value_length) < -1
        or headers_at + 1 != position + size
        or payload[headers_at]
        or index >= records_max
        or key_length_at - offset_at != (1 if records_max == _ONE_BYTE_MAX else 2)
        or offset_at - time_at > _TIME_BYTES_MAX
    ):
        return 0, position, 0
    run = min(count - index, (len(payload) - position) // size, records_max - index)
    for begin, end in (
        (position, attributes_at),
        (time_at + 1, offset_at),
        (key_length_at, key_at),
        (value_length_at, value_at),
        (headers_at, headers_at + 1),
    ):
        for at in range(begin, end):
            column = payload[at : position + run * size : size]
            run -= len(column.lstrip(column[:1]))  # the rest from the first record on that has another byte there
    behind = position + run * size
    if run < run_min or not _are_offsets(payload[offset_at:behind:size], payload[offset_at + 1 : behind : size], index):
        return 0, position, 0
    times = payload[time_at:behind:size]
    if times.translate(None, _ONE_BYTE_TIMES if offset_at - time_at == 1 else _FIRST_BYTES_OF_TIMES):
        return 0, position, 0
    return run, behind, (time & ~0x7F | max(times) & 0x7F) >> 1


def _are_offsets(first: bytes, second: bytes, index: int) -> bool:
    """Whether these bytes of records from ``index`` on are the offset deltas ``index``, ``index + 1``, ..."""
    if index < _ONE_BYTE_MAX:
        return first == _OFFSETS[index : index + len(first)]
    behind = index + len(first)
    return first == _LOW_OFFSETS[index:behind] and second == _HIGH_OFFSETS[index:behind]
