"""Reads a stream frame by frame: an int32 length, then that many bytes.

Responsible for: giving a frame as a whole, or passing its bytes on as they arrive. Must not depend on: what a frame
means.

A frame that only passes through is never put together, so that its size has no limit and takes no memory. What is held
grows with the bytes received, never with the bytes claimed. Frames that arrived together are passed on together: a
frame of which every byte is there waits for the next call that needs more bytes, for ``whole``, or for ``flush``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final, Protocol, TypeAlias

import trio

from kwire.errors import ProtocolViolation
from kwire.limits import (
    PROXY_BUFFER_BYTES,
    PROXY_BUFFERS_MAX,
    PROXY_FRAME_BYTES_MAX,
    READ_CHUNK_BYTES,
    READ_CHUNK_BYTES_MAX,
)

SIZE_BYTES = 4
PassTo: TypeAlias = "Callable[[Sequence[bytes | memoryview]], Awaitable[None]]"

# A large frame passes through a buffer of this size.
_SPACE_BYTES: Final = 256 * 1024
# A stream that always has bytes must not hold the event loop: other tasks run after so many reads.
_READS_PER_TURN: Final = 16
_FRAMES_PER_TURN: Final = 64


class Source(Protocol):
    """The reading half of a stream. Both methods wait, and raise OSError when the connection is lost."""

    async def recv(self, max_bytes: int) -> bytes:
        """Read what is there, at least one byte; b"" at the end."""
        ...

    async def recv_into(self, space: memoryview) -> int:
        """Read into ``space`` (not empty); 0 at the end."""
        ...


class SharedBuffers:
    """Some buffers for frames that are held only until they are sent on, for all connections.

    Memory that is used again costs less than new memory, of which the kernel clears each page.
    """

    __slots__ = ("_free", "_made")

    def __init__(self) -> None:
        self._free: list[bytearray] = []
        self._made = 0

    @contextmanager
    def lent(self, byte_count: int) -> Iterator[bytearray | None]:
        """Lend a buffer with room for so many bytes; None if all are in use, or none is large enough."""
        buffer = self._take(byte_count)
        try:
            yield buffer
        except BaseException:
            self._made -= buffer is not None  # something may still have a view of it
            raise
        if buffer is not None:
            self._free.append(buffer)

    def _take(self, byte_count: int) -> bytearray | None:
        if byte_count > PROXY_BUFFER_BYTES:
            return None
        if self._free:
            return self._free.pop()
        if self._made == PROXY_BUFFERS_MAX:
            return None
        self._made += 1
        return bytearray(PROXY_BUFFER_BYTES)


class FrameReader:
    """The frames of one stream. After ``next_size`` a frame is taken by ``whole`` or ``pass_on``.

    ``pass_to`` sends what is passed on. Methods that wait raise the errors of both streams.
    """

    __slots__ = ("_frames", "_held", "_pass_to", "_position", "_reads", "_stream", "_unsent")

    def __init__(self, stream: Source, pass_to: PassTo) -> None:
        self._stream = stream
        self._pass_to = pass_to
        self._held: bytes | bytearray = b""
        self._unsent = 0  # where the frames begin that were passed on and not sent yet
        self._position = 0  # where the frames begin that were not taken
        self._reads = self._frames = 0

    @property
    def holds_more(self) -> bool:
        """Whether bytes behind the frames that were taken have arrived."""
        return self._position < len(self._held)

    async def next_size(self) -> int | None:
        """Return the length of the next frame; None when the stream ends between two frames.

        Raises ProtocolViolation for a length that no frame has.
        """
        if not await self._fill(SIZE_BYTES):
            if self.holds_more:
                raise ProtocolViolation("the stream ends inside the size of a frame")
            return None
        size = int.from_bytes(self._held[self._position : self._position + SIZE_BYTES], "big", signed=True)
        if size < 0:
            raise ProtocolViolation(f"a frame cannot be {size} bytes long")
        return size

    async def begin(self) -> bytes | None:
        """Give the first bytes of a stream, as many as a size has; None if it ends before."""
        return bytes(self._held[:SIZE_BYTES]) if await self._fill(SIZE_BYTES) else None

    async def head(self, byte_count: int) -> bytes:
        """Return the first bytes of the frame, without its size, and leave the frame in the stream."""
        await self._need(SIZE_BYTES + byte_count)
        start = self._position + SIZE_BYTES
        return bytes(self._held[start : start + byte_count])

    async def whole(self, size: int, into: bytearray | None = None) -> bytes | memoryview:
        """Take the frame, its size first. Raises ProtocolViolation if it is larger than ``PROXY_FRAME_BYTES_MAX``.

        ``into`` is where a large frame may be read to, if it has room for it.
        """
        if size > PROXY_FRAME_BYTES_MAX:
            raise ProtocolViolation(f"a frame of {size} bytes is larger than the {PROXY_FRAME_BYTES_MAX} that are held")
        await self.flush()
        start, end = self._position, self._position + SIZE_BYTES + size
        if end - len(self._held) > READ_CHUNK_BYTES:
            return await self._gathered(SIZE_BYTES + size, into)
        await self._need(end - start)
        start, self._position = self._position, self._position + SIZE_BYTES + size
        self._unsent = self._position
        return bytes(memoryview(self._held)[start : self._position])

    async def pass_on(self, size: int) -> None:
        """Take the frame, its size first, and send its bytes as they arrive."""
        left = self._position + SIZE_BYTES + size - len(self._held)
        if left <= 0:
            self._position += SIZE_BYTES + size
            self._frames += 1
            if self._frames % _FRAMES_PER_TURN == 0:
                await self.flush()
                await trio.lowlevel.checkpoint()
            return
        self._position = len(self._held)
        await self.flush()
        self._held, self._position, self._unsent = b"", 0, 0
        await self._pass_rest(left)

    async def flush(self) -> None:
        """Send the frames that were passed on and wait to be sent."""
        start, end = self._unsent, self._position
        if start == end:
            return
        self._unsent = end
        held = self._held
        if end - start == len(held) and isinstance(held, bytes):
            await self._pass_to((held,))
        else:
            await self._pass_to((memoryview(held)[start:end],))

    async def watch_end(self) -> None:
        """Return when the stream ends. What comes meanwhile is kept, up to some kilobytes; cancel it at any time."""
        while (held := len(self._held) - self._position) < READ_CHUNK_BYTES:
            if not await self._fill(held + 1):
                return
        await trio.sleep_forever()

    async def discard(self) -> None:
        """Read to the end of the stream and keep nothing."""
        self._held, self._position, self._unsent = b"", 0, 0
        while await self._stream.recv(READ_CHUNK_BYTES):
            pass

    async def _pass_rest(self, left: int) -> None:
        """Pass on the bytes of a frame that have not arrived; nothing is held."""
        with memoryview(bytearray(min(left, _SPACE_BYTES))) as space:
            while left:
                await self._take_turn()
                count = await self._stream.recv_into(space[: min(left, _SPACE_BYTES)])
                if not count:
                    raise ProtocolViolation(_CUT_SHORT)
                left -= count
                await self._pass_to((space[:count],))

    async def _gathered(self, size: int, into: bytearray | None) -> memoryview:
        """Take ``size`` bytes, most of which have not arrived, and read them to where they stay."""
        filled = len(self._held) - self._position
        frame = into or bytearray(min(size, max(READ_CHUNK_BYTES_MAX, filled)))
        frame[:filled] = memoryview(self._held)[self._position :]
        self._held, self._position, self._unsent = b"", 0, 0
        while filled < size:
            if filled == len(frame):
                frame = frame + bytes(min(size - filled, filled))
            await self._take_turn()
            with memoryview(frame) as space:
                count = await self._stream.recv_into(space[filled:size])
            if not count:
                raise ProtocolViolation(_CUT_SHORT)
            filled += count
        return memoryview(frame)[:size]

    async def _need(self, byte_count: int) -> None:
        if not await self._fill(byte_count):
            raise ProtocolViolation(_CUT_SHORT)

    async def _fill(self, byte_count: int) -> bool:
        """Read until so many bytes are held and not taken. False if the stream ends before."""
        while len(self._held) - self._position < byte_count:
            await self.flush()
            await self._take_turn()
            chunk = await self._stream.recv(READ_CHUNK_BYTES)
            if not chunk:
                return False
            self._keep(chunk)
        return True

    def _keep(self, chunk: bytes) -> None:
        """Hold a chunk behind what was not taken; everything else was sent."""
        if self._position == len(self._held):
            self._held, self._position, self._unsent = chunk, 0, 0
            return
        if self._position or not isinstance(self._held, bytearray):
            self._held = bytearray(self._held[self._position :])
            self._position = self._unsent = 0
        self._held += chunk

    async def _take_turn(self) -> None:
        self._reads += 1
        if self._reads % _READS_PER_TURN == 0:
            await trio.lowlevel.checkpoint()


_CUT_SHORT: Final = "the stream ends in the middle of a frame"
