"""ElectLeaders (key 43).

Versions: 0-2.

Behaviour: elects the preferred leader, or any replica for a partition that has no leader (KIP-183, KIP-460). On one
node the leader is the preferred one already: ELECTION_NOT_NEEDED. Null means all partitions, and then only those that
needed an election are answered.

Version notes: 0 knows preferred elections only; 1 adds the election type and a top-level error.
"""

from __future__ import annotations

from typing import Final

from kwire.broker.context import Context
from kwire.errors import Code, KafkaError
from kwire.metadata.controller import elect_leaders
from kwire.types import TopicPartition
from kwire.wire.messages import ElectLeadersRequest, ElectLeadersResponse

_TYPES: Final = (0, 1)  # preferred, unclean

Result = ElectLeadersResponse.PartitionResult


def handle(context: Context, request: ElectLeadersRequest) -> ElectLeadersResponse:
    broker = context.broker
    asks_all = request.topic_partitions is None
    partitions = _partitions(context, request)
    if request.election_type not in _TYPES:
        message = f"Unknown election type {request.election_type}"
        refusal = KafkaError(Code.INVALID_REQUEST, message)
        named = [] if asks_all else partitions
        return _answer(context, Code.INVALID_REQUEST, [], [(partition, refusal) for partition in named])
    outcomes = broker.carry_out(elect_leaders(broker.image, request.election_type, partitions))
    answers = [
        (partition, outcome if isinstance(outcome, KafkaError) else None)
        for partition, outcome in zip(partitions, outcomes, strict=True)
    ]
    if not asks_all:
        return _answer(context, Code.NONE, [], answers)
    needed = [
        (partition, outcome)
        for partition, outcome in answers
        if outcome is None or outcome.code is not Code.ELECTION_NOT_NEEDED
    ]
    return _answer(context, Code.NONE, list(broker.image.topics), needed)


def _partitions(context: Context, request: ElectLeadersRequest) -> list[TopicPartition]:
    if request.topic_partitions is None:
        topics = context.broker.image.topics.values()
        return [TopicPartition(topic.name, one.index) for topic in topics for one in topic.partitions]
    return [TopicPartition(wanted.topic, index) for wanted in request.topic_partitions for index in wanted.partitions]


def _answer(
    context: Context, code: Code, topics: list[str], answers: list[tuple[TopicPartition, KafkaError | None]]
) -> ElectLeadersResponse:
    """Answer for ``topics`` in any case, and for every topic of ``answers``."""
    by_topic: dict[str, list[Result]] = {topic: [] for topic in topics}
    for (topic, index), refusal in answers:
        result = Result(partition_id=index, error_message=None)
        if refusal is not None:
            result.error_code, result.error_message = refusal.code, refusal.message
        by_topic.setdefault(topic, []).append(result)
    return ElectLeadersResponse(
        throttle_time_ms=context.throttle_ms,
        # Version 0 has no top-level error.
        error_code=code if context.api_version else Code.NONE,
        replica_election_results=[
            ElectLeadersResponse.ReplicaElectionResult(topic=topic, partition_result=results)
            for topic, results in by_topic.items()
        ],
    )
