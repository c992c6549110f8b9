"""Checks of a dynamic change of the broker's configs that need more than values.

Responsible for: the registry of such checks, as Kafka's Reconfigurable.validateReconfiguration. A part that reads files
for its configs (certificates) adds a check, and a change that it refuses does not reach the controller. Must not depend
on: what is checked, requests.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import TypeAlias

from kwire.metadata.configs.definitions import split_listener_prefix
from kwire.metadata.configs.effective import EffectiveConfigs

Check: TypeAlias = Callable[[EffectiveConfigs], Awaitable[None]]


class Reconfiguration:
    """One per broker."""

    def __init__(self) -> None:
        self._checks: list[tuple[str, Check]] = []

    def add(self, prefix: str, check: Check) -> None:
        """Call ``check`` before a change of configs whose names, without a listener's prefix, begin with ``prefix``.

        It gets the configs as they would be, and raises KafkaError to refuse them.
        """
        self._checks.append((prefix, check))

    async def check(self, names: Iterable[str], proposed: Callable[[], EffectiveConfigs]) -> None:
        """Check a change of these names. Raises KafkaError."""
        bases = [split_listener_prefix(name)[1] for name in names]
        for prefix, check in self._checks:
            if any(base.startswith(prefix) for base in bases):
                await check(proposed())
