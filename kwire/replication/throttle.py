"""Replication quotas: how many bytes a second a leader sends, or a follower fetches, of throttled replicas.

Responsible for: the rate over the last windows, and which replicas a topic's config throttles (KIP-73). Must not depend
on: clocks (``now_ms`` is an argument), requests.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Container, Iterable

ALL_PARTITIONS = range(2**31)


def throttled_partitions(values: Iterable[str], node_id: int) -> Container[int]:
    """Return the indexes of the partitions whose replica on a broker is throttled.

    ``values`` is ``leader.`` or ``follower.replication.throttled.replicas``: "partition:broker" each, or "*" alone.
    """
    pairs = [value.strip().partition(":") for value in values if value.strip()]
    if any(partition == "*" for partition, _, _ in pairs):
        return ALL_PARTITIONS
    return frozenset(int(partition) for partition, _, broker in pairs if broker.strip() == str(node_id))


class ReplicationQuota:
    """Counts bytes in windows of ``window_ms``; the last ``window_count`` of them are the rate."""

    __slots__ = ("_window_count", "_window_ms", "_windows")

    def __init__(self, *, window_count: int, window_ms: int) -> None:
        self._window_count = window_count
        self._window_ms = window_ms
        # Start and bytes of each window, the newest last.
        self._windows: deque[list[float]] = deque()

    def record(self, byte_count: int, now_ms: float) -> None:
        """Count bytes that were sent or fetched."""
        self._forget(now_ms)
        if not self._windows or now_ms - self._windows[-1][0] >= self._window_ms:
            self._windows.append([now_ms, 0.0])
        self._windows[-1][1] += byte_count

    def rate(self, now_ms: float) -> float:
        """Return bytes per second."""
        self._forget(now_ms)
        if not self._windows:
            return 0.0
        elapsed_ms = max(now_ms - self._windows[0][0], self._window_ms)
        return sum(window[1] for window in self._windows) * 1000 / elapsed_ms

    def is_exceeded(self, bound: int, now_ms: float) -> bool:
        """Whether the rate is above ``bound`` bytes per second."""
        return self.rate(now_ms) > bound

    def _forget(self, now_ms: float) -> None:
        oldest_ms = now_ms - self._window_count * self._window_ms
        while self._windows and self._windows[0][0] < oldest_ms:
            self._windows.popleft()
