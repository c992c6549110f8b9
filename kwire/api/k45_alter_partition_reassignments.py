"""AlterPartitionReassignments (key 45).

Versions: 0-1.

Behaviour: moves partitions to other brokers (KIP-455): new replicas are added, and once all that stay are in sync the
old ones are removed. Null replicas stop a reassignment. With one broker the only assignment that can be is the one that
is there; every other names a broker that is not registered.

Version notes: 1 can forbid a change of the replication factor (KIP-860).
"""

from __future__ import annotations

from functools import partial

from kwire.api.pacing import paced, paced_list, submit_in_slices
from kwire.api.probes import NAMED, PARTITION, Probe
from kwire.broker.requests.context import Context
from kwire.errors import KafkaError
from kwire.metadata.cluster.reassignment import Reassignment
from kwire.metadata.commands.partitions import AlterPartitionReassignments
from kwire.security.authorizer import denied
from kwire.security.operations import Operation, ResourceType
from kwire.types import TopicPartition
from kwire.wire.messages import AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse

# Null replicas cancel a reassignment; this one does not exist.
PROBE: Probe = {"topics": [{**NAMED, "partitions": [{**PARTITION, "replicas": None}]}]}

TopicAnswer = AlterPartitionReassignmentsResponse.ReassignableTopicResponse
PartitionAnswer = AlterPartitionReassignmentsResponse.ReassignablePartitionResponse


async def handle(context: Context, request: AlterPartitionReassignmentsRequest) -> AlterPartitionReassignmentsResponse:
    wanted: list[Reassignment] = []
    async for topic in paced(context, request.topics):
        wanted += await paced_list(context, partial(_reassignment, topic.name), topic.partitions)
    if not context.may_cluster(Operation.ALTER):
        return await _denied(context, request)
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
            partitions=await paced_list(
                context, lambda one: _answer(one.partition_index, next(outcomes)), topic.partitions
            ),
        )
        async for topic in paced(context, request.topics)
    ]
    return AlterPartitionReassignmentsResponse(
        throttle_time_ms=context.throttle_ms,
        # Apache Kafka's controller answers a request without topics before it reads this field.
        allow_replication_factor_change=request.allow_replication_factor_change or not answers,
        error_message=None if answers else "",
        responses=answers,
    )


def _reassignment(topic: str, wanted: AlterPartitionReassignmentsRequest.ReassignablePartition) -> Reassignment:
    replicas = None if wanted.replicas is None else tuple(wanted.replicas)
    return Reassignment(TopicPartition(topic, wanted.partition_index), replicas)


async def _denied(context: Context, request: AlterPartitionReassignmentsRequest) -> AlterPartitionReassignmentsResponse:
    refusal = denied(ResourceType.CLUSTER)
    return AlterPartitionReassignmentsResponse(
        throttle_time_ms=context.throttle_ms,
        error_code=refusal.code,
        error_message=refusal.message,
        responses=[
            TopicAnswer(
                name=topic.name,
                partitions=await paced_list(
                    context, lambda one: _answer(one.partition_index, refusal), topic.partitions
                ),
            )
            async for topic in paced(context, request.topics)
        ],
    )


def _answer(index: int, outcome: object) -> PartitionAnswer:
    if isinstance(outcome, KafkaError):
        return PartitionAnswer(partition_index=index, error_code=outcome.code, error_message=outcome.message)
    return PartitionAnswer(partition_index=index, error_message=None)
