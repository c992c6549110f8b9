"""Commands on topics: create, delete, add partitions.

Responsible for: which topics may be created, deleted and extended, and the records. Must not depend on: logs on
disk, requests, authorization. Errors and their messages are Kafka's; where Kafka fails with UNKNOWN_SERVER_ERROR, the
item is refused with the code that describes it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from kwire.errors import Code, KafkaError
from kwire.limits import PARTITIONS_PER_REQUEST_MAX
from kwire.metadata.config_rules import check_topic_configs, check_topic_name
from kwire.metadata.configs.effective import Described, EffectiveConfigs
from kwire.metadata.decisions.decision import DONE, Charge, Decision, Outcome, default_directory, is_active, no_charge
from kwire.metadata.decisions.placement import check_assignment, place
from kwire.metadata.entities import ResourceType, Topic
from kwire.metadata.features import DIRECTORIES
from kwire.metadata.image import MetadataImage
from kwire.types import METADATA_TOPIC, Uuid
from kwire.wire.message import Message
from kwire.wire.messages import ConfigRecord, PartitionRecord, RemoveTopicRecord, TopicRecord

USE_DEFAULT = -1

# Partition index -> replicas; a tuple of pairs, because a request may name an index twice.
Assignments: TypeAlias = tuple[tuple[int, tuple[int, ...]], ...]


@dataclass(frozen=True, slots=True)
class NewTopic:
    """A topic to create. -1 takes the broker's default; ``assignments`` takes the place of both numbers."""

    name: str
    partitions: int = USE_DEFAULT
    replication_factor: int = USE_DEFAULT
    assignments: Assignments = ()
    configs: Mapping[str, str | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NewPartitions:
    """A topic to grow to ``count`` partitions; None lets the broker place them."""

    topic: str
    count: int
    assignments: tuple[tuple[int, ...], ...] | None = None


@dataclass(frozen=True, slots=True)
class Created:
    """A topic as created; ``configs`` is every config that it runs with, if the command asks for them."""

    name: str
    topic_id: Uuid
    partitions: int
    replication_factor: int
    configs: list[Described]


def create_topics(
    image: MetadataImage,
    effective: EffectiveConfigs,
    topics: Sequence[NewTopic],
    *,
    uuid: Callable[[], Uuid],
    charge: Charge = no_charge,
    created_together: Collection[str] = (),
    described: bool = True,
) -> Decision[Created]:
    """Create each topic that can be created. To validate only, drop the records. ``described``: with ``configs``.

    The caller has refused names that occur twice in one request. Names of one request do not collide with each other:
    ``created_together`` has those that other commands of the same request have created or will.
    """
    records: list[Message] = []
    results: list[Created | KafkaError] = []
    too_many = too_many_partitions(effective, topics)
    for topic in topics:
        try:
            if too_many is not None:
                raise too_many
            check_topic_name(topic.name)
            _check_new(image, topic.name, created_together)
            created, made = _create_one(image, effective, topic, uuid, described=described)
            charge(created.partitions)
        except KafkaError as refusal:
            results.append(refusal)
            continue
        records += made
        results.append(created)
    return Decision(records, results)


def too_many_partitions(effective: EffectiveConfigs, topics: Sequence[NewTopic]) -> KafkaError | None:
    """Return the refusal of each topic of a request that asks for more partitions than one request may."""
    if len(topics) <= PARTITIONS_PER_REQUEST_MAX and _partitions_asked(effective, topics) <= PARTITIONS_PER_REQUEST_MAX:
        return None
    return KafkaError(Code.POLICY_VIOLATION, "Excessively large number of partitions per request.")


def delete_topics(image: MetadataImage, topic_ids: Sequence[Uuid], *, charge: Charge = no_charge) -> Decision[Topic]:
    """Delete topics by id, with their configs."""
    records: list[Message] = []
    results: list[Topic | KafkaError] = []
    for topic_id in topic_ids:
        topic = image.topics_by_id.get(topic_id)
        if topic is None:
            results.append(KafkaError(Code.UNKNOWN_TOPIC_ID, "This server does not host this topic ID."))
            continue
        try:
            charge(len(topic.partitions))
        except KafkaError as refusal:
            results.append(refusal)
            continue
        records.append(RemoveTopicRecord(topic_id=topic_id))
        results.append(topic)
    return Decision(records, results)


def create_partitions(
    image: MetadataImage, grown: Sequence[NewPartitions], *, charge: Charge = no_charge
) -> Decision[Outcome]:
    """Add partitions to topics. The number of partitions never decreases."""
    records: list[Message] = []
    results: list[Outcome | KafkaError] = []
    for item in grown:
        try:
            added = _grow_one(image, item)
            charge(len(added))
            records += added
            results.append(DONE)
        except KafkaError as refusal:
            results.append(refusal)
    return Decision(records, results)


# --- create ---


def _partitions_asked(effective: EffectiveConfigs, topics: Sequence[NewTopic]) -> int:
    default = effective.broker["num.partitions"]
    return sum(
        len(topic.assignments) or (default if topic.partitions == USE_DEFAULT else topic.partitions) for topic in topics
    )


def _check_new(image: MetadataImage, name: str, created_together: Collection[str]) -> None:
    if name == METADATA_TOPIC:
        raise KafkaError(Code.INVALID_REQUEST, f"Creation of internal topic {METADATA_TOPIC} is prohibited.")
    if name in image.topics:
        raise KafkaError(Code.TOPIC_ALREADY_EXISTS, f"Topic '{name}' already exists.")
    # Names of metrics turn "." into "_", so two names that differ only there would share their metrics.
    if (other := image.first_similar_topic(name, besides=created_together)) is not None:
        message = f"Topic '{name}' collides with existing topic: {other}"
        raise KafkaError(Code.INVALID_TOPIC_EXCEPTION, message)


def _create_one(
    image: MetadataImage, effective: EffectiveConfigs, topic: NewTopic, uuid: Callable[[], Uuid], *, described: bool
) -> tuple[Created, list[Message]]:
    check_topic_configs(effective, topic.configs)
    rows = _rows_by_hand(image, topic) if topic.assignments else _rows_placed(image, effective, topic)
    topic_id = uuid()
    configs = {name: text for name, text in topic.configs.items() if text is not None}
    records: list[Message] = [TopicRecord(name=topic.name, topic_id=topic_id)]
    records += [
        ConfigRecord(resource_type=ResourceType.TOPIC, resource_name=topic.name, name=name, value=text)
        for name, text in configs.items()
    ]
    records += [_partition_record(image, topic_id, index, row) for index, row in enumerate(rows)]
    rows_of_configs = effective.describe_new_topic(configs) if described else []
    return Created(topic.name, topic_id, len(rows), len(rows[0]), rows_of_configs), records


def _rows_by_hand(image: MetadataImage, topic: NewTopic) -> list[Sequence[int]]:
    for given, what in ((topic.replication_factor, "replication factor"), (topic.partitions, "numPartitions")):
        if given != USE_DEFAULT:
            message = f"A manual partition assignment was specified, but {what} was not set to -1."
            raise KafkaError(Code.INVALID_REQUEST, message)
    rows: dict[int, Sequence[int]] = {}
    replication_factor = None
    for index, replicas in topic.assignments:
        if index in rows:
            raise _bad_assignment(f"Found multiple manual partition assignments for partition {index}")
        check_assignment(image, replicas, replication_factor)
        replication_factor = len(replicas)
        if not any(is_active(image.brokers[broker_id]) for broker_id in replicas):
            raise _bad_assignment(
                f"All brokers specified in the manual partition assignment for partition {index} are fenced or in "
                "controlled shutdown."
            )
        rows[index] = replicas
    if sorted(rows) != list(range(len(rows))):
        raise _bad_assignment("partitions should be a consecutive 0-based integer sequence")
    return [rows[index] for index in range(len(rows))]


def _rows_placed(image: MetadataImage, effective: EffectiveConfigs, topic: NewTopic) -> Sequence[Sequence[int]]:
    if topic.replication_factor < USE_DEFAULT or topic.replication_factor == 0:
        message = "Replication factor must be larger than 0, or -1 to use the default value."
        raise KafkaError(Code.INVALID_REPLICATION_FACTOR, message)
    if topic.partitions < USE_DEFAULT or topic.partitions == 0:
        raise KafkaError(Code.INVALID_PARTITIONS, "Number of partitions was set to an invalid non-positive value.")
    partitions, replication_factor = topic.partitions, topic.replication_factor
    if partitions == USE_DEFAULT:
        partitions = effective.broker["num.partitions"]
    if replication_factor == USE_DEFAULT:
        replication_factor = effective.broker["default.replication.factor"]
    return _placed(image, partitions=partitions, replication_factor=replication_factor, start=len(image.topics))


def _placed(image: MetadataImage, *, partitions: int, replication_factor: int, start: int) -> list[list[int]]:
    try:
        return place(image, partitions=partitions, replication_factor=replication_factor, start=start)
    except KafkaError as refusal:
        message = f"Unable to replicate the partition {replication_factor} time(s): {refusal.message}"
        raise KafkaError(refusal.code, message) from refusal


def _partition_record(image: MetadataImage, topic_id: Uuid, index: int, replicas: Sequence[int]) -> PartitionRecord:
    in_sync = [broker_id for broker_id in replicas if is_active(image.brokers[broker_id])]
    has_directories = image.metadata_version >= DIRECTORIES
    return PartitionRecord(
        partition_id=index,
        topic_id=topic_id,
        replicas=list(replicas),
        isr=in_sync,
        leader=in_sync[0],
        leader_epoch=0,
        partition_epoch=0,
        directories=[default_directory(image, broker_id) for broker_id in replicas] if has_directories else [],
    )


# --- grow ---


def _grow_one(image: MetadataImage, item: NewPartitions) -> list[Message]:
    topic = image.topics.get(item.topic)
    if topic is None:
        raise KafkaError(Code.UNKNOWN_TOPIC_OR_PARTITION)
    had = len(topic.partitions)
    if item.count == had:
        raise KafkaError(Code.INVALID_PARTITIONS, f"Topic already has {had} partition(s).")
    if item.count < had:
        message = f"The topic {topic.name} currently has {had} partition(s); {item.count} would not be an increase."
        raise KafkaError(Code.INVALID_PARTITIONS, message)
    more = item.count - had
    if more > PARTITIONS_PER_REQUEST_MAX:
        raise KafkaError(Code.POLICY_VIOLATION, "Excessively large number of partitions per request.")
    if item.assignments is not None and len(item.assignments) != more:
        raise _bad_assignment(
            f"Attempted to add {more} additional partition(s), but only {len(item.assignments)} assignment(s) were "
            "specified."
        )
    replication_factor = len(topic.partitions[0].replicas)
    if item.assignments is None:
        rows: Sequence[Sequence[int]] = _placed(
            image, partitions=more, replication_factor=replication_factor, start=len(image.topics) + had
        )
    else:
        rows = item.assignments
        for offset, row in enumerate(rows):
            check_assignment(image, row, replication_factor)
            if not any(is_active(image.brokers[broker_id]) for broker_id in row):
                raise _bad_assignment(
                    f"All brokers specified in the manual partition assignment for partition {had + offset} are "
                    "fenced or in controlled shutdown."
                )
    return [_partition_record(image, topic.id, had + offset, row) for offset, row in enumerate(rows)]


def _bad_assignment(message: str) -> KafkaError:
    return KafkaError(Code.INVALID_REPLICA_ASSIGNMENT, message)
