"""What the five requests to the share coordinator have in common (KIP-932).

Responsible for: authorization, and one result for each partition. Must not depend on: what a single request does.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from kwire.api.pacing import paced
from kwire.broker.requests.context import Context
from kwire.coordinators.share.state import SharePartitionKey
from kwire.errors import KafkaError
from kwire.security.operations import Operation
from kwire.types import Uuid

R = TypeVar("R")


async def each_partition(
    context: Context,
    request: Any,
    perform: Callable[[SharePartitionKey, Any], Awaitable[R]],
    refused: Callable[[int, KafkaError], R],
) -> list[tuple[Uuid, list[R]]]:
    """Perform a request's operation for each of its partitions; the results by topic id.

    ``perform`` gets the key of a share partition and its entry in the request, and may raise KafkaError.
    """
    results: list[tuple[Uuid, list[R]]] = []
    if not request.group_id or not all(topic.partitions for topic in request.topics):
        return results  # as Apache Kafka answers a request that none of its brokers sends
    for topic in request.topics:
        answers: list[R] = []
        async for wanted in paced(context, topic.partitions):
            try:
                context.authorize_cluster(Operation.CLUSTER_ACTION)
                answers.append(
                    await perform(SharePartitionKey(request.group_id, topic.topic_id, wanted.partition), wanted)
                )
            except KafkaError as refusal:
                answers.append(refused(wanted.partition, refusal))
        results.append((topic.topic_id, answers))
    return results
