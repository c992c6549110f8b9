"""The heartbeat of a member of a consumer group: joining, staying, leaving (KIP-848).

Responsible for: the steps of a heartbeat, in Apache Kafka's order. Must not depend on: the classic protocol, timers
that fire.

    1  find or create the group and the member            a joining member may replace a static one
    2  store what changed in its subscription             the group's epoch rises
    3  compute the target assignment, if it is older      see ``target``
    4  move the member towards its target                 see ``reconciliation``
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from kwire.coordinators.group.consumer import regexes
from kwire.coordinators.group.consumer.commands import ConsumerHeartbeat, HeartbeatAnswer
from kwire.coordinators.group.consumer.group import KIND
from kwire.coordinators.group.consumer.leaving import fence
from kwire.coordinators.group.consumer.member import (
    NOTHING_OWNED,
    Member,
    MemberState,
    current_record,
    partition_sets,
    remove_records,
    subscription_record,
)
from kwire.coordinators.group.consumer.pace import heartbeat_interval_ms
from kwire.coordinators.group.consumer.parts import Step
from kwire.coordinators.group.consumer.reconciliation import ReconciliationInputs, reconcile
from kwire.coordinators.group.consumer.state import target_record
from kwire.coordinators.group.consumer.target import bump_epoch, preferred_assignor, target_of
from kwire.coordinators.group.modern.assignment import Partitions
from kwire.coordinators.group.modern.instances import check_instance, unreleased
from kwire.coordinators.group.modern.state import LEAVE_EPOCH, LEAVE_STATIC_EPOCH
from kwire.coordinators.group.modern.view import fenced
from kwire.errors import Code, KafkaError
from kwire.types import Uuid


def check_request(command: ConsumerHeartbeat, assignors: Collection[str]) -> None:
    """KafkaError(INVALID_REQUEST, UNSUPPORTED_ASSIGNOR), with Apache Kafka's messages."""
    epoch = command.member_epoch
    if not command.may_lack_id or epoch > 0 or epoch == LEAVE_EPOCH:
        _refuse_empty(command.member_id, "MemberId can't be empty.")
    _refuse_empty(command.group_id, "GroupId can't be empty.")
    _refuse_empty(command.instance_id, "InstanceId can't be empty.")
    _refuse_empty(command.rack_id, "RackId can't be empty.")
    if epoch == 0:
        if command.rebalance_timeout_ms == -1:
            raise _invalid("RebalanceTimeoutMs must be provided in first request.")
        if command.owned is None or command.owned:
            raise _invalid("TopicPartitions must be empty when (re-)joining.")
        if command.topics is None and command.regex is None:
            raise _invalid("Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when (re-)joining.")
    elif epoch == LEAVE_STATIC_EPOCH:
        if command.instance_id is None:
            raise _invalid("InstanceId can't be null.")
    elif epoch < LEAVE_STATIC_EPOCH:
        raise _invalid("MemberEpoch is invalid.")
    if command.assignor is not None and command.assignor not in assignors:
        raise KafkaError(
            Code.UNSUPPORTED_ASSIGNOR,
            f"ServerAssignor {command.assignor} is not supported. Supported assignors: {', '.join(assignors)}.",
        )


def heartbeat(step: Step, command: ConsumerHeartbeat) -> HeartbeatAnswer:
    """Handle a heartbeat of a member that does not leave. Raises KafkaError."""
    group = step.group
    config = step.parts.config
    is_joining = command.member_epoch == 0
    if len(group.members) >= config.consumer_max_size and command.member_id not in group.members:
        raise KafkaError(
            Code.GROUP_MAX_SIZE_REACHED,
            f"The consumer group has reached its maximum capacity of {config.consumer_max_size} members.",
        )
    before = _find_or_add(step, command, is_joining=is_joining)
    member = _with_request(before, command)
    names_changed = store_subscription(step, before, member)
    regex_change = regexes.update(step, before, member, command.may_describe)
    subscription_changed = names_changed or regex_change is not regexes.Change.NONE
    # An expression that is not resolved yet raises the epoch when it is.
    must_bump = names_changed or regex_change is regexes.Change.RESOLVED or _assignor_changed(step, before, member)
    epoch = bump_epoch(step, member, must_bump=must_bump)
    target_epoch, target = target_of(step, member, epoch)
    reconciled = move(step, member, target_epoch, target, command.owned, subscription_changed=subscription_changed)
    step.start_session(reconciled)
    assignment: Partitions | None = None
    if is_joining or command.is_full or reconciled.assigned != before.assigned:
        assignment = partition_sets(reconciled.assigned)
    return HeartbeatAnswer(
        reconciled.member_id, reconciled.epoch, heartbeat_interval_ms(step, reconciled, epoch), assignment
    )


def _assignor_changed(step: Step, before: Member, member: Member) -> bool:
    """Whether most members ask for another assignor now, so that the target has to be computed again."""
    if member.assignor == before.assignor:
        return False
    members, default = step.group.members, step.parts.config.consumer_assignors[0]
    after = {**members, member.member_id: member}
    return preferred_assignor(members.values(), default) != preferred_assignor(after.values(), default)


