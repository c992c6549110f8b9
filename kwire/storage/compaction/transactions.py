"""Which batches a round of compaction may drop because of transactions.

Responsible for: the aborted and committed transactions that the round is in the middle of. Must not depend on: keys,
files.

Records of an aborted transaction go at once. A marker goes when the round met no record of its transaction before it:
then an earlier round has removed them, and no reader needs to know how the transaction ended.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable

from kwire.storage.segments.index import AbortedTransaction, TransactionIndex
from kwire.wire.batches.batch import BatchHeader, read_end_marker


class CleanedTransactions:
    """State of one pass over the log, whose batches are noted in order."""

    def __init__(self) -> None:
        self._expected: list[tuple[int, AbortedTransaction]] = []
        self._aborted: dict[int, AbortedTransaction] = {}
        # Producers of which a batch of the open transaction was noted, by how that transaction ends.
        self._seen_aborted: set[int] = set()
        self._seen_committed: set[int] = set()

    def add_aborted(self, aborted: Iterable[AbortedTransaction]) -> None:
        """Add the aborted transactions of the next segment; one that spans segments may be added again."""
        for one in aborted:
            heapq.heappush(self._expected, (one.first_offset, one))

    def note(self, header: BatchHeader, batch: memoryview, index: TransactionIndex | None = None) -> bool:
        """Note the next batch and tell whether it may be dropped as far as transactions are concerned.

        An aborted transaction whose marker has to stay is added to the new segment's ``index``.
        """
        while self._expected and self._expected[0][0] <= header.last_offset:
            one = heapq.heappop(self._expected)[1]
            self._aborted.setdefault(one.producer_id, one)
        if header.is_control:
            return self._note_marker(header, batch, index)
        if not header.is_transactional:
            return False
        if header.producer_id in self._aborted:
            self._seen_aborted.add(header.producer_id)
            return True
        self._seen_committed.add(header.producer_id)
        return False

    def _note_marker(self, header: BatchHeader, batch: memoryview, index: TransactionIndex | None) -> bool:
        if header.record_count <= 0:
            # Emptied by an earlier round.
            return True
        marker = read_end_marker(batch)
        if marker is None:
            # Not the end of a transaction.
            return False
        if marker.committed:
            was_seen = header.producer_id in self._seen_committed
            self._seen_committed.discard(header.producer_id)
            return not was_seen
        aborted = self._aborted.pop(header.producer_id, None)
        if aborted is None or header.producer_id not in self._seen_aborted:
            return True
        self._seen_aborted.discard(header.producer_id)
        if index is not None:
            index.append(aborted)
        return False
