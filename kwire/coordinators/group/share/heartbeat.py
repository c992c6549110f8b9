"""The heartbeat of a member of a share group: joining, staying, leaving (KIP-932).

Responsible for: the steps of a heartbeat, in Apache Kafka's order. Must not depend on: requests, the share coordinator.

    1  find or create the member, store what changed in its subscription  the group's epoch rises
    2  compute the target assignment, if the group's epoch is newer       of partitions that have a state
    3  give the member its target                                         nothing has to be revoked first
    4  ask for the states of partitions that have none                    they are assigned later
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Final

from kwire.coordinators.group.modern.assignment import (
    NO_PARTITIONS,
    MemberSpec,
    Partitions,
    changed_targets,
)
from kwire.coordinators.group.modern.state import LEAVE_EPOCH
from kwire.coordinators.group.share.assignor import assign
from kwire.coordinators.group.share.commands import HeartbeatAnswer, InitializeStates, ShareHeartbeat
from kwire.coordinators.group.share.group import ShareGroup
from kwire.coordinators.group.share.member import (
    Member,
    current_record,
    remove_records,
    subscription_record,
    target_record,
)
from kwire.coordinators.group.share.state import (
    TopicState,
    epoch_record,
    joined,
    states_record,
    target_epoch_record,
)
from kwire.coordinators.group.share.step import Step
from kwire.errors import Code, KafkaError
from kwire.types import Uuid

# The heartbeat interval during a rebalance, unless a user has set one.
_SOON_MS: Final = 100


def check_request(command: ShareHeartbeat) -> None:
    """KafkaError(INVALID_REQUEST), with Apache Kafka's messages."""
    for text, message in (
        (command.member_id, "MemberId can't be empty."),
        (command.group_id, "GroupId can't be empty."),
        (command.rack_id, "RackId can't be empty."),
    ):
        if text is not None and not text.strip():
            raise KafkaError(Code.INVALID_REQUEST, message)
    if command.member_epoch == 0:
        if not command.topics:
            raise KafkaError(Code.INVALID_REQUEST, "SubscribedTopicNames must be set in first request.")
    elif command.member_epoch < LEAVE_EPOCH:
        raise KafkaError(Code.INVALID_REQUEST, "MemberEpoch is invalid.")


def heartbeat(step: Step, command: ShareHeartbeat) -> HeartbeatAnswer:
    """Handle a heartbeat of a member that does not leave. Raises KafkaError."""
    group = step.group
    limit = step.parts.config.share_max_size
    if len(group.members) >= limit and command.member_id not in group.members:
        raise KafkaError(
            Code.GROUP_MAX_SIZE_REACHED, f"The share group has reached its maximum capacity of {limit} members."
        )
    before = _find_or_add(group, command)
    member = replace(
        before,
        rack_id=before.rack_id if command.rack_id is None else command.rack_id,
        topics=before.topics if command.topics is None else frozenset(command.topics),
        client_id=command.client_id,
        client_host=command.client_host,
    )
    # As in Apache Kafka, a new member is always written.
    if member != before or command.member_id not in group.members:
        step.effects.records.append(subscription_record(group.group_id, member))
    must_bump = member.topics != before.topics
    epochs = group.epochs
    if epochs.assignment >= epochs.group:
        must_bump = must_bump or _has_unassigned(group)
    epoch = _bump_epoch(step, member, must_bump=must_bump)
    target_epoch, target = _target(step, member, epoch)
    moved = _moved(step, member, target_epoch, target, has_subscription_changed=must_bump or epoch != epochs.group)
    if moved != member:
        step.effects.records.append(current_record(group.group_id, moved))
    step.start_session(member)
    is_waiting = _initialize(step, member, epoch)
    assignment = None
    if command.member_epoch == 0 or command.topics is not None or moved.assigned != before.assigned:
        assignment = moved.assigned
    is_settled = not is_waiting and moved.epoch == epoch and not step.group.states.initializing
    return HeartbeatAnswer(moved.member_id, moved.epoch, _interval_ms(step, is_settled=is_settled), assignment)


def leave(step: Step, command: ShareHeartbeat) -> HeartbeatAnswer:
    """The member leaves. Raises KafkaError(UNKNOWN_MEMBER_ID)."""
    fence(step, step.group.member(command.member_id))
    return HeartbeatAnswer(command.member_id, command.member_epoch)


def fence(step: Step, member: Member) -> None:
    """Remove a member; the group's epoch rises."""
    group = step.group
    remaining = [each for each in group.members.values() if each.member_id != member.member_id]
    epoch = group.epochs.group + 1
    step.effects.records += remove_records(group.group_id, member.member_id)
    step.effects.records.append(epoch_record(group.group_id, epoch, _hash_of(step, remaining)))
    if not remaining:
        # There is nothing to assign: the next member does not wait for an interval to pass.
        step.effects.records.append(target_epoch_record(group.group_id, epoch, 0))
    step.end_session(member.member_id)


def _find_or_add(group: ShareGroup, command: ShareHeartbeat) -> Member:
    epoch = command.member_epoch
    if epoch == 0:
        return group.members.get(command.member_id) or Member(command.member_id)
    member = group.member(command.member_id)
    if epoch > member.epoch:
        raise KafkaError(
            Code.FENCED_MEMBER_EPOCH,
            f"The share group member has a greater member epoch ({epoch}) than the one known by the group coordinator "
            f"({member.epoch}). The member must abandon all its partitions and rejoin.",
        )
    # The answer with the next epoch may have been lost.
    if epoch < member.epoch and epoch != member.previous_epoch:
        raise KafkaError(
            Code.FENCED_MEMBER_EPOCH,
            f"The share group member has a smaller member epoch ({epoch}) than the one known by the group coordinator "
            f"({member.epoch}), and it does not match the previous member epoch ({member.previous_epoch}). The member "
            "must abandon all its partitions and rejoin.",
        )
    return member


