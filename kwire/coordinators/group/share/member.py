"""A member of a share group, and its records.

Responsible for: the value ``Member``, its two records, and their replay. Must not depend on: commands, assignments.

    type 10  ShareGroupMemberMetadata            its rack, client and subscription
    type 14  ShareGroupCurrentMemberAssignment   its epoch and its partitions
"""

from dataclasses import dataclass, field, replace
from typing import Any, Final

from kwire.coordinators.group.modern.assignment import NO_PARTITIONS, Partitions, partitions_of
from kwire.coordinators.group.records import modern_record
from kwire.coordinators.machine import Record
from kwire.wire.messages import (
    ShareGroupCurrentMemberAssignmentKey,
    ShareGroupCurrentMemberAssignmentValue,
    ShareGroupMemberMetadataKey,
    ShareGroupMemberMetadataValue,
    ShareGroupTargetAssignmentMemberKey,
    ShareGroupTargetAssignmentMemberValue,
)

_STABLE: Final = 0


@dataclass(frozen=True, slots=True)
class Member:
    """``topics``: the names that it subscribes to."""

    member_id: str
    epoch: int = 0
    previous_epoch: int = -1
    rack_id: str | None = None
    client_id: str = ""
    client_host: str = ""
    topics: frozenset[str] = frozenset()
    assigned: Partitions = field(default_factory=dict)


def subscription_record(group_id: str, member: Member) -> Record:
    return modern_record(
        ShareGroupMemberMetadataKey(group_id=group_id, member_id=member.member_id),
        ShareGroupMemberMetadataValue(
            rack_id=member.rack_id,
            client_id=member.client_id,
            client_host=member.client_host,
            subscribed_topic_names=sorted(member.topics),
        ),
    )


def current_record(group_id: str, member: Member) -> Record:
    assigned = [
        ShareGroupCurrentMemberAssignmentValue.TopicPartitions(topic_id=topic_id, partitions=sorted(partitions))
        for topic_id, partitions in member.assigned.items()
    ]
    return modern_record(
        ShareGroupCurrentMemberAssignmentKey(group_id=group_id, member_id=member.member_id),
        ShareGroupCurrentMemberAssignmentValue(
            member_epoch=member.epoch,
            previous_member_epoch=member.previous_epoch,
            state=_STABLE,
            assigned_partitions=assigned,
        ),
    )


def target_record(group_id: str, member_id: str, target: Partitions) -> Record:
    value = ShareGroupTargetAssignmentMemberValue(
        topic_partitions=[
            ShareGroupTargetAssignmentMemberValue.TopicPartition(topic_id=topic_id, partitions=sorted(partitions))
            for topic_id, partitions in target.items()
        ]
    )
    return modern_record(ShareGroupTargetAssignmentMemberKey(group_id=group_id, member_id=member_id), value)


def remove_records(group_id: str, member_id: str) -> list[Record]:
    """The tombstones of all that a member has."""
    return [
        modern_record(ShareGroupCurrentMemberAssignmentKey(group_id=group_id, member_id=member_id), None),
        modern_record(ShareGroupTargetAssignmentMemberKey(group_id=group_id, member_id=member_id), None),
        modern_record(ShareGroupMemberMetadataKey(group_id=group_id, member_id=member_id), None),
    ]


def with_subscription(member: Member, value: ShareGroupMemberMetadataValue) -> Member:
    return replace(
        member,
        rack_id=value.rack_id,
        client_id=value.client_id,
        client_host=value.client_host,
        topics=frozenset(value.subscribed_topic_names),
    )


def with_current(member: Member, value: Any) -> Member:
    """``value`` None, a tombstone: the member has nothing."""
    if value is None:
        return replace(member, epoch=0, previous_epoch=-1, assigned=NO_PARTITIONS)
    pairs = ((each.topic_id, each.partitions) for each in value.assigned_partitions)
    return replace(
        member, epoch=value.member_epoch, previous_epoch=value.previous_member_epoch, assigned=partitions_of(pairs)
    )
