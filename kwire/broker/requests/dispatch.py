"""The one door for requests.

Owns: the type of an API table entry and ``dispatch``, through which every decoded request and every response passes.
Authorization, quotas, metrics, the request log and injected faults belong here, and cost nothing when unused: only then
may an API answer some of its requests undecoded (``Shortcut``). May not know: sockets, what a single API does.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from kwire.broker.requests.context import Context
from kwire.wire.codec import RequestHeader

if TYPE_CHECKING:
    from kwire.broker.broker import Broker

Handler: TypeAlias = Callable[[Context, Any], Any]


class Shortcut(Protocol):
    """Answers requests that are like one before from their bytes; one for each connection, used in turn."""

    def answer(self, frame: memoryview) -> bytes | None:
        """The reply's frame, size first; None, with nothing done, for whatever must be decoded and dispatched."""
        ...

    def store(self, header: RequestHeader, frame: memoryview, request: Any, response: Any) -> None:
        """Remember what was decoded and dispatched, if it is of the kind that comes again."""
        ...


class Api:
    """One row of the table of what is served.

    ``served`` is the inclusive range of versions that ApiVersions advertises and the version gate admits. ``load``
    imports the handler: its body holds the import, so that start-up does not pay for seventy modules and yet mypy and
    the import contracts see every edge.
    """

    __slots__ = ("_handler", "_load", "advertised", "key", "name", "served", "shortcut", "waits")

    def __init__(
        self,
        key: int,
        name: str,
        served: tuple[int, int],
        load: Callable[[], Handler],
        *,
        advertised: tuple[int, int] | None = None,
        shortcut: Callable[[Broker], Shortcut] | None = None,
    ) -> None:
        self.key = key
        self.name = name
        self.served = served
        self.advertised = served if advertised is None else advertised
        self.shortcut = shortcut
        self._load = load
        self._handler: Handler | None = None
        self.waits = False

    @property
    def handler(self) -> Handler:
        """The handler, imported at first use; ``waits`` then says whether it is a coroutine function."""
        if self._handler is None:
            self._handler = self._load()
            self.waits = inspect.iscoroutinefunction(self._handler)
        return self._handler

    def serves(self, version: int) -> bool:
        lowest, highest = self.served
        return lowest <= version <= highest


ApiTable: TypeAlias = Mapping[int, Api]


def has_no_hooks(broker: Broker) -> bool:
    """Whether ``dispatch`` does no more now than to call the handler."""
    return not broker.quotas.any


async def dispatch(api: Api, context: Context, request: Any) -> Any:
    """The response message, or None where the protocol sends no reply (Produce with acks=0).

    Raises what the handler raises: per-item refusals are caught inside handlers, the rest is the connection's
    business.
    """
    handler = api.handler
    if context.broker.quotas.any:
        return await context.broker.quotas.metered(context, request, handler)
    response = handler(context, request)
    return await response if api.waits else response
