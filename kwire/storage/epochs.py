"""Which leader epoch began at which offset (KIP-101), kept in the leader-epoch-checkpoint beside the log.

Responsible for: the list of epochs and its answers. Must not depend on: files, which broker was the leader.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from typing import NamedTuple

UNDEFINED_EPOCH = -1
UNDEFINED_OFFSET = -1


class EpochStart(NamedTuple):
    epoch: int
    start_offset: int


class EpochEnd(NamedTuple):
    """The largest epoch that is not above the requested one, and the offset after its last record."""

    epoch: int
    end_offset: int


class LeaderEpochs:
    """Epochs in ascending order, each with the offset of its first batch."""

    __slots__ = ("changed", "entries", "rebuilt")

    def __init__(self, entries: Iterable[EpochStart] = ()) -> None:
        self.entries = list(entries)
        # Whether the checkpoint file is behind.
        self.changed = False
        # Whether the checkpoint file was missing or damaged, and these are the epochs of the batches.
        self.rebuilt = False

    @property
    def latest(self) -> int:
        """The latest epoch, or -1."""
        return self.entries[-1].epoch if self.entries else UNDEFINED_EPOCH

    def assign(self, epoch: int, start_offset: int) -> None:
        """Add ``epoch``, which begins at ``start_offset``; nothing changes unless it is above the latest."""
        if epoch <= self.latest:
            return
        # An epoch without records is replaced by the one that begins at the same offset.
        while self.entries and self.entries[-1].start_offset >= start_offset:
            self.entries.pop()
        self.entries.append(EpochStart(epoch, start_offset))
        self.changed = True

    def end_of(self, epoch: int, end_offset: int) -> EpochEnd:
        """Answer OffsetForLeaderEpoch; ``end_offset`` is the log's."""
        if epoch == UNDEFINED_EPOCH or not self.entries or epoch > self.latest:
            return EpochEnd(UNDEFINED_EPOCH, UNDEFINED_OFFSET)
        if epoch == self.latest:
            return EpochEnd(epoch, end_offset)
        higher = bisect_right(self.entries, epoch, key=lambda entry: entry.epoch)
        if higher == 0:
            # All known epochs are higher: any record of this epoch is below the start of the first of them.
            return EpochEnd(epoch, self.entries[0].start_offset)
        return EpochEnd(self.entries[higher - 1].epoch, self.entries[higher].start_offset)

    def epoch_of(self, offset: int) -> int:
        """Return the epoch in which ``offset`` was written, -1 if it is below the first known epoch."""
        index = bisect_right(self.entries, offset, key=lambda entry: entry.start_offset)
        return self.entries[index - 1].epoch if index else UNDEFINED_EPOCH

    def truncate_to(self, end_offset: int) -> None:
        """Remove epochs that begin at or behind the new end of the log."""
        while self.entries and self.entries[-1].start_offset >= end_offset:
            self.entries.pop()
            self.changed = True

    def truncate_before(self, start_offset: int) -> None:
        """Remove epochs that end before the new log start; the epoch of the log start begins there."""
        index = bisect_right(self.entries, start_offset, key=lambda entry: entry.start_offset)
        if index == 0 or (index == 1 and self.entries[0].start_offset == start_offset):
            return
        self.entries[:index] = [EpochStart(self.entries[index - 1].epoch, start_offset)]
        self.changed = True

    def clear(self) -> None:
        self.changed = self.changed or bool(self.entries)
        self.entries.clear()
