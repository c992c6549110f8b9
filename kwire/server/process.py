"""What a server sets in its process: the limit of descriptors, and what a second signal does.

Responsible for: both. Must not depend on: brokers, listeners.
"""

from __future__ import annotations

import resource
import signal
import time
from collections.abc import Callable
from types import FrameType


def stop_at_once_after(earliest_s: float) -> Callable[[int, FrameType | None], None]:
    """Return the handler of a second signal, which ends the process at once.

    A second signal right behind the first is the same request: ``timeout`` signals its child, and then the process
    group of that child.
    """

    def take(number: int, _frame: FrameType | None) -> None:
        if time.monotonic() >= earliest_s:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)

    return take


def raise_descriptor_limit() -> int:
    """Raise the soft limit to the hard one, and return how many descriptors this process may have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # macOS says "unlimited" and refuses it; its own limit for one process is at least this.
    for wanted in (hard, 10240):
        if wanted not in {resource.RLIM_INFINITY, soft} and wanted > soft:
            try:
                resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            except (ValueError, OSError):
                continue
            soft = wanted
            break
    return soft if soft != resource.RLIM_INFINITY else 10240
