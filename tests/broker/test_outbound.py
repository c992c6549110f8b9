"""Connections to other nodes: pipelining, deadlines, lost connections, versions."""

import pytest
import trio
from answering_node import serve_requests

from kwire.broker.outbound.connection import NodeConnection
from kwire.broker.outbound.interface import Address, Disconnected, NotServed, TimedOut
from kwire.testing.memory.network import MemoryNetwork
from kwire.wire import codec
from kwire.wire.messages import (
    ApiVersionsResponse,
    BrokerHeartbeatRequest,
    BrokerHeartbeatResponse,
    DescribeClusterRequest,
    EnvelopeRequest,
)

NODE = Address("node", 9092)
CLOSES = 666  # a broker id at which the node closes the connection


class FakeNode:
    """Answers heartbeats with their broker id as a boolean; ``hold`` keeps its answers back."""

    def __init__(self):
        self.connections = 0
        self.asked = []
        self.may_answer = trio.Event()
        self.may_answer.set()

    async def serve(self, transport):
        self.connections += 1
        await serve_requests(transport, self._answer)

    async def _answer(self, header, request):
        if header.api_key == ApiVersionsResponse.KEY:
            served = [ApiVersionsResponse.ApiVersion(api_key=key, min_version=0, max_version=1) for key in (18, 63)]
            return ApiVersionsResponse(api_keys=served)
        self.asked.append((header.api_version, request.broker_id))
        await self.may_answer.wait()
        if request.broker_id == CLOSES:
            return None
        return BrokerHeartbeatResponse(throttle_time_ms=request.broker_id)


@pytest.fixture
def node():
    return FakeNode()


@pytest.fixture
async def network(nursery, node):
    network = MemoryNetwork(nursery)
    network.listen(NODE, node.serve)
    return network


@pytest.fixture
def connection(network):
    return NodeConnection(NODE, dialer=network.dialer("us"), client_id="test", timeout_ms=1000)


def beat(number):
    return BrokerHeartbeatRequest(broker_id=number)


async def test_a_request_uses_the_highest_version_of_both_and_one_connection(connection, node):
    assert [(await connection.request(beat(number))).throttle_time_ms for number in (1, 2)] == [1, 2]
    assert node.asked == [(1, 1), (1, 2)]
    assert node.connections == 1
    assert (await connection.api_versions()).api_keys[1].api_key == 63


async def test_requests_of_several_tasks_are_pipelined_and_each_gets_its_own_response(connection, node):
    node.may_answer = trio.Event()
    found = {}

    async def ask(number):
        found[number] = (await connection.request(beat(number))).throttle_time_ms

    async with trio.open_nursery() as nursery:
        for number in range(10):
            nursery.start_soon(ask, number)
        await trio.testing.wait_all_tasks_blocked()
        node.may_answer.set()
    assert found == {number: number for number in range(10)}
    assert node.connections == 1


async def test_a_cancelled_request_leaves_the_connection_to_the_others(connection, node, autojump_clock):
    await connection.request(beat(1))
    node.may_answer = trio.Event()
    found = []

    async def ask():
        found.append((await connection.request(beat(3))).throttle_time_ms)

    async with trio.open_nursery() as nursery:
        with trio.move_on_after(0.1):
            nursery.start_soon(ask)
            await connection.request(beat(2))
        node.may_answer.set()
    assert found == [3]
    assert node.connections == 1


class HeldStream:
    """A stream whose node answers only when the test says so, at once."""

    def __init__(self):
        self.held = []
        self._arrived = b""
        self._more = trio.Event()
        self.peer_closed = False

    def deliver(self, request):
        header, broker_id = request
        self._put(header, BrokerHeartbeatResponse(throttle_time_ms=broker_id))

    def _put(self, header, response):
        self._arrived += b"".join(codec.encode_response(header, response))
        self._more.set()

    async def send(self, parts):
        await trio.lowlevel.checkpoint()
        frame = memoryview(b"".join(parts))[4:]
        header = codec.read_header(frame)
        if header.api_key == ApiVersionsResponse.KEY:
            served = [ApiVersionsResponse.ApiVersion(api_key=63, min_version=0, max_version=1)]
            self._put(header, ApiVersionsResponse(api_keys=served))
        else:
            self.held.append((header, codec.decode_request(header, frame).broker_id))

    async def recv(self, max_bytes):
        await self._more.wait()
        chunk, self._arrived = self._arrived[:max_bytes], self._arrived[max_bytes:]
        if not self._arrived:
            self._more = trio.Event()
        return chunk

    async def recv_into(self, space):
        chunk = await self.recv(len(space))
        space[: len(chunk)] = chunk
        return len(chunk)

    def close(self):
        self.peer_closed = True


