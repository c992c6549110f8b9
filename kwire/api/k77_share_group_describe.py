"""ShareGroupDescribe (key 77).

Versions: 1.

Behaviour: share groups with their members and assignments. A group with a topic that the client may not describe is
refused as a whole.
"""

from __future__ import annotations

from kwire.api.pacing import paced
from kwire.broker.requests.context import Context
from kwire.coordinators.group.modern.assignment import Partitions
from kwire.coordinators.group.share.commands import DescribedMember
from kwire.errors import Code, KafkaError
from kwire.security.operations import ALL_GROUP_OPERATIONS, Operation, ResourceType
from kwire.wire.messages import ShareGroupDescribeRequest, ShareGroupDescribeResponse

DescribedGroup = ShareGroupDescribeResponse.DescribedGroup
TopicPartitions = ShareGroupDescribeResponse.TopicPartitions


async def handle(context: Context, request: ShareGroupDescribeRequest) -> ShareGroupDescribeResponse:
    """Each group by itself."""
    groups = []
    async for group_id in paced(context, request.group_ids):
        described = await _describe(context, group_id)
        if request.include_authorized_operations and not described.error_code:
            described.authorized_operations = context.allowed_operations(
                ResourceType.GROUP, group_id, ALL_GROUP_OPERATIONS
            )
        groups.append(described)
    return ShareGroupDescribeResponse(throttle_time_ms=context.throttle_ms, groups=groups)


async def _describe(context: Context, group_id: str) -> DescribedGroup:
    try:
        if not context.may(Operation.DESCRIBE, ResourceType.GROUP, group_id):
            raise KafkaError(Code.GROUP_AUTHORIZATION_FAILED)
        if not group_id:
            raise KafkaError(Code.INVALID_GROUP_ID)
        machine = await context.broker.groups.machine(context, group_id)
        group = machine.share.describe(group_id)
        members = [_member(context, each) for each in group.members]
    except KafkaError as refusal:
        return DescribedGroup(group_id=group_id, error_code=refusal.code, error_message=refusal.message)
    return DescribedGroup(
        group_id=group_id,
        group_state=group.state,
        group_epoch=group.epoch,
        assignment_epoch=group.assignment_epoch,
        assignor_name="simple",
        members=members,
    )


def _member(context: Context, member: DescribedMember) -> ShareGroupDescribeResponse.Member:
    return ShareGroupDescribeResponse.Member(
        member_id=member.member_id,
        rack_id=member.rack_id,
        member_epoch=member.member_epoch,
        client_id=member.client_id,
        client_host=member.client_host,
        subscribed_topic_names=list(member.topics),
        assignment=ShareGroupDescribeResponse.Assignment(topic_partitions=_named(context, member.assignment)),
    )


def _named(context: Context, assignment: Partitions) -> list[TopicPartitions]:
    """Raise KafkaError(TOPIC_AUTHORIZATION_FAILED) for a topic that the client may not describe."""
    found = []
    for topic_id, partitions in assignment.items():
        topic = context.broker.image.topics_by_id.get(topic_id)
        if topic is None:
            continue
        if not context.may(Operation.DESCRIBE, ResourceType.TOPIC, topic.name):
            raise KafkaError(
                Code.TOPIC_AUTHORIZATION_FAILED,
                "The group has described topic(s) that the client is not authorized to describe.",
            )
        found.append(TopicPartitions(topic_id=topic_id, topic_name=topic.name, partitions=sorted(partitions)))
    return found
