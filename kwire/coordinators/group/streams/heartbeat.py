"""The heartbeat of a member of a streams group: joining, staying, leaving (KIP-1071).

Responsible for: the steps of a heartbeat, in Apache Kafka's order. Must not depend on: requests, timers that fire, the
creation of topics.

    1  find or create the member, store changes of its metadata      the group's epoch rises
    2  store the topology of a new group                                  one topology for the life of the group
    3  compare the topology with the topics that exist                    see ``internal_topics``
    4  compute the target assignment, if the group's epoch is newer       see ``target``
    5  move the member towards its target                                 see ``reconciliation``
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from operator import attrgetter

from kwire.coordinators.group.modern.instances import check_instance, unreleased
from kwire.coordinators.group.modern.state import LEAVE_STATIC_EPOCH
from kwire.coordinators.group.modern.view import fenced
from kwire.coordinators.group.streams.commands import HeartbeatAnswer, StreamsHeartbeat
from kwire.coordinators.group.streams.endpoints import partitions_by_endpoint
from kwire.coordinators.group.streams.group import KIND, StreamsGroup
from kwire.coordinators.group.streams.internal_topics import ConfiguredTopology, Problem, Status, configure
from kwire.coordinators.group.streams.member import (
    Member,
    MemberState,
    current_record,
    metadata_record,
    remove_records,
    target_record,
)
from kwire.coordinators.group.streams.pace import heartbeat_interval_ms
from kwire.coordinators.group.streams.reconciliation import Holders, ReconciliationInputs, reconcile
from kwire.coordinators.group.streams.state import configs_of, epoch_record, target_epoch_record
from kwire.coordinators.group.streams.step import Reported, Step
from kwire.coordinators.group.streams.target import assignment_configs, members_with, target_of
from kwire.coordinators.group.streams.tasks import NOTHING_HELD, TaskSet, without_epochs
from kwire.coordinators.group.streams.topology import Topology, topology_record
from kwire.errors import Code, KafkaError


def check_request(command: StreamsHeartbeat) -> None:
    """KafkaError(INVALID_REQUEST, STREAMS_INVALID_TOPOLOGY), with Apache Kafka's messages."""
    topology = command.topology
    if topology is not None and any(each.source_topic_regex for each in topology.subtopologies.values()):
        raise _invalid("Regular expressions for source topics are not supported yet.")
    for text, message in (
        (command.member_id, "MemberId can't be empty."),
        (command.group_id, "GroupId can't be empty."),
        (command.instance_id, "InstanceId can't be empty."),
        (command.rack_id, "RackId can't be empty."),
    ):
        if text is not None and not text.strip():
            raise _invalid(message)
    epoch = command.member_epoch
    if epoch == 0:
        _check_joining(command)
    elif epoch == LEAVE_STATIC_EPOCH:
        if command.instance_id is None:
            raise _invalid("InstanceId can't be null.")
    elif epoch < LEAVE_STATIC_EPOCH:
        raise _invalid(f"MemberEpoch is {epoch}, but must be greater than or equal to -2.")
    if command.owns_some_kinds_only:
        raise _invalid("If one task-type is non-null, all must be non-null.")
    if epoch != 0 and command.topology is not None:
        raise _invalid("Topology can only be provided when (re-)joining.")


def heartbeat(step: Step, command: StreamsHeartbeat) -> HeartbeatAnswer:
    """Handle a heartbeat of a member that does not leave. Raises KafkaError."""
    group = step.group
    is_joining = command.member_epoch == 0
    if is_joining:
        _refuse_full(step, command)
    before = _find_or_add(step, command, is_joining=is_joining)
    member = _with_request(before, command)
    if member != before:
        step.add(metadata_record(step.group_id, member))
    topology = _topology(step, command)
    statuses = list(_stale_topology(group, member))
    configured_before = step.watched.configured
    configured, epoch = _configured(step, command, topology, must_bump=_needs_assignment(before, member))
    if not group.members:
        _delay_first_assignment(step)
    target_epoch, target = target_of(step, member, configured, epoch, statuses)
    moved = _move(step, member, target_epoch, target, command.owned)
    step.start_session(member)
    if command.shutdown_application:
        _request_shutdown(step, member.member_id)
    interval_ms = heartbeat_interval_ms(step, moved, epoch, configured_before, configured)
    return _answer(step, command, _Outcome(before, moved, configured, statuses, interval_ms))


