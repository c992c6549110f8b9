"""Client quotas: which one applies to a client, and the throttle time of a client that exceeds it.

Responsible for: the order in which Kafka looks for a quota (KIP-13, KIP-55, KIP-546), rates over sliding windows, and
the token bucket for changes of metadata (KIP-599). Must not depend on: requests, where quotas are stored, time.

    /users/U/clients/C, /users/U/clients/<default>, /users/U,
    /users/<default>/clients/C, /users/<default>/clients/<default>, /users/<default>,
    /clients/C, /clients/<default>                                        the first that is set counts
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

PRODUCER_BYTE_RATE = "producer_byte_rate"
CONSUMER_BYTE_RATE = "consumer_byte_rate"
REQUEST_PERCENTAGE = "request_percentage"
CONTROLLER_MUTATION_RATE = "controller_mutation_rate"
CONNECTION_CREATION_RATE = "connection_creation_rate"
_PAUSE_MS_MAX = 2**31 - 1  # throttle_time_ms is an int32

Entity: TypeAlias = tuple[tuple[str, str | None], ...]
Quotas: TypeAlias = Mapping[Entity, Mapping[str, float]]


class Limit(NamedTuple):
    """A quota that applies to a client: the rate per second, and the entity that shares it."""

    per_second: float
    shared_by: tuple[str, str]  # user and client id; "" for all of them


@dataclass(frozen=True, slots=True)
class Windows:
    """Over how long a rate is taken: ``quota.window.num`` windows of ``quota.window.size.seconds``."""

    count: int = 11
    size_ms: int = 1000


def find_limit(quotas: Quotas, key: str, user: str, client_id: str) -> Limit | None:
    """Find the quota that binds a user with a client id, or None."""
    for entity, shared_by in (
        ((("client-id", client_id), ("user", user)), (user, client_id)),
        ((("client-id", None), ("user", user)), (user, client_id)),
        ((("user", user),), (user, "")),
        ((("client-id", client_id), ("user", None)), (user, client_id)),
        ((("client-id", None), ("user", None)), (user, client_id)),
        ((("user", None),), (user, "")),
        ((("client-id", client_id),), ("", client_id)),
        ((("client-id", None),), ("", client_id)),
    ):
        found = quotas.get(entity)
        if found is not None and key in found:
            return Limit(found[key], shared_by)
    return None


def find_address_limit(quotas: Quotas, address: str) -> float | None:
    """Find how many connections a second an address may open, or None (KIP-612)."""
    for entity in ((("ip", address),), (("ip", None),)):
        found = quotas.get(entity)
        if found is not None and CONNECTION_CREATION_RATE in found:
            return found[CONNECTION_CREATION_RATE]
    return None


class Meter:
    """A rate over sliding windows, as Kafka's own metrics take it: a burst counts for as long as its window lasts."""

    __slots__ = ("_samples", "_windows", "last_ms")

    def __init__(self, windows: Windows) -> None:
        self._windows = windows
        self._samples: deque[tuple[int, float]] = deque()  # start of the window, what was recorded in it
        self.last_ms = 0

    def record(self, amount: float, now_ms: int) -> None:
        self.last_ms = now_ms
        if self._samples and now_ms - self._samples[-1][0] < self._windows.size_ms:
            start_ms, recorded = self._samples[-1]
            self._samples[-1] = (start_ms, recorded + amount)
        else:
            self._samples.append((now_ms, amount))

    def throttle_ms(self, per_second: float, now_ms: int) -> int:
        """How long to pause until the rate is down to ``per_second``; 0 while it is not above."""
        self._forget_old(now_ms)
        if not self._samples:
            return 0
        span_ms = self._span_ms(now_ms)
        rate = sum(recorded for _, recorded in self._samples) * 1000 / span_ms
        if rate <= per_second:
            return 0
        return _whole_ms((rate - per_second) / per_second * span_ms)

    def _forget_old(self, now_ms: int) -> None:
        kept_ms = self._windows.count * self._windows.size_ms
        while self._samples and now_ms - self._samples[0][0] >= kept_ms:
            self._samples.popleft()

    def _span_ms(self, now_ms: int) -> int:
        """Time since the oldest window began, at least all windows but one: a first burst is not a rate."""
        elapsed_ms = now_ms - self._samples[0][0]
        missing = self._windows.count - 1 - elapsed_ms // self._windows.size_ms
        return max(1, elapsed_ms + max(0, missing) * self._windows.size_ms)


class TokenBucket:
    """Changes that a client may make: they refill at a rate, and may be saved up to a burst.

    A change that finds any tokens left is allowed even when it needs more than there are; the next one pays.
    """

    __slots__ = ("_windows", "last_ms", "tokens")

    def __init__(self, per_second: float, windows: Windows, now_ms: int) -> None:
        self._windows = windows
        self.tokens = self._burst(per_second)
        self.last_ms = now_ms

    def is_exceeded(self, per_second: float, now_ms: int) -> bool:
        self._refill(per_second, now_ms)
        return self.tokens < 0

    def take(self, count: float, per_second: float, now_ms: int) -> None:
        self._refill(per_second, now_ms)
        self.tokens = min(self.tokens - count, self._burst(per_second))

    def throttle_ms(self, per_second: float, now_ms: int) -> int:
        self._refill(per_second, now_ms)
        return _whole_ms(-self.tokens / per_second * 1000) if self.tokens < 0 else 0

    def _refill(self, per_second: float, now_ms: int) -> None:
        elapsed_ms = max(0, now_ms - self.last_ms)
        self.tokens = min(self._burst(per_second), self.tokens + per_second * elapsed_ms / 1000)
        self.last_ms = now_ms

    def _burst(self, per_second: float) -> float:
        return self._windows.count * self._windows.size_ms / 1000 * per_second


def _whole_ms(pause_ms: float) -> int:
    """A pause in whole ms, limited to an int32: a small quota can ask for more."""
    return round(min(pause_ms, _PAUSE_MS_MAX))
