"""The topics in a consumer's subscription, the only part of the members' metadata that a coordinator reads.

Responsible for: reading the embedded consumer protocol as far as the topic names. Must not depend on: groups.

A subscription is an int16 version and a ConsumerProtocolSubscription. Every version begins like version 0, so only that
is read, and a newer version needs no change here.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable


def subscribed_topics(subscriptions: Iterable[bytes]) -> frozenset[str] | None:
    """All topics of all subscriptions; None when one of them is not a consumer's subscription."""
    topics: set[str] = set()
    try:
        for subscription in subscriptions:
            topics.update(_topics(subscription))
    except (struct.error, UnicodeDecodeError, ValueError):
        return None
    return frozenset(topics)


def _topics(subscription: bytes) -> list[str]:
    _version, count = struct.unpack_from(">hi", subscription)
    # A name takes at least two bytes, so a larger count is invalid.
    if not 0 <= count <= len(subscription) // 2:
        raise ValueError(f"a subscription of {len(subscription)} bytes does not hold {count} topics")
    position = 6
    names = []
    for _ in range(count):
        (length,) = struct.unpack_from(">h", subscription, position)
        name = subscription[position + 2 : position + 2 + length]
        if length < 0 or len(name) != length:
            raise ValueError("a topic name ends beyond the subscription")
        names.append(name.decode("utf-8"))
        position += 2 + length
    return names
