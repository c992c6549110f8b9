"""The table of what is served: the type of its rows.

Responsible for: ``Api``, ``ApiTable`` and the interface of shortcuts. Must not depend on: the broker, what a single API
does.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias

from kwire.broker.clients.response_cache import Caching
from kwire.wire.codec import RequestHeader
from kwire.wire.session import Served

if TYPE_CHECKING:  # a dictionary type with a key for each config takes time to make
    from kwire.metadata.configs.types import BrokerValues

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
    """One row of the table of what is served.

    ``served`` is the inclusive range of versions that ApiVersions advertises and that are ``admitted``. ``load``
    imports the handler: its body holds the import, so that start-up does not pay for seventy modules and yet mypy and
    the import contracts see every edge. ``shortcut(broker, connection)`` makes the shortcut of one connection.
    ``caching`` tells how encoded responses are kept and sent again: see ``response_cache``. None for an API whose
    responses are not kept.
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


class Row(NamedTuple):
    """The definition of one API; ``make_table`` makes the ``Api`` of each broker from it.

    ``when(settings, features)``: whether it is served with these broker settings and finalized feature levels; None for
    always. ``forward`` loads the handler that takes the place of the other one where the controller is another process.
    """

    key: int
    name: str
    served: tuple[int, int]
    load: Callable[[], Handler]
    advertised: tuple[int, int] | None = None
    shortcut: Callable[[Any, Any], Shortcut] | None = None
    caching: Caching | None = None
    when: Callable[[BrokerValues, Mapping[str, int]], bool] | None = None
    forward: Callable[[], Handler] | None = None


def make_table(
    rows: Iterable[Row],
    settings: BrokerValues,
    features: Mapping[str, int],
    controller: Mapping[int, tuple[int, int]] | None = None,
) -> ApiTable:
    """Make the table of one broker; no two brokers share a row's state.

    ``controller`` has the versions of each API that the active controller serves, where that is another process: rows
    with ``forward`` are then served at the versions that both serve.
    """
    served = (row for row in rows if row.when is None or row.when(settings, features))
    apis = (_api(row) if controller is None or row.forward is None else _forwarded(row, controller) for row in served)
    return {api.key: api for api in apis if api is not None}


def _api(row: Row) -> Api:
    return Api(
        row.key,
        row.name,
        row.served,
        row.load,
        advertised=row.advertised,
        shortcut=row.shortcut,
        caching=row.caching,
    )


def _forwarded(row: Row, controller: Mapping[int, tuple[int, int]]) -> Api | None:
    assert row.forward is not None
    lowest, highest = controller.get(row.key, (0, -1))
    versions = max(row.served[0], lowest), min(row.served[1], highest)
    return Api(row.key, row.name, versions, row.forward) if versions[0] <= versions[1] else None
