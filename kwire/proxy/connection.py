"""One client's connection through the proxy.

Responsible for: passing requests to one node and its responses back in their order, hooks around those requests for
which there are any, and how a connection ends. Must not depend on: sockets, the addresses of nodes, the effect of
hooks.

Each client has its own connection to the node, so that the node handles logins, quotas and the order of requests. A
request without hooks is passed on as its bytes arrive, and many may be under way; its response is passed back likewise,
unless it has addresses to be rewritten. For a request with hooks all earlier responses are awaited first, then it is
decoded and passed through the hooks as a broker's dispatch does; the node sees the next request after it was answered.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Awaitable, Callable, Hashable, Sequence
from contextlib import suppress
from typing import Any, Final, NamedTuple, Protocol

import trio

from kwire.broker.clients.client import Client
from kwire.broker.clients.hooks import CutOff, Hooks
from kwire.broker.clock import Clock
from kwire.broker.containment import must_stop_broker
from kwire.broker.logs import Logger
from kwire.broker.outbound.tls import TlsFailed
from kwire.errors import Code, KafkaError, ProtocolViolation
from kwire.limits import READ_CHUNK_BYTES
from kwire.proxy.exchange import Exchange, Frame, Undecodable, through
from kwire.proxy.frames import SIZE_BYTES, FrameReader, SharedBuffers, Source
from kwire.proxy.logins import LOGIN_KEYS, TOKEN_BYTES_MAX, Login
from kwire.proxy.requests import (
    HEAD_BYTES,
    METADATA,
    PRODUCE,
    SASL_HANDSHAKE,
    Head,
    answers_produce,
    may_be_token,
    read_head,
)
from kwire.proxy.rewriting import API_VERSIONS, Route, ceiling, rewrite_response, route
from kwire.security.principal import Principal
from kwire.server.connections.outgoing import Outgoing, send_through
from kwire.server.connections.refusals import Ended, PeerGone
from kwire.server.transport import Part
from kwire.wire.codec import (
    Message,
    RequestHeader,
    api_name,
    decode_request,
    decode_response,
    encode_response,
    read_header,
)
from kwire.wire.frames import why_not_kafka
from kwire.wire.messages import ApiVersionsResponse

log = Logger("kwire.proxy")

_CORRELATION_ID_BYTES: Final = 4
# Alerts and handshakes of TLS: what a node that wants TLS answers to a client without it.
TLS_RECORDS: Final = frozenset({b"\x15\x03", b"\x16\x03"})


class Stream(Source, Protocol):
    """The bytes of one connection. Methods that wait raise OSError when it is lost."""

    async def send(self, parts: Sequence[bytes | memoryview]) -> None: ...

    def close(self) -> None: ...


class ClientStream(Stream, Protocol):
    """The connection of a client."""

    def abort(self) -> None:
        """Close with a reset."""
        ...


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

    @property
    def buffers(self) -> SharedBuffers: ...

    def advertise(self, host: str, port: int) -> tuple[str, int]:
        """Return the proxy's address for a node's."""
        ...

    @property
    def notes_topic_names(self) -> bool:
        """Whether later rules may need the names of topic ids."""
        ...

    def note_names(self, response: Message) -> None:
        """Store the names of topic ids, which later requests do not have."""
        ...


class _Sent(NamedTuple):
    """A request that was passed on and not answered. ``head`` None: a token of a login."""

    head: Head | None
    route: Route | None = None
    waiter: _Waiter | None = None


class _Waiter:
    """A request with hooks that waits for its response's frame."""

    __slots__ = ("arrived", "frame")

    def __init__(self) -> None:
        self.arrived = trio.Event()
        self.frame: Frame = b""


