"""Single records inside a batch: the slow path.

Responsible for: the record format of magic 2, opening a batch and building one. Must not depend on: which batch a topic
accepts (``kwire.broker.partitions.validate``), files, settings.

A batch's payload, behind its header and decompressed, is record after record; every number is a varint (zig-zag):

```
length            of all that follows
attributes        int8, none in use
timestamp delta   to the batch's base timestamp
offset delta      to the batch's base offset
key length, key   -1 is null
value length, value
header count, and for each: name length, name (UTF-8), value length, value
```

Bytes may be hostile: a count or a length is not used before it is compared with the bytes left, and a decompressed
payload is bounded by the caller's ``limit_bytes``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from struct import Struct
from typing import Final, NamedTuple, TypeAlias

from kwire.errors import Code, KafkaError
from kwire.limits import OPENED_BYTES_MAX
from kwire.wire.batches.batch import (
    CONTROL,
    CRC_POSITION,
    CRC_START,
    DELETE_HORIZON,
    HEADER_BYTES,
    LOG_APPEND_TIME,
    MAGIC,
    NO_PRODUCER_EPOCH,
    NO_PRODUCER_ID,
    NO_SEQUENCE,
    NO_TIMESTAMP,
    OVERHEAD_BYTES,
    TRANSACTIONAL,
    BatchHeader,
    Buffer,
    read_batch_header,
)
from kwire.wire.batches.compression import Codec, compress, decompress
from kwire.wire.batches.crc import crc32c
from kwire.wire.varint import encode_varint, read_unsigned_varint, read_unsigned_varlong, read_varint

Headers: TypeAlias = tuple[tuple[str, bytes | None], ...]

_HEADER: Final = Struct(">qiibIhiqqqhii")
_TOO_LARGE: Final = 2**63


class Record(NamedTuple):
    """One record as a reader sees it: offset and timestamp are absolute."""

    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: Headers = ()


class Span(NamedTuple):
    """The position of a record in its payload. The end of a null key or value is less than its start."""

    offset_delta: int
    timestamp_delta: int
    start: int
    key_start: int
    key_end: int
    value_start: int
    value_end: int
    header_count: int
    headers_start: int
    end: int


def read_records(batch: Buffer, *, limit_bytes: int = OPENED_BYTES_MAX) -> Iterator[Record]:
    """Yield the records of one batch; one that is empty (compacted away) yields none.

    KafkaError as ``open_batch`` and ``scan_records`` raise it; a caller that needs all records or none makes a list.
    """
    header = read_batch_header(batch)
    return make_records(header, open_batch(batch, header, limit_bytes=limit_bytes))


def open_batch(batch: Buffer, header: BatchHeader, *, limit_bytes: int = OPENED_BYTES_MAX) -> bytes:
    """Return the plain payload of the batch. KafkaError as ``decompress`` raises it."""
    if header.record_count == 0:
        return b""
    return decompress(header.codec, memoryview(batch)[HEADER_BYTES : header.size_bytes], limit_bytes=limit_bytes)


def make_records(header: BatchHeader, payload: bytes) -> Iterator[Record]:
    """Yield the records that lie in an opened payload."""
    for span in scan_records(header.record_count, payload):
        yield make_record(header, payload, span)


def make_record(header: BatchHeader, payload: bytes, span: Span) -> Record:
    """Make the record at ``span``."""
    return Record(
        header.base_offset + span.offset_delta,
        timestamp_of(header, span),
        payload[span.key_start : span.key_end] if span.key_end >= span.key_start else None,
        payload[span.value_start : span.value_end] if span.value_end >= span.value_start else None,
        _read_headers(payload, span) if span.header_count else (),
    )


def timestamp_of(header: BatchHeader, span: Span) -> int:
    """Return the time of the record at ``span``; with log append time the broker's time stands for every record."""
    if header.attributes & LOG_APPEND_TIME:
        return header.max_timestamp
    timestamp_ms = header.base_timestamp + span.timestamp_delta
    # The sum of two 64-bit numbers wraps in Java; only a hostile batch has such numbers.
    return (
        timestamp_ms if -_TOO_LARGE <= timestamp_ms < _TOO_LARGE else (timestamp_ms + _TOO_LARGE) % 2**64 - _TOO_LARGE
    )


def scan_records(record_count: int, payload: bytes) -> Iterator[Span]:
    """Yield where each record is, without making it. KafkaError(INVALID_RECORD) at the first that is not well formed.

    Also when fewer or more than ``record_count`` records are there.
    """
    if record_count < 0:
        raise KafkaError(Code.INVALID_RECORD, f"found invalid record count {record_count}")
    try:
        yield from _scan(record_count, payload)
    except IndexError as error:
        raise KafkaError(Code.INVALID_RECORD, "a record batch ends within a record") from error
    except ValueError as error:
        raise KafkaError(Code.INVALID_RECORD, f"found invalid record structure: {error}") from error


