"""Replays the metadata log: from the newest valid snapshot and the batches after it to the image.

Responsible for: which snapshot is loaded, the order of replay, and transactions in the log (KIP-868). Must not depend
on: appending, epochs, what the image is used for.
"""

from __future__ import annotations

from collections.abc import Iterable

from kwire.broker.controller.metadata_snapshots import (
    Quorum,
    SnapshotId,
    decode_control,
    follow_quorum,
    list_snapshots,
    read_snapshot,
)
from kwire.broker.logs import Logger
from kwire.errors import KafkaError, ProtocolViolation, StorageFailure
from kwire.metadata.frames import decode_record
from kwire.metadata.image import MetadataImage, Record
from kwire.storage.files import Files
from kwire.storage.log import Log
from kwire.wire.batch import BatchHeader, read_batch_header
from kwire.wire.messages import AbortTransactionRecord, BeginTransactionRecord, EndTransactionRecord
from kwire.wire.records import read_records

logger = Logger("kwire.metadata")


class MetadataReplay:
    """What a metadata directory holds: ``image`` and ``quorum``, once ``load_snapshot`` and ``replay`` have run."""

    def __init__(self, files: Files, directory: str) -> None:
        self.image = MetadataImage()
        self.quorum = Quorum(0, None)
        self.snapshot = SnapshotId(0, 0)
        self.last_timestamp_ms = -1
        self.bytes_since_snapshot = 0
        self.damaged_snapshots: list[StorageFailure] = []
        self._files = files
        self._directory = directory
        # The records of a transaction whose end has not been replayed yet.
        self._transaction: list[Record] | None = None

    @property
    def in_transaction(self) -> bool:
        """Whether the log ends inside a transaction."""
        return self._transaction is not None

    def load_snapshot(self) -> None:
        """Load the newest snapshot that is valid; those that are not are skipped with a warning."""
        for snapshot_id in reversed(list_snapshots(self._files, self._directory)):
            path = f"{self._directory}/{snapshot_id.file_name}"
            try:
                snapshot = read_snapshot(path, self._files.read_bytes(path) or b"")
            except StorageFailure as failure:
                logger.warning("metadata snapshot skipped", path=path, error=str(failure))
                self.damaged_snapshots.append(failure)
                continue
            self.image.apply(snapshot.records)
            self.quorum = snapshot.quorum
            self.snapshot = snapshot_id
            self.last_timestamp_ms = snapshot.last_timestamp_ms
            return

    def replay(self, log: Log) -> None:
        """Apply the batches after the snapshot. Raises StorageFailure for records that cannot be applied."""
        for batch in log.read_batches(self.snapshot.offset):
            header = read_batch_header(batch)
            self.bytes_since_snapshot += header.size_bytes
            self.last_timestamp_ms = max(self.last_timestamp_ms, header.max_timestamp)
            try:
                self._replay_batch(batch, header)
            except (KafkaError, ProtocolViolation, LookupError, ValueError) as error:
                raise StorageFailure(
                    self._directory,
                    f"the metadata records at offsets {header.base_offset} to {header.last_offset} cannot be applied:"
                    f" {error!r}. Nothing was changed. They were written by a release that this one does not know, or"
                    " by a fault: restore the directory from a copy",
                ) from error

    def _replay_batch(self, batch: memoryview, header: BatchHeader) -> None:
        if not header.is_control:
            self._apply(decode_record(record.value or b"") for record in read_records(batch))
            return
        for record in read_records(batch):
            self.quorum = follow_quorum(self.quorum, decode_control(record)[1])

    def _apply(self, records: Iterable[Record]) -> None:
        ready: list[Record] = []
        for record in records:
            if isinstance(record, BeginTransactionRecord):
                self._transaction = []
            elif isinstance(record, AbortTransactionRecord):
                self._transaction = None
            elif isinstance(record, EndTransactionRecord):
                ready += self._transaction or []
                self._transaction = None
            elif self._transaction is None:
                ready.append(record)
            else:
                self._transaction.append(record)
        self.image.apply(ready)
