"""How often small requests call the kernel, and how often their connections' tasks run: guards that count no time."""

from __future__ import annotations

import os
import socket
from collections import Counter

import pytest
import trio
import trio.testing
from peer import Peer
from test_bytecodes import TOPIC, WARM_UP, fetch, listener_of, produce

from kwire.broker.start import open_broker
from kwire.limits import CHECKED_BATCHES
from kwire.metadata.configs.effective import BrokerSettings
from kwire.server.close_watch import CloseWatch
from kwire.server.connections.connection import serve_connection
from kwire.server.transport import LastReceived, SocketTransport
from kwire.storage.os_files import OsFiles
from kwire.wire import codec

COUNTED = 5


class CountingSocket:
    """A socket that counts the calls that succeed."""

    def __init__(self, wrapped, calls):
        self._wrapped = wrapped
        self._calls = calls

    def __getattr__(self, name):
        method = getattr(self._wrapped, name)

        def call(*args):
            result = method(*args)
            self._calls[name] += 1
            return result

        return call


class Client:
    """A client over a socket to a broker with files; ``calls`` counts what the broker calls."""

    def __init__(self, broker, nursery, calls):
        ours, theirs = socket.socketpair()
        self.calls = calls
        self.peer = trio.socket.from_stdlib_socket(theirs)
        self._received = bytearray()
        self._close_watch = CloseWatch()
        self.transport = SocketTransport(ours, ("127.0.0.1", 9), self._close_watch, LastReceived())
        self.transport._socket = CountingSocket(ours, calls)
        nursery.start_soon(serve_connection, broker, self.transport, listener_of(broker))

    async def call(self, version, *requests):
        """Send the requests together; return the responses."""
        frames = [codec.encode_request(one.KEY, version, number, "guard", one) for number, one in enumerate(requests)]
        await self.peer.send(b"".join(frames))
        replies = [await self._frame() for _ in requests]
        return [codec.decode_response(requests[0].KEY, version, memoryview(reply))[1] for reply in replies]

    async def _frame(self):
        received = self._received
        while len(received) < 4 or len(received) < 4 + int.from_bytes(received[:4], "big"):
            received += await self.peer.recv(1 << 16)
        end = 4 + int.from_bytes(received[:4], "big")
        frame = bytes(received[4:end])
        del received[:end]
        return frame

    def close(self):
        self.transport.close()
        self.peer.close()
        self._close_watch.close()


@pytest.fixture
async def client(nursery, tmp_path):
    calls = Counter()

    def writev(fd, parts):
        calls["writev"] += 1
        return os.writev(fd, parts)

    async with open_broker(
        BrokerSettings({"log.dirs": str(tmp_path)}), OsFiles(writev=writev), endpoints=[Peer.endpoint]
    ) as broker:
        await Peer(broker).create_topic(TOPIC, 2)
        client = Client(broker, nursery, calls)
        for _ in range(CHECKED_BATCHES + WARM_UP):
            await client.call(9, produce(TOPIC, b"value"))
        calls.clear()
        client.broker, client.nursery = broker, nursery
        client.topic_id = broker.image.topics[TOPIC].id
        yield client
        client.close()


async def test_a_small_produce_is_one_read_one_write_and_one_send(client):
    for _ in range(COUNTED):
        await client.call(9, produce(TOPIC, b"value"))
    assert client.calls == {"recv": COUNTED, "writev": COUNTED, "send": COUNTED}


async def test_the_replies_to_pipelined_requests_are_one_send(client):
    await client.call(9, *[produce(TOPIC, b"value")] * 40)
    assert client.calls == {"recv": 1, "writev": 40, "send": 1}


async def test_a_fetch_of_a_small_record_is_one_read_and_one_send(client):
    await client.call(17, fetch(0, -1, (0, 1), topic_id=client.topic_id))
    assert client.calls == {"recv": 1, "send": 1}


class Steps(trio.abc.Instrument):
    """Counts how often the tasks of connections run."""

    def __init__(self):
        self.count = 0

    def before_task_step(self, task):
        self.count += "serve_connection" in task.name


async def test_a_produce_that_a_fetch_waits_for_is_one_step_of_each_connection(client):
    consumer = Client(client.broker, client.nursery, Counter())
    waiting = fetch(0, -1, (0, CHECKED_BATCHES + WARM_UP), topic_id=client.topic_id)
    waiting.max_wait_ms = 60_000
    await consumer.peer.send(codec.encode_request(1, 17, 1, "guard", waiting))
    await trio.testing.wait_all_tasks_blocked()
    assert not consumer.calls["send"]
    steps = Steps()
    trio.lowlevel.add_instrument(steps)
    await client.call(9, produce(TOPIC, b"value"))
    await consumer._frame()
    await trio.testing.wait_all_tasks_blocked()
    trio.lowlevel.remove_instrument(steps)
    consumer.close()
    assert steps.count == 2
