"""The connections of one broker, the limits on them, and what they share.

Responsible for: the set of connections, the limits on them (``max.connections*``, ``connections.max.idle.ms``,
``queued.max.request.bytes``, ``kwire.unfinished.request.bytes``, ``max.connection.creation.rate``), the sweep that ends
idle ones, the queue for turns; the value ``Listener``. Must not depend on: sockets, what a connection does.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol, TypeVar

import trio

from kwire.broker.clients.client import Client
from kwire.broker.clock import Clock
from kwire.broker.endpoint import Endpoint
from kwire.broker.logs import Logger
from kwire.broker.requests.table import Api, ApiTable
from kwire.errors import Code
from kwire.limits import OPENING_THREADS_MAX, READ_BUFFERS_KEPT_MAX
from kwire.server.bindings import UNLIMITED, Limits
from kwire.server.connections.request_memory import RequestMemory, UnfinishedRequests
from kwire.server.connections.turns import TurnQueue
from kwire.server.tls.handshake import HandshakeFailures
from kwire.server.transport import LastReceived
from kwire.wire.frames import ReadBuffers
from kwire.wire.messages import ApiVersionsResponse
from kwire.wire.session import API_VERSIONS_KEY, Served, Session

if TYPE_CHECKING:  # not at run time: a broker without TLS does not load OpenSSL
    from kwire.server.tls.listeners import TlsListener

log = Logger("kwire.server")

T = TypeVar("T")

# An idle connection is ended at most a tenth of connections.max.idle.ms late.
_SWEEPS_PER_IDLE_TIME: Final = 10
_REREAD_MS: Final = 60_000  # of connections.max.idle.ms while it is off
_LIMITS_REREAD_S: Final = 1.0
_LOG_FULL_EVERY_MS: Final = 60_000


class RegisteredConnection(Protocol):
    """The part of a connection that the registry uses."""

    client: Client
    idle_turns: int

    @property
    def waiting(self) -> bool: ...

    def end(self, why: str) -> None: ...

    def drop(self, why: str) -> None: ...


class ConnectionRegistry:
    """One per broker. ``apis`` is what is served; ``read_limits`` gives the limits in force, which may change.

    Limits on the size of requests are read once: Kafka's settings for them are not dynamic either.
    """

    def __init__(self, apis: ApiTable, clock: Clock, read_limits: Callable[[], Limits]) -> None:
        self.read_limits = read_limits
        self.apis: dict[int, Api] = {}
        self.served: dict[int, Served] = {}
        self.tables = 0  # how many tables have been served, one after the other
        self.serve(apis)
        self.session = Session(self.served)  # of every connection without a login
        limits = read_limits()
        self.request_bytes_max = limits.request_bytes_max
        self.memory: RequestMemory[RegisteredConnection] | None = (
            RequestMemory(limits.queued_bytes_max) if limits.queued_bytes_max > 0 else None
        )
        unfinished_max = limits.unfinished_bytes_max
        # One request of the largest size allowed can always be completed.
        self.unfinished: UnfinishedRequests[RegisteredConnection] = UnfinishedRequests(
            max(unfinished_max, self.request_bytes_max) if unfinished_max >= 0 else None, self._close_unfinished
        )
        self._clock = clock
        self._connections: dict[RegisteredConnection, None] = {}
        self._per_host: Counter[str] = Counter()
        self._per_listener: Counter[str] = Counter()
        self._logged_full_ms = float("-inf")
        self._rate_limiter = RateLimiter(clock)
        self._listener_rate_limiters: dict[str, RateLimiter] = {}
        self.handshake_failures = HandshakeFailures(clock)
        self._left = trio.Event()
        self.last_received = LastReceived()
        self.perf_counter = time.perf_counter  # measures turns; a test may replace it
        self.turns = TurnQueue()
        self.read_buffers = ReadBuffers(READ_BUFFERS_KEPT_MAX)
        # Encodes and decodes large messages one at a time: a second thread would only compete for the interpreter.
        self._codec_limiter = trio.CapacityLimiter(1)
        # Decompresses and validates large batches, mostly without the GIL. Each one may take tens of megabytes.
        self._opening_limiter = trio.CapacityLimiter(OPENING_THREADS_MAX)
        # Derives keys and verifies signatures of logins: a burst of them must not hold back large batches.
        self._login_limiter = trio.CapacityLimiter(1)

    def __len__(self) -> int:
        return len(self._connections)

    def serve(self, apis: ApiTable) -> None:
        """Serve this table from now on, also on open connections, which share the same dicts."""
        self.tables += 1
        self.apis.clear()
        self.apis.update(apis)
        self.served.clear()
        self.served.update({key: api.admitted for key, api in apis.items()})

    def unsupported_version(self) -> ApiVersionsResponse:
        """Answer an ApiVersions request of an unknown version, in version 0: the range of ApiVersions (KIP-511)."""
        response = ApiVersionsResponse(error_code=Code.UNSUPPORTED_VERSION)
        own = self.served.get(API_VERSIONS_KEY)
        if own is not None:
            one = ApiVersionsResponse.ApiVersion
            response.api_keys = [one(api_key=API_VERSIONS_KEY, min_version=own.lowest, max_version=own.highest)]
        return response

    async def code_in_thread(self, codec: Callable[..., T], *args: object) -> T:
        """Encode or decode a message that is too large for one turn in a thread."""
        return await trio.to_thread.run_sync(codec, *args, limiter=self._codec_limiter)

    async def open_in_thread(self, call: Callable[[], None]) -> None:
        """Decompress and validate a large record batch in a thread."""
        await trio.to_thread.run_sync(call, limiter=self._opening_limiter)

    async def log_in_in_thread(self, call: Callable[[], T]) -> T:
        """Run a slow step of a login in a thread."""
        return await trio.to_thread.run_sync(call, limiter=self._login_limiter)

    def enter(self, connection: RegisteredConnection) -> None:
        """Count a connection against the limits, until ``leave``."""
        self._connections[connection] = None
        self._per_host[connection.client.host] += 1
        self._per_listener[connection.client.endpoint.name] += 1

    def leave(self, connection: RegisteredConnection) -> None:
        del self._connections[connection]
        self.unfinished.note(connection, 0)
        self.note_held(connection, 0)
        self._per_listener[connection.client.endpoint.name] -= 1
        self._per_host[connection.client.host] -= 1
        if self._per_host[connection.client.host] == 0:
            del self._per_host[connection.client.host]
        left, self._left = self._left, trio.Event()
        left.set()

    def note_held(self, connection: RegisteredConnection, byte_count: int) -> None:
        """Count what the requests of a connection hold against ``queued.max.request.bytes``."""
        if self.memory is not None:
            self.memory.note(connection, byte_count)

    def refusal(self, host: str) -> str | None:
        """Why a connection from this address is closed at once, or None."""
        limits = self.read_limits()
        most = limits.connections_per_ip_overrides.get(host, limits.connections_per_ip_max)
        if self._per_host[host] >= most:
            return f"{host} already has {most} connections (max.connections.per.ip)"
        return None

    def full(self, listener: str) -> bool:
        """Whether new connections must wait for another to end (``max.connections``)."""
        limits = self.read_limits()
        if len(self._connections) >= limits.connections_max:
            return True
        return self._per_listener[listener] >= limits.listener_connections_max.get(listener, UNLIMITED)

    async def room(self, listener: str) -> None:
        """Wait until it is not full."""
        self._log_full()
        while self.full(listener):
            # The limit may be raised meanwhile, and a dynamic config sends no notice.
            with trio.move_on_after(_LIMITS_REREAD_S):
                await self._left.wait()

    async def pace(self, listener: str) -> None:
        """Wait until ``max.connection.creation.rate``, of broker and listener, allows another connection."""
        limits = self.read_limits()
        if limits.creation_rate_max < UNLIMITED:
            await self._rate_limiter.acquire(lambda: self.read_limits().creation_rate_max)
        if limits.listener_creation_rate_max:
            pace = self._listener_rate_limiters.setdefault(listener, RateLimiter(self._clock))
            await pace.acquire(lambda: self.read_limits().listener_creation_rate_max.get(listener, UNLIMITED))

    def begin(self) -> None:
        """End idle connections from now on, as long as the clock runs. A connection has no timer of its own."""
        idle_ms = self.read_limits().idle_ms_max
        delay_ms = max(1.0, idle_ms / _SWEEPS_PER_IDLE_TIME) if idle_ms >= 0 else _REREAD_MS
        self._clock.call_later(delay_ms, partial(self._end_idle, idle_ms))

    def _end_idle(self, idle_ms: int) -> None:
        self.begin()
        if idle_ms >= 0:
            self._sweep(idle_ms)

    @property
    def open(self) -> list[RegisteredConnection]:
        """The connections that there are, oldest first."""
        return list(self._connections)

    def end_all(self, why: str) -> None:
        """End every connection: at once if it only waits, else after the current reply."""
        for connection in list(self._connections):
            connection.end(why)

    async def empty(self) -> None:
        """Wait until the last connection has ended."""
        while self._connections:
            await self._left.wait()

    def _close_unfinished(self, connection: RegisteredConnection, held_bytes: int) -> None:
        log.warning(
            "connection closed: unfinished requests hold too much memory (kwire.unfinished.request.bytes)",
            peer=connection.client.peer,
            listener=connection.client.endpoint.name,
            held_bytes=held_bytes,
            connections=len(self.unfinished),
        )
        connection.drop("unfinished requests hold too much memory (kwire.unfinished.request.bytes)")

    def _log_full(self) -> None:
        # At the limit the broker is full again after each connection that it accepts: log that once.
        now_ms = self._clock.monotonic_ms()
        if now_ms - self._logged_full_ms >= _LOG_FULL_EVERY_MS:
            self._logged_full_ms = now_ms
            log.warning(
                "accept paused", why="max.connections or the file descriptor limit is reached", connections=len(self)
            )

    def _sweep(self, idle_ms: int) -> None:
        for connection in list(self._connections):
            connection.idle_turns += 1
            # A connection whose request waits is not idle: a join may take longer than the idle limit.
            if connection.idle_turns > _SWEEPS_PER_IDLE_TIME and not connection.waiting:
                connection.drop(f"idle for {idle_ms} ms (connections.max.idle.ms)")


class RateLimiter:
    """At most ``rate`` permits a second; permits of one second may be used at once."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._admissible: float | None = None
        self._counted_ms = clock.monotonic_ms()

    async def acquire(self, read_rate: Callable[[], int]) -> None:
        """Wait until the next one is within the rate, which may change meanwhile."""
        rate = read_rate()
        if rate >= UNLIMITED:
            return
        if self._admissible is None:
            self._admissible = rate
        self._refill(rate)
        self._admissible -= 1
        while self._admissible < 0:
            await self._clock.sleep(min(1000.0, -self._admissible * 1000 / rate) if rate else 1000.0)
            rate = read_rate()
            self._refill(rate)

    def _refill(self, rate: int) -> None:
        now_ms = self._clock.monotonic_ms()
        assert self._admissible is not None
        self._admissible = min(rate, self._admissible + (now_ms - self._counted_ms) * rate / 1000)
        self._counted_ms = now_ms


class Listener(NamedTuple):
    """The listener that accepted a connection. All listeners of a broker share one registry.

    ``tls`` is None where the security protocol (``endpoint.security_protocol``) is without TLS.
    """

    endpoint: Endpoint
    connections: ConnectionRegistry
    tls: TlsListener | None = None
