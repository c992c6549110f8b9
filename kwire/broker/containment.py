"""Containment of failures: what ends when a timer, a background task or a coordinator raises.

Responsible for: which exceptions must stop the broker, running background tasks so that any other exception is logged
and the task started again, and running some only while they have work. Must not depend on: what a task does, the clock.

An exception that no caller expects is a bug in kwire. Only one kind of it stops the process: an AssertionError raised
in ``kwire.storage``, since further writes to a broken log could damage stored records. docs/decisions/containment.md
has the reasons.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Final, TypeAlias, TypeVar, TypeVarTuple

import trio

from kwire.broker.logs import Logger
from kwire.errors import StorageFailure

log = Logger("kwire.broker")

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

Task: TypeAlias = Callable[[], Awaitable[None]]

# A task that fails at once each time it is started must not fill the log or hold the event loop.
RESTART_MS: Final = 1000


def must_stop_broker(error: BaseException) -> bool:
    """Whether the broker must stop after ``error``: an invariant of a log is broken."""
    if isinstance(error, BaseExceptionGroup):
        return any(must_stop_broker(each) for each in error.exceptions)
    if not isinstance(error, AssertionError):
        return False
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    module = "" if traceback is None else str(traceback.tb_frame.f_globals.get("__name__"))
    return module.startswith("kwire.storage.")


def notify(subscribers: Iterable[Callable[[T], None]], change: T) -> None:
    """Call each subscriber with a change. When one raises, log that and call the others.

    The change has taken effect already, so it is not refused for that. Raises what ``must_stop_broker`` says must stop
    the broker, once all were called.
    """
    fatal: Exception | None = None
    for subscriber in subscribers:
        try:
            subscriber(change)
        except Exception as error:  # noqa: BLE001 (a bug, whatever it is)
            if must_stop_broker(error):
                fatal = fatal or error
            else:
                name = getattr(subscriber, "__qualname__", repr(subscriber))
                log.failure("subscriber failed on a change", error, subscriber=name)
    if fatal is not None:
        raise fatal


def start_contained(
    nursery: trio.Nursery,
    sleep: Callable[[float], Awaitable[None]],
    task: Callable[[*Ts], Awaitable[None]],
    *args: *Ts,
) -> None:
    """Start ``run_contained`` in the background."""
    nursery.start_soon(run_contained, sleep, task, *args)


async def run_contained(
    sleep: Callable[[float], Awaitable[None]], task: Callable[[*Ts], Awaitable[None]], *args: *Ts
) -> None:
    """Run ``task`` until it returns. When it raises, log that and start it again after ``RESTART_MS``.

    ``sleep`` takes milliseconds. Raises what ``must_stop_broker`` says must stop the broker.
    """
    while True:
        try:
            await task(*args)
        except Exception as error:
            if must_stop_broker(error):
                raise
            name = getattr(task, "__qualname__", repr(task))
            if isinstance(error, StorageFailure):
                log.warning("background task met a failing disk, restarting it", task=name, why=str(error))
            else:
                log.failure("background task failed, restarting it", error, task=name)
        else:
            return
        await sleep(RESTART_MS)


class OnDemand:
    """A background task that runs only while there is work for it: a task that waits costs each start and stop.

    ``work`` does all that there is to do, and then returns without another task switch.
    """

    def __init__(self, work: Task) -> None:
        self._work = work
        self._start: Callable[[Task], None] | None = None
        self._nursery: trio.Nursery | None = None
        self._is_wanted = False
        self._is_running = False

    def begin(self, nursery: trio.Nursery, start: Callable[[Task], None]) -> None:
        """Start tasks from now on until ``nursery`` is cancelled, also for what was wanted before.

        ``start`` runs a task in ``nursery`` and repeats it if it raises.
        """
        self._nursery, self._start = nursery, start
        if self._is_wanted:
            self.wake()

    def wake(self) -> None:
        """There is something to do. While the broker stops, its last changes start no task."""
        self._is_wanted = True
        if self._start is None or self._nursery is None or self._nursery.cancel_scope.cancel_called:
            return
        if not self._is_running:
            self._is_running = True
            self._start(self._run)

    async def _run(self) -> None:
        await self._work()
        self._is_running = self._is_wanted = False
