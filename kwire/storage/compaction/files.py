"""The files of a cleaned segment, from their creation to the replacement of the old segments, and work in a thread.

Responsible for: their names (``.cleaned`` while they are written, ``.swap`` once they are complete), syncing
and renaming them; reading a batch, and keeping its result. Must not depend on: what is written, which segments
they replace.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from kwire.errors import KafkaError, StorageFailure
from kwire.storage.files import Files
from kwire.storage.recovery.recovery import CLEANED_SUFFIX, SWAP_SUFFIX
from kwire.storage.segments.index import TransactionIndex
from kwire.storage.segments.segment import (
    INDEX_SUFFIX,
    LOG_SUFFIX,
    SUFFIXES,
    TIME_INDEX_SUFFIX,
    TRANSACTION_INDEX_SUFFIX,
    Segment,
    file_name,
)
from kwire.wire.batches.batch import BatchHeader, is_valid_batch

T = TypeVar("T")


class CleanedSegment(Segment):
    """A cleaned segment, whose files have other names until it replaces the old segments."""

    __slots__ = ("_mark",)

    def __init__(self, files: Files, directory: str, base_offset: int) -> None:
        self._mark = CLEANED_SUFFIX
        super().__init__(files, directory, base_offset)

    @property
    def is_complete(self) -> bool:
        """Whether the files are no longer marked as being written: from then on a crash does not undo them."""
        return self._mark != CLEANED_SUFFIX

    def path(self, suffix: str) -> str:
        return super().path(suffix) + self._mark

    def remove(self) -> None:
        """Remove what an unfinished round left, under both names that it may have."""
        super().remove()
        for suffix in SUFFIXES:
            self._files.remove(super().path(suffix) + SWAP_SUFFIX)

    def create(self) -> None:
        """Make the .log file, which exists even if no record is retained."""
        self.remove()
        self.file.append([b""], 0)

    def names(self) -> dict[str, int]:
        """Return the final names and the sizes of the files."""
        sizes = {
            LOG_SUFFIX: self.size_bytes,
            INDEX_SUFFIX: self.offsets.file.size,
            TIME_INDEX_SUFFIX: self.times.file.size,
        }
        if self.aborted.entries():
            sizes[TRANSACTION_INDEX_SUFFIX] = len(self.aborted.entries()) * TransactionIndex.ENTRY.size
        return {file_name(self.base_offset) + suffix: size for suffix, size in sizes.items()}

    def rename(self, mark: str) -> None:
        """Rename all files to end in ``mark``, which may be empty."""
        self.close()
        for name in self.names():
            path = f"{self._directory}/{name}"
            self._files.rename(path + self._mark, path + mark)
        self._mark = mark


class Task(Generic[T]):
    """Work that the driver runs in a thread, and its result."""

    def __init__(self, work: Callable[[], T]) -> None:
        self._work = work
        self._results: list[T] = []
        self._error: KafkaError | StorageFailure | None = None

    def run(self) -> None:
        try:
            self._results.append(self._work())
        except (KafkaError, StorageFailure) as error:
            self._error = error

    def result(self) -> T:
        if self._error is not None:
            raise self._error
        return self._results[0]


def read_batch(segment: Segment, position: int, header: BatchHeader) -> tuple[memoryview, bool]:
    """Read one batch; also whether it is complete and its checksum is right."""
    batch = memoryview(segment.file.read(position, header.size_bytes))
    return batch, len(batch) == header.size_bytes and is_valid_batch(batch, 0, header)