def leave(step: Step, command: StreamsHeartbeat) -> HeartbeatAnswer:
    """Handle a leaving member; with the epoch -2 a static member leaves for a while and keeps its tasks."""
    if command.shutdown_application:
        _request_shutdown(step, command.member_id)
    answer = HeartbeatAnswer(command.member_id, command.member_epoch)
    if command.instance_id is None:
        fence(step, step.group.member(command.member_id))
        return answer
    member = _static_member(step, command)
    if command.member_epoch == LEAVE_STATIC_EPOCH:
        # The member that replaces it may commit for all tasks that it had.
        active = {each: dict.fromkeys(held, 0) for each, held in member.assigned.active.items()}
        away = replace(
            member,
            epoch=LEAVE_STATIC_EPOCH,
            assigned=replace(member.assigned, active=active),
            revoking=NOTHING_HELD,
        )
        step.add(current_record(step.group_id, away))
        return answer
    fence(step, member)
    return answer


def fence(step: Step, member: Member) -> None:
    """Remove a member; the group's epoch rises, so that its tasks are assigned to others."""
    epochs = step.group.epochs
    step.add(*remove_records(step.group_id, member.member_id))
    epoch = epochs.group + 1
    step.add(epoch_record(step.group_id, replace(epochs, group=epoch)))
    if len(step.group.members) == 1:
        # There is nothing to assign, and no interval to wait for when a member joins.
        step.add(target_epoch_record(step.group_id, epoch, 0))
    step.forget_member(member.member_id)


# The member


def _refuse_full(step: Step, command: StreamsHeartbeat) -> None:
    group, limit = step.group, step.parts.config.streams_max_size
    if command.instance_id is not None and group.static_member(command.instance_id) is not None:
        return
    if len(group.members) >= limit and command.member_id not in group.members:
        raise KafkaError(
            Code.GROUP_MAX_SIZE_REACHED, f"The streams group has reached its maximum capacity of {limit} members."
        )


def _needs_assignment(before: Member, member: Member) -> bool:
    """Whether the target has to be computed again. A static member may return with another client id or endpoint."""
    if member.instance_id is None:
        return member != before
    fields = attrgetter("topology_epoch", "rack_id", "client_tags", "process_id")
    return bool(fields(member) != fields(before))


def _find_or_add(step: Step, command: StreamsHeartbeat, *, is_joining: bool) -> Member:
    group, member_id = step.group, command.member_id
    if command.instance_id is not None:
        return _find_or_add_static(step, command, is_joining=is_joining)
    member = group.members.get(member_id)
    if member is None:
        member = Member(member_id) if is_joining else group.member(member_id)
    _check_epoch(member, command)
    return member


def _find_or_add_static(step: Step, command: StreamsHeartbeat, *, is_joining: bool) -> Member:
    group, member_id = step.group, command.member_id
    if not is_joining:
        member = _static_member(step, command)
        _check_epoch(member, command)
        return member
    assert command.instance_id is not None
    owner = group.static_member(command.instance_id)
    if owner is None:
        return group.members.get(member_id) or Member(member_id)
    if owner.epoch != LEAVE_STATIC_EPOCH:
        raise unreleased(owner, member_id)
    return _replace_static(step, owner, member_id)


def _replace_static(step: Step, old: Member, member_id: str) -> Member:
    """A static member returns under a new member id, with its tasks."""
    new = replace(old, member_id=member_id, epoch=0, previous_epoch=0)
    # The timers of the old member stay, in case the records are refused; otherwise they find no member.
    step.add(*remove_records(step.group_id, old.member_id))
    step.add(
        metadata_record(step.group_id, new),
        target_record(step.group_id, member_id, step.group.target(old.member_id)),
        current_record(step.group_id, new),
    )
    return new


def _static_member(step: Step, command: StreamsHeartbeat) -> Member:
    assert command.instance_id is not None
    found = step.group.static_member(command.instance_id)
    return check_instance(found, command.member_id, command.instance_id)


def _check_epoch(member: Member, command: StreamsHeartbeat) -> None:
    """Check the member epoch, which may be the previous one if the last answer was lost."""
    epoch = command.member_epoch
    if epoch in (0, member.epoch):
        return
    owned = command.owned
    if epoch == member.previous_epoch and epoch < member.epoch and owned is not None and member.assigned.contain(owned):
        return
    raise fenced(KIND, epoch, member.epoch)


