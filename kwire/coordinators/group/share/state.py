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

from kwire.coordinators.group.modern.assignment import Target, target_of
from kwire.coordinators.group.modern.state import Epochs, MemberReader, ModernTables
from kwire.coordinators.group.records import ModernEntry, modern_record
from kwire.coordinators.group.share.member import Member, with_current, with_subscription
from kwire.coordinators.machine import Record
from kwire.coordinators.timeline import Table, Timeline
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


class ShareTables(ModernTables[Epochs, Member, Target]):
    """By group id, and then: ``members`` and ``targets`` by member id."""

    def __init__(self, timeline: Timeline) -> None:
        super().__init__(timeline, Epochs(), MemberReader(Member, with_subscription, with_current, target_of))
        self.states: Table[str, States] = Table(timeline)

    def replay(self, entry: ModernEntry) -> None:
        """Apply one record of a share group."""
        group_id, key, value = entry.group_id, entry.key, entry.value
        match type(key).KEY:
            case 10:
                self.replay_member(group_id, key.member_id, value)
            case 11:
                self._replay_metadata(group_id, value)
            case 12:
                self.replay_target_metadata(group_id, value)
            case 13:
                self.replay_target(group_id, key.member_id, value)
            case 14:
                self.replay_current(group_id, key.member_id, value)
            case 15:
                self._replay_states(group_id, value)

    def _replay_metadata(self, group_id: str, value: ShareGroupMetadataValue | None) -> None:
        if value is not None:
            self.change(group_id, group=value.epoch, metadata_hash=value.metadata_hash)
            return
        self.remove_group(group_id)
        self.states.pop(group_id)

    def _replay_states(self, group_id: str, value: Any) -> None:
        if value is None:
            self.states.pop(group_id)
            return
        self.change(group_id)
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
