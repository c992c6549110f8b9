"""One member of a consumer group.

Responsible for: ``Member`` and its two records. Must not depend on: the group, how a member is reconciled.

    type 5  ConsumerGroupMemberMetadata              its identity, subscription, and classic protocols if any
    type 8  ConsumerGroupCurrentMemberAssignment     its epochs, its state, what it owns and what it must revoke
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import Any, Final, TypeAlias

from kwire.coordinators.group.commands import Protocols
from kwire.coordinators.group.modern.state import LEAVE_EPOCH
from kwire.coordinators.group.records import modern_record
from kwire.coordinators.machine import Record
from kwire.types import Uuid
from kwire.wire import messages

# Topic ids to partitions, each with the epoch at which the member got it.
Owned: TypeAlias = Mapping[Uuid, Mapping[int, int]]

NOTHING_OWNED: Final[Owned] = {}


class MemberState(IntEnum):
    """As in the record. STABLE: it has its target assignment as of its epoch."""

    STABLE = 0
    UNREVOKED_PARTITIONS = 1
    UNRELEASED_PARTITIONS = 2
    UNKNOWN = 127


@dataclass(frozen=True, slots=True)
class ClassicProtocols:
    """The protocols with which a member of the classic protocol has joined."""

    session_timeout_ms: int
    protocols: Protocols


@dataclass(frozen=True, slots=True)
class Member:
    """A member as its records describe it. ``classic`` None: it uses the consumer protocol.

    ``assigned``: partitions that it owns or may take. ``revoking``: partitions that it must give up first.
    """

    member_id: str
    instance_id: str | None = None
    rack_id: str | None = None
    client_id: str = ""
    client_host: str = ""
    topics: frozenset[str] = frozenset()
    regex: str | None = ""
    rebalance_timeout_ms: int = -1
    assignor: str | None = None
    classic: ClassicProtocols | None = None
    epoch: int = 0
    previous_epoch: int = -1
    state: MemberState = MemberState.STABLE
    assigned: Owned = field(default_factory=dict)
    revoking: Owned = field(default_factory=dict)

    def is_reconciled_to(self, epoch: int) -> bool:
        return self.state is MemberState.STABLE and self.epoch == epoch


def subscription_record(group_id: str, member: Member) -> Record:
    """The record of a member's identity and subscription."""
    classic = member.classic
    value = messages.ConsumerGroupMemberMetadataValue(
        instance_id=member.instance_id,
        rack_id=member.rack_id,
        client_id=member.client_id,
        client_host=member.client_host,
        subscribed_topic_names=sorted(member.topics),
        subscribed_topic_regex=member.regex,
        rebalance_timeout_ms=member.rebalance_timeout_ms,
        server_assignor=member.assignor,
        classic_member_metadata=None
        if classic is None
        else messages.ConsumerGroupMemberMetadataValue.ClassicMemberMetadata(
            session_timeout_ms=classic.session_timeout_ms,
            supported_protocols=[
                messages.ConsumerGroupMemberMetadataValue.ClassicProtocol(name=name, metadata=metadata)
                for name, metadata in classic.protocols
            ],
        ),
    )
    return modern_record(messages.ConsumerGroupMemberMetadataKey(group_id=group_id, member_id=member.member_id), value)


def current_record(group_id: str, member: Member) -> Record:
    """The record of a member's state and assignment."""
    value = messages.ConsumerGroupCurrentMemberAssignmentValue(
        member_epoch=member.epoch,
        previous_member_epoch=member.previous_epoch,
        state=int(member.state),
        assigned_partitions=_stored(member.assigned),
        partitions_pending_revocation=_stored(member.revoking),
    )
    return modern_record(
        messages.ConsumerGroupCurrentMemberAssignmentKey(group_id=group_id, member_id=member.member_id), value
    )


def subscription_tombstone(group_id: str, member_id: str) -> Record:
    return modern_record(messages.ConsumerGroupMemberMetadataKey(group_id=group_id, member_id=member_id), None)


def current_tombstone(group_id: str, member_id: str) -> Record:
    return modern_record(messages.ConsumerGroupCurrentMemberAssignmentKey(group_id=group_id, member_id=member_id), None)


def target_tombstone(group_id: str, member_id: str) -> Record:
    return modern_record(messages.ConsumerGroupTargetAssignmentMemberKey(group_id=group_id, member_id=member_id), None)


def remove_records(group_id: str, member_id: str) -> list[Record]:
    """The records that remove one member."""
    return [
        current_tombstone(group_id, member_id),
        target_tombstone(group_id, member_id),
        subscription_tombstone(group_id, member_id),
    ]


def with_subscription(member: Member, value: messages.ConsumerGroupMemberMetadataValue) -> Member:
    """The member after its record of type 5."""
    stored = value.classic_member_metadata
    return replace(
        member,
        instance_id=value.instance_id,
        rack_id=value.rack_id,
        client_id=value.client_id,
        client_host=value.client_host,
        topics=frozenset(value.subscribed_topic_names),
        regex=value.subscribed_topic_regex,
        rebalance_timeout_ms=value.rebalance_timeout_ms,
        assignor=value.server_assignor,
        classic=None
        if stored is None
        else ClassicProtocols(
            stored.session_timeout_ms, tuple((each.name, bytes(each.metadata)) for each in stored.supported_protocols)
        ),
    )


def with_current(member: Member, value: messages.ConsumerGroupCurrentMemberAssignmentValue | None) -> Member:
    """The member after its record of type 8; for None after the record was deleted."""
    if value is None:
        return replace(
            member, epoch=LEAVE_EPOCH, previous_epoch=LEAVE_EPOCH, assigned=NOTHING_OWNED, revoking=NOTHING_OWNED
        )
    known = value.state in {each.value for each in MemberState}
    return replace(
        member,
        epoch=value.member_epoch,
        previous_epoch=value.previous_member_epoch,
        state=MemberState(value.state) if known else MemberState.UNKNOWN,
        assigned=_read(value.assigned_partitions, value.member_epoch),
        revoking=_read(value.partitions_pending_revocation, value.member_epoch),
    )


def partition_sets(owned: Owned) -> dict[Uuid, frozenset[int]]:
    """The same without epochs."""
    return {topic_id: frozenset(partitions) for topic_id, partitions in owned.items()}


def owned_by(member: Member) -> dict[Uuid, frozenset[int]]:
    """The partitions that it owns, including those that it must give up."""
    owned = partition_sets(member.assigned)
    for topic_id, partitions in member.revoking.items():
        owned[topic_id] = owned.get(topic_id, frozenset()) | partitions.keys()
    return owned


def _stored(owned: Owned) -> list[Any]:
    return [
        messages.ConsumerGroupCurrentMemberAssignmentValue.TopicPartitions(
            topic_id=topic_id, partitions=list(partitions), assignment_epochs=list(partitions.values())
        )
        for topic_id, partitions in owned.items()
    ]


def _read(stored: list[Any], member_epoch: int) -> Owned:
    """Records of Kafka before 4.3 have no epochs of partitions: the member's counts."""
    return {
        each.topic_id: dict(
            zip(
                each.partitions,
                each.assignment_epochs or [member_epoch] * len(each.partitions),
                strict=True,
            )
        )
        for each in stored
        if each.partitions
    }
