"""A member of a streams group, and its records.

Responsible for: ``Member``, its three records, and their replay. Must not depend on: the group, how a member is
reconciled.

    type 19  StreamsGroupMemberMetadata           its identity, its process, its endpoint for interactive queries
    type 21  StreamsGroupTargetAssignmentMember   its target assignment
    type 22  StreamsGroupCurrentMemberAssignment  its epochs, its state, its tasks and those it must revoke
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import Any, NamedTuple

from kwire.coordinators.group.modern.state import LEAVE_EPOCH
from kwire.coordinators.group.records import modern_record
from kwire.coordinators.group.streams.tasks import (
    NOTHING_HELD,
    HeldTasks,
    Tasks,
    TaskSet,
    TasksWithEpochs,
    tasks_of,
)
from kwire.coordinators.machine import Record
from kwire.wire import messages

_TargetIds = messages.StreamsGroupTargetAssignmentMemberValue.TaskIds
_CurrentIds = messages.StreamsGroupCurrentMemberAssignmentValue.TaskIds


class MemberState(IntEnum):
    """As in the record. STABLE: it has its target assignment as of its epoch."""

    STABLE = 1
    UNREVOKED_TASKS = 2
    UNRELEASED_TASKS = 3
    UNKNOWN = 127


class Endpoint(NamedTuple):
    """The address of an instance of the application for interactive queries."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Member:
    """A member as its records describe it. ``process_id``: of the instance of the application that it belongs to."""

    member_id: str
    instance_id: str | None = None
    rack_id: str | None = None
    client_id: str = ""
    client_host: str = ""
    rebalance_timeout_ms: int = -1
    topology_epoch: int = -1
    process_id: str = ""
    endpoint: Endpoint | None = None
    client_tags: Mapping[str, str] = field(default_factory=dict)
    epoch: int = 0
    previous_epoch: int = 0
    state: MemberState = MemberState.STABLE
    assigned: HeldTasks = NOTHING_HELD
    revoking: HeldTasks = NOTHING_HELD

    def is_reconciled_to(self, epoch: int) -> bool:
        return self.state is MemberState.STABLE and self.epoch == epoch


def metadata_record(group_id: str, member: Member) -> Record:
    """The record of a member's identity and process."""
    endpoint = member.endpoint
    value = messages.StreamsGroupMemberMetadataValue(
        instance_id=member.instance_id,
        rack_id=member.rack_id,
        client_id=member.client_id,
        client_host=member.client_host,
        rebalance_timeout_ms=member.rebalance_timeout_ms,
        topology_epoch=member.topology_epoch,
        process_id=member.process_id,
        user_endpoint=None
        if endpoint is None
        else messages.StreamsGroupMemberMetadataValue.Endpoint(host=endpoint.host, port=endpoint.port),
        client_tags=[
            messages.StreamsGroupMemberMetadataValue.KeyValue(key=key, value=value)
            for key, value in sorted(member.client_tags.items())
        ],
    )
    return modern_record(messages.StreamsGroupMemberMetadataKey(group_id=group_id, member_id=member.member_id), value)


def target_record(group_id: str, member_id: str, target: TaskSet) -> Record:
    value = messages.StreamsGroupTargetAssignmentMemberValue(
        active_tasks=_target_ids(target.active),
        standby_tasks=_target_ids(target.standby),
        warmup_tasks=_target_ids(target.warmup),
    )
    return modern_record(messages.StreamsGroupTargetAssignmentMemberKey(group_id=group_id, member_id=member_id), value)


def current_record(group_id: str, member: Member) -> Record:
    """The record of a member's state and tasks."""
    assigned, revoking = member.assigned, member.revoking
    value = messages.StreamsGroupCurrentMemberAssignmentValue(
        member_epoch=member.epoch,
        previous_member_epoch=member.previous_epoch,
        state=int(member.state),
        active_tasks=_active_ids(assigned.active),
        standby_tasks=_current_ids(assigned.standby),
        warmup_tasks=_current_ids(assigned.warmup),
        active_tasks_pending_revocation=_active_ids(revoking.active),
        standby_tasks_pending_revocation=_current_ids(revoking.standby),
        warmup_tasks_pending_revocation=_current_ids(revoking.warmup),
    )
    return modern_record(
        messages.StreamsGroupCurrentMemberAssignmentKey(group_id=group_id, member_id=member.member_id), value
    )


