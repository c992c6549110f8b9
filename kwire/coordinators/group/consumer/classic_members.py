"""Members of the classic protocol in a consumer group: JoinGroup, SyncGroup, Heartbeat and LeaveGroup.

Responsible for: the answers to these requests in a consumer group that has members. Must not depend on: classic groups.

No request waits: JoinGroup moves the member towards its target as a heartbeat of the consumer protocol does, SyncGroup
gives what it owns now. REBALANCE_IN_PROGRESS asks the member to join again.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from kwire.coordinators.group.classic.group import CONSUMER_PROTOCOL
from kwire.coordinators.group.commands import Joined, JoinGroup, LeavingMember, LeftMember, Synced, SyncGroup
from kwire.coordinators.group.consumer import embedded, migration, regexes
from kwire.coordinators.group.consumer.group import ConsumerGroup
from kwire.coordinators.group.consumer.heartbeat import move, replace_static, store_subscription
from kwire.coordinators.group.consumer.leaving import fence
from kwire.coordinators.group.consumer.member import ClassicProtocols, Member, MemberState
from kwire.coordinators.group.consumer.parts import Step
from kwire.coordinators.group.consumer.target import bump_epoch, target_of
from kwire.errors import Code, KafkaError


def join(step: Step, command: JoinGroup) -> Joined:
    """Raises KafkaError."""
    group, parts = step.group, step.parts
    member_id = command.member_id or command.consumer_member_id
    _check_join(step, command, member_id)
    if command.member_id_required and not command.member_id and command.group_instance_id is None:
        return Joined(member_id, Code.MEMBER_ID_REQUIRED)
    replaced = None if command.group_instance_id is None else group.static_member(command.group_instance_id)
    before = _find_or_add(step, command, member_id, replaced)
    is_downgrade = replaced is not None and migration.may_downgrade_by_replacing(step, replaced)
    try:
        subscription = embedded.read_subscription(command.protocols[0][1])
    except embedded.MalformedProtocol as error:
        raise KafkaError(Code.INCONSISTENT_GROUP_PROTOCOL, str(error)) from error
    member = replace(
        before,
        instance_id=before.instance_id if command.group_instance_id is None else command.group_instance_id,
        rack_id=before.rack_id if not subscription.rack_id else subscription.rack_id,
        rebalance_timeout_ms=command.rebalance_timeout_ms,
        topics=frozenset(subscription.topics),
        regex="",
        client_id=command.client_id,
        client_host=command.client_host,
        classic=ClassicProtocols(command.session_timeout_ms, command.protocols),
    )
    names_changed = store_subscription(step, before, member)
    regex_changed = regexes.update(step, before, member, lambda _: True) is not regexes.Change.NONE
    is_changed = names_changed or regex_changed
    owned = migration.by_topic_id(
        parts, {each.topic: frozenset(each.partitions) for each in subscription.owned_partitions}
    )
    epoch = bump_epoch(step, member, must_bump=is_changed)
    if is_downgrade:
        must_rebalance = group.epochs.assignment < epoch
        if not must_rebalance:
            target = group.target_of(member)
            member = move(step, member, group.epochs.assignment, target, owned, subscription_changed=is_changed)
        migration.downgrade(step, (), joining=member, must_rebalance=must_rebalance)
    else:
        target_epoch, target = target_of(step, member, epoch)
        member = move(step, member, target_epoch, target, owned, subscription_changed=is_changed)
        step.set_deadline("join", member.member_id, None)
        step.start_session(member)
        step.set_deadline("sync", member.member_id, command.rebalance_timeout_ms)
    return Joined(
        member.member_id,
        generation_id=member.epoch,
        protocol_type=CONSUMER_PROTOCOL,
        protocol_name=command.protocols[0][0],
    )


def sync(step: Step, command: SyncGroup) -> Synced:
    """Raises KafkaError."""
    member = _classic_member(step.group, command.member_id, command.group_instance_id)
    _check_generation(member, command.generation_id)
    assert member.classic is not None
    _check_protocol(member, command)
    group_epoch = step.group.epochs.group
    if group_epoch > member.epoch and member.state is not MemberState.UNREVOKED_PARTITIONS:
        step.set_deadline("join", member.member_id, member.rebalance_timeout_ms, keep=True)
        return Synced(Code.REBALANCE_IN_PROGRESS)
    step.set_deadline("sync", member.member_id, None)
    step.start_session(member)
    partitions = {topic_id: frozenset(held) for topic_id, held in member.assigned.items()}
    version = embedded.version_of(member.classic.protocols[0][1])
    return Synced(
        protocol_type=command.protocol_type,
        protocol_name=command.protocol_name,
        assignment=embedded.write_assignment(migration.by_name(step.parts, partitions), version),
    )


def heartbeat(step: Step, generation_id: int, member_id: str, group_instance_id: str | None) -> Code:
    """NONE or REBALANCE_IN_PROGRESS; otherwise raises KafkaError."""
    group = step.group
    member = _classic_member(group, member_id, group_instance_id)
    _check_generation(member, generation_id)
    step.start_session(member)
    must_join = (
        member.epoch < group.epochs.group
        or member.state is MemberState.UNREVOKED_PARTITIONS
        or (member.state is MemberState.UNRELEASED_PARTITIONS and not _waits_for_others(group, member))
    )
    if not must_join:
        return Code.NONE
    step.set_deadline("join", member_id, member.rebalance_timeout_ms, keep=True)
    return Code.REBALANCE_IN_PROGRESS


def leave(step: Step, leaving: Iterable[LeavingMember]) -> list[LeftMember]:
    """Each member by itself, also members of the consumer protocol, which an administrator may remove."""
    group = step.group
    left: list[LeftMember] = []
    gone: dict[str, Member] = {}
    for each in leaving:
        try:
            member = _leaving_member(group, each)
        except KafkaError as error:
            left.append(LeftMember(each.member_id, each.group_instance_id, error.code))
            continue
        gone[member.member_id] = member
        left.append(LeftMember(each.member_id, each.group_instance_id, Code.NONE))
    fence(step, list(gone.values()))
    return left


def _check_join(step: Step, command: JoinGroup, member_id: str) -> None:
    group, config = step.group, step.parts.config
    if config.consumer_migration_policy == "disabled":
        raise KafkaError(Code.INCONSISTENT_GROUP_PROTOCOL)
    if len(group.members) >= config.consumer_max_size and member_id not in group.members:
        raise KafkaError(Code.GROUP_MAX_SIZE_REACHED)
    if not _supports(group, command):
        raise KafkaError(Code.INCONSISTENT_GROUP_PROTOCOL)


def _supports(group: ConsumerGroup, command: JoinGroup) -> bool:
    """Whether all members of the classic protocol have one of the member's protocols."""
    if command.protocol_type != CONSUMER_PROTOCOL:
        return False
    supported = [
        frozenset(name for name, _ in each.classic.protocols) for each in group.members.values() if each.classic
    ]
    return any(all(name in names for names in supported) for name, _ in command.protocols)


