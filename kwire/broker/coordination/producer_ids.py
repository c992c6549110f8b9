"""Producer ids, handed out of blocks that the metadata log reserves.

Owns: the block in use. May not know: who asks for an id.

As in Kafka (KIP-730) a block of 1,000 ids is reserved by one metadata record before the first of it is given, so that
no id is ever given twice, not even across a crash; the rest of a block is lost at a restart.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

BLOCK_SIZE: Final = 1000


class ProducerIds:
    """``reserve(count)`` appends the metadata record and returns the first id of the new block."""

    def __init__(self, reserve: Callable[[int], int]) -> None:
        self._reserve = reserve
        self._next = 0
        self._end = 0

    def next(self) -> int:
        """A producer id that was never given before. Raises StorageFailure when no block can be reserved."""
        if self._next == self._end:
            self._next = self._reserve(BLOCK_SIZE)
            self._end = self._next + BLOCK_SIZE
        producer_id = self._next
        self._next += 1
        return producer_id
