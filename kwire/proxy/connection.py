"""One client's connection through the proxy.

Responsible for: passing requests to one node and its responses back in their order, hooks around those requests for
which there are any, and how a connection ends. Must not depend on: sockets, where a node is, what hooks do.

Each client has a connection of its own to the node, so that logins, quotas and the order of requests are the node's. A
request without hooks is passed on as its bytes arrive, and many may be under way; its response is passed back likewise,
unless it has addresses to be rewritten. For a request with hooks all earlier responses are awaited first, then it is
decoded and passed through the hooks as a broker's dispatch does; the node sees the next request after it was answered.
"""

from __future__ import annotations

import socket
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Hashable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any, Final, NamedTuple, Protocol

import trio

from kwire.broker.clock import Clock
from kwire.broker.containment import must_stop_broker
from kwire.broker.logs import Logger
from kwire.broker.requests.client import Client
from kwire.broker.requests.hooks import CutOff, DispatchHook, Hooks
from kwire.errors import Code, KafkaError, ProtocolViolation
from kwire.proxy.frames import SIZE_BYTES, FrameReader
from kwire.proxy.logins import LOGIN_KEYS, TOKEN_BYTES_MAX, Login
from kwire.proxy.requests import (
    ACKS_WITHIN_BYTES,
    HEAD_BYTES,
    METADATA,
    PRODUCE,
    SASL_HANDSHAKE,
    Head,
    has_response,
    may_be_token,
    read_head,
)
from kwire.proxy.rewriting import API_VERSIONS, ceiling, is_rewritten, passes, refuses_version, rewrite_response
from kwire.security.principal import Principal
from kwire.server.outgoing import Outgoing, send_through
from kwire.server.refusals import Ended, PeerGone
from kwire.server.transport import LINGER_NOT, Part
from kwire.wire.codec import (
    Message,
    RequestHeader,
    api_name,
    decode_request,
    decode_response,
    encode_request,
    encode_response,
    read_header,
)
from kwire.wire.messages import ApiVersionsResponse

log = Logger("kwire.proxy")

_CORRELATION_ID_BYTES: Final = 4


class Stream(Protocol):
    """The bytes of one connection; ``trio.abc.Stream``, with ``send_eof`` where one direction can be closed alone."""

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray: ...

    async def send_all(self, data: bytes | bytearray | memoryview) -> None: ...

    async def aclose(self) -> None: ...


class ProxyParts(Protocol):
    """The part of the proxy that its connections use."""

    @property
    def hooks(self) -> Hooks: ...

    @property
    def clock(self) -> Clock: ...

    @property
    def request_counts(self) -> Counter[tuple[int, int] | None]:
        """How many requests clients have sent, by API key and version; None: those that kwire does not know."""
        ...

    def advertise(self, host: str, port: int) -> tuple[str, int]:
        """Give the proxy's address for a node's."""
        ...

    @property
    def notes_topic_names(self) -> bool:
        """Whether rules may come that need the names of topic ids."""
        ...

    def note_names(self, response: Message) -> None:
        """Take note of names that later requests do not have."""
        ...


class _Sent(NamedTuple):
    """A request that was passed on and not answered. ``head`` None: a token of a login."""

    head: Head | None
    waiter: _Waiter | None = None


class _Waiter:
    """A request with hooks that waits for its response's frame."""

    __slots__ = ("arrived", "frame")

    def __init__(self) -> None:
        self.arrived = trio.Event()
        self.frame = b""


class ProxiedRequest:
    """What hooks know of a request; see ``requests.hooks.HookedRequest``."""

    __slots__ = ("api_key", "api_version", "client_id", "connection", "correlation_id", "throttle_ms")

    def __init__(self, connection: ProxiedConnection, header: RequestHeader) -> None:
        self.connection = connection
        self.api_key = header.api_key
        self.api_version = header.api_version
        self.client_id = header.client_id
        self.correlation_id = header.correlation_id
        self.throttle_ms = 0

    @property
    def client(self) -> Client:
        return self.connection.client

    async def wait(self, event: trio.Event, timeout_ms: float) -> bool:
        """See ``requests.context.Context.wait``."""
        return event.is_set() or await self.connection.wait(event, timeout_ms)


