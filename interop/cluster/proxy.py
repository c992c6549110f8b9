"""A TCP proxy in front of the listeners that nodes use among themselves.

Responsible for: connections between nodes, and three modes for each pair of nodes: pass, hold, cut. Must not depend on:
Kafka's protocol beyond the client id of a connection's first request, by which the node that connects is known.

* pass: bytes go on.
* hold: bytes are kept, and go on later. No connection is refused or reset, as when a network loses packets.
* cut: connections are reset, and new ones too.

Nodes name themselves in their client ids: ``1``, ``raft-client-1``, ``broker-1-fetcher-0``,
``AddPartitionsManager-client-1``, ``broker-1-txn-marker-sender``.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import struct
import threading
from collections.abc import Coroutine
from enum import Enum
from typing import Any, TypeVar

T = TypeVar("T")

_NODE = re.compile(rb"(\d+)(?:-fetcher|-txn-marker|-share|$)")
_CHUNK = 65536
_TLS = b"\x16"


class Mode(Enum):
    PASS = "pass"
    HOLD = "hold"
    CUT = "cut"


class Network:
    """The proxies of one cluster, in a thread with an event loop of their own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="network", daemon=True)
        self._thread.start()
        self._modes: dict[tuple[int, int], Mode] = {}
        self._changed = asyncio.Event()
        self._connections: dict[asyncio.Task[None], tuple[int, int]] = {}
        self._servers: list[asyncio.Server] = []
        self._watched = b""
        self._received_by: set[int] = set()

    def proxy(self, node_id: int, port: int) -> int:
        """Open a proxy in front of a node's port; returns the proxy's port."""
        return self._in_loop(self._proxy(node_id, port))

    def set(self, one: int, other: int, mode: Mode) -> None:
        """Set the mode of what goes between two nodes, in both directions."""
        self._in_loop(self._set(one, other, mode))

    def heal(self) -> None:
        """Pass everything again."""
        self._in_loop(self._heal())

    def watch(self, content: bytes) -> None:
        """From now on note which nodes receive these bytes in a response."""
        self._received_by = set()
        self._watched = content

    def has_received(self, node_id: int) -> bool:
        """Tell whether a node has received what is watched."""
        return node_id in self._received_by

    def close(self) -> None:
        self._in_loop(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def _in_loop(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    async def _proxy(self, node_id: int, port: int) -> int:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            self._connections[task] = (-1, node_id)
            try:
                await self._serve(reader, writer, node_id, port)
            except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                pass
            finally:
                del self._connections[task]
                _reset(writer)

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        self._servers.append(server)
        found: int = server.sockets[0].getsockname()[1]
        return found

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, node_id: int, port: int) -> None:
        first = await reader.readexactly(14)
        # Of a connection with TLS the node is not known: it cannot be cut off from one other node alone.
        name_bytes = 0 if first[:1] == _TLS else max(0, struct.unpack(">h", first[12:14])[0])
        name = await reader.readexactly(name_bytes)
        found = _NODE.search(name)
        source = int(found[1]) if found else -1
        task = asyncio.current_task()
        assert task is not None
        pair = self._connections[task] = (source, node_id)
        if self._mode(pair) is Mode.CUT:
            return
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            await self._wait_for_pass(pair)
            there_writer.write(first + name)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pump(reader, there_writer, pair))
                group.create_task(self._pump(there_reader, writer, pair, receiver=source))
        except* OSError:
            pass
        finally:
            _reset(there_writer)

    async def _pump(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        pair: tuple[int, int],
        *,
        receiver: int | None = None,
    ) -> None:
        before = b""
        while chunk := await reader.read(_CHUNK):
            await self._wait_for_pass(pair)
            writer.write(chunk)
            await writer.drain()
            if receiver is not None and self._watched:
                passed = before + chunk
                if self._watched in passed:
                    self._received_by.add(receiver)
                before = passed[-len(self._watched) :]
        raise ConnectionResetError

    def _mode(self, pair: tuple[int, int]) -> Mode:
        return self._modes.get(_pair(*pair), Mode.PASS)

    async def _wait_for_pass(self, pair: tuple[int, int]) -> None:
        while self._mode(pair) is Mode.HOLD:
            await self._changed.wait()

    async def _set(self, one: int, other: int, mode: Mode) -> None:
        self._modes[_pair(one, other)] = mode
        self._wake()
        if mode is Mode.CUT:
            for task, pair in self._connections.items():
                if _pair(*pair) == _pair(one, other):
                    task.cancel()

    async def _heal(self) -> None:
        self._modes.clear()
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def _close(self) -> None:
        for server in self._servers:
            server.close()
        for task in list(self._connections):
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)


def _pair(one: int, other: int) -> tuple[int, int]:
    return min(one, other), max(one, other)


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close with a reset, so that the other side need not find out by a timeout."""
    connection = writer.get_extra_info("socket")
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
