"""Background tasks that run only while there is work for them.

Responsible for: starting such a task, and not starting it twice. Must not depend on: what a task does.

Most brokers never delete a segment or move a partition. A task that waits for that costs each start and stop.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeAlias

Task: TypeAlias = Callable[[], Awaitable[None]]


class OnDemand:
    """Runs ``work``, which does all that there is to do and then returns without another task switch."""

    def __init__(self, work: Task) -> None:
        self._work = work
        self._start: Callable[[Task], None] | None = None
        self._is_wanted = False
        self._is_running = False

    def begin(self, start: Callable[[Task], None]) -> None:
        """Start tasks from now on, also for what was wanted before; ``start`` runs one and repeats it if it raises."""
        self._start = start
        if self._is_wanted:
            self.wake()

    def wake(self) -> None:
        """There is something to do."""
        self._is_wanted = True
        if self._start is not None and not self._is_running:
            self._is_running = True
            self._start(self._run)

    async def _run(self) -> None:
        await self._work()
        self._is_running = self._is_wanted = False