class ProxiedConnection:
    """From ``run`` to the end of either side. ``client.endpoint`` names the node; see the module."""

    def __init__(self, client: Client, stream: Stream, upstream: Stream, parts: ProxyParts) -> None:
        self.client = client
        self.client_id: str | None = None
        self.requests = 0
        self.closing: dict[Hashable, Callable[[], None]] = {}
        self._stream = stream
        self._upstream = upstream
        self._around = parts
        self._from_client = FrameReader(stream)  # type: ignore[arg-type]  # it reads only
        self._from_upstream = FrameReader(upstream)  # type: ignore[arg-type]
        self._sent: deque[_Sent] = deque()
        self._answered = trio.Event()
        self._login = Login()
        self._takes_tokens = False  # after SaslHandshake version 0
        self._scope = trio.CancelScope()

    async def run(self) -> None:
        """Pass on until both sides have ended, or one of them fails."""
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._contained, self._pass_requests)
                    await self._contained(self._pass_responses)
                    self._scope.cancel()
        finally:
            for callback in self.closing.values():
                callback()

    def drop(self, why: str, *, reset: bool = False) -> None:
        """Close both sides at once; ``reset``: the client gets a reset."""
        if reset and isinstance(self._stream, trio.SocketStream):
            self._stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_NOT)
        log.debug("connection dropped", why=why, peer=self.client.peer)
        self._scope.cancel()

    async def wait(self, event: trio.Event, timeout_ms: float) -> bool:
        """Wait on the proxy's clock; True when ``event`` was set in time. Raises PeerGone if the client closes."""
        gone = False
        timer = None
        async with trio.open_nursery() as nursery:

            async def watch() -> None:
                nonlocal gone
                with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                    await self._from_client.watch_end()
                gone = True
                nursery.cancel_scope.cancel()

            nursery.start_soon(watch)
            if timeout_ms != float("inf"):
                timer = self._around.clock.call_later(timeout_ms, nursery.cancel_scope.cancel)
            try:
                await event.wait()
                nursery.cancel_scope.cancel()
            finally:
                if timer is not None:
                    timer.cancel()
        if gone:
            raise PeerGone
        return event.is_set()

    async def send(self, parts: Sequence[Any]) -> None:
        """Send a response to the client."""
        await self._stream.send_all(b"".join(parts))

    async def _contained(self, pass_on: Callable[[], Awaitable[None]]) -> None:
        try:
            await pass_on()
        except CutOff:
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                await self._from_client.discard()
        except (trio.BrokenResourceError, trio.ClosedResourceError, Ended) as end:
            log.debug("connection ended", peer=self.client.peer, upstream=self._upstream_name, why=str(end))
        except ProtocolViolation as violation:
            log.warning(
                "connection closed: protocol violation",
                why=str(violation),
                peer=self.client.peer,
                upstream=self._upstream_name,
            )
        except Exception as error:
            if must_stop_broker(error):
                raise
            log.failure("connection failed, which is a bug in kwire", error, peer=self.client.peer)
        else:
            return
        self._scope.cancel()

    @property
    def _upstream_name(self) -> str:
        return self.client.endpoint.name

    # Requests

    async def _pass_requests(self) -> None:
        while True:
            size = await self._from_client.next_size()
            if size is None:
                break
            await self._pass_request(size)
        if not await self._end_upstream():
            await self._drained()
            self._scope.cancel()

    async def _end_upstream(self) -> bool:
        """Close the direction to the node; False for TLS, which cannot be closed in one direction."""
        send_eof = getattr(self._upstream, "send_eof", None)
        if send_eof is None:
            return False
        await send_eof()
        return True

    async def _pass_request(self, size: int) -> None:
        head = read_head(await self._from_client.head(min(size, HEAD_BYTES)))
        if self._takes_tokens and may_be_token(head):
            if size <= TOKEN_BYTES_MAX:
                self._note_principal(self._login.read_token(await self._from_client.head(size)))
            await self._forward_pieces(size, _Sent(None))
            return
        self._takes_tokens = False
        self.requests += 1
        if head is None:
            await self._forward_pieces(size, None)  # the node judges it
            return
        self._around.request_counts[(head.api_key, head.api_version) if head.is_known else None] += 1
        if not passes(head.api_key, head.api_version):
            await self._refuse(size, head)
            return
        if head.api_key in LOGIN_KEYS and size <= TOKEN_BYTES_MAX:
            self._note_principal(self._login.read_request(await self._from_client.head(size)))
        if head.is_known and self._around.hooks.hooked(head.api_key):
            await self._pass_through_hooks(size)
            return
        if head.api_key == SASL_HANDSHAKE:
            await self._drained()
            self._takes_tokens = head.api_version == 0
        begin = b""
        if head.api_key == PRODUCE:
            begin = await self._from_client.head(min(size, ACKS_WITHIN_BYTES))
        await self._forward_pieces(size, _Sent(head) if has_response(head, begin) else None)

    def _note_principal(self, principal: Principal | None) -> None:
        if principal is not None:
            self.client = replace(self.client, principal=principal, authenticated_at_ms=self._around.clock.now_ms())

    async def _forward_pieces(self, size: int, sent: _Sent | None) -> None:
        if sent is not None:
            self._sent.append(sent)
        await self._from_client.pass_on(size, self._upstream.send_all)

    async def _refuse(self, size: int, head: Head) -> None:
        """Answer ApiVersions at a version of the future as a broker does (KIP-511); what else is too new ends it."""
        known = ceiling(head.api_key)
        if head.api_key != API_VERSIONS:
            name = api_name(head.api_key)
            raise ProtocolViolation(
                f"the addresses in the response of {name} v{head.api_version} cannot be rewritten, only up to v{known}"
            )
        await self._from_client.whole(size)
        await self._drained()
        versions = ApiVersionsResponse.ApiVersion(api_key=API_VERSIONS, min_version=0, max_version=known or 0)
        response = ApiVersionsResponse(error_code=Code.UNSUPPORTED_VERSION, api_keys=[versions])
        await self.send(encode_response(RequestHeader(API_VERSIONS, 0, head.correlation_id, None, 0), response))

    async def _drained(self) -> None:
        """Wait until each request that was passed on is answered."""
        while self._sent:
            await self._answered.wait()

    # Requests with hooks

    async def _pass_through_hooks(self, size: int) -> None:
        frame = await self._from_client.whole(size)
        await self._drained()
        view = memoryview(frame)[SIZE_BYTES:]
        try:
            header = read_header(view)
            request = decode_request(header, view)
        except ProtocolViolation:
            await self._upstream.send_all(frame)  # the node judges it
            return
        self.client_id = header.client_id
        exchange = _Exchange(self, header, frame, request)
        context = ProxiedRequest(self, header)
        hooks = self._around.hooks
        try:
            response = await _through(hooks.dispatch.get(header.api_key, ()), context, request, exchange.forward)
        except PeerGone:
            return
        except (KafkaError, Undecodable):
            if exchange.answer is None:
                raise
            await self.send([exchange.answer])
            return
        if response is not None:
            parts: Sequence[Part] = exchange.encoded(response)
            reply_hooks = hooks.replies.get(header.api_key, ())
            await send_through(reply_hooks, Outgoing(self, header, context.throttle_ms, parts))
        if header.api_key == SASL_HANDSHAKE:
            self._takes_tokens = header.api_version == 0
        if context.throttle_ms:
            await self.wait(trio.Event(), context.throttle_ms)

    async def exchange(self, header: RequestHeader, frame: bytes, *, answered: bool) -> bytes | None:
        """Pass a request on and return its response, addresses rewritten, its size first; None where there is none."""
        if not answered:
            await self._upstream.send_all(frame)
            return None
        waiter = _Waiter()
        self._sent.append(_Sent(Head(header.api_key, header.api_version, header.correlation_id), waiter))
        await self._upstream.send_all(frame)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._contained, self._pass_end_on)
            await waiter.arrived.wait()
            nursery.cancel_scope.cancel()
        return waiter.frame

    async def _pass_end_on(self) -> None:
        """Let the node notice that the client has closed while its last request waits."""
        await self._from_client.watch_end()
        if not self._from_client.holds_more:
            await self._end_upstream()

    def note_names(self, response: Message) -> None:
        """See ``ProxyParts.note_names``."""
        self._around.note_names(response)

    # Responses

    async def _pass_responses(self) -> None:
        while True:
            size = await self._from_upstream.next_size()
            if size is None:
                return
            sent = await self._answered_by(size)
            if sent is not None and sent.waiter is not None:
                sent.waiter.frame = await self._rewritten(size, sent)
                sent.waiter.arrived.set()
            elif sent is not None and sent.head is not None and is_rewritten(sent.head.api_key, sent.head.api_version):
                await self._stream.send_all(await self._rewritten(size, sent))
            else:
                await self._from_upstream.pass_on(size, self._stream.send_all)
            if sent is not None:
                self._sent.popleft()
                answered, self._answered = self._answered, trio.Event()
                answered.set()

    async def _answered_by(self, size: int) -> _Sent | None:
        """Find the request that the next frame answers; it is then the first of those under way."""
        if not self._sent:
            return None
        if self._sent[0].head is None:
            return self._sent[0]
        begin = await self._from_upstream.head(min(size, _CORRELATION_ID_BYTES))
        correlation_id = int.from_bytes(begin, "big", signed=True)
        while self._sent:
            head = self._sent[0].head
            if head is not None and head.correlation_id == correlation_id:
                return self._sent[0]
            self._sent.popleft()
        raise ProtocolViolation(f"the node answered a request {correlation_id} that was not sent")

    async def _rewritten(self, size: int, sent: _Sent) -> bytes:
        frame = await self._from_upstream.whole(size)
        head = sent.head
        if head is None or not is_rewritten(head.api_key, head.api_version):
            return frame
        view = memoryview(frame)[SIZE_BYTES:]
        if head.api_key == METADATA and sent.waiter is None and self._around.notes_topic_names:
            with suppress(ProtocolViolation):
                self._around.note_names(decode_response(head.api_key, head.api_version, view)[1])
        changed = rewrite_response(head.api_key, head.api_version, view, self._around.advertise)
        return frame if changed is None else len(changed).to_bytes(SIZE_BYTES, "big") + changed


