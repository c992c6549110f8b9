"""Topic filters: the regular expressions of --topic and --include.

Responsible for: the list form (`a,b` is `a|b`), the whole-name match, and the refusal of invalid expressions. Must not
depend on: the source of topics. Python compiles the expression; the common forms mean the same in Java.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from kwire.cli.java.options import Wrong


def compile_filter(expression: str) -> re.Pattern[str]:
    """Compile the value of --topic or --include. Raises Wrong."""
    text = expression.strip().replace(",", "|").replace(" ", "").strip("\"'")
    try:
        return re.compile(text)
    except re.error as error:
        raise Wrong(f"{text} is an invalid regex.") from error


def matches(expression: str, names: Iterable[str]) -> list[str]:
    """Return the names that match as a whole, in their order. Raises Wrong."""
    pattern = compile_filter(expression)
    return [name for name in names if pattern.fullmatch(name)]
