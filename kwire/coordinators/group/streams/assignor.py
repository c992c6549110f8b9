"""The sticky assignor of streams groups (KIP-1071): which member has which tasks.

Responsible for: ``assign``, a pure function. Must not depend on: how members get to their tasks.

Active tasks go, in this order, to the member that has the task, to one that has its state already (as standby task, or
by the offsets that it reports), and to the process with the least load; a member keeps tasks up to its share. Standby
tasks go to other processes than the active one, in the same order. Ties are broken by the orders of Java's hash maps
and priority queues, so that the result is that of Apache Kafka.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Final, NamedTuple

from kwire.coordinators.group.streams.process_load import ProcessLoad
from kwire.coordinators.group.streams.tasks import NOTHING, TaskId, Tasks, TaskSet, each_task, tasks_of
from kwire.coordinators.java_order import PriorityQueue, computed_map_order, hash_map_order, string_hash

NAME: Final = "sticky"


class AssignorFailure(Exception):
    """The group has no member that can have a task."""


@dataclass(frozen=True, slots=True)
class MemberSpec:
    """A member as the assignor sees it. ``held``: the tasks that it has now.

    ``offsets``: of the state that it reports, by subtopology and partition.
    """

    process_id: str
    held: TaskSet = NOTHING
    offsets: Mapping[str, Mapping[int, int]] = field(default_factory=dict)


class SubtopologySpec(NamedTuple):
    task_count: int
    is_stateful: bool


class _Member(NamedTuple):
    process_id: str
    member_id: str


class _Candidate(NamedTuple):
    """A member that has state of a task. ``offset_sum``: how far its state goes."""

    member: _Member
    has_standby: bool
    offset_sum: int


def assign(
    members: Mapping[str, MemberSpec], subtopologies: Mapping[str, SubtopologySpec], *, standby_replicas: int
) -> Mapping[str, TaskSet]:
    """The tasks of each member. AssignorFailure without members, if there are tasks."""
    assignment = _Assignment(members, subtopologies, standby_replicas)
    assignment.assign_active()
    if standby_replicas > 0:
        assignment.assign_standby()
    return {
        member_id: TaskSet(
            _by_subtopology(process.active.get(member_id, ())), _by_subtopology(process.standby.get(member_id, ()))
        )
        for process in assignment.processes.values()
        for member_id in process.task_counts
    }


class _Quota:
    """How many tasks each member may have: the tasks left, shared among the members that have not got their share."""

    def __init__(self, tasks: int, members: int) -> None:
        self._tasks = tasks
        self._members = members
        self.per_member = _share(tasks, members)

    def count(self, tasks_of_member: int) -> None:
        """A member has this many tasks now."""
        if tasks_of_member == self.per_member:
            self._members -= 1
            self._tasks -= tasks_of_member
            self.per_member = _share(self._tasks, self._members)


class _Assignment:
    """One computation. ``processes`` by id, in the order of Java's map."""

    def __init__(
        self, members: Mapping[str, MemberSpec], subtopologies: Mapping[str, SubtopologySpec], standby_replicas: int
    ) -> None:
        self._subtopologies = subtopologies
        self._standby_replicas = standby_replicas
        active = sum(each.task_count for each in subtopologies.values())
        stateful = sum(each.task_count for each in subtopologies.values() if each.is_stateful)
        self._active_quota = _Quota(active, len(members))
        self._total_quota = _Quota(active + stateful * standby_replicas, len(members))
        self._previous_active: dict[TaskId, _Member] = {}
        candidates: dict[TaskId, list[_Candidate]] = {}
        processes: dict[str, ProcessLoad] = {}
        order = hash_map_order(members, string_hash)
        for member_id in order:
            spec = members[member_id]
            process = processes.setdefault(spec.process_id, ProcessLoad(spec.process_id))
            process.add_member(member_id)
            member = _Member(spec.process_id, member_id)
            self._previous_active.update(dict.fromkeys(each_task(spec.held.active), member))
            _collect(candidates, member, spec)
        self._with_state = {task: _ranked(found) for task, found in candidates.items()}
        process_ids = [members[member_id].process_id for member_id in order]
        in_order = computed_map_order(process_ids, string_hash, expected=len(members))
        self.processes = {process_id: processes[process_id] for process_id in in_order}

    def assign_active(self) -> None:
        tasks = sorted(self._tasks(), key=_by_partition)
        tasks = [task for task in tasks if not self._keep_active(task, self._previous_active.get(task))]
        tasks = [task for task in tasks if not self._keep_active(task, self._least_loaded_with_state(task))]
        by_load = self._by_load()
        for task in sorted(tasks):
            process = by_load.poll()
            if process is None:
                raise AssignorFailure(f"No process available to assign active task {_text(task)}.")
            self._count(process.add_to_least_loaded(task, is_active=True), is_active=True)
            by_load.add(process)

    def assign_standby(self) -> None:
        stateful = [task for task in self._tasks() if self._subtopologies[task.subtopology].is_stateful]
        left: list[tuple[TaskId, int]] = []
        for task in sorted(stateful, key=_by_partition, reverse=True):
            missing = self._standby_replicas
            while missing > 0 and self._keep_standby(task):
                missing -= 1
            if missing:
                left.append((task, missing))
        by_load = self._by_load()
        for task, missing in sorted(left, reverse=True):
            for _ in range(missing):
                # With fewer processes than replicas, some have no place.
                if not self._give_standby(by_load, task):
                    break

    def _tasks(self) -> list[TaskId]:
        return [TaskId(name, index) for name, each in self._subtopologies.items() for index in range(each.task_count)]

    def _by_load(self) -> PriorityQueue[ProcessLoad]:
        queue: PriorityQueue[ProcessLoad] = PriorityQueue(attrgetter("load"))
        for process in self.processes.values():
            queue.add(process)
        return queue

    def _keep_active(self, task: TaskId, member: _Member | None) -> bool:
        """Give the task to a member that has it, or its state, unless it has its share."""
        if member is None:
            return False
        process = self.processes[member.process_id]
        if process.task_counts[member.member_id] >= self._active_quota.per_member:
            return False
        self._count(process.add(member.member_id, task, is_active=True), is_active=True)
        return True

    def _keep_standby(self, task: TaskId) -> bool:
        """Give a standby task to the member that had the active one, or to one that has its state."""
        active = self._previous_active.get(task)
        if active is not None and not self.processes[active.process_id].has(task) and self._may_have_more(active):
            member: _Member | None = active
        else:
            member = self._least_loaded_with_state(task, is_standby=True)
            if member is None or not self._may_have_more(member):
                return False
        assert member is not None
        self._count(self.processes[member.process_id].add(member.member_id, task, is_active=False), is_active=False)
        return True

    def _give_standby(self, by_load: PriorityQueue[ProcessLoad], task: TaskId) -> bool:
        """Give a standby task to the least loaded process that does not have the task."""
        passed: list[ProcessLoad] = []
        found = None
        while found is None and by_load:
            process = by_load.poll()
            assert process is not None
            passed.append(process)
            if not process.has(task):
                found = process
        if found is not None:
            self._count(found.add_to_least_loaded(task, is_active=False), is_active=False)
        for process in reversed(passed):
            by_load.add(process)
        return found is not None

    def _least_loaded_with_state(self, task: TaskId, *, is_standby: bool = False) -> _Member | None:
        """The first member with state, or a later one whose process and which itself have less load."""
        best: _Member | None = None
        best_loads = (0.0, 0)
        for member in self._with_state.get(task, ()):
            process = self.processes[member.process_id]
            if is_standby and process.has(task):
                continue
            loads = (process.load, process.task_counts[member.member_id])
            if best is None or (loads[0] < best_loads[0] and loads[1] < best_loads[1]):
                best, best_loads = member, loads
        return best

    def _may_have_more(self, member: _Member) -> bool:
        return self.processes[member.process_id].task_counts[member.member_id] < self._total_quota.per_member

    def _count(self, tasks_of_member: int, *, is_active: bool) -> None:
        if is_active:
            self._active_quota.count(tasks_of_member)
        self._total_quota.count(tasks_of_member)


