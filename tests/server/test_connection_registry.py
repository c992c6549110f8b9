from __future__ import annotations

import pytest
import trio
import trio.testing

from kwire.broker.clients.client import Client
from kwire.broker.clock import Clock
from kwire.broker.endpoint import Endpoint
from kwire.server.bindings import Limits
from kwire.server.connections.registry import ConnectionRegistry, RateLimiter


class RegisteredConnection:
    def __init__(self, host: str = "127.0.0.1", listener: str = "PLAINTEXT") -> None:
        self.client = Client(host, 1, Endpoint(listener, "PLAINTEXT", "localhost", 9092), authenticated_at_ms=0)
        self.dropped = None
        self.idle_turns = 0
        self.waiting = False

    def drop(self, why: str) -> None:
        self.dropped = why


def connections(**limits) -> ConnectionRegistry:
    return ConnectionRegistry({}, Clock(), lambda: Limits(**limits))


def test_the_connections_of_an_address_are_limited():
    ours = connections(connections_per_ip_max=2, connections_per_ip_overrides={"10.0.0.1": 3})
    registered = [
        RegisteredConnection(),
        RegisteredConnection(),
        RegisteredConnection("10.0.0.1"),
        RegisteredConnection("10.0.0.1"),
    ]
    for connection in registered:
        ours.enter(connection)

    assert "already has 2 connections" in ours.refusal("127.0.0.1")
    assert ours.refusal("10.0.0.1") is None
    assert ours.refusal("10.0.0.2") is None
    ours.leave(registered[0])
    assert ours.refusal("127.0.0.1") is None


def test_connections_that_are_silent_longest_are_closed_when_unfinished_requests_hold_too_much(capsys):
    ours = connections(unfinished_bytes_max=1000, request_bytes_max=1000)
    first, second, third = (RegisteredConnection() for _ in range(3))
    for connection in (first, second, third):
        ours.enter(connection)
    ours.unfinished.note(first, 400)
    ours.unfinished.note(second, 300)
    ours.unfinished.note(first, 500)
    ours.unfinished.note(third, 200)
    assert [each.dropped for each in (first, second, third)] == [None, None, None]
    ours.unfinished.note(third, 201)

    assert second.dropped
    assert [first.dropped, third.dropped] == [None, None]
    assert ours.unfinished.held_bytes == 701
    printed = capsys.readouterr().err
    assert "kwire.unfinished.request.bytes" in printed
    assert "held_bytes=300" in printed


def test_complete_requests_and_ended_connections_hold_nothing():
    ours = connections(unfinished_bytes_max=1000, request_bytes_max=1000)
    first, second = RegisteredConnection(), RegisteredConnection()
    ours.enter(first)
    ours.enter(second)
    ours.unfinished.note(first, 600)
    ours.unfinished.note(first, 0)
    ours.unfinished.note(second, 600)
    ours.leave(second)
    assert (ours.unfinished.held_bytes, len(ours.unfinished)) == (0, 0)


def test_one_request_of_the_largest_size_is_within_any_limit_on_unfinished_ones():
    ours = connections(unfinished_bytes_max=0, request_bytes_max=1000)
    connection = RegisteredConnection()
    ours.enter(connection)
    ours.unfinished.note(connection, 1000)
    assert connection.dropped is None


def test_without_a_limit_unfinished_requests_may_hold_anything():
    ours = connections(unfinished_bytes_max=-1)
    connection = RegisteredConnection()
    ours.enter(connection)
    ours.unfinished.note(connection, 2**40)
    assert connection.dropped is None


def test_max_connections_counts_all_listeners_and_each_may_have_its_own():
    ours = connections(connections_max=3, listener_connections_max={"OUT": 1})
    ours.enter(RegisteredConnection(listener="OUT"))

    assert ours.full("OUT")
    assert not ours.full("IN")
    ours.enter(RegisteredConnection(listener="IN"))
    ours.enter(RegisteredConnection(listener="IN"))
    assert ours.full("IN")


async def test_room_comes_when_one_leaves(nursery):
    ours = connections(connections_max=1)
    connection = RegisteredConnection()
    ours.enter(connection)
    entered = []

    async def wait(name):
        await ours.room(name)
        entered.append(name)

    nursery.start_soon(wait, "A")
    nursery.start_soon(wait, "B")
    await trio.testing.wait_all_tasks_blocked()
    assert entered == []
    ours.leave(connection)
    await trio.testing.wait_all_tasks_blocked()

    assert sorted(entered) == ["A", "B"]


async def test_room_comes_when_the_limit_is_raised(autojump_clock):
    limits = Limits(connections_max=0)
    ours = ConnectionRegistry({}, Clock(), lambda: limits)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ours.room, "PLAINTEXT")
        await trio.testing.wait_all_tasks_blocked()
        limits = Limits(connections_max=1)

    assert not ours.full("PLAINTEXT")


async def test_connections_beyond_the_creation_rate_wait_their_turn(autojump_clock, nursery):
    clock = Clock()
    nursery.start_soon(clock.run)
    pace = RateLimiter(clock)
    start = trio.current_time()
    for _ in range(30):
        await pace.acquire(lambda: 10)

    # Ten at once, then ten a second.
    assert trio.current_time() - start == pytest.approx(2.0, abs=0.01)


async def test_a_creation_rate_of_0_accepts_no_connection_until_it_is_raised(autojump_clock, nursery):
    clock = Clock()
    nursery.start_soon(clock.run)
    pace = RateLimiter(clock)
    start = trio.current_time()

    await pace.acquire(lambda: 0 if trio.current_time() < start + 10 else 100)

    assert 10 <= trio.current_time() - start <= 12


async def test_a_burst_after_a_quiet_time_is_one_seconds_worth(autojump_clock, nursery):
    clock = Clock()
    nursery.start_soon(clock.run)
    pace = RateLimiter(clock)
    await pace.acquire(lambda: 10)
    await trio.sleep(1000)
    start = trio.current_time()
    for _ in range(20):
        await pace.acquire(lambda: 10)

    assert trio.current_time() - start == pytest.approx(1.0, abs=0.01)
