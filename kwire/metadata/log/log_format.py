"""The metadata log's batches and control records, and its snapshots: the image at an offset.

Responsible for: the format and names of ``OFFSET-EPOCH.checkpoint`` and ``bootstrap.checkpoint``, and which records of
a sequence of batches take effect (``RecordReader``). Must not depend on: the log, files, when a snapshot is due.

A snapshot:

    control batch   SnapshotHeader, then KRaftVersion and KRaftVoters if the quorum is a dynamic one
    batches         records, at most 128 each: encoding one is a step that takes a few ms
    control batch   SnapshotFooter: a file without it is incomplete

The name has the next offset (exclusive end) and the raft epoch of the last record. Offsets inside count from
0.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Final, NamedTuple

from kwire.errors import Code, KafkaError, ProtocolViolation, StorageFailure
from kwire.limits import METADATA_STEP_RECORDS
from kwire.metadata.image import Record as MetadataRecord
from kwire.metadata.log.frames import decode_record, encode_record
from kwire.wire import codec
from kwire.wire.batches.batch import HEADER_BYTES, BatchHeader, is_valid_batch, read_batch_header
from kwire.wire.batches.records import Record, assemble_batch, build_batch, read_records
from kwire.wire.message import Message
from kwire.wire.messages import (
    AbortTransactionRecord,
    BeginTransactionRecord,
    EndTransactionRecord,
    KRaftVersionRecord,
    SnapshotFooterRecord,
    SnapshotHeaderRecord,
    VotersRecord,
)

BOOTSTRAP: Final = "bootstrap.checkpoint"

LEADER_CHANGE: Final = 2
SNAPSHOT_HEADER: Final = 3
SNAPSHOT_FOOTER: Final = 4
KRAFT_VERSION: Final = 5
KRAFT_VOTERS: Final = 6

_NAME: Final = re.compile(r"(\d{20})-(\d{10})\.checkpoint")
_RECORDS_PER_BATCH: Final = 128


class SnapshotId(NamedTuple):
    """The end of a snapshot: the offset of the next record, and the epoch of the last."""

    offset: int
    epoch: int

    @property
    def file_name(self) -> str:
        return f"{self.offset:020d}-{self.epoch:010d}.checkpoint"


class Quorum(NamedTuple):
    """The voters. ``voters`` is None where the settings name them (kraft.version 0)."""

    kraft_version: int
    voters: VotersRecord | None


class Snapshot(NamedTuple):
    """A snapshot as read."""

    records: list[MetadataRecord]
    quorum: Quorum
    last_timestamp_ms: int


def list_snapshots(file_names: Iterable[str]) -> list[SnapshotId]:
    """Find the snapshots among the files of a directory, oldest first."""
    names = (_NAME.fullmatch(name) for name in file_names)
    return sorted(SnapshotId(int(name[1]), int(name[2])) for name in names if name)


class RecordReader:
    """Reads batches in their order: the records that take effect, and the quorum of the control records.

    A transaction of records takes effect as a whole at its EndTransactionRecord, and not at all if it is aborted
    (KIP-868).
    """

    def __init__(self, quorum: Quorum) -> None:
        self.quorum = quorum
        self._transaction: list[MetadataRecord] | None = None

    @property
    def in_transaction(self) -> bool:
        """Whether the batches so far end inside a transaction."""
        return self._transaction is not None

    def read(self, batch: memoryview, header: BatchHeader) -> list[MetadataRecord]:
        """Return the records that take effect with this batch.

        Raises KafkaError or ProtocolViolation for a batch or a record that cannot be read.
        """
        return [record for step in self.steps(batch, header) for record in step]

    def steps(self, batch: memoryview, header: BatchHeader) -> Iterator[list[MetadataRecord]]:
        """Yield the same records step by step; a step may have none."""
        if header.is_control:
            for record in read_records(batch):
                self.quorum = follow_quorum(self.quorum, decode_control(record)[1])
            return
        records = read_records(batch)
        while some := list(islice(records, METADATA_STEP_RECORDS)):
            yield [ready for record in some for ready in self._take(decode_record(record.value or b""))]

    def _take(self, message: MetadataRecord) -> Sequence[MetadataRecord]:
        """Take the next record; return those that take effect with it."""
        if isinstance(message, BeginTransactionRecord):
            self._transaction = []
        elif isinstance(message, AbortTransactionRecord):
            self._transaction = None
        elif isinstance(message, EndTransactionRecord):
            ready, self._transaction = self._transaction or (), None
            return ready
        elif self._transaction is None:
            return (message,)
        else:
            self._transaction.append(message)
        return ()


class SnapshotReader:
    """Reads a snapshot step by step; ``quorum`` and ``last_timestamp_ms`` are known after the last step.

    ``path`` is for errors only.
    """

    def __init__(self, path: str, content: bytes | bytearray) -> None:
        self.quorum = Quorum(0, None)
        self.last_timestamp_ms = -1
        self._path = path
        self._content = content
        self._is_whole = False

    def steps(self) -> Iterator[list[MetadataRecord]]:
        """Yield the records, some at a time.

        Raises StorageFailure when the snapshot is damaged, incomplete, or not a snapshot: for an incomplete one after
        its last record.
        """
        try:
            for batch, is_control in _batches(self._content):
                records = read_records(batch)
                if is_control:
                    self._take_controls(records)
                    continue
                while some := list(islice(records, METADATA_STEP_RECORDS)):
                    yield [decode_record(record.value or b"") for record in some]
        except (KafkaError, ProtocolViolation) as error:
            raise StorageFailure(self._path, f"the snapshot is damaged: {error}") from error
        if not self._is_whole:
            raise StorageFailure(self._path, "the snapshot has no end")

    def _take_controls(self, records: Iterable[Record]) -> None:
        for record in records:
            kind, message = decode_control(record)
            self._is_whole = kind == SNAPSHOT_FOOTER
            if isinstance(message, SnapshotHeaderRecord):
                self.last_timestamp_ms = message.last_contained_log_timestamp
            self.quorum = follow_quorum(self.quorum, message)


def read_snapshot(path: str, content: bytes) -> Snapshot:
    """Read a whole snapshot. Raises StorageFailure as ``SnapshotReader`` does."""
    reader = SnapshotReader(path, content)
    records = [record for step in reader.steps() for record in step]
    return Snapshot(records, reader.quorum, reader.last_timestamp_ms)


def write_snapshot(
    records: Iterable[MetadataRecord],
    quorum: Quorum,
    *,
    metadata_version: int,
    epoch: int,
    now_ms: int,
    last_timestamp_ms: int,
) -> Iterator[bytes]:
    """Yield a snapshot's content batch by batch; other tasks can run between two of them."""
    header: list[tuple[int, Message]] = [
        (SNAPSHOT_HEADER, SnapshotHeaderRecord(last_contained_log_timestamp=last_timestamp_ms))
    ]
    if quorum.kraft_version > 0:
        header.append((KRAFT_VERSION, KRaftVersionRecord(kraft_version=quorum.kraft_version)))
        if quorum.voters is not None:
            header.append((KRAFT_VOTERS, quorum.voters))
    yield control_batch(header, offset=0, epoch=epoch, now_ms=now_ms)
    offset = len(header)
    rest = iter(records)
    while chunk := list(islice(rest, _RECORDS_PER_BATCH)):
        yield data_batch(chunk, metadata_version, offset=offset, epoch=epoch, now_ms=now_ms)
        offset += len(chunk)
    footer: list[tuple[int, Message]] = [(SNAPSHOT_FOOTER, SnapshotFooterRecord())]
    yield control_batch(footer, offset=offset, epoch=epoch, now_ms=now_ms)


