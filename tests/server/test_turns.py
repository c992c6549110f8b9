"""Turns: what one connection may do before others run, counted in requests and never in time."""

import pytest
import trio
from edge import API_VERSIONS, HEARTBEAT, METADATA, Edge

from kwire.limits import LOOP_HELD_WARNING_MS, TURN_MS
from kwire.server.connections.turns import TurnQueue
from kwire.testing.memory.transport import MemoryTransport
from kwire.wire.messages import HeartbeatResponse, MetadataResponse

REQUESTS_PER_TURN = 10


class StepClock:
    """Each look at it is worth the same time, so that a turn is a number of requests."""

    def __init__(self, step_s):
        self.now = 0.0
        self.step_s = step_s

    def __call__(self):
        self.now += self.step_s
        return self.now


@pytest.fixture
async def edge():
    async with trio.open_nursery() as nursery:
        edge = Edge(nursery)
        edge.connections.perf_counter = StepClock(TURN_MS / 1000 / REQUESTS_PER_TURN)
        yield edge
        nursery.cancel_scope.cancel()


async def answer_after(edge, client, key):
    """How many requests the broker has handled when ``client`` has the answer to one more."""
    before = len(edge.broker.seen)
    client.send(key)
    await client.response()
    return len(edge.broker.seen) - before


async def test_a_pipelining_client_does_not_starve_the_others(edge):
    greedy, modest = edge.connect(), edge.connect()
    greedy.send(*[HEARTBEAT] * (50 * REQUESTS_PER_TURN))

    assert await answer_after(edge, modest, METADATA) <= 3 * REQUESTS_PER_TURN


async def test_one_of_many_pipelining_clients_has_a_turn_in_each_pass(edge):
    many = [edge.connect() for _ in range(50)]
    modest = edge.connect()
    for greedy in many:
        greedy.send(*[HEARTBEAT] * (50 * REQUESTS_PER_TURN))
    for _ in range(10):  # passes of the loop, in the first of which each of them has a turn
        await trio.lowlevel.checkpoint()

    for _ in range(5):
        assert await answer_after(edge, modest, METADATA) <= 4 * REQUESTS_PER_TURN


