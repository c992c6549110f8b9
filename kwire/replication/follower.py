"""The decisions of a follower after the answers of its leader.

Responsible for: from where to fetch, where to truncate when the logs diverge (KIP-101, KIP-279, KIP-595), what to do
when the fetch offset is out of the leader's range, when to fetch again after an error. Must not depend on: the log's
files, connections, clocks.

A follower has no state of its own beside its log and its retries: the position of a fetch is the end of the log, and an
answer is applied only if the log still ends at that position.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final, NamedTuple, Protocol

from kwire.errors import Code

FIRST_BACKOFF_MS: Final = 20
UNKNOWN: Final = -1


class EpochEnd(Protocol):
    """The largest epoch of a log that is not above the requested one, and the offset behind its last record."""

    @property
    def epoch(self) -> int: ...
    @property
    def end_offset(self) -> int: ...


class FollowerLog(Protocol):
    """The part of a follower's log that is used (``storage.log.Log``)."""

    @property
    def log_start_offset(self) -> int: ...
    @property
    def end_offset(self) -> int: ...
    @property
    def latest_epoch(self) -> int: ...
    def offset_for_epoch(self, epoch: int) -> EpochEnd: ...


class FetchPosition(NamedTuple):
    """The fields of one partition in a follower's Fetch request."""

    offset: int
    leader_epoch: int
    last_fetched_epoch: int
    log_start_offset: int


def fetch_position(log: FollowerLog, leader_epoch: int) -> FetchPosition:
    """Return the position behind the follower's log; ``last_fetched_epoch`` is -1 for a log without records."""
    return FetchPosition(log.end_offset, leader_epoch, log.latest_epoch, log.log_start_offset)


def truncation_offset(log: FollowerLog, *, epoch: int, end_offset: int) -> int:
    """Return where to truncate, given the end of the leader's largest epoch that is not above the follower's last.

    The next fetch shows whether the logs agree. If the follower does not have that epoch either, it keeps the records
    of lower epochs, and asks again.
    """
    own = log.offset_for_epoch(epoch)
    if UNKNOWN in (epoch, own.epoch):
        return min(end_offset, log.end_offset)
    if own.epoch != epoch:
        return min(own.end_offset, log.end_offset)
    return min(own.end_offset, end_offset, log.end_offset)


@dataclass(frozen=True, slots=True)
class TruncateTo:
    """Remove the records from ``offset`` on, then fetch from the end of the log."""

    offset: int


@dataclass(frozen=True, slots=True)
class RestartAt:
    """Remove all records; the log begins at ``offset`` then."""

    offset: int


@dataclass(frozen=True, slots=True)
class FetchFromEnd:
    """Keep the log as it is and fetch again."""


def out_of_range(log: FollowerLog, *, leader_start: int, leader_end: int) -> TruncateTo | RestartAt | FetchFromEnd:
    """Decide what follows OFFSET_OUT_OF_RANGE, given where the leader's log starts and ends.

    The leader's log is shorter after an unclean election, and begins behind the follower's end when the follower was
    away for longer than the retention.
    """
    if leader_end < log.end_offset:
        return TruncateTo(leader_end)
    if leader_start > log.end_offset:
        return RestartAt(leader_start)
    return FetchFromEnd()


class Reaction(Enum):
    """The follower's reaction to an error in the answer for one partition."""

    RETRY = "retry"
    """Fetch again after a pause."""
    ASK_OFFSETS = "ask offsets"
    """Ask the leader where its log starts and ends."""
    AWAIT_METADATA = "await metadata"
    """The metadata of this follower is old: fetch again when it changes."""


def reaction(code: Code) -> Reaction:
    """Return what to do after an error of one partition."""
    if code == Code.OFFSET_OUT_OF_RANGE:
        return Reaction.ASK_OFFSETS
    if code == Code.FENCED_LEADER_EPOCH:
        return Reaction.AWAIT_METADATA
    return Reaction.RETRY


class Backoff:
    """Pauses between attempts that double from 20 ms to ``backoff_max_ms`` (``replica.fetch.backoff.ms``).

    A leader that has not applied the newest metadata refuses with UNKNOWN_LEADER_EPOCH or UNKNOWN_TOPIC_ID and is
    ready a few milliseconds later; acks=all waits that long.
    """

    __slots__ = ("_next_ms", "backoff_max_ms")

    def __init__(self, backoff_max_ms: int) -> None:
        self.backoff_max_ms = backoff_max_ms
        self._next_ms = FIRST_BACKOFF_MS

    def failed(self) -> int:
        """Return the pause in ms after one more failure."""
        pause_ms = min(self._next_ms, self.backoff_max_ms)
        self._next_ms = pause_ms * 2
        return pause_ms

    def succeeded(self) -> None:
        """The next pause is the shortest again."""
        self._next_ms = FIRST_BACKOFF_MS
