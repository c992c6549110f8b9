"""Validation of the batch that a producer sent, by the topic's settings, before it is appended.

Responsible for: which batches are opened, the checks of their records, which are recompressed. Must not
depend on: requests, the log, sequences (the log's producer state checks those), leadership.

A batch is opened when the topic's settings concern single records: compacted (every record needs a key), a limit on old
timestamps, another compression than the producer's; and when its header shows a time too far in the future or claims
log append time. How far other batches are checked is ``RecordChecks``; docs/decisions/checked-records.md has the
reasons and the numbers.

Codes and messages are those that Apache Kafka 4.3.1 gave to the same bytes. Some look odd and are kept: a batch that
does not decompress, and compressed records whose offsets have a gap, are UNKNOWN_SERVER_ERROR, while a gap in plain
records passes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import partial
from typing import Final, NamedTuple, TypeAlias

from kwire.errors import Code, KafkaError
from kwire.limits import (
    CHECKED_BYTES_MAX,
    CHECKED_RECORDS_MAX,
    OPENED_BYTES_MAX,
    OPENED_INLINE_BYTES_MAX,
    OPENED_INLINE_RECORDS_MAX,
)
from kwire.wire.batches.batch import (
    ATTRIBUTES_IN_USE,
    CODEC_MASK,
    HEADER_BYTES,
    LOG_APPEND_TIME,
    NO_TIMESTAMP,
    TRANSACTIONAL,
    BatchHeader,
    read_batch_header,
)
from kwire.wire.batches.compression import Codec, compress
from kwire.wire.batches.record_checks import begins_with_magic_of_codec, records_match_header
from kwire.wire.batches.records import (
    Span,
    assemble_batch,
    build_batch,
    make_record,
    open_batch,
    scan_records,
    timestamp_of,
)

NO_LIMIT_MS: Final = 2**63 - 1
_CODECS: Final = frozenset(map(int, Codec))
# The default of max.decompressed.message.bytes: the largest array of Java.
NO_RECORD_LIMIT: Final = 2**31 - 9


class RecordChecks(Enum):
    """Which batches have their records checked when no topic setting asks for it (``kwire.record.checks``)."""

    STRICT = "strict"
    """Every batch, as in Apache Kafka."""
    FIRST = "first"
    """The first batches of each connection, up to ``CHECKED_RECORDS_MAX`` records and ``CHECKED_BYTES_MAX`` opened."""
    HEADER = "header"
    """None: size, CRC, counts and the first bytes of compressed records are all that is checked."""


@dataclass(frozen=True, slots=True)
class ValidationSettings:
    """The topic configs that a batch is validated by. The defaults are Kafka's."""

    codec: Codec | None = None
    """``compression.type``; None is "producer": keep what was sent."""
    compression_level: int | None = None
    compacted: bool = False
    log_append_time: bool = False
    timestamp_before_max_ms: int = NO_LIMIT_MS
    timestamp_after_max_ms: int = 3_600_000
    max_message_bytes: int = 1_048_588
    opened_bytes_max: int = OPENED_BYTES_MAX
    """Largest decompressed size of a batch that is opened; Kafka has no such limit."""
    record_bytes_max: int = NO_RECORD_LIMIT
    """``max.decompressed.message.bytes``: the largest record that a compressed batch may hold."""
    record_checks: RecordChecks = RecordChecks.FIRST
    strict: bool = field(init=False)
    opens_all: bool = field(init=False)
    """Whether every batch is opened, whatever its header holds."""
    opens_few: bool = field(init=False)
    """Whether an uncompressed batch of a trusted connection is opened only for what its header holds."""

    def __post_init__(self) -> None:
        limits_age = self.timestamp_before_max_ms != NO_LIMIT_MS and not self.log_append_time
        limits_records = self.record_bytes_max < NO_RECORD_LIMIT
        object.__setattr__(self, "strict", self.record_checks is RecordChecks.STRICT)
        object.__setattr__(self, "opens_all", self.compacted or limits_age or limits_records)
        keeps_codec = self.codec is None or self.codec is Codec.NONE
        object.__setattr__(self, "opens_few", keeps_codec and not self.opens_all and not self.strict)


# The bytes to append: the producer's own, or new ones.
Validated: TypeAlias = tuple[memoryview, BatchHeader]


