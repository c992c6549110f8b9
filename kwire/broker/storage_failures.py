"""Reports files that the operating system refuses to read or write.

Responsible for: one log line per file and interval. Must not depend on: the effect of a failure on a request or a log.
"""

from __future__ import annotations

from collections.abc import Callable

from kwire.broker.clock import Clock
from kwire.broker.logs import Logger
from kwire.errors import StorageFailure
from kwire.limits import STORAGE_FAILURE_LOGGED_MS

log = Logger("kwire.broker")


class StorageFailures:
    """Logs storage failures, at most one line per file in STORAGE_FAILURE_LOGGED_MS."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        # Each is called with every failure that is reported.
        self.subscribers: list[Callable[[StorageFailure], None]] = []
        self._reported_ms: dict[str, float] = {}  # path -> when it was last reported, on the monotonic clock

    def report(self, failure: StorageFailure) -> None:
        """Log a failure. The caller answers its request; the log that failed tries again at its next append."""
        now_ms = self._clock.monotonic_ms()
        if now_ms - self._reported_ms.get(failure.path, float("-inf")) >= STORAGE_FAILURE_LOGGED_MS:
            self._reported_ms[failure.path] = now_ms
            log.error("log directory I/O error", path=failure.path, error=str(failure))
        for subscriber in self.subscribers:
            subscriber(failure)
