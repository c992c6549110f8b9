"""DeleteTopics (key 20).

Versions: 1-6.

Behaviour: topics go by name or by id. They are unknown from this moment on; their files go after
``file.delete.delay.ms``. With ``delete.topic.enable=false`` every topic is refused.

Version notes: before 3 a broker that may not delete answers INVALID_REQUEST, from 3 on TOPIC_DELETION_DISABLED
(KIP-322); 5 adds messages (KIP-525) and THROTTLING_QUOTA_EXCEEDED (KIP-599); 6 adds topic ids (KIP-516).
"""

from __future__ import annotations

from collections import Counter
from typing import Final

from kwire.api.pacing import paced, submit_in_slices
from kwire.api.probes import NO_TOPIC, Probe
from kwire.broker.requests.context import Context
from kwire.errors import Code, KafkaError
from kwire.metadata.commands.topics import DeleteTopics
from kwire.security.authorizer import denied
from kwire.security.operations import Operation, ResourceType
from kwire.types import ZERO_UUID, Uuid
from kwire.wire.messages import DeleteTopicsRequest, DeleteTopicsResponse

PROBE: Probe = {"topics": [{"name": NO_TOPIC}], "topic_names": [NO_TOPIC], "timeout_ms": 1000}

_DELETION_DISABLED_SINCE: Final = 3
_THROTTLING_ERROR_SINCE: Final = 5  # KIP-599
_BY_ID_SINCE: Final = 6

State = DeleteTopicsRequest.DeleteTopicState
Result = DeleteTopicsResponse.DeletableTopicResult


async def handle(context: Context, request: DeleteTopicsRequest) -> DeleteTopicsResponse:
    by_id = context.api_version >= _BY_ID_SINCE
    states = request.topics if by_id else [State(name=name) for name in request.topic_names]
    results: list[Result] = []
    chosen: list[Result] = []
    async for state in paced(context, _without_repetition(states, results)):
        result = Result(name=state.name, topic_id=state.topic_id)
        try:
            result.topic_id = _find(context, state)
        except KafkaError as refusal:
            _refuse(result, refusal)
            if state.name is None:
                result.name = _visible_name(context, state.topic_id)
            results.append(result)
            continue
        chosen.append(result)
    chosen = _without_same_topic(chosen, results)
    await _delete(context, chosen)
    if not by_id:
        for result in chosen:
            result.topic_id = ZERO_UUID
    return DeleteTopicsResponse(throttle_time_ms=context.throttle_ms, responses=results + chosen)


def _without_repetition(states: list[State], results: list[Result]) -> list[State]:
    """Return the items that occur once; refuse the others in ``results``."""
    names = Counter(state.name for state in states if state.name is not None and state.topic_id == ZERO_UUID)
    ids = Counter(state.topic_id for state in states if state.topic_id != ZERO_UUID and state.name is None)
    results += [_refused(name, ZERO_UUID, "Duplicate topic name.") for name, count in names.items() if count > 1]
    results += [_refused(None, topic_id, "Duplicate topic id.") for topic_id, count in ids.items() if count > 1]
    return [
        state
        for state in states
        if not (state.topic_id == ZERO_UUID and names[state.name or ""] > 1)
        and not (state.name is None and ids[state.topic_id] > 1)
    ]


def _find(context: Context, state: State) -> Uuid:
    image = context.broker.image
    if state.name is not None and state.topic_id != ZERO_UUID:
        raise KafkaError(Code.INVALID_REQUEST, "You may not specify both topic name and topic id.")
    if state.name is None and state.topic_id == ZERO_UUID:
        raise KafkaError(Code.INVALID_REQUEST, "Neither topic name nor id were specified.")
    if not context.broker.configs.broker["delete.topic.enable"]:
        # KIP-322
        disabled = context.api_version >= _DELETION_DISABLED_SINCE
        raise KafkaError(
            Code.TOPIC_DELETION_DISABLED if disabled else Code.INVALID_REQUEST, "Topic deletion is disabled."
        )
    if state.name is None:
        if state.topic_id not in image.topics_by_id:
            raise KafkaError(Code.UNKNOWN_TOPIC_ID, "This server does not host this topic ID.")
        _authorize(context, image.topics_by_id[state.topic_id].name)
        return state.topic_id
    if not _may(context, Operation.DESCRIBE, state.name):
        raise denied(ResourceType.TOPIC)
    if state.name not in image.topics:
        message = "This server does not host this topic-partition."
        raise KafkaError(Code.UNKNOWN_TOPIC_OR_PARTITION, message)
    _authorize(context, state.name)
    return image.topics[state.name].id


def _visible_name(context: Context, topic_id: Uuid) -> str | None:
    """The name of a topic that was asked for by id, if the client may describe it."""
    topic = context.broker.image.topics_by_id.get(topic_id)
    return topic.name if topic is not None and _may(context, Operation.DESCRIBE, topic.name) else None


def _authorize(context: Context, topic: str) -> None:
    if not _may(context, Operation.DELETE, topic):
        raise denied(ResourceType.TOPIC)


def _may(context: Context, operation: Operation, topic: str) -> bool:
    """DELETE on the cluster includes every topic."""
    return context.may_cluster(Operation.DELETE, audited=False) or context.may(operation, ResourceType.TOPIC, topic)


def _without_same_topic(chosen: list[Result], results: list[Result]) -> list[Result]:
    """Give the topics that are asked for once; refuse those asked for by name and by id, in one result each."""
    counts = Counter(result.topic_id for result in chosen)
    for result in chosen:
        if counts[result.topic_id] > 1 and result.name is not None:
            message = "The provided topic name maps to an ID that was already supplied."
            _refuse(result, KafkaError(Code.INVALID_REQUEST, message))
            results.append(result)
    return [result for result in chosen if counts[result.topic_id] == 1]


async def _delete(context: Context, chosen: list[Result]) -> None:
    broker = context.broker
    strict = context.api_version >= _THROTTLING_ERROR_SINCE
    outcomes = await submit_in_slices(
        context,
        [result.topic_id for result in chosen],
        DeleteTopics,
        charge=lambda count: broker.quotas.take_mutations(context, count, strict=strict),
    )
    for result, outcome in zip(chosen, outcomes, strict=True):
        if isinstance(outcome, KafkaError):
            _refuse(result, outcome)
            continue
        result.name = outcome.name
        result.error_message = None


def _refuse(result: Result, refusal: KafkaError) -> None:
    result.error_code, result.error_message = refusal.code, refusal.message


def _refused(name: str | None, topic_id: Uuid, message: str) -> Result:
    return Result(name=name, topic_id=topic_id, error_code=Code.INVALID_REQUEST, error_message=message)
