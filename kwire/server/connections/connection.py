"""One connection: requests in, replies out, one at a time and in order, as Kafka does.

Responsible for: the loop between a transport and ``dispatch``, the replies that are pending, turns, and how a
connection ends. Must not depend on: sockets, what a request means.

It reads what the transport has, handles every whole frame, and sends the replies together. Before anything that waits,
pending replies are sent, so that a long poll does not hold back the reply before it. A request that a ``Shortcut`` can
answer is not decoded. Handlers wait through ``wait`` alone: it ends when the peer closes or the broker stops. A peer
that closes while its request waits loses that reply only; the requests that it sent behind it (a LeaveGroup, an offset
commit) are still handled.

What a connection does between two points at which it yields is its turn (``server.connections.turns``): it ends after
``limits.TURN_MS`` or ``TURN_BYTES_MAX``, between two requests or where a handler calls ``yield_turn``.
"""

from __future__ import annotations

import struct
from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeVar

import trio

from kwire.broker.broker import Broker
from kwire.broker.clients.client import Client
from kwire.broker.clients.hooks import CutOff
from kwire.broker.clients.response_cache import Caching
from kwire.broker.containment import must_stop_broker
from kwire.broker.logs import Logger
from kwire.broker.requests.context import Context
from kwire.broker.requests.dispatch import dispatch
from kwire.broker.requests.table import Api, ApiTable, Shortcut
from kwire.errors import Code, KafkaError, ProtocolViolation, StorageFailure
from kwire.limits import DECODE_INLINE_BYTES_MAX, READ_CHUNK_BYTES, TURN_BYTES_MAX, TURN_DEBT_MS, TURN_MS
from kwire.metadata.settings.sasl import uses_sasl
from kwire.server.connections.cached_answers import CachedAnswers
from kwire.server.connections.outgoing import Outgoing, send_through
from kwire.server.connections.refusals import Ended, PeerGone, discard, encode_refusal
from kwire.server.connections.registry import Listener, RegisteredConnection
from kwire.server.connections.request_memory import RequestMemory
from kwire.server.connections.turns import Turn
from kwire.server.tls.handshake import Handshake, HandshakeFailed
from kwire.server.transport import Part, Transport, close_slices
from kwire.wire.codec import Message, RequestHeader, api_name, decode_request, encode_response, read_header
from kwire.wire.decoding_cost import decodes_slowly
from kwire.wire.frames import FrameSplitter
from kwire.wire.session import Session

if TYPE_CHECKING:  # loaded with the first connection to a SASL listener
    from kwire.server.connections.login import ConnectionLogin

log = Logger("kwire.server")

T = TypeVar("T")

_KEY_AND_VERSION = struct.Struct(">hh")
_TURN_S: Final = TURN_MS / 1000
_DEBT_S: Final = TURN_DEBT_MS / 1000


async def serve_connection(broker: Broker, transport: Transport, listener: Listener) -> None:
    """Serve one peer until it closes, violates the protocol, is idle too long, or the broker stops."""
    await Connection(broker, transport, listener).run()


