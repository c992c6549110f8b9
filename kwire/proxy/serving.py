"""The proxy on sockets.

Responsible for: binding and accepting, connecting to nodes, both with TLS if wanted, and running until the end. Must
not depend on: requests, the command line.
"""

from __future__ import annotations

import socket
import ssl
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Final, TypeAlias

import trio

from kwire.broker.clients.client import peer_text
from kwire.broker.clock import Clock
from kwire.broker.logs import Logger
from kwire.broker.outbound.interface import Address
from kwire.broker.outbound.sockets import SocketDialer, SocketStream
from kwire.broker.outbound.tls import TlsStream, start_tls
from kwire.limits import RECV_WAKE_BYTES_MAX
from kwire.proxy.proxy import Proxy
from kwire.server.acceptor import Bound, CannotBind, PortInUse, bind
from kwire.server.bindings import WILDCARDS, Binding, SocketOptions
from kwire.server.close_watch import CloseWatch
from kwire.server.connections.turns import TurnQueue
from kwire.server.tls.handshake import Handshake, shake_hands
from kwire.server.transport import LastReceived, SocketTransport

if TYPE_CHECKING:  # not at run time: a proxy without TLS does not load OpenSSL
    from kwire.server.tls.listeners import TlsListeners
    from kwire.server.tls.transport import TlsTransport

log = Logger("kwire.proxy")

_Serve: TypeAlias = Callable[[trio.SocketStream], Awaitable[None]]

_BACKLOG: Final = 1024
_CONNECT_S: Final = 10.0
_PORTS_TRIED: Final = 1000


