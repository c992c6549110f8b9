"""Deletes files and directories that were renamed because their segment, log or topic was deleted.

Responsible for: when each is removed (``file.delete.delay.ms``), one at a time. Must not depend on: why it was deleted.
"""

from __future__ import annotations

from collections import deque
from functools import partial

import trio

from kwire.broker.clock import Clock
from kwire.broker.containment import OnDemand
from kwire.broker.storage_failures import StorageFailures
from kwire.errors import StorageFailure
from kwire.storage.files import Files
from kwire.storage.segments.segment import PendingDeletion


class FileRemover:
    """Removes each pending deletion when it is due. ``task`` removes what is due."""

    def __init__(self, *, files: Files, clock: Clock, storage_failures: StorageFailures) -> None:
        self._files = files
        self._clock = clock
        self._storage_failures = storage_failures
        self._due: deque[PendingDeletion] = deque()
        self.task = OnDemand(self.run)

    def remove_when_due(self, deletion: PendingDeletion) -> None:
        """Remove a renamed file or directory at its ``due_ms``."""
        self._clock.call_at(deletion.due_ms, partial(self._note_due, deletion))

    def _note_due(self, deletion: PendingDeletion) -> None:
        self._due.append(deletion)
        self.task.wake()

    async def run(self) -> None:
        """Remove what is due, one after the other; all files of a deleted topic are due at the same time."""
        while self._due:
            await trio.lowlevel.checkpoint()
            deletion = self._due.popleft()
            try:
                if deletion.is_directory:
                    self._files.remove_directory(deletion.path)
                else:
                    self._files.remove(deletion.path)
            except StorageFailure as failure:
                self._storage_failures.report(failure)