def leave(step: Step, command: ConsumerHeartbeat) -> HeartbeatAnswer:
    """Handle a leaving member; with the epoch -2 a static member leaves for a while and keeps its partitions."""
    group, member_id = step.group, command.member_id
    answer = HeartbeatAnswer(member_id, command.member_epoch)
    if command.instance_id is None:
        fence(step, [group.member(member_id)])
        return answer
    member = _static_member(step, command)
    if command.member_epoch == LEAVE_STATIC_EPOCH:
        # The member that replaces it may commit for all partitions that it had.
        assigned = {topic_id: dict.fromkeys(held, 0) for topic_id, held in member.assigned.items()}
        away = replace(member, epoch=LEAVE_STATIC_EPOCH, assigned=assigned, revoking=NOTHING_OWNED)
        step.add(current_record(step.group_id, away))
        return HeartbeatAnswer(member.member_id, LEAVE_STATIC_EPOCH)
    fence(step, [member])
    return answer


def store_subscription(step: Step, before: Member, member: Member) -> bool:
    """Write the member's record if it changed. True if the names of its topics changed."""
    if member == before:
        return False
    step.add(subscription_record(step.group_id, member))
    return member.topics != before.topics


def move(
    step: Step,
    member: Member,
    target_epoch: int,
    target: Partitions,
    owned: Mapping[Uuid, Collection[int]] | None,
    *,
    subscription_changed: bool,
) -> Member:
    """Move the member towards its target, and write its state if that changed."""
    if not subscription_changed and member.is_reconciled_to(target_epoch):
        return member
    group = step.group
    around = ReconciliationInputs(
        target_epoch,
        target,
        step.topic_ids(member),
        lambda topic_id, partition: group.owner(topic_id, partition) is not None,
        owned,
    )
    moved = reconcile(member, around, subscription_changed=subscription_changed)
    if moved == member:
        return member
    step.add(current_record(step.group_id, moved))
    if moved.classic is None:
        must_revoke = moved.state is MemberState.UNREVOKED_PARTITIONS
        step.set_deadline("rebalance", moved.member_id, moved.rebalance_timeout_ms if must_revoke else None)
    step.changed()
    return moved


def replace_static(step: Step, old: Member, member_id: str) -> Member:
    """A static member returns under a new member id, with its partitions."""
    new = replace(old, member_id=member_id, epoch=0, previous_epoch=0)
    # The timers of the old member stay, in case the records are refused; otherwise they find no member.
    step.add(*remove_records(step.group_id, old.member_id))
    step.add(
        subscription_record(step.group_id, new),
        target_record(step.group_id, member_id, step.group.target(old.member_id) or {}),
        current_record(step.group_id, new),
    )
    return new


def _find_or_add(step: Step, command: ConsumerHeartbeat, *, is_joining: bool) -> Member:
    group = step.group
    member_id = command.member_id or command.new_member_id
    if command.instance_id is None:
        member = group.members.get(member_id)
        if member is None:
            member = Member(member_id) if is_joining else group.member(member_id)
        _check_epoch(member, command)
        return member
    if not is_joining:
        member = _static_member(step, command)
        _check_epoch(member, command)
        return member
    owner = group.static_member(command.instance_id)
    if owner is None:
        return group.members.get(member_id) or Member(member_id)
    if owner.classic is None and owner.epoch != LEAVE_STATIC_EPOCH:
        raise unreleased(owner, member_id)
    return replace_static(step, owner, member_id)


def _static_member(step: Step, command: ConsumerHeartbeat) -> Member:
    assert command.instance_id is not None
    found = step.group.static_member(command.instance_id)
    return check_instance(found, command.member_id, command.instance_id)


def _check_epoch(member: Member, command: ConsumerHeartbeat) -> None:
    """Check the member epoch, which may be the previous one if the last answer was lost."""
    epoch = command.member_epoch
    if epoch in (0, member.epoch):
        return
    if epoch < member.epoch and epoch == member.previous_epoch and _owns_only(command, member):
        return
    raise fenced(KIND, epoch, member.epoch)


def _owns_only(command: ConsumerHeartbeat, member: Member) -> bool:
    if command.owned is None:
        return False
    return all(held <= member.assigned.get(topic_id, {}).keys() for topic_id, held in command.owned.items())


def _with_request(member: Member, command: ConsumerHeartbeat) -> Member:
    """The member with the fields of the request; fields that are left out stay."""
    return replace(
        member,
        instance_id=member.instance_id if command.instance_id is None else command.instance_id,
        rack_id=member.rack_id if command.rack_id is None else command.rack_id,
        rebalance_timeout_ms=(
            member.rebalance_timeout_ms if command.rebalance_timeout_ms == -1 else command.rebalance_timeout_ms
        ),
        assignor=member.assignor if command.assignor is None else command.assignor,
        topics=member.topics if command.topics is None else frozenset(command.topics),
        regex=member.regex if command.regex is None else command.regex,
        client_id=command.client_id,
        client_host=command.client_host,
        classic=None,
    )


def _refuse_empty(value: str | None, message: str) -> None:
    if value is not None and not value.strip():
        raise _invalid(message)


def _invalid(message: str) -> KafkaError:
    return KafkaError(Code.INVALID_REQUEST, message)
