"""The TLS handshake of a connection, before its first request.

Responsible for: the interface between a connection and its handshake, the time that a handshake may take, and the log
of those that fail. Must not depend on: sockets, TLS.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeAlias

import trio

from kwire.broker.clients.client import Client
from kwire.broker.clock import Clock
from kwire.broker.logs import Logger
from kwire.limits import HANDSHAKE_FAILURES_LOGGED, HANDSHAKE_FAILURES_WINDOW_MS, TLS_HANDSHAKE_MS_MAX
from kwire.security.principal import Principal

log = Logger("kwire.server")

NextTurn: TypeAlias = Callable[[], Awaitable[None]]


class HandshakeFailed(ConnectionError):
    """The client and the listener did not agree; the message says why."""


class Connection(Protocol):
    """The part of a connection that a handshake uses."""

    client: Client

    def drop(self, why: str) -> None: ...


# Raises HandshakeFailed, and ConnectionError or ClosedResourceError for a connection that ends.
Handshake: TypeAlias = Callable[[Connection], Awaitable[None]]


async def shake_hands(
    agree: Callable[[], Awaitable[Principal]], clock: Clock, failure_delay_ms: float, connection: Connection
) -> None:
    """Await ``agree``, the handshake, for a limited time, and note the principal that it returns.

    A connection that is closed while the client sends is reset, and then the client does not read the alert that says
    why; so after a failure it stays open for ``failure_delay_ms``.
    """
    expired = False

    def expire() -> None:
        nonlocal expired
        expired = True
        connection.drop(late)

    late = f"no TLS handshake within {TLS_HANDSHAKE_MS_MAX / 1000:g} s"
    timer = clock.call_later(TLS_HANDSHAKE_MS_MAX, expire)
    try:
        principal = await agree()
    except trio.ClosedResourceError:
        if expired:
            raise HandshakeFailed(late) from None
        raise
    except HandshakeFailed:
        await clock.sleep(failure_delay_ms)
        raise
    finally:
        timer.cancel()
    connection.client = connection.client._replace(principal=principal, authenticated_at_ms=clock.now_ms())


class HandshakeFailures:
    """The log lines of failed handshakes; where there are many, as from a flood, the rest of a window is counted."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._window_ms = float("-inf")
        self._count = 0  # in the window of time that began then

    def log(self, peer: str, listener: str, why: str) -> None:
        """Log one, or count it."""
        now_ms = self._clock.monotonic_ms()
        if now_ms - self._window_ms >= HANDSHAKE_FAILURES_WINDOW_MS:
            if self._count > HANDSHAKE_FAILURES_LOGGED:
                log.warning("more TLS handshakes failed", count=self._count - HANDSHAKE_FAILURES_LOGGED)
            self._window_ms, self._count = now_ms, 0
        self._count += 1
        if self._count <= HANDSHAKE_FAILURES_LOGGED:
            log.warning("TLS handshake failed", peer=peer, listener=listener, why=why)
