"""Tasks that wait until an offset of a partition has moved far enough.

Responsible for: the waiting tasks with their offsets, and the time limit of a wait. Must not depend on: which offset it
is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import trio

from kwire.broker.clock import Clock
from kwire.errors import Code, KafkaError

_EVERYONE: Final = 2**63 - 1


class OffsetWaits:
    """The tasks that wait for one kind of offset of one partition."""

    __slots__ = ("_waits",)

    def __init__(self) -> None:
        self._waits: list[tuple[int, trio.Event]] = []

    def __bool__(self) -> bool:
        return bool(self._waits)

    def wake(self, up_to: int = _EVERYONE) -> None:
        """Wake the tasks that wait for an offset up to ``up_to``; each checks its condition again."""
        waits, self._waits = self._waits, []
        for wait in waits:
            if wait[0] <= up_to:
                wait[1].set()
            else:
                self._waits.append(wait)

    async def until(
        self, is_reached: Callable[[], bool], offset: int, *, clock: Clock, timeout_ms: float | None
    ) -> None:
        """Return once ``is_reached()``, which is called at each wake-up for ``offset`` and may raise to end the wait.

        Raises KafkaError(REQUEST_TIMED_OUT).
        """
        if is_reached():
            return
        timer = None if timeout_ms is None else clock.call_later(timeout_ms, self.wake)
        wait: tuple[int, trio.Event] | None = None
        try:
            while not is_reached():
                if timer is not None and not timer.pending:
                    raise KafkaError(Code.REQUEST_TIMED_OUT)
                wait = (offset, trio.Event())
                self._waits.append(wait)
                await wait[1].wait()
        finally:
            if timer is not None:
                timer.cancel()
            if wait is not None and wait in self._waits:
                self._waits.remove(wait)  # cancelled