class ProxiedRequest:
    """The context of a request for hooks; see ``clients.hooks.HookedRequest``."""

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
    """From ``run`` to the end of either side. ``client.endpoint`` names the node."""

    def __init__(self, client: Client, stream: ClientStream, upstream: Stream, parts: ProxyParts) -> None:
        self.client = client
        self.client_id: str | None = None
        self.requests = 0
        self.closing: dict[Hashable, Callable[[], None]] = {}
        self._stream = stream
        self._upstream = upstream
        self._around = parts
        self._from_client = FrameReader(stream, upstream.send)
        self._from_upstream = FrameReader(upstream, stream.send)
        self._sent: deque[_Sent] = deque()
        self._unsettled = False  # whether responses were taken that may not be sent yet
        self._settled: trio.Event | None = None  # where something waits for that
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
        if reset:
            self._stream.abort()
        log.debug("connection dropped", why=why, peer=self.client.peer)
        self._scope.cancel()

    async def wait(self, event: trio.Event, timeout_ms: float) -> bool:
        """Wait on the proxy's clock; True when ``event`` was set in time. Raises PeerGone if the client closes."""
        gone = False
        timer = None
        async with trio.open_nursery() as nursery:

            async def watch() -> None:
                nonlocal gone
                with suppress(OSError, trio.ClosedResourceError):
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
        await self._stream.send(parts)

    async def _contained(self, pass_on: Callable[[], Awaitable[None]]) -> None:
        try:
            await pass_on()
        except CutOff:
            with suppress(OSError, trio.ClosedResourceError):
                await self._from_client.discard()
        except TlsFailed as failure:  # after the handshake, as nodes with TLSv1.3 refuse the proxy's certificate
            log.warning("connection to node lost", why=str(failure), peer=self.client.peer, node=self._upstream_name)
        except (OSError, trio.ClosedResourceError, Ended) as end:
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
        begin = await self._from_client.begin()
        why = None if begin is None else why_not_kafka(begin)
        if why is not None:
            raise ProtocolViolation(why)
        while True:
            size = await self._from_client.next_size()
            if size is None:
                break
            await self._pass_request(size)
        if not self._end_upstream():
            await self._drained()
            self._scope.cancel()

    def _end_upstream(self) -> bool:
        """Close the direction to the node; False for TLS, which cannot be closed in one direction."""
        end_sending = getattr(self._upstream, "end_sending", None)
        if end_sending is None:
            return False
        end_sending()
        return True

    async def _pass_request(self, size: int) -> None:
        reader = self._from_client
        head = read_head(await reader.head(min(size, HEAD_BYTES)))
        if self._takes_tokens and may_be_token(head):
            if size <= TOKEN_BYTES_MAX:
                self._note_principal(self._login.read_token(await reader.head(size)))
            await self._pass_on(size, _Sent(None))
            return
        self._takes_tokens = False
        self.requests += 1
        if head is None:
            await reader.pass_on(size)  # the node judges it
            return
        api_key = head.api_key
        its_route = route(api_key, head.api_version)
        self._around.request_counts[(api_key, head.api_version) if its_route.is_known else None] += 1
        if not its_route.passes:
            await self._refuse(size, head)
            return
        if api_key in LOGIN_KEYS and size <= TOKEN_BYTES_MAX:
            self._note_principal(self._login.read_request(await reader.head(size)))
        if its_route.is_known and self._around.hooks.hooked(api_key):
            await self._pass_through_hooks(size)
            return
        if api_key == SASL_HANDSHAKE:
            await self._drained()
            self._takes_tokens = head.api_version == 0
        if api_key == PRODUCE and not await answers_produce(head, size, reader.head):
            await reader.pass_on(size)
            return
        await self._pass_on(size, _Sent(head, its_route))

    def _note_principal(self, principal: Principal | None) -> None:
        if principal is not None:
            self.client = self.client._replace(principal=principal, authenticated_at_ms=self._around.clock.now_ms())

    async def _pass_on(self, size: int, sent: _Sent) -> None:
        self._sent.append(sent)
        await self._from_client.pass_on(size)

    async def _refuse(self, size: int, head: Head) -> None:
        """Answer ApiVersions at an unknown version as a broker does (KIP-511); any other unknown version ends it."""
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
        """Wait until each request that was passed on is answered, and the client was sent the answers."""
        await self._from_client.flush()
        while self._sent or self._unsettled:
            self._settled = trio.Event()
            await self._settled.wait()

    # Requests with hooks

    async def _pass_through_hooks(self, size: int) -> None:
        frame = await self._from_client.whole(size)
        await self._drained()
        view = memoryview(frame)[SIZE_BYTES:]
        try:
            header = read_header(view)
            request = decode_request(header, view)
        except ProtocolViolation:
            await self._upstream.send((frame,))  # the node judges it
            return
        self.client_id = header.client_id
        hooks = self._around.hooks
        exchange = Exchange(self, header, frame, request, may_change=not hooks.only_observed(header.api_key))
        context = ProxiedRequest(self, header)
        try:
            response = await through(hooks.dispatch.get(header.api_key, ()), context, request, exchange.forward)
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

    async def exchange(self, header: RequestHeader, frame: Frame, *, answered: bool) -> Frame | None:
        """Pass a request on and return its response, addresses rewritten, its size first; None where there is none."""
        if not answered:
            await self._upstream.send((frame,))
            return None
        waiter = _Waiter()
        head = Head(header.api_key, header.api_version, header.correlation_id)
        self._sent.append(_Sent(head, route(header.api_key, header.api_version), waiter))
        await self._upstream.send((frame,))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._contained, self._pass_end_on)
            await waiter.arrived.wait()
            nursery.cancel_scope.cancel()
        return waiter.frame

    async def _pass_end_on(self) -> None:
        """Close the connection to the node when the client closes while its last request waits."""
        await self._from_client.watch_end()
        if not self._from_client.holds_more:
            self._end_upstream()

    def note_names(self, response: Message) -> None:
        """See ``ProxyParts.note_names``."""
        self._around.note_names(response)

    # Responses

    async def _pass_responses(self) -> None:
        reader = self._from_upstream
        begin = await reader.begin()
        if begin is not None and begin[:2] in TLS_RECORDS:
            raise ProtocolViolation("the node uses TLS: the proxy's --config needs security.protocol=SSL or SASL_SSL")
        while True:
            if not reader.holds_more:
                await reader.flush()
                self._note_all_sent()
            size = await reader.next_size()
            if size is None:
                return
            await self._pass_response(size)

    async def _pass_response(self, size: int) -> None:
        reader = self._from_upstream
        sent = await self._answered_by(size)
        if sent is None:
            await reader.pass_on(size)
            return
        if sent.waiter is not None:
            frame = await reader.whole(size)
            sent.waiter.frame = self._rewritten(memoryview(frame)[SIZE_BYTES:], sent) or frame
            sent.waiter.arrived.set()
        elif sent.route is None or not sent.route.is_rewritten:
            await reader.pass_on(size)
        elif size <= READ_CHUNK_BYTES:
            # Few have addresses: those without are sent together with what came with them.
            changed = self._rewritten(memoryview(await reader.head(size)), sent)
            if changed is None:
                await reader.pass_on(size)
            else:
                await reader.whole(size)
                await self._stream.send((changed,))
        else:
            await self._pass_large_response(size, sent)
        self._sent.popleft()
        self._unsettled = True

    async def _pass_large_response(self, size: int, sent: _Sent) -> None:
        with self._around.buffers.lent(SIZE_BYTES + size) as buffer:
            frame = await self._from_upstream.whole(size, buffer)
            await self._stream.send((self._rewritten(memoryview(frame)[SIZE_BYTES:], sent) or frame,))

    def _note_all_sent(self) -> None:
        """All responses that were taken are sent."""
        self._unsettled = False
        if self._settled is not None and not self._sent:
            self._settled.set()
            self._settled = None

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

    def _rewritten(self, frame: memoryview, sent: _Sent) -> bytes | None:
        """Give a response with the proxy's addresses, its size first; None if it stays as it is."""
        head = sent.head
        if head is None or sent.route is None or not sent.route.is_rewritten:
            return None
        if head.api_key == METADATA and sent.waiter is None and self._around.notes_topic_names:
            with suppress(ProtocolViolation):
                self._around.note_names(decode_response(head.api_key, head.api_version, frame)[1])
        changed = rewrite_response(head.api_key, head.api_version, frame, self._around.advertise)
        return None if changed is None else len(changed).to_bytes(SIZE_BYTES, "big") + changed
