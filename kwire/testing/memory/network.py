"""A network in memory, between the brokers and controllers of one test: no ports, no threads.

Responsible for: which handler serves which address, connections between them, and cutting them. Must not depend on:
the handlers.

    network = MemoryNetwork(nursery)
    network.listen(Address("broker1", 9092), partial(serve_connection, broker, listener=listener))
    peers = Peers(image=..., dialer=network.dialer("broker2"), listener="PLAINTEXT")
    network.cut("broker1", "broker2")                     # connections are reset, new ones refused
    network.hold("broker1", "broker2")                    # bytes are held back, connections stay
    network.mend()
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias

import trio

from kwire.broker.outbound.interface import Address
from kwire.security.sasl.client import SaslLogin, begin_exchange
from kwire.security.sasl.exchange import ClientExchange
from kwire.security.sasl.scram_keys import RANDOM_BYTES, random_text
from kwire.testing.memory.transport import MemoryTransport

Handler: TypeAlias = Callable[[MemoryTransport], Awaitable[None]]


class MemoryNetwork:
    """Connects nodes of one test. A node has a name, which is the host of its addresses."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self._handlers: dict[Address, Handler] = {}
        self._streams: set[MemoryStream] = set()
        self._cut: set[frozenset[str]] = set()
        self._held: set[frozenset[str]] = set()
        self._mended = trio.Event()

    def listen(self, address: Address, handler: Handler) -> None:
        """Serve connections to ``address``: ``handler`` runs once for each."""
        self._handlers[address] = handler

    def stop_listening(self, address: Address) -> None:
        """Refuse connections to ``address``, and reset those that are open: the process there was killed."""
        self._handlers.pop(address, None)
        for stream in [each for each in self._streams if each.address == address]:
            stream.reset()

    def dialer(self, node: str, *, login: SaslLogin | None = None) -> MemoryDialer:
        """Make the dialer of the node with this name, which logs in with ``login``."""
        return MemoryDialer(self, node, login)

    def cut(self, one: str, other: str) -> None:
        """Reset the connections between two nodes, and refuse new ones."""
        pair = frozenset((one, other))
        self._cut.add(pair)
        for stream in [each for each in self._streams if each.ends == pair]:
            stream.reset()

    def hold(self, one: str, other: str) -> None:
        """Hold back the bytes between two nodes, until ``mend``."""
        self._held.add(frozenset((one, other)))

    def mend(self) -> None:
        """End every cut and hold; bytes that were held back are delivered."""
        self._cut.clear()
        self._held.clear()
        self._mended.set()
        self._mended = trio.Event()
        for stream in list(self._streams):
            stream.deliver()

    def is_held(self, ends: frozenset[str]) -> bool:
        return ends in self._held

    async def connect(self, node: str, address: Address) -> MemoryStream:
        """Connect ``node`` to an address. Raises ConnectionRefusedError."""
        ends = frozenset((node, address.host))
        await trio.lowlevel.checkpoint()
        handler = self._handlers.get(address)
        if handler is None or ends in self._cut:
            raise ConnectionRefusedError(111, "connection refused")
        while ends in self._held:
            await self._mended.wait()
        stream = MemoryStream(self, node, address)
        self._streams.add(stream)
        self._nursery.start_soon(self._serve, handler, stream)
        return stream

    async def _serve(self, handler: Handler, stream: MemoryStream) -> None:
        try:
            await handler(stream.server_end)
        finally:
            stream.server_end.close()

    def forget(self, stream: MemoryStream) -> None:
        self._streams.discard(stream)


class MemoryDialer:
    """The ``Dialer`` of one node."""

    def __init__(self, network: MemoryNetwork, node: str, login: SaslLogin | None = None) -> None:
        self._network = network
        self._node = node
        self._login = login

    async def connect(self, address: Address) -> MemoryStream:
        return await self._network.connect(self._node, address)

    def login(self) -> ClientExchange | None:
        return None if self._login is None else begin_exchange(self._login, random_text(os.urandom(RANDOM_BYTES)))


class MemoryStream:
    """The connecting end of one connection; ``server_end`` is the ``Transport`` of the other end."""

    def __init__(self, network: MemoryNetwork, node: str, address: Address) -> None:
        self.address = address
        self.ends = frozenset((node, address.host))
        self.server_end = MemoryTransport(peer=f"{node}:50000")
        self._network = network
        self._held = bytearray()
        self._is_reset = False

    async def recv(self, max_bytes: int) -> bytes:
        while True:
            if self._is_reset:
                raise ConnectionResetError(104, "connection reset")
            if not self._network.is_held(self.ends):
                taken = self.server_end.take(max_bytes)
                if taken or self.server_end.closed:
                    return taken
            await self.server_end.changed()

    async def recv_into(self, space: memoryview) -> int:
        taken = await self.recv(len(space))
        space[: len(taken)] = taken
        return len(taken)

    async def send(self, parts: Sequence[bytes]) -> None:
        await trio.lowlevel.checkpoint()
        if self._is_reset or self.server_end.closed:
            raise BrokenPipeError(32, "broken pipe")
        self._held += b"".join(parts)
        self.deliver()

    @property
    def peer_closed(self) -> bool:
        return self._is_reset or self.server_end.closed

    def deliver(self) -> None:
        """Deliver bytes that were held back, unless they are still held."""
        if not self._network.is_held(self.ends):
            held, self._held = bytes(self._held), bytearray()
            self.server_end.feed(held)

    def reset(self) -> None:
        """Reset the connection at both ends."""
        self._is_reset = True
        self.server_end.reset()
        self._network.forget(self)

    def close(self) -> None:
        """Close the connecting end."""
        self._is_reset = True
        self.server_end.finish()
        self._network.forget(self)
