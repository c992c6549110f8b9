"""ConsumerGroupDescribe (key 69).

Versions: 0-1.

Behaviour: consumer groups with their members, each with what it owns and what the target assignment gives it (KIP-848).
A group that does not exist, or is of another kind, is GROUP_ID_NOT_FOUND.

Version notes: 1 whether a member uses the classic or the consumer protocol (KIP-1099).
"""

from __future__ import annotations

from typing import Final

from kwire.api.k68_consumer_group_heartbeat import check_served
from kwire.api.pacing import paced
from kwire.broker.requests.context import Context
from kwire.coordinators.group.consumer.commands import DescribedConsumer, DescribedConsumerGroup
from kwire.coordinators.group.modern.assignment import Partitions
from kwire.errors import Code, KafkaError
from kwire.security.operations import ALL_GROUP_OPERATIONS, Operation, ResourceType
from kwire.wire.messages import ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse

DescribedGroup = ConsumerGroupDescribeResponse.DescribedGroup
Member = ConsumerGroupDescribeResponse.Member
Assignment = ConsumerGroupDescribeResponse.Assignment
TopicPartitions = ConsumerGroupDescribeResponse.TopicPartitions

_CLASSIC: Final = 0
_CONSUMER: Final = 1
_HIDDEN_TOPIC: Final = "The group has described topic(s) that the client is not authorized to describe."


async def handle(context: Context, request: ConsumerGroupDescribeRequest) -> ConsumerGroupDescribeResponse:
    """Each group by itself."""
    groups = []
    async for group_id in paced(context, request.group_ids):
        described = await _describe(context, group_id)
        if request.include_authorized_operations and not described.error_code:
            described.authorized_operations = context.allowed_operations(
                ResourceType.GROUP, group_id, ALL_GROUP_OPERATIONS
            )
        groups.append(described)
    return ConsumerGroupDescribeResponse(throttle_time_ms=context.throttle_ms, groups=groups)


async def _describe(context: Context, group_id: str) -> DescribedGroup:
    try:
        check_served(context)
        if not context.may(Operation.DESCRIBE, ResourceType.GROUP, group_id):
            raise KafkaError(Code.GROUP_AUTHORIZATION_FAILED)
        machine = await context.broker.groups.machine(context, group_id)
        group: DescribedConsumerGroup = machine.consumer.describe(group_id)
        _check_topics(context, group)
    except KafkaError as refusal:
        return DescribedGroup(group_id=group_id, error_code=refusal.code, error_message=refusal.message)
    return DescribedGroup(
        group_id=group_id,
        group_state=group.state,
        group_epoch=group.group_epoch,
        assignment_epoch=group.assignment_epoch,
        assignor_name=group.assignor,
        members=[_member(context, each) async for each in paced(context, group.members)],
    )


def _check_topics(context: Context, group: DescribedConsumerGroup) -> None:
    """A client that may not see a topic of the group sees nothing of the group."""
    if context.broker.authorizer is None:
        return
    names = {topic for member in group.members for topic in member.topics}
    by_id = context.broker.image.topics_by_id
    for member in group.members:
        names |= {by_id[topic_id].name for topic_id in (*member.assignment, *member.target) if topic_id in by_id}
    if not all(context.may(Operation.DESCRIBE, ResourceType.TOPIC, name) for name in names):
        raise KafkaError(Code.TOPIC_AUTHORIZATION_FAILED, _HIDDEN_TOPIC)


def _member(context: Context, member: DescribedConsumer) -> Member:
    return Member(
        member_id=member.member_id,
        instance_id=member.instance_id,
        rack_id=member.rack_id,
        member_epoch=member.member_epoch,
        client_id=member.client_id,
        client_host=member.client_host,
        subscribed_topic_names=list(member.topics),
        subscribed_topic_regex=member.regex,
        assignment=_assignment(context, member.assignment),
        target_assignment=_assignment(context, member.target),
        member_type=_CLASSIC if member.uses_classic_protocol else _CONSUMER,
    )


def _assignment(context: Context, partitions: Partitions) -> Assignment:
    """Topics that were deleted have no name and are left out."""
    by_id = context.broker.image.topics_by_id
    return Assignment(
        topic_partitions=[
            TopicPartitions(topic_id=topic_id, topic_name=by_id[topic_id].name, partitions=sorted(held))
            for topic_id, held in partitions.items()
            if topic_id in by_id
        ]
    )
