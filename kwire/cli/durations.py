"""Durations with a unit, for settings in milliseconds: ``retention.ms=1d``.

Responsible for: the units. Must not depend on: settings.
"""

from __future__ import annotations

import re
from typing import Final

import click

_MILLISECONDS: Final = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_DURATION: Final = re.compile(r"(\d+)\s*(ms|s|m|h|d|w)")


def in_milliseconds(key: str, text: str) -> str:
    """Return ``text``, or the number of milliseconds in it if ``key`` is a setting in milliseconds: 1d is 86400000."""
    found = _DURATION.fullmatch(text.strip()) if key.endswith(".ms") else None
    return text if found is None else str(int(found[1]) * _MILLISECONDS[found[2]])


def duration(text: str) -> int:
    """Read a parameter such as 90s in milliseconds; a number alone is in milliseconds. Raises click.BadParameter."""
    found = _DURATION.fullmatch(text.strip())
    if found is not None:
        return int(found[1]) * _MILLISECONDS[found[2]]
    if text.isdigit():
        return int(text)
    raise click.BadParameter(f"{text!r} is no duration: write 500ms, 90s, 5m, 2h or 1d")
