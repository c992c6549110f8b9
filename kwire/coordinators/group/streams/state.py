"""The durable state of the streams groups of one partition.

Responsible for: the tables, changed by ``replay`` alone, and the records of a group as a whole. Must not depend on:
commands, timers.

    type 17  StreamsGroupMetadata                  the group's epoch, the hash of its topics, its validated topology
    type 19  StreamsGroupMemberMetadata            see ``member``
    type 20  StreamsGroupTargetAssignmentMetadata  the epoch of the target assignment, and when it was computed
    type 21  StreamsGroupTargetAssignmentMember    see ``member``
    type 22  StreamsGroupCurrentMemberAssignment   see ``member``
    type 23  StreamsGroupTopology                  see ``topology``

Compaction may leave a group's records in any order, so each is taken as it comes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from kwire.coordinators.group.modern import state as modern
from kwire.coordinators.group.modern.instances import StaticMemberTables
from kwire.coordinators.group.records import ModernEntry, modern_record
from kwire.coordinators.group.streams.member import Member, target_of_record, with_current, with_metadata
from kwire.coordinators.group.streams.tasks import TaskSet
from kwire.coordinators.group.streams.topology import Topology, topology_of
from kwire.coordinators.machine import Record
from kwire.coordinators.timeline import Table, Timeline
from kwire.wire import messages

_Config = messages.StreamsGroupMetadataValue.LastAssignmentConfig


@dataclass(frozen=True, slots=True)
class Epochs(modern.Epochs):
    """The epochs of a group, and the other fields of its record.

    ``validated_topology``: the epoch of the topology whose topics all exist, -1 if some do not. ``configs``: the
    settings that the target assignment was last computed with. ``stored_description`` and ``failed_description``: of
    a plugin that keeps descriptions of topologies; they are kept as they are.
    """

    validated_topology: int = 0
    configs: tuple[tuple[str, str], ...] = ()
    stored_description: int = -1
    failed_description: int = -1


class Target(NamedTuple):
    """The target assignment of a member."""

    tasks: TaskSet


class StreamsTables(StaticMemberTables[Epochs, Member, Target]):
    """By group id, and then: ``members`` and ``targets`` by member id, ``instances`` by instance id."""

    def __init__(self, timeline: Timeline) -> None:
        super().__init__(timeline, Epochs(), modern.MemberReader(Member, with_metadata, with_current, _target_of))
        self.topologies: Table[str, Topology] = Table(timeline)

    def replay(self, entry: ModernEntry) -> None:
        """Apply one record of a streams group."""
        group_id, key, value = entry.group_id, entry.key, entry.value
        match type(key).KEY:
            case 17:
                self._replay_metadata(group_id, value)
            case 19:
                self.replay_member(group_id, key.member_id, value)
            case 20:
                self.replay_target_metadata(group_id, value)
            case 21:
                self.replay_target(group_id, key.member_id, value)
            case 22:
                self.replay_current(group_id, key.member_id, value)
            case 23:
                self._replay_topology(group_id, value)

    def _replay_metadata(self, group_id: str, value: messages.StreamsGroupMetadataValue | None) -> None:
        if value is not None:
            self.change(
                group_id,
                group=value.epoch,
                metadata_hash=value.metadata_hash,
                validated_topology=value.validated_topology_epoch,
                configs=tuple((each.key, each.value) for each in value.last_assignment_configs or ()),
                stored_description=value.stored_description_topology_epoch,
                failed_description=value.failed_description_topology_epoch,
            )
            return
        self.remove_group(group_id)
        self.topologies.pop(group_id)

    def _replay_topology(self, group_id: str, value: Any) -> None:
        if value is None:
            self.topologies.pop(group_id)
            return
        self.change(group_id)
        topology = topology_of(value)
        if topology is not None:
            self.topologies[group_id] = topology


def _target_of(value: messages.StreamsGroupTargetAssignmentMemberValue) -> Target:
    return Target(target_of_record(value))


def epoch_record(group_id: str, epochs: Epochs) -> Record:
    """The record of ``epochs``, without the target assignment."""
    value = messages.StreamsGroupMetadataValue(
        epoch=epochs.group,
        metadata_hash=epochs.metadata_hash,
        validated_topology_epoch=epochs.validated_topology,
        last_assignment_configs=[_Config(key=key, value=value) for key, value in epochs.configs],
        stored_description_topology_epoch=epochs.stored_description,
        failed_description_topology_epoch=epochs.failed_description,
    )
    return modern_record(messages.StreamsGroupMetadataKey(group_id=group_id), value)


def epoch_tombstone(group_id: str) -> Record:
    return modern_record(messages.StreamsGroupMetadataKey(group_id=group_id), None)


def target_epoch_record(group_id: str, epoch: int, now_ms: int) -> Record:
    return modern_record(
        messages.StreamsGroupTargetAssignmentMetadataKey(group_id=group_id),
        messages.StreamsGroupTargetAssignmentMetadataValue(assignment_epoch=epoch, assignment_timestamp=now_ms),
    )


def target_epoch_tombstone(group_id: str) -> Record:
    return modern_record(messages.StreamsGroupTargetAssignmentMetadataKey(group_id=group_id), None)


def configs_of(settings: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Settings as they are stored and compared."""
    return tuple(sorted(settings.items()))
