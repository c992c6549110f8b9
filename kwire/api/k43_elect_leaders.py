"""ElectLeaders (key 43).

Versions: 0-2.

Behaviour: elects the preferred leader, or any replica for a partition that has no leader (KIP-183, KIP-460). On one
node the leader is the preferred one already: ELECTION_NOT_NEEDED. Null means all partitions, and then only those that
needed an election are answered.

Version notes: 0 has preferred elections only; 1 adds the election type and a top-level error.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Final

from kwire.api.pacing import paced, paced_list, submit_in_slices
from kwire.api.probes import NO_TOPIC, Probe
from kwire.broker.requests.context import Context
from kwire.errors import Code, KafkaError
from kwire.metadata.commands.partitions import ElectLeaders
from kwire.security.authorizer import denied
from kwire.security.operations import Operation, ResourceType
from kwire.types import TopicPartition
from kwire.wire.messages import ElectLeadersRequest, ElectLeadersResponse

PROBE: Probe = {"topic_partitions": [{"topic": NO_TOPIC, "partitions": [0]}], "timeout_ms": 1000}

_TYPES: Final = (0, 1)  # preferred, unclean

Result = ElectLeadersResponse.PartitionResult


async def handle(context: Context, request: ElectLeadersRequest) -> ElectLeadersResponse:
    broker = context.broker
    wanted = [] if request.topic_partitions is None else request.topic_partitions
    named: list[TopicPartition] = []
    async for item in paced(context, wanted):
        named += await paced_list(context, partial(TopicPartition, item.topic), item.partitions)
    if not context.may_cluster(Operation.ALTER):
        refusal = denied(ResourceType.CLUSTER)
        return await _answer(context, refusal.code, await _as_named(context, request, [refusal] * len(named)))
    # Apache Kafka checks the election type only when the request has a topic.
    if request.election_type not in _TYPES and request.topic_partitions != []:
        refusal = KafkaError(Code.INVALID_REQUEST, f"Unknown election type {request.election_type}")
        return await _answer(context, Code.INVALID_REQUEST, await _as_named(context, request, [refusal] * len(named)))
    if request.topic_partitions is not None:
        outcomes = await _elect(context, request, named)
        return await _answer(context, Code.NONE, await _as_named(context, request, outcomes))
    everything = [
        TopicPartition(topic.name, one.index)
        async for topic in paced(context, broker.image.topics.values())
        for one in topic.partitions
    ]
    outcomes = await _elect(context, request, everything)
    # All topics are listed, each with those of its partitions only that needed an election.
    by_topic: dict[str, list[Result]] = {topic: [] for topic in broker.image.topics}
    async for (topic, index), outcome in paced(context, zip(everything, outcomes, strict=True)):
        if not isinstance(outcome, KafkaError) or outcome.code is not Code.ELECTION_NOT_NEEDED:
            by_topic.setdefault(topic, []).append(_result(index, outcome))
    return await _answer(context, Code.NONE, list(by_topic.items()))


async def _elect(
    context: Context, request: ElectLeadersRequest, partitions: Sequence[TopicPartition]
) -> Sequence[object]:
    return await submit_in_slices(context, partitions, lambda some: ElectLeaders(request.election_type, some))


async def _as_named(
    context: Context, request: ElectLeadersRequest, outcomes: Sequence[object]
) -> list[tuple[str, list[Result]]]:
    """The outcomes in the order of the request; a topic that it names twice is listed twice."""
    rest = iter(outcomes)
    return [
        (item.topic, await paced_list(context, lambda index: _result(index, next(rest)), item.partitions))
        async for item in paced(context, request.topic_partitions or ())
    ]


def _result(index: int, outcome: object) -> Result:
    if isinstance(outcome, KafkaError):
        return Result(partition_id=index, error_code=outcome.code, error_message=outcome.message)
    return Result(partition_id=index, error_message=None)


async def _answer(context: Context, code: Code, topics: list[tuple[str, list[Result]]]) -> ElectLeadersResponse:
    return ElectLeadersResponse(
        throttle_time_ms=context.throttle_ms,
        # Version 0 has no top-level error.
        error_code=code if context.api_version else Code.NONE,
        replica_election_results=[
            ElectLeadersResponse.ReplicaElectionResult(topic=topic, partition_result=results)
            async for topic, results in paced(context, topics)
        ],
    )
