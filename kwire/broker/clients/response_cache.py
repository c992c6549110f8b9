"""Encoded responses that are sent again while the state that they show has not changed.

Responsible for: which response was the answer to which request bytes, on which listener, at which version of the state
that the API answers from. Must not depend on: what a single API does, connections, the broker.

Many clients ask for all metadata with the same bytes, and encoding the answer for thousands of partitions takes tens of
milliseconds. An API uses the cache by ``Api.caching``: a response that it accepts must depend on nothing but the
state that has the version, the endpoint, the API version and the body of the request, with an authorizer on its ACLs
and on the principal and address of the client as well; but for ``Caching.client_after``, its request has no effect. The
caller does not use the cache while the API has a hook. docs/decisions/turns.md has the numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from struct import Struct
from typing import Any, Final, NamedTuple

from kwire.broker.clients.client import Client
from kwire.broker.endpoint import Endpoint
from kwire.limits import CACHED_REQUEST_BYTES_MAX, CACHED_RESPONSES_BYTES_MAX
from kwire.security.principal import Principal
from kwire.wire.codec import RequestHeader

# Size and correlation id, which every response begins with.
_START: Final = Struct(">ii")


class Caching(NamedTuple):
    """How the responses of one API are kept.

    ``version(broker)`` gives a value that differs whenever the state that the API answers from may have changed.
    ``accepts(response)`` tells whether an equal request may be sent the same response at the same version.
    ``client_after(client, request)`` gives what is known about the client after its request; None if that is the same.
    """

    version: Callable[[Any], Hashable]
    accepts: Callable[[Any], bool]
    client_after: Callable[[Client, Any], Client] | None = None


class Key(NamedTuple):
    """The request that a response answers."""

    api_key: int
    api_version: int
    endpoint: Endpoint
    request_body: bytes
    asked_by: tuple[Principal, str] | None


class Kept(NamedTuple):
    """A response, and the decoded request where an equal one needs it (``Caching.client_after``)."""

    version: Hashable
    response: bytes
    request: Any

    def parts(self, correlation_id: int) -> Sequence[bytes]:
        """Return the parts of the frame that answers a request with this correlation id."""
        return _START.pack(len(self.response) + 4, correlation_id), self.response


class ResponseCache:
    """The cache of one broker: at most ``CACHED_RESPONSES_BYTES_MAX`` of requests and responses, oldest out first."""

    def __init__(self) -> None:
        self._responses: dict[Key, Kept] = {}
        self._held_bytes = 0

    def key(
        self,
        header: RequestHeader,
        frame: memoryview,
        endpoint: Endpoint,
        asked_by: tuple[Principal, str] | None = None,
    ) -> Key | None:
        """Return what to look up and store under; None for a request too large to be kept.

        ``asked_by`` is the principal and address of the client where an authorizer decides.
        """
        body = frame[header.body_position :]
        if len(body) > CACHED_REQUEST_BYTES_MAX:
            return None
        return Key(header.api_key, header.api_version, endpoint, bytes(body), asked_by)

    def find(self, key: Key, version: Hashable) -> Kept | None:
        """Return the response to an equal request, if it was made at this version."""
        kept = self._responses.get(key)
        return None if kept is None or kept.version != version else kept

    def store(self, key: Key, version: Hashable, parts: Sequence[Any], request: Any = None) -> None:
        """Keep an encoded frame; the caller has seen that the version is the same before and after it was made."""
        if len(parts) != 1:
            return
        self._drop(key)
        response = parts[0][_START.size :]
        size_bytes = len(response) + len(key.request_body)
        if size_bytes > CACHED_RESPONSES_BYTES_MAX:
            return
        self._responses[key] = Kept(version, response, request)
        self._held_bytes += size_bytes
        while self._held_bytes > CACHED_RESPONSES_BYTES_MAX:
            self._drop(next(iter(self._responses)))

    def _drop(self, key: Key) -> None:
        kept = self._responses.pop(key, None)
        if kept is not None:
            self._held_bytes -= len(kept.response) + len(key.request_body)