def with_timestamp_delta(payload: bytes, span: Span, timestamp_delta: int) -> bytes:
    """Return the record at ``span`` with another timestamp delta and all else as it is."""
    # Behind the length: one byte of attributes, then the delta to be replaced.
    position = span.start + 1
    while payload[position] >= 0x80:
        position += 1
    body = _NO_ATTRIBUTES + encode_varint(timestamp_delta) + payload[position + 1 : span.end]
    return encode_varint(len(body)) + body


def build_batch(
    records: Iterable[Record],
    *,
    base_offset: int = 0,
    leader_epoch: int = -1,
    codec: Codec = Codec.NONE,
    level: int | None = None,
    log_append_time_ms: int | None = None,
    producer_id: int = NO_PRODUCER_ID,
    producer_epoch: int = NO_PRODUCER_EPOCH,
    base_sequence: int = NO_SEQUENCE,
    transactional: bool = False,
    control: bool = False,
    last_offset: int | None = None,
    delete_horizon_ms: int | None = None,
) -> bytes:
    """Build one batch. Timestamps are create times unless ``log_append_time_ms`` is given.

    ``last_offset`` and ``delete_horizon_ms`` are a cleaner's: the first keeps the last offset, and so the last
    sequence, of a batch whose last records were removed; the second is stored as the base timestamp (KIP-534).
    """
    base_timestamp = delete_horizon_ms
    max_timestamp = NO_TIMESTAMP
    offset = base_offset - 1
    parts = []
    for record in records:
        offset, timestamp_ms, key, value, headers = record
        if base_timestamp is None:
            base_timestamp = timestamp_ms
        max_timestamp = max(max_timestamp, timestamp_ms)
        parts.append(_encode_record(offset - base_offset, timestamp_ms - base_timestamp, key, value, headers))
    attributes = (
        codec
        | (LOG_APPEND_TIME if log_append_time_ms is not None else 0)
        | (TRANSACTIONAL if transactional else 0)
        | (CONTROL if control else 0)
        | (DELETE_HORIZON if delete_horizon_ms is not None else 0)
    )
    return assemble_batch(
        BatchHeader(
            base_offset=base_offset,
            length=0,
            leader_epoch=leader_epoch,
            magic=MAGIC,
            crc=0,
            attributes=attributes,
            last_offset_delta=(offset if last_offset is None else last_offset) - base_offset,
            base_timestamp=NO_TIMESTAMP if base_timestamp is None else base_timestamp,
            max_timestamp=max_timestamp if log_append_time_ms is None else log_append_time_ms,
            producer_id=producer_id,
            producer_epoch=producer_epoch,
            base_sequence=base_sequence,
            record_count=len(parts),
        ),
        compress(codec, b"".join(parts), level) if parts else b"",
    )


def assemble_batch(header: BatchHeader, payload: bytes | memoryview) -> bytes:
    """Put a header before a payload, compressed with the header's codec already; length and CRC are computed."""
    length = HEADER_BYTES + len(payload) - OVERHEAD_BYTES
    batch = bytearray(HEADER_BYTES + len(payload))
    _HEADER.pack_into(batch, 0, *header._replace(length=length, crc=0))
    batch[HEADER_BYTES:] = payload
    crc = crc32c(memoryview(batch)[CRC_START:])
    batch[CRC_POSITION : CRC_POSITION + 4] = crc.to_bytes(4, "big")
    return bytes(batch)


# ---- one record

# A named tuple's own constructor is a Python function that calls this.
_new_span: Final = tuple.__new__


