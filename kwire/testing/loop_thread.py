"""An event loop in a thread of the test's process, and calls into it from other threads.

Responsible for: start, stop and failures of the thread. Must not depend on: what runs in it.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import TypeVar

import trio

from kwire.testing.start_errors import start_error

T = TypeVar("T")

_STOP_S = 120.0


class LoopThread:
    """Runs ``serve()`` from ``start`` to ``stop``; ``name`` is that of the thread and in errors, such as "broker".

    What ``serve`` sets up before its yield is ready when ``start`` returns.
    """

    def __init__(self, name: str, serve: Callable[[], AbstractAsyncContextManager[None]]) -> None:
        self._name = name
        self._serve = serve
        self._thread: threading.Thread | None = None
        self._token: trio.lowlevel.TrioToken | None = None
        self._stop: trio.Event | None = None
        self._failure: BaseException | None = None

    @property
    def is_running(self) -> bool:
        return self._token is not None

    def start(self) -> None:
        """Return once ``serve`` is ready. Raises BrokerStartError, and RuntimeError if it runs already."""
        if self._thread is not None:
            raise RuntimeError(f"this {self._name} runs already")
        ready = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(ready,), name=f"kwire-{self._name}", daemon=True)
        self._thread.start()
        ready.wait()
        failure = self._take_failure()
        if failure is not None:
            self._thread.join()
            self._thread = None
            raise start_error(failure)

    def stop(self) -> None:
        """Stop cleanly; does nothing when it does not run. Raises the exception that ended it, if any."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        assert self._token is not None
        assert self._stop is not None
        with contextlib.suppress(trio.RunFinishedError):  # it has ended: its failure is raised below
            self._token.run_sync_soon(self._stop.set)
        thread.join(_STOP_S)
        self._token = None
        if thread.is_alive():
            raise RuntimeError(f"the {self._name} did not stop within {_STOP_S:g} s")
        failure = self._take_failure()
        if failure is not None:
            raise failure

    def call(self, function: Callable[[], Awaitable[T]]) -> T:
        """Await ``function()`` in the loop. Raises RuntimeError when it does not run."""
        return trio.from_thread.run(function, trio_token=self._running())

    def call_sync(self, function: Callable[[], T]) -> T:
        """Call ``function()`` in the loop. Raises RuntimeError when it does not run."""
        return trio.from_thread.run_sync(function, trio_token=self._running())

    def _running(self) -> trio.lowlevel.TrioToken:
        if self._token is None:
            raise RuntimeError(f"this {self._name} does not run: call start() first, or use it in a with block")
        return self._token

    def _take_failure(self) -> BaseException | None:
        failure, self._failure = self._failure, None
        return failure

    def _run(self, ready: threading.Event) -> None:
        try:
            trio.run(self._until_stopped, ready)
        except BaseException as error:  # noqa: BLE001 (raised in the thread that starts or stops it)
            self._failure = error
        finally:
            ready.set()

    async def _until_stopped(self, ready: threading.Event) -> None:
        async with self._serve():
            self._token = trio.lowlevel.current_trio_token()
            self._stop = trio.Event()
            ready.set()
            await self._stop.wait()