def _find_or_add(step: Step, command: JoinGroup, member_id: str, replaced: Member | None) -> Member:
    if command.group_instance_id is None:
        return step.group.members.get(member_id) or Member(member_id)
    if not command.member_id:
        return Member(member_id) if replaced is None else replace_static(step, replaced, member_id)
    if replaced is None:
        raise KafkaError(Code.UNKNOWN_MEMBER_ID)
    if replaced.member_id != member_id:
        raise KafkaError(Code.FENCED_INSTANCE_ID)
    return replaced


def _member(group: ConsumerGroup, member_id: str, group_instance_id: str | None) -> Member:
    if group_instance_id is None:
        return group.member(member_id)
    member = group.static_member(group_instance_id)
    if member is None:
        raise KafkaError(Code.UNKNOWN_MEMBER_ID)
    if member.member_id != member_id:
        raise KafkaError(Code.FENCED_INSTANCE_ID)
    return member


def _classic_member(group: ConsumerGroup, member_id: str, group_instance_id: str | None) -> Member:
    member = _member(group, member_id, group_instance_id)
    if member.classic is None:
        raise KafkaError(Code.UNKNOWN_MEMBER_ID)
    return member


def _leaving_member(group: ConsumerGroup, leaving: LeavingMember) -> Member:
    """An administrator may name a static member by its instance id alone."""
    member_id = leaving.member_id
    if leaving.group_instance_id is not None and not member_id:
        static = group.static_member(leaving.group_instance_id)
        member_id = "" if static is None else static.member_id
    return _member(group, member_id, leaving.group_instance_id)


def _check_generation(member: Member, generation_id: int) -> None:
    if generation_id != member.epoch:
        raise KafkaError(Code.ILLEGAL_GENERATION)


def _check_protocol(member: Member, command: SyncGroup) -> None:
    assert member.classic is not None
    name = member.classic.protocols[0][0]
    if command.protocol_type not in (None, CONSUMER_PROTOCOL) or command.protocol_name not in (None, name):
        raise KafkaError(Code.INCONSISTENT_GROUP_PROTOCOL)


def _waits_for_others(group: ConsumerGroup, member: Member) -> bool:
    """Whether a partition of its target is still owned by another member."""
    for topic_id, partitions in (group.target(member.member_id) or {}).items():
        held = member.assigned.get(topic_id, {})
        if any(each not in held and group.owner(topic_id, each) is not None for each in partitions):
            return True
    return False
