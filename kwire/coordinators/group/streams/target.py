"""The target assignment of a streams group.

Responsible for: when the target is computed, with which settings and from which input. Must not depend on: how the
assignor works, how members get to their targets.
"""

from __future__ import annotations

from collections.abc import Mapping

from kwire.coordinators.group.streams.assignor import AssignorFailure, MemberSpec, SubtopologySpec, assign
from kwire.coordinators.group.streams.internal_topics import ConfiguredTopology, Problem, Status
from kwire.coordinators.group.streams.member import Member, target_record
from kwire.coordinators.group.streams.state import target_epoch_record
from kwire.coordinators.group.streams.step import Reported, Step
from kwire.coordinators.group.streams.tasks import NOTHING, TaskSet, without_epochs
from kwire.errors import Code, KafkaError


def target_of(
    step: Step, member: Member, configured: ConfiguredTopology, group_epoch: int, statuses: list[Problem]
) -> tuple[int, TaskSet]:
    """The epoch of the target assignment and what it gives the member; computed if the group's epoch is newer.

    ``statuses`` gets the reason if that has to wait.
    """
    epochs = step.group.epochs
    if step.is_delayed:
        statuses.append(
            Problem(Status.ASSIGNMENT_DELAYED, "Assignment delayed due to the configured initial rebalance delay.")
        )
        return epochs.assignment, NOTHING
    if group_epoch <= epochs.assignment:
        return epochs.assignment, _last_target(step, member) or NOTHING
    if not step.may_assign("streams.assignment.interval.ms"):
        statuses.append(
            Problem(Status.ASSIGNMENT_DELAYED, "Assignment delayed due to the configured assignment interval.")
        )
        return epochs.assignment, _last_target(step, member) or NOTHING
    targets = _compute(step, members_with(step, member), configured, group_epoch)
    return group_epoch, targets.get(member.member_id, NOTHING)


def compute_delayed(step: Step) -> None:
    """Compute the first target assignment of a group, now that the delay for more members is over."""
    configured, epochs = step.watched.configured, step.group.epochs
    if (
        configured is not None
        and epochs.group > epochs.assignment
        and step.may_assign("streams.assignment.interval.ms")
    ):
        _compute(step, dict(step.group.members), configured, epochs.group)


def members_with(step: Step, member: Member) -> dict[str, Member]:
    """The members of the group once the command is done: one replaces the static member of its instance id."""
    members = dict(step.group.members)
    if member.instance_id is not None:
        replaced = step.group.static_member(member.instance_id)
        if replaced is not None and replaced.member_id != member.member_id:
            del members[replaced.member_id]
    members[member.member_id] = member
    return members


def assignment_configs(step: Step) -> dict[str, str]:
    """The settings of the group that the assignment depends on, as they are stored."""
    configs = {"num.standby.replicas": str(step.setting("streams.num.standby.replicas"))}
    tags = step.setting("streams.rack.aware.assignment.tags")
    if tags:
        configs["rack.aware.assignment.tags"] = ",".join(tags)
    return configs


def _compute(
    step: Step, members: Mapping[str, Member], configured: ConfiguredTopology, group_epoch: int
) -> Mapping[str, TaskSet]:
    """Compute the target of all members, and write the changes. While topics are missing nothing is assigned."""
    targets: Mapping[str, TaskSet] = {}
    if configured.problem is None and configured.subtopologies is not None:
        specs = {member_id: _spec(step, member) for member_id, member in members.items()}
        subtopologies = {
            name: SubtopologySpec(each.task_count, each.is_stateful) for name, each in configured.subtopologies.items()
        }
        try:
            targets = assign(specs, subtopologies, standby_replicas=step.setting("streams.num.standby.replicas"))
        except AssignorFailure as failure:
            raise KafkaError(Code.UNKNOWN_SERVER_ERROR) from failure
    for member_id, member in members.items():
        target = targets.get(member_id, NOTHING)
        if _last_target(step, member) != target:
            step.add(target_record(step.group_id, member_id, target))
    step.add(target_epoch_record(step.group_id, group_epoch, step.now_ms))
    return targets


def _last_target(step: Step, member: Member) -> TaskSet | None:
    """The last target assignment of a member, or of the member that it replaces; None without one."""
    group = step.group
    target = group.targets.get(member.member_id)
    if target is None and member.instance_id is not None:
        replaced = group.static_member(member.instance_id)
        target = None if replaced is None else group.targets.get(replaced.member_id)
    return None if target is None else target.tasks


def _spec(step: Step, member: Member) -> MemberSpec:
    """A member with its current tasks, which may differ from its target."""
    assigned = member.assigned
    found = step.parts.reported.get((step.group_id, member.member_id)) or Reported()
    held = TaskSet(without_epochs(assigned.active), assigned.standby, assigned.warmup)
    return MemberSpec(member.process_id, held, found.offsets)
