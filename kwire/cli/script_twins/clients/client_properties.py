"""Settings of a console client: from a file, from name=value on the line.

Responsible for: which of them has precedence. Must not depend on: which settings exist.
"""

from __future__ import annotations

from collections.abc import Iterable

from kwire.cli.java.options import Parsed
from kwire.cli.script_twins.common import read_config


def key_values(words: Iterable[str]) -> dict[str, str]:
    """Read name=value; a name alone has an empty value."""
    return {name: value for name, _, value in (word.partition("=") for word in words)}


def merged(parsed: Parsed, files: Iterable[str], properties: Iterable[str]) -> dict[str, str]:
    """Merge the settings of files with those of the command line, which override them."""
    settings: dict[str, str] = {}
    for option in files:
        path = parsed.value(option)
        if path is not None:
            settings |= read_config(path)
    for option in properties:
        settings |= key_values(parsed.values(option))
    return settings
