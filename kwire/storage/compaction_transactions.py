"""Which batches a round of compaction may drop because of transactions.

Responsible for: the aborted and committed transactions that the round is in the middle of. Must not depend on: keys,
files.

Records of an aborted transaction go at once. A marker goes when the round met no record of its transaction before it:
then an earlier round has removed them, and no reader needs the transaction's result.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable

from kwire.storage.index import AbortedTransaction, TransactionIndex
from kwire.wire.batch import BatchHeader, read_end_marker


class CleanedTransactions:
    """State of one pass over the log, which sees its batches in order."""

    def __init__(self) -> None:
        self._expected: list[tuple[int, AbortedTransaction]] = []
        self._aborted: dict[int, AbortedTransaction] = {}
        # Producers of whose open transaction, by kind, a batch was met.
        self._seen_aborted: set[int] = set()
        self._seen_committed: set[int] = set()

    def expect(self, aborted: Iterable[AbortedTransaction]) -> None:
        """Note aborted transactions of the next segment; one that reaches over several may come several times."""
        for one in aborted:
            heapq.heappush(self._expected, (one.first_offset, one))

    def see(self, header: BatchHeader, batch: memoryview, index: TransactionIndex | None = None) -> bool:
        """Take note of the next batch and tell whether it may be dropped as far as transactions are concerned.

        An aborted transaction whose marker has to stay is added to the new segment's ``index``.
        """
        while self._expected and self._expected[0][0] <= header.last_offset:
            one = heapq.heappop(self._expected)[1]
            self._aborted.setdefault(one.producer_id, one)
        if header.is_control:
            return self._see_marker(header, batch, index)
        if not header.is_transactional:
            return False
        if header.producer_id in self._aborted:
            self._seen_aborted.add(header.producer_id)
            return True
        self._seen_committed.add(header.producer_id)
        return False

    def _see_marker(self, header: BatchHeader, batch: memoryview, index: TransactionIndex | None) -> bool:
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
