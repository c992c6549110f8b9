"""A TLS connection: the handshake, and the bytes afterwards.

Responsible for: ``TlsTransport``, the ``Transport`` of a TLS listener. Must not depend on: frames, requests, where
certificates come from.

It is Python's SSLSocket on the raw non-blocking socket: as in ``transport``, a call is tried first and waits only when
OpenSSL wants bytes that are not there. OpenSSL encrypts from the buffer it is given and decrypts into the one it is
given, so a reply or request is copied no further; slices of files are read piece by piece, because sendfile cannot
encrypt. The decision against MemoryBIO and its numbers: docs/decisions/tls-transport.md.

A handshake costs a millisecond of CPU (a signature), so each step of one waits for a turn of
``server.connections.turns``: in each pass of the event loop at most one handshake continues, however many clients
connect. Until a client has sent its first byte nothing is made for it.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Sequence
from typing import cast

import trio

from kwire.limits import TLS_PIECE_BYTES, TLS_RECORD_BYTES, TLS_TURN_BYTES_MAX
from kwire.security.tls.failures import why_handshake_failed, why_not_tls
from kwire.server.close_watch import CloseWatch
from kwire.server.tls.handshake import HandshakeFailed, NextTurn
from kwire.server.transport import (
    BYTES,
    AcceptedSocket,
    LastReceived,
    Part,
    Slice,
    close_slices,
    lost,
    read_slice,
    reset_when_closed,
)

_HANDSHAKE_RECORD = b"\x16"
_FIRST_BYTES = 4


class TlsTransport(AcceptedSocket):
    """A TCP connection that a TLS listener accepted. ``handshake`` comes before everything else."""

    __slots__ = ("_context", "_ready", "_tls")

    def __init__(
        self,
        accepted: socket.socket,
        address: tuple[str, int],
        close_watch: CloseWatch,
        last_received: LastReceived,
        context: ssl.SSLContext,
    ) -> None:
        super().__init__(accepted, address, close_watch, last_received)
        self._tls: socket.socket | ssl.SSLSocket = accepted
        self._ready = False
        self._context = context

    async def handshake(self, next_turn: NextTurn) -> ssl.SSLSocket:
        """Agree on TLS; returns the socket, which knows the client's certificate.

        ``next_turn`` is awaited before each step. Raises HandshakeFailed, and ConnectionError for a client that closes
        without a word.
        """
        start = await self._first_bytes()
        if not start:
            raise ConnectionAbortedError("the client closed before it sent anything")
        if start[:1] != _HANDSHAKE_RECORD:
            raise HandshakeFailed(why_not_tls(start))
        tls: ssl.SSLSocket | None = None
        while True:
            await next_turn()
            if self._fd < 0:
                raise trio.ClosedResourceError
            try:
                if tls is None:
                    tls = self._context.wrap_socket(self._tls, server_side=True, do_handshake_on_connect=False)
                    self._tls = tls
                tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._wait_readable()
            except ssl.SSLWantWriteError:
                await self._wait_writable()
            except OSError as error:
                raise HandshakeFailed(why_handshake_failed(error)) from error
            else:
                self._ready = True
                return tls

    async def recv(self, max_bytes: int) -> bytes:
        assert isinstance(self._tls, ssl.SSLSocket)
        while True:
            try:
                chunk = self._tls.read(min(max_bytes, TLS_RECORD_BYTES))
            except ssl.SSLWantReadError:
                ready = self._wait_readable  # awaited below: within this block the error and its frames stay in memory
            except ssl.SSLWantWriteError:
                ready = self._wait_writable
            except OSError as error:
                raise lost(error) from error
            except ValueError as error:  # closed by another task
                raise trio.ClosedResourceError from error
            else:
                if self._last_received.transport is not self:
                    self._last_received.transport = self
                return chunk
            await ready()

    async def recv_into(self, space: memoryview) -> int:
        assert isinstance(self._tls, ssl.SSLSocket)
        filled, size = 0, min(len(space), TLS_PIECE_BYTES)
        while filled < size:
            try:
                # One record at a time: OpenSSL decrypts no more in one call.
                count = cast("int", self._tls.read(size - filled, space[filled:size]))  # bytes only without a buffer
            except ssl.SSLWantReadError:
                if filled:
                    break
                await self._wait_readable()
            except ssl.SSLWantWriteError:
                await self._wait_writable()
            except OSError as error:
                raise lost(error) from error
            except ValueError as error:
                raise trio.ClosedResourceError from error
            else:
                if not count:
                    break
                filled += count
        return filled

    async def send(self, parts: Sequence[Part]) -> None:
        try:
            if len(parts) == 1 and isinstance(parts[0], BYTES):
                await self._write(parts[0])
            else:
                await self._send_parts(parts)
        finally:
            close_slices(parts)

    def close(self) -> None:
        if not self._forget_descriptor():
            return
        if isinstance(self._tls, ssl.SSLSocket) and self._ready:
            # Sends close_notify, so that the client can tell the end from a truncation. It does not wait for the
            # client's own close_notify, hence the error.
            with contextlib.suppress(OSError, ValueError):
                self._tls.unwrap()
        self._tls.close()

    def abort(self) -> None:
        if self._forget_descriptor():
            reset_when_closed(self._tls)
            self._tls.close()

    async def _first_bytes(self) -> bytes:
        """Wait for the first bytes, and leave them in the socket."""
        while True:
            try:
                return self._tls.recv(_FIRST_BYTES, socket.MSG_PEEK)
            except BlockingIOError:
                await self._wait_readable()
            except OSError as error:
                raise lost(error) from error

    async def _send_parts(self, parts: Sequence[Part]) -> None:
        """Send small parts together: each write is at least one TLS record."""
        small: list[bytes | memoryview] = []
        gathered = 0
        for part in parts:
            size = len(part)
            if size <= TLS_RECORD_BYTES:
                if gathered + size > TLS_RECORD_BYTES:
                    await self._write(b"".join(small))
                    small, gathered = [], 0
                small.append(part if isinstance(part, BYTES) else read_slice(part, 0, size))
                gathered += size
                continue
            if small:
                await self._write(b"".join(small))
                small, gathered = [], 0
            if isinstance(part, BYTES):
                await self._write(part)
            else:
                await self._send_slice(part)
        if small:
            await self._write(b"".join(small))

    async def _send_slice(self, piece: Slice) -> None:
        size = len(piece)
        turn_bytes = 0
        for position in range(0, size, TLS_PIECE_BYTES):
            if turn_bytes >= TLS_TURN_BYTES_MAX:
                await trio.lowlevel.checkpoint()
                turn_bytes = 0
            count = min(TLS_PIECE_BYTES, size - position)
            await self._write(read_slice(piece, position, count))
            turn_bytes += count

    async def _write(self, content: bytes | memoryview) -> None:
        assert isinstance(self._tls, ssl.SSLSocket)
        if len(content) > TLS_PIECE_BYTES:
            view = memoryview(content)
            for position in range(0, len(view), TLS_PIECE_BYTES):
                await self._write(view[position : position + TLS_PIECE_BYTES])
            return
        if not content:
            return
        while True:
            try:
                sent = self._tls.send(content)
            except ssl.SSLWantWriteError:
                # OpenSSL has sent a part and continues there when it is called with the same bytes.
                await self._wait_writable()
            except ssl.SSLWantReadError:
                await self._wait_readable()
            except OSError as error:
                raise lost(error) from error
            else:
                if sent == len(content):
                    return
                content = memoryview(content)[sent:]
