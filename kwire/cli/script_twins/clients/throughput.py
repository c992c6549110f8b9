"""A limit of records per second, as the official performance scripts keep it.

Responsible for: when to pause, and for how long. Must not depend on: records.
"""

from __future__ import annotations

import time
from typing import Final, Protocol

_PAUSE_MIN_S: Final = 0.002


class Stop(Protocol):
    """Ends a pause early, such as a ``threading.Event``."""

    def wait(self, timeout: float | None = None) -> bool: ...


class Throttle:
    """Keeps the average of a run below ``per_second``; a negative number does not limit it, 0 waits for the stop."""

    def __init__(self, per_second: float) -> None:
        self._per_second = per_second
        self._started_s = time.monotonic()

    def wait(self, sent: int, stop: Stop) -> None:
        """Pause after the record with number ``sent`` until the next is due."""
        if self._per_second < 0:
            return
        if self._per_second == 0:
            stop.wait()
            return
        pause_s = self._started_s + (sent + 1) / self._per_second - time.monotonic()
        if pause_s >= _PAUSE_MIN_S:
            stop.wait(pause_s)
