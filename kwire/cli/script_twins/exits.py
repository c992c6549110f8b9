"""How a script ends after an error.

Responsible for: the exception that carries what to print, where and the exit code. Must not depend on: who raises it.
"""

from __future__ import annotations

from typing import Literal


class Failure(Exception):
    """End the script: print ``message`` and exit with ``code``. Official scripts print some failures on stdout."""

    def __init__(self, message: str, *, code: int = 1, stream: Literal["out", "err"] = "err") -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.stream = stream
