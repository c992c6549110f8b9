"""How many bytes kwire allocates for a connection that is idle: a guard that reads no size of the process.

Connections in memory have each asked for ApiVersions and Metadata. ``tracemalloc`` tells what code of kwire allocated
for them and has not freed; what trio, sockets and the kernel hold comes on top.
"""

from __future__ import annotations

import gc
import sys
import tracemalloc
from pathlib import Path

import pytest
import trio
from peer import Peer, apis_of

import kwire
import kwire.storage.log
from kwire.broker.start import open_broker
from kwire.metadata.configs.effective import BrokerSettings
from kwire.server.bindings import Limits
from kwire.server.connections.connection import serve_connection
from kwire.server.connections.registry import ConnectionRegistry, Listener
from kwire.testing.memory.files import MemoryFiles
from kwire.testing.memory.transport import MemoryTransport
from kwire.wire import codec
from kwire.wire import messages as m

OWN = f"{Path(kwire.__file__).parent}/"  # not "/kwire/": a clone may have this name, and its libraries then too

pytestmark = pytest.mark.skipif(
    not kwire.storage.log.__file__.endswith(".py") or sys.gettrace() is not None,
    reason="what compiled modules allocate has no place in the source; a debugger or coverage holds frames",
)

CONNECTIONS = 100
BYTES_MAX = 2200
OWN = (
    tracemalloc.Filter(inclusive=True, filename_pattern=f"{OWN}*"),
    tracemalloc.Filter(inclusive=True, filename_pattern="<kwire*"),  # decoders and encoders
    tracemalloc.Filter(inclusive=False, filename_pattern=f"{OWN}testing/*"),
)


def own_bytes() -> int:
    gc.collect()
    traces = tracemalloc.take_snapshot().filter_traces(OWN[:2]).filter_traces(OWN[2:])
    return sum(trace.size for trace in traces.traces)


async def connect(registry, broker, nursery):
    transport = MemoryTransport()
    nursery.start_soon(serve_connection, broker, transport, Listener(Peer.endpoint, registry))
    hello = m.ApiVersionsRequest(client_software_name="guard-of-memory", client_software_version="1.2.3")
    for version, request in ((3, hello), (12, m.MetadataRequest(topics=None))):
        transport.feed(codec.encode_request(request.KEY, version, 1, "guard", request))
        await transport.next_frame()


async def test_an_idle_connection_holds_little(nursery):
    async with open_broker(BrokerSettings({"log.dirs": "/data"}), MemoryFiles(), endpoints=[Peer.endpoint]) as broker:
        registry = ConnectionRegistry(apis_of(broker), broker.clock, Limits)
        for _ in range(10):
            await connect(registry, broker, nursery)
        tracemalloc.start()
        try:
            for _ in range(10):  # the first allocations while it traces are its own
                await connect(registry, broker, nursery)
            before = own_bytes()
            for _ in range(CONNECTIONS):
                await connect(registry, broker, nursery)
            await trio.testing.wait_all_tasks_blocked()
            each = (own_bytes() - before) / CONNECTIONS
        finally:
            tracemalloc.stop()
        assert each < BYTES_MAX, f"{each:.0f} bytes"
