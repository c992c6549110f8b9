"""The response cache as one connection uses it.

Responsible for: the cache key of a response to this client, whether a cached one is still current, and what its request
changes of the client. Must not depend on: transports, how responses are kept (``broker.clients.response_cache``).
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Protocol

from kwire.broker.broker import Broker
from kwire.broker.clients.client import Client
from kwire.broker.clients.response_cache import Caching, Key
from kwire.server.connections.registry import ConnectionRegistry
from kwire.server.transport import Part
from kwire.wire.codec import Message, RequestHeader


class Connection(Protocol):
    """The part of a connection that is used here."""

    client: Client


class CachedAnswers:
    """One per connection: ``find`` before a request is decoded, ``store`` once it is answered."""

    __slots__ = ("_broker", "_connections", "_wanted")

    def __init__(self, broker: Broker, connections: ConnectionRegistry) -> None:
        self._broker = broker
        self._connections = connections
        # The cache key of the response to the current request, and the version of the state that it is made from.
        self._wanted: tuple[Key, Hashable] | None = None

    def find(
        self, caching: Caching, connection: Connection, header: RequestHeader, frame: memoryview
    ) -> Sequence[bytes] | None:
        """Return the cached response to an equal request, and note the client software that the request names.

        Without one, note the key for the new response.
        """
        self._wanted = None
        broker = self._broker
        if broker.hooks.hooked(header.api_key):
            return None
        authorizer = broker.authorizer
        if authorizer is not None and broker.audit.logs_allowed:
            return None  # each decision has a line in the audit log
        client = connection.client
        asked_by = None if authorizer is None else (client.principal, client.acl_host)
        key = broker.responses.key(header, frame, client.endpoint, asked_by)
        if key is None:
            return None  # too large
        version = self._version(caching)
        kept = broker.responses.find(key, version)
        if kept is None:
            self._wanted = key, version
            return None
        if caching.client_after is not None:
            connection.client = caching.client_after(client, kept.request)
        return kept.parts(header.correlation_id)

    def store(self, caching: Caching, request: Message, response: Message, parts: Sequence[Part]) -> None:
        """Cache the response to the request of the last ``find``, unless the state that it shows has changed."""
        if self._wanted is None:
            return
        key, version = self._wanted
        self._wanted = None
        broker = self._broker
        if self._version(caching) == version and caching.accepts(response) and not broker.hooks.hooked(key.api_key):
            broker.responses.store(key, version, parts, None if caching.client_after is None else request)

    def _version(self, caching: Caching) -> Hashable:
        """The version of the state that a response shows: with what is served, and the ACLs of an authorizer."""
        authorizer = self._broker.authorizer
        version, tables = caching.version(self._broker), self._connections.tables
        return (version, tables) if authorizer is None else (version, tables, authorizer.epoch)
