"""The current leader of a partition, in answers to clients that asked another broker (KIP-951).

Responsible for: leader, leader epoch and endpoints for Produce, Fetch, ShareFetch, ShareAcknowledge. Must not depend
on: why a request is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from kwire.broker.requests.context import Context

T = TypeVar("T")


def current_leader(context: Context, topic: str, index: int) -> tuple[int, int]:
    """Return leader and leader epoch by this broker's metadata; -1 and -1 for a partition that does not exist."""
    partition = context.broker.image.partition(topic, index)
    return (-1, -1) if partition is None else (partition.leader, partition.leader_epoch)


def current_leader_by_id(context: Context, topic_id: bytes, index: int) -> tuple[int, int]:
    """See ``current_leader``; -1 and -1 also for an id that no topic has."""
    topic = context.broker.image.topics_by_id.get(topic_id)
    return (-1, -1) if topic is None else current_leader(context, topic.name, index)


def endpoints_of(context: Context, leaders: Iterable[int], make: Callable[..., T]) -> list[T]:
    """Return the endpoints of the leaders that have the listener of this connection, each made by ``make``."""
    view, brokers = context.cluster_view(), context.broker.image.brokers
    found = [(broker_id, view.endpoint(broker_id)) for broker_id in sorted(set(leaders)) if broker_id in brokers]
    return [
        make(node_id=broker_id, host=endpoint.host, port=endpoint.port, rack=brokers[broker_id].rack)
        for broker_id, endpoint in found
        if endpoint is not None
    ]
