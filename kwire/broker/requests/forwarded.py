"""The connection of a forwarded request (KIP-590).

Responsible for: ``ForwardedConnection``. Must not depend on: sockets, what is forwarded.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field

import trio

from kwire.broker.clients.client import Client
from kwire.broker.clients.hooks import HookedConnection
from kwire.broker.requests.context import Connection
from kwire.broker.requests.table import ApiTable


def carrier_of(connection: HookedConnection) -> HookedConnection:
    """The connection that a request was received on, which for a forwarded one is that of another broker."""
    return connection.carrier if isinstance(connection, ForwardedConnection) else connection


@dataclass(eq=False)
class ForwardedConnection:
    """The client of a forwarded request; for everything else the connection of the broker that forwards it."""

    client: Client
    carrier: Connection
    checked_batches: int = 0
    closing: dict[Hashable, Callable[[], None]] = field(default_factory=dict)

    @property
    def apis(self) -> ApiTable:
        return self.carrier.apis

    async def send_pending(self) -> None:
        await self.carrier.send_pending()

    async def wait(self, event: trio.Event, timeout_ms: float) -> bool:
        return await self.carrier.wait(event, timeout_ms)

    async def in_thread(self, call: Callable[[], None]) -> None:
        await self.carrier.in_thread(call)

    def drop(self, why: str, *, reset: bool = False) -> None:
        self.carrier.drop(why, reset=reset)

    async def yield_turn(self) -> None:
        await self.carrier.yield_turn()
