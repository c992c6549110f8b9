"""The commands that change the cluster's metadata, as values.

Responsible for: what each command says, and which function decides it (``topics``, ``alter_configs``, ``nodes``, ...).
Must not depend on: the metadata log, requests, connections, authorization.

A command is a frozen value without references to the broker, so a controller in this process can decide it
(``decide``), and a client of another controller can send it as a request: CreateTopics as API 19, AllocateProducerIds
as API 67, and so on. The result is a list with one entry per item of the command, in its order: a value, or the
KafkaError that refuses the item.

To add a command, write one class here and the function that decides it; ``Controller.submit`` needs no change.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from kwire.acls import Acl, AclFilter
from kwire.errors import KafkaError
from kwire.metadata.acls import create_acls, delete_acls
from kwire.metadata.alter_configs import ConfigChange, alter_configs, alter_configs_incrementally
from kwire.metadata.cluster.directories import assign_own_directories
from kwire.metadata.cluster.elections import bump_leader_epoch, elect_leaders
from kwire.metadata.cluster.reassignment import Reassignment, alter_reassignments
from kwire.metadata.credentials import (
    QuotaAlteration,
    ScramDeletion,
    ScramUpsertion,
    alter_client_quotas,
    alter_scram_credentials,
)
from kwire.metadata.decision import DONE, Charge, Decision, Outcome
from kwire.metadata.effective import EffectiveConfigs
from kwire.metadata.entities import Resource, Topic
from kwire.metadata.image import MetadataImage
from kwire.metadata.nodes import reserve_producer_ids, unregister_broker, unregister_controller
from kwire.metadata.topics import Created, NewPartitions, NewTopic, create_partitions, create_topics, delete_topics
from kwire.metadata.update_features import FeatureUpdate, update_features
from kwire.types import TopicPartition, Uuid
from kwire.wire.message import Message

T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, slots=True)
class ControllerState:
    """What a controller decides from: the committed image, the effective configs, and a source of topic ids."""

    image: MetadataImage
    configs: EffectiveConfigs
    node_id: int
    kraft_version: int
    uuid: Callable[[], Uuid]


class Command(ABC, Generic[T_co]):
    """A change of metadata. ``validate_only``: decide and answer, but change nothing."""

    __slots__ = ()

    validate_only: bool = False

    @abstractmethod
    def decide(self, state: ControllerState, charge: Charge) -> Decision[T_co]:
        """Decide the records and the results. Changes nothing.

        ``charge(count)`` counts partition mutations against the client's quota (KIP-599) and raises KafkaError when
        the quota is used up.
        """


@dataclass(frozen=True)
class CreateTopics(Command[Created]):
    """Create topics. The caller has refused names that occur twice in one request.

    ``created_together``: the new names of the whole request, when it is submitted a few topics at a time.
    ``described``: the results have all configs of the new topics, which takes longer than the rest.
    """

    topics: Sequence[NewTopic]
    validate_only: bool = False
    created_together: Collection[str] = ()
    described: bool = True

    def decide(self, state: ControllerState, charge: Charge) -> Decision[Created]:
        return create_topics(
            state.image,
            state.configs,
            self.topics,
            uuid=state.uuid,
            charge=charge,
            created_together=self.created_together,
            described=self.described,
        )


@dataclass(frozen=True)
class DeleteTopics(Command[Topic]):
    """Delete topics by id. A result is the topic as it was."""

    topic_ids: Sequence[Uuid]

    def decide(self, state: ControllerState, charge: Charge) -> Decision[Topic]:
        return delete_topics(state.image, self.topic_ids, charge=charge)


@dataclass(frozen=True)
class CreatePartitions(Command[Outcome]):
    """Add partitions to topics. The caller has refused names that occur twice in one request."""

    topics: Sequence[NewPartitions]
    validate_only: bool = False

    def decide(self, state: ControllerState, charge: Charge) -> Decision[Outcome]:
        return create_partitions(state.image, self.topics, charge=charge)


@dataclass(frozen=True)
class ElectLeaders(Command[Outcome]):
    """Elect leaders (KIP-460). ``election_type``: 0 preferred, 1 unclean."""

    election_type: int
    partitions: Sequence[TopicPartition]

    def decide(self, state: ControllerState, charge: Charge) -> Decision[Outcome]:
        del charge
        return elect_leaders(state.image, state.configs, self.election_type, self.partitions)


@dataclass(frozen=True)
class BumpLeaderEpochs(Command[Outcome]):
    """Begin a new leader epoch of partitions, with the leaders that they have."""

    partitions: Sequence[TopicPartition]

    def decide(self, state: ControllerState, charge: Charge) -> Decision[Outcome]:
        del charge
        return each(self.partitions, lambda item: bump_leader_epoch(state.image, item.topic, item.partition))


@dataclass(frozen=True)
class AlterPartitionReassignments(Command[Outcome]):
    """Move replicas to other brokers (KIP-455)."""

    reassignments: Sequence[Reassignment]
    allow_replication_factor_change: bool = True

    def decide(self, state: ControllerState, charge: Charge) -> Decision[Outcome]:
        del charge
        return alter_reassignments(
            state.image,
            state.configs,
            self.reassignments,
            allow_replication_factor_change=self.allow_replication_factor_change,
        )


@dataclass(frozen=True)
class AlterConfigs(Command[Outcome]):
    """Replace all configs of each resource."""

    resources: Sequence[tuple[Resource, Sequence[tuple[str, str | None]]]]
    validate_only: bool = False

    def decide(self, state: ControllerState, charge: Charge) -> Decision[Outcome]:
        del charge
        return each(
            self.resources, lambda item: alter_configs(state.image, state.configs, resource=item[0], configs=item[1])
        )


@dataclass(frozen=True)
class IncrementalAlterConfigs(Command[Outcome]):
    """Change single config entries of each resource (KIP-339)."""

    resources: Sequence[tuple[Resource, Sequence[ConfigChange]]]
    validate_only: bool = False

    def decide(self, state: ControllerState, charge: Charge) -> Decision[Outcome]:
        del charge
        return each(
            self.resources,
            lambda item: alter_configs_incrementally(state.image, state.configs, resource=item[0], changes=item[1]),
        )


@dataclass(frozen=True)
class AlterClientQuotas(Command[Outcome]):
    """Set and remove client quotas, one result per entity (KIP-546)."""

    alterations: Sequence[QuotaAlteration]
    validate_only: bool = False

    def decide(self, state: ControllerState, charge: Charge) -> Decision[Outcome]:
        del charge
        return each(self.alterations, lambda item: alter_client_quotas(state.image, item.entity, item.changes))


@dataclass(frozen=True)
class AlterUserScramCredentials(Command[Outcome]):
    """Store and delete SCRAM credentials; one result per deletion, then one per upsertion (KIP-554)."""

    deletions: Sequence[ScramDeletion]
    upsertions: Sequence[ScramUpsertion]

    def decide(self, state: ControllerState, charge: Charge) -> Decision[Outcome]:
        del charge
        return alter_scram_credentials(state.image, self.deletions, self.upsertions)


@dataclass(frozen=True)
class CreateAcls(Command[Outcome]):
    """Create ACLs; one that exists already is accepted."""

    acls: Sequence[Acl]

    def decide(self, state: ControllerState, charge: Charge) -> Decision[Outcome]:
        del charge
        return create_acls(state.image, self.acls, uuid=state.uuid)


@dataclass(frozen=True)
class DeleteAcls(Command[Sequence[Acl]]):
    """Delete the ACLs that filters select. A result has the ACLs that one filter selected."""

    filters: Sequence[AclFilter]

    def decide(self, state: ControllerState, charge: Charge) -> Decision[Sequence[Acl]]:
        del charge
        return delete_acls(state.image, self.filters)


@dataclass(frozen=True)
class UpdateFeatures(Command[Outcome]):
    """Change finalized feature levels, all or none; one result for the whole command (KIP-584)."""

    updates: Sequence[FeatureUpdate]
    validate_only: bool = False

    def decide(self, state: ControllerState, charge: Charge) -> Decision[Outcome]:
        del charge
        return each(
            [self.updates],
            lambda updates: update_features(
                state.image, updates, node_id=state.node_id, kraft_version=state.kraft_version
            ),
        )


@dataclass(frozen=True)
class UnregisterBroker(Command[Outcome]):
    """Remove a broker's registration (KIP-919); one result."""

    broker_id: int

    def decide(self, state: ControllerState, charge: Charge) -> Decision[Outcome]:
        del charge
        return each([self.broker_id], lambda broker_id: unregister_broker(state.image, state.configs, broker_id))


