"""The exception that ends a script.

Responsible for: message, stream and exit code of a failure. Must not depend on: single scripts.
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
