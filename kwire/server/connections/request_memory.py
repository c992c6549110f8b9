"""The memory that requests of all connections hold.

Responsible for: counting it, and what happens at the limits ``queued.max.request.bytes`` and
``kwire.unfinished.request.bytes``. Must not depend on: how a request is read.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

import trio

C = TypeVar("C")


class RequestMemory(Generic[C]):
    """``queued.max.request.bytes``: the memory of all requests being read or handled, by connection.

    As in Kafka a request is admitted while there is any room, and then in full, so that it can always be completed.
    """

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._bytes = 0
        self._held: dict[C, int] = {}
        self._freed = trio.Event()

    @property
    def full(self) -> bool:
        return self._bytes >= self._bytes_max

    def held_by(self, connection: C) -> int:
        return self._held.get(connection, 0)

    def note(self, connection: C, held_bytes: int) -> None:
        """Note how much the requests of a connection hold now."""
        was_full = self.full
        self._bytes += held_bytes - self._held.pop(connection, 0)
        if held_bytes:
            self._held[connection] = held_bytes
        if was_full and not self.full:
            freed, self._freed = self._freed, trio.Event()
            freed.set()

    async def room(self) -> None:
        """Wait until it is not full."""
        while self.full:
            await self._freed.wait()


class UnfinishedRequests(Generic[C]):
    """``kwire.unfinished.request.bytes``: the memory of partly received requests.

    When it exceeds ``bytes_max`` (None for no limit), ``close(connection, held bytes)`` is called for those connections
    from which no bytes came for the longest time, until the rest is within the limit. Clients that complete their
    requests are not affected.
    """

    def __init__(self, bytes_max: int | None, close: Callable[[C, int], None]) -> None:
        self._bytes_max = bytes_max
        self._close = close
        self._held: dict[C, int] = {}  # the longest without new bytes first
        self.held_bytes = 0

    def __len__(self) -> int:
        return len(self._held)

    def note(self, connection: C, held_bytes: int) -> None:
        """Note the memory of a partly received request; 0 when it is complete or the connection has ended."""
        self.held_bytes += held_bytes - self._held.pop(connection, 0)
        if held_bytes:
            self._held[connection] = held_bytes
        if self._bytes_max is None:
            return
        while self.held_bytes > self._bytes_max and self._held:
            longest_silent = next(iter(self._held))
            freed_bytes = self._held.pop(longest_silent)
            self.held_bytes -= freed_bytes
            self._close(longest_silent, freed_bytes)
