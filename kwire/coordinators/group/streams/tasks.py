"""Tasks of a Streams application, and sets of them.

Responsible for: the values. Must not depend on: members, topologies, how tasks are assigned.

A task processes one partition of the topics of one subtopology. A member has tasks of three kinds: active ones process
records; standby ones keep a copy of the state; warm-up ones restore the state before the task moves to the member.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple, TypeAlias

# Subtopology ids to partitions.
Tasks: TypeAlias = Mapping[str, frozenset[int]]
# The same, each partition with the epoch at which the member got the task.
TasksWithEpochs: TypeAlias = Mapping[str, Mapping[int, int]]
# Subtopology ids to partitions, each with a sum of offsets.
TaskOffsets: TypeAlias = Mapping[str, Mapping[int, int]]


class TaskId(NamedTuple):
    subtopology: str
    partition: int


@dataclass(frozen=True, slots=True)
class TaskSet:
    """Tasks as an assignor gives them, or as a member reports them."""

    active: Tasks = field(default_factory=dict)
    standby: Tasks = field(default_factory=dict)
    warmup: Tasks = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.active or self.standby or self.warmup)


NOTHING: Final = TaskSet()


@dataclass(frozen=True, slots=True)
class HeldTasks:
    """Tasks that a member has, or must give up."""

    active: TasksWithEpochs = field(default_factory=dict)
    standby: Tasks = field(default_factory=dict)
    warmup: Tasks = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.active or self.standby or self.warmup)

    def any_of(self, reported: TaskSet) -> bool:
        """Whether one of these is among the reported tasks, as the same kind of task."""
        return (
            _share_any(reported.active, self.active)
            or _share_any(reported.standby, self.standby)
            or _share_any(reported.warmup, self.warmup)
        )

    def contain(self, reported: TaskSet) -> bool:
        """Whether the reported tasks are among these, each as the same kind of task."""
        return (
            _is_within(reported.active, self.active)
            and _is_within(reported.standby, self.standby)
            and _is_within(reported.warmup, self.warmup)
        )


NOTHING_HELD: Final = HeldTasks()


def tasks_of(pairs: Iterable[tuple[str, Iterable[int]]]) -> Tasks:
    """Tasks by subtopology; a subtopology without partitions is left out."""
    found: dict[str, frozenset[int]] = {}
    for subtopology, partitions in pairs:
        held = frozenset(partitions)
        if held:
            found[subtopology] = found.get(subtopology, frozenset()) | held
    return found


def without_epochs(tasks: TasksWithEpochs) -> Tasks:
    return {subtopology: frozenset(partitions) for subtopology, partitions in tasks.items()}


def each_task(tasks: Mapping[str, Iterable[int]]) -> Iterator[TaskId]:
    for subtopology, partitions in tasks.items():
        for partition in partitions:
            yield TaskId(subtopology, partition)


def _share_any(reported: Tasks, held: Mapping[str, Iterable[int]]) -> bool:
    return any(not partitions.isdisjoint(held.get(subtopology, ())) for subtopology, partitions in reported.items())


def _is_within(reported: Tasks, held: Mapping[str, Iterable[int]]) -> bool:
    return all(
        subtopology in held and partitions <= frozenset(held[subtopology])
        for subtopology, partitions in reported.items()
    )
