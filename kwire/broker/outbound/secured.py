"""Connections with TLS, login or both, over plain ones.

Responsible for: ``secured`` and ``secured_later``, for tasks, and ``connect_blocking``, for a thread. Must not depend
on: requests, where settings come from.
"""

from __future__ import annotations

import socket
from collections.abc import Callable

import trio

from kwire.broker.outbound.interface import Address, Dialer, Stream
from kwire.broker.outbound.listener_security import ListenerSecurity
from kwire.broker.outbound.sockets import SocketStream
from kwire.broker.outbound.tls import TlsFailed, check_host, start_tls
from kwire.metadata.configs.values import ConfigProblem
from kwire.security.sasl.exchange import ClientExchange
from kwire.security.tls.failures import why_client_failed
from kwire.security.tls.settings import TlsProblem


def secured(dialer: Dialer, security: ListenerSecurity | None) -> Dialer:
    """Return a dialer that connects as ``security`` says; TLS needs one whose streams are sockets."""
    return dialer if security is None else _SecuredDialer(dialer, security)


class _SecuredDialer:
    def __init__(self, dialer: Dialer, security: ListenerSecurity) -> None:
        self._dialer = dialer
        self._security = security

    async def connect(self, address: Address) -> Stream:
        stream = await self._dialer.connect(address)
        if not self._security.uses_tls:
            return stream
        assert isinstance(stream, SocketStream)
        try:
            context = await trio.to_thread.run_sync(self._security.context)
        except TlsProblem as problem:
            stream.close()
            raise TlsFailed(f"{problem.name}: {problem}") from problem
        except BaseException:
            stream.close()
            raise
        return await start_tls(stream.detach(), context, address.host)

    def login(self) -> ClientExchange | None:
        return self._security.login()


def secured_later(dialer: Dialer, read: Callable[[], ListenerSecurity | None]) -> Dialer:
    """Return a dialer that reads how to connect at its first connection.

    It is for a node that may never connect to another: settings that only other nodes need do not stop its start.
    """
    return _DeferredDialer(dialer, read)


class _DeferredDialer:
    def __init__(self, dialer: Dialer, read: Callable[[], ListenerSecurity | None]) -> None:
        self._plain = dialer
        self._read = read
        self._dialer: Dialer | None = None

    async def connect(self, address: Address) -> Stream:
        if self._dialer is None:
            try:
                self._dialer = secured(self._plain, self._read())
            except ConfigProblem as problem:
                raise ConnectionError(f"{problem.name}: {problem}") from problem
        return await self._dialer.connect(address)

    def login(self) -> ClientExchange | None:
        assert self._dialer is not None  # a login follows a connection
        return self._dialer.login()


def connect_blocking(security: ListenerSecurity | None) -> Callable[[Address, float], socket.socket]:
    """Return a function that connects a socket, with TLS if ``security`` has it. It raises OSError."""
    if security is None or not security.uses_tls:
        return socket.create_connection

    def connect(address: Address, timeout_s: float) -> socket.socket:
        check_host(address.host)
        plain = socket.create_connection(address, timeout_s)
        try:
            return security.context().wrap_socket(plain, server_hostname=address.host)
        except TimeoutError:
            plain.close()
            raise
        except OSError as error:
            plain.close()
            raise TlsFailed(f"TLS failed: {why_client_failed(error)}") from error
        except ValueError as error:
            plain.close()
            raise TlsFailed(f"TLS failed: {error}") from error

    return connect