class RecordError(NamedTuple):
    """One record that is refused; ``batch_index`` is its place in the batch (KIP-467)."""

    batch_index: int
    message: str

    def __str__(self) -> str:
        return f"RecordError(batchIndex={self.batch_index}, message='{self.message}')"


class InvalidRecords(KafkaError):
    """The batch is refused because of some of its records."""

    def __init__(self, code: Code, record_errors: Sequence[RecordError], message: str) -> None:
        super().__init__(code, message)
        self.record_errors = record_errors


class LargeBatch(Exception):
    """The batch holds too much to be validated on the event loop.

    ``validate``, in a thread, does it and keeps the result; ``result`` returns it to the append, which then checks
    leader, configs and producer state as they are at that time.
    """

    def __init__(
        self,
        batch: memoryview,
        header: BatchHeader,
        settings: ValidationSettings,
        now_ms: int,
        partition: object,
        *,
        trusted: bool,
    ) -> None:
        super().__init__(f"{len(batch)} bytes for {partition}")
        self._settings = settings
        self._validate = partial(validate, batch, header, now_ms=now_ms, partition=str(partition), trusted=trusted)
        self._validated: Validated | None = None
        self._refusal: KafkaError | None = None

    def validate(self) -> None:
        """Validate. Touches nothing that the event loop changes, so a thread may call it."""
        try:
            self._validated = self._validate(settings=self._settings)
        except KafkaError as refusal:
            # Their tracebacks would keep the opened batch in memory.
            refusal.__cause__ = refusal.__context__ = None
            self._refusal = refusal.with_traceback(None)

    def result(self, settings: ValidationSettings) -> Validated:
        """Return or raise the result of ``validate``; validates again if the topic has other settings by now."""
        if self._settings != settings:
            return self._validate(settings=settings)
        if self._refusal is not None:
            try:
                raise self._refusal
            finally:
                self._refusal = None  # no cycle with its traceback
        assert self._validated is not None
        return self._validated


def validate(
    batch: memoryview,
    header: BatchHeader,
    settings: ValidationSettings,
    now_ms: int,
    *,
    partition: object,
    trusted: bool = False,
    inline: bool = False,
) -> Validated:
    """Validate the batch that a producer sent to ``partition`` (which is only named in messages).

    ``check_batch`` has found size, CRC and counts in order. ``trusted``: the first batches of the producer's connection
    were checked already. ``inline``: called on the event loop. Raises InvalidRecords, or KafkaError: INVALID_RECORD,
    MESSAGE_TOO_LARGE, UNKNOWN_SERVER_ERROR; if ``inline``, LargeBatch for what takes too long there.
    """
    if (
        trusted
        and settings.opens_few
        and not header.attributes
        and (header.producer_id < 0 or header.base_sequence >= 0)
        and len(batch) <= settings.max_message_bytes
        and header.max_timestamp - now_ms <= settings.timestamp_after_max_ms
    ):
        return batch, header  # the usual case, in which none of the checks below would find anything
    if len(batch) > settings.max_message_bytes:
        raise KafkaError(
            Code.MESSAGE_TOO_LARGE,
            f"The record batch size in the append to {partition} is {len(batch)} bytes which exceeds the "
            f"maximum configured value of {settings.max_message_bytes}.",
        )
    if header.producer_id >= 0 and header.base_sequence < 0:
        raise KafkaError(
            Code.INVALID_RECORD,
            f"Invalid sequence number {header.base_sequence} in record batch with producerId {header.producer_id} in "
            f"topic partition {partition}",
        )
    codec = header.attributes & CODEC_MASK
    if codec not in _CODECS:
        raise KafkaError(Code.UNKNOWN_SERVER_ERROR, f"Unknown compression type id: {codec}")
    must_open = (
        settings.opens_all
        or (settings.codec is not None and settings.codec != codec)
        or header.attributes & LOG_APPEND_TIME
        or (header.max_timestamp - now_ms > settings.timestamp_after_max_ms and not settings.log_append_time)
    )
    strict = settings.strict and not must_open
    if inline and (must_open or strict) and _is_large(batch, header):
        raise LargeBatch(batch, header, settings, now_ms, partition, trusted=trusted)
    if not must_open:
        if not (codec or settings.strict or not trusted) or _is_usual(batch, header, settings, trusted=trusted):
            return batch, header
        # The slow path finds the error or corrects the header.
        if inline and not strict and _is_large(batch, header):
            raise LargeBatch(batch, header, settings, now_ms, partition, trusted=trusted)
    return _Opened(batch, header, settings, now_ms, partition).judge()