def metadata_tombstone(group_id: str, member_id: str) -> Record:
    return modern_record(messages.StreamsGroupMemberMetadataKey(group_id=group_id, member_id=member_id), None)


def target_tombstone(group_id: str, member_id: str) -> Record:
    return modern_record(messages.StreamsGroupTargetAssignmentMemberKey(group_id=group_id, member_id=member_id), None)


def current_tombstone(group_id: str, member_id: str) -> Record:
    return modern_record(messages.StreamsGroupCurrentMemberAssignmentKey(group_id=group_id, member_id=member_id), None)


def remove_records(group_id: str, member_id: str) -> list[Record]:
    """The records that remove one member."""
    return [
        current_tombstone(group_id, member_id),
        target_tombstone(group_id, member_id),
        metadata_tombstone(group_id, member_id),
    ]


def with_metadata(member: Member, value: messages.StreamsGroupMemberMetadataValue) -> Member:
    """The member after its record of type 19."""
    endpoint = value.user_endpoint
    return replace(
        member,
        instance_id=value.instance_id,
        rack_id=value.rack_id,
        client_id=value.client_id,
        client_host=value.client_host,
        rebalance_timeout_ms=value.rebalance_timeout_ms,
        topology_epoch=value.topology_epoch,
        process_id=value.process_id,
        endpoint=None if endpoint is None else Endpoint(endpoint.host, endpoint.port),
        client_tags={each.key: each.value for each in value.client_tags},
    )


def with_current(member: Member, value: messages.StreamsGroupCurrentMemberAssignmentValue | None) -> Member:
    """The member after its record of type 22; for None after the record was deleted."""
    if value is None:
        return replace(
            member, epoch=LEAVE_EPOCH, previous_epoch=LEAVE_EPOCH, assigned=NOTHING_HELD, revoking=NOTHING_HELD
        )
    known = value.state in {each.value for each in MemberState}
    return replace(
        member,
        epoch=value.member_epoch,
        previous_epoch=value.previous_member_epoch,
        state=MemberState(value.state) if known else MemberState.UNKNOWN,
        assigned=HeldTasks(
            _read_active(value.active_tasks, value.member_epoch),
            read_tasks(value.standby_tasks),
            read_tasks(value.warmup_tasks),
        ),
        revoking=HeldTasks(
            _read_active(value.active_tasks_pending_revocation, value.member_epoch),
            read_tasks(value.standby_tasks_pending_revocation),
            read_tasks(value.warmup_tasks_pending_revocation),
        ),
    )


def target_of_record(value: messages.StreamsGroupTargetAssignmentMemberValue) -> TaskSet:
    return TaskSet(read_tasks(value.active_tasks), read_tasks(value.standby_tasks), read_tasks(value.warmup_tasks))


def read_tasks(stored: Iterable[Any]) -> Tasks:
    return tasks_of((each.subtopology_id, each.partitions) for each in stored)


def _read_active(stored: Iterable[Any], member_epoch: int) -> TasksWithEpochs:
    """Tasks without an epoch of their own count with the member's."""
    found: dict[str, dict[int, int]] = {}
    for each in stored:
        epochs = each.assignment_epochs
        if epochs is None or len(epochs) != len(each.partitions):
            epochs = [member_epoch] * len(each.partitions)
        if each.partitions:
            found[each.subtopology_id] = dict(zip(each.partitions, epochs, strict=True))
    return found


def _target_ids(tasks: Tasks) -> list[_TargetIds]:
    return [
        _TargetIds(subtopology_id=subtopology, partitions=sorted(partitions))
        for subtopology, partitions in sorted(tasks.items())
    ]


def _current_ids(tasks: Tasks) -> list[_CurrentIds]:
    return [
        _CurrentIds(subtopology_id=subtopology, partitions=sorted(partitions))
        for subtopology, partitions in sorted(tasks.items())
    ]


def _active_ids(tasks: TasksWithEpochs) -> list[_CurrentIds]:
    return [
        _CurrentIds(
            subtopology_id=subtopology,
            partitions=sorted(partitions),
            assignment_epochs=[partitions[each] for each in sorted(partitions)],
        )
        for subtopology, partitions in sorted(tasks.items())
    ]
