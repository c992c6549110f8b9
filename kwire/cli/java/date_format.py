"""Times in the patterns of Java's ``SimpleDateFormat``.

Responsible for: the letters of a pattern. Must not depend on: any script.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Final

from kwire.cli.java.exits import Failure

_TOKEN: Final = re.compile(r"'((?:[^']|'')*)'|([A-Za-z])\2*|[^A-Za-z']+")

# letter -> how strftime writes it, for numbers; the width of the run pads it with zeros
_NUMBERS: Final = {"d": "%d", "H": "%H", "m": "%M", "s": "%S", "h": "%I", "D": "%j", "M": "%m", "u": "%u"}


def formatted(pattern: str, time_ms: int) -> str:
    """Write a time, in ms since the epoch, in the local zone. Raises Failure for a letter that Java does not know."""
    moment = datetime.fromtimestamp(time_ms / 1000).astimezone()
    parts = []
    for found in _TOKEN.finditer(pattern):
        letter = found[2]
        if letter is None:
            parts.append(found[0] if found[1] is None else found[1].replace("''", "'") or "'")
        else:
            parts.append(_part(letter, len(found[0]), moment, time_ms))
    return "".join(parts)


def _part(letter: str, width: int, moment: datetime, time_ms: int) -> str:
    if letter == "y":
        return moment.strftime("%y") if width == 2 else f"{moment.year:0{width}d}"
    if letter == "S":
        return f"{time_ms % 1000:0{width}d}"
    if letter == "M" and width >= 3:
        return moment.strftime("%b" if width == 3 else "%B")
    if letter in _NUMBERS:
        return f"{int(moment.strftime(_NUMBERS[letter])):0{width}d}"
    words = {"E": "%a" if width < 4 else "%A", "a": "%p", "Z": "%z", "z": "%Z", "X": "%z"}
    if letter in words:
        return moment.strftime(words[letter])
    raise Failure(f"Illegal pattern character '{letter}'")
