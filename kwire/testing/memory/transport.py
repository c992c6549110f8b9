"""A connection in memory: the server's end is a ``Transport``, the test's end feeds bytes and takes frames.

Responsible for: its two buffers. Must not depend on: the content of the bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence

import trio

from kwire.broker.clients.client import split_peer
from kwire.server.transport import Part


class MemoryTransport:
    """One connection in memory.

    The server calls the methods of ``Transport``; the test calls ``feed``, ``finish``, ``reset`` and ``next_frame``.
    ``window_bytes`` is the most that the server may send before the test takes it, like a socket's send buffer.
    """

    def __init__(self, *, peer: str = "127.0.0.1:50000", window_bytes: float = float("inf")) -> None:
        self.host, self.port = split_peer(peer)
        self.closed = False
        self.aborted = False
        self.sends = 0  # calls of ``send``: replies that are sent together count once
        self._window_bytes = window_bytes
        self._inbox = bytearray()
        self._outbox = bytearray()
        self._finished = False
        self._broken = False
        self._peer_closed: Callable[[], None] | None = None
        self._changed = trio.Event()

    # The server's end.

    async def recv(self, max_bytes: int) -> bytes:
        await self._readable()
        chunk = bytes(self._inbox[:max_bytes])
        del self._inbox[:max_bytes]
        return chunk

    async def recv_into(self, space: memoryview) -> int:
        chunk = await self.recv(len(space))
        space[: len(chunk)] = chunk
        return len(chunk)

    async def send(self, parts: Sequence[Part]) -> None:
        self.sends += 1
        try:
            for part in parts:
                await self._send_one(part if isinstance(part, bytes | memoryview) else part.pread())
        finally:
            for part in parts:
                if not isinstance(part, bytes | memoryview):
                    part.close()

    def on_peer_closed(self, callback: Callable[[], None]) -> None:
        self._peer_closed = callback
        if self._finished or self._broken:
            callback()

    def close(self) -> None:
        self.closed = True
        self._wake()

    def abort(self) -> None:
        self.aborted = True
        self.close()

    # The test's end.

    def feed(self, content: bytes) -> None:
        """Send ``content`` to the server, as it is."""
        self._inbox += content
        self._wake()

    def feed_frame(self, body: bytes) -> None:
        """Send a request without its size, which is put before it."""
        self.feed(struct.pack(">i", len(body)) + body)

    def finish(self) -> None:
        """Close the test's end after what was fed."""
        self._finished = True
        self._report_closed()

    def reset(self) -> None:
        """Reset the connection: unread bytes are lost, and sending fails."""
        self._broken = True
        self._inbox.clear()
        self._report_closed()

    async def next_frame(self) -> bytes | None:
        """Take the next frame that the server sent, without its length; None when the server has closed."""
        while True:
            size = struct.unpack_from(">i", self._outbox)[0] if len(self._outbox) >= 4 else None
            if size is not None and len(self._outbox) >= 4 + size:
                frame = bytes(self._outbox[4 : 4 + size])
                self.take(4 + size)
                return frame
            if self.closed:
                return None
            await self._changed.wait()

    def take(self, max_bytes: int) -> bytes:
        """Take up to ``max_bytes`` of what the server has sent so far."""
        taken = bytes(self._outbox[:max_bytes])
        del self._outbox[:max_bytes]
        self._wake()
        return taken

    async def changed(self) -> None:
        """Wait until either end sends, takes or closes."""
        await self._changed.wait()

    async def wait_closed(self) -> None:
        """Wait until the server has closed its end."""
        while not self.closed:
            await self._changed.wait()

    async def _readable(self) -> None:
        while not (self._inbox or self._finished):
            if self._broken:
                raise ConnectionResetError("reset by the test")
            if self.closed:
                raise trio.ClosedResourceError
            await self._changed.wait()

    async def _send_one(self, content: bytes | memoryview) -> None:
        rest = memoryview(content)
        while rest:
            if self._broken:
                raise BrokenPipeError("reset by the test")
            if self.closed:
                raise trio.ClosedResourceError
            free = int(min(len(rest), self._window_bytes - len(self._outbox)))
            if free <= 0:
                await self._changed.wait()
                continue
            self._outbox += rest[:free]
            rest = rest[free:]
            self._wake()

    def _report_closed(self) -> None:
        self._wake()
        if self._peer_closed is not None:
            self._peer_closed()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = trio.Event()
