"""The image of the cluster's metadata: topics, leaders, configs, credentials.

Responsible for: the durable state that metadata records describe, and the only way to change it: ``apply(records) ->
Delta``. Replaying the log gives the same image as applying its records did. Must not depend on: where records come
from, the checks of commands, files, sockets, time.

Maps are read-only; values are frozen (``entities.py``). A record that names something unknown means a damaged log:
KeyError, which ends the replay.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from kwire import acls
from kwire.acls import Acl, Operation, PatternType, Permission
from kwire.metadata.entities import (
    BrokerNode,
    ControllerNode,
    Endpoint,
    Partition,
    PreservedRecord,
    ProducerIdBlock,
    QuotaEntity,
    Resource,
    ResourceType,
    ScramCredential,
    ScramMechanism,
    Topic,
    VersionRange,
)
from kwire.types import TopicPartition, Uuid

if TYPE_CHECKING:
    from kwire.wire import messages
    from kwire.wire.message import Message

# A metadata record: a message with a record type, or the bytes of one that is not read here.
Record: TypeAlias = "Message | PreservedRecord"

METADATA_VERSION = "metadata.version"
KRAFT_VERSION = "kraft.version"
ELR_VERSION = "eligible.leader.replicas.version"

_NO_LEADER_CHANGE = -2
_NO_RECOVERY_CHANGE = -1


@dataclass(slots=True)
class Delta:
    """What one ``apply`` changed, for the parts that must act on it (open logs, close them, reconfigure)."""

    topics_created: list[Topic] = field(default_factory=list)
    topics_deleted: list[Topic] = field(default_factory=list)
    partitions_created: dict[TopicPartition, Partition] = field(default_factory=dict)  # those of new topics too
    partitions_changed: dict[TopicPartition, tuple[Partition, Partition]] = field(default_factory=dict)  # before, after
    configs_changed: set[Resource] = field(default_factory=set)
    brokers_changed: set[int] = field(default_factory=set)
    features_changed: set[str] = field(default_factory=set)
    scram_changed: set[tuple[str, ScramMechanism]] = field(default_factory=set)
    quotas_changed: set[QuotaEntity] = field(default_factory=set)
    acls_created: list[Acl] = field(default_factory=list)
    acls_deleted: list[Acl] = field(default_factory=list)
    tokens_changed: set[str] = field(default_factory=set)
    producer_ids_changed: bool = False


class MetadataImage:
    """The state. ``version`` counts the records applied, so that a cache can tell whether it is stale."""

    def __init__(self) -> None:
        self._topics: dict[str, Topic] = {}
        self._topics_by_id: dict[Uuid, Topic] = {}
        self._brokers: dict[int, BrokerNode] = {}
        self._controllers: dict[int, ControllerNode] = {}
        self._configs: dict[Resource, Mapping[str, str]] = {}
        self._features: dict[str, int] = {}
        self._scram: dict[tuple[str, ScramMechanism], ScramCredential] = {}
        self._quotas: dict[QuotaEntity, Mapping[str, float]] = {}
        self._acls: dict[Uuid, Acl] = {}
        self._acl_ids: dict[Acl, Uuid] = {}
        self._tokens: dict[str, messages.DelegationTokenRecord] = {}
        self.topics: Mapping[str, Topic] = MappingProxyType(self._topics)
        self.topics_by_id: Mapping[Uuid, Topic] = MappingProxyType(self._topics_by_id)
        self.brokers: Mapping[int, BrokerNode] = MappingProxyType(self._brokers)
        self.controllers: Mapping[int, ControllerNode] = MappingProxyType(self._controllers)
        self.configs: Mapping[Resource, Mapping[str, str]] = MappingProxyType(self._configs)
        self.features: Mapping[str, int] = MappingProxyType(self._features)  # as in the records, served or not
        self.scram: Mapping[tuple[str, ScramMechanism], ScramCredential] = MappingProxyType(self._scram)
        self.quotas: Mapping[QuotaEntity, Mapping[str, float]] = MappingProxyType(self._quotas)
        self.acls: Mapping[Uuid, Acl] = MappingProxyType(self._acls)
        self.acl_ids: Mapping[Acl, Uuid] = MappingProxyType(self._acl_ids)
        self.tokens: Mapping[str, messages.DelegationTokenRecord] = MappingProxyType(self._tokens)
        self.producer_ids: ProducerIdBlock | None = None
        self._preserved: list[PreservedRecord] = []
        # Topics that the current apply changes, with their partitions as lists, so that a topic of ten thousand
        # partitions is not copied ten thousand times.
        self._growing: dict[Uuid, list[Partition]] = {}
        self._directories: dict[Uuid, Uuid] = {}  # those that partitions lie in
        # Topics whose names hold "." or "_", by the name with "_" in place of ".", in order of creation.
        self._similar_names: dict[str, list[str]] = {}
        self.version = 0

    @property
    def metadata_version(self) -> int:
        """The level of metadata.version; 0 before the first record of it."""
        return self._features.get(METADATA_VERSION, 0)

    @property
    def elr_enabled(self) -> bool:
        """Whether eligible leader replicas are kept (KIP-966): min.insync.replicas is then set for the cluster."""
        return self._features.get(ELR_VERSION, 0) >= 1

    @property
    def next_producer_id(self) -> int:
        return self.producer_ids.next_producer_id if self.producer_ids else 0

    @property
    def preserved(self) -> Sequence[PreservedRecord]:
        """Records of kinds that are not read here, in their order; they go into snapshots as they came."""
        return self._preserved

    def config(self, resource_type: ResourceType, name: str) -> Mapping[str, str]:
        """Give what was set on one resource; empty when nothing was."""
        return self._configs.get(Resource(resource_type, name), _NO_CONFIGS)

    def first_similar_topic(self, name: str, *, besides: Collection[str] = ()) -> str | None:
        """Find the oldest topic whose name is this one or differs from it only in "." for "_"; None without either.

        Topics named in ``besides`` are skipped.
        """
        similar = self._similar_names.get(_unified(name), ())
        return next((other for other in similar if other not in besides), None)

    def partition(self, topic: str, index: int) -> Partition | None:
        """None for a partition that does not exist."""
        found = self._topics.get(topic)
        return found.partitions[index] if found and 0 <= index < len(found.partitions) else None

    def apply(self, records: Iterable[Record], *, failed: Callable[[Record, Exception], None] | None = None) -> Delta:
        """Change the image by committed records, in their order. Nothing else changes it.

        ``failed`` is called with a record that cannot be applied, which is then left out, as Apache Kafka's brokers do;
        without ``failed`` its exception is raised.
        """
        delta = Delta()
        self.apply_some(records, delta, failed=failed)
        self.finish(delta)
        return delta

    def apply_some(
        self, records: Iterable[Record], delta: Delta, *, failed: Callable[[Record, Exception], None] | None = None
    ) -> None:
        """Apply a part of the records of one change, as ``apply`` does, and add to ``delta``; ``finish`` comes last."""
        preserved: list[PreservedRecord] = []
        for record in records:
            if isinstance(record, PreservedRecord):
                preserved.append(record)
            else:
                try:
                    _APPLY[record.NAME](self, record, delta)
                except Exception as error:
                    if failed is None:
                        raise
                    failed(record, error)
            self.version += 1
        if preserved:
            self._preserved += preserved
        self._store_grown_topics()

    def finish(self, delta: Delta) -> None:
        """Give ``delta`` the topics that it has created as they are now."""
        delta.topics_created = [self._topics_by_id.get(topic.id, topic) for topic in delta.topics_created]

    def copy(self) -> MetadataImage:
        """Make an image with the same content. Only the maps are copied: values never change."""
        copied = MetadataImage()
        copied.become(self)
        copied._preserved = list(self._preserved)
        copied._similar_names = {name: list(names) for name, names in self._similar_names.items()}
        return copied

    def become(self, other: MetadataImage) -> None:
        """Take over the content of another image, which is not used afterwards."""
        for name in _MAPS:
            mine: dict[Any, Any] = getattr(self, name)
            mine.clear()
            mine.update(getattr(other, name))
        self.producer_ids = other.producer_ids
        self._preserved = other._preserved
        self._similar_names = other._similar_names
        self.version = other.version

    # --- topics and partitions ---

    def _topic(self, record: messages.TopicRecord, delta: Delta) -> None:
        topic = Topic(record.name, record.topic_id)
        self._topics[topic.name] = self._topics_by_id[topic.id] = topic
        self._growing[topic.id] = []
        if "." in topic.name or "_" in topic.name:
            self._similar_names.setdefault(_unified(topic.name), []).append(topic.name)
        delta.topics_created.append(topic)

    def _remove_topic(self, record: messages.RemoveTopicRecord, delta: Delta) -> None:
        self._store_grown_topics()
        self.finish(delta)
        topic = self._topics_by_id.pop(record.topic_id)
        del self._topics[topic.name]
        similar = self._similar_names.get(_unified(topic.name))
        if similar is not None:
            similar.remove(topic.name)
            if not similar:
                del self._similar_names[_unified(topic.name)]
        if self._configs.pop(Resource(ResourceType.TOPIC, topic.name), None) is not None:
            delta.configs_changed.add(Resource(ResourceType.TOPIC, topic.name))
        delta.topics_deleted.append(topic)

    def _partition(self, record: messages.PartitionRecord, delta: Delta) -> None:
        topic = self._topics_by_id[record.topic_id]
        replicas = tuple(record.replicas)
        # What is equal for many partitions is one object: a large image that was read takes half as much memory.
        partition = Partition(
            topic_id=topic.id,
            index=record.partition_id,
            replicas=replicas,
            isr=replicas if record.isr == record.replicas else tuple(record.isr),
            leader=record.leader,
            leader_epoch=record.leader_epoch,
            partition_epoch=record.partition_epoch,
            directories=tuple(map(self._directories.setdefault, record.directories, record.directories)),
            removing_replicas=tuple(record.removing_replicas),
            adding_replicas=tuple(record.adding_replicas),
            eligible_leader_replicas=tuple(record.eligible_leader_replicas or ()),
            last_known_elr=tuple(record.last_known_elr or ()),
            leader_recovery_state=record.leader_recovery_state,
        )
        partitions = self._partitions_of(topic)
        # Kafka writes the partitions of a topic in order of their index, and never leaves one out.
        if partition.index > len(partitions):
            raise KeyError(f"partition {partition.index} of {topic.name} follows only {len(partitions)}")
        if partition.index < len(partitions):  # a snapshot that an observer loads (``differences``)
            self._replace_partition(topic, partitions[partition.index], partition, delta)
            return
        partitions.append(partition)
        delta.partitions_created[TopicPartition(topic.name, partition.index)] = partition

    def _partition_change(self, record: messages.PartitionChangeRecord, delta: Delta) -> None:
        topic = self._topics_by_id[record.topic_id]
        before = self._partitions_of(topic)[record.partition_id]
        leads = record.leader != _NO_LEADER_CHANGE
        after = before._replace(
            replicas=_or_kept(record.replicas, before.replicas),
            isr=_or_kept(record.isr, before.isr),
            leader=record.leader if leads else before.leader,
            leader_epoch=before.leader_epoch + leads,
            partition_epoch=before.partition_epoch + 1,
            directories=_or_kept(record.directories, before.directories),
            removing_replicas=_or_kept(record.removing_replicas, before.removing_replicas),
            adding_replicas=_or_kept(record.adding_replicas, before.adding_replicas),
            eligible_leader_replicas=_or_kept(record.eligible_leader_replicas, before.eligible_leader_replicas),
            last_known_elr=_or_kept(record.last_known_elr, before.last_known_elr),
            leader_recovery_state=(
                before.leader_recovery_state
                if record.leader_recovery_state == _NO_RECOVERY_CHANGE
                else record.leader_recovery_state
            ),
        )
        self._replace_partition(topic, before, after, delta)

    def _replace_partition(self, topic: Topic, before: Partition, after: Partition, delta: Delta) -> None:
        self._partitions_of(topic)[after.index] = after
        name = TopicPartition(topic.name, after.index)
        if name in delta.partitions_created:
            delta.partitions_created[name] = after
            return
        first, _ = delta.partitions_changed.get(name, (before, after))
        delta.partitions_changed[name] = (first, after)

    def _partitions_of(self, topic: Topic) -> list[Partition]:
        if topic.id not in self._growing:
            self._growing[topic.id] = list(topic.partitions)
        return self._growing[topic.id]

    def _store_grown_topics(self) -> None:
        """Put the partition lists of this apply into the topics."""
        for topic_id, partitions in self._growing.items():
            grown = self._topics_by_id[topic_id]._replace(partitions=tuple(partitions))
            self._topics[grown.name] = self._topics_by_id[topic_id] = grown
        self._growing.clear()

    def _clear_elr(self, record: messages.ClearElrRecord, delta: Delta) -> None:
        names = [record.topic_name] if record.topic_name else list(self._topics)
        for name in names:
            topic = self._topics[name]
            for before in list(self._partitions_of(topic)):
                if before.eligible_leader_replicas or before.last_known_elr:
                    after = before._replace(eligible_leader_replicas=(), last_known_elr=())
                    self._replace_partition(topic, before, after, delta)

    # --- configs, quotas, credentials ---

    def _config(self, record: messages.ConfigRecord, delta: Delta) -> None:
        resource = Resource(ResourceType(record.resource_type), record.resource_name)
        configs = dict(self._configs.get(resource, _NO_CONFIGS))
        if record.value is None:
            configs.pop(record.name, None)
        else:
            configs[record.name] = record.value
        if configs:
            self._configs[resource] = MappingProxyType(configs)
        else:
            self._configs.pop(resource, None)
        delta.configs_changed.add(resource)

    def _client_quota(self, record: messages.ClientQuotaRecord, delta: Delta) -> None:
        entity = tuple(sorted((part.entity_type, part.entity_name) for part in record.entity))
        quotas = dict(self._quotas.get(entity, {}))
        if record.remove:
            quotas.pop(record.key, None)
        else:
            quotas[record.key] = record.value
        if quotas:
            self._quotas[entity] = MappingProxyType(quotas)
        else:
            self._quotas.pop(entity, None)
        delta.quotas_changed.add(entity)

    def _scram_credential(self, record: messages.UserScramCredentialRecord, delta: Delta) -> None:
        user = (record.name, ScramMechanism(record.mechanism))
        self._scram[user] = ScramCredential(
            bytes(record.salt), bytes(record.stored_key), bytes(record.server_key), record.iterations
        )
        delta.scram_changed.add(user)

    def _remove_scram(self, record: messages.RemoveUserScramCredentialRecord, delta: Delta) -> None:
        user = (record.name, ScramMechanism(record.mechanism))
        del self._scram[user]
        delta.scram_changed.add(user)

    def _acl(self, record: messages.AccessControlEntryRecord, delta: Delta) -> None:
        acl = Acl(
            acls.ResourceType(record.resource_type),
            record.resource_name,
            PatternType(record.pattern_type),
            record.principal,
            record.host,
            Operation(record.operation),
            Permission(record.permission_type),
        )
        self._acls[record.id] = acl
        self._acl_ids[acl] = record.id
        delta.acls_created.append(acl)

    def _remove_acl(self, record: messages.RemoveAccessControlEntryRecord, delta: Delta) -> None:
        acl = self._acls.pop(record.id)
        self._acl_ids.pop(acl, None)
        delta.acls_deleted.append(acl)

    def _token(self, record: messages.DelegationTokenRecord, delta: Delta) -> None:
        self._tokens[record.token_id] = record
        delta.tokens_changed.add(record.token_id)

    def _remove_token(self, record: messages.RemoveDelegationTokenRecord, delta: Delta) -> None:
        del self._tokens[record.token_id]
        delta.tokens_changed.add(record.token_id)

    # --- nodes, features, ids ---

    def _register_broker(self, record: messages.RegisterBrokerRecord, delta: Delta) -> None:
        self._brokers[record.broker_id] = BrokerNode(
            id=record.broker_id,
            epoch=record.broker_epoch,
            incarnation_id=record.incarnation_id,
            endpoints=_endpoints(record.end_points),
            features=_feature_ranges(record.features),
            rack=record.rack,
            fenced=record.fenced,
            in_controlled_shutdown=record.in_controlled_shutdown,
            log_dirs=tuple(record.log_dirs),
            cordoned_log_dirs=None if record.cordoned_log_dirs is None else tuple(record.cordoned_log_dirs),
            is_migrating_zk_broker=record.is_migrating_zk_broker,
        )
        delta.brokers_changed.add(record.broker_id)

    def _unregister_broker(self, record: messages.UnregisterBrokerRecord, delta: Delta) -> None:
        del self._brokers[record.broker_id]
        delta.brokers_changed.add(record.broker_id)

    def _fence_broker(self, record: messages.FenceBrokerRecord, delta: Delta) -> None:
        self._brokers[record.id] = self._brokers[record.id]._replace(fenced=True)
        delta.brokers_changed.add(record.id)

    def _unfence_broker(self, record: messages.UnfenceBrokerRecord, delta: Delta) -> None:
        self._brokers[record.id] = self._brokers[record.id]._replace(fenced=False)
        delta.brokers_changed.add(record.id)

    def _change_broker(self, record: messages.BrokerRegistrationChangeRecord, delta: Delta) -> None:
        before = self._brokers[record.broker_id]
        cordoned = record.cordoned_log_dirs
        self._brokers[record.broker_id] = before._replace(
            fenced=record.fenced > 0 if record.fenced else before.fenced,
            in_controlled_shutdown=before.in_controlled_shutdown or record.in_controlled_shutdown > 0,
            log_dirs=tuple(record.log_dirs) or before.log_dirs,
            cordoned_log_dirs=before.cordoned_log_dirs if cordoned is None else tuple(cordoned),
        )
        delta.brokers_changed.add(record.broker_id)

    def _register_controller(self, record: messages.RegisterControllerRecord, delta: Delta) -> None:
        del delta  # no part acts on it
        self._controllers[record.controller_id] = ControllerNode(
            id=record.controller_id,
            incarnation_id=record.incarnation_id,
            endpoints=_endpoints(record.end_points),
            features=_feature_ranges(record.features),
            zk_migration_ready=record.zk_migration_ready,
        )

    def _unregister_controller(self, record: messages.UnregisterControllerRecord, delta: Delta) -> None:
        del delta  # no part acts on it
        del self._controllers[record.controller_id]

    def _feature_level(self, record: messages.FeatureLevelRecord, delta: Delta) -> None:
        # A level of 0 disables the feature; metadata.version always has one.
        if record.feature_level:
            self._features[record.name] = record.feature_level
        else:
            self._features.pop(record.name, None)
        delta.features_changed.add(record.name)

    def _producer_ids(self, record: messages.ProducerIdsRecord, delta: Delta) -> None:
        self.producer_ids = ProducerIdBlock(record.broker_id, record.broker_epoch, record.next_producer_id)
        delta.producer_ids_changed = True

    def _no_change(self, record: Message, delta: Delta) -> None:
        """Skip records without state: NoOp, the frames of a transaction, a completed migration."""


_NO_CONFIGS: Mapping[str, str] = MappingProxyType({})

# By name and not by class: a message class is made from its spec when first used, and most logs hold few kinds.
_APPLY: Mapping[str, Callable[[MetadataImage, Any, Delta], None]] = {
    "TopicRecord": MetadataImage._topic,  # noqa: SLF001 - the table belongs to the class
    "RemoveTopicRecord": MetadataImage._remove_topic,  # noqa: SLF001
    "PartitionRecord": MetadataImage._partition,  # noqa: SLF001
    "PartitionChangeRecord": MetadataImage._partition_change,  # noqa: SLF001
    "ClearElrRecord": MetadataImage._clear_elr,  # noqa: SLF001
    "ConfigRecord": MetadataImage._config,  # noqa: SLF001
    "ClientQuotaRecord": MetadataImage._client_quota,  # noqa: SLF001
    "UserScramCredentialRecord": MetadataImage._scram_credential,  # noqa: SLF001
    "RemoveUserScramCredentialRecord": MetadataImage._remove_scram,  # noqa: SLF001
    "AccessControlEntryRecord": MetadataImage._acl,  # noqa: SLF001
    "RemoveAccessControlEntryRecord": MetadataImage._remove_acl,  # noqa: SLF001
    "DelegationTokenRecord": MetadataImage._token,  # noqa: SLF001
    "RemoveDelegationTokenRecord": MetadataImage._remove_token,  # noqa: SLF001
    "RegisterBrokerRecord": MetadataImage._register_broker,  # noqa: SLF001
    "UnregisterBrokerRecord": MetadataImage._unregister_broker,  # noqa: SLF001
    "FenceBrokerRecord": MetadataImage._fence_broker,  # noqa: SLF001
    "UnfenceBrokerRecord": MetadataImage._unfence_broker,  # noqa: SLF001
    "BrokerRegistrationChangeRecord": MetadataImage._change_broker,  # noqa: SLF001
    "RegisterControllerRecord": MetadataImage._register_controller,  # noqa: SLF001
    "UnregisterControllerRecord": MetadataImage._unregister_controller,  # noqa: SLF001
    "FeatureLevelRecord": MetadataImage._feature_level,  # noqa: SLF001
    "ProducerIdsRecord": MetadataImage._producer_ids,  # noqa: SLF001
    "NoOpRecord": MetadataImage._no_change,  # noqa: SLF001
    "BeginTransactionRecord": MetadataImage._no_change,  # noqa: SLF001
    "EndTransactionRecord": MetadataImage._no_change,  # noqa: SLF001
    "AbortTransactionRecord": MetadataImage._no_change,  # noqa: SLF001
    "ZkMigrationStateRecord": MetadataImage._no_change,  # noqa: SLF001
}


_MAPS = ("_topics", "_topics_by_id", "_brokers", "_controllers", "_configs", "_features", "_scram", "_quotas", "_acls",
         "_acl_ids", "_tokens")  # fmt: skip

_T = TypeVar("_T")


def _unified(name: str) -> str:
    return name.replace(".", "_")


def _or_kept(given: list[_T] | None, kept: tuple[_T, ...]) -> tuple[_T, ...]:
    return kept if given is None else tuple(given)


def _endpoints(records: Iterable[Any]) -> tuple[Endpoint, ...]:
    return tuple(Endpoint(point.name, point.host, point.port, point.security_protocol) for point in records)


def _feature_ranges(records: Iterable[Any]) -> Mapping[str, VersionRange]:
    return MappingProxyType(
        {one.name: VersionRange(one.min_supported_version, one.max_supported_version) for one in records}
    )
