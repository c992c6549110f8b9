"""The proxy on sockets.

Responsible for: binding and accepting, connecting to nodes, with TLS if wanted, and running until the end. Must not
depend on: requests, the command line.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

import trio

from kwire.broker.clock import Clock
from kwire.broker.logs import Logger
from kwire.broker.outbound.interface import Address
from kwire.proxy.connection import Stream
from kwire.proxy.proxy import Proxy
from kwire.server.acceptor import Bound, CannotBind, PortInUse, bind
from kwire.server.bindings import WILDCARDS, Binding, SocketOptions
from kwire.server.transport import peer_text

log = Logger("kwire.proxy")

_BACKLOG: Final = 1024
# How long a connection attempt to one of several addresses of a host runs alone (RFC 8305), and all of them together.
_NEXT_ADDRESS_S: Final = 0.25
_CONNECT_S: Final = 10.0
_PORTS_TRIED: Final = 1000


class Sockets:
    """Listeners on ``host``: the first at ``port``, those for further nodes at the next free ports behind it.

    Port 0 takes any free ports. ``advertised`` is the host that clients get, by default ``host``. ``tls``: the
    connections to nodes use TLS.
    """

    def __init__(
        self, host: str, port: int, *, advertised: str | None = None, tls: ssl.SSLContext | None = None
    ) -> None:
        self._host = host
        self._port = port
        self._next_port = port
        self._advertised = advertised or ("localhost" if host in WILDCARDS else host)
        self._tls = tls

    @asynccontextmanager
    async def serve(self, upstream: Address, clock: Clock) -> AsyncIterator[Proxy]:
        """Run a proxy until the block ends; its first listener is for ``upstream``. Raises CannotBind."""
        async with trio.open_nursery() as nursery:
            proxy = Proxy(dial=self._dial, open_listener=lambda node: self._open(node, proxy, nursery), clock=clock)
            proxy.listen_for(upstream)
            nursery.start_soon(clock.run)
            yield proxy
            nursery.cancel_scope.cancel()

    def _open(self, node: Address, proxy: Proxy, nursery: trio.Nursery) -> Address:
        bound = self._bind()
        listeners = [trio.SocketListener(trio.socket.from_stdlib_socket(one)) for one in bound.sockets]
        handler = partial(_serve_contained, proxy, node)
        nursery.start_soon(partial(trio.serve_listeners, handler, listeners, handler_nursery=nursery))
        return Address(self._advertised, bound.binding.port)

    def _bind(self) -> Bound:
        """Bind the next port. One that another program has is passed over, unless it is the first."""
        for _ in range(_PORTS_TRIED):
            port = self._next_port
            if port:
                self._next_port += 1
            try:
                bound = bind(Binding("PLAINTEXT", "PLAINTEXT", self._host, port), SocketOptions(-1, -1))
                bound.listen(_BACKLOG)
            except PortInUse:
                if port == self._port:
                    raise
            else:
                return bound
        raise CannotBind(f"no port between {self._port} and {self._next_port} of {self._host} is free")

    async def _dial(self, node: Address) -> Stream:
        try:
            with trio.fail_after(_CONNECT_S):
                stream = await trio.open_tcp_stream(node.host, node.port, happy_eyeballs_delay=_NEXT_ADDRESS_S)
                return stream if self._tls is None else await _encrypted(stream, self._tls, node.host)
        except trio.TooSlowError:
            raise TimeoutError(f"no connection within {_CONNECT_S:g} s") from None


async def _encrypted(stream: trio.SocketStream, context: ssl.SSLContext, host: str) -> Stream:
    encrypted = trio.SSLStream(stream, context, server_hostname=host, https_compatible=True)
    try:
        await encrypted.do_handshake()
    except trio.BrokenResourceError as error:
        raise ConnectionError(f"no TLS connection: {error.__cause__ or error}") from error
    return encrypted


async def _serve_contained(proxy: Proxy, node: Address, stream: trio.SocketStream) -> None:
    try:
        address = stream.socket.getpeername()
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    except OSError:
        await trio.aclose_forcefully(stream)  # reset by the peer before it was accepted
        return
    peer = peer_text((address[0].removeprefix("::ffff:"), address[1]))
    try:
        await proxy.serve(stream, peer, node)
    except Exception as error:  # noqa: BLE001 (a bug, whatever it is)
        log.failure("connection failed, which is a bug in kwire", error, peer=peer)
