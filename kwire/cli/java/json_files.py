"""JSON files of the official scripts, and their reader's error messages.

Responsible for: reading a file, picking typed values out of a document. Must not depend on: any script.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from kwire.cli.java.options import Wrong

_REQUIRED: Final = object()


class JsonFieldError(Exception):
    """A value is missing or has another type; the message is that of the official reader."""


def read_text(path: str) -> str:
    """Read a file. Raises Wrong with the official words."""
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError:
        raise Wrong(f"Unable to read file {path}") from None


def field(document: Any, name: str, default: Any = _REQUIRED) -> Any:
    """Return a field of an object. Raises JsonFieldError when it is missing and there is no default."""
    if not isinstance(document, dict):
        raise JsonFieldError(f"Expected JSON object, received {_shown(document)}")
    if name in document:
        return document[name]
    if default is _REQUIRED:
        raise JsonFieldError(f"No such field exists: `{name}`")
    return default


def string(value: Any) -> str:
    """Return ``value``. Raises JsonFieldError if it is not a string."""
    if not isinstance(value, str):
        raise JsonFieldError(f"Expected `String` value, received {_shown(value)}")
    return value


def integer(value: Any) -> int:
    """Return ``value``. Raises JsonFieldError if it is not a 32-bit number."""
    if not isinstance(value, int) or isinstance(value, bool) or not -(2**31) <= value < 2**31:
        raise JsonFieldError(f"Expected `Integer` value, received {_shown(value)}")
    return value


def array(value: Any) -> list[Any]:
    """Return ``value``. Raises JsonFieldError if it is not an array."""
    if not isinstance(value, list):
        raise JsonFieldError(f"Expected JSON array, received {_shown(value)}")
    return value


def _shown(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
