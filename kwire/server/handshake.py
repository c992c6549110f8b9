"""What comes before the first request of a connection where its listener uses TLS.

Responsible for: the interface between a connection and its handshake, and the time that a handshake may take. Must not
depend on: sockets, TLS.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Protocol, TypeAlias

import trio

from kwire.broker.clock import Clock
from kwire.broker.requests.client import Client
from kwire.limits import TLS_HANDSHAKE_MS_MAX
from kwire.security.principal import Principal

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
    """Await ``agree`` for a limited time, and note the principal that it returns. Raises as ``agree`` does.

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
    connection.client = replace(connection.client, principal=principal, authenticated_at_ms=clock.now_ms())
