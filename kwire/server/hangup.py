"""SIGHUP: stops a broker whose terminal has closed, and otherwise reloads certificates.

Responsible for: telling the two apart. Must not depend on: what a reload or a stop does.

A terminal that closes sends SIGHUP, and then there is no controlling terminal any more: that stops a broker, unless
nohup has it ignored. A SIGHUP of ``kill`` leaves the terminal as it is, or comes to a service that never had one: that
reloads, as other services do, if the broker has something to reload.
"""

from __future__ import annotations

import os
import signal
from typing import Literal, TypeAlias

Meaning: TypeAlias = Literal["stop", "reload", "ignore"]


class Hangups:
    """Reads the meaning of a SIGHUP; made at the start of a process, before it handles signals."""

    def __init__(self) -> None:
        self.ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        self._had_terminal = _has_terminal()

    def meaning(self, *, reloadable: bool) -> Meaning:
        """The meaning of a SIGHUP that has just arrived."""
        if reloadable and (self.ignored or not self._had_terminal or _has_terminal()):
            return "reload"
        return "ignore" if self.ignored else "stop"


def _has_terminal() -> bool:
    """Whether this process has a controlling terminal."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True
