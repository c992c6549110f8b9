"""A broker that consists of its edge: a clock, and a table of APIs that the test fills."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import trio

from kwire.broker.clients.hooks import Hooks
from kwire.broker.clock import Clock
from kwire.broker.endpoint import Endpoint
from kwire.broker.requests.table import Api
from kwire.broker.watchdog import Watchdog
from kwire.server.bindings import Limits
from kwire.server.connections.connection import serve_connection
from kwire.server.connections.registry import ConnectionRegistry, Listener
from kwire.testing.memory.transport import MemoryTransport
from kwire.wire import codec
from kwire.wire.messages import (
    ApiVersionsResponse,
    FetchResponse,
    HeartbeatResponse,
    MetadataResponse,
    ProduceResponse,
)

PRODUCE, FETCH, METADATA, HEARTBEAT, API_VERSIONS = 0, 1, 3, 12, 18
VERSIONS = {PRODUCE: 9, FETCH: 12, METADATA: 9, HEARTBEAT: 4, API_VERSIONS: 3}


class NoQuotas:
    any = False

    def refusal(self, _address: str) -> None:
        return None


class NoTelemetry:
    def connection_closed(self, _connection: object) -> None:
        pass


class EdgeBroker:
    """Handlers answer with defaults until a test replaces one: ``broker.handlers[HEARTBEAT] = handler``."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.quotas = NoQuotas()
        self.telemetry = NoTelemetry()
        self.hooks = Hooks()
        self.watchdog = Watchdog()
        self.authorizer = None
        self.seen: list[tuple[int, int]] = []  # api key, correlation id
        self.handlers: dict[int, Callable[..., Any]] = {
            PRODUCE: lambda *_: ProduceResponse(),
            FETCH: lambda *_: FetchResponse(),
            METADATA: lambda *_: MetadataResponse(),
            HEARTBEAT: lambda *_: HeartbeatResponse(),
            API_VERSIONS: lambda *_: ApiVersionsResponse(),
        }
        served = {"Produce": (3, 13), "Fetch": (4, 18), "Metadata": (0, 13), "Heartbeat": (0, 4), "ApiVersions": (0, 4)}
        keys = zip(self.handlers, served.items(), strict=True)
        self.apis = {key: Api(key, name, versions, self._loader(key)) for key, (name, versions) in keys}

    def _loader(self, key: int) -> Callable[[], Callable[..., Any]]:
        async def handle(context: Any, request: Any) -> Any:
            self.seen.append((key, context.correlation_id))
            response = self.handlers[key](context, request)
            return await response if hasattr(response, "__await__") else response

        return lambda: handle


class Edge:
    """An edge broker, its connections and a nursery in which connections run."""

    def __init__(self, nursery: trio.Nursery, **limits: Any) -> None:
        self.nursery = nursery
        self.broker = EdgeBroker()
        self.limits = Limits(**limits)
        self.connections = ConnectionRegistry(self.broker.apis, self.broker.clock, lambda: self.limits)
        self.connections.perf_counter = lambda: 0.0  # no turn ends by time, however busy the machine is
        self.listener = Listener(Endpoint("PLAINTEXT", "PLAINTEXT", "localhost", 9092), self.connections)
        nursery.start_soon(self.broker.clock.run)
        self.connections.begin()

    def connect(self, transport: MemoryTransport | None = None) -> Client:
        transport = transport or MemoryTransport()
        self.nursery.start_soon(serve_connection, self.broker, transport, self.listener)
        return Client(transport)


class Client:
    """The test's end of a connection, speaking requests."""

    def __init__(self, transport: MemoryTransport) -> None:
        self.transport = transport
        self._correlation_id = 0
        self._asked: dict[int, tuple[int, int]] = {}

    def request(self, key: int, version: int | None = None, **fields: Any) -> bytes:
        """The bytes of a request, and a note of it, so that ``response`` can read the answer."""
        version = VERSIONS[key] if version is None else version
        self._correlation_id += 1
        self._asked[self._correlation_id] = (key, version)
        return codec.encode_request(key, version, self._correlation_id, "test", codec.request_class(key)(**fields))

    def send(self, *requests: int) -> None:
        """Send default requests of these keys in one piece."""
        self.transport.feed(b"".join(self.request(key) for key in requests))

    async def response(self) -> tuple[int, Any] | None:
        """Correlation id and body of the next response; None when the server has closed."""
        frame = await self.transport.next_frame()
        if frame is None:
            return None
        key, version = self._asked[int.from_bytes(frame[:4], "big")]
        return codec.decode_response(key, version, memoryview(frame))
