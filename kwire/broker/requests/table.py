"""The table of what is served, as connections and dispatch use it.

Responsible for: ``Api``, ``ApiTable`` and the interface of shortcuts. Must not depend on: the broker, what a single API
does, which APIs there are (``kwire.api`` makes the table).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeAlias

from kwire.broker.clients.response_cache import Caching
from kwire.wire.codec import RequestHeader
from kwire.wire.session import Served

# ``handler(context, request)``, plain or a coroutine function; gives the response message.
Handler: TypeAlias = Callable[[Any, Any], Any]


class Shortcut(Protocol):
    """Answers requests that equal an earlier one except for some bytes, without decoding; one for each connection.

    It is not used for an API that has a hook, and asks the broker's authorizer itself.
    """

    @property
    def api_key(self) -> int:
        """The API whose requests it answers."""
        ...

    def answer(self, frame: memoryview) -> bytes | None:
        """The reply's frame, size first; None, with nothing done, for whatever must be decoded and dispatched."""
        ...

    def store(self, header: RequestHeader, frame: memoryview, request: Any, response: Any) -> None:
        """Keep a template of a dispatched request, if similar requests can be answered from one."""
        ...


class Api:
    """One API that a broker serves.

    ``served`` is the inclusive range of versions that are ``admitted``, and that ApiVersions lists if ``advertised`` is
    not another. ``load`` imports the handler, so that start-up does not pay for seventy modules.
    ``shortcut(broker, connection)`` makes the shortcut of one connection. ``caching`` tells how encoded responses are
    kept and sent again: see ``response_cache``. None for an API whose responses are not kept.
    """

    __slots__ = ("_handler", "_load", "admitted", "advertised", "caching", "key", "name", "served", "shortcut", "waits")

    def __init__(
        self,
        key: int,
        name: str,
        served: tuple[int, int],
        load: Callable[[], Handler],
        *,
        advertised: tuple[int, int] | None = None,
        shortcut: Callable[[Any, Any], Shortcut] | None = None,
        caching: Caching | None = None,
    ) -> None:
        self.key = key
        self.name = name
        self.served = served
        self.admitted = Served(name, *served)
        self.advertised = served if advertised is None else advertised
        self.shortcut = shortcut
        self.caching = caching
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
