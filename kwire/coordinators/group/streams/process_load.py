"""How many tasks a process and its members have while an assignment is computed.

Responsible for: ``ProcessLoad``. Must not depend on: which task goes where.
"""

from __future__ import annotations

from kwire.coordinators.group.streams.tasks import TaskId
from kwire.coordinators.java_order import PriorityQueue, hash_map_order, string_hash


class ProcessLoad:
    """One process, an instance of the application; each of its threads is a member."""

    def __init__(self, process_id: str) -> None:
        self.process_id = process_id
        self.load = 0.0
        self.task_counts: dict[str, int] = {}
        self.active: dict[str, set[TaskId]] = {}
        self.standby: dict[str, set[TaskId]] = {}
        self._tasks: set[TaskId] = set()
        self._task_count = 0
        # The members by their number of tasks, as long as only ``add_to_least_loaded`` adds any.
        self._by_load: PriorityQueue[str] | None = None

    def add_member(self, member_id: str) -> None:
        self.task_counts[member_id] = 0
        self._weigh()

    def has(self, task: TaskId) -> bool:
        return task in self._tasks

    def add(self, member_id: str, task: TaskId, *, is_active: bool) -> int:
        """Give a member a task; returns the number of its tasks."""
        self._by_load = None
        return self._add(member_id, task, is_active=is_active)

    def add_to_least_loaded(self, task: TaskId, *, is_active: bool) -> int:
        """The same for the member that has the fewest tasks."""
        if len(self.task_counts) == 1:
            (only,) = self.task_counts
            return self._add(only, task, is_active=is_active)
        if self._by_load is None:
            self._by_load = PriorityQueue(self.task_counts.__getitem__)
            for member_id in hash_map_order(self.task_counts, string_hash):
                self._by_load.add(member_id)
        member = self._by_load.poll()
        assert member is not None
        count = self._add(member, task, is_active=is_active)
        self._by_load.add(member)
        return count

    def _add(self, member_id: str, task: TaskId, *, is_active: bool) -> int:
        self._task_count += 1
        self._tasks.add(task)
        (self.active if is_active else self.standby).setdefault(member_id, set()).add(task)
        self.task_counts[member_id] += 1
        self._weigh()
        return self.task_counts[member_id]

    def _weigh(self) -> None:
        self.load = self._task_count / len(self.task_counts)
