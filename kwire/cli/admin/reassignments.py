"""Reassignments of partitions to other brokers and to other log directories.

Responsible for: ListPartitionReassignments, AlterPartitionReassignments, AlterReplicaLogDirs. Must not depend on: how
an assignment is chosen.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from kwire.cli.connections.client import Cluster, check
from kwire.cli.connections.connection import NotServed
from kwire.errors import Code, KafkaError
from kwire.wire.messages import (
    AlterPartitionReassignmentsRequest,
    AlterPartitionReassignmentsResponse,
    AlterReplicaLogDirsRequest,
    AlterReplicaLogDirsResponse,
    ListPartitionReassignmentsRequest,
    ListPartitionReassignmentsResponse,
)

TIMEOUT_MS = 30_000


class Reassignment(NamedTuple):
    adding: tuple[int, ...] = ()
    removing: tuple[int, ...] = ()
    replicas: tuple[int, ...] = ()


def list_reassignments(
    cluster: Cluster, partitions: Iterable[tuple[str, int]] | None = None
) -> dict[tuple[str, int], Reassignment]:
    """List the reassignments of all partitions or of some. Raises KafkaError, NotServed."""
    request = ListPartitionReassignmentsRequest(
        topics=None
        if partitions is None
        else [
            ListPartitionReassignmentsRequest.ListPartitionReassignmentsTopics(name=name, partition_indexes=indexes)
            for name, indexes in _by_topic(partitions).items()
        ],
        timeout_ms=TIMEOUT_MS,
    )

    def attempt() -> ListPartitionReassignmentsResponse:
        answer = cluster.call_controller(request, ListPartitionReassignmentsResponse)
        check(answer.error_code, answer.error_message)
        return answer

    return {
        (topic.name, item.partition_index): Reassignment(
            tuple(item.adding_replicas), tuple(item.removing_replicas), tuple(item.replicas)
        )
        for topic in cluster.with_retries(attempt).topics
        for item in topic.partitions
    }


def reassignments_or_none(cluster: Cluster) -> dict[tuple[str, int], Reassignment]:
    """List every reassignment; empty if the broker does not support the request, or refuses it."""
    try:
        return list_reassignments(cluster)
    except NotServed:
        return {}
    except KafkaError as error:
        if error.code is Code.CLUSTER_AUTHORIZATION_FAILED:
            return {}
        raise


def alter_reassignments(
    cluster: Cluster, wanted: Mapping[tuple[str, int], Sequence[int] | None], *, allow_factor_change: bool = True
) -> dict[tuple[str, int], KafkaError]:
    """Start moving partitions to replicas, or cancel with None; return the refusals. Raises KafkaError.

    ``allow_factor_change=False`` refuses other numbers of replicas (KIP-860).
    """
    request = AlterPartitionReassignmentsRequest(
        timeout_ms=TIMEOUT_MS,
        allow_replication_factor_change=allow_factor_change,
        topics=[
            AlterPartitionReassignmentsRequest.ReassignableTopic(
                name=name,
                partitions=[
                    AlterPartitionReassignmentsRequest.ReassignablePartition(
                        partition_index=index, replicas=_replicas(wanted[name, index])
                    )
                    for index in indexes
                ],
            )
            for name, indexes in _by_topic(wanted).items()
        ],
    )

    def attempt() -> AlterPartitionReassignmentsResponse:
        answer = cluster.call_controller(request, AlterPartitionReassignmentsResponse)
        check(answer.error_code, answer.error_message)
        return answer

    return {
        (topic.name, item.partition_index): KafkaError(Code(item.error_code), item.error_message)
        for topic in cluster.with_retries(attempt).responses
        for item in topic.partitions
        if item.error_code
    }


def alter_log_dirs(
    cluster: Cluster, broker: int, wanted: Mapping[tuple[str, int], str]
) -> dict[tuple[str, int], KafkaError | None]:
    """Move replicas of a broker to its log directories; return the refusal of each, or None."""
    directories: dict[str, list[tuple[str, int]]] = {}
    for place, path in wanted.items():
        directories.setdefault(path, []).append(place)
    request = AlterReplicaLogDirsRequest(
        dirs=[
            AlterReplicaLogDirsRequest.AlterReplicaLogDir(
                path=path,
                topics=[
                    AlterReplicaLogDirsRequest.AlterReplicaLogDirTopic(name=name, partitions=indexes)
                    for name, indexes in _by_topic(places).items()
                ],
            )
            for path, places in directories.items()
        ]
    )
    answer = cluster.call_node(broker, request, AlterReplicaLogDirsResponse)
    return {
        (topic.topic_name, item.partition_index): KafkaError(Code(item.error_code)) if item.error_code else None
        for topic in answer.results
        for item in topic.partitions
    }


def _replicas(replicas: Sequence[int] | None) -> list[int] | None:
    return None if replicas is None else list(replicas)


def _by_topic(partitions: Iterable[tuple[str, int]]) -> dict[str, list[int]]:
    topics: dict[str, list[int]] = {}
    for name, index in partitions:
        topics.setdefault(name, []).append(index)
    return topics
