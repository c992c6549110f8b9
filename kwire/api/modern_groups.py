"""What the requests of consumer, share and streams groups have in common.

Responsible for: describing groups one by one, refusals of heartbeats, assignments in responses. Must not depend on:
single kinds of groups.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Final, Protocol, TypeVar

from kwire.api.pacing import paced
from kwire.broker.requests.context import Context
from kwire.coordinators.group.modern.assignment import Partitions
from kwire.errors import Code, KafkaError
from kwire.security.operations import ALL_GROUP_OPERATIONS, Operation, ResourceType

_HIDDEN_TOPIC: Final = "The group has described topic(s) that the client is not authorized to describe."

R = TypeVar("R")


class DescribeRequest(Protocol):
    """ConsumerGroupDescribe, ShareGroupDescribe or StreamsGroupDescribe."""

    group_ids: list[str]
    include_authorized_operations: bool


async def describe_each(
    context: Context,
    request: DescribeRequest,
    described_group: Callable[..., Any],
    describe: Callable[[Context, str], Awaitable[Any]],
    *,
    check_served: Callable[[Context], None] | None = None,
) -> list[Any]:
    """Describe each group by itself, as a ``described_group``; a refusal is an entry with its code and text."""
    groups = []
    async for group_id in paced(context, request.group_ids):
        try:
            if check_served is not None:
                check_served(context)
            if not context.may(Operation.DESCRIBE, ResourceType.GROUP, group_id):
                raise KafkaError(Code.GROUP_AUTHORIZATION_FAILED)
            described = await describe(context, group_id)
        except KafkaError as refusal:
            described = described_group(group_id=group_id, error_code=refusal.code, error_message=refusal.message)
        else:
            if request.include_authorized_operations:
                described.authorized_operations = context.allowed_operations(
                    ResourceType.GROUP, group_id, ALL_GROUP_OPERATIONS
                )
        groups.append(described)
    return groups


async def may_describe_all(context: Context, topics: Sequence[str]) -> bool:
    """Whether the client may describe each topic of a subscription."""
    if context.broker.authorizer is None:
        return True
    async for topic in paced(context, topics):
        if not context.may(Operation.DESCRIBE, ResourceType.TOPIC, topic):
            return False
    return True


def check_visible(context: Context, topics: Iterable[str]) -> None:
    """A client that may not describe a topic of a group sees nothing of the group: TOPIC_AUTHORIZATION_FAILED."""
    if context.broker.authorizer is None:
        return
    if not all(context.may(Operation.DESCRIBE, ResourceType.TOPIC, topic) for topic in topics):
        raise KafkaError(Code.TOPIC_AUTHORIZATION_FAILED, _HIDDEN_TOPIC)


def refused(context: Context, response: Callable[..., R], refusal: KafkaError) -> R:
    """A heartbeat's response with nothing but an error."""
    return response(throttle_time_ms=context.throttle_ms, error_code=refusal.code, error_message=refusal.message)


def topic_partitions(entry: Callable[..., Any], partitions: Partitions) -> list[Any]:
    """Partitions by topic id, each topic as an ``entry`` of a response."""
    return [entry(topic_id=topic_id, partitions=sorted(held)) for topic_id, held in partitions.items()]


def named_topic_partitions(context: Context, entry: Callable[..., Any], partitions: Partitions) -> list[Any]:
    """The same with the names of the topics; those that were deleted have none and are left out."""
    by_id = context.broker.image.topics_by_id
    return [
        entry(topic_id=topic_id, topic_name=by_id[topic_id].name, partitions=sorted(held))
        for topic_id, held in partitions.items()
        if topic_id in by_id
    ]
