"""A byte stream split into frames: an int32 length, then that many bytes.

Responsible for: buffering a frame that is not complete yet, and checking every length. Must not depend on: the reader,
the content of frames.

A frame that is whole inside one chunk is a view of that chunk. A frame that began and did not end gets a buffer,
which the reader fills in place (``space``), so a large request is copied once, by the kernel. That buffer
grows with the bytes received, never with the bytes claimed: a peer that claims 100 MB and sends ten bytes costs one
chunk.
"""

from __future__ import annotations

from struct import Struct

from kwire.errors import ProtocolViolation
from kwire.limits import READ_CHUNK_BYTES, READ_CHUNK_BYTES_MAX, READ_CHUNK_BYTES_MIN

_LENGTH_BYTES = 4
_LENGTH = Struct(">i")
_HTTP_METHODS = (b"GET ", b"POST", b"PUT ", b"HEAD", b"DELE", b"OPTI", b"PATC", b"CONN", b"TRAC", b"PRI ")


class ReadBuffers:
    """Buffers for frames of up to ``READ_CHUNK_BYTES_MAX``, used again once no view of them is alive.

    New memory of that size costs more than reading into it: the allocator returns it to the system, which clears each
    page for the next frame. At most ``kept_max`` buffers are kept; more are made while these are in use.
    For one thread.
    """

    __slots__ = ("_kept", "_kept_max")

    def __init__(self, kept_max: int) -> None:
        self._kept: list[bytearray] = []
        self._kept_max = kept_max

    def take(self) -> memoryview:
        """Return a view of a buffer that has no other; what it holds is arbitrary."""
        for buffer in self._kept:
            try:
                buffer.append(buffer.pop())
            except BufferError:
                continue  # a bytearray with views cannot change its size
            return memoryview(buffer)
        buffer = bytearray(READ_CHUNK_BYTES_MAX)
        if len(self._kept) < self._kept_max:
            self._kept.append(buffer)
        return memoryview(buffer)