class HeldDialer:
    def __init__(self, stream):
        self.stream = stream

    async def connect(self, _address):
        await trio.lowlevel.checkpoint()
        return self.stream

    def login(self):
        return None


@pytest.mark.parametrize("attempt", range(12))  # the order in which tasks run within one turn is random
async def test_a_cancelled_reader_hands_reading_over_to_another_caller(attempt, autojump_clock):
    stream = HeldStream()
    connection = NodeConnection(NODE, dialer=HeldDialer(stream), client_id="test", timeout_ms=1000)
    found, scope = [], trio.CancelScope()

    async def ask(number, within):
        with within:
            found.append((await connection.request(beat(number))).throttle_time_ms)

    async with trio.open_nursery() as nursery:
        for number, within in ((1, trio.CancelScope()), (2, scope), (3, trio.CancelScope())):
            nursery.start_soon(ask, number, within)
            await trio.testing.wait_all_tasks_blocked()
        stream.deliver(stream.held[0])
        scope.cancel()
        await trio.testing.wait_all_tasks_blocked()
        stream.deliver(stream.held[2])
    assert (attempt, found) == (attempt, [1, 3])


async def test_a_request_without_an_answer_times_out_and_the_next_one_connects_again(connection, node, autojump_clock):
    await connection.request(beat(1))
    node.may_answer, held = trio.Event(), node.may_answer
    with pytest.raises(TimedOut, match="node:9092 did not answer BrokerHeartbeat within 200 ms"):
        await connection.request(beat(2), timeout_ms=200)
    node.may_answer = held
    assert (await connection.request(beat(3))).throttle_time_ms == 3
    assert node.connections == 2


async def test_a_connection_lost_in_the_middle_fails_all_that_wait(connection, node):
    node.may_answer = trio.Event()
    failed = []

    async def ask(number):
        with pytest.raises(Disconnected):
            await connection.request(beat(number))
        failed.append(number)

    async with trio.open_nursery() as nursery:
        for number in (CLOSES, 1, 2):
            nursery.start_soon(ask, number)
            await trio.testing.wait_all_tasks_blocked()
        node.may_answer.set()
    assert sorted(failed) == [1, 2, CLOSES]


async def test_a_connection_that_was_idle_and_closed_is_made_again(connection, node, network):
    await connection.request(beat(1))
    network.stop_listening(NODE)
    network.listen(NODE, node.serve)
    assert (await connection.request(beat(2))).throttle_time_ms == 2


async def test_attempts_to_connect_back_off(connection, network, autojump_clock):
    network.stop_listening(NODE)
    before = trio.current_time()
    for _ in range(4):
        with pytest.raises(Disconnected, match="cannot connect to node:9092: connection refused"):
            await connection.request(beat(1))
    assert 0.3 <= trio.current_time() - before <= 0.4  # 50, 100 and 200 ms before the last three


async def test_a_request_that_the_node_does_not_serve_is_not_sent(connection, node):
    with pytest.raises(NotServed, match="serves Envelope not at all"):
        await connection.request(EnvelopeRequest(request_data=b"", client_host_address=bytes(4)))
    with pytest.raises(NotServed):
        await connection.request(DescribeClusterRequest())
    assert node.asked == []


async def test_a_closed_connection_refuses(connection):
    await connection.request(beat(1))
    connection.close()
    with pytest.raises(Disconnected):
        await connection.request(beat(2))


async def test_held_bytes_arrive_after_the_hold(connection, network, autojump_clock):
    await connection.request(beat(1))
    network.hold("us", "node")
    with trio.move_on_after(0.5):
        await connection.request(beat(2))
        raise AssertionError("nothing may arrive")
    network.mend()
    assert (await connection.request(beat(3))).throttle_time_ms == 3