def _has_unassigned(group: ShareGroup) -> bool:
    """Whether partitions of topics that members read have a state and are not assigned, or the other way round."""
    if not group.members:
        return False
    names = _topic_names(group.members.values())
    assigned: dict[Uuid, set[int]] = {}
    for target in group.targets.values():
        for topic_id, partitions in target.partitions.items():
            assigned.setdefault(topic_id, set()).update(partitions)
    return any(
        state.name in names and assigned.get(topic_id, set()) != state.partitions
        for topic_id, state in group.states.initialized.items()
    )


def _bump_epoch(step: Step, member: Member, *, must_bump: bool) -> int:
    """The group's epoch after the member became ``member``; written if it rose."""
    group = step.group
    epoch = group.epochs.group
    topics_version = step.parts.topics_version
    if not must_bump and step.watched.checked_version == topics_version:
        return epoch
    metadata_hash = _hash_of(step, _members_with(group, member).values())
    step.watch(checked_version=topics_version)
    if must_bump or metadata_hash != group.epochs.metadata_hash:
        epoch += 1
        step.effects.records.append(epoch_record(group.group_id, epoch, metadata_hash))
    return epoch


def _target(step: Step, member: Member, group_epoch: int) -> tuple[int, Partitions]:
    """The epoch of the target assignment and what it gives the member; computed if the group's epoch is newer."""
    group = step.group
    epochs = group.epochs
    if group_epoch <= epochs.assignment or not step.may_assign("share.assignment.interval.ms"):
        return epochs.assignment, group.target(member.member_id) or NO_PARTITIONS
    members = _members_with(group, member)
    specs = {
        each.member_id: MemberSpec(step.parts.topic_ids(each.topics), group.target(each.member_id) or NO_PARTITIONS)
        for each in members.values()
    }
    assignable = {topic_id: state.partitions for topic_id, state in group.states.initialized.items()}
    is_homogeneous = len({each.topics for each in members.values()}) <= 1
    found = assign(specs, assignable, is_homogeneous=is_homogeneous)
    step.effects.records += [
        target_record(group.group_id, member_id, target)
        for member_id, target in changed_targets(group.target, found, members)
    ]
    step.effects.records.append(target_epoch_record(group.group_id, group_epoch, step.now_ms))
    return group_epoch, found.get(member.member_id, NO_PARTITIONS)


def _moved(
    step: Step, member: Member, target_epoch: int, target: Partitions, *, has_subscription_changed: bool
) -> Member:
    """The member with its target, without topics that it no longer subscribes to."""
    if member.epoch == target_epoch and not has_subscription_changed:
        return member
    topic_ids = step.parts.topic_ids(member.topics)
    assigned = {topic_id: partitions for topic_id, partitions in target.items() if topic_id in topic_ids}
    if member.epoch == target_epoch:
        return replace(member, assigned=assigned)
    return replace(member, assigned=assigned, epoch=target_epoch, previous_epoch=member.epoch)


def _initialize(step: Step, member: Member, epoch: int) -> bool:
    """Request states for partitions that members read and that have none. True if there are any."""
    group = step.group
    wanted: dict[Uuid, TopicState] = {}
    for name in sorted(_topic_names(_members_with(group, member).values())):
        topic = step.parts.metadata.topic(name)
        if topic is None:
            continue
        missing = frozenset(range(topic.partition_count)) - _known(step, topic.id)
        if missing:
            wanted[topic.id] = TopicState(name, missing)
    if not wanted:
        return False
    begin_initializing(step, wanted)
    offsets = {topic_id: dict.fromkeys(sorted(state.partitions), -1) for topic_id, state in wanted.items()}
    step.effects.actions.append(InitializeStates(group.group_id, epoch, offsets))
    return True


def _known(step: Step, topic_id: Uuid) -> frozenset[int]:
    """Partitions of a topic that have a state, or get one: asked for again if that takes too long."""
    states = step.group.states
    initialized, initializing = states.initialized.get(topic_id), states.initializing.get(topic_id)
    found: frozenset[int] = frozenset() if initialized is None else initialized.partitions
    since_ms = step.parts.initializing_since.get((step.group_id, topic_id))
    retry_interval_ms = step.parts.config.share_initialize_retry_interval_ms
    if initializing is not None and since_ms is not None and step.now_ms - since_ms < retry_interval_ms:
        found |= initializing.partitions
    return found


def begin_initializing(step: Step, wanted: Mapping[Uuid, TopicState]) -> None:
    """Write that these partitions get a state."""
    states = step.group.states
    for topic_id in wanted:
        step.parts.initializing_since[step.group_id, topic_id] = step.now_ms
    deleting = {topic_id: name for topic_id, name in states.deleting.items() if topic_id not in wanted}
    step.effects.records.append(
        states_record(
            step.group_id,
            replace(states, initializing=joined(states.initializing, wanted), deleting=deleting),
        )
    )


def _interval_ms(step: Step, *, is_settled: bool) -> int:
    configured_ms: int = step.setting("share.heartbeat.interval.ms")
    if is_settled or not step.parts.config.share_fast_heartbeats:
        return configured_ms
    return min(configured_ms, _SOON_MS)


def _members_with(group: ShareGroup, member: Member) -> dict[str, Member]:
    return {**group.members, member.member_id: member}


def _topic_names(members: Iterable[Member]) -> frozenset[str]:
    return frozenset(name for member in members for name in member.topics)


def _hash_of(step: Step, members: Iterable[Member]) -> int:
    return step.parts.hash_of(_topic_names(members))
