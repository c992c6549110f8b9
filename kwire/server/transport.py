"""The bytes of a connection: reading, sending parts, noticing that the peer has closed.

Responsible for: the interface of a byte stream (``Transport``), and the plain TCP socket. Must not depend on: frames,
requests, listeners. ``tls.transport`` implements it over TLS, ``kwire.testing.memory.transport`` in memory.

The socket is raw and non-blocking: a call is tried first, and waits only when the kernel returns EAGAIN, which costs a
quarter of trio's SocketStream. A call that succeeds does not yield to other tasks; the connection measures its turn.

A client that sends a request, waits for the reply and sends the next spends most of its time in two wake-ups, its own
and the broker's. While it is the only active client and its next request came soon after the last reply, the broker
polls the socket for some microseconds instead of sleeping (busy poll): a fifth more requests a second. That ends with
the first request that comes late, and with the first bytes from another client (``LastReceived``).
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import sys
import time
from collections.abc import Callable, Sequence
from typing import Final, Protocol, TypeAlias

import trio

from kwire.limits import (
    BUSY_POLL_IF_WITHIN_US,
    BUSY_POLL_US,
    BUSY_POLLS_MAX,
    RECV_WAKE_BYTES_MAX,
    SEND_JOINED_BYTES_MAX,
    SENDFILE_BYTES_MAX,
    SENDFILE_BYTES_MIN,
    SENDMSG_PARTS_MAX,
    TURN_BYTES_MAX,
)
from kwire.server.close_watch import CloseWatch


class Slice(Protocol):
    """A range of a file, as ``kwire.storage.files.FileSlice``. The transport that sends it closes it."""

    def __len__(self) -> int: ...

    def pread(self, offset: int = 0, count: int | None = None) -> bytes: ...

    def sendfile_to(self, fd: int, offset: int, count: int) -> int: ...

    def close(self) -> None: ...


Part: TypeAlias = "bytes | memoryview | Slice"
# SO_LINGER, on, with no time to linger
LINGER_NOT: Final = struct.pack("ii", 1, 0)


class Transport(Protocol):
    """One connection. A method that waits raises ConnectionError when the connection is lost."""

    @property
    def host(self) -> str:
        """Give the peer's address, without brackets."""
        ...

    @property
    def port(self) -> int: ...

    async def recv(self, max_bytes: int) -> bytes:
        """Read what is there, at least one byte; b"" when the peer will send no more."""
        ...

    async def recv_into(self, space: memoryview) -> int:
        """Read into ``space`` (not empty); 0 when the peer will send no more."""
        ...

    async def send(self, parts: Sequence[Part]) -> None:
        """Send everything. Slices are closed when this returns or raises."""
        ...

    def on_peer_closed(self, callback: Callable[[], None]) -> None:
        """Call back once, as soon as the peer has closed, even if bytes that it sent before are still unread."""
        ...

    def close(self) -> None: ...

    def abort(self) -> None:
        """Close with a reset (RST): the peer sees a failed connection, not its end."""
        ...


def close_slices(parts: Sequence[Part]) -> None:
    """Close the slices of parts that will not be sent."""
    for part in parts:
        if not isinstance(part, BYTES):
            part.close()


def reset_when_closed(connection: socket.socket) -> None:
    """Make the close of a socket a reset; one that is closed already stays as it is."""
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_NOT)


class LastReceived:
    """The connection of a server that received bytes last."""

    __slots__ = ("transport",)

    def __init__(self) -> None:
        self.transport: Transport | None = None


class AcceptedSocket:
    """What the plain and the TLS transport share: the descriptor of a socket, and waiting for the kernel."""

    __slots__ = ("_close_watch", "_fd", "_last_received", "host", "port")

    def __init__(
        self, accepted: socket.socket, address: tuple[str, int], close_watch: CloseWatch, last_received: LastReceived
    ) -> None:
        accepted.setblocking(False)
        self._fd = accepted.fileno()
        self._close_watch = close_watch
        self._last_received = last_received
        self.host, self.port = address

    def on_peer_closed(self, callback: Callable[[], None]) -> None:
        self._close_watch.add(self._fd, callback)

    def _forget_descriptor(self) -> bool:
        """Take the descriptor out of the event loop, before it is closed. False if that has been done."""
        if self._fd < 0:
            return False
        self._close_watch.discard(self._fd)
        trio.lowlevel.notify_closing(self._fd)
        self._fd = -1
        return True

    async def _wait_readable(self) -> None:
        await trio.lowlevel.wait_readable(self._fd)

    async def _wait_writable(self) -> None:
        await trio.lowlevel.wait_writable(self._fd)


