"""One connection: requests in, replies out, one at a time and in order, as Kafka does.

Owns: the loop between a transport and ``dispatch``, what is pending to be sent, and how a connection ends. May not
know: sockets, what any request means.

It reads what is there, handles every whole frame, and sends the replies together. Before anything that waits, what is
pending goes out, so that a long poll does not hold back the answer before it. What a ``Shortcut`` can answer is not
decoded. Handlers wait through ``wait`` alone: it ends when the peer goes away or the broker stops. A peer that closes
while its request waits loses that reply only; what it sent behind (a LeaveGroup, an offset commit) is still carried
out.
"""

from __future__ import annotations

from collections.abc import Awaitable
from struct import Struct
from typing import TYPE_CHECKING, Any, NoReturn

import trio

from kwire.broker.logs import Logger
from kwire.broker.requests.context import Context
from kwire.broker.requests.dispatch import Shortcut, dispatch, has_no_hooks
from kwire.errors import Code, KafkaError, ProtocolViolation, StorageFailure
from kwire.limits import READ_CHUNK_BYTES, TURN_BYTES_MAX
from kwire.server.transport import Part, Transport, close_slices
from kwire.wire.codec import (
    Message,
    RequestHeader,
    decode_request,
    encode_response,
    read_header,
    response_class,
)
from kwire.wire.frames import FrameSplitter
from kwire.wire.session import Session

if TYPE_CHECKING:
    from kwire.broker.broker import Broker
    from kwire.server.listener import Listener

log = Logger("kwire.server")

_KEY_AND_VERSION = Struct(">hh")


async def serve_connection(broker: Broker, transport: Transport, listener: Listener) -> None:
    """Serve one peer until it leaves, breaks the protocol, is idle too long, or the broker stops."""
    await Connection(broker, transport, listener).run()


