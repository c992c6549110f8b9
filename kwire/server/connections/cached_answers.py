"""The response cache as one connection uses it.

Responsible for: the cache key of a response to this client, and whether a cached one is still current. Must
not depend on: transports, how responses are kept (``broker.requests.response_cache``).
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from kwire.broker.broker import Broker
from kwire.broker.requests.client import Client
from kwire.broker.requests.response_cache import Caching, Key
from kwire.server.transport import Part
from kwire.wire.codec import Message, RequestHeader


class CachedAnswers:
    """One per connection: ``find`` before a request is decoded, ``store`` once it is answered."""

    __slots__ = ("_broker", "_wanted")

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        # The cache key of the response to the current request, and the version of the state that it is made from.
        self._wanted: tuple[Key, Hashable] | None = None

    def find(
        self, caching: Caching, client: Client, header: RequestHeader, frame: memoryview
    ) -> Sequence[bytes] | None:
        """Return the cached response to an equal request; without one, note the key for the new response."""
        self._wanted = None
        broker = self._broker
        if broker.hooks.hooked(header.api_key):
            return None
        authorizer = broker.authorizer
        if authorizer is not None and broker.audit.logs_allowed:
            return None  # each decision has a line in the audit log
        asked_by = None if authorizer is None else (client.principal, client.acl_host)
        key = broker.responses.key(header, frame, client.endpoint, asked_by)
        if key is None:
            return None  # too large
        version = self._version(caching)
        parts = broker.responses.find(key, version, header.correlation_id)
        if parts is None:
            self._wanted = key, version
        return parts

    def store(self, caching: Caching, response: Message, parts: Sequence[Part]) -> None:
        """Cache the response to the request of the last ``find``, unless the state that it shows has changed."""
        if self._wanted is None:
            return
        key, version = self._wanted
        self._wanted = None
        broker = self._broker
        if self._version(caching) == version and caching.accepts(response) and not broker.hooks.hooked(key.api_key):
            broker.responses.store(key, version, parts)

    def _version(self, caching: Caching) -> Hashable:
        """The version of the state that a response shows; with an authorizer, ACLs are a part of it."""
        authorizer = self._broker.authorizer
        version = caching.version(self._broker)
        return version if authorizer is None else (version, authorizer.epoch)
