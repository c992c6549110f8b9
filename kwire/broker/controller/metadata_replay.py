"""Makes the image from the newest valid snapshot and the batches after it.

Responsible for: which snapshot is loaded, and the order of replay. Must not depend on: appending, epochs, what the
image is used for.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Final, TypeAlias

from kwire.broker.logs import Logger
from kwire.errors import KafkaError, ProtocolViolation, StorageFailure
from kwire.limits import METADATA_STEP_RECORDS
from kwire.metadata.image import MetadataImage
from kwire.metadata.log.log_format import Quorum, RecordReader, SnapshotId, SnapshotReader, list_snapshots
from kwire.storage.files import Files
from kwire.storage.log import Log
from kwire.wire.batches.batch import read_batch_header

logger = Logger("kwire.metadata")


# A file is read in pieces, and small batches are read together in one step, up to this size.
_STEP_BYTES: Final = 256 * 1024
_STEP_BATCHES: Final = 64

_Steps: TypeAlias = Generator[None, None, None]


class MetadataReplay:
    """The content of a metadata directory: ``image`` and ``quorum``, once ``load_snapshot`` and ``replay`` have run.

    Both are generators: other tasks can run between two of their steps. ``formatted`` is the quorum of a directory that
    was formatted just now, whose snapshot need not be read.
    """

    def __init__(self, files: Files, directory: str, formatted: Quorum | None = None) -> None:
        self.image = MetadataImage()
        self.snapshot = SnapshotId(0, 0)
        self.last_timestamp_ms = -1
        self.bytes_since_snapshot = 0
        self.damaged_snapshots: list[StorageFailure] = []
        self._files = files
        self._directory = directory
        self._is_formatted = formatted is not None
        self._reader = RecordReader(formatted or Quorum(0, None))

    @property
    def quorum(self) -> Quorum:
        """The voters as the records so far have them."""
        return self._reader.quorum

    @property
    def in_transaction(self) -> bool:
        """Whether the log ends inside a transaction."""
        return self._reader.in_transaction

    def load_snapshot(self) -> _Steps:
        """Load the newest snapshot that is valid; those that are not are skipped with a warning."""
        if self._is_formatted:
            return
        sizes = self._files.sizes(self._directory)
        for snapshot_id in reversed(list_snapshots(sizes)):
            path = f"{self._directory}/{snapshot_id.file_name}"
            image = MetadataImage()
            try:
                content = yield from self._read(path, sizes[snapshot_id.file_name])
                reader = SnapshotReader(path, content)
                for records in reader.steps():
                    image.apply(records)
                    yield
            except StorageFailure as failure:
                logger.warning("metadata snapshot skipped", path=path, error=str(failure))
                self.damaged_snapshots.append(failure)
                continue
            self.image = image
            self._reader = RecordReader(reader.quorum)
            self.snapshot = snapshot_id
            self.last_timestamp_ms = reader.last_timestamp_ms
            return

    def _read(self, path: str, size_bytes: int) -> Generator[None, None, bytearray]:
        content = bytearray()
        file = self._files.open(path, size=size_bytes, writable=False)
        try:
            while piece := file.read(len(content), min(_STEP_BYTES, size_bytes - len(content))):
                content += piece
                yield
        finally:
            file.close()
        return content

    def replay(self, log: Log) -> _Steps:
        """Apply the batches after the snapshot. Raises StorageFailure for records that cannot be applied."""
        for count, batch in enumerate(log.read_batches(self.snapshot.offset), 1):
            header = read_batch_header(batch)
            self.bytes_since_snapshot += header.size_bytes
            self.last_timestamp_ms = max(self.last_timestamp_ms, header.max_timestamp)
            if count % _STEP_BATCHES == 0:
                yield
            try:
                for place, records in enumerate(self._reader.steps(batch, header)):
                    if place:
                        yield
                    for start in range(0, len(records), METADATA_STEP_RECORDS):
                        if start:
                            yield
                        self.image.apply(records[start : start + METADATA_STEP_RECORDS])
            except (KafkaError, ProtocolViolation, LookupError, ValueError) as error:
                raise StorageFailure(
                    self._directory,
                    f"the metadata records at offsets {header.base_offset} to {header.last_offset} cannot be applied:"
                    f" {error!r}. Nothing was changed. They were written by a release that this one does not know, or"
                    " by a fault: restore the directory from a copy",
                ) from error
