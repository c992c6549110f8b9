"""The steps of one member from its tasks to those of its target assignment.

Responsible for: ``reconcile``, a pure function of the member, its target and the tasks of others. Must not depend on:
records, timers, the group.

    STABLE ──new target──► has it tasks to give up?
                             yes: UNREVOKED_TASKS   stays in its epoch until it no longer reports them
                             no:  takes what is free, moves to the epoch of the target
                                    all of it free: STABLE, else UNRELEASED_TASKS until others have let go

An active task belongs to one process at a time, and a process has a task once: as active, standby or warm-up task. A
member that has a task changes its role at once, without giving it up: an active task to a standby one, a standby one to
a warm-up one and back; a standby or warm-up one to the active one as soon as no other process has that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from kwire.coordinators.group.streams.member import Member, MemberState
from kwire.coordinators.group.streams.tasks import (
    NOTHING_HELD,
    HeldTasks,
    TaskId,
    Tasks,
    TaskSet,
    TasksWithEpochs,
    each_task,
)
from kwire.errors import Code, KafkaError


class Holders:
    """Which processes have which tasks, or have still to give them up."""

    def __init__(self, members: Iterable[Member]) -> None:
        self._active: dict[TaskId, str] = {}
        self._standby: set[tuple[TaskId, str]] = set()
        self._warmup: set[tuple[TaskId, str]] = set()
        for member in members:
            for held in (member.assigned, member.revoking):
                self._active.update(dict.fromkeys(each_task(held.active), member.process_id))
                self._standby.update((task, member.process_id) for task in each_task(held.standby))
                self._warmup.update((task, member.process_id) for task in each_task(held.warmup))

    def has_active(self, task: TaskId) -> bool:
        return task in self._active

    def is_active_on(self, process_id: str, task: TaskId) -> bool:
        return self._active.get(task) == process_id

    def is_standby_on(self, process_id: str, task: TaskId) -> bool:
        return (task, process_id) in self._standby

    def is_warmup_on(self, process_id: str, task: TaskId) -> bool:
        return (task, process_id) in self._warmup


@dataclass(frozen=True, slots=True)
class ReconciliationInputs:
    """The inputs of a reconciliation. ``owned``: the tasks that the member reports; None: it did not report any."""

    target_epoch: int
    target: TaskSet
    holders: Holders
    owned: TaskSet | None

    def may_have(self, tasks: HeldTasks) -> bool:
        """Whether the member may still have one of these tasks."""
        return self.owned is None or tasks.any_of(self.owned)


def reconcile(member: Member, around: ReconciliationInputs) -> Member:
    """The next step of the member, or the member itself if it has to wait.

    KafkaError(FENCED_MEMBER_EPOCH) for a member in a state of a newer release.
    """
    match member.state:
        case MemberState.STABLE:
            return member if member.epoch == around.target_epoch else _next_assignment(member, member.epoch, around)
        case MemberState.UNREVOKED_TASKS:
            if around.may_have(member.revoking):
                return member
            # The new epoch confirms the revocation to the member.
            return _next_assignment(member, member.epoch + 1, around)
        case MemberState.UNRELEASED_TASKS:
            return _next_assignment(member, member.epoch, around)
        case _:
            if around.owned is None or around.owned:
                raise KafkaError(
                    Code.FENCED_MEMBER_EPOCH,
                    "The streams group member is in a unknown state. The member must abandon all its tasks and rejoin.",
                )
            return _next_assignment(member, around.target_epoch, around)


class _Change:
    """The difference between a member's tasks of one role and those of its target.

    ``taken``: those of the target that are free; ``is_waiting``: others are not.
    """

    def __init__(self, current: set[TaskId], target: set[TaskId], is_blocked: Callable[[TaskId], bool]) -> None:
        wanted = target - current
        self.current = current
        self.target = target
        self.kept = current & target
        self.revoking = current - target
        self.taken = {task for task in wanted if not is_blocked(task)}
        self.is_waiting = self.taken != wanted

    def grant(self, tasks: Iterable[TaskId]) -> None:
        """Give the member tasks at once, without waiting for its revocations."""
        self.taken.difference_update(tasks)
        self.kept.update(tasks)


def _next_assignment(member: Member, epoch: int, around: ReconciliationInputs) -> Member:
    active, standby, warmup = _changes(member, around)
    standby.grant(active.current & standby.taken)
    to_warmup = standby.current & warmup.taken
    warmup.grant(to_warmup)
    standby.revoking -= to_warmup
    to_standby = warmup.current & standby.taken
    standby.grant(to_standby)
    warmup.revoking -= to_standby
    standby.revoking -= active.target
    warmup.revoking -= active.target
    epochs = member.assigned.active
    revoking = HeldTasks(_with_epochs(active.revoking, epochs, 0), _tasks(standby.revoking), _tasks(warmup.revoking))
    must_revoke = bool(revoking) and around.may_have(revoking)
    # A task that becomes active later keeps its role until then.
    promoted = set() if must_revoke else active.taken
    for copies in (standby, warmup):
        copies.kept |= (copies.current & active.target) - promoted
    if must_revoke:
        kept = HeldTasks(_with_epochs(active.kept, epochs, 0), _tasks(standby.kept), _tasks(warmup.kept))
        return _moved(member, MemberState.UNREVOKED_TASKS, epoch, kept, revoking)
    is_waiting = active.is_waiting or standby.is_waiting or warmup.is_waiting
    held = HeldTasks(
        _with_epochs(active.kept | active.taken, epochs, around.target_epoch),
        _tasks(standby.kept | standby.taken),
        _tasks(warmup.kept | warmup.taken),
    )
    state = MemberState.UNRELEASED_TASKS if is_waiting else MemberState.STABLE
    return _moved(member, state, around.target_epoch, held, NOTHING_HELD)


def _changes(member: Member, around: ReconciliationInputs) -> tuple[_Change, _Change, _Change]:
    """Active, standby and warm-up tasks. A task that another member of the same process has is not free."""
    assigned, target, holders, process = member.assigned, around.target, around.holders, member.process_id
    has_active, has_standby, has_warmup = map(set, map(each_task, (assigned.active, assigned.standby, assigned.warmup)))

    def is_standby_elsewhere(task: TaskId) -> bool:
        return holders.is_standby_on(process, task) and task not in has_standby

    def is_warmup_elsewhere(task: TaskId) -> bool:
        return holders.is_warmup_on(process, task) and task not in has_warmup

    def blocks_active(task: TaskId) -> bool:
        return holders.has_active(task) or is_standby_elsewhere(task) or is_warmup_elsewhere(task)

    def blocks_standby(task: TaskId) -> bool:
        is_active_elsewhere = holders.is_active_on(process, task) and task not in has_active
        return is_active_elsewhere or holders.is_standby_on(process, task) or is_warmup_elsewhere(task)

    def blocks_warmup(task: TaskId) -> bool:
        return holders.is_active_on(process, task) or is_standby_elsewhere(task) or holders.is_warmup_on(process, task)

    return (
        _Change(has_active, set(each_task(target.active)), blocks_active),
        _Change(has_standby, set(each_task(target.standby)), blocks_standby),
        _Change(has_warmup, set(each_task(target.warmup)), blocks_warmup),
    )


def _moved(member: Member, state: MemberState, epoch: int, assigned: HeldTasks, revoking: HeldTasks) -> Member:
    return replace(member, state=state, epoch=epoch, previous_epoch=member.epoch, assigned=assigned, revoking=revoking)


def _tasks(tasks: Iterable[TaskId]) -> Tasks:
    found: dict[str, set[int]] = {}
    for subtopology, partition in tasks:
        found.setdefault(subtopology, set()).add(partition)
    return {subtopology: frozenset(partitions) for subtopology, partitions in found.items()}


def _with_epochs(tasks: Iterable[TaskId], epochs: TasksWithEpochs, new_epoch: int) -> TasksWithEpochs:
    """Each with the epoch at which the member got it; ``new_epoch`` for those that it gets now."""
    found: dict[str, dict[int, int]] = {}
    no_epochs: Mapping[int, int] = {}
    for subtopology, partition in sorted(tasks):
        epoch = epochs.get(subtopology, no_epochs).get(partition, new_epoch)
        found.setdefault(subtopology, {})[partition] = epoch
    return found
