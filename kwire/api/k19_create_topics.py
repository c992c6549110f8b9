"""CreateTopics (key 19).

Versions: 2-7.

Behaviour: each topic is judged by itself and created at once; when the answer is sent, the topic can be used. With
``validate_only`` everything is judged and nothing created. ``timeout_ms`` does not matter: nothing takes time.

Version notes: 4 lets the broker choose partitions and replication factor by -1 (KIP-464, also honoured before); 5
answers with the numbers and configs of the new topic (KIP-525); 6 adds THROTTLING_QUOTA_EXCEEDED (KIP-599); 7 with
its id (KIP-516).

Left out: topic policies, which are Java classes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final, TypeAlias

from kwire.api.pacing import paced, submit_in_slices
from kwire.api.probes import NO_TOPIC, Probe
from kwire.broker.requests.context import Context
from kwire.errors import Code, KafkaError
from kwire.metadata.commands.topics import CreateTopics
from kwire.metadata.decisions.topics import Created, NewTopic, too_many_partitions
from kwire.security.operations import Operation, ResourceType
from kwire.wire.messages import CreateTopicsRequest, CreateTopicsResponse

PROBE: Probe = {
    "topics": [{"name": NO_TOPIC, "num_partitions": 1, "replication_factor": 1}],
    "validate_only": True,
}

_THROTTLING_ERROR_SINCE: Final = 6  # KIP-599

Result = CreateTopicsResponse.CreatableTopicResult
Config = CreateTopicsResponse.CreatableTopicConfigs
# A topic's own configs, and what is shown of it: topics of one request are mostly alike, and a thousand have 33,000
# configs to show.
Shown: TypeAlias = dict[frozenset[tuple[str, str | None]], list[Config]]


async def handle(context: Context, request: CreateTopicsRequest) -> CreateTopicsResponse:
    broker = context.broker
    counts = Counter(topic.name for topic in request.topics)
    denied = await _denied(context, counts)
    wanted = [
        _new_topic(topic)
        async for topic in paced(context, request.topics)
        if counts[topic.name] == 1 and topic.name not in denied
    ]
    strict = context.api_version >= _THROTTLING_ERROR_SINCE
    outcomes: Sequence[Created | KafkaError]
    too_many = too_many_partitions(broker.configs, wanted)
    if too_many is not None:
        outcomes = [too_many] * len(wanted)
    else:
        new = frozenset(topic.name for topic in wanted if topic.name not in broker.image.topics)
        outcomes = await submit_in_slices(
            context,
            wanted,
            lambda topics: CreateTopics(topics, validate_only=request.validate_only, created_together=new),
            charge=lambda count: broker.quotas.take_mutations(context, count, strict=strict),
        )
    shown: Shown = {}
    results = [
        _result(context, topic, outcome, shown)
        async for topic, outcome in paced(context, zip(wanted, outcomes, strict=True))
    ]
    results += [
        _refused(name, KafkaError(Code.INVALID_REQUEST, "Duplicate topic name."))
        async for name, count in paced(context, counts.items())
        if count > 1
    ]
    results += [
        _refused(name, KafkaError(Code.TOPIC_AUTHORIZATION_FAILED, "Authorization failed."))
        async for name in paced(context, denied)
    ]
    return CreateTopicsResponse(throttle_time_ms=context.throttle_ms, topics=results)


async def _denied(context: Context, counts: Counter[str]) -> dict[str, None]:
    """The topics, named once, that the client may not create."""
    if context.may_cluster(Operation.CREATE, audited=False):
        return {}
    return {
        name: None
        async for name, count in paced(context, counts.items())
        if count == 1 and not context.may(Operation.CREATE, ResourceType.TOPIC, name)
    }


def _new_topic(topic: CreateTopicsRequest.CreatableTopic) -> NewTopic:
    return NewTopic(
        name=topic.name,
        partitions=topic.num_partitions,
        replication_factor=topic.replication_factor,
        assignments=tuple((one.partition_index, tuple(one.broker_ids)) for one in topic.assignments),
        configs={config.name: config.value for config in topic.configs},
    )


def _result(context: Context, topic: NewTopic, result: Created | KafkaError, shown: Shown) -> Result:
    if isinstance(result, KafkaError):
        return _refused(topic.name, result)
    if not context.may(Operation.DESCRIBE_CONFIGS, ResourceType.TOPIC, topic.name, audited=False):
        return Result(
            name=topic.name,
            topic_id=result.topic_id,
            error_message=None,
            topic_config_error_code=Code.TOPIC_AUTHORIZATION_FAILED,
            configs=[],
        )
    own = frozenset(topic.configs.items())
    if own not in shown:
        shown[own] = [
            Config(
                name=config.name,
                value=config.value,
                read_only=config.read_only,
                config_source=config.source,
                is_sensitive=config.sensitive,
            )
            for config in result.configs
        ]
    return Result(
        name=topic.name,
        topic_id=result.topic_id,
        error_message=None,
        num_partitions=result.partitions,
        replication_factor=result.replication_factor,
        configs=shown[own],
    )


def _refused(name: str, refusal: KafkaError) -> Result:
    return Result(name=name, error_code=refusal.code, error_message=refusal.message, configs=[])
