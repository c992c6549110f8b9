"""The directory of one log and the small files in it.

Responsible for: making the directory when it is needed, ``partition.metadata``, the leader-epoch checkpoint, and which
names are not synced yet. Must not depend on: segments, what the epochs mean.
"""

from __future__ import annotations

from typing import Final

from kwire.storage.checkpoints import (
    LEADER_EPOCH_CHECKPOINT,
    PARTITION_METADATA,
    write_epochs,
    write_partition_metadata,
)
from kwire.storage.epochs import LeaderEpochs
from kwire.storage.files import Files
from kwire.types import Uuid

SMALL_FILES: Final = (LEADER_EPOCH_CHECKPOINT, PARTITION_METADATA)


class LogDirectory:
    """``names_changed`` counts the names that were added or removed since the directory was last synced."""

    __slots__ = ("_files", "_topic_id", "exists", "names_changed", "path")

    def __init__(self, files: Files, path: str, *, exists: bool, topic_id: Uuid | None) -> None:
        self.path = path
        self.exists = exists
        self.names_changed = 0
        self._files = files
        self._topic_id = topic_id

    def make(self) -> None:
        """Make the directory, with the id of its topic in it."""
        self._files.make_directory(self.path)
        if self._topic_id is not None:
            content = write_partition_metadata(self._topic_id)
            self._files.write_bytes(f"{self.path}/{PARTITION_METADATA}", content, durable=False)
        self.exists = True
        self.names_changed += 1

    def write_epochs(self, epochs: LeaderEpochs) -> None:
        """Write the checkpoint if the epochs have changed since it was written."""
        if epochs.changed and self.exists:
            content = write_epochs(epochs.entries)
            self._files.write_bytes(f"{self.path}/{LEADER_EPOCH_CHECKPOINT}", content, durable=False)
            epochs.changed = False
            self.names_changed += 1

    def rename(self, path: str) -> None:
        """Rename the directory, which the log then no longer uses."""
        self._files.rename(self.path, path)
        self.exists = False
