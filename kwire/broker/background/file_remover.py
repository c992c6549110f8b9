"""Deletes files and directories that were renamed because their segment, log or topic was deleted.

Responsible for: when each is removed (``file.delete.delay.ms``), one at a time. Must not depend on: why it was deleted.
"""

from __future__ import annotations

import math
from functools import partial

import trio

from kwire.broker.clock import Clock
from kwire.broker.storage_failures import StorageFailures
from kwire.errors import StorageFailure
from kwire.storage.files import Files
from kwire.storage.segments.segment import PendingDeletion


class FileRemover:
    """Removes each pending deletion when it is due; ``run`` does the work."""

    def __init__(self, *, files: Files, clock: Clock, storage_failures: StorageFailures) -> None:
        self._files = files
        self._clock = clock
        self._storage_failures = storage_failures
        self._due, self._removable = trio.open_memory_channel[PendingDeletion](math.inf)

    def remove_when_due(self, deletion: PendingDeletion) -> None:
        """Remove a renamed file or directory at its ``due_ms``."""
        self._clock.call_at(deletion.due_ms, partial(self._due.send_nowait, deletion))

    async def run(self) -> None:
        """Remove one after the other until cancelled; all files of a deleted topic are due at the same time."""
        async for deletion in self._removable:
            try:
                if deletion.is_directory:
                    self._files.remove_directory(deletion.path)
                else:
                    self._files.remove(deletion.path)
            except StorageFailure as failure:
                self._storage_failures.report(failure)