def _is_large(batch: memoryview, header: BatchHeader) -> bool:
    """Whether opening the batch and looking at each record takes more than about a millisecond."""
    if header.record_count > OPENED_INLINE_RECORDS_MAX or len(batch) > OPENED_INLINE_BYTES_MAX:
        return True
    try:
        open_batch(batch, header, limit_bytes=OPENED_INLINE_BYTES_MAX)
    except KafkaError as error:
        return error.code is Code.RECORD_LIST_TOO_LARGE
    return False


def _is_usual(batch: memoryview, header: BatchHeader, settings: ValidationSettings, *, trusted: bool) -> bool:
    """Whether the batch passes the checks that ``record_checks`` asks for; False: it must be opened."""
    if not begins_with_magic_of_codec(batch, header):
        return False
    if settings.strict:
        records_max, opened_bytes_max = header.record_count, settings.opened_bytes_max
    elif trusted or settings.record_checks is RecordChecks.HEADER:
        return True
    else:
        records_max, opened_bytes_max = CHECKED_RECORDS_MAX, min(CHECKED_BYTES_MAX, settings.opened_bytes_max)
    try:
        payload = open_batch(batch, header, limit_bytes=opened_bytes_max)
    except KafkaError as error:
        # Too large for this check, which is no error.
        return error.code is Code.RECORD_LIST_TOO_LARGE and not settings.strict
    return records_match_header(header, payload, records_max)


