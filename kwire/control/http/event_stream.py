"""Server-sent events: an answer that lasts as long as the client listens.

Responsible for: the format, comments as keepalive, the end when the client disconnects. Must not depend on: the content
of events.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any, Final

import trio
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

_COMMENT_EVERY_S: Final = 15.0


class Emitter:
    """Sends events to one client; each call returns when the connection has taken the event (backpressure)."""

    def __init__(self, send: Send) -> None:
        self._send = send

    async def event(self, value: Any, *, name: str | None = None, number: int | None = None) -> None:
        """Send a value as JSON. ``name`` is the kind of the event, ``number`` its id."""
        head = ("" if number is None else f"id: {number}\n") + ("" if name is None else f"event: {name}\n")
        await self._write(f"{head}data: {json.dumps(value, separators=(',', ':'))}\n\n")

    async def comment(self, text: str) -> None:
        await self._write(f": {text}\n\n")

    async def _write(self, text: str) -> None:
        await self._send({"type": "http.response.body", "body": text.encode(), "more_body": True})


class EventStream(Response):
    """Runs ``events(emitter)`` until it returns or the client disconnects."""

    media_type = "text/event-stream"

    def __init__(self, events: Callable[[Emitter], Awaitable[None]]) -> None:
        super().__init__(headers={"Cache-Control": "no-store"})
        del self.headers["content-length"]
        self._events = events

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        emitter = Emitter(send)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_until_the_client_goes, receive, nursery.cancel_scope)
            nursery.start_soon(_comment, emitter)
            await self._events(emitter)
            nursery.cancel_scope.cancel()
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _until_the_client_goes(receive: Receive, scope: trio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()


async def _comment(emitter: Emitter) -> None:
    while True:
        await trio.sleep(_COMMENT_EVERY_S)
        await emitter.comment("still here")
