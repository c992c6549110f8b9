"""What a handler knows of the request it answers, besides the request.

Owns: ``Context`` and the two faces of the server that it needs (``Connection``, ``Endpoint``). May not know: sockets.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import trio

if TYPE_CHECKING:
    from kwire.broker.broker import Broker


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A listener as clients see it: the name of the listener, and the host and port that it advertises."""

    name: str
    security_protocol: str
    host: str
    port: int


class Connection(Protocol):
    """The server's side of a context. ``peer`` is "host:port" for logs, ``endpoint`` the listener it came in by."""

    @property
    def peer(self) -> str: ...

    @property
    def endpoint(self) -> Endpoint: ...

    async def send_pending(self) -> None:
        """Send the replies that are pending, as must be done before anything that takes its time."""
        ...

    async def wait(self, event: trio.Event, timeout_ms: float) -> bool:
        """Send the replies that are pending, then wait on the broker's clock. True when the event was set in time.

        Ends early, by cancellation or an exception that the connection handles, when the peer closes or the broker
        stops.
        """
        ...


@dataclass(slots=True)
class Context:
    """One request in flight.

    ``throttle_ms`` is how long the connection stays muted after the reply; ``principal`` is "User:ANONYMOUS" on a
    listener without authentication.
    """

    broker: Broker
    connection: Connection
    api_key: int
    api_version: int
    client_id: str | None
    correlation_id: int
    principal: str = "User:ANONYMOUS"
    throttle_ms: int = 0

    @property
    def peer(self) -> str:
        return self.connection.peer

    @property
    def endpoint(self) -> Endpoint:
        return self.connection.endpoint

    async def wait(self, event: trio.Event, timeout_ms: float) -> bool:
        """The only way for a handler to wait: see ``Connection.wait``."""
        if event.is_set():
            return True
        return await self.connection.wait(event, timeout_ms)
