"""ListPartitionReassignments (key 46).

Versions: 0.

Behaviour: the reassignments that are under way (KIP-455). With one broker there is one only if its directory comes from
a larger cluster.
"""

from __future__ import annotations

from collections.abc import Iterator

from kwire.api.pacing import paced
from kwire.api.probes import INDEXES, Probe
from kwire.broker.requests.context import Context
from kwire.metadata.entities import Partition
from kwire.security.authorizer import denied
from kwire.security.operations import Operation, ResourceType
from kwire.wire.messages import ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse

PROBE: Probe = {"topics": INDEXES}


async def handle(context: Context, request: ListPartitionReassignmentsRequest) -> ListPartitionReassignmentsResponse:
    if not context.may_cluster(Operation.DESCRIBE):
        return _denied(context, request)
    by_topic: dict[str, list[Partition]] = {}
    async for name, partition in paced(context, _asked_for(context, request)):
        if partition.is_reassigning:
            by_topic.setdefault(name, []).append(partition)
    return ListPartitionReassignmentsResponse(
        throttle_time_ms=context.throttle_ms,
        error_message=None,
        topics=[
            ListPartitionReassignmentsResponse.OngoingTopicReassignment(
                name=name, partitions=[_ongoing(partition) for partition in partitions]
            )
            for name, partitions in by_topic.items()
        ],
    )


def _denied(context: Context, request: ListPartitionReassignmentsRequest) -> ListPartitionReassignmentsResponse:
    """Refuse the whole request; the partitions that it names are in the answer, without replicas."""
    refusal = denied(ResourceType.CLUSTER)
    answer = ListPartitionReassignmentsResponse
    return answer(
        throttle_time_ms=context.throttle_ms,
        error_code=refusal.code,
        error_message=refusal.message,
        topics=[
            answer.OngoingTopicReassignment(
                name=wanted.name,
                partitions=[
                    answer.OngoingPartitionReassignment(partition_index=index) for index in wanted.partition_indexes
                ],
            )
            for wanted in request.topics or ()
        ],
    )


def _asked_for(context: Context, request: ListPartitionReassignmentsRequest) -> Iterator[tuple[str, Partition]]:
    image = context.broker.image
    if request.topics is None:
        for topic in image.topics.values():
            for partition in topic.partitions:
                yield topic.name, partition
        return
    for wanted in request.topics:
        for index in wanted.partition_indexes:
            found = image.partition(wanted.name, index)
            if found is not None:
                yield wanted.name, found


def _ongoing(partition: Partition) -> ListPartitionReassignmentsResponse.OngoingPartitionReassignment:
    return ListPartitionReassignmentsResponse.OngoingPartitionReassignment(
        partition_index=partition.index,
        replicas=list(partition.replicas),
        adding_replicas=list(partition.adding_replicas),
        removing_replicas=list(partition.removing_replicas),
    )
