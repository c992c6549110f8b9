"""Streams groups: describe them with their tasks.

Responsible for: the request about streams groups alone, sent to the coordinator of the group. Must not depend on: how a
command prints them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from kwire.cli.admin.groups import GroupDescription, Member, Subtopology, Tasks
from kwire.cli.admin.share_groups import describe_group_of_any_kind as describe_other_group
from kwire.cli.admin.topics import list_topics
from kwire.cli.connections.client import Cluster, check
from kwire.cli.connections.connection import NotServed
from kwire.errors import Code, KafkaError
from kwire.wire.messages import StreamsGroupDescribeRequest, StreamsGroupDescribeResponse

STREAMS: Final = "Streams"  # the type of a streams group


def describe_group_of_any_kind(cluster: Cluster, group_id: str) -> GroupDescription:
    """A group of any kind. KafkaError(GROUP_ID_NOT_FOUND) when there is none."""
    try:
        return describe_other_group(cluster, group_id)
    except KafkaError as error:
        if error.code is not Code.GROUP_ID_NOT_FOUND:
            raise
        try:
            return describe_streams_group(cluster, group_id)
        except NotServed:
            raise error from None
        except KafkaError as refusal:
            # Streams groups may be switched off by a setting.
            raise error if refusal.code is Code.UNSUPPORTED_VERSION else refusal from None


def describe_streams_group(cluster: Cluster, group_id: str) -> GroupDescription:
    """Raises KafkaError(GROUP_ID_NOT_FOUND) for a group that does not exist or is of another type."""
    return cluster.with_retries(lambda: _described(cluster, group_id))


def _described(cluster: Cluster, group_id: str) -> GroupDescription:
    coordinator = cluster.find_coordinator(group_id)
    request = StreamsGroupDescribeRequest(group_ids=[group_id])
    answer = cluster.call_on(cluster.node(coordinator.id), request, StreamsGroupDescribeResponse)
    group = answer.groups[0]
    check(group.error_code, group.error_message)
    subtopologies = [
        Subtopology(
            each.subtopology_id,
            each.source_topics,
            [topic.name for topic in each.repartition_source_topics],
            [topic.name for topic in each.state_changelog_topics],
        )
        for each in (group.topology.subtopologies or [] if group.topology is not None else [])
    ]
    inputs = {each.id: [*each.source_topics, *each.repartition_topics] for each in subtopologies}
    counts = {name: len(topic.partitions) for name, topic in list_topics(cluster).items()}

    def partitions(active: dict[str, list[int]]) -> dict[str, list[int]]:
        """The partitions that tasks process: a topic may have fewer than its subtopology has tasks."""
        found: dict[str, list[int]] = {}
        for subtopology, indexes in active.items():
            for topic in inputs.get(subtopology, ()):
                mine = [index for index in indexes if index < counts.get(topic, 0)]
                if mine:
                    found[topic] = sorted(mine)
        return found

    members = []
    for member in group.members:
        tasks, target = _tasks(member.assignment), _tasks(member.target_assignment)
        members.append(
            Member(
                member.member_id,
                member.instance_id,
                member.client_id,
                member.client_host,
                partitions(tasks.active),
                member.member_epoch,
                partitions(target.active),
                tasks,
                target,
                member.process_id,
                member.is_classic,
            )
        )
    return GroupDescription(
        group_id,
        STREAMS,
        group.group_state,
        "streams",
        group.assignor_name or "",
        members,
        coordinator,
        group.group_epoch,
        group.assignment_epoch,
        group.topology.epoch if group.topology is not None else None,
        subtopologies,
    )


def _tasks(assignment: StreamsGroupDescribeResponse.Assignment) -> Tasks:
    kinds = (assignment.active_tasks, assignment.standby_tasks, assignment.warmup_tasks)
    return Tasks(*({each.subtopology_id: sorted(each.partitions) for each in kind} for kind in kinds))


class TopologyNode(NamedTuple):
    """A node of a topology. ``kind`` is Source, Processor or Sink; a sink that chooses topics itself names none."""

    name: str
    kind: str
    source_topics: list[str]
    sink_topic: str | None
    stores: list[str]
    successors: list[str]


class StoredTopology(NamedTuple):
    """A topology as a plugin of the broker has stored it (KIP-1331), when ``status`` is AVAILABLE."""

    status: str
    subtopologies: Mapping[str, Sequence[TopologyNode]]
    global_stores: Sequence[tuple[TopologyNode, TopologyNode]]


_STATUSES: Final = ("NOT_REQUESTED", "NOT_STORED", "ERROR", "AVAILABLE")
_NODE_KINDS: Final = ("", "Source", "Processor", "Sink")
_WITH_STORED_TOPOLOGY: Final = 1  # the version of StreamsGroupDescribe


def stored_topology(cluster: Cluster, group_id: str) -> StoredTopology:
    """Raises KafkaError: GROUP_ID_NOT_FOUND, UNSUPPORTED_VERSION from a broker before Kafka 4.4."""

    def attempt() -> StoredTopology:
        connection = cluster.coordinator(group_id)
        request = StreamsGroupDescribeRequest(group_ids=[group_id], include_topology_description=True)
        if connection.version_of(StreamsGroupDescribeRequest) < _WITH_STORED_TOPOLOGY:
            raise KafkaError(
                Code.UNSUPPORTED_VERSION, "The broker describes no topologies: StreamsGroupDescribe version 1."
            )
        group = cluster.call_on(connection, request, StreamsGroupDescribeResponse).groups[0]
        check(group.error_code, group.error_message)
        stored = group.topology_description
        return StoredTopology(
            _STATUSES[group.topology_description_status],
            {each.subtopology_id: [_node(node) for node in each.nodes] for each in stored.subtopologies}
            if stored is not None
            else {},
            [(_node(each.source), _node(each.processor)) for each in stored.global_stores]
            if stored is not None
            else [],
        )

    return cluster.with_retries(attempt)


def _node(node: StreamsGroupDescribeResponse.TopologyDescriptionNode) -> TopologyNode:
    return TopologyNode(
        node.name, _NODE_KINDS[node.node_type], node.source_topics, node.sink_topic, node.stores, node.successors
    )
