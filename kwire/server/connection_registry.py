"""Who is connected, who may come in, and what all connections of one broker share.

Owns: the set of connections, the limits on them (``max.connections*``, ``connections.max.idle.ms``,
``queued.max.request.bytes``, ``max.connection.creation.rate``), the sweep that ends idle ones. May not know:
sockets, what a connection does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Final, Protocol

import trio

from kwire.broker.clock import Clock
from kwire.broker.logs import Logger
from kwire.broker.requests.context import Endpoint
from kwire.broker.requests.dispatch import ApiTable
from kwire.errors import Code
from kwire.limits import TURN_REQUESTS_MAX, TURN_REQUESTS_MIN
from kwire.server.bindings import UNLIMITED, Limits
from kwire.server.transport import LastHeard
from kwire.wire.messages import ApiVersionsResponse
from kwire.wire.session import API_VERSIONS_KEY, Served

log = Logger("kwire.server")

# An idle connection is ended at most a tenth of connections.max.idle.ms late.
_SWEEPS_PER_IDLE_TIME: Final = 10
_LIMITS_REREAD_S: Final = 1.0
_SAY_AGAIN_MS: Final = 60_000


class RegisteredConnection(Protocol):
    """What the connections sees of a connection."""

    idle_turns: int

    @property
    def host(self) -> str: ...

    @property
    def endpoint(self) -> Endpoint: ...

    @property
    def waiting(self) -> bool: ...

    def end(self, why: str) -> None: ...

    def drop(self, why: str) -> None: ...


class ConnectionRegistry:
    """One per broker. ``read_limits`` gives the limits in force, which may change while it runs.

    Those on the size of requests are read once; Kafka does not let anyone alter them either.
    """

    def __init__(self, apis: ApiTable, clock: Clock, read_limits: Callable[[], Limits]) -> None:
        self.read_limits = read_limits
        self.served = {api.key: Served(api.name, *api.served) for api in apis.values()}
        self.unsupported_version = _unsupported_version(self.served)
        limits = read_limits()
        self.request_bytes_max = limits.request_bytes_max
        self.memory = RequestMemory(limits.queued_bytes_max) if limits.queued_bytes_max > 0 else None
        self._clock = clock
        self._connections: dict[RegisteredConnection, None] = {}
        self._per_host: Counter[str] = Counter()
        self._per_listener: Counter[str] = Counter()
        self._said_full_ms = float("-inf")
        self._rate_limiter = RateLimiter(clock)
        self._listener_rate_limiters: dict[str, RateLimiter] = {}
        self._left = trio.Event()
        self.last_heard = LastHeard()
        self._queueing = 0
        self.turn_requests_max = TURN_REQUESTS_MAX

    def __len__(self) -> int:
        return len(self._connections)

    def queue_for_turn(self, more: int) -> None:
        """One more connection, or one less, has more to do than a turn allows: they share what one turn allows.

        Else four hundred connections that flood the broker would let anybody else wait for seconds.
        """
        self._queueing += more
        self.turn_requests_max = max(TURN_REQUESTS_MIN, TURN_REQUESTS_MAX // (1 + self._queueing))

    def enter(self, connection: RegisteredConnection) -> None:
        self._connections[connection] = None
        self._per_host[connection.host] += 1
        self._per_listener[connection.endpoint.name] += 1

    def leave(self, connection: RegisteredConnection) -> None:
        del self._connections[connection]
        self._per_listener[connection.endpoint.name] -= 1
        self._per_host[connection.host] -= 1
        if self._per_host[connection.host] == 0:
            del self._per_host[connection.host]
        left, self._left = self._left, trio.Event()
        left.set()

    def refusal(self, host: str) -> str | None:
        """Why a connection from this address is closed at once, or None."""
        limits = self.read_limits()
        most = limits.connections_per_ip_overrides.get(host, limits.connections_per_ip_max)
        if self._per_host[host] >= most:
            return f"{host} already has {most} connections (max.connections.per.ip)"
        return None

    def full(self, listener: str) -> bool:
        """Whether new connections must wait (``max.connections``): as in Kafka they are accepted once one ends."""
        limits = self.read_limits()
        if len(self._connections) >= limits.connections_max:
            return True
        return self._per_listener[listener] >= limits.listener_connections_max.get(listener, UNLIMITED)

    async def room(self, listener: str) -> None:
        """Wait until it is not full."""
        self._say_full()
        while self.full(listener):
            # Somebody may raise the limit meanwhile, of which nobody tells us.
            with trio.move_on_after(_LIMITS_REREAD_S):
                await self._left.wait()

    async def pace(self, listener: str) -> None:
        """Wait until one more is within ``max.connection.creation.rate``, the broker's and the listener's own."""
        await self._rate_limiter.acquire(lambda: self.read_limits().creation_rate_max)
        if self.read_limits().listener_creation_rate_max:
            pace = self._listener_rate_limiters.setdefault(listener, RateLimiter(self._clock))
            await pace.acquire(lambda: self.read_limits().listener_creation_rate_max.get(listener, UNLIMITED))

    async def run(self) -> None:
        """End connections from which nothing came for too long, until cancelled. None has a timer of its own."""
        while True:
            idle_ms = self.read_limits().idle_ms_max
            await self._clock.sleep(max(1.0, idle_ms / _SWEEPS_PER_IDLE_TIME) if idle_ms >= 0 else 60_000)
            if idle_ms >= 0:
                self._sweep(idle_ms)

    def end_all(self, why: str) -> None:
        """Every connection ends: at once if it only waits, else after the reply in hand."""
        for connection in list(self._connections):
            connection.end(why)

    async def empty(self) -> None:
        """Wait until the last connection has ended."""
        while self._connections:
            await self._left.wait()

    def _say_full(self) -> None:
        # At the limit it is full again after each one that is let in: that is one event and not many.
        now_ms = self._clock.monotonic_ms()
        if now_ms - self._said_full_ms >= _SAY_AGAIN_MS:
            self._said_full_ms = now_ms
            log.warning("not accepting until a connection ends: max.connections, or all descriptors", open=len(self))

    def _sweep(self, idle_ms: int) -> None:
        for connection in list(self._connections):
            connection.idle_turns += 1
            # A request that waits is not idleness of the peer: a join may take longer than any idle time.
            if connection.idle_turns > _SWEEPS_PER_IDLE_TIME and not connection.waiting:
                connection.drop(f"nothing came for {idle_ms} ms (connections.max.idle.ms)")


class RateLimiter:
    """So many a second; a second's worth may come at once."""

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


class RequestMemory:
    """``queued.max.request.bytes``: what all requests in hand may take.

    As in Kafka a request is let in while there is any room, and then in full, so that it can always be completed.
    """

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._bytes = 0
        self._freed = trio.Event()

    @property
    def full(self) -> bool:
        return self._bytes >= self._bytes_max

    def count(self, difference: int) -> None:
        was_full = self.full
        self._bytes += difference
        if was_full and not self.full:
            freed, self._freed = self._freed, trio.Event()
            freed.set()

    async def room(self) -> None:
        """Wait until it is not full."""
        while self.full:
            await self._freed.wait()


def _unsupported_version(served: Mapping[int, Served]) -> ApiVersionsResponse:
    """What an ApiVersions request of the future is told, in version 0: the range of ApiVersions itself (KIP-511)."""
    own = served.get(API_VERSIONS_KEY)
    api_keys = (
        []
        if own is None
        else [ApiVersionsResponse.ApiVersion(api_key=API_VERSIONS_KEY, min_version=own.lowest, max_version=own.highest)]
    )
    return ApiVersionsResponse(error_code=Code.UNSUPPORTED_VERSION, api_keys=api_keys)
