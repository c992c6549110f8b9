"""Subscriptions by regular expression: which expressions a group has, and when they are resolved (KIP-848).

Responsible for: deciding when the topics that match must be looked up again, and storing the topics that were found.
Must not depend on: how an expression is matched, the thread in which that happens.

All expressions of a group are resolved together, so that a new topic makes one rebalance: when a member brings a new
one, after topics were created, and each ``group.consumer.regex.refresh.interval.ms``; at most every ten seconds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from typing import Final

from kwire.coordinators.group.consumer.commands import ResolveRegexes
from kwire.coordinators.group.consumer.group import ConsumerGroup
from kwire.coordinators.group.consumer.member import Member
from kwire.coordinators.group.consumer.parts import Step
from kwire.coordinators.group.consumer.state import ResolvedRegex, epoch_record, regex_record, regex_tombstone
from kwire.coordinators.group.consumer.target import hash_of
from kwire.coordinators.patterns import check_regex

_REFRESH_MIN_MS: Final = 10_000
_NEVER_MS: Final = -(2**62)


class Change(Enum):
    """The change of the member's expression by a heartbeat. RESOLVED: its topics are known."""

    NONE = "none"
    UNRESOLVED = "unresolved"
    RESOLVED = "resolved"


def update(step: Step, before: Member, member: Member, may_describe: Callable[[str], bool]) -> Change:
    """Check and count the member's expression, and ask for the resolution of all if it is time.

    KafkaError(INVALID_REGULAR_EXPRESSION).
    """
    counts = subscribers(step.group)
    change, is_new = _change(step, counts, before.regex, member.regex)
    if counts or is_new:
        _resolve_if_due(step, _counts_after(counts, before.regex, member.regex), may_describe, is_new=is_new)
    return change


def subscribers(group: ConsumerGroup) -> Counter[str]:
    """By expression, how many members subscribe by it."""
    return Counter(member.regex for member in group.members.values() if member.regex)


def forget_unused(step: Step, leaving: Iterable[Member]) -> None:
    """Delete the expressions that no member has once these have left."""
    remaining = subscribers(step.group)
    gone = Counter(member.regex for member in leaving if member.regex)
    step.add(*(regex_tombstone(step.group_id, regex) for regex in gone if remaining[regex] == gone[regex]))


def resolved(step: Step, found: Mapping[str, ResolvedRegex]) -> None:
    """Store the topics that were found. The group's epoch rises if they changed."""
    group = step.group
    step.watch(is_resolving=False)
    counts = subscribers(group)
    regexes = dict(group.regexes)
    must_bump = False
    for regex, result in found.items():
        if not counts[regex]:
            continue
        known = regexes.get(regex)
        must_bump = must_bump or (known.topics if known else frozenset()) != result.topics
        regexes[regex] = result
        step.add(regex_record(step.group_id, regex, result))
    metadata_hash = hash_of(step, group.members.values(), regexes)
    if must_bump or metadata_hash != group.epochs.metadata_hash:
        step.add(epoch_record(step.group_id, group.epochs.group + 1, metadata_hash))
        step.watch(checked_version=step.parts.topics_version)
        step.changed()


def _change(step: Step, counts: Counter[str], old: str | None, new: str | None) -> tuple[Change, bool]:
    """What changed, and whether the expression is new to the group."""
    if old == new:
        return Change.NONE, False
    if old and counts[old] == 1:
        step.add(regex_tombstone(step.group_id, old))
    if not new:
        return Change.RESOLVED if old else Change.UNRESOLVED, False
    if not counts[new]:
        check_regex(new)
        return Change.UNRESOLVED, True
    return (Change.RESOLVED if new in step.group.regexes else Change.UNRESOLVED), False


def _counts_after(counts: Counter[str], old: str | None, new: str | None) -> Counter[str]:
    after = Counter(counts)
    if old:
        after[old] -= 1
    if new:
        after[new] += 1
    return +after


def _resolve_if_due(step: Step, counts: Counter[str], may_describe: Callable[[str], bool], *, is_new: bool) -> None:
    regexes, watched = step.group.regexes, step.watched
    last_ms = max((each.resolved_ms for each in regexes.values()), default=_NEVER_MS)
    if watched.is_resolving or step.now_ms <= last_ms + _REFRESH_MIN_MS or not counts:
        return
    is_due = (
        is_new
        or len(counts) != len(regexes)
        or watched.resolved_version < step.parts.topics_version
        or step.now_ms > last_ms + step.parts.config.consumer_regex_refresh_interval_ms
    )
    if is_due:
        step.watch(is_resolving=True, resolved_version=step.parts.topics_version)
        step.effects.actions.append(ResolveRegexes(step.group_id, tuple(sorted(counts)), may_describe))
