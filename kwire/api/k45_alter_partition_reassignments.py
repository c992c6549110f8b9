"""AlterPartitionReassignments (key 45).

Versions: 0-1.

Behaviour: moves partitions to other brokers (KIP-455): new replicas are added, and once all that stay are in sync the
old ones are removed. Null replicas stop a reassignment. With one broker the only assignment that can be is the one that
is there; every other names a broker that is not registered.

Version notes: 1 can forbid a change of the replication factor (KIP-860).
"""

from __future__ import annotations

from kwire.api.pacing import submit_in_slices
from kwire.broker.requests.context import Context
from kwire.errors import KafkaError
from kwire.metadata.cluster.reassignment import Reassignment
from kwire.metadata.commands import AlterPartitionReassignments
from kwire.security.authorizer import denied
from kwire.security.operations import Operation, ResourceType
from kwire.types import TopicPartition
from kwire.wire.messages import AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse

TopicAnswer = AlterPartitionReassignmentsResponse.ReassignableTopicResponse
PartitionAnswer = AlterPartitionReassignmentsResponse.ReassignablePartitionResponse


async def handle(context: Context, request: AlterPartitionReassignmentsRequest) -> AlterPartitionReassignmentsResponse:
    wanted = [
        Reassignment(
            TopicPartition(topic.name, one.partition_index), None if one.replicas is None else tuple(one.replicas)
        )
        for topic in request.topics
        for one in topic.partitions
    ]
    if not context.may_cluster(Operation.ALTER):
        return _denied(context, request)
    outcomes = iter(
        await submit_in_slices(
            context,
            wanted,
            lambda some: AlterPartitionReassignments(
                some, allow_replication_factor_change=request.allow_replication_factor_change
            ),
        )
    )
    answers = [
        TopicAnswer(
            name=topic.name,
            partitions=[_answer(one.partition_index, next(outcomes)) for one in topic.partitions],
        )
        for topic in request.topics
    ]
    return AlterPartitionReassignmentsResponse(
        throttle_time_ms=context.throttle_ms,
        # Apache Kafka's controller answers a request without topics before it reads this field.
        allow_replication_factor_change=request.allow_replication_factor_change or not answers,
        error_message=None if answers else "",
        responses=answers,
    )


def _denied(context: Context, request: AlterPartitionReassignmentsRequest) -> AlterPartitionReassignmentsResponse:
    refusal = denied(ResourceType.CLUSTER)
    return AlterPartitionReassignmentsResponse(
        throttle_time_ms=context.throttle_ms,
        error_code=refusal.code,
        error_message=refusal.message,
        responses=[
            TopicAnswer(name=topic.name, partitions=[_answer(one.partition_index, refusal) for one in topic.partitions])
            for topic in request.topics
        ],
    )


def _answer(index: int, outcome: object) -> PartitionAnswer:
    if isinstance(outcome, KafkaError):
        return PartitionAnswer(partition_index=index, error_code=outcome.code, error_message=outcome.message)
    return PartitionAnswer(partition_index=index, error_message=None)
