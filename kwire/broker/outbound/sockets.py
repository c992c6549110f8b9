"""Connections over TCP.

Responsible for: ``SocketDialer``. Must not depend on: requests, which node is at an address.

The sockets are non-blocking: a call is tried first, and waits only when the kernel returns EAGAIN.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence

import trio

from kwire.broker.outbound.interface import Address


class SocketDialer:
    """Connects without TLS and login."""

    async def connect(self, address: Address) -> SocketStream:
        """Connect to the first address of the host that accepts. Raises OSError."""
        stream = await trio.open_tcp_stream(address.host, address.port, happy_eyeballs_delay=_NEXT_ADDRESS_S)
        connected = socket.socket(fileno=stream.socket.detach())
        return SocketStream(connected)

    def login(self) -> None:
        return None


# How long a connection attempt to one of several addresses of a host runs alone (RFC 8305).
_NEXT_ADDRESS_S = 0.25


class SocketStream:
    """A TCP connection that this node made."""

    def __init__(self, connected: socket.socket) -> None:
        connected.setblocking(False)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = connected

    async def recv(self, max_bytes: int) -> bytes:
        while True:
            try:
                return self._socket.recv(max_bytes)
            except BlockingIOError:
                await trio.lowlevel.wait_readable(self._socket)

    async def recv_into(self, space: memoryview) -> int:
        while True:
            try:
                return self._socket.recv_into(space)
            except BlockingIOError:
                await trio.lowlevel.wait_readable(self._socket)

    async def send(self, parts: Sequence[bytes | memoryview]) -> None:
        rest = memoryview(b"".join(parts) if len(parts) > 1 else parts[0])
        while rest:
            try:
                rest = rest[self._socket.send(rest) :]
            except BlockingIOError:
                await trio.lowlevel.wait_writable(self._socket)

    def end_sending(self) -> None:
        """Close the direction to the node, whose bytes still come. Raises OSError."""
        self._socket.shutdown(socket.SHUT_WR)

    @property
    def peer_closed(self) -> bool:
        try:
            return not self._socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            return True

    def detach(self) -> socket.socket:
        """Return the socket; this stream is not used any more."""
        return self._socket

    def close(self) -> None:
        if self._socket.fileno() >= 0:
            trio.lowlevel.notify_closing(self._socket)
            self._socket.close()
