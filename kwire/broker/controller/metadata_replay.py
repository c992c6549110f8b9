"""Makes the image from the newest valid snapshot and the batches after it.

Responsible for: which snapshot is loaded, and the order of replay. Must not depend on: appending, epochs, what the
image is used for.
"""

from __future__ import annotations

from kwire.broker.logs import Logger
from kwire.errors import KafkaError, ProtocolViolation, StorageFailure
from kwire.metadata.image import MetadataImage
from kwire.metadata.log.log_format import Quorum, RecordReader, SnapshotId, list_snapshots, read_snapshot
from kwire.storage.files import Files
from kwire.storage.log import Log
from kwire.wire.batches.batch import read_batch_header

logger = Logger("kwire.metadata")


class MetadataReplay:
    """The content of a metadata directory: ``image`` and ``quorum``, once ``load_snapshot`` and ``replay`` have run."""

    def __init__(self, files: Files, directory: str) -> None:
        self.image = MetadataImage()
        self.snapshot = SnapshotId(0, 0)
        self.last_timestamp_ms = -1
        self.bytes_since_snapshot = 0
        self.damaged_snapshots: list[StorageFailure] = []
        self._files = files
        self._directory = directory
        self._reader = RecordReader(Quorum(0, None))

    @property
    def quorum(self) -> Quorum:
        """The voters as the records so far have them."""
        return self._reader.quorum

    @property
    def in_transaction(self) -> bool:
        """Whether the log ends inside a transaction."""
        return self._reader.in_transaction

    def load_snapshot(self) -> None:
        """Load the newest snapshot that is valid; those that are not are skipped with a warning."""
        for snapshot_id in reversed(list_snapshots(self._files.sizes(self._directory))):
            path = f"{self._directory}/{snapshot_id.file_name}"
            try:
                snapshot = read_snapshot(path, self._files.read_bytes(path) or b"")
            except StorageFailure as failure:
                logger.warning("metadata snapshot skipped", path=path, error=str(failure))
                self.damaged_snapshots.append(failure)
                continue
            self.image.apply(snapshot.records)
            self._reader = RecordReader(snapshot.quorum)
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
                self.image.apply(self._reader.read(batch, header))
            except (KafkaError, ProtocolViolation, LookupError, ValueError) as error:
                raise StorageFailure(
                    self._directory,
                    f"the metadata records at offsets {header.base_offset} to {header.last_offset} cannot be applied:"
                    f" {error!r}. Nothing was changed. They were written by a release that this one does not know, or"
                    " by a fault: restore the directory from a copy",
                ) from error