def _with_request(member: Member, command: StreamsHeartbeat) -> Member:
    """The member with the fields of the request. Others stay, except an endpoint from before it joined."""
    is_joining = command.member_epoch == 0
    return replace(
        member,
        instance_id=member.instance_id if command.instance_id is None else command.instance_id,
        rack_id=member.rack_id if command.rack_id is None else command.rack_id,
        rebalance_timeout_ms=(
            member.rebalance_timeout_ms if command.rebalance_timeout_ms == -1 else command.rebalance_timeout_ms
        ),
        topology_epoch=member.topology_epoch if command.topology is None else command.topology.epoch,
        process_id=member.process_id if command.process_id is None else command.process_id,
        endpoint=command.endpoint if is_joining or command.endpoint is not None else member.endpoint,
        client_tags=member.client_tags if command.client_tags is None else command.client_tags,
        client_id=command.client_id,
        client_host=command.client_host,
    )


def _move(step: Step, member: Member, target_epoch: int, target: TaskSet, owned: TaskSet | None) -> Member:
    """Move the member towards its target, and write its state if that changed."""
    if member.is_reconciled_to(target_epoch):
        return member
    holders = Holders(step.group.members.values())
    moved = reconcile(member, ReconciliationInputs(target_epoch, target, holders, owned))
    if moved == member:
        return member
    step.add(current_record(step.group_id, moved))
    if moved.state is MemberState.UNREVOKED_TASKS:
        step.limit_rebalance(moved)
    else:
        step.end_rebalance(moved.member_id)
    return moved


# The topology


def _check_joining(command: StreamsHeartbeat) -> None:
    if command.rebalance_timeout_ms == -1:
        raise _invalid("RebalanceTimeoutMs must be provided in first request.")
    owned = command.owned
    if owned is not None:
        for tasks, name in ((owned.active, "Active"), (owned.standby, "Standby"), (owned.warmup, "Warmup")):
            if tasks:
                raise _invalid(f"{name}Tasks must be empty when (re-)joining.")
    if command.topology is None:
        raise _invalid("Topology must be non-null when (re-)joining.")
    for subtopology in command.topology.subtopologies.values():
        for topic in subtopology.state_changelog_topics:
            if topic.partitions != 0:
                raise KafkaError(
                    Code.STREAMS_INVALID_TOPOLOGY,
                    f"Changelog topic {topic.name} must have an undefined partition count, but it is set to "
                    f"{topic.partitions}.",
                )


def _topology(step: Step, command: StreamsHeartbeat) -> Topology:
    """The topology of the group; in a new group that of the request."""
    known, given = step.group.topology, command.topology
    if known is None:
        if given is None:
            raise KafkaError(Code.UNKNOWN_SERVER_ERROR)
        step.add(topology_record(step.group_id, given))
        return given
    if given is not None and given.epoch >= known.epoch and given != known:
        raise _invalid("Topology updates are not supported yet.")
    return known


def _stale_topology(group: StreamsGroup, member: Member) -> Iterable[Problem]:
    topology = group.topology
    if topology is not None and member.topology_epoch < topology.epoch:
        yield Problem(
            Status.STALE_TOPOLOGY,
            f"The member's topology epoch {member.topology_epoch} is behind the group's topology epoch "
            f"{topology.epoch}.",
        )


def _configured(
    step: Step, command: StreamsHeartbeat, topology: Topology, *, must_bump: bool
) -> tuple[ConfiguredTopology, int]:
    """The topology compared with the topics that exist, and the group's epoch; written if it rose."""
    parts, watched, epochs = step.parts, step.watched, step.group.epochs
    configured, metadata_hash = watched.configured, epochs.metadata_hash
    is_new = step.group.topology is None
    if is_new or configured is None or watched.checked_version != parts.topics_version:
        metadata_hash = parts.hash_of(frozenset(topology.required_topics()))
        must_bump = must_bump or metadata_hash != epochs.metadata_hash
        if is_new or configured is None or metadata_hash != epochs.metadata_hash:
            configured = configure(topology, parts.partition_count)
    validated = -1
    if configured.is_ready:
        validated = topology.epoch
        _check_tasks(configured, command.owned)
    _note_offsets(step, command)
    configs = configs_of(assignment_configs(step))
    must_bump = must_bump or validated != epochs.validated_topology or configs != epochs.configs
    if not step.is_new:
        step.watch(configured=configured, checked_version=parts.topics_version)
    if not must_bump:
        return configured, epochs.group
    bumped = replace(
        epochs,
        group=epochs.group + 1,
        metadata_hash=metadata_hash,
        validated_topology=validated,
        configs=configs,
    )
    step.add(epoch_record(step.group_id, bumped))
    return configured, bumped.group


