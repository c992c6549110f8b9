"""Who waits for which partition.

Owns: ``Watch``, the registration by which a fetch learns that partitions changed. May not know: sockets, requests,
what is read.

A fetch session registers its watch once with each of its partitions. An append tells the partition's watches how many
bytes came; a watch notes the partition as dirty and, when somebody waits on it, wakes him only once the bytes that he
misses have come. So a thousand idle consumers cost nothing, and a wake-up is never missed: noting and reading happen
between two awaits, and whatever is noted before the wait begins is already in ``dirty``.
"""

from __future__ import annotations

from collections.abc import Hashable

import trio


class Watch:
    """What one fetch (or one fetch session) has not seen yet, and the event of the request that waits for it."""

    __slots__ = ("_event", "_missing_bytes", "committed_only", "dirty")

    def __init__(self, *, committed_only: bool) -> None:
        self.dirty: dict[Hashable, None] = {}
        self.committed_only = committed_only
        self._event: trio.Event | None = None
        self._missing_bytes = 0

    def note(self, key: Hashable, byte_count: int) -> None:
        """``key`` has ``byte_count`` more bytes to read."""
        self.dirty[key] = None
        if self._event is not None:
            self._missing_bytes -= byte_count
            if self._missing_bytes <= 0:
                self._event.set()

    def wake(self, key: Hashable) -> None:
        """``key`` changed in a way that a waiting request must see at once (deleted, moved, last stable offset)."""
        self.dirty[key] = None
        if self._event is not None:
            self._event.set()

    def arm(self, missing_bytes: int) -> trio.Event:
        """The event that is set once ``missing_bytes`` more have come. ``disarm`` when the wait is over."""
        self._missing_bytes = missing_bytes
        self._event = trio.Event()
        return self._event

    def disarm(self) -> None:
        self._event = None
