"""A row of the table of what is served, and the table of one broker made from rows.

Responsible for: what a row says, and which module has the handler of an API: it follows from package, key and name.
Must not depend on: which APIs there are, what a handler does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

from kwire.broker.clients.response_cache import Caching
from kwire.broker.requests.table import Api, ApiTable, Handler, Shortcut
from kwire.wire.spec import snake

if TYPE_CHECKING:  # a dictionary type with a key for each config takes time to make
    from kwire.metadata.configs.types import BrokerValues


class Row(NamedTuple):
    """The definition of one API; ``make_table`` makes the ``Api`` of each broker from it.

    ``served`` is the inclusive range of versions. ``package`` has the module of the handler. ``when(settings,
    features)``: whether it is served with these broker settings and finalized feature levels; None for always.
    ``forward`` loads the handler that takes the place of the other one where the controller is another process.
    """

    key: int
    name: str
    served: tuple[int, int]
    package: str = "kwire.api"
    advertised: tuple[int, int] | None = None
    shortcut: Callable[[Any, Any], Shortcut] | None = None
    caching: Caching | None = None
    when: Callable[[BrokerValues, Mapping[str, int]], bool] | None = None
    forward: Callable[[], Handler] | None = None

    @property
    def module(self) -> str:
        """The name of the module that has ``handle(context, request)``: kwire.api.k12_heartbeat."""
        return f"{self.package}.k{self.key:02}_{snake(self.name)}"

    def load(self) -> Handler:
        """Import the handler. A start pays for no handler that is not used."""
        handler: Handler = import_module(self.module).handle
        return handler


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
