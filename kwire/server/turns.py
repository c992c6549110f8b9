"""Turns: how long one connection may use the event loop before others run.

Responsible for: the order in which connections that have used up a turn go on (``TurnQueue``). Must not depend on:
connections, requests.

A connection handles what it has read without yielding, which is fast and would let one client that pipelines expensive
requests stop all others. So its turn is bounded in time (``limits.TURN_MS``). One that has used up its turn waits in a
queue, and **one connection of the queue goes on in each pass of the event loop**, while every connection outside the
queue runs in each pass. A client that asks for little therefore waits for about one turn, however many others flood
the broker.
"""

from __future__ import annotations

from collections import deque

import trio


class TurnQueue:
    """One per broker."""

    __slots__ = ("_next_chosen", "_waiting")

    def __init__(self) -> None:
        self._waiting: deque[trio.lowlevel.Task] = deque()
        self._next_chosen = False  # whether a connection of the queue is going to run in the next pass

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
