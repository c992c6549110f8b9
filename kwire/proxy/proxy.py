"""The proxy of one cluster: a listener for each node, and the state that its connections share.

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

from kwire.broker.clients.client import Client, split_peer
from kwire.broker.clients.hooks import Hooks
from kwire.broker.clock import Clock
from kwire.broker.endpoint import Endpoint
from kwire.broker.logs import Logger
from kwire.broker.outbound.interface import Address
from kwire.errors import ProtocolViolation
from kwire.limits import PROXY_NODES_MAX, PROXY_TOPICS_MAX
from kwire.proxy.connection import TLS_RECORDS, ClientStream, ProxiedConnection, Stream
from kwire.proxy.frames import SIZE_BYTES, SharedBuffers
from kwire.server.acceptor import CannotBind
from kwire.server.tls.handshake import Handshake, HandshakeFailed, HandshakeFailures
from kwire.types import ZERO_UUID
from kwire.wire.codec import Message, encode_request
from kwire.wire.messages import ApiVersionsRequest

log = Logger("kwire.proxy")

# Connects to a node; raises OSError.
Dial: TypeAlias = Callable[[Address], Awaitable[Stream]]
# Opens a listener for a node and gives the address that clients get; raises CannotBind.
OpenListener: TypeAlias = Callable[[Address], Address]

_CHECK_S: Final = 10.0
_UNTIL_REACHED: Final = "clients are served once it answers"
_ASK_VERSIONS: Final = encode_request(ApiVersionsRequest.KEY, 0, 0, "kwire-proxy", ApiVersionsRequest())
_MAY_USE_TLS: Final = "it may use TLS: --config needs security.protocol=SSL or SASL_SSL"
_NAMES: Final = ("name", "topic", "topic_name")


class Proxy:
    """The proxy of one cluster. In fault rules and the request log, the listener is the node's address.

    ``security_protocol`` is that of the listeners. With TLS the principal of a client is that of its certificate until
    it logs in.

    ``notes_topic_names``: whether responses to Metadata are decoded for the names of topic ids, which later rules may
    need.
    """

    def __init__(
        self,
        *,
        dial: Dial,
        open_listener: OpenListener,
        clock: Clock,
        hooks: Hooks | None = None,
        security_protocol: str = "PLAINTEXT",
    ) -> None:
        self.hooks = hooks or Hooks()
        self.security_protocol = security_protocol
        self.clock = clock
        self.buffers = SharedBuffers()
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
        self._handshake_failures = HandshakeFailures(clock)

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

    async def serve(self, stream: ClientStream, peer: str, node: Address, handshake: Handshake | None = None) -> None:
        """Serve one client of a node's listener to its end; with TLS its handshake comes first."""
        client = await self._shake_hands(self._client(peer, node), stream, handshake)
        if client is None:
            stream.close()
            return
        try:
            upstream = await self._dial(node)
        except OSError as error:
            log.warning("cannot connect to node", node=str(node), peer=peer, why=error.strerror or str(error))
            self.failed_connections[str(node)] += 1
            stream.close()
            return
        connection = ProxiedConnection(client, stream, upstream, self)
        self.connections.add(connection)
        try:
            await connection.run()
        finally:
            self.connections.discard(connection)
            stream.close()
            upstream.close()

    async def check(self, node: Address) -> None:
        """Log a warning if a node cannot be reached now, or answers no request for its versions."""
        try:
            upstream = await self._dial(node)
            try:
                with trio.fail_after(_CHECK_S):
                    await upstream.send((_ASK_VERSIONS,))
                    begin = await upstream.recv(SIZE_BYTES)
            finally:
                upstream.close()
        except OSError as error:
            why = error.strerror or str(error)
            log.warning("cannot connect to node", node=str(node), why=why, consequence=_UNTIL_REACHED)
        except trio.TooSlowError:
            log.warning("node does not answer", node=str(node), within_s=_CHECK_S, consequence=_UNTIL_REACHED)
        else:
            if not begin or begin[:2] in TLS_RECORDS:
                log.warning("node refuses the connection", node=str(node), why=_MAY_USE_TLS)

    def _client(self, peer: str, node: Address) -> Client:
        host, port = split_peer(peer)
        endpoint = Endpoint(str(node), self.security_protocol, *self._listeners.get(node, node))
        return Client(host, port, endpoint, authenticated_at_ms=self.clock.now_ms())

    async def _shake_hands(self, client: Client, stream: ClientStream, handshake: Handshake | None) -> Client | None:
        """Await the handshake, if there is one; None if it failed or the client has closed."""
        if handshake is None:
            return client
        opening = _Opening(client, stream)
        try:
            await handshake(opening)
        except HandshakeFailed as failure:
            self._handshake_failures.log(client.peer, client.endpoint.name, str(failure))
            return None
        except (OSError, trio.ClosedResourceError):
            return None
        return opening.client

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


class _Opening:
    """A connection before its handshake is done."""

    def __init__(self, client: Client, stream: ClientStream) -> None:
        self.client = client
        self._stream = stream

    def drop(self, _why: str) -> None:
        self._stream.close()
