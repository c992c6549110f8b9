"""Detects that a peer has closed while its connection does not read.

Responsible for: one kernel queue that reports closed connections and nothing else. Must not depend on: what a
connection waits for.

A request that waits (long poll, join) must end when its client disconnects. A read would notice, but a second task for
each waiting request would cost more than the request; and a read stops at the first unread byte, so a client that
sends another request and then closes would not be noticed. The kernel can report the close alone, also behind unread
bytes: EPOLLRDHUP on Linux, and on BSD and macOS a kqueue read filter whose low-water mark is never reached.
"""

from __future__ import annotations

import contextlib
import select
import sys
from collections.abc import Awaitable, Callable

import trio


class CloseWatch:
    """Watches all sockets of one broker. ``run`` is one task; ``add`` is cheap and may be repeated.

    ``start(run)`` starts the task with the first socket; None: the caller runs it.
    """

    def __init__(self, start: Callable[[Callable[[], Awaitable[None]]], None] | None = None) -> None:
        self._callbacks: dict[int, Callable[[], None]] = {}
        self._start = start
        self._opened: _Queue | None = None

    def add(self, fd: int, callback: Callable[[], None]) -> None:
        """Call ``callback`` once, when the peer of ``fd`` closes. Adding the same descriptor again does nothing."""
        if fd not in self._callbacks:
            self._callbacks[fd] = callback
            self._queue.add(fd)

    @property
    def _queue(self) -> _Queue:
        if self._opened is None:
            self._opened = _Queue()
            if self._start is not None:
                self._start(self.run)
        return self._opened

    def discard(self, fd: int) -> None:
        """Stop watching ``fd``; call it before the descriptor is closed."""
        if self._callbacks.pop(fd, None) is not None:
            self._queue.discard(fd)

    async def run(self) -> None:
        """Report until cancelled."""
        queue = self._queue
        while True:
            await trio.lowlevel.wait_readable(queue.fileno())
            for fd in queue.closed_now():
                callback = self._callbacks.pop(fd, None)
                if callback is not None:
                    queue.discard(fd)
                    callback()

    def close(self) -> None:
        """Close the queue, after ``run`` has ended."""
        if self._opened is not None:
            self._opened.close()


if sys.platform == "linux":

    class _Queue:
        def __init__(self) -> None:
            self._epoll = select.epoll()

        def add(self, fd: int) -> None:
            self._epoll.register(fd, select.EPOLLRDHUP)

        def discard(self, fd: int) -> None:
            with contextlib.suppress(OSError, ValueError):
                self._epoll.unregister(fd)

        def closed_now(self) -> list[int]:
            return [fd for fd, _ in self._epoll.poll(0)]

        def fileno(self) -> int:
            return self._epoll.fileno()

        def close(self) -> None:
            self._epoll.close()

else:

    class _Queue:
        def __init__(self) -> None:
            self._kqueue = select.kqueue()

        def add(self, fd: int) -> None:
            self._change(fd, select.KQ_EV_ADD)

        def discard(self, fd: int) -> None:
            with contextlib.suppress(OSError, ValueError):
                self._change(fd, select.KQ_EV_DELETE)

        def closed_now(self) -> list[int]:
            return [event.ident for event in self._kqueue.control(None, 256, 0) if event.flags & select.KQ_EV_EOF]

        def fileno(self) -> int:
            return self._kqueue.fileno()

        def close(self) -> None:
            self._kqueue.close()

        def _change(self, fd: int, action: int) -> None:
            never = 2**31 - 1
            event = select.kevent(fd, select.KQ_FILTER_READ, action, select.KQ_NOTE_LOWAT, never)
            self._kqueue.control([event], 0, 0)
