"""Subscriptions to client metrics (KIP-714).

Responsible for: the metrics of a ``client-metrics`` config resource, the clients it matches, and the combination of all
that match a client. Must not depend on: requests, when a client pushes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from kwire.metadata.configs.definitions import client_metrics_keys
from kwire.types import Uuid
from kwire.wire.batches.crc import crc32c

INTERVAL_MS_DEFAULT: Final = 300_000
ALL_METRICS: Final = "*"

# What a subscription selects clients by: name -> value, None where it is not known.
Attributes = Mapping[str, str | None]


class Subscription(NamedTuple):
    """One subscription. ``metrics`` are prefixes of names, ``match`` has a pattern for each attribute."""

    metrics: frozenset[str]
    interval_ms: int
    match: Mapping[str, re.Pattern[str]]

    def matches(self, attributes: Attributes) -> bool:
        """Whether each pattern matches the whole value; without patterns every client matches."""
        return all(_matches(pattern, attributes.get(name)) for name, pattern in self.match.items())


class RequestedMetrics(NamedTuple):
    """The subscription of one client. ``metrics`` is empty for a client that no subscription matches."""

    metrics: tuple[str, ...]
    interval_ms: int
    subscription_id: int


def read_subscription(configs: Mapping[str, str]) -> Subscription:
    """Read the configs of one resource, which were checked when they were set. Raises ConfigProblem or re.error."""
    values = {name: key.parse(configs.get(name, key.default_text)) for name, key in client_metrics_keys().items()}
    metrics, interval_ms, match = values["metrics"], values["interval.ms"], values["match"]
    assert isinstance(metrics, tuple)
    assert isinstance(interval_ms, int)
    assert isinstance(match, tuple)
    pairs = (selector.split("=") for selector in match)
    return Subscription(
        frozenset(metrics), interval_ms, {name.strip(): re.compile(pattern.strip()) for name, pattern in pairs}
    )


def requested_metrics(
    subscriptions: Iterable[Subscription], attributes: Attributes, client_instance_id: Uuid
) -> RequestedMetrics:
    """Combine the subscriptions that match: all their metrics, at the shortest of their intervals."""
    matching = [one for one in subscriptions if one.matches(attributes)]
    metrics = frozenset[str]().union(*(one.metrics for one in matching))
    if ALL_METRICS in metrics:
        metrics = frozenset({ALL_METRICS})
    ordered = tuple(sorted(metrics))
    interval_ms = min([INTERVAL_MS_DEFAULT, *(one.interval_ms for one in matching)])
    return RequestedMetrics(ordered, interval_ms, _subscription_id(ordered, interval_ms, client_instance_id))


def _matches(pattern: re.Pattern[str], value: str | None) -> bool:
    return value is not None and pattern.fullmatch(value) is not None


def _subscription_id(metrics: tuple[str, ...], interval_ms: int, client_instance_id: Uuid) -> int:
    """Return the id of a subscription, as Kafka computes it: a checksum and the hash of a Java Uuid."""
    checksum = crc32c(f"[{', '.join(metrics)}]{interval_ms}".encode())
    for position in range(0, len(client_instance_id), 4):
        checksum ^= int.from_bytes(client_instance_id[position : position + 4], "big")
    return checksum - (1 << 32) if checksum >> 31 else checksum
