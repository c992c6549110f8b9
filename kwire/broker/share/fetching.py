"""Reads partitions for a share fetch and acquires what was read.

Responsible for: the reads for share partitions, and slices with only those batches of which records were acquired. Must
not depend on: requests, sessions, waiting.

Reading and acquiring are two steps: a fetch that finds fewer than ``min_bytes`` closes the slices and waits, with
nothing acquired. There is no wait between the two steps.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from kwire.broker.partitions.fetching.reading import ReadUpTo, read_partition
from kwire.broker.share.share_partitions import LedSharePartition, SharePartitions
from kwire.coordinators.share.acquiring import Acquired, FetchedBatch
from kwire.coordinators.share.share_partition import SharePartition
from kwire.errors import Code, KafkaError
from kwire.storage.files import FileSlice
from kwire.storage.segments.index import AbortedTransaction
from kwire.storage.segments.segment import walk_slice
from kwire.wire.batches.batch import BatchHeader
from kwire.wire.batches.records import read_records

_ABORT: Final = 0


@dataclass(slots=True)
class ShareRead:
    """The read of one share partition. ``error``: why it failed."""

    led: LedSharePartition
    delivery: SharePartition
    offset: int
    piece: FileSlice | None = None
    aborted: Sequence[AbortedTransaction] = ()
    error: KafkaError | None = None

    @property
    def byte_count(self) -> int:
        return 0 if self.piece is None else len(self.piece)

    def close(self) -> None:
        if self.piece is not None:
            self.piece.close()
            self.piece = None


@dataclass(frozen=True, slots=True)
class Taken:
    """The records of one share partition that a member acquired; ``records``: their batches."""

    records: FileSlice | None = None
    acquired: list[Acquired] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Terms:
    """The limits of a fetch. ``strict``: never more than ``records_max`` records (KIP-1206)."""

    member_id: str
    batch_size: int
    strict: bool


def read_share_partitions(
    led: Iterable[tuple[LedSharePartition, SharePartition]], *, up_to: ReadUpTo, bytes_max: int
) -> list[ShareRead]:
    """Read each share partition that may give records; each gets an equal part of ``bytes_max``.

    The first batch that is found is read whole, however large it is. Raises StorageFailure.
    """
    reads = [ShareRead(one, delivery, delivery.next_fetch_offset) for one, delivery in led if delivery.can_acquire]
    part = bytes_max // max(1, len(reads))
    is_empty = True
    for read in reads:
        _read(read, up_to, part, at_least_one=is_empty)
        is_empty = is_empty and read.piece is None
    return reads


def _read(read: ShareRead, up_to: ReadUpTo, max_bytes: int, *, at_least_one: bool) -> None:
    partition = read.led.partition
    try:
        found = read_partition(partition, read.offset, up_to=up_to, max_bytes=max_bytes, at_least_one=at_least_one)
    except KafkaError as refusal:
        if refusal.code is not Code.OFFSET_OUT_OF_RANGE:
            read.error = refusal
            return
        # Records were deleted: the next fetch reads from the new log start.
        read.delivery.log_start_moved(partition.log.log_start_offset)
        read.error = KafkaError(Code.NONE)
        return
    read.piece = found.records
    read.aborted = found.aborted or ()


def take(read: ShareRead, shares: SharePartitions, terms: Terms, records_max: int) -> Taken:
    """Acquire the records of a read for a member.

    The caller closes the slice of the result; without one it is closed.
    """
    piece = read.piece
    if piece is None or read.led.partition.deleted:
        read.close()
        return Taken()
    limit = read.delivery.limits.records_max
    places = _batches(piece, read.offset + 2 * limit)
    fetched = [_fetched(piece, at, header, with_marker=bool(read.aborted)) for at, header in places]
    group_id = read.led.key.group_id
    deadline_ms = shares.lock_deadline_ms(group_id)
    acquired = read.delivery.acquire(
        terms.member_id,
        fetched,
        fetch_offset=read.offset,
        max_records=records_max,
        batch_size=terms.batch_size,
        strict=terms.strict,
        deadline_ms=deadline_ms,
    )
    if acquired and read.aborted:
        aborted = [(one.producer_id, one.first_offset) for one in read.aborted]
        acquired = read.delivery.drop_aborted(acquired, fetched, aborted)
    if not acquired:
        read.close()
        return Taken()
    shares.arm(read.led, deadline_ms)
    _narrow(piece, places, acquired)
    read.piece = None
    return Taken(piece, acquired)


def _batches(piece: FileSlice, end_offset: int) -> list[tuple[int, BatchHeader]]:
    """The batches of a slice with their positions; those from ``end_offset`` on cannot be acquired."""
    found: list[tuple[int, BatchHeader]] = []
    for at, header in walk_slice(piece):
        if found and header.base_offset >= end_offset:
            break
        found.append((at, header))
    return found


def _fetched(piece: FileSlice, at: int, header: BatchHeader, *, with_marker: bool) -> FetchedBatch:
    is_abort = with_marker and header.is_control and _is_abort_marker(piece.pread(at, header.size_bytes))
    return FetchedBatch(header.base_offset, header.last_offset, header.producer_id, header.is_transactional, is_abort)


def _is_abort_marker(batch: bytes) -> bool:
    for record in read_records(memoryview(batch)):
        return int.from_bytes((record.key or b"")[2:4], "big") == _ABORT
    return False


def _narrow(piece: FileSlice, places: list[tuple[int, BatchHeader]], acquired: list[Acquired]) -> None:
    """Keep the batches from that of the first acquired record to that of the last."""
    first_offset, last_offset = acquired[0].first_offset, acquired[-1].last_offset
    kept = [
        (at, header)
        for at, header in places
        if header.last_offset >= first_offset and header.base_offset <= last_offset
    ]
    begin = kept[0][0]
    end = kept[-1][0] + kept[-1][1].size_bytes
    piece.narrow(begin, end - begin)
