"""Notice that a peer has closed while nobody reads from it.

Owns: one kernel queue that reports nothing but closed connections. May not know: what a connection was waiting for.

A request that waits (long poll, join) must end when its client goes away. Reading would tell, but a second task for
each waiting request would cost more than the request; and reading stops at the first unread byte, so a client that
sends another request and then closes would go unnoticed. The kernel can report just the closing, even behind unread
bytes: EPOLLRDHUP on Linux, and on BSD and macOS a kqueue read filter whose low-water mark is never reached.
"""

from __future__ import annotations

import contextlib
import select
import sys
from collections.abc import Callable

import trio


class CloseWatch:
    """The watch over all sockets of one broker. ``run`` is one task; ``add`` is cheap and may be repeated."""

    def __init__(self) -> None:
        self._callbacks: dict[int, Callable[[], None]] = {}
        self._queue = _Queue()

    def add(self, fd: int, callback: Callable[[], None]) -> None:
        """Call ``callback`` once, when the peer of ``fd`` closes. Adding the same descriptor again does nothing."""
        if fd not in self._callbacks:
            self._callbacks[fd] = callback
            self._queue.add(fd)

    def discard(self, fd: int) -> None:
        """Forget ``fd``, before it is closed."""
        if self._callbacks.pop(fd, None) is not None:
            self._queue.discard(fd)

    async def run(self) -> None:
        """Report until cancelled."""
        while True:
            await trio.lowlevel.wait_readable(self._queue.fileno())
            for fd in self._queue.closed_now():
                callback = self._callbacks.pop(fd, None)
                if callback is not None:
                    self._queue.discard(fd)
                    callback()

    def close(self) -> None:
        """Give the queue back, once nobody runs or adds any more."""
        self._queue.close()


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
