"""Topics that the broker creates without a CreateTopics request: internal topics, and those that a client asked for.

Responsible for: their partition counts and configs. Must not depend on: which request or
coordinator needs the topic, what is in it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from kwire import types
from kwire.broker.controller.interface import Controller
from kwire.broker.logs import Logger
from kwire.errors import Code, KafkaError
from kwire.limits import PARTITIONS_PER_REQUEST_MAX
from kwire.metadata.commands.topics import CreateTopics
from kwire.metadata.configs.effective import EffectiveConfigs
from kwire.metadata.decisions.topics import Created, NewTopic, too_many_partitions

log = Logger("kwire.broker")

_TOPICS_AT_ONCE: Final = 16


async def auto_create_topics(
    controller: Controller,
    configs: EffectiveConfigs,
    names: Sequence[str],
    *,
    yield_turn: Callable[[], Awaitable[None]] | None = None,
) -> list[KafkaError | None]:
    """Create topics with the broker's defaults; one result per name: None, or the refusal.

    A topic that exists by now counts as created, because another request may have created it. Too many partitions
    for one request are refused together. The topics are created a few at a time, with ``yield_turn`` in between.
    """
    # Each has at least one partition, so with more names than the limit all are refused without further checks.
    topics = [new_topic(name, configs) for name in names[: PARTITIONS_PER_REQUEST_MAX + 1]]
    too_many = too_many_partitions(configs, topics)
    if too_many is not None:
        return [too_many] * len(names)
    created: set[str] = set()
    results: list[Created | KafkaError] = []
    for start in range(0, len(topics), _TOPICS_AT_ONCE):
        some = topics[start : start + _TOPICS_AT_ONCE]
        outcomes = await controller.submit(CreateTopics(some, created_together=created, described=False))
        created |= {outcome.name for outcome in outcomes if isinstance(outcome, Created)}
        results += outcomes
        if yield_turn is not None:
            await yield_turn()
    refusals: list[KafkaError | None] = []
    for name, result in zip(names, results, strict=True):
        refused = isinstance(result, KafkaError) and result.code is not Code.TOPIC_ALREADY_EXISTS
        refusals.append(result if refused and isinstance(result, KafkaError) else None)
        if not isinstance(result, KafkaError):
            log.info("auto-created topic", topic=name, partitions=result.partitions)
    return refusals


async def auto_create_topic(controller: Controller, configs: EffectiveConfigs, name: str) -> None:
    """Create one topic with the broker's defaults, unless it exists. Raises KafkaError when that is refused."""
    (refusal,) = await auto_create_topics(controller, configs, [name])
    if refusal is not None:
        raise refusal


def new_topic(name: str, configs: EffectiveConfigs) -> NewTopic:
    """Describe ``name`` as the broker creates it: an internal topic by its own settings, any other by the defaults."""
    match name:
        case types.OFFSETS_TOPIC:
            return NewTopic(
                name,
                partitions=configs.broker["offsets.topic.num.partitions"],
                replication_factor=configs.broker["offsets.topic.replication.factor"],
                configs={
                    "segment.bytes": str(configs.broker["offsets.topic.segment.bytes"]),
                    "cleanup.policy": "compact",
                    "compression.type": "producer",
                },
            )
        case types.TRANSACTION_TOPIC:
            return NewTopic(
                name,
                partitions=configs.broker["transaction.state.log.num.partitions"],
                replication_factor=configs.broker["transaction.state.log.replication.factor"],
                configs={
                    "segment.bytes": str(configs.broker["transaction.state.log.segment.bytes"]),
                    "cleanup.policy": "compact",
                    "compression.type": "uncompressed",
                    "unclean.leader.election.enable": "false",
                    "min.insync.replicas": str(configs.broker["transaction.state.log.min.isr"]),
                },
            )
        case types.SHARE_STATE_TOPIC:
            return NewTopic(
                name,
                partitions=configs.broker["share.coordinator.state.topic.num.partitions"],
                replication_factor=configs.broker["share.coordinator.state.topic.replication.factor"],
                configs={
                    "segment.bytes": str(configs.broker["share.coordinator.state.topic.segment.bytes"]),
                    "cleanup.policy": "delete",
                    "compression.type": "producer",
                    "retention.ms": "-1",
                    "min.insync.replicas": str(configs.broker["share.coordinator.state.topic.min.isr"]),
                },
            )
        case _:
            return NewTopic(name)
