"""Requests to other nodes, as the rest of the broker uses them.

Responsible for: the protocols ``Dialer``, ``Stream`` and ``Node``, and the errors of a request to another node. Must
not depend on: sockets, the content of requests.

    connection = peers.connection(node_id=2, client_id="broker-1-fetcher-0")      # peers.Peers
    response = await connection.request(FetchRequest(...), version=18, timeout_ms=30_000)

Several tasks may use one connection at the same time: their requests are pipelined, and each gets its own response.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from kwire.security.sasl.exchange import ClientExchange
from kwire.wire.message import Message


class OutboundError(Exception):
    """A request to another node has no response. The message is one sentence with the node's address."""


class Disconnected(OutboundError):
    """The connection could not be made, or was lost. If it was lost, the node may have carried out the request."""


class TimedOut(OutboundError):
    """No response arrived in time; the connection is closed. The node may still carry out the request."""


class NotServed(OutboundError):
    """The node does not serve the API, or at no version that kwire has. Nothing was sent."""


class Address(NamedTuple):
    """Where a node listens."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Stream(Protocol):
    """The bytes of one connection to a node. A method that waits raises OSError when the connection is lost."""

    async def recv(self, max_bytes: int) -> bytes:
        """Read what is there, at least one byte; b"" when the node has closed. A cancelled call has read nothing."""
        ...

    async def recv_into(self, space: memoryview) -> int:
        """Read into ``space`` (not empty); 0 when the node has closed. A cancelled call has read nothing."""
        ...

    async def send(self, parts: Sequence[bytes]) -> None:
        """Send everything. A cancelled call may have sent a part."""
        ...

    @property
    def peer_closed(self) -> bool:
        """Whether the node is known to have closed, without waiting."""
        ...

    def close(self) -> None: ...


class Dialer(Protocol):
    """Makes connections: ``sockets.SocketDialer``, ``secured.secured``; in memory ``kwire.testing.memory.network``."""

    async def connect(self, address: Address) -> Stream:
        """Connect, with TLS where the dialer is made for it. Raises OSError."""
        ...

    def login(self) -> ClientExchange | None:
        """Begin the login of one connection; None if connections need no login."""
        ...


class Node(Protocol):
    """One other node, for requests."""

    async def request(self, message: Message, *, version: int | None = None, timeout_ms: float | None = None) -> Any:
        """Send ``message`` and return the response message.

        ``version`` None: the highest that both sides have. ``timeout_ms`` None: the timeout of the connection; it
        covers connecting too. A cancelled call leaves the connection usable for others, unless it was cancelled while
        it sent.
        Raises Disconnected, TimedOut, NotServed. Error codes within the response are the caller's.
        """
        ...