class Connection:
    """See the module. ``idle_turns`` is how many rounds of the connections's sweep have passed since the last read."""

    __slots__ = (
        "_broker",
        "_connections",
        "_ended_because",
        "_header",
        "_held_bytes",
        "_parked",
        "_peer_gone",
        "_pending",
        "_reading",
        "_session",
        "_shortcut",
        "_splitter",
        "_transport",
        "_turn_bytes",
        "_turn_requests",
        "_watched",
        "endpoint",
        "idle_turns",
    )

    def __init__(self, broker: Broker, transport: Transport, listener: Listener) -> None:
        connections = listener.connections
        self.endpoint = listener.endpoint
        self.idle_turns = 0
        self._broker = broker
        self._transport = transport
        self._connections = connections
        self._session = Session(connections.served)
        self._splitter = FrameSplitter(connections.request_bytes_max)
        self._shortcut: Shortcut | None = None  # of the first API with one that this peer has used
        self._pending: list[Part] = []
        self._turn_requests = 0
        self._turn_bytes = 0
        self._held_bytes = 0  # of what the connections counts against queued.max.request.bytes
        self._header: RequestHeader | None = None  # of the request in hand, for the log line when it is our last
        self._reading = False
        self._parked: trio.CancelScope | None = None
        self._watched = False
        self._peer_gone = False
        self._ended_because: str | None = None
        connections.enter(self)

    @property
    def peer(self) -> str:
        return self._transport.peer

    @property
    def host(self) -> str:
        return self._transport.host

    @property
    def waiting(self) -> bool:
        """Whether a request, and not the peer, is what this connection waits for."""
        return self._parked is not None

    async def run(self) -> None:
        """Serve until the end. Raises only what must stop the broker."""
        try:
            while self._ended_because is None and await self._answer_what_comes():
                pass
        except ProtocolViolation as violation:
            self._log_end(str(violation))
        except (ConnectionError, trio.ClosedResourceError, _Ended) as end:
            log.debug("connection ended", peer=self.peer, why=self._ended_because or str(end))
        finally:
            self._transport.close()
            close_slices(self._pending)
            self._hold(0)
            self._connections.leave(self)

    def end(self, why: str) -> None:
        """End soon: at once if this connection only waits, else after the reply that is being made or sent."""
        self._ended_because = why
        if self._parked is not None:
            self._parked.cancel()
        elif self._reading:
            self._transport.close()

    def drop(self, why: str) -> None:
        """End now, whatever is being sent."""
        self.end(why)
        self._transport.close()

    async def send_pending(self) -> None:
        """See ``context.Connection``."""
        await self._flush()

    async def wait(self, event: trio.Event, timeout_ms: float) -> bool:
        """Send what is pending, then wait for ``event``; True when it was set in time. See ``context.Connection``."""
        if self._pending:
            await self._flush()
        if timeout_ms > 0:
            await self._park(event.wait(), timeout_ms)
        return event.is_set()

    async def _answer_what_comes(self) -> bool:
        """Read once and answer every frame that is whole now. False when the peer will send no more."""
        frames = await self._read()
        if frames is None:
            return False
        self.idle_turns = 0
        for frame in frames:
            try:
                answered = self._shortcut is not None and self._answer_from_cache(self._shortcut, frame)
            except Exception as error:  # noqa: BLE001 (our bug, whatever it is)
                self._header = read_header(frame)
                await self._fail(self._header, error)
            if not answered:
                await self._answer(frame)
            self._turn_requests += 1
            if self._turn_requests >= self._connections.turn_requests_max or self._turn_bytes >= TURN_BYTES_MAX:
                await self._give_way()
        if self._turn_bytes >= TURN_BYTES_MAX:
            await self._give_way()
        if self._pending:
            await self._flush()
        if self._held_bytes:
            self._hold(self._splitter.claimed_bytes)
        return True

    async def _read(self) -> list[memoryview] | None:
        space = self._splitter.space()
        memory = self._connections.memory
        self._reading = True
        if space is None:
            chunk = await self._transport.recv(READ_CHUNK_BYTES)
            count = len(chunk)
        else:
            count = await self._transport.recv_into(space)
        self._reading = False
        if count == 0:
            if self._splitter.between_frames:
                return None
            raise ProtocolViolation("the peer closed in the middle of a request")
        self._turn_bytes += count
        if memory is not None and memory.full and not self._held_bytes:
            # Whoever has a part of a request in already goes on reading it, so that it can be completed and given back.
            await self._park(memory.room())
        if space is None:
            frames = self._splitter.feed(chunk)
        else:
            frame = self._splitter.filled(count)
            frames = [] if frame is None else [frame]
        if memory is not None:
            self._hold(sum(map(len, frames)) + self._splitter.claimed_bytes)
        return frames

    def _answer_from_cache(self, shortcut: Shortcut, frame: memoryview) -> bool:
        """Answer without decoding, if that can be done."""
        reply = shortcut.answer(frame) if has_no_hooks(self._broker) else None
        if reply is None:
            return False
        self._pending.append(reply)
        self._turn_bytes += len(reply)
        return True

    async def _answer(self, frame: memoryview) -> None:
        """Handle one request. Its reply, if it has one, is pending afterwards."""
        if len(frame) < _KEY_AND_VERSION.size:
            raise ProtocolViolation(f"a request of {len(frame)} bytes has no header")
        api_key, api_version = _KEY_AND_VERSION.unpack_from(frame)
        known = self._session.admit(api_key, api_version)
        header = self._header = read_header(frame)
        if not known:
            self._reply(header._replace(api_version=0), self._connections.unsupported_version)
            return
        request = decode_request(header, frame)
        api = self._broker.apis[api_key]
        context = Context(self._broker, self, api_key, api_version, header.client_id, header.correlation_id)
        try:
            response = await dispatch(api, context, request)
            if response is not None:
                self._reply(header, response)
                if api.shortcut is not None:
                    if self._shortcut is None:
                        self._shortcut = api.shortcut(self._broker)
                    self._shortcut.store(header, frame, request, response)
            if context.throttle_ms:
                await self._flush()
                await self._park(trio.Event().wait(), context.throttle_ms)
        except ProtocolViolation:
            raise
        except _PeerGone:
            pass  # what it sent behind this request is still carried out
        except KafkaError as refusal:
            self._refuse(header, refusal.code, refusal.message)
        except StorageFailure as failure:
            log.warning("a request met a failing disk", why=str(failure), **self._who())
            self._refuse(header, Code.KAFKA_STORAGE_ERROR, str(failure))
        except Exception as error:  # noqa: BLE001 (our bug, whatever it is)
            await self._fail(header, error)
        self._header = None

    def _reply(self, header: RequestHeader, response: Message) -> None:
        parts: Any = encode_response(header, response)
        self._pending += parts
        size = len(parts[0]) if len(parts) == 1 else sum(map(len, parts))
        self._turn_bytes += size

    def _refuse(self, header: RequestHeader, code: Code, message: str | None) -> None:
        """Answer the whole request with one code; where the response has no place for one, the connection ends."""
        response_type = response_class(header.api_key)
        places = {field.name for field in response_type.FIELDS if header.api_version in field.versions}
        if "error_code" not in places:
            log.warning("closed a connection whose request has no other answer", code=code.name, **self._who())
            raise _Ended(code.name)
        values = {"error_code": code, "error_message": message}
        self._reply(header, response_type(**{name: values[name] for name in values if name in places}))

    async def _fail(self, header: RequestHeader, error: Exception) -> NoReturn:
        if isinstance(error, AssertionError) and _concerns_durable_state(error):
            raise error
        log.failure("a request failed, which is a bug in kwire", error, **self._who())
        self._refuse(header, Code.UNKNOWN_SERVER_ERROR, None)
        await self._flush()
        raise _Ended("a request failed")

    async def _flush(self) -> None:
        parts, self._pending = self._pending, []
        if not parts:
            return
        try:
            await self._transport.send(parts)
        except ConnectionError:
            # What a peer asked for before it closed is carried out, whether or not it hears the answer.
            if not self._peer_gone:
                raise
        self.idle_turns = 0

    async def _give_way(self) -> None:
        """One turn is used up: send what is pending and let every other connection have its own."""
        self._turn_requests = self._turn_bytes = 0
        await self._flush()
        self._connections.queue_for_turn(1)
        try:
            await trio.lowlevel.checkpoint()
        finally:
            self._connections.queue_for_turn(-1)
        if self._ended_because is not None:
            raise _Ended(self._ended_because)

    async def _park(self, awaitable: Awaitable[None], timeout_ms: float = float("inf")) -> None:
        """Await something that is not the peer, for a time. Raises _Ended if meanwhile the peer or we must go."""
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
            raise _Ended(self._ended_because)
        if self._peer_gone:
            raise _PeerGone

    def _note_peer_gone(self) -> None:
        self._peer_gone = True
        if self._parked is not None:
            self._parked.cancel()

    def _hold(self, byte_count: int) -> None:
        if byte_count != self._held_bytes and self._connections.memory is not None:
            self._connections.memory.count(byte_count - self._held_bytes)
            self._held_bytes = byte_count

    def _log_end(self, why: str) -> None:
        log.warning("closed a connection that broke the protocol", why=why, **self._who())

    def _who(self) -> dict[str, object]:
        who: dict[str, object] = {"peer": self.peer, "listener": self.endpoint.name}
        if self._header is not None:
            api = self._broker.apis[self._header.api_key]
            who |= {"request": f"{api.name} v{self._header.api_version}", "client_id": self._header.client_id}
        return who


class _Ended(BaseException):
    """This connection is over. Not an Exception, so that no handler takes it for trouble of its own."""


class _PeerGone(_Ended):
    """Nobody is left to answer."""


def _concerns_durable_state(error: AssertionError) -> bool:
    """Whether an invariant of a log or a coordinator is broken: going on could write what should not be written."""
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    module = "" if traceback is None else str(traceback.tb_frame.f_globals.get("__name__"))
    return module.startswith(("kwire.storage.", "kwire.coordinators."))