def _scan(record_count: int, payload: bytes) -> Iterator[Span]:  # noqa: C901, PLR0912, PLR0915 - inlined
    """Walk over the records. Raises IndexError where they end too early, ValueError for invalid records.

    The start of coordinators and compaction spend most of their time in this loop. Nearly every number in a record has
    one or two bytes, and a call for each would cost more than all the rest, so those cases are inlined, six times.
    """
    position = 0
    for _ in range(record_count):
        length = payload[position]
        position += 1
        if length >= 0x80:
            byte = payload[position]
            if byte < 0x80:
                length += (byte << 7) - 0x80
                position += 1
            else:
                length, position = read_unsigned_varint(payload, position - 1)
        length = (length >> 1) ^ -(length & 1)
        start = position
        end = position + length
        if length < 0 or end > len(payload):
            raise ValueError(f"a record of {length} bytes where {len(payload) - position} are left")
        position += 1

        timestamp_delta = payload[position]
        position += 1
        if timestamp_delta >= 0x80:
            byte = payload[position]
            if byte < 0x80:
                timestamp_delta += (byte << 7) - 0x80
                position += 1
            else:
                timestamp_delta, position = read_unsigned_varlong(payload, position - 1)
        timestamp_delta = (timestamp_delta >> 1) ^ -(timestamp_delta & 1)

        offset_delta = payload[position]
        position += 1
        if offset_delta >= 0x80:
            byte = payload[position]
            if byte < 0x80:
                offset_delta += (byte << 7) - 0x80
                position += 1
            else:
                offset_delta, position = read_unsigned_varint(payload, position - 1)
        offset_delta = (offset_delta >> 1) ^ -(offset_delta & 1)

        key_bytes = payload[position]
        position += 1
        if key_bytes >= 0x80:
            byte = payload[position]
            if byte < 0x80:
                key_bytes += (byte << 7) - 0x80
                position += 1
            else:
                key_bytes, position = read_unsigned_varint(payload, position - 1)
        key_bytes = (key_bytes >> 1) ^ -(key_bytes & 1)
        key_start = position
        if key_bytes > 0:
            position += key_bytes

        value_bytes = payload[position]
        position += 1
        if value_bytes >= 0x80:
            byte = payload[position]
            if byte < 0x80:
                value_bytes += (byte << 7) - 0x80
                position += 1
            else:
                value_bytes, position = read_unsigned_varint(payload, position - 1)
        value_bytes = (value_bytes >> 1) ^ -(value_bytes & 1)
        value_start = position
        if value_bytes > 0:
            position += value_bytes

        header_count, position = payload[position], position + 1
        if header_count >= 0x80:
            header_count, position = read_unsigned_varint(payload, position - 1)
        header_count = (header_count >> 1) ^ -(header_count & 1)
        headers_start = position
        if header_count:
            position = _skip_headers(payload, position, header_count, end)
        if position != end:
            raise ValueError(f"a record of {length} bytes holds {position - start}")
        yield _new_span(
            Span,
            (
                offset_delta,
                timestamp_delta,
                start,
                key_start,
                key_start + key_bytes if key_bytes >= 0 else -1,
                value_start,
                value_start + value_bytes if value_bytes >= 0 else -1,
                header_count,
                headers_start,
                end,
            ),
        )
    if position != len(payload):
        raise ValueError("there are more records than it counts")


def _skip_headers(payload: bytes, position: int, header_count: int, end: int) -> int:
    if not 0 < header_count <= end - position:
        raise ValueError(f"{header_count} record headers in {end - position} bytes")
    for _ in range(header_count):
        name_bytes, position = read_varint(payload, position)
        if name_bytes < 0:
            raise ValueError(f"a record header's name of {name_bytes} bytes")
        value_bytes, position = read_varint(payload, position + name_bytes)
        position += max(value_bytes, 0)
        if position > end:
            raise ValueError("record headers beyond their record")
    return position


def _read_headers(payload: bytes, span: Span) -> Headers:
    headers = []
    position = span.headers_start
    for _ in range(span.header_count):
        name_bytes, position = read_varint(payload, position)
        # Names are not checked when they are produced; Java reads invalid UTF-8 with replacement characters.
        name = payload[position : position + name_bytes].decode("utf-8", "replace")
        value_bytes, position = read_varint(payload, position + name_bytes)
        value = None
        if value_bytes >= 0:
            value = payload[position : position + value_bytes]
            position += value_bytes
        headers.append((name, value))
    return tuple(headers)


_NULL: Final = encode_varint(-1)
_NO_HEADERS: Final = encode_varint(0)
_NO_ATTRIBUTES: Final = b"\x00"


def _encode_record(
    offset_delta: int, timestamp_delta: int, key: bytes | None, value: bytes | None, headers: Headers
) -> bytes:
    body = b"".join(
        (
            _NO_ATTRIBUTES,
            encode_varint(timestamp_delta),
            encode_varint(offset_delta),
            _NULL if key is None else encode_varint(len(key)) + key,
            _NULL if value is None else encode_varint(len(value)) + value,
            _encode_headers(headers) if headers else _NO_HEADERS,
        )
    )
    return encode_varint(len(body)) + body


def _encode_headers(headers: Headers) -> bytes:
    parts = [encode_varint(len(headers))]
    for name, value in headers:
        name_bytes = name.encode()
        parts += (encode_varint(len(name_bytes)), name_bytes)
        parts.append(_NULL if value is None else encode_varint(len(value)) + value)
    return b"".join(parts)