@dataclass(frozen=True)
class UnregisterController(Command[Outcome]):
    """Remove a controller's registration; one result. ``own_id`` is the id of the active controller."""

    controller_id: int
    own_id: int

    def decide(self, state: ControllerState, charge: Charge) -> Decision[Outcome]:
        del charge
        return each(
            [self.controller_id],
            lambda controller_id: unregister_controller(state.image, controller_id, own_id=self.own_id),
        )


@dataclass(frozen=True)
class AllocateProducerIds(Command[range]):
    """Reserve a block of producer ids for a broker (KIP-730); one result, the ids of the block."""

    broker_id: int
    count: int

    def decide(self, state: ControllerState, charge: Charge) -> Decision[range]:
        del charge
        try:
            first, records = reserve_producer_ids(state.image, self.broker_id, count=self.count)
        except KafkaError as refusal:
            return Decision([], [refusal])
        return Decision(records, [range(first, first + self.count)])


@dataclass(frozen=True)
class AssignReplicasToDirs(Command[Outcome]):
    """Record in which log directory a broker holds its replicas (KIP-858); one result for the whole command."""

    broker_id: int
    directories: Mapping[TopicPartition, Uuid]

    def decide(self, state: ControllerState, charge: Charge) -> Decision[Outcome]:
        del charge
        records = assign_own_directories(state.image, state.configs, self.broker_id, self.directories)
        return Decision(records, [DONE])


_Item = TypeVar("_Item")


def each(items: Sequence[_Item], decide_one: Callable[[_Item], list[Message]]) -> Decision[Outcome]:
    """Decide items one by one: the records of those that are accepted, and a result for each."""
    records: list[Message] = []
    results: list[Outcome | KafkaError] = []
    for item in items:
        try:
            records += decide_one(item)
            results.append(DONE)
        except KafkaError as refusal:
            results.append(refusal)
    return Decision(records, results)
