"""Bringing a log to the disk, in a thread if wanted.

Owns: what one flush syncs, and the memory of a sync that failed. May not know: when a flush is due, who waits for it.
"""

from __future__ import annotations

from collections.abc import Sequence

from kwire.errors import StorageFailure
from kwire.storage.files import Files, Syncer


class PendingFlush:
    """All that a log had not on the disk when it was made, with descriptors of its own.

    ``sync`` may run in any thread. ``failure`` is what it met: after a sync that failed nobody knows what the disk
    holds, for the page cache may have dropped what it could not write.
    """

    __slots__ = ("_directories", "_files", "_syncers", "end_offset", "failure")

    def __init__(self, files: Files, end_offset: int, syncers: Sequence[Syncer], directories: Sequence[str]) -> None:
        self.end_offset = end_offset
        self.failure: StorageFailure | None = None
        self._files = files
        self._syncers = list(syncers)
        self._directories = directories

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

    def close(self) -> None:
        """Give descriptors back that a failure has left."""
        while self._syncers:
            self._syncers.pop().close()
