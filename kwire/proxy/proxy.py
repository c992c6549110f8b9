"""The proxy of one cluster: a listener for each node, and what its connections share.

Responsible for: which address of the proxy stands for which node, the names of topic ids, the connections that are
open. Must not depend on: sockets, how a listener is opened.

A node is known by the address that the cluster gives for it. Its listener is opened when a response names it for the
first time, before the response is passed on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

import trio

from kwire.broker.clock import Clock
from kwire.broker.endpoint import Endpoint
from kwire.broker.logs import Logger
from kwire.broker.outbound.interface import Address
from kwire.broker.requests.client import Client, split_peer
from kwire.broker.requests.hooks import Hooks
from kwire.errors import ProtocolViolation
from kwire.limits import PROXY_NODES_MAX, PROXY_TOPICS_MAX
from kwire.proxy.connection import ProxiedConnection, Stream
from kwire.server.acceptor import CannotBind
from kwire.types import ZERO_UUID
from kwire.wire.codec import Message

log = Logger("kwire.proxy")

# Connects to a node; raises OSError.
Dial: TypeAlias = Callable[[Address], Awaitable[Stream]]
# Opens a listener for a node and gives the address that clients get; raises CannotBind.
OpenListener: TypeAlias = Callable[[Address], Address]

_NAMES: Final = ("name", "topic", "topic_name")


class Proxy:
    """See the module. The listener that fault rules and the request log name is the node's address.

    ``notes_topic_names``: whether responses to Metadata are decoded for the names of topic ids, which later rules may
    need.
    """

    def __init__(self, *, dial: Dial, open_listener: OpenListener, clock: Clock, hooks: Hooks | None = None) -> None:
        self.hooks = hooks or Hooks()
        self.clock = clock
        self.connections: set[ProxiedConnection] = set()
        self.notes_topic_names = False
        # By API key and version, None for those that kwire does not know; by node.
        self.request_counts: Counter[tuple[int, int] | None] = Counter()
        self.failed_connections: Counter[str] = Counter()
        self._dial = dial
        self._open_listener = open_listener
        self._listeners: dict[Address, Address] = {}
        self._own: set[Address] = set()
        self._topics: dict[bytes, str] = {}

    @property
    def nodes(self) -> dict[Address, Address]:
        """The nodes of the cluster that are known, with the addresses that stand for them."""
        return dict(self._listeners)

    def advertise(self, host: str, port: int) -> tuple[str, int]:
        """Give the address that stands for a node's; opens its listener if it has none.

        Raises ProtocolViolation if none can be opened: the response must not be passed on with the node's own address.
        """
        address = Address(host, port)
        if address in self._own:
            return address
        listener = self._listeners.get(address)
        if listener is None:
            try:
                listener = self.listen_for(address)
            except CannotBind as error:
                raise ProtocolViolation(f"no listener for the node {address}: {error}") from error
        return listener

    def listen_for(self, address: Address) -> Address:
        """Open the listener of a node and give its address. Raises CannotBind."""
        if len(self._listeners) >= PROXY_NODES_MAX:
            raise CannotBind(f"there are {PROXY_NODES_MAX} nodes already")
        listener = self._open_listener(address)
        self._listeners[address] = listener
        self._own.add(listener)
        log.info("listening for node", node=str(address), at=str(listener))
        return listener

    def topic_name(self, topic_id: bytes) -> str | None:
        """Give the name of a topic id that a response had."""
        return self._topics.get(topic_id)

    def note_names(self, response: Message) -> None:
        """Keep the names of the topic ids in a response."""
        for field in response.FIELDS:
            value = getattr(response, field.name)
            if field.struct is None or value is None:
                continue
            for element in value if field.type == "array" else (value,):
                self._learn_topic(element)

    async def serve(self, stream: Stream, peer: str, node: Address) -> None:
        """Serve one client of a node's listener to its end."""
        try:
            upstream = await self._dial(node)
        except OSError as error:
            log.warning("cannot connect to node", node=str(node), peer=peer, why=error.strerror or str(error))
            self.failed_connections[str(node)] += 1
            await _close(stream)
            return
        host, port = split_peer(peer)
        endpoint = Endpoint(str(node), "PLAINTEXT", *self._listeners.get(node, node))
        client = Client(host, port, endpoint, authenticated_at_ms=self.clock.now_ms())
        connection = ProxiedConnection(client, stream, upstream, self)
        self.connections.add(connection)
        try:
            await connection.run()
        finally:
            self.connections.discard(connection)
            await _close(stream, upstream)

    async def check(self, node: Address) -> None:
        """Log a warning if a node cannot be reached now."""
        try:
            await _close(await self._dial(node))
        except OSError as error:
            log.warning("cannot connect to node", node=str(node), why=error.strerror or str(error))

    def _learn_topic(self, element: object) -> None:
        topic_id = getattr(element, "topic_id", ZERO_UUID)
        if topic_id == ZERO_UUID or topic_id in self._topics:
            return
        name = next((found for name in _NAMES if (found := getattr(element, name, None))), None)
        if name is None:
            return
        if len(self._topics) >= PROXY_TOPICS_MAX:
            del self._topics[next(iter(self._topics))]
        self._topics[topic_id] = name


async def _close(*streams: Stream) -> None:
    """Close at once, without the close_notify of TLS, also while the proxy ends."""
    with trio.CancelScope(shield=True):
        for stream in streams:
            await trio.aclose_forcefully(stream)  # type: ignore[arg-type]  # it calls aclose only
