"""Reading a stream frame by frame: an int32 length, then that many bytes.

Responsible for: giving a frame as a whole, or in pieces as they arrive. Must not depend on: what a frame means.

A frame that only passes through is given in pieces, so that its size has no limit and takes no memory. What is held
grows with the bytes received, never with the bytes claimed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio
from trio.abc import ReceiveStream

from kwire.errors import ProtocolViolation
from kwire.limits import PROXY_FRAME_BYTES_MAX, READ_CHUNK_BYTES

SIZE_BYTES = 4


class FrameReader:
    """The frames of one stream. After ``next_size`` a frame is taken by ``whole`` or ``pass_on``.

    Methods that wait raise trio's errors of the stream.
    """

    __slots__ = ("_held", "_stream")

    def __init__(self, stream: ReceiveStream) -> None:
        self._stream = stream
        self._held = bytearray()

    @property
    def holds_more(self) -> bool:
        """Whether bytes behind the frames that were taken have arrived."""
        return bool(self._held)

    async def next_size(self) -> int | None:
        """Give the size that the next frame claims; None when the stream ends between two frames.

        Raises ProtocolViolation for what no frame begins with.
        """
        if not await self._fill(SIZE_BYTES):
            if self._held:
                raise ProtocolViolation("the stream ends inside the size of a frame")
            return None
        size = int.from_bytes(self._held[:SIZE_BYTES], "big", signed=True)
        if size < 0:
            raise ProtocolViolation(f"a frame cannot be {size} bytes long")
        return size

    async def head(self, byte_count: int) -> bytes:
        """Give the first bytes of the frame, without its size; it stays to be taken."""
        await self._need(SIZE_BYTES + byte_count)
        return bytes(self._held[SIZE_BYTES : SIZE_BYTES + byte_count])

    async def whole(self, size: int) -> bytes:
        """Take the frame, its size first. Raises ProtocolViolation if it is larger than ``PROXY_FRAME_BYTES_MAX``."""
        if size > PROXY_FRAME_BYTES_MAX:
            raise ProtocolViolation(f"a frame of {size} bytes is larger than the {PROXY_FRAME_BYTES_MAX} that are held")
        end = SIZE_BYTES + size
        await self._need(end)
        frame = bytes(self._held[:end])
        del self._held[:end]
        return frame

    async def pass_on(self, size: int, send: Callable[[bytes], Awaitable[None]]) -> None:
        """Take the frame, its size first, and send it in pieces as its bytes arrive."""
        left = SIZE_BYTES + size
        while True:
            piece = bytes(self._held[:left])
            del self._held[:left]
            if piece:
                await send(piece)
            left -= len(piece)
            if left == 0:
                return
            await self._need(1)

    async def watch_end(self) -> None:
        """Return when the stream ends. What comes meanwhile is kept, up to some kilobytes; cancel it at any time."""
        while len(self._held) < READ_CHUNK_BYTES:
            if not await self._fill(len(self._held) + 1):
                return
        await trio.sleep_forever()

    async def discard(self) -> None:
        """Read to the end of the stream and keep nothing."""
        self._held.clear()
        while await self._stream.receive_some(READ_CHUNK_BYTES):
            pass

    async def _need(self, byte_count: int) -> None:
        if not await self._fill(byte_count):
            raise ProtocolViolation("the stream ends in the middle of a frame")

    async def _fill(self, byte_count: int) -> bool:
        """Read until so many bytes are held. False if the stream ends before."""
        while len(self._held) < byte_count:
            chunk = await self._stream.receive_some(READ_CHUNK_BYTES)
            if not chunk:
                return False
            self._held += chunk
        return True
