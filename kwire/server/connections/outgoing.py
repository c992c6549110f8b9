"""One encoded reply on its way through the reply hooks of its API.

Responsible for: calling the hooks in order, and sending the reply unless they drop it. Must not depend on: sockets,
requests.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Protocol

import trio

from kwire.broker.clients.client import Client
from kwire.broker.clients.hooks import ReplyHook
from kwire.server.transport import Part
from kwire.wire.codec import RequestHeader


class Sender(Protocol):
    """The part of a connection that an outgoing reply uses."""

    client: Client

    async def send(self, parts: Sequence[Part]) -> None: ...

    async def wait(self, event: trio.Event, timeout_ms: float) -> bool: ...


class Outgoing:
    """See ``hooks.Outgoing``."""

    __slots__ = ("_connection", "header", "parts", "throttle_ms")

    def __init__(self, connection: Sender, header: RequestHeader, throttle_ms: int, parts: Sequence[Part]) -> None:
        self._connection = connection
        self.header = header
        self.throttle_ms = throttle_ms
        self.parts = parts

    @property
    def client(self) -> Client:
        return self._connection.client

    @property
    def waits(self) -> Sender:
        return self._connection

    async def send(self) -> None:
        await self._connection.send(self.parts)


async def send_through(hooks: Sequence[ReplyHook], outgoing: Outgoing) -> None:
    """Call the hooks, the first registered outermost; within the last one the reply is sent."""
    if hooks:
        await hooks[0](outgoing, partial(send_through, hooks[1:], outgoing))
    else:
        await outgoing.send()
