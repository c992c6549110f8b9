"""Work that is done again and again, with a timer in between.

Responsible for: when the next run begins. Must not depend on: what the work is.

A task that only sleeps costs each start and stop of a broker as much as one that works. A timer costs next to nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import wraps

import trio

from kwire.broker.clock import Clock
from kwire.broker.containment import run_contained


def repeat(
    nursery: trio.Nursery,
    clock: Clock,
    interval_ms: Callable[[], float],
    work: Callable[[], Awaitable[None]],
    *,
    watch: Callable[..., Awaitable[None]],
    name: str,
) -> None:
    """Run ``work`` in ``nursery`` once ``interval_ms()`` has passed on ``clock``, then again, each run contained.

    An interval that is not positive ends it. ``watch`` is that of the watchdog, which reports runs by ``name``.
    """

    @wraps(work)  # its name is that of the task in log lines
    async def work_and_wait() -> None:
        await work()
        wait()

    def wait() -> None:
        delay_ms = interval_ms()
        if delay_ms > 0:
            clock.call_later(delay_ms, start)

    def start() -> None:
        nursery.start_soon(watch, name, run_contained, clock.sleep, work_and_wait)

    wait()
