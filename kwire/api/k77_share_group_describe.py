"""ShareGroupDescribe (key 77).

Versions: 1.

Behaviour: share groups with their members and assignments. A group with a topic that the client may not describe is
refused as a whole.
"""

from __future__ import annotations

from kwire.api.modern_groups import check_visible, describe_each, named_topic_partitions
from kwire.api.pacing import paced
from kwire.api.probes import UNKNOWN_NAME, Probe
from kwire.broker.requests.context import Context
from kwire.coordinators.group.share.commands import DescribedMember
from kwire.wire.messages import ShareGroupDescribeRequest, ShareGroupDescribeResponse

PROBE: Probe = {"group_ids": [UNKNOWN_NAME]}

DescribedGroup = ShareGroupDescribeResponse.DescribedGroup
TopicPartitions = ShareGroupDescribeResponse.TopicPartitions


async def handle(context: Context, request: ShareGroupDescribeRequest) -> ShareGroupDescribeResponse:
    """Each group by itself."""
    groups = await describe_each(context, request, DescribedGroup, _describe)
    return ShareGroupDescribeResponse(throttle_time_ms=context.throttle_ms, groups=groups)


async def _describe(context: Context, group_id: str) -> DescribedGroup:
    await context.broker.groups.load_kind("share")
    machine = await context.broker.groups.machine(context, group_id)
    group = machine.share.describe(group_id)
    members = [_member(context, each) async for each in paced(context, group.members)]
    check_visible(context, (topic.topic_name for member in members for topic in member.assignment.topic_partitions))
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
        assignment=ShareGroupDescribeResponse.Assignment(
            topic_partitions=named_topic_partitions(context, TopicPartitions, member.assignment)
        ),
    )