def _collect(candidates: dict[TaskId, list[_Candidate]], member: _Member, spec: MemberSpec) -> None:
    """Note the tasks of which a member has state."""
    for task in each_task(spec.held.standby):
        offset = spec.offsets.get(task.subtopology, {}).get(task.partition, 0)
        candidates.setdefault(task, []).append(_Candidate(member, has_standby=True, offset_sum=offset))
    for subtopology, offsets in spec.offsets.items():
        for partition, offset in offsets.items():
            if partition not in spec.held.standby.get(subtopology, ()):
                candidate = _Candidate(member, has_standby=False, offset_sum=offset)
                candidates.setdefault(TaskId(subtopology, partition), []).append(candidate)


def _ranked(candidates: Iterable[_Candidate]) -> list[_Member]:
    """Members with the standby task first, then by how far their state goes."""
    return [each.member for each in sorted(candidates, key=lambda each: (not each.has_standby, -each.offset_sum))]


def _by_partition(task: TaskId) -> tuple[int, str]:
    return task.partition, task.subtopology


def _by_subtopology(tasks: Iterable[TaskId]) -> Tasks:
    return tasks_of((task.subtopology, (task.partition,)) for task in tasks)


def _share(tasks: int, members: int) -> int:
    return -(-tasks // members) if members else 0


def _text(task: TaskId) -> str:
    return f"{task.subtopology}_{task.partition}"
