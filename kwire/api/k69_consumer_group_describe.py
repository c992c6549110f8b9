"""ConsumerGroupDescribe (key 69).

Versions: 0-1.

Behaviour: consumer groups with their members, each with what it owns and what the target assignment gives it (KIP-848).
A group that does not exist, or is of another kind, is GROUP_ID_NOT_FOUND.

Version notes: 1 whether a member uses the classic or the consumer protocol (KIP-1099).
"""

from __future__ import annotations

from typing import Final

from kwire.api.k68_consumer_group_heartbeat import check_served
from kwire.api.modern_groups import check_visible, describe_each, named_topic_partitions
from kwire.api.pacing import paced
from kwire.api.probes import UNKNOWN_NAME, Probe
from kwire.broker.requests.context import Context
from kwire.coordinators.group.consumer.commands import DescribedConsumer, DescribedConsumerGroup
from kwire.coordinators.group.modern.assignment import Partitions
from kwire.wire.messages import ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse

PROBE: Probe = {"group_ids": [UNKNOWN_NAME]}

DescribedGroup = ConsumerGroupDescribeResponse.DescribedGroup
Member = ConsumerGroupDescribeResponse.Member
Assignment = ConsumerGroupDescribeResponse.Assignment
TopicPartitions = ConsumerGroupDescribeResponse.TopicPartitions

_CLASSIC: Final = 0
_CONSUMER: Final = 1


async def handle(context: Context, request: ConsumerGroupDescribeRequest) -> ConsumerGroupDescribeResponse:
    """Each group by itself."""
    groups = await describe_each(context, request, DescribedGroup, _describe, check_served=check_served)
    return ConsumerGroupDescribeResponse(throttle_time_ms=context.throttle_ms, groups=groups)


async def _describe(context: Context, group_id: str) -> DescribedGroup:
    await context.broker.groups.load_kind("consumer")
    machine = await context.broker.groups.machine(context, group_id)
    group: DescribedConsumerGroup = machine.consumer.describe(group_id)
    check_visible(context, _topics(context, group))
    return DescribedGroup(
        group_id=group_id,
        group_state=group.state,
        group_epoch=group.group_epoch,
        assignment_epoch=group.assignment_epoch,
        assignor_name=group.assignor,
        members=[_member(context, each) async for each in paced(context, group.members)],
    )


def _topics(context: Context, group: DescribedConsumerGroup) -> set[str]:
    """All topics that the description names."""
    names = {topic for member in group.members for topic in member.topics}
    by_id = context.broker.image.topics_by_id
    for member in group.members:
        names |= {by_id[topic_id].name for topic_id in (*member.assignment, *member.target) if topic_id in by_id}
    return names


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
    return Assignment(topic_partitions=named_topic_partitions(context, TopicPartitions, partitions))