class Sockets:
    """Listeners on ``host``: the first at ``port``, those for further nodes at the next free ports behind it.

    Port 0 takes any free ports. ``advertised`` is the host that clients get, by default ``host``. ``security_protocol``
    is what clients use; with TLS, ``listener_settings`` are the ``ssl.*`` settings of a broker's listener of that name.
    ``tls``: the connections to nodes use TLS. Raises ConfigProblem.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        advertised: str | None = None,
        security_protocol: str = "PLAINTEXT",
        listener_settings: Mapping[str, str] | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._host = host
        self._next_port = self._port = port
        self._advertised = advertised or ("localhost" if host in WILDCARDS else host)
        self._protocol = security_protocol
        self._listener = self._binding(port)
        self._listeners = self._load(listener_settings or {}) if security_protocol.endswith("SSL") else None
        self._dialer = SocketDialer()
        self._tls = tls
        self._turns = TurnQueue()
        self._last_received = _NoneReceived()

    @property
    def listener_tls(self) -> TlsListeners | None:
        """The certificates that clients see; None for listeners without TLS."""
        return self._listeners

    @asynccontextmanager
    async def serve(self, upstream: Address, clock: Clock) -> AsyncIterator[Proxy]:
        """Run a proxy until the block ends; its first listener is for ``upstream``. Raises CannotBind."""
        close_watch = CloseWatch()
        try:
            async with trio.open_nursery() as nursery:
                proxy = Proxy(
                    dial=self._dial,
                    open_listener=lambda node: self._open(partial(self._serve, proxy, node, close_watch), nursery),
                    clock=clock,
                    security_protocol=self._protocol,
                )
                proxy.listen_for(upstream)
                nursery.start_soon(clock.run)
                if self._listeners is not None:
                    nursery.start_soon(self._listeners.run)
                yield proxy
                nursery.cancel_scope.cancel()
        finally:
            close_watch.close()

    def _load(self, settings: Mapping[str, str]) -> TlsListeners:
        from kwire.metadata.configs.effective import BrokerSettings, EffectiveConfigs  # noqa: PLC0415 (as above)
        from kwire.metadata.image import MetadataImage  # noqa: PLC0415
        from kwire.server.tls.listeners import TlsListeners  # noqa: PLC0415

        configs = EffectiveConfigs(MetadataImage(), BrokerSettings(settings), 0)
        listeners = TlsListeners.load(configs, [self._listener])
        listeners.describe([self._listener])
        return listeners

    def _binding(self, port: int) -> Binding:
        return Binding(self._protocol, self._protocol, self._host, port, (self._advertised, 0))

    def _open(self, serve: _Serve, nursery: trio.Nursery) -> Address:
        bound = self._bind()
        listeners = [trio.SocketListener(trio.socket.from_stdlib_socket(one)) for one in bound.sockets]
        nursery.start_soon(partial(trio.serve_listeners, serve, listeners, handler_nursery=nursery))
        return Address(self._advertised, bound.binding.port)

    def _bind(self) -> Bound:
        """Bind the next port. A port in use is skipped, unless it is the first."""
        for _ in range(_PORTS_TRIED):
            port = self._next_port
            if port:
                self._next_port += 1
            try:
                bound = bind(self._binding(port), SocketOptions(-1, -1))
                bound.listen(_BACKLOG)
            except PortInUse:
                if port == self._port:
                    raise
            else:
                return bound
        raise CannotBind(f"no port between {self._port} and {self._next_port} of {self._host} is free")

    async def _dial(self, node: Address) -> SocketStream | TlsStream:
        try:
            with trio.fail_after(_CONNECT_S):
                stream = await self._dialer.connect(node)
                connected = stream.detach()
                _buffer_freely(connected)
                if self._tls is None:
                    return _NodeStream(connected)
                return await start_tls(connected, self._tls, node.host)
        except trio.TooSlowError:
            raise TimeoutError(f"no connection within {_CONNECT_S:g} s") from None

    async def _serve(self, proxy: Proxy, node: Address, close_watch: CloseWatch, stream: trio.SocketStream) -> None:
        """Serve a connection to its end."""
        accepted = socket.socket(fileno=stream.socket.detach())
        with accepted:
            try:
                host, port = accepted.getpeername()[:2]
                accepted.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            except OSError:
                return  # reset by the peer before it was accepted
            _buffer_freely(accepted)
            transport, handshake = self._transport(accepted, (host.removeprefix("::ffff:"), port), close_watch, proxy)
            peer = peer_text(transport.host, transport.port)
            try:
                await proxy.serve(transport, peer, node, handshake)
            except Exception as error:  # noqa: BLE001 (a bug, whatever it is)
                log.failure("connection failed, which is a bug in kwire", error, peer=peer)

    def _transport(
        self, accepted: socket.socket, address: tuple[str, int], close_watch: CloseWatch, proxy: Proxy
    ) -> tuple[SocketTransport | TlsTransport, Handshake | None]:
        if self._listeners is None:
            return SocketTransport(accepted, address, close_watch, self._last_received), None
        from kwire.server.tls.transport import TlsTransport  # noqa: PLC0415 (loaded with the certificates)

        listener = self._listeners.get(self._protocol)
        assert listener is not None
        transport = TlsTransport(accepted, address, close_watch, self._last_received, listener.context)
        agree = partial(listener.handshake, transport, self._turns.next_turn)
        return transport, partial(shake_hands, agree, proxy.clock, listener.failure_delay_ms)


class _NoneReceived(LastReceived):
    """Keeps clients' sockets from being polled: after a request the node's answer comes next, at another socket."""

    __slots__ = ()

    @property
    def transport(self) -> None:
        return None

    @transport.setter
    def transport(self, transport: object) -> None:
        pass

    def __init__(self) -> None:
        pass


class _NodeStream(SocketStream):
    """A connection without TLS; the rest of a large frame, which fills the space, wakes the proxy in large parts."""

    def __init__(self, connected: socket.socket) -> None:
        super().__init__(connected)
        self._wake_bytes = 1

    async def recv(self, max_bytes: int) -> bytes:
        self._wake_at(1)
        return await super().recv(max_bytes)

    async def recv_into(self, space: memoryview) -> int:
        self._wake_at(min(len(space), RECV_WAKE_BYTES_MAX))
        return await super().recv_into(space)

    def _wake_at(self, byte_count: int) -> None:
        if byte_count != self._wake_bytes and sys.platform == "linux":
            self._wake_bytes = byte_count
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, byte_count)


def _buffer_freely(connected: socket.socket) -> None:
    """Let the kernel take as many bytes as its buffer holds: trio limits those that are not sent to 16 KB."""
    with suppress(OSError, AttributeError):
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, 0)  # 0: the system's limit
