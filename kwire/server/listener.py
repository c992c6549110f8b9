"""The listener of a connection.

Responsible for: the value ``Listener``. Must not depend on: sockets, what a connection does.
"""

from __future__ import annotations

from typing import NamedTuple

from kwire.broker.endpoint import Endpoint
from kwire.server.connection_registry import ConnectionRegistry


class Listener(NamedTuple):
    """What a connection needs of where it was accepted. All listeners of a broker share one registry."""

    endpoint: Endpoint
    connections: ConnectionRegistry
