"""The listener of a connection.

Responsible for: the value ``Listener``. Must not depend on: sockets, what a connection does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from kwire.broker.endpoint import Endpoint
from kwire.server.connections.registry import ConnectionRegistry

if TYPE_CHECKING:  # not at run time: a broker without TLS does not load OpenSSL
    from kwire.server.tls.listeners import TlsListener


class Listener(NamedTuple):
    """The listener that accepted a connection. All listeners of a broker share one registry.

    ``tls`` is None where the security protocol (``endpoint.security_protocol``) is without TLS.
    """

    endpoint: Endpoint
    connections: ConnectionRegistry
    tls: TlsListener | None = None
