"""Syncs a log to the disk, in a thread if wanted.

Responsible for: what one flush syncs, and whether a sync has failed. Must not depend on: when a flush is due, what
waits for it.
"""

from __future__ import annotations

from collections.abc import Iterable

from kwire.errors import StorageFailure
from kwire.storage.files import Files, Syncer
from kwire.storage.segments.segment import Segment


class PendingFlush:
    """Everything of a log that was not synced when this was made, with descriptors of its own.

    ``sync`` may run in any thread. ``failure`` is the error of a failed sync: what the disk holds is unknown
    then, because the page cache may have dropped what it could not write.
    """

    __slots__ = ("_directories", "_files", "_segments", "_syncers", "end_offset", "failure", "names_changed")

    def __init__(
        self, files: Files, end_offset: int, syncers: Iterable[Syncer] = (), directories: Iterable[str] = ()
    ) -> None:
        self.end_offset = end_offset
        self.names_changed = 0
        self.failure: StorageFailure | None = None
        self._files = files
        self._segments: list[tuple[Segment, int]] = []
        self._syncers = list(syncers)
        self._directories = tuple(directories)

    def add_segment(self, segment: Segment, *, sealed: bool) -> None:
        """A segment that gets no more batches is synced with its indexes."""
        self._segments.append((segment, segment.size_bytes))
        self._syncers += segment.syncers(sealed=sealed)

    def add_directory(self, path: str, names: Iterable[str], names_changed: int) -> None:
        """Sync the small files in ``names`` that exist, and the directory and its parent."""
        self.names_changed = names_changed
        self._directories += (path, path.rpartition("/")[0] or ".")
        sizes = self._files.sizes(path)
        for name in names:
            if name in sizes:
                file = self._files.open(f"{path}/{name}", size=sizes[name])
                self._syncers.append(file.syncer())
                file.close()

    def sync(self) -> None:
        """Sync everything. Raises StorageFailure."""
        try:
            while self._syncers:
                self._syncers.pop().run()
            for directory in self._directories:
                self._files.sync_directory(directory)
        except StorageFailure as failure:
            self.failure = failure
            raise

    def note_synced(self) -> None:
        """On the log's own thread: mark segments that did not grow meanwhile as synced."""
        for segment, size_bytes in self._segments:
            if segment.size_bytes == size_bytes:
                segment.unsynced = False

    def close(self) -> None:
        """Close the descriptors that a failure has left."""
        while self._syncers:
            self._syncers.pop().close()
