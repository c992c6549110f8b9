"""CreatePartitions (key 37).

Versions: 0-3.

Behaviour: topics grow, never shrink; the new partitions can be used when the answer is sent. A topic that a request
lists twice is refused. ``timeout_ms`` does not matter: nothing takes time.

Version notes: 3 adds THROTTLING_QUOTA_EXCEEDED (KIP-599).
"""

from __future__ import annotations

from collections import Counter
from typing import Final

from kwire.api.pacing import paced, submit_in_slices
from kwire.api.probes import NO_TOPIC, Probe
from kwire.broker.requests.context import Context
from kwire.errors import Code, KafkaError
from kwire.metadata.commands.topics import CreatePartitions
from kwire.metadata.decisions.topics import NewPartitions
from kwire.security.operations import Operation, ResourceType
from kwire.wire.messages import CreatePartitionsRequest, CreatePartitionsResponse

PROBE: Probe = {"topics": [{"name": NO_TOPIC, "count": 1}], "timeout_ms": 1000, "validate_only": True}

Result = CreatePartitionsResponse.CreatePartitionsTopicResult

_THROTTLING_ERROR_SINCE: Final = 3  # KIP-599


async def handle(context: Context, request: CreatePartitionsRequest) -> CreatePartitionsResponse:
    broker = context.broker
    counts = Counter(topic.name for topic in request.topics)
    denied = {
        name: None
        async for name, count in paced(context, counts.items())
        if count == 1 and not context.may(Operation.ALTER, ResourceType.TOPIC, name)
    }
    grown = [
        _new_partitions(topic)
        async for topic in paced(context, request.topics)
        if counts[topic.name] == 1 and topic.name not in denied
    ]
    strict = context.api_version >= _THROTTLING_ERROR_SINCE
    outcomes = await submit_in_slices(
        context,
        grown,
        lambda topics: CreatePartitions(topics, validate_only=request.validate_only),
        charge=lambda count: broker.quotas.take_mutations(context, count, strict=strict),
    )
    results = [
        Result(name=name, error_code=Code.INVALID_REQUEST, error_message="Duplicate topic name.")
        async for name, count in paced(context, counts.items())
        if count > 1
    ]
    results += [
        Result(name=name, error_code=Code.TOPIC_AUTHORIZATION_FAILED, error_message=None)
        async for name in paced(context, denied)
    ]
    async for item, outcome in paced(context, zip(grown, outcomes, strict=True)):
        result = Result(name=item.topic, error_message=None)
        if isinstance(outcome, KafkaError):
            result.error_code, result.error_message = outcome.code, outcome.message
        results.append(result)
    return CreatePartitionsResponse(throttle_time_ms=context.throttle_ms, results=results)


def _new_partitions(topic: CreatePartitionsRequest.CreatePartitionsTopic) -> NewPartitions:
    assignments = topic.assignments
    return NewPartitions(
        topic=topic.name,
        count=topic.count,
        assignments=None if assignments is None else tuple([tuple(one.broker_ids) for one in assignments]),
    )
