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

import click

_STANDARD_INPUT: Final = 0
_READ_BYTES: Final = 4096


class EndOfInput:
    """With ``stop``, SIGTERM is sent to this process when its standard input ends; its content is ignored.

    With ``remove``, the directories ``data`` (with commas between) are removed then. Raises click.UsageError for one
    without the other.
    """

    def __init__(self, *, stop: bool, remove: bool, data: str | None) -> None:
        if remove and not (stop and data is not None):
            raise click.UsageError("--remove-data-at-eof needs --stop-at-eof and --data")
        self._temporary = data if remove else None
        self._has_come = False
        if stop:
            threading.Thread(target=self._wait, name="end of standard input", daemon=True).start()

    def clean_up(self) -> None:
        """Remove the directories if standard input has ended, once the broker has stopped."""
        if self._has_come and self._temporary is not None:
            import shutil

            for path in self._temporary.split(","):
                shutil.rmtree(path.strip(), ignore_errors=True)

    def _wait(self) -> None:
        _read_to_the_end()
        self._has_come = True
        if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            self.clean_up()  # the broker does not run yet, or no more: the signal ends the process at once
        os.kill(os.getpid(), signal.SIGTERM)


def _read_to_the_end() -> None:
    with contextlib.suppress(OSError):  # closed from the start: ended
        while os.read(_STANDARD_INPUT, _READ_BYTES):
            pass
