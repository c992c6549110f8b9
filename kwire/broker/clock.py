"""Time, random bytes and timers. No other module of kwire reads the clock or a random source.

Responsible for: the clock of one broker, its random source, and one queue of timers driven by one task. Must not depend
on: what a timer is for.

Every deadline of the broker (long polls, sessions, retention, transactions) is set on this clock, so a test that moves
the clock moves all of them, and a thousand idle connections cost no timer of their own.
"""

from __future__ import annotations

import heapq
import itertools
import os
import time
from collections.abc import Callable
from typing import TypeAlias

import trio

from kwire.broker.containment import must_stop_broker
from kwire.broker.logs import Logger
from kwire.types import Uuid, random_uuid

log = Logger("kwire.broker")

_DEAD_TIMERS_KEPT = 1000


class Timer:
    """One pending call. ``cancel`` is cheap: the entry stays in the heap and is skipped."""

    __slots__ = ("_clock", "callback", "deadline_ms")

    def __init__(self, clock: Clock, deadline_ms: float, callback: Callable[[], None]) -> None:
        self._clock = clock
        self.deadline_ms = deadline_ms
        self.callback: Callable[[], None] | None = callback

    @property
    def pending(self) -> bool:
        return self.callback is not None

    def cancel(self) -> None:
        """Do nothing at the deadline. Harmless when the timer has fired or was cancelled."""
        if self.callback is not None:
            self.callback = None
            self._clock.note_cancelled()


_Entry: TypeAlias = tuple[float, int, Timer]


class Clock:
    """The time of one broker in milliseconds, its random source and its timers.

    ``now_ms`` is wall time (since the epoch) and goes into records; timers run on monotonic time, so that a step of
    the wall clock neither fires nor delays them. Both follow ``advance``, by which tests move a live broker.
    """

    def __init__(self) -> None:
        self._heap: list[_Entry] = []
        self._order = itertools.count()
        self._dead = 0
        self._changed: trio.Event | None = None
        # Both kinds of time run at the rate and are shifted by what ``advance`` and changes of the rate have added.
        self._rate = 1.0
        self._wall_shift_ms = 0.0
        self._shift_ms = 0.0

    def now_ms(self) -> int:
        """Wall time, milliseconds since the epoch."""
        return int(time.time() * 1000 * self._rate + self._wall_shift_ms)

    def monotonic_ms(self) -> float:
        """Time that never steps back; zero is arbitrary."""
        return self._base_ms() * self._rate + self._shift_ms

    @property
    def rate(self) -> float:
        """How fast it runs: 1 is real time, 0 is stopped."""
        return self._rate

    def random_bytes(self, count: int) -> bytes:
        return os.urandom(count)

    def uuid(self) -> Uuid:
        """See ``types.random_uuid``."""
        return random_uuid(self.random_bytes)

    def call_later(self, delay_ms: float, callback: Callable[[], None]) -> Timer:
        """Call ``callback`` (plain and quick) once, ``delay_ms`` from now, unless cancelled.

        An exception of ``callback`` is logged, because other timers must still fire; where a failure needs more than a
        log line, ``callback`` handles it.
        """
        timer = Timer(self, self.monotonic_ms() + max(0.0, delay_ms), callback)
        heapq.heappush(self._heap, (timer.deadline_ms, next(self._order), timer))
        if self._changed is not None and self._heap[0][2] is timer:
            self._changed.set()
        return timer

    def call_at(self, deadline_ms: int, callback: Callable[[], None]) -> Timer:
        """The same for a wall-clock deadline in ``now_ms`` terms."""
        return self.call_later(deadline_ms - self.now_ms(), callback)

    async def sleep(self, delay_ms: float) -> None:
        """Wait on this clock; ``advance`` shortens it."""
        fired = trio.Event()
        timer = self.call_later(delay_ms, fired.set)
        try:
            await fired.wait()
        finally:
            timer.cancel()

    def advance(self, by_ms: float) -> None:
        """Move this clock forward, as a test does; timers that are now due fire in order of their deadlines."""
        self._shift_ms += by_ms
        self._wall_shift_ms += by_ms
        if self._changed is not None:
            self._changed.set()

    def set_rate(self, rate: float) -> None:
        """Run ``rate`` times as fast as real time from now on, without a step; 0 stops this clock."""
        now_ms, monotonic_ms = time.time() * 1000 * self._rate + self._wall_shift_ms, self.monotonic_ms()
        self._rate = rate
        self._wall_shift_ms = now_ms - time.time() * 1000 * rate
        self._shift_ms = monotonic_ms - self._base_ms() * rate
        if self._changed is not None:
            self._changed.set()

    def successor(self) -> Clock:
        """Make a clock without timers that has this one's time and rate."""
        clock = Clock()
        clock._rate, clock._wall_shift_ms, clock._shift_ms = self._rate, self._wall_shift_ms, self._shift_ms
        return clock

    async def run(self) -> None:
        """Fire timers until cancelled. One task per broker runs this."""
        while True:
            self._fire_due()
            self._changed = trio.Event()
            wait_s = float("inf")
            if self._heap and self._rate:
                wait_s = (self._heap[0][0] - self.monotonic_ms()) / 1000 / self._rate
            with trio.move_on_after(max(0.0, wait_s)):
                await self._changed.wait()

    @property
    def pending_count(self) -> int:
        """How many entries the queue holds, cancelled ones that were not swept yet included."""
        return len(self._heap)

    def note_cancelled(self) -> None:
        """Sweep the heap once the cancelled timers outnumber the live ones."""
        self._dead += 1
        if self._dead > _DEAD_TIMERS_KEPT and self._dead * 2 > len(self._heap):
            self._heap = [entry for entry in self._heap if entry[2].pending]
            heapq.heapify(self._heap)
            self._dead = 0

    def _fire_due(self) -> None:
        now = self.monotonic_ms()
        while self._heap and self._heap[0][0] <= now:
            timer = heapq.heappop(self._heap)[2]
            callback, timer.callback = timer.callback, None
            if callback is None:
                self._dead = max(0, self._dead - 1)
            else:
                _call(callback)

    def _base_ms(self) -> float:
        # trio's clock, where there is a run, so that pytest's jumping clock moves the broker too.
        try:
            return trio.current_time() * 1000
        except RuntimeError:
            return time.monotonic() * 1000


def _call(callback: Callable[[], None]) -> None:
    try:
        callback()
    except Exception as error:
        if must_stop_broker(error):
            raise
        log.failure("timer callback failed", error, callback=getattr(callback, "__qualname__", repr(callback)))
