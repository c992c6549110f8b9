"""The 61-byte header of a record batch (magic 2), read and stamped without touching the records.

Owns: where each header field lies, what a well-formed batch is, and the few header bytes that a broker may change.
May not know: what is in the records (``kwire.wire.records`` opens them), files, topics.

```
 0 base offset      int64   bytes 0-15 are the stamp: outside the CRC,
 8 length           int32   so a broker may set offset and epoch freely
12 leader epoch     int32
16 magic            int8   2; 0 and 1 are the formats before Kafka 0.11, which Kafka 4 no longer takes
17 crc              uint32 CRC-32C of everything from byte 21 on
21 attributes       int16  bits 0-2 codec, 3 log append time, 4 transactional, 5 control, 6 base timestamp
                           is a delete horizon
23 last offset delta int32
27 base timestamp   int64
35 max timestamp    int64
43 producer id      int64
51 producer epoch   int16
53 base sequence    int32
57 record count     int32
61 records
```
Length counts the bytes behind itself: a batch is length + 12 bytes long.
"""

from __future__ import annotations

from struct import Struct
from typing import Final, NamedTuple, TypeAlias

from kwire.errors import Code, KafkaError
from kwire.wire.crc import crc32c

Buffer: TypeAlias = bytes | bytearray | memoryview

HEADER_BYTES: Final = 61
# Offset and length: what must be there before anything can be said about a batch.
OVERHEAD_BYTES: Final = 12
STAMP_BYTES: Final = 16
CRC_POSITION: Final = 17
CRC_START: Final = 21
MAGIC: Final = 2

NO_PRODUCER_ID: Final = -1
NO_PRODUCER_EPOCH: Final = -1
NO_SEQUENCE: Final = -1
NO_TIMESTAMP: Final = -1

CODEC_MASK: Final = 0x07
LOG_APPEND_TIME: Final = 0x08
TRANSACTIONAL: Final = 0x10
CONTROL: Final = 0x20
DELETE_HORIZON: Final = 0x40

_HEADER: Final = Struct(">qiibIhiqqqhii")
_LENGTH: Final = Struct(">i")
_STAMP: Final = Struct(">qii")
# Byte 17 to 43: crc, attributes, last offset delta, base timestamp, max timestamp.
_TIMES: Final = Struct(">Ihiqq")
# The smallest record of magic 0 behind the length, and where the magic byte lies: Kafka's own first look.
_LEGACY_LENGTH_MIN: Final = 14
_MAGIC_POSITION: Final = 16

_MARKER_KEY: Final = Struct(">hh")
_MARKER_VALUE: Final = Struct(">hi")
_ABORT: Final = 0
_COMMIT: Final = 1

assert _HEADER.size == HEADER_BYTES
assert _STAMP.size == STAMP_BYTES


class BatchHeader(NamedTuple):
    """All header fields of one batch, in the order of the bytes."""

    base_offset: int
    length: int
    leader_epoch: int
    magic: int
    crc: int
    attributes: int
    last_offset_delta: int
    base_timestamp: int
    max_timestamp: int
    producer_id: int
    producer_epoch: int
    base_sequence: int
    record_count: int

    @property
    def size_bytes(self) -> int:
        return self.length + OVERHEAD_BYTES

    @property
    def last_offset(self) -> int:
        return self.base_offset + self.last_offset_delta

    @property
    def next_offset(self) -> int:
        return self.base_offset + self.last_offset_delta + 1

    @property
    def codec(self) -> int:
        """0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd."""
        return self.attributes & CODEC_MASK

    @property
    def is_transactional(self) -> bool:
        return bool(self.attributes & TRANSACTIONAL)

    @property
    def is_control(self) -> bool:
        return bool(self.attributes & CONTROL)

    @property
    def is_log_append_time(self) -> bool:
        return bool(self.attributes & LOG_APPEND_TIME)

    @property
    def delete_horizon_ms(self) -> int | None:
        """When a cleaner may drop the tombstones in here (KIP-534), or None if no cleaner has seen the batch."""
        return self.base_timestamp if self.attributes & DELETE_HORIZON else None

    @property
    def last_sequence(self) -> int:
        """Sequence of the last record; sequences wrap from 2^31 - 1 to 0. -1 if the batch has none."""
        if self.base_sequence < 0:
            return NO_SEQUENCE
        return (self.base_sequence + self.last_offset_delta) & 0x7FFFFFFF


def read_batch_header(view: Buffer, position: int = 0) -> BatchHeader:
    """Read the header at ``position``. No check but that 61 bytes are there (CORRUPT_MESSAGE)."""
    if len(view) - position < HEADER_BYTES:
        raise KafkaError(Code.CORRUPT_MESSAGE, f"a batch header needs {HEADER_BYTES} bytes")
    return BatchHeader._make(_HEADER.unpack_from(view, position))


def check_batches(view: Buffer) -> list[BatchHeader]:
    """Return the headers of all complete batches that a client sent, or KafkaError with the code that Kafka gives.

    CORRUPT_MESSAGE for an impossible length, an unknown magic or a wrong CRC; INVALID_RECORD for no complete batch,
    magic 0 or 1, a base offset other than 0, a control batch, or a record count that disagrees with the offsets. A
    partial batch behind the last complete one is left out, as Kafka does: the sum of ``size_bytes`` says what counts.
    """
    headers = []
    position = 0
    while True:
        size_bytes = _complete_batch_bytes(view, position)
        if size_bytes is None:
            break
        headers.append(_check_batch(view, position, size_bytes))
        position += size_bytes
    if not headers:
        raise KafkaError(Code.INVALID_RECORD, "the request holds no complete record batch")
    return headers


