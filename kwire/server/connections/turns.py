"""Turns: how long one connection may use the event loop before others run.

Responsible for: how long the turn of a connection has lasted (``Turn``), and the order in which connections that have
used up a turn go on (``TurnQueue``). Must not depend on: connections, requests.

A connection handles what it has read without yielding, which is fast and would let one client that pipelines expensive
requests stop all others. So its turn is bounded in time (``limits.TURN_MS``). One that has used up its turn waits in a
queue, and **one connection of the queue continues in each pass of the event loop**, while every connection outside the
queue runs in each pass. A client with few requests therefore waits for about one turn, however many others flood the
broker.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Coroutine, Generator
from types import coroutine
from typing import Any, Final

import trio

from kwire.broker.watchdog import Watchdog
from kwire.limits import LOOP_HELD_MS
from kwire.wire.codec import api_name

_HELD_S: Final = LOOP_HELD_MS / 1000


class Turn:
    """The turns of one connection: a turn lasts from where its task runs again to where it yields.

    So a turn never includes a wait, whatever the task waited for. ``api_key`` is that of the latest request.
    """

    __slots__ = ("_perf_counter", "_watchdog", "api_key", "began")

    def __init__(self, perf_counter: Callable[[], float], watchdog: Watchdog) -> None:
        self.began = 0.0
        self.api_key: int | None = None
        self._perf_counter = perf_counter
        self._watchdog = watchdog

    def elapsed_s(self) -> float:
        """How long this turn has lasted."""
        return self._perf_counter() - self.began

    @coroutine
    def run(self, serving: Coroutine[Any, Any, None]) -> Generator[Any, Any, None]:
        """Run a connection's coroutine to its end. Turns of ``limits.LOOP_HELD_MS`` or more are reported."""
        send: Any = serving.send
        serving_send = send
        value: Any = None
        perf_counter, held_s = self._perf_counter, _HELD_S
        while True:
            began = self.began = perf_counter()
            try:
                trap = send(value)
            except StopIteration:
                return
            finally:
                if perf_counter() - began >= held_s:
                    self._report(perf_counter() - began)
            try:
                send, value = serving_send, (yield trap)
            except BaseException as error:  # noqa: BLE001 - cancellation too belongs to the connection
                send, value = serving.throw, error

    def _report(self, elapsed_s: float) -> None:
        self._watchdog.report("connection" if self.api_key is None else api_name(self.api_key), elapsed_s)


class TurnQueue:
    """One per broker."""

    __slots__ = ("_next_chosen", "_waiting")

    def __init__(self) -> None:
        self._waiting: deque[trio.lowlevel.Task] = deque()
        self._next_chosen = False  # whether a connection of the queue runs in the next pass

    @property
    def busy(self) -> bool:
        """Whether any connection waits for its next turn."""
        return self._next_chosen

    async def next_turn(self) -> None:
        """Wait until every connection that came to the queue before has had a turn, at least one pass of the loop."""
        if not self._next_chosen:
            self._next_chosen = True
            try:
                await trio.lowlevel.checkpoint()
            finally:
                self._choose_next()
            return
        task = trio.lowlevel.current_task()
        self._waiting.append(task)

        def abort(_raise_cancel: object) -> trio.lowlevel.Abort:
            self._waiting.remove(task)
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)
        self._choose_next()

    def _choose_next(self) -> None:
        """Called by a connection as its turn begins: the next one has its turn in the pass after this."""
        if self._waiting:
            trio.lowlevel.reschedule(self._waiting.popleft())
        else:
            self._next_chosen = False