class Undecodable(Exception):
    """A response that is not as the spec says; it is passed on as it is."""


class _Exchange:
    """One request with hooks: what the client sent, and what the node answered."""

    def __init__(self, connection: ProxiedConnection, header: RequestHeader, frame: bytes, request: Message) -> None:
        self._connection = connection
        self._header = header
        self._frame = frame
        self._given = self._encoded_request(request)
        self._answered_as: bytes | None = None
        self.answer: bytes | None = None

    async def forward(self, request: Any) -> Message | None:
        """Pass the request on, byte for byte unless a hook has changed it.

        Raises KafkaError(UNSUPPORTED_VERSION) where the node refuses the version of ApiVersions, and Undecodable;
        ``answer`` is what the node answered.
        """
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
        self._answered_as = _joined(encode_response(self._header, response))
        return response

    def encoded(self, response: Message) -> list[bytes]:
        """Encode what the hooks have left of the response: the node's own bytes if that is the same."""
        encoded = _joined(encode_response(self._header, response))
        return [self.answer if self.answer is not None and encoded == self._answered_as else encoded]

    def _encoded_request(self, request: Message) -> bytes:
        header = self._header
        return encode_request(header.api_key, header.api_version, header.correlation_id, header.client_id, request)


async def _through(
    hooks: Sequence[DispatchHook], context: ProxiedRequest, request: Any, forward: Callable[[Any], Awaitable[Any]]
) -> Any:
    if hooks:
        return await hooks[0](context, request, partial(_through, hooks[1:], context, request, forward))
    return await forward(request)


def _joined(parts: Sequence[Any]) -> bytes:
    return parts[0] if len(parts) == 1 and isinstance(parts[0], bytes) else b"".join(parts)
