"""Consumer groups: list, describe, committed offsets, delete.

Responsible for: the requests about groups of both protocols of consumers (classic, KIP-848), each sent to the
coordinator of the group. Must not depend on: details of share and streams groups; they are listed by name only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from kwire.cli.connections.client import Cluster, Node, check
from kwire.cli.connections.connection import NotServed
from kwire.errors import Code, KafkaError, ProtocolViolation
from kwire.wire.codec import decode
from kwire.wire.messages import (
    ConsumerGroupDescribeRequest,
    ConsumerGroupDescribeResponse,
    ConsumerProtocolAssignment,
    DeleteGroupsRequest,
    DeleteGroupsResponse,
    DescribeGroupsRequest,
    DescribeGroupsResponse,
    ListGroupsRequest,
    ListGroupsResponse,
    OffsetCommitRequest,
    OffsetCommitResponse,
    OffsetDeleteRequest,
    OffsetDeleteResponse,
    OffsetFetchRequest,
    OffsetFetchResponse,
)

CONSUMER_PROTOCOL: Final = "consumer"

# The last versions with topic names; later versions have topic ids (KIP-848), which a tool would have to look up.
_OFFSET_FETCH_BY_NAME: Final = 9
_OFFSET_COMMIT_BY_NAME: Final = 9


class ListedGroup(NamedTuple):
    """A group as its coordinator lists it; ``type`` is Classic, Consumer, Share, Streams or (old brokers) empty."""

    id: str
    protocol_type: str
    state: str
    type: str


class Tasks(NamedTuple):
    """Tasks of a Streams application, each kind by subtopology id."""

    active: dict[str, list[int]]
    standby: dict[str, list[int]]
    warmup: dict[str, list[int]]


class Subtopology(NamedTuple):
    """A part of a Streams application: the topics that it reads, and the changelogs of its stores."""

    id: str
    source_topics: list[str]
    repartition_topics: list[str]
    changelog_topics: list[str]


class Member(NamedTuple):
    """A member; epochs and ``target`` are those of KIP-848 and None for a classic group.

    A member of a streams group has ``tasks`` and ``target_tasks`` beside the partitions that these process, the id of
    its process, and is classic while the group is being migrated.
    """

    id: str
    instance_id: str | None
    client_id: str
    host: str
    assignment: dict[str, list[int]]
    epoch: int | None = None
    target: dict[str, list[int]] | None = None
    tasks: Tasks | None = None
    target_tasks: Tasks | None = None
    process_id: str = ""
    is_classic: bool = False


class GroupDescription(NamedTuple):
    """A group with its members; only a streams group has a topology."""

    id: str
    type: str
    state: str
    protocol_type: str
    assignor: str
    members: list[Member]
    coordinator: Node
    epoch: int | None = None
    assignment_epoch: int | None = None
    topology_epoch: int | None = None
    subtopologies: Sequence[Subtopology] = ()


class Committed(NamedTuple):
    offset: int
    leader_epoch: int
    metadata: str


def list_groups(cluster: Cluster, *, states: Sequence[str] = (), types: Sequence[str] = ()) -> list[ListedGroup]:
    """Every group of every broker."""
    groups: dict[str, ListedGroup] = {}

    def attempt() -> None:
        for node in cluster.nodes():
            connection = cluster.node(node.id)
            version = connection.version_of(ListGroupsRequest)
            # Filters came with versions 4 (KIP-518) and 5 (KIP-848); an older broker lists all.
            request = ListGroupsRequest(
                states_filter=list(states) if version >= 4 else [], types_filter=list(types) if version >= 5 else []
            )
            answer = cluster.call_on(connection, request, ListGroupsResponse, version=version)
            check(answer.error_code)
            for group in answer.groups:
                groups[group.group_id] = ListedGroup(
                    group.group_id, group.protocol_type, group.group_state, group.group_type.capitalize()
                )

    cluster.with_retries(attempt)
    return list(groups.values())


def describe_group(cluster: Cluster, group_id: str) -> GroupDescription:
    """Describe a group of one of both protocols. KafkaError(GROUP_ID_NOT_FOUND) when there is none."""
    return cluster.with_retries(lambda: _described(cluster, group_id))


def committed_offsets(cluster: Cluster, group_id: str) -> dict[tuple[str, int], Committed]:
    """All committed offsets of a group."""
    return cluster.with_retries(lambda: _committed(cluster, group_id))


def commit_offsets(
    cluster: Cluster, group_id: str, offsets: Mapping[tuple[str, int], int]
) -> dict[tuple[str, int], KafkaError | None]:
    """Commit offsets for a group without members; the error of each partition, or None. KafkaError if all fail."""
    topics = _by_topic(offsets)
    request = OffsetCommitRequest(
        group_id=group_id,
        topics=[
            OffsetCommitRequest.OffsetCommitRequestTopic(
                name=name,
                partitions=[
                    OffsetCommitRequest.OffsetCommitRequestPartition(
                        partition_index=index, committed_offset=offsets[name, index], committed_metadata=""
                    )
                    for index in indexes
                ],
            )
            for name, indexes in topics.items()
        ],
    )

    def attempt() -> dict[tuple[str, int], KafkaError | None]:
        connection = cluster.coordinator(group_id)
        version = connection.version_of(OffsetCommitRequest, _OFFSET_COMMIT_BY_NAME)
        answer = cluster.call_on(connection, request, OffsetCommitResponse, version=version)
        return {
            (topic.name, item.partition_index): KafkaError(Code(item.error_code)) if item.error_code else None
            for topic in answer.topics
            for item in topic.partitions
        }

    return cluster.with_retries(attempt)


def delete_group(cluster: Cluster, group_id: str) -> None:
    """Delete a group and its offsets. Raises KafkaError."""

    def attempt() -> None:
        answer = cluster.call_on(
            cluster.coordinator(group_id), DeleteGroupsRequest(groups_names=[group_id]), DeleteGroupsResponse
        )
        for result in answer.results:
            check(result.error_code)

    cluster.with_retries(attempt)


def delete_offsets(
    cluster: Cluster, group_id: str, partitions: Iterable[tuple[str, int]]
) -> dict[tuple[str, int], KafkaError | None]:
    """Delete committed offsets; the error of each partition, or None. Raises KafkaError if the whole request fails."""
    topics = _by_topic(partitions)
    request = OffsetDeleteRequest(
        group_id=group_id,
        topics=[
            OffsetDeleteRequest.OffsetDeleteRequestTopic(
                name=name,
                partitions=[
                    OffsetDeleteRequest.OffsetDeleteRequestPartition(partition_index=index) for index in indexes
                ],
            )
            for name, indexes in topics.items()
        ],
    )

    def attempt() -> dict[tuple[str, int], KafkaError | None]:
        answer = cluster.call_on(cluster.coordinator(group_id), request, OffsetDeleteResponse)
        check(answer.error_code)
        return {
            (topic.name, item.partition_index): KafkaError(Code(item.error_code)) if item.error_code else None
            for topic in answer.topics
            for item in topic.partitions
        }

    return cluster.with_retries(attempt)


def _described(cluster: Cluster, group_id: str) -> GroupDescription:
    coordinator = cluster.find_coordinator(group_id)
    try:
        return _consumer_group(cluster, group_id, coordinator)
    except NotServed:
        pass
    except KafkaError as error:
        # KIP-848: a coordinator returns these codes for a classic group, too.
        if error.code not in (Code.GROUP_ID_NOT_FOUND, Code.UNSUPPORTED_VERSION):
            raise
    return _classic_group(cluster, group_id, coordinator)


def _consumer_group(cluster: Cluster, group_id: str, coordinator: Node) -> GroupDescription:
    answer = cluster.call_on(
        cluster.node(coordinator.id),
        ConsumerGroupDescribeRequest(group_ids=[group_id]),
        ConsumerGroupDescribeResponse,
    )
    group = answer.groups[0]
    check(group.error_code, group.error_message)
    members = [
        Member(
            member.member_id,
            member.instance_id,
            member.client_id,
            member.client_host,
            {item.topic_name: sorted(item.partitions) for item in member.assignment.topic_partitions},
            member.member_epoch,
            {item.topic_name: sorted(item.partitions) for item in member.target_assignment.topic_partitions},
        )
        for member in group.members
    ]
    return GroupDescription(
        group_id,
        "Consumer",
        group.group_state,
        CONSUMER_PROTOCOL,
        group.assignor_name,
        members,
        coordinator,
        group.group_epoch,
        group.assignment_epoch,
    )


def _classic_group(cluster: Cluster, group_id: str, coordinator: Node) -> GroupDescription:
    answer = cluster.call_on(
        cluster.node(coordinator.id), DescribeGroupsRequest(groups=[group_id]), DescribeGroupsResponse
    )
    group = answer.groups[0]
    check(group.error_code, group.error_message)
    if group.group_state == "Dead" and not group.protocol_type:
        # Before KIP-1043 (version 6) a broker answers state Dead for a group that does not exist.
        raise KafkaError(Code.GROUP_ID_NOT_FOUND, f"Group {group_id} not found.")
    members = [
        Member(
            member.member_id,
            member.group_instance_id,
            member.client_id,
            member.client_host,
            _assignment(member.member_assignment) if group.protocol_type == CONSUMER_PROTOCOL else {},
        )
        for member in group.members
    ]
    return GroupDescription(
        group_id, "Classic", group.group_state, group.protocol_type, group.protocol_data, members, coordinator
    )


def _assignment(encoded: bytes) -> dict[str, list[int]]:
    """Decode the assignment that the group leader made for a member: int16 version, then ConsumerProtocolAssignment."""
    if len(encoded) < 2:
        return {}
    version = min(int.from_bytes(encoded[:2], "big"), ConsumerProtocolAssignment.VERSIONS.highest)
    try:
        assignment = decode(ConsumerProtocolAssignment, version, memoryview(encoded)[2:])
    except ProtocolViolation:
        return {}  # the assignment of a custom assignor
    assert isinstance(assignment, ConsumerProtocolAssignment)
    found: dict[str, list[int]] = {}
    for topic in assignment.assigned_partitions:
        found.setdefault(topic.topic, []).extend(topic.partitions)
    return {name: sorted(indexes) for name, indexes in found.items()}


def _committed(cluster: Cluster, group_id: str) -> dict[tuple[str, int], Committed]:
    connection = cluster.coordinator(group_id)
    version = connection.version_of(OffsetFetchRequest, _OFFSET_FETCH_BY_NAME)
    found: dict[tuple[str, int], Committed] = {}
    if version >= 8:  # KIP-709: several groups in one request
        request = OffsetFetchRequest(
            groups=[OffsetFetchRequest.OffsetFetchRequestGroup(group_id=group_id, topics=None)], require_stable=False
        )
        group = cluster.call_on(connection, request, OffsetFetchResponse, version=version).groups[0]
        check(group.error_code)
        for named in group.topics:
            for item in named.partitions:
                check(item.error_code)
                found[named.name, item.partition_index] = Committed(
                    item.committed_offset, item.committed_leader_epoch, item.metadata or ""
                )
        return found
    answer = cluster.call_on(
        connection, OffsetFetchRequest(group_id=group_id, topics=None), OffsetFetchResponse, version=version
    )
    check(answer.error_code)
    for topic in answer.topics:
        for place in topic.partitions:
            check(place.error_code)
            found[topic.name, place.partition_index] = Committed(
                place.committed_offset, place.committed_leader_epoch, place.metadata or ""
            )
    return found


def _by_topic(partitions: Iterable[tuple[str, int]]) -> dict[str, list[int]]:
    topics: dict[str, list[int]] = {}
    for name, index in partitions:
        topics.setdefault(name, []).append(index)
    return topics
