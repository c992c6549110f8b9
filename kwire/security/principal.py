"""The identity of a client.

Responsible for: the value ``Principal``. Must not depend on: how a client authenticates.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class Principal(NamedTuple):
    """Kafka's KafkaPrincipal. ``str()`` gives its usual form, ``User:alice``."""

    type: str
    name: str

    def __str__(self) -> str:
        return f"{self.type}:{self.name}"


ANONYMOUS: Final = Principal("User", "ANONYMOUS")
