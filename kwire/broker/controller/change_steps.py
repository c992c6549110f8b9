"""Changes of many partitions by the controller, committed some at a time with other tasks in between.

Responsible for: the order of such changes, that one of them does not go on when its reason is gone, and that it begins
again when the metadata log could not be written. Must not depend on: what is changed
(``kwire.metadata.cluster.leadership``), heartbeats.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import NamedTuple

import trio

from kwire.errors import StorageFailure
from kwire.metadata.image import Record

Steps = Iterator[Sequence[Record]]


class _Change(NamedTuple):
    make: Callable[[], Steps]
    goes_on: Callable[[], bool]
    done: Callable[[], None]


def _always() -> bool:
    return True


def _nothing() -> None:
    pass


class ChangeSteps:
    """The changes of one controller that are going on.

    ``commit`` takes the records of one step. It may raise StorageFailure, which it has reported.
    """

    def __init__(self, commit: Callable[[Sequence[Record]], object]) -> None:
        self._commit = commit
        self._waiting: deque[_Change] = deque()
        self._added = trio.Event()

    def begin(
        self, make: Callable[[], Steps], *, goes_on: Callable[[], bool] = _always, done: Callable[[], None] = _nothing
    ) -> None:
        """Commit the first step at once; ``run`` commits the others, and calls ``done`` after the last one.

        The change ends without ``done`` when ``goes_on()`` is false before a step. ``make`` gives the steps that are
        left.
        """
        with suppress(StorageFailure):  # then it is left
            self._commit(next(make(), ()))
        self._waiting.append(_Change(make, goes_on, done))
        self._added.set()

    async def finish(self, steps: Steps, *, goes_on: Callable[[], bool] = _always) -> int:
        """Commit all steps, and return the number of records. Raises StorageFailure."""
        count = 0
        while goes_on() and (records := next(steps, None)) is not None:
            self._commit(records)
            count += len(records)
            await trio.lowlevel.checkpoint()
        return count

    async def run(self) -> None:
        """Finish the changes that were begun, one after the other, until cancelled.

        Raises StorageFailure; the change goes on when this is called again.
        """
        while True:
            while self._waiting:
                change = self._waiting.popleft()
                try:
                    await self.finish(change.make(), goes_on=change.goes_on)
                except StorageFailure:
                    self._waiting.appendleft(change)
                    raise
                if change.goes_on():
                    change.done()
            await self._added.wait()
            self._added = trio.Event()