def data_batch(
    records: Iterable[MetadataRecord], metadata_version: int, *, offset: int, epoch: int, now_ms: int
) -> bytes:
    """Put metadata records into one batch."""
    return build_batch(
        [
            Record(offset + index, now_ms, None, encode_record(record, metadata_version), ())
            for index, record in enumerate(records)
        ],
        base_offset=offset,
        leader_epoch=epoch,
    )


def stamped(batch: bytes, now_ms: int, *, offset: int | None = None, epoch: int | None = None) -> bytes:
    """Return a batch, all of whose records have one timestamp, with another timestamp, offset and epoch."""
    header = read_batch_header(batch)
    header = header._replace(
        base_offset=header.base_offset if offset is None else offset,
        leader_epoch=header.leader_epoch if epoch is None else epoch,
        base_timestamp=now_ms,
        max_timestamp=now_ms,
    )
    return assemble_batch(header, memoryview(batch)[HEADER_BYTES:])


def control_batch(messages: Iterable[tuple[int, Message]], *, offset: int, epoch: int, now_ms: int) -> bytes:
    """Put control records, each with its type, into one batch."""
    return build_batch(
        [
            Record(offset + index, now_ms, bytes(2) + kind.to_bytes(2, "big"), codec.encode(message, 0), ())
            for index, (kind, message) in enumerate(messages)
        ],
        base_offset=offset,
        leader_epoch=epoch,
        control=True,
    )


def decode_control(record: Record) -> tuple[int, Message | None]:
    """Read a control record: its type, and its message for the types that are used here."""
    kind = int.from_bytes((record.key or bytes(4))[2:4], "big")
    cls = _CONTROL_CLASSES.get(kind)
    return kind, codec.decode(cls, 0, record.value or b"") if cls else None


def follow_quorum(quorum: Quorum, message: Message | None) -> Quorum:
    """Apply a control record to the quorum."""
    if isinstance(message, KRaftVersionRecord):
        return quorum._replace(kraft_version=message.kraft_version)
    if isinstance(message, VotersRecord):
        return quorum._replace(voters=message)
    return quorum


_CONTROL_CLASSES: Final[dict[int, type[Message]]] = {
    SNAPSHOT_HEADER: SnapshotHeaderRecord,
    KRAFT_VERSION: KRaftVersionRecord,
    KRAFT_VOTERS: VotersRecord,
}


def _batches(content: bytes | bytearray) -> Iterator[tuple[memoryview, bool]]:
    view = memoryview(content)
    position = 0
    while position < len(view):
        if position + HEADER_BYTES > len(view):
            raise KafkaError(Code.CORRUPT_MESSAGE, f"it ends within the header of a batch at position {position}")
        header = read_batch_header(view, position)
        if position + header.size_bytes > len(view) or not is_valid_batch(view, position, header):
            raise KafkaError(Code.CORRUPT_MESSAGE, f"the batch at position {position} is damaged")
        yield view[position : position + header.size_bytes], header.is_control
        position += header.size_bytes
