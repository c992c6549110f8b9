"""Waiting for what happens in other processes.

Responsible for: polls with a deadline. Must not depend on: brokers, clients.
"""

import contextlib
import time
from collections.abc import Callable


def wait_until(
    holds: Callable[[], object],
    problem: Callable[[], object],
    *,
    timeout_s: float = 60,
    pause_s: float = 0.1,
    not_yet: tuple[type[Exception], ...] = (),
) -> None:
    """Return once ``holds()`` is true; it may raise the exceptions ``not_yet`` before that.

    AssertionError with what ``problem()`` gives after ``timeout_s``.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        with contextlib.suppress(*not_yet):
            if holds():
                return
        assert time.monotonic() < deadline, f"after {timeout_s:g} s: {problem()}"
        time.sleep(pause_s)  # a poll, bounded by the deadline
