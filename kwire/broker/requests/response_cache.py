"""Encoded responses that are sent again while the metadata image has not changed.

Responsible for: which response was the answer to which request bytes, on which listener, at which version of the image.
Must not depend on: what a single API does, connections, the broker.

Many clients ask for all metadata with the same bytes, and encoding the answer for thousands of partitions takes tens of
milliseconds. An API uses the cache by ``Row.cacheable``: a response that it accepts must depend on nothing but the
image, the endpoint, the API version and the body of the request, and its request must have no effect. The caller does
not use the cache while an authorizer is set (an answer then depends on the principal) or while the API has a hook.
docs/decisions/turns.md has the numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct
from typing import Any, Final, NamedTuple

from kwire.broker.endpoint import Endpoint
from kwire.limits import CACHED_REQUEST_BYTES_MAX, CACHED_RESPONSES_BYTES_MAX
from kwire.metadata.image import MetadataImage
from kwire.wire.codec import RequestHeader

# Size and correlation id, which every response begins with.
_START: Final = Struct(">ii")


class Key(NamedTuple):
    """What a response was the answer to."""

    image_version: int
    api_key: int
    api_version: int
    endpoint: Endpoint
    request_body: bytes


class ResponseCache:
    """The cache of one broker: at most ``CACHED_RESPONSES_BYTES_MAX`` of requests and responses, oldest out first."""

    def __init__(self, image: MetadataImage) -> None:
        self._image = image
        self._image_version = image.version
        self._responses: dict[Key, bytes] = {}
        self._held_bytes = 0

    def key(self, header: RequestHeader, frame: memoryview, endpoint: Endpoint) -> Key | None:
        """Return what to look up and store under; None for a request too large to be kept."""
        body = frame[header.body_position :]
        if len(body) > CACHED_REQUEST_BYTES_MAX:
            return None
        return Key(self._image.version, header.api_key, header.api_version, endpoint, bytes(body))

    def find(self, key: Key, correlation_id: int) -> tuple[bytes, bytes] | None:
        """Return the parts of the frame that answers a request with this correlation id, or None."""
        response = self._responses.get(key)
        if response is None:
            return None
        return _START.pack(len(response) + 4, correlation_id), response

    def store(self, key: Key, parts: Sequence[Any]) -> None:
        """Keep an encoded frame, unless the image changed while it was made."""
        if key.image_version != self._image.version or len(parts) != 1:
            return
        if self._image_version != key.image_version:
            self._responses.clear()
            self._held_bytes = 0
            self._image_version = key.image_version
        response = parts[0][_START.size :]
        size_bytes = len(response) + len(key.request_body)
        if key in self._responses or size_bytes > CACHED_RESPONSES_BYTES_MAX:
            return
        self._responses[key] = response
        self._held_bytes += size_bytes
        while self._held_bytes > CACHED_RESPONSES_BYTES_MAX:
            oldest = next(iter(self._responses))
            self._held_bytes -= len(self._responses.pop(oldest)) + len(oldest.request_body)
