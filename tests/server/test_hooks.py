"""Hooks around dispatch and where a reply leaves: order, filters by API, faults, and their end."""

import pytest
import trio
from edge import HEARTBEAT, METADATA, Edge

from kwire.broker.clients.hooks import Hooks
from kwire.broker.watchdog import Watchdog
from kwire.errors import Code, KafkaError
from kwire.limits import LOOP_HELD_MS
from kwire.wire.messages import HeartbeatResponse


@pytest.fixture
async def edge():
    async with trio.open_nursery() as nursery:
        yield Edge(nursery)
        nursery.cancel_scope.cancel()


async def ask(client, key):
    client.send(key)
    return await client.response()


async def test_dispatch_hooks_run_in_the_order_of_registration_around_the_handler(edge):
    events = []

    def hook(name):
        async def around(_context, _request, proceed):
            events.append(f"{name} before")
            response = await proceed()
            events.append(f"{name} after")
            return response

        return around

    edge.broker.hooks.around_dispatch(hook("a"))
    edge.broker.hooks.around_dispatch(hook("b"))
    await ask(edge.connect(), HEARTBEAT)

    assert events == ["a before", "b before", "b after", "a after"]


async def test_a_hook_is_an_observer_only_until_it_is_removed():
    async def around(_context, _request, proceed):
        return await proceed()

    hooks = Hooks()
    remove = hooks.around_dispatch(around, api_keys=[HEARTBEAT], observes=True)
    assert hooks.only_observed(HEARTBEAT)
    remove()
    hooks.around_dispatch(around, api_keys=[HEARTBEAT])
    assert not hooks.only_observed(HEARTBEAT)


async def test_a_dispatch_hook_may_answer_by_itself_or_refuse(edge):
    async def answer(_context, _request, _proceed):
        return HeartbeatResponse(error_code=Code.REBALANCE_IN_PROGRESS)

    async def refuse(_context, _request, _proceed):
        raise KafkaError(Code.NOT_COORDINATOR)

    client = edge.connect()
    remove = edge.broker.hooks.around_dispatch(answer, api_keys=[HEARTBEAT])
    first = (await ask(client, HEARTBEAT))[1].error_code
    remove()
    edge.broker.hooks.around_dispatch(refuse, api_keys=[HEARTBEAT])
    second = (await ask(client, HEARTBEAT))[1].error_code

    assert (first, second) == (Code.REBALANCE_IN_PROGRESS, Code.NOT_COORDINATOR)
    assert edge.broker.seen == []


async def test_a_hook_of_one_api_is_not_called_for_others(edge):
    called = []

    async def hook(context, _request, proceed):
        called.append(context.api_key)
        return await proceed()

    edge.broker.hooks.around_dispatch(hook, api_keys=[METADATA])
    client = edge.connect()
    for key in (HEARTBEAT, METADATA, HEARTBEAT):
        await ask(client, key)

    assert called == [METADATA]
    assert edge.broker.hooks.hooked(METADATA)
    assert not edge.broker.hooks.hooked(HEARTBEAT)


async def test_a_reply_hook_sees_the_request_and_the_bytes_and_may_drop_the_reply(edge):
    seen = []

    async def drop_the_first(outgoing, send):
        seen.append((outgoing.header.api_key, outgoing.client.host, sum(map(len, outgoing.parts))))
        if len(seen) > 1:
            await send()

    edge.broker.hooks.around_reply(drop_the_first)
    client = edge.connect()
    client.send(HEARTBEAT, METADATA)
    correlation_id, _ = await client.response()

    assert correlation_id == 2
    assert [each[:2] for each in seen] == [(HEARTBEAT, "127.0.0.1"), (METADATA, "127.0.0.1")]
    assert all(each[2] > 4 for each in seen)


async def test_a_reply_hook_may_wait_and_change_the_bytes_and_order_is_kept(edge):
    released = trio.Event()

    async def delay(outgoing, send):
        if outgoing.header.api_key == HEARTBEAT:
            await outgoing.waits.wait(released, 60_000)
            outgoing.parts = [b"\0\0\0\4", b"late"]
        await send()

    edge.broker.hooks.around_reply(delay)
    client = edge.connect()
    client.send(HEARTBEAT, METADATA)
    await trio.testing.wait_all_tasks_blocked()
    assert client.transport.take(100) == b""
    released.set()

    assert await client.transport.next_frame() == b"late"
    assert (await client.response())[0] == 2


async def test_a_reply_hook_that_waits_ends_with_the_connection(edge):
    async def wait_for_ever(outgoing, _send):
        await outgoing.waits.wait(trio.Event(), float("inf"))

    edge.broker.hooks.around_reply(wait_for_ever)
    client = edge.connect()
    client.send(HEARTBEAT)
    await trio.testing.wait_all_tasks_blocked()
    edge.connections.end_all("the broker stops")
    await trio.testing.wait_all_tasks_blocked()

    assert client.transport.closed


async def test_a_wait_that_begins_after_the_stop_ends_at_once(edge):
    async def stop_then_wait(context, _request):
        edge.connections.end_all("the broker stops")
        await context.wait(trio.Event(), float("inf"))
        return HeartbeatResponse()

    edge.broker.handlers[HEARTBEAT] = stop_then_wait
    client = edge.connect()
    client.send(HEARTBEAT)
    await trio.testing.wait_all_tasks_blocked()

    assert client.transport.closed


def test_removing_a_hook_leaves_the_others_and_nothing_behind():
    hooks = Hooks()

    async def hook(_context, _request, proceed):
        return await proceed()

    first = hooks.around_dispatch(hook, api_keys=[0])
    second = hooks.around_dispatch(hook, api_keys=[0, 1])
    first()
    assert (len(hooks.dispatch[0]), len(hooks.dispatch[1])) == (1, 1)
    second()

    assert not hooks.dispatch
    assert not hooks.hooked(0)


async def test_the_watchdog_names_a_background_task_that_holds_the_loop():
    now = 0.0
    watchdog = Watchdog(lambda: now)

    async def task(held_ms):
        nonlocal now
        for each in held_ms:
            now += each / 1000
            await trio.lowlevel.checkpoint()

    await watchdog.watch("cleaner", task, [1, 2 * LOOP_HELD_MS, 3 * LOOP_HELD_MS])

    assert watchdog.held == {"cleaner": 2}
    assert watchdog.longest_ms["cleaner"] == pytest.approx(3 * LOOP_HELD_MS)