class _Opened:
    """One batch whose records are validated one by one."""

    def __init__(
        self, batch: memoryview, header: BatchHeader, settings: ValidationSettings, now_ms: int, partition: object
    ) -> None:
        self.batch = batch
        self.header = header
        self.settings = settings
        self.now_ms = now_ms
        self.partition = partition
        self.codec = Codec(header.codec) if settings.codec is None else settings.codec
        self.payload = self._open()

    def _open(self) -> bytes:
        try:
            return open_batch(self.batch, self.header, limit_bytes=self.settings.opened_bytes_max)
        except KafkaError as error:
            code = Code.UNKNOWN_SERVER_ERROR
            if error.code is Code.RECORD_LIST_TOO_LARGE:
                # Apache Kafka has no such refusal. With this code producers split the batch and try again.
                code = Code.MESSAGE_TOO_LARGE
            raise KafkaError(code, error.message) from error

    def judge(self) -> Validated:
        max_timestamp = NO_TIMESTAMP
        in_order = True
        errors: list[tuple[Code, RecordError]] = []
        bytes_max = self.settings.record_bytes_max if self.header.codec else NO_RECORD_LIMIT
        for index, span in enumerate(scan_records(self.header.record_count, self.payload)):
            if span.end - span.start > bytes_max:
                message = (
                    f"a record of {span.end - span.start} bytes exceeds max.decompressed.message.bytes={bytes_max}"
                )
                raise KafkaError(Code.INVALID_RECORD, message)
            error = self._record_error(index, span)
            if error is not None:
                errors.append(error)
            max_timestamp = max(max_timestamp, timestamp_of(self.header, span))
            in_order = in_order and span.offset_delta == index
        if errors:
            raise _refusal(errors)
        if self.codec != self.header.codec:
            return self._recompressed(max_timestamp, in_order=in_order)
        if not in_order and self.codec is not Codec.NONE:
            raise KafkaError(Code.UNKNOWN_SERVER_ERROR, "the offsets of compressed records have gaps")
        return self._kept(max_timestamp)

    def _record_error(self, index: int, span: Span) -> tuple[Code, RecordError] | None:
        settings = self.settings
        if settings.compacted and span.key_end < span.key_start:
            message = f"Compacted topic cannot accept message without key in topic partition {self.partition}"
            return Code.INVALID_RECORD, RecordError(index, message)
        timestamp = timestamp_of(self.header, span)
        offset = self.header.base_offset + span.offset_delta
        if not settings.log_append_time and timestamp != NO_TIMESTAMP:
            if self._is_in_time(self.now_ms - timestamp):
                return None
            earliest = _as_java_long(self.now_ms - settings.timestamp_before_max_ms)
            latest = _as_java_long(self.now_ms + settings.timestamp_after_max_ms)
            message = (
                f"Timestamp {timestamp} of message with offset {offset} is out of range. "
                f"The timestamp should be within [{earliest}, {latest}]"
            )
            return Code.INVALID_TIMESTAMP, RecordError(index, message)
        if self.header.is_log_append_time:
            sizes = (span.key_end - span.key_start, span.value_end - span.value_start)
            key_bytes, value_bytes = (max(size, 0) for size in sizes)
            message = (
                f"Invalid timestamp type in message DefaultRecord(offset={offset}, timestamp={timestamp}, "
                f"key={key_bytes} bytes, value={value_bytes} bytes). Producer should not set timestamp type to "
                "LogAppendTime."
            )
            return Code.INVALID_TIMESTAMP, RecordError(index, message)
        return None

    def _is_in_time(self, age_ms: int) -> bool:
        before_max_ms, after_max_ms = self.settings.timestamp_before_max_ms, self.settings.timestamp_after_max_ms
        if -after_max_ms <= age_ms <= before_max_ms:
            return True
        # Kafka subtracts in 64 bits: with timestamps near the limits of int64 the overflow decides.
        return -after_max_ms <= _as_java_long(age_ms) <= before_max_ms

    def _kept(self, max_timestamp: int) -> Validated:
        """Keep the producer's bytes; the header is corrected where it disagrees with the records."""
        header = self.header
        attributes = header.attributes & ~LOG_APPEND_TIME
        # With log append time the log itself writes attributes and max timestamp.
        if self.settings.log_append_time or (attributes, max_timestamp) == (header.attributes, header.max_timestamp):
            return self.batch, header
        return _as_validated(
            assemble_batch(
                header._replace(attributes=attributes & ATTRIBUTES_IN_USE, max_timestamp=max_timestamp),
                self.batch[HEADER_BYTES:],
            )
        )

    def _recompressed(self, max_timestamp: int, *, in_order: bool) -> Validated:
        header = self.header
        starts_at_base = header.base_timestamp == timestamp_of(header, next(self._spans()))
        if in_order and starts_at_base and not header.is_log_append_time:
            # The records' bytes stay as they are: only the compression changes.
            attributes = self.codec | header.attributes & TRANSACTIONAL
            batch = assemble_batch(
                header._replace(attributes=attributes, max_timestamp=max_timestamp),
                compress(self.codec, self.payload, self.settings.compression_level),
            )
        else:
            batch = self._rebuilt()
        if len(batch) > self.settings.max_message_bytes:
            raise KafkaError(
                Code.MESSAGE_TOO_LARGE,
                f"Message batch size is {len(batch)} bytes in append to partition {self.partition} which exceeds the "
                f"maximum configured size of {self.settings.max_message_bytes}.",
            )
        return _as_validated(batch)

    def _rebuilt(self) -> bytes:
        """Write each record again, with consecutive offsets and times relative to the first record's."""
        header = self.header
        return build_batch(
            (
                make_record(header, self.payload, span)._replace(offset=header.base_offset + index)
                for index, span in enumerate(self._spans())
            ),
            base_offset=header.base_offset,
            leader_epoch=header.leader_epoch,
            codec=self.codec,
            level=self.settings.compression_level,
            producer_id=header.producer_id,
            producer_epoch=header.producer_epoch,
            base_sequence=header.base_sequence,
            transactional=header.is_transactional,
        )

    def _spans(self) -> Iterator[Span]:
        return scan_records(self.header.record_count, self.payload)


def _as_validated(batch: bytes) -> Validated:
    return memoryview(batch), read_batch_header(batch)


_SHOWN_ERRORS_MAX: Final = 3


def _refusal(errors: Sequence[tuple[Code, RecordError]]) -> InvalidRecords:
    record_errors = [error for _, error in errors]
    if any(code is Code.INVALID_TIMESTAMP for code, _ in errors):
        return InvalidRecords(
            Code.INVALID_TIMESTAMP,
            record_errors,
            "One or more records have been rejected due to invalid timestamp",
        )
    shown = ", ".join(str(error) for error in record_errors[:_SHOWN_ERRORS_MAX])
    return InvalidRecords(
        Code.INVALID_RECORD,
        record_errors,
        f"One or more records have been rejected due to {len(record_errors)} record errors in total, and only showing "
        f"the first three errors at most: [{shown}]",
    )


def _as_java_long(number: int) -> int:
    """Wrap to 64 bits: the bounds in Kafka's message overflow where there is no limit."""
    return (number + 2**63) % 2**64 - 2**63
