"""Topics: list, describe, create, delete, add partitions, and delete records.

Responsible for: the requests about topics and partitions. Must not depend on: configs, except those of a new topic.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from kwire.cli.connections.client import Cluster, check
from kwire.cli.connections.connection import NotServed
from kwire.errors import Code, KafkaError
from kwire.types import Uuid
from kwire.wire.messages import (
    CreatePartitionsRequest,
    CreatePartitionsResponse,
    CreateTopicsRequest,
    CreateTopicsResponse,
    DeleteRecordsRequest,
    DeleteRecordsResponse,
    DeleteTopicsRequest,
    DeleteTopicsResponse,
    DescribeTopicPartitionsRequest,
    DescribeTopicPartitionsResponse,
)

REQUEST_TIMEOUT_MS = 30_000
DESCRIBE_PARTITIONS_MAX = 2000


class PartitionDescription(NamedTuple):
    """One partition; ``elr`` and ``last_known_elr`` are None where the broker does not return them (KIP-966)."""

    partition: int
    leader: int
    replicas: list[int]
    isr: list[int]
    elr: list[int] | None = None
    last_known_elr: list[int] | None = None


class TopicDescription(NamedTuple):
    """``error``: why there are no partitions, if the broker answered with an error for the topic."""

    name: str
    id: Uuid
    internal: bool
    partitions: list[PartitionDescription]
    error: KafkaError | None = None


def list_topics(cluster: Cluster) -> dict[str, TopicDescription]:
    """Every topic, with its partitions or its error, by name."""
    return cluster.with_retries(lambda: _described(cluster, None))


def describe_topics(
    cluster: Cluster, names: Sequence[str], *, partitions_per_response: int = DESCRIBE_PARTITIONS_MAX
) -> dict[str, TopicDescription | KafkaError]:
    """Describe topics by name; the value is a KafkaError for a topic that cannot be described."""
    if not names:
        return {}
    try:
        return cluster.with_retries(lambda: _described_with_elr(cluster, names, partitions_per_response))
    except NotServed:
        pass  # a broker before Kafka 3.9
    known = cluster.with_retries(lambda: _described(cluster, names))
    missing = KafkaError(Code.UNKNOWN_TOPIC_OR_PARTITION)
    return {name: known.get(name, missing) for name in names}


def create_topic(
    cluster: Cluster,
    name: str,
    *,
    partitions: int | None = None,
    replication_factor: int | None = None,
    assignments: Mapping[int, Sequence[int]] | None = None,
    configs: Mapping[str, str] | None = None,
    validate_only: bool = False,
) -> None:
    """Create a topic; with None the broker chooses the number (KIP-464). Raises KafkaError."""
    topic = CreateTopicsRequest.CreatableTopic(
        name=name,
        num_partitions=-1 if partitions is None else partitions,
        replication_factor=-1 if replication_factor is None else replication_factor,
        assignments=[
            CreateTopicsRequest.CreatableReplicaAssignment(partition_index=index, broker_ids=list(brokers))
            for index, brokers in (assignments or {}).items()
        ],
        configs=[
            CreateTopicsRequest.CreatableTopicConfig(name=key, value=value) for key, value in (configs or {}).items()
        ],
    )
    request = CreateTopicsRequest(topics=[topic], timeout_ms=REQUEST_TIMEOUT_MS, validate_only=validate_only)

    def attempt() -> None:
        answer = cluster.call_controller(request, CreateTopicsResponse)
        for result in answer.topics:
            check(result.error_code, result.error_message)

    cluster.with_retries(attempt)


def delete_topic(cluster: Cluster, name: str) -> None:
    """Delete a topic. Raises KafkaError."""
    # The list of names is for versions before 6, the list of states for 6 and later (KIP-516).
    request = DeleteTopicsRequest(
        topics=[DeleteTopicsRequest.DeleteTopicState(name=name)], topic_names=[name], timeout_ms=REQUEST_TIMEOUT_MS
    )
    by_name = DeleteTopicsRequest(topic_names=[name], timeout_ms=REQUEST_TIMEOUT_MS)

    def attempt() -> None:
        connection = cluster.controller()
        version = connection.version_of(DeleteTopicsRequest)
        answer = cluster.call_on(
            connection, request if version >= 6 else by_name, DeleteTopicsResponse, version=version
        )
        for result in answer.responses:
            check(result.error_code, result.error_message)

    cluster.with_retries(attempt)


def create_partitions(
    cluster: Cluster, name: str, count: int, assignments: Sequence[Sequence[int]] | None = None
) -> None:
    """Grow a topic to ``count`` partitions; ``assignments`` names the brokers of each new one. Raises KafkaError."""
    topic = CreatePartitionsRequest.CreatePartitionsTopic(
        name=name,
        count=count,
        assignments=None
        if assignments is None
        else [CreatePartitionsRequest.CreatePartitionsAssignment(broker_ids=list(brokers)) for brokers in assignments],
    )
    request = CreatePartitionsRequest(topics=[topic], timeout_ms=REQUEST_TIMEOUT_MS)

    def attempt() -> None:
        for result in cluster.call_controller(request, CreatePartitionsResponse).results:
            check(result.error_code, result.error_message)

    cluster.with_retries(attempt)


def delete_records(cluster: Cluster, before: Mapping[tuple[str, int], int]) -> dict[tuple[str, int], int | KafkaError]:
    """Delete the records before an offset (-1: the end) of each partition; the low watermark or the error of each."""
    results: dict[tuple[str, int], int | KafkaError] = {}
    for leader, partitions in leaders(cluster, before, results).items():
        topics: dict[str, list[DeleteRecordsRequest.DeleteRecordsPartition]] = {}
        for name, index in partitions:
            topics.setdefault(name, []).append(
                DeleteRecordsRequest.DeleteRecordsPartition(partition_index=index, offset=before[name, index])
            )
        request = DeleteRecordsRequest(
            topics=[
                DeleteRecordsRequest.DeleteRecordsTopic(name=name, partitions=items) for name, items in topics.items()
            ],
            timeout_ms=REQUEST_TIMEOUT_MS,
        )
        for topic in cluster.call_node(leader, request, DeleteRecordsResponse).topics:
            for item in topic.partitions:
                results[topic.name, item.partition_index] = (
                    KafkaError(Code(item.error_code)) if item.error_code else item.low_watermark
                )
    return results


def leaders(
    cluster: Cluster, partitions: Iterable[tuple[str, int]], failed: dict[tuple[str, int], int | KafkaError]
) -> dict[int, list[tuple[str, int]]]:
    """Group partitions by their leader. Adds an error to ``failed`` for each partition without a leader."""
    wanted = list(partitions)
    topics = cluster.with_retries(lambda: _described(cluster, sorted({name for name, _ in wanted})))
    found: dict[int, list[tuple[str, int]]] = {}
    for name, index in wanted:
        topic = topics.get(name)
        leader = next((item.leader for item in topic.partitions if item.partition == index), None) if topic else None
        if leader is None:
            failed[name, index] = KafkaError(Code.UNKNOWN_TOPIC_OR_PARTITION)
        elif leader < 0:
            failed[name, index] = KafkaError(Code.LEADER_NOT_AVAILABLE)
        else:
            found.setdefault(leader, []).append((name, index))
    return found


def _described(cluster: Cluster, names: Sequence[str] | None) -> dict[str, TopicDescription]:
    """Topics from a Metadata response, without those that do not exist.

    Other errors are raised as KafkaError, but those of a list of all topics are part of their descriptions.
    """
    found = {}
    for topic in cluster.metadata(names).topics:
        if topic.error_code in (Code.UNKNOWN_TOPIC_OR_PARTITION, Code.INVALID_TOPIC_EXCEPTION):
            continue
        # A new topic may have partitions without a leader; describe those too.
        if topic.error_code != Code.LEADER_NOT_AVAILABLE and names is not None:
            check(topic.error_code)
        found[topic.name or ""] = TopicDescription(
            topic.name or "",
            topic.topic_id,
            topic.is_internal,
            sorted(
                PartitionDescription(item.partition_index, item.leader_id, item.replica_nodes, item.isr_nodes)
                for item in topic.partitions
            ),
            KafkaError(Code(topic.error_code)) if topic.error_code and not topic.partitions else None,
        )
    return found


def _described_with_elr(cluster: Cluster, names: Sequence[str], limit: int) -> dict[str, TopicDescription | KafkaError]:
    found: dict[str, TopicDescription | KafkaError] = {}
    request = DescribeTopicPartitionsRequest(
        topics=[DescribeTopicPartitionsRequest.TopicRequest(name=name) for name in sorted(names)],
        response_partition_limit=limit,
    )
    while True:
        answer = cluster.call(request, DescribeTopicPartitionsResponse)
        for topic in answer.topics:
            name = topic.name or ""
            if topic.error_code:
                found[name] = KafkaError(Code(topic.error_code))
                continue
            known = found.setdefault(name, TopicDescription(name, topic.topic_id, topic.is_internal, []))
            assert isinstance(known, TopicDescription)
            known.partitions.extend(
                PartitionDescription(
                    item.partition_index,
                    item.leader_id,
                    item.replica_nodes,
                    item.isr_nodes,
                    item.eligible_leader_replicas,
                    item.last_known_elr,
                )
                for item in topic.partitions
            )
        if answer.next_cursor is None:
            return found
        request = DescribeTopicPartitionsRequest(
            topics=[topic for topic in request.topics if topic.name >= answer.next_cursor.topic_name],
            response_partition_limit=limit,
            cursor=DescribeTopicPartitionsRequest.Cursor(
                topic_name=answer.next_cursor.topic_name, partition_index=answer.next_cursor.partition_index
            ),
        )
