"""Batches to append, made in one line."""

import struct

from kwire.storage.log import Appended, Log
from kwire.wire.batches.batch import HEADER_BYTES, BatchHeader, read_batch_header
from kwire.wire.batches.records import Record, build_batch

NOW = 1_700_000_000_000


def batch(count=1, *, size=10, timestamp_ms=NOW, codec=0, producer_id=-1, epoch=0, sequence=0, transactional=False):
    records = [Record(index, timestamp_ms + index, b"key", b"v" * size, ()) for index in range(count)]
    if producer_id < 0:
        return memoryview(build_batch(records, codec=codec))
    return memoryview(
        build_batch(
            records,
            codec=codec,
            producer_id=producer_id,
            producer_epoch=epoch,
            base_sequence=sequence,
            transactional=transactional,
        )
    )


def marker(producer_id, *, committed, epoch=0, coordinator_epoch=0, timestamp_ms=NOW):
    key = struct.pack(">hh", 0, 1 if committed else 0)
    value = struct.pack(">hi", 0, coordinator_epoch)
    record = Record(0, timestamp_ms, key, value, ())
    return memoryview(
        build_batch([record], producer_id=producer_id, producer_epoch=epoch, transactional=True, control=True)
    )


def headers_of(view: memoryview) -> list[BatchHeader]:
    """The header of each whole batch in ``view``."""
    headers, position = [], 0
    while position + HEADER_BYTES <= len(view):
        header = read_batch_header(view, position)
        position += header.size_bytes
        if position <= len(view):
            headers.append(header)
    return headers


def append(log: Log, view: memoryview, *, now_ms=NOW, leader_epoch=0, high_watermark=True, **keywords) -> Appended:
    """As a leader that is alone appends: the high watermark follows."""
    appended = log.append(view, headers_of(view), leader_epoch=leader_epoch, now_ms=now_ms, **keywords)
    if high_watermark:
        log.advance_high_watermark(log.end_offset)
    return appended


def append_marker(log: Log, view: memoryview, *, now_ms=NOW, leader_epoch=0, **keywords) -> Appended:
    appended = log.append(
        view, [read_batch_header(view)], leader_epoch=leader_epoch, now_ms=now_ms, check_sequence=False, **keywords
    )
    log.advance_high_watermark(log.end_offset)
    return appended


def offsets(log: Log) -> list[tuple[int, int]]:
    """First and last offset of each batch that can be read."""
    headers = [read_batch_header(view) for view in log.read_batches(log.log_start_offset)]
    return [(header.base_offset, header.last_offset) for header in headers]
