"""The durable state of the consumer groups of one partition, and tables derived from it.

Responsible for: the tables, changed by ``replay`` alone, and the records of a group as a whole. Must not depend on:
commands, timers.

    type  3  ConsumerGroupMetadata                  the group's epoch, and the hash of the topics that it reads
    type  4  ConsumerGroupPartitionMetadata         written before Kafka 4.1; only deleted now
    type  5  ConsumerGroupMemberMetadata            see ``member``
    type  6  ConsumerGroupTargetAssignmentMetadata  the epoch of the target assignment, and when it was computed
    type  7  ConsumerGroupTargetAssignmentMember    what the target assignment gives a member
    type  8  ConsumerGroupCurrentMemberAssignment   see ``member``
    type 16  ConsumerGroupRegularExpression         the topics that match a subscribed regular expression

Compaction may leave a group's records in any order, so each is taken as it comes.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from kwire.coordinators.group.consumer.member import Member, Owned, with_current, with_subscription
from kwire.coordinators.group.modern import state as modern
from kwire.coordinators.group.modern.assignment import Partitions, Target, target_of
from kwire.coordinators.group.modern.instances import StaticMemberTables
from kwire.coordinators.group.records import ModernEntry, modern_record
from kwire.coordinators.machine import Record
from kwire.coordinators.timeline import NestedTable, Timeline
from kwire.types import Uuid
from kwire.wire import messages


@dataclass(frozen=True, slots=True)
class Epochs(modern.Epochs):
    """``has_old_metadata``: a record of type 4 is left to delete."""

    has_old_metadata: bool = False


@dataclass(frozen=True, slots=True)
class ResolvedRegex:
    """The topics that match, by the metadata of ``version``, found out at ``resolved_ms``."""

    topics: frozenset[str]
    version: int
    resolved_ms: int


class ConsumerTables(StaticMemberTables[Epochs, Member, Target]):
    """By group id, and then: ``members`` and ``targets`` by member id, ``regexes`` by expression.

    Derived from the members: ``owners``, the member that has a partition or must give it up, by topic id and partition;
    ``instances``, the member by instance id.
    """

    def __init__(self, timeline: Timeline) -> None:
        super().__init__(timeline, Epochs(), modern.MemberReader(Member, with_subscription, with_current, target_of))
        self.regexes: NestedTable[ResolvedRegex] = NestedTable(timeline)
        self.owners: NestedTable[str] = NestedTable(timeline)

    def replay(self, entry: ModernEntry) -> None:
        """Apply one record of a consumer group."""
        group_id, key, value = entry.group_id, entry.key, entry.value
        match type(key).KEY:
            case 3:
                self._replay_metadata(group_id, value)
            case 4:
                if value is not None or group_id in self.epochs:
                    self.change(group_id, has_old_metadata=value is not None)
            case 5:
                self.replay_member(group_id, key.member_id, value)
            case 6:
                self.replay_target_metadata(group_id, value)
            case 7:
                self.replay_target(group_id, key.member_id, value)
            case 8:
                self.replay_current(group_id, key.member_id, value)
            case 16:
                self._replay_regex(group_id, key.regular_expression, value)

    def _replay_metadata(self, group_id: str, value: messages.ConsumerGroupMetadataValue | None) -> None:
        if value is not None:
            self.change(group_id, group=value.epoch, metadata_hash=value.metadata_hash)
            return
        self.remove_group(group_id)
        for path, _ in self.regexes.under(group_id):
            self.regexes.remove(path)

    def _replay_regex(self, group_id: str, regex: str, value: Any) -> None:
        if value is None:
            self.regexes.remove((group_id, regex))
            return
        self.change(group_id)
        self.regexes.set((group_id, regex), ResolvedRegex(frozenset(value.topics), value.version, value.timestamp))

    def set_current(self, group_id: str, before: Member, member: Member) -> None:
        super().set_current(group_id, before, member)
        self._release(group_id, before)
        for owned in (member.assigned, member.revoking):
            for topic_id, partition in _each(owned):
                self.owners.set((group_id, topic_id, partition), member.member_id)

    def remove_member(self, group_id: str, member: Member) -> None:
        self._release(group_id, member)
        super().remove_member(group_id, member)

    def _release(self, group_id: str, member: Member) -> None:
        for owned in (member.assigned, member.revoking):
            for topic_id, partition in _each(owned):
                path = (group_id, topic_id, partition)
                if self.owners.get(path) == member.member_id:
                    self.owners.remove(path)


def epoch_record(group_id: str, epoch: int, metadata_hash: int) -> Record:
    return modern_record(
        messages.ConsumerGroupMetadataKey(group_id=group_id),
        messages.ConsumerGroupMetadataValue(epoch=epoch, metadata_hash=metadata_hash),
    )


def epoch_tombstone(group_id: str) -> Record:
    return modern_record(messages.ConsumerGroupMetadataKey(group_id=group_id), None)


def old_metadata_tombstone(group_id: str) -> Record:
    return modern_record(messages.ConsumerGroupPartitionMetadataKey(group_id=group_id), None)


def target_epoch_record(group_id: str, epoch: int, now_ms: int) -> Record:
    return modern_record(
        messages.ConsumerGroupTargetAssignmentMetadataKey(group_id=group_id),
        messages.ConsumerGroupTargetAssignmentMetadataValue(assignment_epoch=epoch, assignment_timestamp=now_ms),
    )


def target_epoch_tombstone(group_id: str) -> Record:
    return modern_record(messages.ConsumerGroupTargetAssignmentMetadataKey(group_id=group_id), None)


def target_record(group_id: str, member_id: str, target: Partitions) -> Record:
    value = messages.ConsumerGroupTargetAssignmentMemberValue(
        topic_partitions=[
            messages.ConsumerGroupTargetAssignmentMemberValue.TopicPartition(
                topic_id=topic_id, partitions=sorted(partitions)
            )
            for topic_id, partitions in target.items()
        ]
    )
    return modern_record(messages.ConsumerGroupTargetAssignmentMemberKey(group_id=group_id, member_id=member_id), value)


def regex_record(group_id: str, regex: str, resolved: ResolvedRegex) -> Record:
    return modern_record(
        messages.ConsumerGroupRegularExpressionKey(group_id=group_id, regular_expression=regex),
        messages.ConsumerGroupRegularExpressionValue(
            topics=sorted(resolved.topics), version=resolved.version, timestamp=resolved.resolved_ms
        ),
    )


def regex_tombstone(group_id: str, regex: str) -> Record:
    return modern_record(messages.ConsumerGroupRegularExpressionKey(group_id=group_id, regular_expression=regex), None)


def _each(owned: Owned) -> Iterator[tuple[Uuid, int]]:
    for topic_id, partitions in owned.items():
        for partition in partitions:
            yield topic_id, partition


def subscribed_topics(members: Iterable[Member], regexes: Mapping[str, ResolvedRegex]) -> frozenset[str]:
    """The topics that these members subscribe to, by name or by an expression that is resolved."""
    topics: set[str] = set()
    for member in members:
        topics |= member.topics
        if member.regex and member.regex in regexes:
            topics |= regexes[member.regex].topics
    return frozenset(topics)


def is_homogeneous(members: Collection[Member]) -> bool:
    """Whether all members subscribe to the same topics by name, or all by one expression alone."""
    topics = {member.topics for member in members}
    expressions = {member.regex or "" for member in members}
    if expressions == {""}:
        return len(topics) <= 1
    return len(expressions) == 1 and not any(topics)
