"""Reports steps that hold the event loop for too long.

Responsible for: the count and the log line of each request or background task that kept all others waiting for more
than ``limits.LOOP_HELD_MS``. Must not depend on: requests, connections.

Connections report the time of their turns, which they measure anyway. A background task is started through ``watch``,
which measures each of its steps; requests pay nothing for that.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Generator
from types import coroutine
from typing import Any

from kwire.broker.logs import Logger
from kwire.limits import LOOP_HELD_LOG_EVERY_S, LOOP_HELD_MS, LOOP_HELD_WARNING_MS

log = Logger("kwire.loop")


class Watchdog:
    """One per broker. ``held`` counts by name of the API or task; ``longest_ms`` is the longest time of each."""

    def __init__(self, perf_counter: Callable[[], float] = time.perf_counter) -> None:
        self.held: Counter[str] = Counter()
        self.longest_ms: dict[str, float] = {}
        self._perf_counter = perf_counter
        self._logged_at: dict[str, float] = {}

    def report(self, name: str, elapsed_s: float) -> None:
        """Count and log that ``name`` has used the loop for ``elapsed_s`` without yielding."""
        elapsed_ms = elapsed_s * 1000
        if elapsed_ms < LOOP_HELD_MS:
            return
        self.held[name] += 1
        self.longest_ms[name] = max(elapsed_ms, self.longest_ms.get(name, 0.0))
        now = self._perf_counter()
        if now - self._logged_at.get(name, float("-inf")) >= LOOP_HELD_LOG_EVERY_S:
            self._logged_at[name] = now
            # The first request of an API compiles its schema, and a busy machine takes the processor away at any time.
            line = log.warning if elapsed_ms >= LOOP_HELD_WARNING_MS else log.info
            line("event loop held", by=name, ms=round(elapsed_ms), times=self.held[name])

    async def watch(self, name: str, task: Callable[..., Awaitable[None]], *args: Any, **kwargs: Any) -> None:
        """Run a background task and report each step that is too long. Takes ``task_status`` as ``nursery.start``."""
        await measured(
            task(*args, **kwargs), lambda elapsed_s: self.report(name, elapsed_s), perf_counter=self._perf_counter
        )


@coroutine
def measured(
    running: Awaitable[Any],
    on_step: Callable[[float], None],
    *,
    perf_counter: Callable[[], float] = time.perf_counter,
) -> Generator[Any, Any, Any]:
    """Run a coroutine; call ``on_step`` with the seconds of each of its steps, without the time in which it waits."""
    assert isinstance(running, Coroutine)
    send: Any = running.send
    value: Any = None
    while True:
        started = perf_counter()
        try:
            trap = send(value)
        except StopIteration as done:
            return done.value
        finally:
            on_step(perf_counter() - started)
        try:
            send, value = running.send, (yield trap)
        except BaseException as error:  # noqa: BLE001 - cancellation too belongs to the coroutine
            send, value = running.throw, error
