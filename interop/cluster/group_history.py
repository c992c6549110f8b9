"""What members of groups read, committed and acknowledged, and the checks of what a group is promised.

Responsible for: the promises of consumer groups (of the classic and the consumer protocol) and of share groups, as pure
functions of a history. Must not depend on: clients, processes, how a fault was made.

Times are those of one monotonic clock, in ns. A call whose answer is unknown may have taken effect or not, at any time
after it began. What is checked of a consumer group, whose members only commit what they have read:

* the committed offset of a partition never goes back, and a commit that was acknowledged is seen by every later read;
* a member that gets a partition does not begin before a committed offset that was acknowledged (records that it skips
  are found as not read);
* no member commits with an older assignment of a partition once another member has committed with a newer one;
* every record that a writer was acknowledged is read by a member.

Of a share group:

* a record that was accepted, with an answer, is not delivered again with a higher delivery count;
* no delivery count is above the group's limit;
* every record that a writer was acknowledged is delivered.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from itertools import accumulate
from typing import NamedTuple, TypeVar

from interop.cluster.history import Violation, Where


class Commit(NamedTuple):
    """A commit of a member. ``assignment`` counts the assignments of all partitions to all members, in their order."""

    where: Where
    offset: int
    member: str
    assignment: int
    began_ns: int
    ended_ns: int
    acknowledged: bool


class CommittedRead(NamedTuple):
    """The committed offset that a read returned; 0 where there was none."""

    where: Where
    offset: int
    began_ns: int
    ended_ns: int


class Begin(NamedTuple):
    """The offset of the first record that a member was given after it had got a partition at ``assigned_ns``."""

    where: Where
    offset: int
    member: str
    assigned_ns: int


_HasWhere = TypeVar("_HasWhere", Commit, CommittedRead)


@dataclass(slots=True)
class GroupHistory:
    """One consumer group; clients of several threads may add, as each call is one list or set operation."""

    name: str
    read: set[tuple[Where, int]] = field(default_factory=set)
    commits: list[Commit] = field(default_factory=list)
    reads_of_committed: list[CommittedRead] = field(default_factory=list)
    begins: list[Begin] = field(default_factory=list)


class Delivery(NamedTuple):
    where: Where
    offset: int
    delivery: int
    member: str


@dataclass(slots=True)
class ShareHistory:
    """One share group. ``accepted`` are deliveries whose acceptance was answered without an error."""

    name: str
    count_max: int
    delivered: list[Delivery] = field(default_factory=list)
    accepted: list[Delivery] = field(default_factory=list)


def check_group(history: GroupHistory, acknowledged: Collection[tuple[Where, int]]) -> list[Violation]:
    """Check a consumer group. ``acknowledged`` are the records that writers of its topic were acknowledged."""
    found = [*_forward(history), *_begins(history), *_one_owner(history), *_missing(history, acknowledged)]
    return [Violation(one.promise, f"group {history.name}: {one.text}") for one in found]


def check_share_group(history: ShareHistory, acknowledged: Collection[tuple[Where, int]]) -> list[Violation]:
    """Check a share group."""
    accepted: dict[tuple[Where, int], Delivery] = {}  # the first acceptance of each record
    for one in sorted(history.accepted, key=lambda one: one.delivery):
        accepted.setdefault((one.where, one.offset), one)
    found = []
    for one in history.delivered:
        before = accepted.get((one.where, one.offset))
        if before is not None and one.delivery > before.delivery:
            text = f"accepted by {before.member} at delivery {before.delivery}, given to {one.member} at {one.delivery}"
            found.append(Violation("accepted and delivered again", f"{one.where} offset {one.offset}: {text}"))
        if one.delivery > history.count_max:
            text = f"{one.where} offset {one.offset}: delivery {one.delivery} of at most {history.count_max}"
            found.append(Violation("delivered too often", text))
    given = {(one.where, one.offset) for one in history.delivered}
    found += [
        Violation("not delivered", f"{where} offset {offset}") for where, offset in sorted(set(acknowledged) - given)
    ]
    return [Violation(one.promise, f"share group {history.name}: {one.text}") for one in found]


def _missing(history: GroupHistory, acknowledged: Collection[tuple[Where, int]]) -> Iterable[Violation]:
    for where, offset in sorted(set(acknowledged) - history.read):
        yield Violation("not read", f"{where} offset {offset}")


def _forward(history: GroupHistory) -> Iterable[Violation]:
    commits = _by_partition(history.commits)
    for where, reads in _by_partition(history.reads_of_committed).items():
        for read in reads:
            low, high = _bounds(commits[where], read.began_ns, read.ended_ns)
            low = max(low, *(one.offset for one in reads if one.ended_ns <= read.began_ns), 0)
            if not low <= read.offset <= high:
                text = f"{where}: {read.offset} was read as committed, where {low} to {high} was possible"
                yield Violation("committed offset", text)


def _begins(history: GroupHistory) -> Iterable[Violation]:
    commits = _by_partition(history.commits)
    for begin in history.begins:
        low, _ = _bounds(commits[begin.where], begin.assigned_ns, begin.assigned_ns)
        if begin.offset < low:
            text = f"{begin.where}: {begin.member} began at {begin.offset}, {low} was committed before"
            yield Violation("began before the committed offset", text)


def _one_owner(history: GroupHistory) -> Iterable[Violation]:
    for where, commits in _by_partition(history.commits).items():
        by_end = sorted((one for one in commits if one.acknowledged), key=lambda one: one.ended_ns)
        ends = [one.ended_ns for one in by_end]
        newest = list(accumulate(by_end, lambda one, other: max(one, other, key=lambda each: each.assignment)))
        for commit in by_end:
            ended_before = bisect_left(ends, commit.began_ns)
            before = newest[ended_before - 1] if ended_before else commit
            if commit.assignment < before.assignment:
                text = (
                    f"{where}: {commit.member} committed {commit.offset} with assignment {commit.assignment}, after"
                    f" {before.member} had committed {before.offset} with assignment {before.assignment}"
                )
                yield Violation("two owners", text)


def _bounds(commits: Iterable[Commit], began_ns: int, ended_ns: int) -> tuple[int, int]:
    """The lowest and the highest offset that a read between these times may give."""
    low = max((one.offset for one in commits if one.acknowledged and one.ended_ns <= began_ns), default=0)
    high = max((one.offset for one in commits if one.began_ns <= ended_ns), default=0)
    return low, high


def _by_partition(items: Iterable[_HasWhere]) -> dict[Where, list[_HasWhere]]:
    found: dict[Where, list[_HasWhere]] = defaultdict(list)
    for one in items:
        found[one.where].append(one)
    return found
