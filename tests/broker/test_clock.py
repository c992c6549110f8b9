import trio
import trio.testing

from kwire.broker.clock import Clock


async def test_timers_fire_in_the_order_of_their_deadlines(autojump_clock, nursery):
    clock, fired = Clock(), []
    nursery.start_soon(clock.run)
    clock.call_later(30, lambda: fired.append("late"))
    clock.call_later(10, lambda: fired.append("early"))
    await trio.sleep(0.05)
    assert fired == ["early", "late"]


async def test_a_cancelled_timer_does_not_fire(autojump_clock, nursery):
    clock, fired = Clock(), []
    nursery.start_soon(clock.run)
    clock.call_later(10, lambda: fired.append("no")).cancel()
    await trio.sleep(0.05)
    assert fired == []


async def test_a_timer_set_while_the_queue_sleeps_is_not_late(autojump_clock, nursery):
    clock, fired = Clock(), []
    nursery.start_soon(clock.run)
    clock.call_later(60_000, lambda: fired.append("far"))
    await trio.sleep(0.01)
    clock.call_later(10, lambda: fired.append("near"))
    await trio.sleep(0.02)
    assert fired == ["near"]


async def test_moving_the_clock_fires_what_is_due_at_once(nursery):
    clock, fired = Clock(), trio.Event()
    nursery.start_soon(clock.run)
    before = clock.now_ms()
    clock.call_later(3_600_000, fired.set)
    await trio.testing.wait_all_tasks_blocked()
    clock.advance(3_600_000)
    await fired.wait()
    assert clock.now_ms() - before >= 3_600_000


async def test_many_cancelled_timers_are_removed(autojump_clock):
    clock = Clock()
    kept = clock.call_later(1000, lambda: None)
    for _ in range(5000):
        clock.call_later(500, lambda: None).cancel()
    assert kept.pending
    assert clock.pending_count < 2500


async def test_a_clock_runs_at_a_rate_and_stops_without_a_step(autojump_clock, nursery):
    clock, fired = Clock(), []
    nursery.start_soon(clock.run)
    clock.set_rate(10)
    before = clock.monotonic_ms()
    clock.call_later(100_000, lambda: fired.append("ten times as early"))
    await trio.sleep(9)
    assert not fired
    await trio.sleep(1.1)
    assert fired
    assert round(clock.monotonic_ms() - before) == 101_000
    clock.set_rate(0)
    stopped = clock.monotonic_ms(), clock.now_ms()
    clock.call_later(1000, lambda: fired.append("moved"))
    await trio.sleep(1000)
    assert (clock.monotonic_ms(), clock.now_ms()) == stopped
    assert len(fired) == 1
    clock.advance(1000)
    await trio.testing.wait_all_tasks_blocked()
    assert len(fired) == 2
    clock.set_rate(1)
    await trio.sleep(5)
    assert round(clock.monotonic_ms() - stopped[0]) == 6000