class SocketTransport(AcceptedSocket):
    """A plain TCP connection that was accepted."""

    __slots__ = ("_polls", "_socket", "_wake_bytes")

    def __init__(
        self, accepted: socket.socket, address: tuple[str, int], close_watch: CloseWatch, last_received: LastReceived
    ) -> None:
        super().__init__(accepted, address, close_watch, last_received)
        self._socket = accepted
        self._polls = 0  # how many busy polls are left before it waits
        self._wake_bytes = 1

    async def recv(self, max_bytes: int) -> bytes:
        while True:
            try:
                chunk = self._socket.recv(max_bytes)
            except BlockingIOError:
                pass  # it waits below: within this block the error and its frames would take half a kilobyte
            except OSError as error:
                raise lost(error) from error
            else:
                if self._last_received.transport is not self:
                    self._last_received.transport = self
                    self._polls = 0
                return chunk
            if self._wake_bytes != 1:
                self._wake_at(1)
            in_vain = False
            if self._polls and self._last_received.transport is self:
                polled = self._busy_poll(max_bytes)
                if polled is not None:
                    return polled
                in_vain = True
            started = time.perf_counter()
            await trio.lowlevel.wait_readable(self._fd)
            soon = not in_vain and time.perf_counter() - started < BUSY_POLL_IF_WITHIN_US / 1e6
            self._polls = BUSY_POLLS_MAX if soon and self._last_received.transport is self and _MAY_BUSY_POLL else 0

    def _busy_poll(self, max_bytes: int) -> bytes | None:
        """Try to read for ``BUSY_POLL_US``."""
        self._polls -= 1
        until = time.perf_counter() + BUSY_POLL_US / 1e6
        while time.perf_counter() < until:
            try:
                return self._socket.recv(max_bytes)
            except BlockingIOError:
                pass
        self._polls = 0
        return None

    async def recv_into(self, space: memoryview) -> int:
        while True:
            try:
                return self._socket.recv_into(space)
            except BlockingIOError:
                pass
            except OSError as error:
                raise lost(error) from error
            # The rest of a large request comes in many packets: wake for a large part of it, not for each.
            self._wake_at(min(len(space), RECV_WAKE_BYTES_MAX))
            await self._wait_readable()

    def _wake_at(self, byte_count: int) -> None:
        """Let the kernel say "readable" only once so many bytes are there, or the peer has closed (SO_RCVLOWAT)."""
        if byte_count != self._wake_bytes and _CAN_WAKE_LATER:
            self._wake_bytes = byte_count
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, byte_count)

    async def send(self, parts: Sequence[Part]) -> None:
        for part in parts:
            if not isinstance(part, BYTES):
                break
        else:
            await self._send_bytes(parts)  # type: ignore[arg-type]  # as just seen
            return
        try:
            await self._send_with_slices(parts)
        finally:
            close_slices(parts)

    def close(self) -> None:
        if self._forget_descriptor():
            self._socket.close()

    def abort(self) -> None:
        reset_when_closed(self._socket)
        self.close()

    async def _send_with_slices(self, parts: Sequence[Part]) -> None:
        run: list[bytes | memoryview] = []
        for part in parts:
            if isinstance(part, BYTES):
                run.append(part)
            elif len(part) < SENDFILE_BYTES_MIN:
                run.append(read_slice(part, 0, len(part)))
            else:
                if run:
                    await self._send_bytes(run, _MORE)
                    run = []
                await self._send_slice(part)
        if run:
            await self._send_bytes(run)

    async def _send_bytes(self, parts: Sequence[bytes | memoryview], flags: int = 0) -> None:
        if len(parts) > 1 and sum(map(len, parts)) <= SEND_JOINED_BYTES_MAX:
            parts = (b"".join(parts),)
        position = 0
        if len(parts) == 1:
            try:
                position = self._socket.send(parts[0], flags)
            except BlockingIOError:
                await self._wait_writable()
            except OSError as error:
                raise lost(error) from error
            if position == len(parts[0]):
                return
        await self._send_from(parts, position, flags)

    async def _send_from(self, parts: Sequence[bytes | memoryview], position: int, flags: int) -> None:
        """Send the parts from ``position`` in the first of them on."""
        index = 0  # of the part that has ``position``
        count = len(parts)
        while index < count:
            try:
                if index + 1 == count:
                    sent = self._socket.send(memoryview(parts[index])[position:] if position else parts[index], flags)
                else:
                    window: Sequence[bytes | memoryview] = parts
                    if index or position or count > SENDMSG_PARTS_MAX:
                        window = list(parts[index : index + SENDMSG_PARTS_MAX])
                        window[0] = memoryview(window[0])[position:]
                    sent = self._socket.sendmsg(window, (), flags)
            except BlockingIOError:
                await self._wait_writable()
                continue
            except OSError as error:
                raise lost(error) from error
            position += sent
            while index < count:
                size = len(parts[index])
                if position < size:
                    break
                position -= size
                index += 1

    async def _send_slice(self, piece: Slice) -> None:
        # The peer reads this before its next request, so a busy poll would find nothing.
        self._polls = 0
        size = len(piece)
        position, turn_bytes = 0, 0
        while position < size:
            if turn_bytes >= TURN_BYTES_MAX:
                await trio.lowlevel.checkpoint()
                turn_bytes = 0
            try:
                sent = piece.sendfile_to(self._fd, position, min(size - position, SENDFILE_BYTES_MAX))
            except BlockingIOError:
                await self._wait_writable()
                turn_bytes = 0
                continue
            except OSError as error:
                raise lost(error) from error
            if sent == 0:
                raise cut_short(piece)
            position += sent
            turn_bytes += sent


# Other systems have the option with another meaning.
_CAN_WAKE_LATER = sys.platform == "linux"

# With one processor the peer cannot run during a busy poll.
_MAY_BUSY_POLL = (len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1) > 1

BYTES = (bytes, memoryview)

# Holds the head of a response back until the slice behind it fills the packet. Linux only.
_MORE = getattr(socket, "MSG_MORE", 0)


def read_slice(piece: Slice, offset: int, count: int) -> bytes:
    """Read a part of a slice. Raises ConnectionAbortedError where the file is shorter."""
    content = piece.pread(offset, count)
    if len(content) != count:
        raise cut_short(piece)
    return content


def cut_short(piece: Slice) -> ConnectionError:
    """The error of a slice that cannot be sent whole."""
    # The size is already sent, so the connection must end when the file is shorter than that.
    return ConnectionAbortedError(f"a log file is shorter than the {len(piece)} bytes announced from it")


def lost(error: OSError) -> ConnectionError:
    """The error of a connection that a call found lost."""
    # A new exception: one that is its own cause would keep the connection alive until a garbage collection.
    return ConnectionError(error.errno, error.strerror)
