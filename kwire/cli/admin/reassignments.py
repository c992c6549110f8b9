"""Partitions whose replicas are being moved between brokers.

Responsible for: ListPartitionReassignments. Must not depend on: how a reassignment is made.
"""

from __future__ import annotations

from typing import NamedTuple

from kwire.cli.client import Cluster, check
from kwire.cli.connection import NotServed
from kwire.errors import Code, KafkaError
from kwire.wire.messages import ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse


class Reassignment(NamedTuple):
    adding: tuple[int, ...] = ()
    removing: tuple[int, ...] = ()


def list_reassignments(cluster: Cluster) -> dict[tuple[str, int], Reassignment]:
    """Every partition with a reassignment in progress. Empty if the API is not served or not authorized."""
    try:
        answer = cluster.call_controller(
            ListPartitionReassignmentsRequest(topics=None), ListPartitionReassignmentsResponse
        )
        check(answer.error_code, answer.error_message)
    except NotServed:
        return {}
    except KafkaError as error:
        if error.code is Code.CLUSTER_AUTHORIZATION_FAILED:
            return {}
        raise
    return {
        (topic.name, item.partition_index): Reassignment(tuple(item.adding_replicas), tuple(item.removing_replicas))
        for topic in answer.topics
        for item in topic.partitions
    }