async def test_pipelining_clients_have_turns_in_order(edge):
    many = [edge.connect() for _ in range(5)]
    for greedy in many:
        greedy.send(*[HEARTBEAT] * (10 * REQUESTS_PER_TURN))
    answered = []

    async def count(number, client):
        for _ in range(10 * REQUESTS_PER_TURN):
            await client.response()
            answered.append(number)

    async with trio.open_nursery() as nursery:
        for number, client in enumerate(many):
            nursery.start_soon(count, number, client)

    half = answered[: len(answered) // 2]
    shares = [half.count(number) for number in range(len(many))]
    assert max(shares) - min(shares) <= 2 * REQUESTS_PER_TURN


async def test_a_client_that_used_up_a_turn_waits_behind_the_others_for_its_next_request(edge):
    many = [edge.connect() for _ in range(20)]
    modest = edge.connect()

    async def ask_one_after_the_other(client):
        while True:
            client.send(HEARTBEAT)
            await client.response()

    async def use_up_a_turn(_context, _request):
        edge.connections.perf_counter.now += TURN_MS / 1000
        return HeartbeatResponse()

    edge.broker.handlers[HEARTBEAT] = use_up_a_turn
    async with trio.open_nursery() as nursery:
        for client in many:
            nursery.start_soon(ask_one_after_the_other, client)
        for _ in range(10):
            await trio.lowlevel.checkpoint()
        for _ in range(5):
            assert await answer_after(edge, modest, METADATA) <= 8
        nursery.cancel_scope.cancel()


async def test_a_handler_that_yields_its_turn_lets_others_run_within_its_request(edge):
    async def long(context, _request):
        for _ in range(100 * REQUESTS_PER_TURN):
            await context.yield_turn()
        return MetadataResponse()

    edge.broker.handlers[METADATA] = long
    slow, modest = edge.connect(), edge.connect()
    slow.send(METADATA)
    answered = 0

    async def ask():
        nonlocal answered
        while True:
            modest.send(API_VERSIONS)
            await modest.response()
            answered += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        await slow.response()
        nursery.cancel_scope.cancel()

    assert answered >= 10


async def test_a_request_that_holds_the_loop_is_counted_and_logged_once(edge, capsys):
    async def hold(_context, _request):
        edge.connections.perf_counter.now += 2 * LOOP_HELD_WARNING_MS / 1000
        return HeartbeatResponse()

    edge.broker.handlers[HEARTBEAT] = hold
    client = edge.connect()
    for _ in range(3):
        client.send(HEARTBEAT)
        await client.response()
    await trio.testing.wait_all_tasks_blocked()

    assert edge.broker.watchdog.held == {"Heartbeat": 3}
    assert capsys.readouterr().err.count("event loop held") == 1


async def wait_for_an_event(context, event):
    await context.wait(event, 1000)


async def wait_for_an_event_below_the_connection(_context, event):
    """As for a commit: the flusher knows nothing of connections."""
    await event.wait()


async def wait_for_a_thread(context, _event):
    await context.connection.in_thread(lambda: None)


async def wait_for_the_next_turn(context, _event):
    await context.yield_turn()


WAITS = [wait_for_an_event, wait_for_an_event_below_the_connection, wait_for_a_thread, wait_for_the_next_turn]


@pytest.mark.parametrize("wait", WAITS)
async def test_the_time_of_a_wait_does_not_count_as_held(edge, wait):
    connections = edge.connections

    async def handle(context, _request):
        event = trio.Event()
        if wait is wait_for_the_next_turn:
            connections.perf_counter.now += TURN_MS / 1000
        edge.nursery.start_soon(pass_time, event)
        await wait(context, event)
        return HeartbeatResponse()

    async def pass_time(event):
        connections.perf_counter.now += LOOP_HELD_WARNING_MS / 1000
        event.set()

    edge.broker.handlers[HEARTBEAT] = handle
    client = edge.connect()
    client.send(HEARTBEAT)
    await client.response()
    await trio.testing.wait_all_tasks_blocked()

    assert edge.broker.watchdog.held == {}


class CountedTurns(TurnQueue):
    count = 0

    async def next_turn(self):
        self.count += 1
        await super().next_turn()


async def test_a_handler_does_not_yield_its_turn_because_of_the_time_that_it_waited(edge):
    turns = edge.connections.turns = CountedTurns()

    async def handle(context, _request):
        event = trio.Event()
        edge.nursery.start_soon(pass_time, event)
        await event.wait()
        await context.yield_turn()
        return HeartbeatResponse()

    async def pass_time(event):
        edge.connections.perf_counter.now += TURN_MS / 1000
        event.set()

    edge.broker.handlers[HEARTBEAT] = handle
    client = edge.connect()
    client.send(HEARTBEAT)
    await client.response()

    assert turns.count == 0


async def test_a_client_that_reads_slowly_does_not_count_as_held(edge):
    one_response = 16  # bytes
    client = edge.connect(MemoryTransport(window_bytes=one_response))
    client.send(HEARTBEAT, HEARTBEAT)
    await trio.testing.wait_all_tasks_blocked()
    edge.connections.perf_counter.now += LOOP_HELD_WARNING_MS / 1000
    for _ in range(2):
        await client.response()
    await trio.testing.wait_all_tasks_blocked()

    assert edge.broker.watchdog.held == {}


async def test_a_waiting_connection_that_is_cancelled_does_not_stop_the_queue():
    turns = TurnQueue()
    order = []

    async def take(name, scope):
        with scope:
            await turns.next_turn()
            order.append(name)

    scopes = [trio.CancelScope() for _ in range(4)]
    async with trio.open_nursery() as nursery:
        for name, scope in enumerate(scopes):
            nursery.start_soon(take, name, scope)
            await trio.lowlevel.checkpoint()
            if name == 2:
                scopes[1].cancel()
    assert set(order) >= {0, 3}
    assert not turns.busy
