"""Stopping when standard input ends: a broker that was started by a program ends with it.

Responsible for: detecting the end, also when the program was killed. Must not depend on: how a broker stops.

The program holds the other end of a pipe. The operating system closes it when the program ends, however that happens,
on Linux and macOS alike; PR_SET_PDEATHSIG exists on Linux alone, and fires when the thread ends that started a process.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from typing import Final

_STANDARD_INPUT: Final = 0
_READ_BYTES: Final = 4096


def stop_at_end_of_input() -> None:
    """Send SIGTERM to this process when its standard input ends; its content is ignored."""
    threading.Thread(target=_wait, name="end of standard input", daemon=True).start()


def _wait() -> None:
    with contextlib.suppress(OSError):  # closed from the start: ended
        while os.read(_STANDARD_INPUT, _READ_BYTES):
            pass
    os.kill(os.getpid(), signal.SIGTERM)
