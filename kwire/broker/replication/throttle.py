"""A replication quota with the rate and the time of this broker.

Responsible for: ``Throttle``. Must not depend on: which replicas are throttled.
"""

from __future__ import annotations

from collections.abc import Callable

from kwire.broker.clock import Clock
from kwire.replication.throttle import ReplicationQuota


class Throttle:
    """``rate`` gives the bound in bytes per second, which may change at any time (a dynamic config)."""

    def __init__(self, quota: ReplicationQuota, *, rate: Callable[[], int], clock: Clock) -> None:
        self._quota = quota
        self._rate = rate
        self._clock = clock

    def record(self, byte_count: int) -> None:
        """Count bytes of a throttled replica."""
        self._quota.record(byte_count, self._clock.monotonic_ms())

    @property
    def is_exceeded(self) -> bool:
        return self._quota.is_exceeded(self._rate(), self._clock.monotonic_ms())
