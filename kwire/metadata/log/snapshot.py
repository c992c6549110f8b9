"""The image written out as records: applying them to an empty image gives the same image.

Responsible for: the records and their order, which is Kafka's: features, nodes, topics, configs, quotas, producer ids,
ACLs, credentials, tokens; preserved records come last. Must not depend on: files, batches.

The records are those of the image at the call, even if the image changes before all are taken.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from kwire.acls import Acl
from kwire.metadata.entities import (
    BrokerNode,
    ControllerNode,
    Partition,
    PreservedRecord,
    ProducerIdBlock,
    QuotaEntity,
    Resource,
    ScramCredential,
    ScramMechanism,
    Topic,
)
from kwire.metadata.image import METADATA_VERSION, MetadataImage
from kwire.types import Uuid
from kwire.wire import messages

if TYPE_CHECKING:
    from kwire.metadata.image import Record


class _Frozen(NamedTuple):
    """The content of an image at one moment. The maps are copies; their values are shared, since they never change."""

    features: Mapping[str, int]
    brokers: Sequence[BrokerNode]
    controllers: Sequence[ControllerNode]
    topics: Sequence[Topic]
    configs: Mapping[Resource, Mapping[str, str]]
    quotas: Mapping[QuotaEntity, Mapping[str, float]]
    producer_ids: ProducerIdBlock | None
    acls: Mapping[Uuid, Acl]
    scram: Mapping[tuple[str, ScramMechanism], ScramCredential]
    tokens: Sequence[messages.DelegationTokenRecord]
    preserved: Sequence[PreservedRecord]


def snapshot_records(image: MetadataImage) -> Iterator[Record]:
    """Yield the records of a snapshot of ``image`` as of this call; the image may change meanwhile."""
    return _records(
        _Frozen(
            features=dict(image.features),
            brokers=tuple(image.brokers.values()),
            controllers=tuple(image.controllers.values()),
            topics=tuple(image.topics.values()),
            configs=dict(image.configs),
            quotas=dict(image.quotas),
            producer_ids=image.producer_ids,
            acls=dict(image.acls),
            scram=dict(image.scram),
            tokens=tuple(image.tokens.values()),
            preserved=tuple(image.preserved),
        )
    )


def _records(image: _Frozen) -> Iterator[Record]:
    yield from _features(image.features)
    for broker in image.brokers:
        yield broker_record(broker)
    for controller in image.controllers:
        yield controller_record(controller)
    for topic in image.topics:
        yield messages.TopicRecord(name=topic.name, topic_id=topic.id)
        for partition in topic.partitions:
            yield partition_record(partition)
    for resource, configs in image.configs.items():
        for name, value in configs.items():
            yield messages.ConfigRecord(
                resource_type=resource.type, resource_name=resource.name, name=name, value=value
            )
    for entity, quotas in image.quotas.items():
        for key, limit in quotas.items():
            yield quota_record(entity, key, limit)
    if image.producer_ids is not None:
        yield messages.ProducerIdsRecord(**image.producer_ids._asdict())
    for acl_id, acl in image.acls.items():
        yield acl_record(acl_id, acl)
    for (user, mechanism), credential in image.scram.items():
        yield scram_record(user, mechanism, credential)
    yield from image.tokens
    yield from image.preserved


def partition_record(partition: Partition) -> messages.PartitionRecord:
    """Return the record of one partition."""
    return messages.PartitionRecord(
        partition_id=partition.index,
        topic_id=partition.topic_id,
        replicas=list(partition.replicas),
        isr=list(partition.isr),
        removing_replicas=list(partition.removing_replicas),
        adding_replicas=list(partition.adding_replicas),
        leader=partition.leader,
        leader_recovery_state=partition.leader_recovery_state,
        leader_epoch=partition.leader_epoch,
        partition_epoch=partition.partition_epoch,
        directories=list(partition.directories),
        # A tagged field that holds nothing is left out, which is what null means here.
        eligible_leader_replicas=list(partition.eligible_leader_replicas) or None,
        last_known_elr=list(partition.last_known_elr) or None,
    )


def _features(levels: Mapping[str, int]) -> Iterator[messages.FeatureLevelRecord]:
    # metadata.version comes first: readers need it for the rest.
    if METADATA_VERSION in levels:
        yield messages.FeatureLevelRecord(name=METADATA_VERSION, feature_level=levels[METADATA_VERSION])
    for name, level in levels.items():
        if name != METADATA_VERSION:
            yield messages.FeatureLevelRecord(name=name, feature_level=level)


def quota_record(entity: QuotaEntity, key: str, limit: float | None) -> messages.ClientQuotaRecord:
    """Return the record that sets one quota; None removes it."""
    parts = [messages.ClientQuotaRecord.EntityData(entity_type=kind, entity_name=name) for kind, name in entity]
    return messages.ClientQuotaRecord(entity=parts, key=key, value=limit or 0.0, remove=limit is None)


def scram_record(
    user: str, mechanism: ScramMechanism, credential: ScramCredential
) -> messages.UserScramCredentialRecord:
    """Return the record of one SCRAM credential."""
    return messages.UserScramCredentialRecord(
        name=user,
        mechanism=mechanism,
        salt=credential.salt,
        stored_key=credential.stored_key,
        server_key=credential.server_key,
        iterations=credential.iterations,
    )


def broker_record(broker: BrokerNode) -> messages.RegisterBrokerRecord:
    """Return the record of a broker's registration as it is now."""
    return messages.RegisterBrokerRecord(
        broker_id=broker.id,
        is_migrating_zk_broker=broker.is_migrating_zk_broker,
        incarnation_id=broker.incarnation_id,
        broker_epoch=broker.epoch,
        end_points=[
            messages.RegisterBrokerRecord.BrokerEndpoint(
                name=point.listener, host=point.host, port=point.port, security_protocol=point.security_protocol
            )
            for point in broker.endpoints
        ],
        features=[
            messages.RegisterBrokerRecord.BrokerFeature(
                name=name, min_supported_version=levels.lowest, max_supported_version=levels.highest
            )
            for name, levels in broker.features.items()
        ],
        rack=broker.rack,
        fenced=broker.fenced,
        in_controlled_shutdown=broker.in_controlled_shutdown,
        log_dirs=list(broker.log_dirs),
        cordoned_log_dirs=None if broker.cordoned_log_dirs is None else list(broker.cordoned_log_dirs),
    )


def controller_record(controller: ControllerNode) -> messages.RegisterControllerRecord:
    """Return the record of a controller's registration."""
    return messages.RegisterControllerRecord(
        controller_id=controller.id,
        incarnation_id=controller.incarnation_id,
        zk_migration_ready=controller.zk_migration_ready,
        end_points=[
            messages.RegisterControllerRecord.ControllerEndpoint(
                name=point.listener, host=point.host, port=point.port, security_protocol=point.security_protocol
            )
            for point in controller.endpoints
        ],
        features=[
            messages.RegisterControllerRecord.ControllerFeature(
                name=name, min_supported_version=levels.lowest, max_supported_version=levels.highest
            )
            for name, levels in controller.features.items()
        ],
    )


def acl_record(acl_id: Uuid, acl: Acl) -> messages.AccessControlEntryRecord:
    """Make the record that creates an ACL."""
    return messages.AccessControlEntryRecord(
        id=acl_id,
        resource_type=acl.resource_type,
        resource_name=acl.resource_name,
        pattern_type=acl.pattern_type,
        principal=acl.principal,
        host=acl.host,
        operation=acl.operation,
        permission_type=acl.permission,
    )