class FrameSplitter:
    """Bytes in, whole frames out, in order. ``limit_bytes`` bounds one frame (``socket.request.max.bytes``).

    The reader asks ``space()``: None means "read a chunk and ``feed`` it", a writable view means "read into this and
    tell ``filled`` how much came". ``feed`` is always allowed. A length that no frame can have is a ProtocolViolation,
    from ``feed`` or, when whole frames came before it, from the next ``space``, so that the earlier frames are
    answered.
    """

    __slots__ = ("_buffer", "_buffers", "_filled", "_refusal", "_size", "_start", "limit_bytes")

    def __init__(self, limit_bytes: int, buffers: ReadBuffers | None = None) -> None:
        self.limit_bytes = limit_bytes
        self._buffers = ReadBuffers(0) if buffers is None else buffers
        self._start = b""  # of a frame whose length is not complete: at most three bytes
        # For a frame that began; the view keeps it from being taken for another one.
        self._buffer: memoryview | None = None
        self._filled = 0
        self._size = 0
        self._refusal: str | None = None  # not the exception, whose traceback would keep frames alive

    @property
    def claimed_bytes(self) -> int:
        """The length of the frame that began and did not end, else 0."""
        return self._size

    @property
    def held_bytes(self) -> int:
        """Memory held for an incomplete frame."""
        return len(self._start) if self._buffer is None else len(self._buffer)

    def end(self) -> None:
        """The peer will send no more. Raises ProtocolViolation if that cuts a frame short."""
        if self._buffer is not None or self._start:
            raise ProtocolViolation("the peer closed in the middle of a request")

    def feed(self, chunk: bytes | memoryview) -> list[memoryview]:
        """Return the frames that end within ``chunk`` as views of it; the caller must not reuse it."""
        count = len(chunk)
        if count > _LENGTH_BYTES and not self._start and self._buffer is None:
            # The usual chunk: exactly one request.
            (size,) = _LENGTH.unpack_from(chunk)
            if size == count - _LENGTH_BYTES and size <= self.limit_bytes:
                return [memoryview(chunk)[_LENGTH_BYTES:]]
        frames: list[memoryview] = []
        if self._start:
            chunk, self._start = self._start + bytes(chunk), b""
        view = memoryview(chunk)
        position = 0
        if self._buffer is not None:
            position = self._fill_from(view, frames)
        end = len(view)
        while end - position >= _LENGTH_BYTES:
            (size,) = _LENGTH.unpack_from(view, position)
            if not 0 < size <= self.limit_bytes:
                return self._refuse(bytes(view[position : position + _LENGTH_BYTES]), size, frames)
            position += _LENGTH_BYTES
            if size > end - position:
                self._begin(size, view[position:])
                return frames
            frames.append(view[position : position + size])
            position += size
        self._start = bytes(view[position:])
        return frames

    def space(self) -> memoryview | None:
        """The buffer for the next bytes of an incomplete frame, up to its end; None between frames."""
        if self._refusal is not None:
            raise ProtocolViolation(self._refusal)
        if self._buffer is None:
            return None
        if self._filled == len(self._buffer):
            self._grow()
        return self._buffer[self._filled :]

    def filled(self, count: int) -> memoryview | None:
        """``count`` bytes were read into ``space``. Returns the frame if it is whole now."""
        self._filled += count
        if self._filled < self._size:
            return None
        assert self._buffer is not None
        frame = self._buffer
        self._buffer, self._filled, self._size = None, 0, 0
        return frame

    def _refuse(self, four: bytes, size: int, frames: list[memoryview]) -> list[memoryview]:
        self._refusal = _why_refused(four, size, self.limit_bytes)
        if not frames:
            raise ProtocolViolation(self._refusal)
        return frames

    def _begin(self, size: int, part: memoryview) -> None:
        # After a first part has arrived, the buffer has up to one large chunk, so that most large requests need one
        # buffer. A client that sends little at first gets a small one, as there may be thousands of slow clients.
        came = len(part)
        capacity = READ_CHUNK_BYTES_MIN
        if came >= READ_CHUNK_BYTES_MIN:
            capacity = READ_CHUNK_BYTES_MAX if came >= READ_CHUNK_BYTES // 2 else READ_CHUNK_BYTES
        room = max(min(size, capacity), came)
        if READ_CHUNK_BYTES < room <= READ_CHUNK_BYTES_MAX:
            self._buffer = self._buffers.take()[:room]
        else:
            self._buffer = memoryview(bytearray(room))
        self._buffer[:came] = part
        self._filled, self._size = came, size

    def _grow(self) -> None:
        assert self._buffer is not None
        old = self._buffer
        next_bytes = READ_CHUNK_BYTES if len(old) < READ_CHUNK_BYTES else max(2 * len(old), READ_CHUNK_BYTES_MAX)
        self._buffer = memoryview(bytearray(min(self._size, next_bytes)))
        self._buffer[: len(old)] = old

    def _fill_from(self, view: memoryview, frames: list[memoryview]) -> int:
        # The slow path for a transport that cannot read into a buffer; returns how much of ``view`` the frame took.
        position = 0
        while position < len(view):
            space = self.space()
            if space is None:
                break
            count = min(len(space), len(view) - position)
            space[:count] = view[position : position + count]
            position += count
            frame = self.filled(count)
            if frame is not None:
                frames.append(frame)
        return position


def why_not_kafka(four: bytes) -> str | None:
    """Say why the first four bytes of a client are no size of a request: HTTP, TLS, text; None if they may be one."""
    if four in _HTTP_METHODS:
        return "this looks like an HTTP request; this port speaks the Kafka protocol"
    if four[:2] == b"\x16\x03":
        return "this looks like a TLS hello; this listener is plaintext (the client wants security.protocol=PLAINTEXT)"
    if four.isascii() and four.decode("ascii").isprintable():
        return f"this looks like text ({four.decode('ascii')}...); this port speaks the Kafka protocol"
    return None


def _why_refused(four: bytes, size: int, limit_bytes: int) -> str:
    why = why_not_kafka(four)
    if why is not None:
        return why
    if size > limit_bytes:
        return f"a request of {size} bytes is larger than socket.request.max.bytes={limit_bytes}"
    return f"a request cannot be {size} bytes long"
