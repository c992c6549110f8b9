"""Assignments of partitions to members, and the input of assignors.

Responsible for: the values, and which members' targets change. Must not depend on: any kind of group, how an assignor
works.

An assignor is a pure function ``(GroupSpec) -> {member id: Partitions}``. The members of the result are those that get
anything; a member that is missing gets nothing.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

from kwire.types import Uuid

# Topic ids to the partitions of each: never empty ones.
Partitions: TypeAlias = Mapping[Uuid, frozenset[int]]

NO_PARTITIONS: Partitions = {}


class Target(NamedTuple):
    """The target assignment of a member; in a tuple, as the tables treat a dict as a nested table."""

    partitions: Partitions


class AssignorFailure(Exception):
    """The assignor cannot assign: a member subscribes to a topic that does not exist."""


@dataclass(frozen=True, slots=True)
class MemberSpec:
    """A member as assignors see it. ``target``: its last target assignment."""

    topics: frozenset[Uuid]
    target: Partitions = field(default_factory=dict)
    instance_id: str | None = None
    rack_id: str | None = None


@dataclass(frozen=True, slots=True)
class GroupSpec:
    """The input of an assignor.

    ``members`` in any order; ``partition_counts`` of all topics that the members subscribe to. ``is_homogeneous``: all
    members subscribe to the same topics.
    """

    members: Mapping[str, MemberSpec]
    partition_counts: Mapping[Uuid, int]
    is_homogeneous: bool


Assignor: TypeAlias = Callable[[GroupSpec], Mapping[str, Partitions]]


def partitions_of(pairs: Iterable[tuple[Uuid, Iterable[int]]]) -> Partitions:
    """Make an assignment of topic ids with their partitions; a topic without partitions is left out."""
    found: dict[Uuid, frozenset[int]] = {}
    for topic_id, partitions in pairs:
        held = frozenset(partitions)
        if held:
            found[topic_id] = found.get(topic_id, frozenset()) | held
    return found


def target_of(value: Any) -> Target:
    """The target assignment of a member that a record has."""
    return Target(partitions_of((each.topic_id, each.partitions) for each in value.topic_partitions))


def changed_targets(
    before: Callable[[str], Partitions | None], after: Mapping[str, Partitions], member_ids: Iterable[str]
) -> Iterator[tuple[str, Partitions]]:
    """Give the members whose target must be written, each with its new target.

    ``before`` gives a member's present target, None if it has none: a member without a target gets a record even when
    the target is empty.
    """
    for member_id in member_ids:
        target = after.get(member_id, NO_PARTITIONS)
        if before(member_id) != target:
            yield member_id, target
