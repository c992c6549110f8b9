"""The registration by which a fetch is notified of changes of its partitions.

Responsible for: which partitions of a fetch are dirty, and when its wait ends. Must not depend on: sockets, requests,
how a partition is read.

A fetch session registers its watch once with each of its partitions. An append reports its bytes to the partition's
watches; a watch marks the partition as dirty and, while a request waits, ends the wait only once the missing bytes have
come. Idle consumers cost nothing. A wake-up cannot be missed: marking and reading happen between two awaits, and what
is marked before the wait begins is already in ``dirty``.
"""

from __future__ import annotations

from collections.abc import Hashable

import trio


class Watch:
    """The dirty partitions of one fetch or fetch session, and the event of its waiting request."""

    __slots__ = ("_event", "_missing_bytes", "committed_only", "dirty", "log_end")

    def __init__(self, *, committed_only: bool, log_end: bool = False) -> None:
        """``log_end``: it reads uncommitted records too, as followers do."""
        self.dirty: dict[Hashable, None] = {}
        self.committed_only = committed_only
        self.log_end = log_end
        self._event: trio.Event | None = None
        self._missing_bytes = 0

    def note(self, key: Hashable, byte_count: int) -> None:
        """``key`` has ``byte_count`` more bytes to read."""
        self.dirty[key] = None
        if self._event is not None:
            self._missing_bytes -= byte_count
            if self._missing_bytes <= 0:
                self._event.set()

    def mark(self, key: Hashable) -> None:
        """``key`` has news for the next answer that do not end a wait (a high watermark above an open transaction)."""
        self.dirty[key] = None

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
