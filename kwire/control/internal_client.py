"""A client inside the broker, which calls the handlers and is authorized for everything.

Responsible for: calling a handler like a connection. Must not depend on: the content of requests.

Its requests pass no hooks: they are not in the request log, no rule disturbs them, no quota counts them.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

import trio

from kwire.broker.broker import Broker
from kwire.broker.clients.client import Client
from kwire.broker.requests.context import Context
from kwire.broker.requests.table import ApiTable
from kwire.errors import Code, KafkaError
from kwire.security.operations import Operation, ResourceType
from kwire.wire.codec import Message, api_name

_CLIENT_ID = "kwire-control"


class InternalClient:
    """One client of one broker; see ``requests.context.Connection``."""

    def __init__(self, broker: Broker, apis: ApiTable) -> None:
        self.client = Client("127.0.0.1", 0, broker.endpoints[0], authenticated_at_ms=broker.clock.now_ms())
        self.checked_batches = 0
        self.closing: dict[Hashable, Callable[[], None]] = {}
        self._broker = broker
        self._apis = apis

    @property
    def apis(self) -> ApiTable:
        return self._apis

    async def call(self, request: Message, version: int | None = None) -> Any:
        """Return the response, in the highest served version or ``version``.

        Raises KafkaError(UNSUPPORTED_VERSION) where the API is not served, and the exceptions of the handler.
        """
        api = self._apis.get(request.KEY)
        if api is None:
            raise KafkaError(Code.UNSUPPORTED_VERSION, f"{api_name(request.KEY)} is not served")
        chosen = api.served[1] if version is None else version
        context = _Unrestricted(self._broker, self, api.key, chosen, _CLIENT_ID, 0)
        response = api.handler(context, request)
        return await response if api.waits else response

    async def send_pending(self) -> None:
        """Nothing is pending."""

    async def wait(self, event: trio.Event, timeout_ms: float) -> bool:
        with trio.CancelScope() as scope:
            timer = None if timeout_ms == float("inf") else self._broker.clock.call_later(timeout_ms, scope.cancel)
            try:
                await event.wait()
            finally:
                if timer is not None:
                    timer.cancel()
        return event.is_set()

    async def in_thread(self, call: Callable[[], None]) -> None:
        await trio.to_thread.run_sync(call)

    def drop(self, why: str, *, reset: bool = False) -> None:
        """There is no connection to close."""

    async def yield_turn(self) -> None:
        await trio.lowlevel.checkpoint()


class _Unrestricted(Context):
    """A context whose client is authorized for everything."""

    __slots__ = ()

    def authorize(self, operation: Operation, kind: ResourceType, name: str) -> None:
        pass

    def may(self, operation: Operation, kind: ResourceType, name: str, *, audited: bool = True) -> bool:
        del operation, kind, name, audited
        return True

    def may_any(self, operation: Operation, kind: ResourceType) -> bool:
        del operation, kind
        return True
