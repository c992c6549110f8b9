"""The durable state of the share groups of one partition.

Responsible for: the tables, changed by ``replay`` alone, and the records of a group as a whole. Must not depend on:
commands, timers.

    type 10  ShareGroupMemberMetadata            see ``member``
    type 11  ShareGroupMetadata                  the group's epoch, and the hash of the topics that it reads
    type 12  ShareGroupTargetAssignmentMetadata  the epoch of the target assignment, and when it was computed
    type 13  ShareGroupTargetAssignmentMember    what the target assignment gives a member
    type 14  ShareGroupCurrentMemberAssignment   see ``member``
    type 15  ShareGroupStatePartitionMetadata    which partitions have a state in the share coordinator

Compaction may leave a group's records in any order, so each is taken as it comes.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from kwire.coordinators.group.modern.assignment import Partitions, partitions_of
from kwire.coordinators.group.records import ModernEntry, modern_record
from kwire.coordinators.group.share.member import Member, with_current, with_subscription
from kwire.coordinators.machine import Record
from kwire.coordinators.timeline import NestedTable, Table, Timeline
from kwire.types import Uuid
from kwire.wire.messages import (
    ShareGroupMetadataKey,
    ShareGroupMetadataValue,
    ShareGroupStatePartitionMetadataKey,
    ShareGroupStatePartitionMetadataValue,
    ShareGroupTargetAssignmentMetadataKey,
    ShareGroupTargetAssignmentMetadataValue,
)


@dataclass(frozen=True, slots=True)
class Epochs:
    """The epochs of a group, which begin at 1. ``assigned_at_ms`` 0: there was no target assignment yet."""

    group: int = 1
    metadata_hash: int = 0
    assignment: int = 1
    assigned_at_ms: int = 0


@dataclass(frozen=True, slots=True)
class TopicState:
    """Partitions of one topic."""

    name: str
    partitions: frozenset[int]


@dataclass(frozen=True, slots=True)
class States:
    """Which partitions have a state in the share coordinator, get one, or lose it. By topic id."""

    initializing: Mapping[Uuid, TopicState]
    initialized: Mapping[Uuid, TopicState]
    deleting: Mapping[Uuid, str]


NO_STATES = States({}, {}, {})


class ShareTables:
    """By group id, and then: ``members`` and ``targets`` by member id."""

    def __init__(self, timeline: Timeline) -> None:
        self.epochs: Table[str, Epochs] = Table(timeline)
        self.members: NestedTable[Member] = NestedTable(timeline)
        # In a tuple, as the tables treat a dict as a nested table.
        self.targets: NestedTable[tuple[Partitions]] = NestedTable(timeline)
        self.states: Table[str, States] = Table(timeline)

    def replay(self, entry: ModernEntry) -> None:
        """Apply one record of a share group."""
        group_id, key, value = entry.group_id, entry.key, entry.value
        match type(key).KEY:
            case 10:
                self._replay_subscription(group_id, key.member_id, value)
            case 11:
                self._replay_metadata(group_id, value)
            case 12:
                self._replay_target_metadata(group_id, value)
            case 13:
                self._replay_target(group_id, key.member_id, value)
            case 14:
                self._replay_current(group_id, key.member_id, value)
            case 15:
                self._replay_states(group_id, value)

    def _change(self, group_id: str, **fields: Any) -> None:
        self.epochs[group_id] = replace(self.epochs.get(group_id) or Epochs(), **fields)

    def _replay_metadata(self, group_id: str, value: ShareGroupMetadataValue | None) -> None:
        if value is not None:
            self._change(group_id, group=value.epoch, metadata_hash=value.metadata_hash)
            return
        self.epochs.pop(group_id)
        self.states.pop(group_id)
        for path, _ in self.targets.under(group_id):
            self.targets.remove(path)
        for path, _ in self.members.under(group_id):
            self.members.remove(path)

    def _replay_subscription(self, group_id: str, member_id: str, value: Any) -> None:
        path = (group_id, member_id)
        if value is None:
            self.members.remove(path)
            return
        self._change(group_id)
        self.members.set(path, with_subscription(self.members.get(path) or Member(member_id), value))

    def _replay_current(self, group_id: str, member_id: str, value: Any) -> None:
        path = (group_id, member_id)
        before = self.members.get(path)
        if before is None and value is None:
            return
        self._change(group_id)
        self.members.set(path, with_current(before or Member(member_id), value))

    def _replay_target_metadata(self, group_id: str, value: Any) -> None:
        if value is not None:
            self._change(group_id, assignment=value.assignment_epoch, assigned_at_ms=value.assignment_timestamp)
        elif group_id in self.epochs:
            self._change(group_id, assignment=-1, assigned_at_ms=0)

    def _replay_target(self, group_id: str, member_id: str, value: Any) -> None:
        path = (group_id, member_id)
        if value is None:
            self.targets.remove(path)
            return
        self._change(group_id)
        pairs = ((each.topic_id, each.partitions) for each in value.topic_partitions)
        self.targets.set(path, (partitions_of(pairs),))

    def _replay_states(self, group_id: str, value: Any) -> None:
        if value is None:
            self.states.pop(group_id)
            return
        self._change(group_id)
        self.states[group_id] = States(
            _topic_states(value.initializing_topics),
            _topic_states(value.initialized_topics),
            {each.topic_id: each.topic_name for each in value.deleting_topics},
        )


def _topic_states(topics: Iterable[Any]) -> dict[Uuid, TopicState]:
    return {each.topic_id: TopicState(each.topic_name, frozenset(each.partitions)) for each in topics}


def joined(first: Mapping[Uuid, TopicState], second: Mapping[Uuid, TopicState]) -> dict[Uuid, TopicState]:
    """The partitions of both."""
    found = dict(first)
    for topic_id, state in second.items():
        before = found.get(topic_id)
        found[topic_id] = state if before is None else replace(state, partitions=before.partitions | state.partitions)
    return found


def without(states: Mapping[Uuid, TopicState], removed: Mapping[Uuid, Iterable[int]]) -> dict[Uuid, TopicState]:
    """What remains without these partitions; a topic of which none remains is left out."""
    found: dict[Uuid, TopicState] = {}
    for topic_id, state in states.items():
        left = state.partitions - frozenset(removed.get(topic_id, ()))
        if left:
            found[topic_id] = replace(state, partitions=left)
    return found


def epoch_record(group_id: str, epoch: int, metadata_hash: int) -> Record:
    return modern_record(
        ShareGroupMetadataKey(group_id=group_id), ShareGroupMetadataValue(epoch=epoch, metadata_hash=metadata_hash)
    )


def epoch_tombstone(group_id: str) -> Record:
    return modern_record(ShareGroupMetadataKey(group_id=group_id), None)


def target_epoch_record(group_id: str, epoch: int, now_ms: int) -> Record:
    return modern_record(
        ShareGroupTargetAssignmentMetadataKey(group_id=group_id),
        ShareGroupTargetAssignmentMetadataValue(assignment_epoch=epoch, assignment_timestamp=now_ms),
    )


def target_epoch_tombstone(group_id: str) -> Record:
    return modern_record(ShareGroupTargetAssignmentMetadataKey(group_id=group_id), None)


def states_record(group_id: str, states: States) -> Record:
    def topics(of: Mapping[Uuid, TopicState]) -> list[ShareGroupStatePartitionMetadataValue.TopicPartitionsInfo]:
        return [
            ShareGroupStatePartitionMetadataValue.TopicPartitionsInfo(
                topic_id=topic_id, topic_name=state.name, partitions=sorted(state.partitions)
            )
            for topic_id, state in of.items()
        ]

    value = ShareGroupStatePartitionMetadataValue(
        initializing_topics=topics(states.initializing),
        initialized_topics=topics(states.initialized),
        deleting_topics=[
            ShareGroupStatePartitionMetadataValue.TopicInfo(topic_id=topic_id, topic_name=name)
            for topic_id, name in states.deleting.items()
        ],
    )
    return modern_record(ShareGroupStatePartitionMetadataKey(group_id=group_id), value)


def states_tombstone(group_id: str) -> Record:
    return modern_record(ShareGroupStatePartitionMetadataKey(group_id=group_id), None)
