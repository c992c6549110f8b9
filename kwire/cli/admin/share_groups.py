"""Share groups: describe them, their start offsets, and changes of those.

Responsible for: the requests about share groups alone, each sent to the coordinator of the group. Must not depend on:
how they are printed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from kwire.cli.admin.groups import GroupDescription, Member, describe_group
from kwire.cli.connections.client import Cluster, check
from kwire.cli.connections.connection import NotServed
from kwire.errors import Code, KafkaError
from kwire.types import Uuid, uuid_text
from kwire.wire.messages import (
    AlterShareGroupOffsetsRequest,
    AlterShareGroupOffsetsResponse,
    DeleteShareGroupOffsetsRequest,
    DeleteShareGroupOffsetsResponse,
    DescribeShareGroupOffsetsRequest,
    DescribeShareGroupOffsetsResponse,
    ReadShareGroupStateRequest,
    ReadShareGroupStateResponse,
    ShareGroupDescribeRequest,
    ShareGroupDescribeResponse,
)

Place = tuple[str, int]
SHARE: Final = "Share"  # the type of a share group
_SHARE_KEY: Final = 2  # of FindCoordinator
_AVAILABLE: Final = 0


class StartOffset(NamedTuple):
    """Where a share group begins to read a partition. ``lag`` None: not known (KIP-1226)."""

    offset: int
    leader_epoch: int
    lag: int | None


def describe_group_of_any_kind(cluster: Cluster, group_id: str) -> GroupDescription:
    """A group of consumers or a share group. KafkaError(GROUP_ID_NOT_FOUND) when there is none."""
    try:
        return describe_group(cluster, group_id)
    except KafkaError as error:
        if error.code is not Code.GROUP_ID_NOT_FOUND:
            raise
        try:
            return describe_share_group(cluster, group_id)
        except NotServed:
            raise error from None


def describe_share_group(cluster: Cluster, group_id: str) -> GroupDescription:
    """Raises KafkaError(GROUP_ID_NOT_FOUND) for a group that does not exist or is of another type."""
    return cluster.with_retries(lambda: _described(cluster, group_id))


def _described(cluster: Cluster, group_id: str) -> GroupDescription:
    coordinator = cluster.find_coordinator(group_id)
    request = ShareGroupDescribeRequest(group_ids=[group_id])
    answer = cluster.call_on(cluster.node(coordinator.id), request, ShareGroupDescribeResponse)
    group = answer.groups[0]
    check(group.error_code, group.error_message)
    members = [
        Member(
            member.member_id,
            None,
            member.client_id,
            member.client_host,
            {item.topic_name: sorted(item.partitions) for item in member.assignment.topic_partitions},
            member.member_epoch,
        )
        for member in group.members
    ]
    return GroupDescription(
        group_id, SHARE, group.group_state, "share", group.assignor_name, members, coordinator, group.group_epoch,
        group.assignment_epoch,
    )  # fmt: skip


def share_start_offsets(cluster: Cluster, group_id: str) -> dict[Place, StartOffset]:
    """The start offset of each partition that the group has read, or that was set."""
    return cluster.with_retries(lambda: _starts(cluster, group_id))


def _starts(cluster: Cluster, group_id: str) -> dict[Place, StartOffset]:
    group = DescribeShareGroupOffsetsRequest.DescribeShareGroupOffsetsRequestGroup(group_id=group_id, topics=None)
    request = DescribeShareGroupOffsetsRequest(groups=[group])
    answer = cluster.call_on(cluster.coordinator(group_id), request, DescribeShareGroupOffsetsResponse)
    found = answer.groups[0]
    check(found.error_code, found.error_message)
    starts = {}
    for topic in found.topics:
        for item in topic.partitions:
            check(item.error_code, item.error_message)
            if item.start_offset >= 0:
                lag = item.lag if item.lag >= 0 else None
                starts[topic.topic_name, item.partition_index] = StartOffset(item.start_offset, item.leader_epoch, lag)
    return starts


def delivery_counts(
    cluster: Cluster, group_id: str, topic: str, topic_id: Uuid, starts: Mapping[Place, StartOffset]
) -> dict[int, dict[int, int]]:
    """By partition of a topic: how many records wait for another delivery, by how often they were delivered.

    The share coordinator's stored state: a record that a member has acquired counts as before the acquisition. Raises
    KafkaError(CLUSTER_AUTHORIZATION_FAILED) for a client without CLUSTER_ACTION.
    """
    indexes = [index for name, index in starts if name == topic]
    found: dict[int, dict[int, int]] = {}
    for index in indexes:
        key = f"{group_id}:{uuid_text(topic_id)}:{index}"
        # The epoch of the leader as it is stored: reading with it changes nothing.
        wanted = ReadShareGroupStateRequest.PartitionData(
            partition=index, leader_epoch=starts[topic, index].leader_epoch
        )
        request = ReadShareGroupStateRequest(
            group_id=group_id,
            topics=[ReadShareGroupStateRequest.ReadStateData(topic_id=topic_id, partitions=[wanted])],
        )
        answer = cluster.call_on(cluster.coordinator(key, _SHARE_KEY), request, ReadShareGroupStateResponse)
        state = answer.results[0].partitions[0]
        check(state.error_code, state.error_message)
        counts = found.setdefault(index, {})
        for batch in state.state_batches:
            if batch.delivery_state == _AVAILABLE:
                size = batch.last_offset - batch.first_offset + 1
                counts[batch.delivery_count] = counts.get(batch.delivery_count, 0) + size
    return found


def alter_share_offsets(cluster: Cluster, group_id: str, offsets: Mapping[Place, int]) -> None:
    """Set start offsets. Raises the first KafkaError of the group or of a partition."""

    def attempt() -> None:
        topics: dict[str, list[int]] = {}
        for name, index in offsets:
            topics.setdefault(name, []).append(index)
        request = AlterShareGroupOffsetsRequest(
            group_id=group_id,
            topics=[
                AlterShareGroupOffsetsRequest.AlterShareGroupOffsetsRequestTopic(
                    topic_name=name,
                    partitions=[
                        AlterShareGroupOffsetsRequest.AlterShareGroupOffsetsRequestPartition(
                            partition_index=index, start_offset=offsets[name, index]
                        )
                        for index in indexes
                    ],
                )
                for name, indexes in topics.items()
            ],
        )
        answer = cluster.call_on(cluster.coordinator(group_id), request, AlterShareGroupOffsetsResponse)
        check(answer.error_code, answer.error_message)
        for topic in answer.responses:
            for item in topic.partitions:
                check(item.error_code, item.error_message)

    cluster.with_retries(attempt)


def delete_share_offsets(cluster: Cluster, group_id: str, topics: Iterable[str]) -> dict[str, KafkaError | None]:
    """Delete the start offsets of topics; the error of each, or None. Raises KafkaError of the whole request."""
    wanted = list(topics)

    def attempt() -> dict[str, KafkaError | None]:
        request = DeleteShareGroupOffsetsRequest(
            group_id=group_id,
            topics=[
                DeleteShareGroupOffsetsRequest.DeleteShareGroupOffsetsRequestTopic(topic_name=name) for name in wanted
            ],
        )
        answer = cluster.call_on(cluster.coordinator(group_id), request, DeleteShareGroupOffsetsResponse)
        check(answer.error_code, answer.error_message)
        return {
            topic.topic_name: KafkaError(Code(topic.error_code), topic.error_message) if topic.error_code else None
            for topic in answer.responses
        }

    return cluster.with_retries(attempt)
