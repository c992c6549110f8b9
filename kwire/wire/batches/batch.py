"""The 61-byte header of a record batch (magic 2), read and stamped without touching the records.

Responsible for: where each header field is, what a well-formed batch is, and the few header bytes that a broker may
change. Must not depend on: the content of records (``kwire.wire.batches.records`` reads them), files, topics.

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
from kwire.types import quick
from kwire.wire.batches.crc import crc32c

Buffer: TypeAlias = bytes | bytearray | memoryview

HEADER_BYTES: Final = 61
# Offset and length: the bytes from which the size of a batch is known.
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
# Bits without a meaning are stored as they were sent, until the broker has to write the attributes itself.
ATTRIBUTES_IN_USE: Final = 0x7F

_HEADER: Final = Struct(">qiibIhiqqqhii")
_LENGTH_AND_MAGIC: Final = Struct(">8xi4xb")
_STAMP: Final = Struct(">qii")
# Byte 17 to 43: crc, attributes, last offset delta, base timestamp, max timestamp.
_TIMES: Final = Struct(">Ihiqq")
# The smallest record of magic 0 behind the length, and where the magic byte is: Kafka's own first look.
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
        """The size of the whole batch: ``length`` and the 12 bytes up to its end."""
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
        """When compaction may drop the batch's tombstones (KIP-534); None before its first compaction."""
        return self.base_timestamp if self.attributes & DELETE_HORIZON else None

    @property
    def last_sequence(self) -> int:
        """Sequence of the last record; sequences wrap from 2^31 - 1 to 0. -1 if the batch has none."""
        if self.base_sequence < 0:
            return NO_SEQUENCE
        return (self.base_sequence + self.last_offset_delta) & 0x7FFFFFFF


_as_header: Final = quick(BatchHeader)


def read_batch_header(view: Buffer, position: int = 0) -> BatchHeader:
    """Read the header at ``position``. Checks only that there are 61 bytes (CORRUPT_MESSAGE)."""
    if len(view) - position < HEADER_BYTES:
        raise KafkaError(Code.CORRUPT_MESSAGE, f"a batch header needs {HEADER_BYTES} bytes")
    return _as_header(_HEADER.unpack_from(view, position))


def read_only_batch(records: memoryview) -> BatchHeader:
    """Read the header of the one batch of magic 2 that a client sent for a partition (ProduceRequest's own checks).

    An incomplete batch behind it is ignored: ``size_bytes`` is the size of the first. Raises KafkaError:
    CORRUPT_MESSAGE for a length or a magic that no batch has; INVALID_RECORD for no whole batch, two of them, or
    magic 0 or 1. ``check_batch`` checks what the CRC covers.
    """
    if len(records) >= HEADER_BYTES:
        header = _as_header(_HEADER.unpack_from(records))
        if header.length == len(records) - OVERHEAD_BYTES and header.magic == MAGIC:
            return header  # the usual case: one batch, and nothing else
    size = _whole_batch_bytes(records, 0)
    if size is None or records[_MAGIC_POSITION] != MAGIC:
        raise KafkaError(Code.INVALID_RECORD)
    if size != len(records) and _whole_batch_bytes(records, size) is not None:
        raise KafkaError(Code.INVALID_RECORD)
    if size < HEADER_BYTES:
        raise KafkaError(Code.CORRUPT_MESSAGE)
    return _as_header(_HEADER.unpack_from(records))


def check_batch(batch: memoryview, header: BatchHeader) -> None:
    """Check the header and the CRC of a whole batch that a client sent, with Apache Kafka's codes.

    Raises KafkaError: CORRUPT_MESSAGE for a wrong CRC; INVALID_RECORD for a base offset other than 0, a record count
    that disagrees with the offsets, or a control batch.
    """
    base_offset, _, _, _, expected, attributes, last_delta, _, _, _, _, _, count = header
    if base_offset != 0:
        raise KafkaError(Code.INVALID_RECORD, f"base offset of a new batch is 0, this one has {base_offset}")
    crc = crc32c(batch[CRC_START:])
    if crc != expected:
        raise KafkaError(Code.CORRUPT_MESSAGE, f"record batch is corrupt: its CRC says {expected}, its bytes {crc}")
    if count <= 0 or count != last_delta + 1:
        raise KafkaError(
            Code.INVALID_RECORD, f"record batch counts {count} records, its last offset delta is {last_delta}"
        )
    if attributes & CONTROL:
        raise KafkaError(Code.INVALID_RECORD, "clients may not write control batches")


def is_valid_batch(view: Buffer, position: int, header: BatchHeader) -> bool:
    """Tell whether the batch at ``position``, all of which is in ``view``, is one of magic 2 with the right CRC."""
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
    attributes = header.attributes & ATTRIBUTES_IN_USE | LOG_APPEND_TIME
    times_position = CRC_POSITION - STAMP_BYTES
    _TIMES.pack_into(
        head, times_position, 0, attributes, header.last_offset_delta, header.base_timestamp, append_time_ms
    )
    crc = crc32c(memoryview(head)[CRC_START - STAMP_BYTES :])
    crc = crc32c(memoryview(view)[position + HEADER_BYTES : position + header.size_bytes], crc)
    head[times_position : times_position + 4] = crc.to_bytes(4, "big")
    return bytes(head)


def _whole_batch_bytes(view: memoryview, position: int) -> int | None:
    """Return the size of the batch at ``position``, None if it is not all there.

    Raises KafkaError(CORRUPT_MESSAGE) for a length or a magic that no batch has.
    """
    left = len(view) - position
    if left <= _MAGIC_POSITION:
        return None
    length, magic = _LENGTH_AND_MAGIC.unpack_from(view, position)
    if length < _LEGACY_LENGTH_MIN:
        raise KafkaError(Code.CORRUPT_MESSAGE)
    if not 0 <= magic <= MAGIC:
        raise KafkaError(Code.CORRUPT_MESSAGE)
    size: int = OVERHEAD_BYTES + length
    return size if size <= left else None


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
