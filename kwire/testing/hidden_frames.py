"""Shortens the traceback of a refusal: it ends at the line of the test that called kwire.

Responsible for: one exception with its causes. Must not depend on: pytest.

A call of ``KafkaBroker`` runs in another thread, so that the traceback of an invalid argument has frames of trio and
outcome, which are of no use to a test. Exceptions of other types keep all frames, because they can be faults of kwire.
"""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import Final

_PACKAGES: Final = ("kwire", "trio", "outcome")


def hide_frames(error: BaseException) -> None:
    """Remove the frames of kwire, trio and outcome below the last other one, if the exception is one of kwire's."""
    if type(error).__module__.partition(".")[0] != "kwire":
        return
    folders = _folders()
    last, at = None, error.__traceback__
    while at is not None:
        if not at.tb_frame.f_code.co_filename.startswith(folders):
            last = at
        at = at.tb_next
    if last is not None:
        last.tb_next = None


def _folders() -> tuple[str, ...]:
    found = (importlib.util.find_spec(package) for package in _PACKAGES)
    return tuple(f"{Path(each.origin).parent}{os.sep}" for each in found if each is not None and each.origin)