def is_valid_batch(view: Buffer, position: int, header: BatchHeader) -> bool:
    """Tell whether the batch at ``position``, all of which lies in ``view``, is one of magic 2 with the right CRC."""
    if header.magic != MAGIC or header.size_bytes < HEADER_BYTES:
        return False
    return crc32c(memoryview(view)[position + CRC_START : position + header.size_bytes]) == header.crc


class EndMarker(NamedTuple):
    """The record of a control batch that ends a transaction."""

    committed: bool
    coordinator_epoch: int


def read_end_marker(view: Buffer, position: int = 0) -> EndMarker | None:
    """Read the end-transaction marker of a control batch; None if the batch is empty or of another kind.

    The one record that is read here, because a log must know which transactions are open. Key: int16 version, int16
    type (0 abort, 1 commit); value: int16 version, int32 coordinator epoch.
    """
    header = read_batch_header(view, position)
    if header.record_count <= 0:
        return None
    at = position + HEADER_BYTES
    _, at = _read_varint(view, at)
    # Attributes are one byte; the deltas of time and offset are of no use here.
    _, at = _read_varint(view, at + 1)
    _, at = _read_varint(view, at)
    key_bytes, at = _read_varint(view, at)
    if key_bytes < _MARKER_KEY.size:
        return None
    _, kind = _MARKER_KEY.unpack_from(view, at)
    value_bytes, at = _read_varint(view, at + key_bytes)
    if kind not in (_ABORT, _COMMIT) or value_bytes < _MARKER_VALUE.size:
        return None
    return EndMarker(kind == _COMMIT, _MARKER_VALUE.unpack_from(view, at)[1])


def stamp(base_offset: int, length: int, leader_epoch: int) -> bytes:
    """Make the first 16 bytes of a batch. The CRC starts at byte 21, so a new stamp leaves it valid."""
    return _STAMP.pack(base_offset, length, leader_epoch)


def with_log_append_time(view: Buffer, position: int, header: BatchHeader, append_time_ms: int) -> bytes:
    """Make bytes 16 to 61 of the batch at ``position`` with its time set by the broker, and the CRC that goes with it.

    Base timestamp stays: readers take the max timestamp for every record when the log-append-time bit is set.
    """
    head = bytearray(memoryview(view)[position + STAMP_BYTES : position + HEADER_BYTES])
    attributes = header.attributes | LOG_APPEND_TIME
    times_position = CRC_POSITION - STAMP_BYTES
    _TIMES.pack_into(
        head, times_position, 0, attributes, header.last_offset_delta, header.base_timestamp, append_time_ms
    )
    crc = crc32c(memoryview(head)[CRC_START - STAMP_BYTES :])
    crc = crc32c(memoryview(view)[position + HEADER_BYTES : position + header.size_bytes], crc)
    head[times_position : times_position + 4] = crc.to_bytes(4, "big")
    return bytes(head)


def _complete_batch_bytes(view: Buffer, position: int) -> int | None:
    """Return the size of the batch at ``position``, None if it is not all there. Magic before size, as Kafka does."""
    left = len(view) - position
    if left < OVERHEAD_BYTES:
        return None
    length = _LENGTH.unpack_from(view, position + 8)[0]
    if length < _LEGACY_LENGTH_MIN:
        raise KafkaError(Code.CORRUPT_MESSAGE, f"record batch length {length} is less than the smallest possible")
    if left <= _MAGIC_POSITION:
        return None
    magic = view[position + _MAGIC_POSITION]
    if magic > MAGIC:
        raise KafkaError(Code.CORRUPT_MESSAGE, f"unknown magic {magic} in a record batch")
    if left < length + OVERHEAD_BYTES:
        return None
    return int(length) + OVERHEAD_BYTES


def _check_batch(view: Buffer, position: int, size_bytes: int) -> BatchHeader:
    magic = view[position + _MAGIC_POSITION]
    if magic != MAGIC:
        raise KafkaError(Code.INVALID_RECORD, f"only record batches of magic 2 are allowed, this one has magic {magic}")
    if size_bytes < HEADER_BYTES:
        raise KafkaError(Code.CORRUPT_MESSAGE, f"a record batch of {size_bytes} bytes is shorter than its header")
    header = BatchHeader._make(_HEADER.unpack_from(view, position))
    if header.base_offset != 0:
        raise KafkaError(Code.INVALID_RECORD, f"base offset of a new batch is 0, this one has {header.base_offset}")
    crc = crc32c(memoryview(view)[position + CRC_START : position + size_bytes])
    if crc != header.crc:
        raise KafkaError(Code.CORRUPT_MESSAGE, f"record batch is corrupt: its CRC says {header.crc}, its bytes {crc}")
    if header.record_count <= 0 or header.record_count != header.last_offset_delta + 1:
        raise KafkaError(
            Code.INVALID_RECORD,
            f"record batch counts {header.record_count} records, its last offset delta is {header.last_offset_delta}",
        )
    if header.attributes & CONTROL:
        raise KafkaError(Code.INVALID_RECORD, "clients may not write control batches")
    return header


def _read_varint(view: Buffer, at: int) -> tuple[int, int]:
    value = shift = 0
    while shift < 64:
        byte = view[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return (value >> 1) ^ -(value & 1), at
        shift += 7
    raise KafkaError(Code.CORRUPT_MESSAGE, "a varint in a control record is too long")
