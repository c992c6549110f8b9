"""A quick check that a batch holds the records that its header describes.

Responsible for: telling a usual batch from one that needs a full validation. Must not depend on: error codes, topic
settings (``kwire.broker.partitions.validate``).
"""

from __future__ import annotations

from typing import Final

from kwire.wire.batches.batch import CODEC_MASK, HEADER_BYTES, BatchHeader, Buffer
from kwire.wire.varint import read_unsigned_varint, read_unsigned_varlong, read_varint

# A shorter run of equal records costs as much as its records one by one.
_RUN_MIN: Final = 8
# Records that are read one by one before the next are tried as a run of equal ones, and how many are tried then. After
# a run more are tried: each that is tried costs as much as one of a run, also if they are none.
_WALKED_AT_ONCE: Final = 64
_GROWTH: Final = 4
# The first bytes of compressed records; raw snappy blocks have no such mark.
_MAGIC: Final = {1: b"\x1f\x8b", 3: b"\x04\x22\x4d\x18", 4: b"\x28\xb5\x2f\xfd"}


def begins_with_magic_of_codec(batch: Buffer, header: BatchHeader) -> bool:
    """Tell whether the compressed records begin with the bytes that their codec always begins with."""
    magic = _MAGIC.get(header.attributes & CODEC_MASK, b"")
    return batch[HEADER_BYTES : HEADER_BYTES + len(magic)] == magic


def records_match_header(header: BatchHeader, payload: bytes, records_max: int) -> bool:
    """Tell whether ``payload`` is well-formed records with offset deltas 0, 1, 2, ... and the header's max timestamp.

    Only the first ``records_max`` records are checked; if there are more, neither the rest nor the max timestamp is
    checked. Never raises: after False, ``scan_records`` finds the error.
    """
    count = header.record_count
    try:
        position, earliest, latest = _check(payload, min(count, records_max))
    except (IndexError, ValueError):
        return False
    if header.base_timestamp + earliest < 0:
        return False  # a record without timestamp, or of one that overflows in Java
    if count > records_max:
        return position <= len(payload)
    return position == len(payload) and header.base_timestamp + latest == header.max_timestamp


def _check(payload: bytes, count: int) -> tuple[int, int, int]:
    """Return the position behind ``count`` records, the lowest timestamp delta (0 at most) and the largest.

    Raises IndexError, ValueError.
    """
    index = position = earliest = 0
    latest = -1 << 63
    if count >= _RUN_MIN:
        from kwire.wire.batches.equal_records import equal_records  # noqa: PLC0415 (with the first batch of several records)
    tried = _WALKED_AT_ONCE
    while count - index >= _RUN_MIN:
        run, position, latest_of_run = equal_records(payload, position, index, min(count, index + tried), _RUN_MIN)
        if run:
            index += run
            latest = max(latest, latest_of_run)
            tried *= _GROWTH
        else:
            tried = _WALKED_AT_ONCE
            behind = min(index + _WALKED_AT_ONCE, count)
            position, earliest, latest = _walk(payload, position, index, behind, earliest, latest)
            index = behind
    return _walk(payload, position, index, count, earliest, latest)


def _walk(  # noqa: C901, PLR0912, PLR0915, PLR0917 - see records._scan
    payload: bytes, position: int, first: int, behind: int, earliest: int, latest: int
) -> tuple[int, int, int]:
    """Read the records from ``first`` to before ``behind``; see ``_check``.

    Like ``records._scan``, but without a value for each record: half its cost, and on the way of every batch that is
    checked.
    """
    for index in range(first, behind):
        length = payload[position]
        position += 1
        if length >= 0x80:
            byte = payload[position]
            if byte < 0x80:
                length += (byte << 7) - 0x80
                position += 1
            else:
                length, position = read_unsigned_varint(payload, position - 1)
        if length & 1:
            raise ValueError("a negative length")
        end = position + (length >> 1)

        # Behind the attributes.
        position += 1
        delta = payload[position]
        position += 1
        if delta >= 0x80:
            byte = payload[position]
            if byte < 0x80:
                delta += (byte << 7) - 0x80
                position += 1
            else:
                delta, position = read_unsigned_varlong(payload, position - 1)
        delta = (delta >> 1) ^ -(delta & 1)
        if delta > latest:  # noqa: PLR1730 - a call would cost more
            latest = delta
        if delta < earliest:  # noqa: PLR1730
            earliest = delta

        delta = payload[position]
        position += 1
        if delta >= 0x80:
            byte = payload[position]
            if byte < 0x80:
                delta += (byte << 7) - 0x80
                position += 1
            else:
                delta, position = read_unsigned_varint(payload, position - 1)
        if delta != index << 1:
            raise ValueError("an offset out of sequence")

        # Key, then value: an odd number is a negative length, of which only -1 (null) is usual.
        size = payload[position]
        position += 1
        if size >= 0x80:
            byte = payload[position]
            if byte < 0x80:
                size += (byte << 7) - 0x80
                position += 1
            else:
                size, position = read_unsigned_varint(payload, position - 1)
        if not size & 1:
            position += size >> 1
        elif size != 1:
            raise ValueError("a negative key length")

        size = payload[position]
        position += 1
        if size >= 0x80:
            byte = payload[position]
            if byte < 0x80:
                size += (byte << 7) - 0x80
                position += 1
            else:
                size, position = read_unsigned_varint(payload, position - 1)
        if not size & 1:
            position += size >> 1
        elif size != 1:
            raise ValueError("a negative value length")

        header_count = payload[position]
        position += 1
        if header_count:
            position = _behind_headers(payload, position - 1, end)
        if position != end:
            raise ValueError("a record of another length")
    return position, earliest, latest


def _behind_headers(payload: bytes, position: int, end: int) -> int:
    header_count, position = read_varint(payload, position)
    if not 0 < header_count <= end - position:
        raise ValueError("a header count that cannot be")
    for _ in range(header_count):
        name_bytes, position = read_varint(payload, position)
        if name_bytes < 0:
            raise ValueError("a negative header name length")
        value_bytes, position = read_varint(payload, position + name_bytes)
        if value_bytes < -1:
            raise ValueError("a negative header value length")
        position += max(value_bytes, 0)
        if position > end:
            raise ValueError("headers beyond their record")
    return position
