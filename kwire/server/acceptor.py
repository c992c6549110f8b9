"""The addresses of a listener, and the loop that accepts connections.

Responsible for: binding addresses (``localhost`` is 127.0.0.1 and ::1 on the same port), accepting, and what to do when
that fails. Must not depend on: settings, what a connection does once it is accepted.
"""

from __future__ import annotations

import errno
import socket
import sys
from functools import partial
from typing import Final, TypeAlias

import trio

from kwire.broker.broker import Broker
from kwire.broker.logs import Logger
from kwire.limits import ACCEPT_PAUSE_MS, ACCEPTS_PER_TURN
from kwire.server.bindings import WILDCARDS, Binding, SocketOptions
from kwire.server.close_watch import CloseWatch
from kwire.server.connections.connection import Connection
from kwire.server.connections.registry import Listener
from kwire.server.tls.handshake import shake_hands
from kwire.server.transport import SocketTransport

log = Logger("kwire.server")

_Address: TypeAlias = tuple[socket.AddressFamily, str]

# The process or the machine is out of a resource that is freed when connections end: pause, then try again.
_SHORTAGES: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})
# accept(2) reports an error of the connection that it would have returned; the next connection may be without one.
_PEER_TROUBLE_NAMES: Final = (
    "ECONNABORTED",
    "EHOSTDOWN",
    "EHOSTUNREACH",
    "ENETDOWN",
    "ENETUNREACH",
    "ENONET",
    "ENOPROTOOPT",
    "EOPNOTSUPP",
    "EPERM",
    "EPROTO",
)
_PEER_TROUBLE: Final = frozenset(getattr(errno, name) for name in _PEER_TROUBLE_NAMES if hasattr(errno, name))
_ABSENT: Final = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT})
_PORT_ATTEMPTS: Final = 20
_TASK_NAME: Final = "kwire connection"  # else trio makes a string for each connection


class CannotBind(Exception):
    """An address cannot be bound. The message is one sentence for the person who started the broker."""


class PortInUse(CannotBind):
    """Another program listens on ``port``."""

    def __init__(self, binding: Binding) -> None:
        super().__init__(f"cannot listen on {binding.url}: another program listens on port {binding.port}")
        self.port = binding.port


class Bound:
    """The addresses of a binding, bound but not accepting before ``listen``. ``binding`` has the actual port."""

    def __init__(self, binding: Binding, sockets: list[socket.socket]) -> None:
        self.binding = binding
        self.sockets = sockets

    def listen(self, backlog: int) -> None:
        """Accept connections from now on. Raises CannotBind if another program took the port meanwhile."""
        for bound in self.sockets:
            try:
                bound.listen(backlog)
            except OSError as error:
                self.close()
                raise _cannot(self.binding, error) from error

    def close(self) -> None:
        for bound in self.sockets:
            bound.close()


def bind(binding: Binding, options: SocketOptions) -> Bound:
    """Bind the addresses of a listener. Raises CannotBind."""
    for attempt in range(_PORT_ATTEMPTS):
        sockets: list[socket.socket] = []
        try:
            for family, host in _addresses(binding):
                port = sockets[0].getsockname()[1] if sockets else binding.port
                bound = _bind_one(family, host, port, options)
                if bound is not None:
                    sockets.append(bound)
        except OSError as error:
            for bound in sockets:
                bound.close()
            # Any free port: the one that the first address got may be in use at the second.
            if binding.port == 0 and sockets and error.errno == errno.EADDRINUSE and attempt + 1 < _PORT_ATTEMPTS:
                continue
            raise _cannot(binding, error) from error
        if not sockets:
            raise CannotBind(f"cannot listen on {binding.url}: this machine has no such address")
        return Bound(binding._replace(port=sockets[0].getsockname()[1]), sockets)
    raise AssertionError("the last attempt returned or raised")


