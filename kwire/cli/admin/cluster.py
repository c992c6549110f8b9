"""The cluster itself: identity, endpoints, features, quorum, log directories.

Responsible for: the requests about brokers and the cluster. Must not depend on: how anything is printed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from kwire.cli.connections.client import Cluster, check
from kwire.cli.connections.connection import NotServed
from kwire.errors import Code, KafkaError
from kwire.types import METADATA_TOPIC
from kwire.wire.messages import (
    ApiVersionsResponse,
    DescribeClusterRequest,
    DescribeClusterResponse,
    DescribeLogDirsRequest,
    DescribeLogDirsResponse,
    DescribeQuorumRequest,
    DescribeQuorumResponse,
    UnregisterBrokerRequest,
    UnregisterBrokerResponse,
    UpdateFeaturesRequest,
    UpdateFeaturesResponse,
)

BROKERS, CONTROLLERS = 1, 2
UPGRADE, SAFE_DOWNGRADE, UNSAFE_DOWNGRADE = 1, 2, 3


class Replica(NamedTuple):
    """One replica in a log directory. ``future`` is True for a replica that is being moved into it."""

    topic: str
    partition: int
    size: int
    offset_lag: int
    future: bool


class LogDir(NamedTuple):
    path: str
    error: KafkaError | None
    replicas: list[Replica]


def cluster_id(cluster: Cluster, *, at_controller: bool = False) -> str | None:
    """The cluster's id; None if the broker does not return one. ``at_controller``: a controller, without Metadata."""
    if at_controller:
        return describe_cluster(cluster, endpoint_type=CONTROLLERS).cluster_id
    return cluster.with_retries(lambda: cluster.metadata([])).cluster_id


def describe_cluster(
    cluster: Cluster, *, include_fenced: bool = False, endpoint_type: int = BROKERS
) -> DescribeClusterResponse:
    """Brokers (or controllers) and their addresses. Raises KafkaError, NotServed."""
    connection = cluster.any()
    version = connection.version_of(DescribeClusterRequest)
    if include_fenced and version < 2:
        raise NotServed(f"{connection.address} cannot list fenced brokers (KIP-1073)")
    request = DescribeClusterRequest(endpoint_type=endpoint_type, include_fenced_brokers=include_fenced)
    answer = cluster.call_on(connection, request, DescribeClusterResponse, version=version)
    check(answer.error_code, answer.error_message)
    return answer


def unregister_broker(cluster: Cluster, broker_id: int) -> None:
    """Remove a broker's registration. Raises KafkaError."""

    def attempt() -> None:
        answer = cluster.call_controller(UnregisterBrokerRequest(broker_id=broker_id), UnregisterBrokerResponse)
        check(answer.error_code, answer.error_message)

    cluster.with_retries(attempt)


def features(cluster: Cluster, node_id: int | None = None) -> ApiVersionsResponse:
    """Supported and finalized features, from the ApiVersions response of a broker."""
    connection = cluster.any() if node_id is None else cluster.node(node_id)
    return connection.features


def update_features(
    cluster: Cluster, levels: Mapping[str, int], *, upgrade_type: int = UPGRADE, dry_run: bool = False
) -> None:
    """Finalize feature levels, all or none. Raises KafkaError."""
    request = UpdateFeaturesRequest(
        feature_updates=[
            UpdateFeaturesRequest.FeatureUpdateKey(feature=name, max_version_level=level, upgrade_type=upgrade_type)
            for name, level in levels.items()
        ],
        validate_only=dry_run,
    )

    def attempt() -> None:
        answer = cluster.call_controller(request, UpdateFeaturesResponse)
        check(answer.error_code, answer.error_message)
        for result in answer.results:
            check(result.error_code, result.error_message)

    cluster.with_retries(attempt)


def describe_quorum(cluster: Cluster) -> DescribeQuorumResponse:
    """The state of the metadata log's quorum. Raises KafkaError."""
    request = DescribeQuorumRequest(
        topics=[
            DescribeQuorumRequest.TopicData(
                topic_name=METADATA_TOPIC, partitions=[DescribeQuorumRequest.PartitionData(partition_index=0)]
            )
        ]
    )

    def attempt() -> DescribeQuorumResponse:
        answer = cluster.call(request, DescribeQuorumResponse)
        check(answer.error_code, answer.error_message)
        for topic in answer.topics:
            for partition in topic.partitions:
                check(partition.error_code, partition.error_message)
        return answer

    return cluster.with_retries(attempt)


def log_dirs(cluster: Cluster, broker_id: int, topics: Sequence[str] | None = None) -> list[LogDir]:
    """The replicas in a broker's log directories, of these topics or, with None, of all. Raises KafkaError."""
    answer = cluster.call_node(broker_id, DescribeLogDirsRequest(topics=None), DescribeLogDirsResponse)
    check(answer.error_code)
    return [
        LogDir(
            result.log_dir,
            KafkaError(Code(result.error_code)) if result.error_code else None,
            [
                Replica(topic.name, item.partition_index, item.partition_size, item.offset_lag, item.is_future_key)
                for topic in result.topics
                if topics is None or topic.name in topics
                for item in topic.partitions
            ],
        )
        for result in answer.results
    ]
