"""Clusters in memory behind a proxy: nodes that a test scripts, and kwire brokers."""

from __future__ import annotations

import struct
from collections import defaultdict

import trio
import trio.testing

from kwire.broker.clock import Clock
from kwire.broker.outbound.interface import Address
from kwire.proxy.proxy import Proxy
from kwire.wire import codec

BOOTSTRAP = Address("kafka-1", 9092)


class End:
    """One end of a connection: frames out and in."""

    def __init__(self, stream):
        self.stream = stream
        self._held = bytearray()
        self._asked = {}
        self._correlation_id = 0

    async def send(self, content):
        await self.stream.send_all(content)

    async def ask(self, key, version, client_id="test", **fields):
        """Send a request and give its bytes."""
        self._correlation_id += 1
        self._asked[self._correlation_id] = (key, version)
        request = codec.request_class(key)(**fields)
        content = codec.encode_request(key, version, self._correlation_id, client_id, request)
        await self.send(content)
        return content

    async def frame(self):
        """Take the next frame with its size; None when the other end has closed."""
        while len(self._held) < 4 or len(self._held) < 4 + struct.unpack_from(">i", self._held)[0]:
            chunk = await self.stream.receive_some(65536)
            if not chunk:
                assert not self._held
                return None
            self._held += chunk
        end = 4 + struct.unpack_from(">i", self._held)[0]
        content = bytes(self._held[:end])
        del self._held[:end]
        return content

    async def response(self):
        """Take and decode the next response: correlation id and message."""
        content = await self.frame()
        if content is None:
            return None
        key, version = self._asked[int.from_bytes(content[4:8], "big")]
        return codec.decode_response(key, version, memoryview(content)[4:])


def answer(request, message, version=None):
    """Give the frame that answers a request's frame."""
    header = codec.read_header(memoryview(request)[4:])
    if version is not None:
        header = header._replace(api_version=version)
    return b"".join(codec.encode_response(header, message))


class Network:
    """Nodes by address. ``accepted`` gives the node's end of each connection that the proxy has made."""

    def __init__(self, nursery):
        self.nursery = nursery
        self.opened = []
        self.refuses = set()
        self.tls = False
        self.lockstep = False
        self._accepted = defaultdict(lambda: trio.open_memory_channel(1000))
        self.clock = Clock()
        self.proxy = Proxy(dial=self._dial, open_listener=self._open, clock=self.clock)
        self.proxy.listen_for(BOOTSTRAP)
        nursery.start_soon(self.clock.run)

    async def _dial(self, address):
        if address in self.refuses:
            raise ConnectionRefusedError(111, "Connection refused")
        ours, theirs = self._streams()
        self._accepted[address][0].send_nowait(End(theirs))
        return _Memory(ours) if self.tls else _WithHalfClose(ours)

    def _open(self, address):
        self.opened.append(address)
        return Address("proxy", 19092 + len(self.opened) - 1)

    def connect(self, node=BOOTSTRAP, handshake=None):
        """Connect a client to the listener of a node; gives the client's end."""
        ours, theirs = self._streams()
        self.nursery.start_soon(self.proxy.serve, _Memory(theirs), "127.0.0.1:50000", node, handshake)
        return End(ours)

    def _streams(self):
        """Two ends; ``lockstep``: what is sent waits until it is received."""
        if not self.lockstep:
            return trio.testing.memory_stream_pair()
        return trio.testing.lockstep_stream_pair()

    async def accepted(self, node=BOOTSTRAP):
        return await self._accepted[node][1].receive()

    async def pair(self, node=BOOTSTRAP):
        """Connect a client; gives its end and the node's."""
        client = self.connect(node)
        return client, await self.accepted(node)


class _Memory:
    """One end of a stream in memory, as the proxy sees it. It cannot be closed in one direction, as TLS."""

    def __init__(self, stream):
        self._stream = stream

    async def recv(self, max_bytes):
        return bytes(await self._received(max_bytes))

    async def recv_into(self, space):
        chunk = await self._received(len(space))
        space[: len(chunk)] = chunk
        return len(chunk)

    async def _received(self, max_bytes):
        try:
            return await self._stream.receive_some(max_bytes)
        except trio.BrokenResourceError as error:
            raise ConnectionError from error

    async def send(self, parts):
        try:
            await self._stream.send_all(b"".join(parts))
        except trio.BrokenResourceError as error:
            raise ConnectionError from error

    def close(self):
        for half in (self._stream.send_stream, self._stream.receive_stream):
            half.close()

    abort = close


class _WithHalfClose(_Memory):
    def end_sending(self):
        self._stream.send_stream.close()
