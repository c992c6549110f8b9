"""The topics of a Streams application: which names it may use, and the internal ones that are created for it.

Responsible for: the checks that precede the machine, and the creation of missing internal topics. Must not depend on:
how many partitions they need.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kwire.api.modern_groups import may_describe_all
from kwire.api.pacing import paced
from kwire.broker.requests.context import Context
from kwire.coordinators.group.streams.internal_topics import InternalTopic, Problem, Status
from kwire.errors import Code, KafkaError
from kwire.metadata.commands.topics import CreateTopics
from kwire.metadata.config_rules import check_topic_name
from kwire.metadata.decisions.topics import USE_DEFAULT, NewTopic, too_many_partitions
from kwire.security.operations import Operation, ResourceType
from kwire.types import INTERNAL_TOPICS
from kwire.wire.messages import StreamsGroupHeartbeatRequest


async def check_topics(context: Context, topology: StreamsGroupHeartbeatRequest.Topology) -> None:
    """KafkaError(STREAMS_INVALID_TOPOLOGY, TOPIC_AUTHORIZATION_FAILED)."""
    topics: list[str] = []
    async for subtopology in paced(context, topology.subtopologies):
        topics += _topics(subtopology)
    internal = [topic for topic in topics if topic in INTERNAL_TOPICS]
    if internal:
        raise KafkaError(
            Code.STREAMS_INVALID_TOPOLOGY,
            f"Use of Kafka internal topics {','.join(internal)} in a Kafka Streams topology is prohibited.",
        )
    invalid = [topic async for topic in paced(context, topics) if not _is_valid(topic)]
    if invalid:
        raise KafkaError(Code.STREAMS_INVALID_TOPOLOGY, f"Topic names {','.join(invalid)} are not valid topic names.")
    if not await may_describe_all(context, topics):
        raise KafkaError(Code.TOPIC_AUTHORIZATION_FAILED)


async def create_internal_topics(
    context: Context, missing: Mapping[str, InternalTopic], statuses: Sequence[Problem]
) -> tuple[Problem, ...]:
    """Create the missing topics; returns the statuses, where that of missing topics also has the failures."""
    note = ""
    denied = _denied(context, missing)
    if denied:
        note = f"; Unauthorized to CREATE on topics {', '.join(denied)}."
    else:
        refusals = await _create(context, missing)
        if refusals:
            note = f"; Creation failed: {', '.join(refusals)}."
    return tuple(
        Problem(status, detail + note) if status is Status.MISSING_INTERNAL_TOPICS else Problem(status, detail)
        for status, detail in statuses
    )


def _topics(subtopology: StreamsGroupHeartbeatRequest.Subtopology) -> list[str]:
    return [
        *subtopology.source_topics,
        *subtopology.repartition_sink_topics,
        *[topic.name for topic in subtopology.repartition_source_topics],
        *[topic.name for topic in subtopology.state_changelog_topics],
    ]


def _is_valid(topic: str) -> bool:
    try:
        check_topic_name(topic)
    except KafkaError:
        return False
    return True


def _denied(context: Context, missing: Mapping[str, InternalTopic]) -> list[str]:
    if context.may_cluster(Operation.CREATE, audited=False):
        return []
    return [topic for topic in missing if not context.may(Operation.CREATE, ResourceType.TOPIC, topic)]


async def _create(context: Context, missing: Mapping[str, InternalTopic]) -> list[str]:
    """The refusals, each as ``topic (reason)``; a topic that exists by now counts as created."""
    broker = context.broker
    topics = [
        NewTopic(
            topic.name,
            partitions=topic.partitions,
            replication_factor=topic.replication_factor or USE_DEFAULT,
            configs=dict(topic.configs),
        )
        for topic in missing.values()
    ]
    too_many = too_many_partitions(broker.configs, topics)
    if too_many is not None:
        return [f"{topic.name} ({too_many.message})" for topic in topics]
    outcomes = await broker.controller.submit(CreateTopics(topics))
    return [
        f"{topic.name} ({outcome.message or outcome.code.name})"
        for topic, outcome in zip(topics, outcomes, strict=True)
        if isinstance(outcome, KafkaError) and outcome.code is not Code.TOPIC_ALREADY_EXISTS
    ]