class Acceptor:
    """Accepts for one listener; each connection becomes a task of ``nursery``."""

    def __init__(self, broker: Broker, listener: Listener, close_watch: CloseWatch, nursery: trio.Nursery) -> None:
        self._broker = broker
        self._listener = listener
        self._connections = listener.connections
        self._close_watch = close_watch
        self._nursery = nursery

    async def run(self, bound: socket.socket) -> None:
        """Accept until cancelled, then close ``bound``."""
        bound.setblocking(False)
        name = self._listener.endpoint.name
        turn = 0
        try:
            while True:
                if self._connections.full(name):
                    await self._connections.room(name)
                try:
                    accepted, address = bound.accept()
                except BlockingIOError:
                    turn = 0
                    await trio.lowlevel.wait_readable(bound)
                    continue
                except OSError as error:
                    await self._overcome(error)
                    continue
                self._admit_contained(accepted, address)
                await self._connections.pace(name)
                turn += 1
                if turn % ACCEPTS_PER_TURN == 0:
                    await trio.lowlevel.checkpoint()
        finally:
            trio.lowlevel.notify_closing(bound)
            bound.close()

    def _admit_contained(self, accepted: socket.socket, address: tuple[str, int]) -> None:
        try:
            self._admit(accepted, address)
        except Exception as error:  # noqa: BLE001 (a bug, whatever it is)
            accepted.close()
            log.failure("connection not accepted, which is a bug in kwire", error, peer=str(address))

    def _admit(self, accepted: socket.socket, address: tuple[str, int]) -> None:
        # A socket for both families shows IPv4 peers as ::ffff:192.0.2.1; limits and logs use 192.0.2.1.
        host = sys.intern(address[0].removeprefix("::ffff:"))  # one string for the many connections of a host
        why = self._connections.refusal(host) or self._broker.quotas.refusal(host)
        if why is not None:
            log.warning("connection refused", peer=host, listener=self._listener.endpoint.name, why=why)
            accepted.close()
            return
        try:
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            accepted.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        except OSError:
            accepted.close()  # reset by the peer before it was accepted
            return
        self._nursery.start_soon(self._connection(accepted, (host, address[1])).run, name=_TASK_NAME)

    def _connection(self, accepted: socket.socket, address: tuple[str, int]) -> Connection:
        last_received, tls = self._connections.last_received, self._listener.tls
        if tls is None:
            plain = SocketTransport(accepted, address, self._close_watch, last_received)
            return Connection(self._broker, plain, self._listener)
        from kwire.server.tls.transport import TlsTransport  # noqa: PLC0415 (loaded with the listener's certificates)

        transport = TlsTransport(accepted, address, self._close_watch, last_received, tls.context)
        agree = partial(tls.handshake, transport, self._connections.turns.next_turn)
        handshake = partial(shake_hands, agree, self._broker.clock, tls.failure_delay_ms)
        return Connection(self._broker, transport, self._listener, handshake)

    async def _overcome(self, error: OSError) -> None:
        if error.errno in _PEER_TROUBLE:
            await trio.lowlevel.checkpoint()
            return
        if error.errno not in _SHORTAGES:
            raise error
        log.warning("accept paused", why=error.strerror, connections=len(self._connections), pause_ms=ACCEPT_PAUSE_MS)
        await self._broker.clock.sleep(ACCEPT_PAUSE_MS)


def _addresses(binding: Binding) -> list[_Address]:
    """The addresses to bind for a host name."""
    host = binding.host
    if host == "localhost":
        # Both, whatever the hosts file says: clients pick either.
        return [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")]
    if host in WILDCARDS:
        if host != "0.0.0.0" and socket.has_dualstack_ipv6():  # noqa: S104 (the user asks for it)
            return [(socket.AF_INET6, "::")]
        return [(socket.AF_INET, "0.0.0.0")]  # noqa: S104
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise CannotBind(f"cannot listen on {binding.url}: {host} is not a known host ({error.strerror})") from error
    return list(dict.fromkeys((family, str(address[0])) for family, _, _, _, address in found))


def _bind_one(family: socket.AddressFamily, host: str, port: int, options: SocketOptions) -> socket.socket | None:
    """Bind one address; None if this machine does not have it, as ::1 where IPv6 is off."""
    try:
        bound = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        if error.errno in _ABSENT:
            return None
        raise
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, host != "::")
        # Set before listening: accepted sockets inherit them, and the advertised TCP window follows from them.
        if options.send_buffer_bytes > 0:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, options.send_buffer_bytes)
        if options.receive_buffer_bytes > 0:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, options.receive_buffer_bytes)
        bound.bind((host, port))
    except OSError as error:
        bound.close()
        if error.errno in _ABSENT:
            return None
        raise
    return bound


def _cannot(binding: Binding, error: OSError) -> CannotBind:
    if error.errno == errno.EADDRINUSE:
        return PortInUse(binding)
    if error.errno in {errno.EACCES, errno.EPERM}:
        return CannotBind(f"cannot listen on {binding.url}: port {binding.port} needs more rights than this user has")
    return CannotBind(f"cannot listen on {binding.url}: {error.strerror}")
