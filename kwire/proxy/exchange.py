"""One request with hooks: passed to the node as the hooks leave it, and what the node answered.

Responsible for: when a request or a response still is the bytes that came, and the order of hooks. Must not depend on:
sockets, what hooks do.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Protocol, TypeAlias

from kwire.broker.clients.hooks import DispatchHook
from kwire.errors import Code, KafkaError, ProtocolViolation
from kwire.proxy.frames import SIZE_BYTES
from kwire.proxy.requests import PRODUCE
from kwire.proxy.rewriting import API_VERSIONS, refuses_version
from kwire.wire.codec import Message, RequestHeader, decode_response, encode_request, encode_response

Frame: TypeAlias = bytes | memoryview


class Exchanging(Protocol):
    """The part of a connection that an exchange uses."""

    async def exchange(self, header: RequestHeader, frame: Frame, *, answered: bool) -> Frame | None: ...

    def note_names(self, response: Message) -> None: ...


class Undecodable(Exception):
    """A response that is not as the spec says; it is passed on as it is."""


class Exchange:
    """One request with hooks: what the client sent, and what the node answered.

    Without ``may_change`` the hooks only observe, and nothing is encoded to find what they have changed.
    """

    def __init__(
        self, connection: Exchanging, header: RequestHeader, frame: Frame, request: Message, *, may_change: bool
    ) -> None:
        self._connection = connection
        self._header = header
        self._frame = frame
        self._given = self._encoded_request(request) if may_change else None
        self._answered_as: bytes | None = None
        self.answer: Frame | None = None

    async def forward(self, request: Any) -> Message | None:
        """Pass the request on, byte for byte unless a hook has changed it.

        Raises KafkaError(UNSUPPORTED_VERSION) where the node refuses the version of ApiVersions, and Undecodable;
        ``answer`` is what the node answered.
        """
        frame = self._frame
        if self._given is not None:
            encoded = self._encoded_request(request)
            frame = self._frame if encoded == self._given else encoded
        answered = self._header.api_key != PRODUCE or request.acks != 0
        self.answer = await self._connection.exchange(self._header, frame, answered=answered)
        if self.answer is None:
            return None
        view = memoryview(self.answer)[SIZE_BYTES:]
        if self._header.api_key == API_VERSIONS and self._header.api_version and refuses_version(view):
            raise KafkaError(Code.UNSUPPORTED_VERSION)
        try:
            _, response = decode_response(self._header.api_key, self._header.api_version, view)
        except ProtocolViolation as violation:
            raise Undecodable(str(violation)) from violation
        self._connection.note_names(response)
        if self._given is not None:
            self._answered_as = _joined(encode_response(self._header, response))
        return response

    def encoded(self, response: Message) -> list[Frame]:
        """Encode what the hooks have left of the response: the node's own bytes if that is the same."""
        if self._given is None and self.answer is not None:
            return [self.answer]
        encoded = _joined(encode_response(self._header, response))
        return [self.answer if self.answer is not None and encoded == self._answered_as else encoded]

    def _encoded_request(self, request: Message) -> bytes:
        header = self._header
        return encode_request(header.api_key, header.api_version, header.correlation_id, header.client_id, request)


async def through(
    hooks: Sequence[DispatchHook], context: Any, request: Any, forward: Callable[[Any], Awaitable[Any]]
) -> Any:
    """Call the hooks, the first registered outermost; within the last one the request is passed on."""
    if hooks:
        return await hooks[0](context, request, partial(through, hooks[1:], context, request, forward))
    return await forward(request)


def _joined(parts: Sequence[Any]) -> bytes:
    return parts[0] if len(parts) == 1 and isinstance(parts[0], bytes) else b"".join(parts)
