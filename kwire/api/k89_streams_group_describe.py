"""StreamsGroupDescribe (key 89).

Versions: 0-1.

Behaviour: streams groups with their topology and members, each with the tasks that it has and those that the target
assignment gives it (KIP-1071). A group with a topic that the client may not describe is refused as a whole.

Version notes: 1 the name of the assignor, and the description of the topology (KIP-1331): a request for one is answered
NOT_STORED, as this broker does not store it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from kwire.api.k88_streams_group_heartbeat import check_served
from kwire.api.modern_groups import check_visible, describe_each
from kwire.api.pacing import paced
from kwire.api.probes import UNKNOWN_NAME, Probe
from kwire.broker.requests.context import Context
from kwire.coordinators.group.streams.commands import DescribedMember, DescribedStreamsGroup, DescribedTopic
from kwire.coordinators.group.streams.tasks import Tasks, TaskSet
from kwire.wire.messages import StreamsGroupDescribeRequest, StreamsGroupDescribeResponse

PROBE: Probe = {"group_ids": [UNKNOWN_NAME]}

DescribedGroup = StreamsGroupDescribeResponse.DescribedGroup
Topology = StreamsGroupDescribeResponse.Topology
Subtopology = StreamsGroupDescribeResponse.Subtopology
TopicInfo = StreamsGroupDescribeResponse.TopicInfo
KeyValue = StreamsGroupDescribeResponse.KeyValue
Member = StreamsGroupDescribeResponse.Member
TaskIds = StreamsGroupDescribeResponse.TaskIds
TaskOffset = StreamsGroupDescribeResponse.TaskOffset
Assignment = StreamsGroupDescribeResponse.Assignment

_NOT_STORED: Final = 1  # the status of a description


async def handle(context: Context, request: StreamsGroupDescribeRequest) -> StreamsGroupDescribeResponse:
    """Each group by itself."""
    groups = await describe_each(context, request, DescribedGroup, _describe, check_served=check_served)
    if request.include_topology_description:
        for group in groups:
            group.topology_description_status = 0 if group.error_code else _NOT_STORED
    return StreamsGroupDescribeResponse(throttle_time_ms=context.throttle_ms, groups=groups)


async def _describe(context: Context, group_id: str) -> DescribedGroup:
    await context.broker.groups.load_kind("streams")
    machine = await context.broker.groups.machine(context, group_id)
    group: DescribedStreamsGroup = machine.streams.describe(group_id)
    check_visible(context, _topics(group))
    return DescribedGroup(
        group_id=group_id,
        group_state=group.state,
        group_epoch=group.epoch,
        assignment_epoch=group.assignment_epoch,
        topology=_topology(group),
        assignor_name=group.assignor,
        members=[_member(each) async for each in paced(context, group.members)],
    )


def _topics(group: DescribedStreamsGroup) -> Iterator[str]:
    for subtopology in group.subtopologies:
        yield from subtopology.source_topics
        yield from subtopology.repartition_sink_topics
        for topic in (*subtopology.repartition_source_topics, *subtopology.state_changelog_topics):
            yield topic.name


def _topology(group: DescribedStreamsGroup) -> Topology:
    return Topology(
        epoch=group.topology_epoch,
        subtopologies=[
            Subtopology(
                subtopology_id=each.subtopology_id,
                source_topics=each.source_topics,
                repartition_sink_topics=each.repartition_sink_topics,
                state_changelog_topics=_topic_infos(each.state_changelog_topics),
                repartition_source_topics=_topic_infos(each.repartition_source_topics),
            )
            for each in group.subtopologies
        ],
    )


def _topic_infos(topics: Iterable[DescribedTopic]) -> list[TopicInfo]:
    return [
        TopicInfo(
            name=topic.name,
            partitions=topic.partitions,
            replication_factor=topic.replication_factor,
            topic_configs=[KeyValue(key=key, value=value) for key, value in topic.configs],
        )
        for topic in topics
    ]


def _member(described: DescribedMember) -> Member:
    member, endpoint = described.member, described.member.endpoint
    return Member(
        member_id=member.member_id,
        member_epoch=member.epoch,
        instance_id=member.instance_id,
        rack_id=member.rack_id,
        client_id=member.client_id,
        client_host=member.client_host,
        topology_epoch=member.topology_epoch,
        process_id=member.process_id,
        user_endpoint=None
        if endpoint is None
        else StreamsGroupDescribeResponse.Endpoint(host=endpoint.host, port=endpoint.port),
        client_tags=[KeyValue(key=key, value=value) for key, value in member.client_tags.items()],
        task_offsets=_offsets(described.offsets),
        task_end_offsets=_offsets(described.end_offsets),
        assignment=_assignment(described.assignment),
        target_assignment=_assignment(described.target),
    )


def _offsets(offsets: Mapping[str, Mapping[int, int]]) -> list[TaskOffset]:
    return [
        TaskOffset(subtopology_id=subtopology, partition=partition, offset=offset)
        for subtopology, found in offsets.items()
        for partition, offset in found.items()
    ]


def _assignment(tasks: TaskSet) -> Assignment:
    return Assignment(
        active_tasks=_task_ids(tasks.active),
        standby_tasks=_task_ids(tasks.standby),
        warmup_tasks=_task_ids(tasks.warmup),
    )


def _task_ids(tasks: Tasks) -> list[TaskIds]:
    return [
        TaskIds(subtopology_id=subtopology, partitions=sorted(partitions))
        for subtopology, partitions in sorted(tasks.items())
    ]
