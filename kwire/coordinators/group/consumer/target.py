"""The target assignment of a consumer group, and the group's epoch.

Responsible for: when the epoch rises, when the target is computed again, with which assignor and from which input. Must
not depend on: how an assignor works, how members get to their targets.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from kwire.coordinators.group.consumer.assignors import ASSIGNORS
from kwire.coordinators.group.consumer.member import Member
from kwire.coordinators.group.consumer.parts import Step
from kwire.coordinators.group.consumer.state import (
    ResolvedRegex,
    epoch_record,
    is_homogeneous,
    old_metadata_tombstone,
    subscribed_topics,
    target_epoch_record,
    target_record,
)
from kwire.coordinators.group.modern.assignment import (
    NO_PARTITIONS,
    AssignorFailure,
    GroupSpec,
    MemberSpec,
    Partitions,
    changed_targets,
)
from kwire.coordinators.java_order import hash_map_order, string_hash
from kwire.errors import Code, KafkaError


def bump_epoch(step: Step, member: Member, *, must_bump: bool) -> int:
    """The group's epoch after the member became ``member``; written if it rose.

    It rises with ``must_bump``, and when the topics of the group have changed since the last check.
    """
    group, parts = step.group, step.parts
    epochs = group.epochs
    if not must_bump and step.watched.checked_version == parts.topics_version:
        return epochs.group
    members = members_with(step, member)
    metadata_hash = hash_of(step, members.values(), group.regexes)
    step.watch(checked_version=parts.topics_version)
    epoch = epochs.group
    if must_bump or metadata_hash != epochs.metadata_hash:
        epoch += 1
        step.add(epoch_record(step.group_id, epoch, metadata_hash))
        step.changed()
    if epochs.has_old_metadata:
        # Since Kafka 4.1 the hash is stored instead.
        step.add(old_metadata_tombstone(step.group_id))
    return epoch


def target_of(step: Step, member: Member, group_epoch: int) -> tuple[int, Partitions]:
    """The epoch of the target assignment and what it gives the member; computed if the group's epoch is newer."""
    group = step.group
    epochs = group.epochs
    if group_epoch <= epochs.assignment or not step.may_assign("consumer.assignment.interval.ms"):
        return epochs.assignment, group.target_of(member)
    targets = _compute(step, members_with(step, member), group_epoch)
    step.add(target_epoch_record(step.group_id, group_epoch, step.now_ms))
    return group_epoch, targets.get(member.member_id, NO_PARTITIONS)


def members_with(step: Step, member: Member) -> dict[str, Member]:
    """The members of the group once the command is done: one replaces the static member of its instance id."""
    members = dict(step.group.members)
    if member.instance_id is not None:
        replaced = step.group.static_member(member.instance_id)
        if replaced is not None and replaced.member_id != member.member_id:
            del members[replaced.member_id]
    members[member.member_id] = member
    return members


def hash_of(step: Step, members: Iterable[Member], regexes: Mapping[str, ResolvedRegex]) -> int:
    """The hash of the topics that these members read."""
    return step.parts.hash_of(subscribed_topics(members, regexes))


def preferred_assignor(members: Iterable[Member], default: str) -> str:
    """The assignor that most members ask for."""
    counts: dict[str, int] = {}
    for member in members:
        if member.assignor is not None:
            counts[member.assignor] = counts.get(member.assignor, 0) + 1
    if not counts:
        return default
    most = max(counts.values())
    return next(name for name in hash_map_order(counts, string_hash) if counts[name] == most)


def _compute(step: Step, members: Mapping[str, Member], group_epoch: int) -> Mapping[str, Partitions]:
    group = step.group
    config = step.parts.config
    specs = {
        member_id: MemberSpec(step.topic_ids(member), group.target_of(member), member.instance_id, member.rack_id)
        for member_id, member in members.items()
    }
    names = subscribed_topics(members.values(), group.regexes)
    spec = GroupSpec(
        specs,
        {topic.id: topic.partition_count for topic in step.parts.topics(names)},
        is_homogeneous=is_homogeneous(members.values()),
    )
    assignor = ASSIGNORS[preferred_assignor(members.values(), config.consumer_assignors[0])]
    try:
        targets = assignor(spec)
    except AssignorFailure as failure:
        message = f"Failed to compute a new target assignment for epoch {group_epoch}: {failure}"
        raise KafkaError(Code.UNKNOWN_SERVER_ERROR, message) from failure
    step.add(
        *(
            target_record(step.group_id, member_id, target)
            for member_id, target in changed_targets(group.target, targets, members)
        )
    )
    return targets
