"""The decoder of one schema.

Responsible for: the type. Must not depend on: formats.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

# ``decode(payload, indexes)`` gives the name of the type, and the value as JSON. May raise any exception for bytes
# that do not fit. ``indexes`` are the message indexes of Protobuf where a header has them.
Compiled: TypeAlias = Callable[[bytes, bytes | None], tuple[str, str]]