class Connection:
    """One connection. ``idle_turns`` is how many sweeps of the registry have passed since the last read or send."""

    __slots__ = (
        "_broker",
        "_cached",
        "_closing",
        "_connections",
        "_ended_because",
        "_handshake",
        "_header",
        "_login",
        "_parked",
        "_peer_gone",
        "_pending",
        "_reading",
        "_session",
        "_shortcut",
        "_splitter",
        "_transport",
        "_turn",
        "_turn_began",
        "_turn_bytes",
        "_turn_debt_until",
        "_watched",
        "_yielded_turns",
        "checked_batches",
        "client",
        "idle_turns",
    )

    def __init__(
        self, broker: Broker, transport: Transport, listener: Listener, handshake: Handshake | None = None
    ) -> None:
        connections = listener.connections
        now_ms = broker.clock.now_ms()
        self.client = Client(transport.host, transport.port, listener.endpoint, authenticated_at_ms=now_ms)
        self.idle_turns = 0
        self.checked_batches = 0
        self._closing: dict[Hashable, Callable[[], None]] | None = None
        self._broker = broker
        self._transport = transport
        self._handshake = handshake
        self._connections = connections
        self._session = connections.session
        self._splitter = FrameSplitter(connections.request_bytes_max, connections.read_buffers)
        self._shortcut: Shortcut | None = None  # of the first API with one that this client has used
        self._pending: list[Part] = []
        self._turn = Turn(connections.perf_counter, broker.watchdog)
        self._turn_began = -1.0
        self._turn_debt_until = 0.0
        self._turn_bytes = 0
        self._yielded_turns = 0  # how often a turn ended within a request
        self._header: RequestHeader | None = None  # of the request being handled, for log lines
        self._cached = CachedAnswers(broker, connections)
        self._reading = False
        self._parked: trio.CancelScope | None = None
        self._watched = False
        self._peer_gone = False
        self._ended_because: str | None = None
        self._login: ConnectionLogin | None = None
        if uses_sasl(listener.endpoint.security_protocol):
            from kwire.server.connections.login import ConnectionLogin  # noqa: PLC0415 (with the first login)

            self._login = ConnectionLogin(self, connections, broker.authentication, broker.clock)
        connections.enter(self)

    @property
    def apis(self) -> ApiTable:
        return self._connections.apis

    @property
    def closing(self) -> dict[Hashable, Callable[[], None]]:
        """See ``context.Connection``. Few connections have any."""
        self._closing = {} if self._closing is None else self._closing
        return self._closing

    @property
    def waiting(self) -> bool:
        """Whether a request, and not the peer, is what this connection waits for."""
        return self._parked is not None

    async def run(self) -> None:
        """Serve until the end. Raises only what must stop the broker."""
        await self._turn.run(self._serve())

    async def _serve(self) -> None:
        try:
            if self._handshake is not None:
                await self._handshake(self)
                self._handshake = None
            # The frames have no name here, so that their chunk is freed before the next read waits.
            while self._ended_because is None and await self._answer_all(await self._read()):
                pass
        except CutOff:
            self._connections.note_held(self, 0)
            self._reading = True
            await discard(self._transport)
        except HandshakeFailed as failure:
            self._connections.handshake_failures.log(self.client.peer, self.client.endpoint.name, str(failure))
        except ProtocolViolation as violation:
            if self._login is not None:
                self._login.note_violation(str(violation))
            log.warning("connection closed: protocol violation", why=str(violation), **self._tags())
        except (ConnectionError, trio.ClosedResourceError, Ended) as end:
            log.debug("connection ended", peer=self.client.peer, why=self._ended_because or str(end))
        except Exception as error:
            if must_stop_broker(error):
                raise
            log.failure("connection failed, which is a bug in kwire", error, peer=self.client.peer)
        finally:
            self._transport.close()
            close_slices(self._pending)
            self._broker.telemetry.connection_closed(self)
            self._connections.leave(self)
            if self._login is not None:
                self._login.close()
            for callback in (self._closing or {}).values():
                self._broker.clock.call_later(0, callback)  # exceptions are contained there

    def end(self, why: str) -> None:
        """End at once if this connection waits, else after the reply that is being made or sent."""
        self._ended_because = why
        if self._parked is not None:
            self._parked.cancel()
        elif self._reading or self._handshake is not None:
            self._transport.close()

    def drop(self, why: str, *, reset: bool = False) -> None:
        """End at once, also in the middle of a reply; ``reset``: the peer gets a reset."""
        if reset:
            self._transport.abort()
        self.end(why)
        self._transport.close()

    async def send(self, parts: Sequence[Part]) -> None:
        """Send one encoded reply, after those that are pending."""
        self._queue(parts)
        await self.send_pending()

    async def yield_turn(self) -> None:
        """See ``context.Connection``."""
        if self._turn.elapsed_s() >= _TURN_S:
            self._yielded_turns += 1
            await self.send_pending()
            await self._next_turn()

    async def in_thread(self, call: Callable[[], None]) -> None:
        """See ``context.Connection``."""
        await self.send_pending()
        await self._connections.open_in_thread(call)

    def set_session(self, session: Session, frame_bytes_max: int) -> None:
        """See ``login.Connection``."""
        self._session = session
        self._splitter.limit_bytes = frame_bytes_max
        self._shortcut = None

    async def wait(self, event: trio.Event, timeout_ms: float) -> bool:
        """Send what is pending, then wait for ``event``; True when it was set in time. See ``context.Connection``."""
        if self._pending:
            await self.send_pending()
        if timeout_ms > 0:
            await self._park(event.wait(), timeout_ms)
        return event.is_set()

    async def _answer_all(self, frames: list[memoryview] | None) -> bool:
        """Answer what has been read. False when the peer will send no more."""
        if frames is None:
            return False
        self.idle_turns = 0
        turn = self._turn
        if turn.began != self._turn_began:
            self._turn_began = turn.began
            self._turn_bytes = 0
            # One that used up a turn just now goes behind those that wait.
            if self._turn_debt_until > turn.began and self._connections.turns.busy:
                await self._next_turn()
        perf_counter = self._connections.perf_counter
        for frame in frames:
            try:
                answered = self._shortcut is not None and self._answer_from_cache(self._shortcut, frame)
            except Exception as error:  # noqa: BLE001 (our bug, whatever it is)
                await self._fail(read_header(frame), error)
            if not answered:
                await self._answer(frame)
            if perf_counter() - turn.began >= _TURN_S or self._turn_bytes >= TURN_BYTES_MAX:
                await self._give_way()
        if self._pending:
            await self.send_pending()
        if self._connections.memory is not None:
            self._connections.note_held(self, self._splitter.claimed_bytes)
        return True

    async def _read(self) -> list[memoryview] | None:
        """Read once; return the frames that are whole now, or None when the peer will send no more."""
        space = self._splitter.space()
        self._reading = True
        if space is not None:
            frames = await self._read_on(space)
        else:
            chunk = await self._transport.recv(READ_CHUNK_BYTES)
            self._reading = False
            if not chunk:
                self._splitter.end()
                return None
            self._turn_bytes += len(chunk)
            frames = self._splitter.feed(chunk)
        if self._connections.memory is not None:
            await self._hold_frames(self._connections.memory, frames)
        return frames

    async def _read_on(self, space: memoryview) -> list[memoryview]:
        """Read more of a large request."""
        unfinished = self._connections.unfinished
        unfinished.note(self, self._splitter.held_bytes)
        count = await self._transport.recv_into(space)
        self._reading = False
        if not count:
            self._splitter.end()
        self._turn_bytes += count
        frame = self._splitter.filled(count)
        if frame is not None:
            unfinished.note(self, 0)
            return [frame]
        if self._turn_bytes >= TURN_BYTES_MAX:
            await self._give_way()
        return []

    async def _hold_frames(self, memory: RequestMemory[RegisteredConnection], frames: list[memoryview]) -> None:
        """Count what has been read, and wait while requests hold too much memory."""
        if memory.full and not memory.held_by(self):
            # A connection with a part of a request continues: complete, it can be handled and its memory freed.
            await self._park(memory.room())
        self._connections.note_held(self, sum(map(len, frames)) + self._splitter.claimed_bytes)

    def _answer_from_cache(self, shortcut: Shortcut, frame: memoryview) -> bool:
        """Answer without decoding, if that can be done."""
        hooks = self._broker.hooks
        if (hooks.dispatch or hooks.replies) and hooks.hooked(shortcut.api_key):
            return False
        reply = shortcut.answer(frame)
        if reply is None:
            return False
        self._pending.append(reply)
        self._turn_bytes += len(reply)
        return True

    async def _answer(self, frame: memoryview) -> None:
        """Handle one request. Its reply, if it has one, is pending afterwards."""
        try:
            api_key, api_version = _KEY_AND_VERSION.unpack_from(frame)
        except struct.error:
            raise ProtocolViolation(f"a request of {len(frame)} bytes has no header") from None
        known = self._session.admit(api_key, api_version)
        if not known and not await self._admit_otherwise(known, frame):
            return
        header = self._header = read_header(frame)
        self._turn.api_key = api_key
        api = self._connections.apis[api_key]
        if api.caching is not None and self._answer_again(api.caching, header, frame):
            return
        if len(frame) > DECODE_INLINE_BYTES_MAX and decodes_slowly(header, frame):
            request = await self._code_in_thread(decode_request, header, frame)
        else:
            request = decode_request(header, frame)
        yielded_turns = self._yielded_turns
        context = Context(self._broker, self, api_key, api_version, header.client_id, header.correlation_id)
        try:
            response = await dispatch(api, context, request)
            if response is not None:
                large = self._yielded_turns != yielded_turns
                if large or self._broker.hooks.replies:
                    parts = await self._respond_otherwise(api, header, response, context.throttle_ms, large=large)
                else:
                    parts = encode_response(header, response)
                    self._queue(parts)
                if api.caching is not None or api.shortcut is not None:
                    self._keep(api, header, frame, request, response, parts)
            if context.throttle_ms:
                await self.send_pending()
                await self._park(trio.Event().wait(), context.throttle_ms)
        except PeerGone:
            pass  # the requests that the client sent after this one are still handled
        except Exception as error:  # noqa: BLE001 (contained there)
            await self._answer_failure(header, error)
        self._header = None

    async def _admit_otherwise(self, known: bool | None, frame: memoryview) -> bool:
        """Pass a frame to the login, or answer an unknown version of ApiVersions. True: it is a usual request."""
        if known is None:
            assert self._login is not None
            known = await self._login.take(frame)
        if known is False:
            header = read_header(frame)._replace(api_version=0)
            self._queue(encode_response(header, self._connections.unsupported_version()))
        return bool(known)

    async def _respond_otherwise(
        self, api: Api, header: RequestHeader, response: Message, throttle_ms: int, *, large: bool
    ) -> Sequence[Any]:
        """Encode a response in a thread if it is ``large``, and pass it to the hooks of its API."""
        if large:
            parts: Sequence[Any] = await self._code_in_thread(encode_response, header, response)
        else:
            parts = encode_response(header, response)
        hooks = self._broker.hooks.replies
        if api.key in hooks:
            await self.send_pending()
            await send_through(hooks[api.key], Outgoing(self, header, throttle_ms, parts))
        else:
            self._queue(parts)
        return parts

    def _keep(  # noqa: PLR0917 (keywords cost, and every Produce request comes by)
        self, api: Api, header: RequestHeader, frame: memoryview, request: Message, response: Message, parts: Any
    ) -> None:
        """Keep what can answer requests like this one."""
        if api.caching is not None:
            self._cached.store(api.caching, request, response, parts)
        if api.shortcut is not None and not self._broker.hooks.hooked(api.key):
            if self._shortcut is None:
                self._shortcut = api.shortcut(self._broker, self)
            self._shortcut.store(header, frame, request, response)

    def _answer_again(self, caching: Caching, header: RequestHeader, frame: memoryview) -> bool:
        """Send the response that an equal request had, if it is kept."""
        parts = self._cached.find(caching, self, header, frame)
        if parts is None:
            return False
        self._queue(parts)
        self._header = None
        return True

    async def _code_in_thread(self, codec: Callable[[RequestHeader, Any], T], header: RequestHeader, value: Any) -> T:
        """Decode or encode a message that would hold the event loop for too long."""
        await self.send_pending()
        return await self._connections.code_in_thread(codec, header, value)

    def _queue(self, parts: Sequence[Any]) -> None:
        self._pending += parts
        self._turn_bytes += len(parts[0]) if len(parts) == 1 else sum(map(len, parts))

    def _refuse(self, header: RequestHeader, code: Code, message: str | None) -> None:
        """Answer the whole request with one code; where the response has no place for one, the connection ends."""
        answer = encode_refusal(header, code, message)
        if answer is None:
            log.warning("connection closed: the response has no error code", code=code.name, **self._tags())
            raise Ended(code.name)
        self._queue(answer)

    async def _answer_failure(self, header: RequestHeader, error: Exception) -> None:
        """Answer with the error that the handler raised, and end the connection where that must be."""
        match error:
            case ProtocolViolation():
                raise error
            case KafkaError():
                self._refuse(header, error.code, error.message)
            case StorageFailure():
                log.warning("request failed: log directory I/O error", why=str(error), **self._tags())
                self._refuse(header, Code.KAFKA_STORAGE_ERROR, str(error))
            case _:
                await self._fail(header, error)

    async def _fail(self, header: RequestHeader, error: Exception) -> NoReturn:
        if must_stop_broker(error):
            raise error
        self._header = header
        log.failure("request failed by a bug in kwire", error, **self._tags())
        self._refuse(header, Code.UNKNOWN_SERVER_ERROR, None)
        await self.send_pending()
        raise Ended("a request failed")

    async def send_pending(self) -> None:
        """See ``context.Connection``."""
        parts, self._pending = self._pending, []
        if not parts:
            return
        try:
            await self._transport.send(parts)
        except ConnectionError:
            # Requests that a peer sent before it closed are handled though their replies cannot be sent.
            if not self._peer_gone:
                raise
        self.idle_turns = 0

    async def _give_way(self) -> None:
        """Between two requests: send what is pending and wait for the next turn."""
        await self.send_pending()
        await self._next_turn()
        if self._ended_because is not None:
            raise Ended(self._ended_because)

    async def _next_turn(self) -> None:
        await self._connections.turns.next_turn()
        self._turn_bytes = 0
        self._turn_began = self._turn.began
        self._turn_debt_until = self._turn_began + _DEBT_S

    async def _park(self, awaitable: Awaitable[None], timeout_ms: float = float("inf")) -> None:
        """Await something that is not the peer, for a time.

        Raises PeerGone if meanwhile the peer closes, Ended if this connection must end.
        """
        if not self._watched:
            self._watched = True
            self._transport.on_peer_closed(self._note_peer_gone)
        with trio.CancelScope() as scope:
            self._parked = scope
            timer = None if timeout_ms == float("inf") else self._broker.clock.call_later(timeout_ms, scope.cancel)
            try:
                if self._peer_gone or self._ended_because is not None:
                    scope.cancel()
                await awaitable
            finally:
                self._parked = None
                if timer is not None:
                    timer.cancel()
        if self._ended_because is not None:
            raise Ended(self._ended_because)
        if self._peer_gone:
            raise PeerGone

    def _note_peer_gone(self) -> None:
        self._peer_gone = True
        if self._parked is not None:
            self._parked.cancel()

    def _tags(self) -> dict[str, object]:
        who: dict[str, object] = {"peer": self.client.peer, "listener": self.client.endpoint.name}
        if self._header is not None:
            name = api_name(self._header.api_key)
            who |= {"request": f"{name} v{self._header.api_version}", "client_id": self._header.client_id}
        return who
