"""The records that lead from one image to another.

Responsible for: replacing the content of an image by that of a snapshot, so that the parts of a broker get a ``Delta``
with the real changes only. Must not depend on: where the snapshot came from.

When a broker was cut off from the controllers for long, the log that it would read next is deleted, and it loads a
snapshot instead. Its partitions and coordinators keep running and must be changed, not made again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from kwire.metadata.entities import ResourceType, Topic
from kwire.metadata.image import MetadataImage, Record
from kwire.metadata.log.snapshot import (
    acl_record,
    broker_record,
    controller_record,
    partition_record,
    quota_record,
    scram_record,
)
from kwire.wire.messages import (
    ConfigRecord,
    FeatureLevelRecord,
    ProducerIdsRecord,
    RemoveAccessControlEntryRecord,
    RemoveDelegationTokenRecord,
    RemoveTopicRecord,
    RemoveUserScramCredentialRecord,
    TopicRecord,
    UnregisterBrokerRecord,
    UnregisterControllerRecord,
)


def differences(before: MetadataImage, after: MetadataImage) -> Iterator[Sequence[Record]]:
    """Yield records, some at a time, that, applied to ``before``, give ``after``.

    Each topic is a step, also one without a difference. Preserved records are only added: nothing acts on them.
    """
    yield [*_features(before, after), *_nodes(before, after)]
    yield from _topics(before, after)
    yield [*_configs(before, after), *_quotas(before, after), *_credentials(before, after), *_acls(before, after)]
    yield [record for record in after.preserved if record not in before.preserved]


def _features(before: MetadataImage, after: MetadataImage) -> Iterator[Record]:
    for name in {**after.features, **before.features}:
        level = after.features.get(name, 0)
        if level != before.features.get(name, 0):
            yield FeatureLevelRecord(name=name, feature_level=level)


def _nodes(before: MetadataImage, after: MetadataImage) -> Iterator[Record]:
    for broker in before.brokers.values():
        if broker.id not in after.brokers:
            yield UnregisterBrokerRecord(broker_id=broker.id, broker_epoch=broker.epoch)
    for broker in after.brokers.values():
        if broker != before.brokers.get(broker.id):
            yield broker_record(broker)
    for controller_id in before.controllers:
        if controller_id not in after.controllers:
            yield UnregisterControllerRecord(controller_id=controller_id)
    for controller in after.controllers.values():
        if controller != before.controllers.get(controller.id):
            yield controller_record(controller)
    if after.producer_ids is not None and after.producer_ids != before.producer_ids:
        yield ProducerIdsRecord(**after.producer_ids._asdict())


def _topics(before: MetadataImage, after: MetadataImage) -> Iterator[Sequence[Record]]:
    yield [
        RemoveTopicRecord(topic_id=topic_id) for topic_id in before.topics_by_id if topic_id not in after.topics_by_id
    ]
    for topic in after.topics.values():
        known = before.topics_by_id.get(topic.id)
        yield list(_topic(known, topic))


def _topic(known: Topic | None, topic: Topic) -> Iterator[Record]:
    if known is None:
        yield TopicRecord(name=topic.name, topic_id=topic.id)
    partitions = () if known is None else known.partitions
    for partition in topic.partitions:
        if partition.index >= len(partitions) or partition != partitions[partition.index]:
            yield partition_record(partition)


def _configs(before: MetadataImage, after: MetadataImage) -> Iterator[Record]:
    for resource in {**after.configs, **before.configs}:
        old, new = before.config(*resource), after.config(*resource)
        if resource.type is ResourceType.TOPIC and _is_another_topic(before, after, resource.name):
            old = {}  # the removal of a topic removes its configs
        for name in {**new, **old}:
            if new.get(name) != old.get(name):
                yield ConfigRecord(
                    resource_type=resource.type, resource_name=resource.name, name=name, value=new.get(name)
                )


def _is_another_topic(before: MetadataImage, after: MetadataImage, name: str) -> bool:
    old, new = before.topics.get(name), after.topics.get(name)
    return old is not None and (new is None or new.id != old.id)


def _quotas(before: MetadataImage, after: MetadataImage) -> Iterator[Record]:
    for entity in {**after.quotas, **before.quotas}:
        old, new = before.quotas.get(entity, {}), after.quotas.get(entity, {})
        for key in {**new, **old}:
            if new.get(key) != old.get(key):
                yield quota_record(entity, key, new.get(key))


def _credentials(before: MetadataImage, after: MetadataImage) -> Iterator[Record]:
    for user, mechanism in before.scram:
        if (user, mechanism) not in after.scram:
            yield RemoveUserScramCredentialRecord(name=user, mechanism=mechanism)
    for (user, mechanism), credential in after.scram.items():
        if credential != before.scram.get((user, mechanism)):
            yield scram_record(user, mechanism, credential)
    for token_id in before.tokens:
        if token_id not in after.tokens:
            yield RemoveDelegationTokenRecord(token_id=token_id)
    for token_id, token in after.tokens.items():
        if token != before.tokens.get(token_id):
            yield token


def _acls(before: MetadataImage, after: MetadataImage) -> Iterator[Record]:
    for acl_id in before.acls:
        if acl_id not in after.acls:
            yield RemoveAccessControlEntryRecord(id=acl_id)
    for acl_id, acl in after.acls.items():
        if acl_id not in before.acls:
            yield acl_record(acl_id, acl)
