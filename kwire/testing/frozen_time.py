"""Keeps the broker's time running while freezegun freezes that of the test's process.

Responsible for: freezegun's list of modules that keep the real time. Must not depend on: a broker, and on freezegun
being installed.
"""

from __future__ import annotations

import importlib
import importlib.util
from typing import Final

_KEEP_REAL_TIME: Final = ["kwire", "trio"]


def keep_real_time() -> None:
    """Make every later ``freeze_time`` leave kwire and trio alone. Does nothing where freezegun is not installed."""
    if importlib.util.find_spec("freezegun") is None:
        return
    configure = getattr(importlib.import_module("freezegun.config"), "configure", None)
    if configure is not None:
        configure(extend_ignore_list=_KEEP_REAL_TIME)