def _note_offsets(step: Step, command: StreamsHeartbeat) -> None:
    if (command.offsets is None and command.end_offsets is None) or step.is_new:
        return
    path = (step.group_id, command.member_id)
    before = step.parts.reported.get(path) or Reported()
    offsets = before.offsets if command.offsets is None else command.offsets
    end_offsets = before.end_offsets if command.end_offsets is None else command.end_offsets
    step.parts.reported.set(path, Reported(offsets, end_offsets))


def _check_tasks(configured: ConfiguredTopology, owned: TaskSet | None) -> None:
    """KafkaError(INVALID_REQUEST) if the member reports a task that the topology does not have."""
    if owned is None:
        return
    assert configured.subtopologies is not None
    for tasks in (owned.active, owned.standby, owned.warmup):
        for name, partitions in tasks.items():
            subtopology = configured.subtopologies.get(name)
            if subtopology is None:
                raise _invalid(f"Subtopology {name} does not exist in the topology.")
            for partition in sorted(partitions):
                if not 0 <= partition < subtopology.task_count:
                    raise _invalid(
                        f"Task {partition} for subtopology {name} is invalid. "
                        f"Number of tasks for this subtopology: {subtopology.task_count}"
                    )


def _delay_first_assignment(step: Step) -> None:
    delay_ms = step.setting("streams.initial.rebalance.delay.ms")
    if delay_ms > 0:
        step.delay_assignment(delay_ms)


# The answer


@dataclass(frozen=True, slots=True)
class _Outcome:
    """The result of a heartbeat. ``before``: the member before the command."""

    before: Member
    member: Member
    configured: ConfiguredTopology
    statuses: list[Problem]
    interval_ms: int


def _answer(step: Step, command: StreamsHeartbeat, outcome: _Outcome) -> HeartbeatAnswer:
    before, member, configured, statuses = outcome.before, outcome.member, outcome.configured, outcome.statuses
    tasks = None
    are_tasks_changed = member.assigned != before.assigned
    if command.member_epoch == 0 or are_tasks_changed:
        assigned = member.assigned
        tasks = TaskSet(without_epochs(assigned.active), assigned.standby, assigned.warmup)
    endpoint_epoch = step.watched.endpoint_epoch
    if member.endpoint != before.endpoint or (are_tasks_changed and member.endpoint is not None):
        endpoint_epoch += 1
        if not step.is_new:
            step.watch(endpoint_epoch=endpoint_epoch)
    endpoints = None
    if endpoint_epoch != command.endpoint_epoch:
        members = members_with(step, member)
        del members[member.member_id]
        endpoints = partitions_by_endpoint(
            [*members.values(), member], configured.subtopologies or {}, step.parts.partition_count
        )
    if configured.problem is not None:
        statuses.append(configured.problem)
    shutdown_by = step.watched.shutdown_by
    if shutdown_by is not None:
        statuses.append(
            Problem(
                Status.SHUTDOWN_APPLICATION,
                f"Streams group member {shutdown_by} encountered a fatal error and requested a shutdown for the "
                "entire application.",
            )
        )
    if command.wants_missing_tags:
        statuses += _missing_tags(step, member)
    return HeartbeatAnswer(
        member.member_id,
        member.epoch,
        outcome.interval_ms,
        step.setting("streams.task.offset.interval.ms"),
        step.setting("streams.acceptable.recovery.lag"),
        tuple(statuses),
        tasks,
        # The soft state of a new group begins with the next heartbeat.
        0 if step.is_new else endpoint_epoch,
        endpoints,
        configured.missing,
    )


def _missing_tags(step: Step, member: Member) -> Iterable[Problem]:
    missing = [tag for tag in step.setting("streams.rack.aware.assignment.tags") if tag not in member.client_tags]
    if missing:
        yield Problem(
            Status.MISSING_CLIENT_TAGS,
            f"Missing required client tags for rack-aware standby assignment: [{', '.join(missing)}]. Configure them "
            "via 'client.tag.<tagKey>' in your Streams config.",
        )


def _request_shutdown(step: Step, member_id: str) -> None:
    if step.watched.shutdown_by is None:
        step.watch(shutdown_by=member_id)


def _invalid(message: str) -> KafkaError:
    return KafkaError(Code.INVALID_REQUEST, message)
