"""The progress of a follower in copying the log of its leader.

Responsible for: a follower's offsets as its fetches show them, and since when it lags. Must not depend on: clocks
(``now_ms`` is an argument), in-sync replicas, the log.
"""

from __future__ import annotations

from typing import Final

UNKNOWN_OFFSET: Final = -1


class ReplicaProgress:
    """The offsets of one follower. They are -1 and ``broker_epoch`` is None until its first fetch.

    ``caught_up_ms`` is the latest time at which the follower had all that the leader had: the time of a fetch from the
    log end, or the time of the previous fetch if the follower has reached the log end of that time. A follower that
    copies a busy log is therefore caught up although it never reaches the log end.
    """

    __slots__ = ("broker_epoch", "caught_up_ms", "end_offset", "fetched_ms", "leader_end_at_fetch", "log_start_offset")

    def __init__(self, caught_up_ms: int | None) -> None:
        self.log_start_offset = UNKNOWN_OFFSET
        self.end_offset = UNKNOWN_OFFSET
        self.broker_epoch: int | None = None
        # None: never, as far as this leader knows.
        self.caught_up_ms = caught_up_ms
        self.fetched_ms: int | None = None
        self.leader_end_at_fetch = UNKNOWN_OFFSET

    def note_fetch(
        self, *, offset: int, log_start_offset: int, broker_epoch: int, leader_end_offset: int, now_ms: int
    ) -> None:
        """Note a fetch from ``offset``, which the follower's log ends at, while the leader's ends at another."""
        caught_up_ms = None
        if offset >= leader_end_offset:
            caught_up_ms = now_ms
        elif offset >= self.leader_end_at_fetch:
            caught_up_ms = self.fetched_ms
        if caught_up_ms is not None and (self.caught_up_ms is None or caught_up_ms > self.caught_up_ms):
            self.caught_up_ms = caught_up_ms
        self.end_offset = offset
        self.log_start_offset = log_start_offset
        self.broker_epoch = broker_epoch
        self.leader_end_at_fetch = max(self.leader_end_at_fetch, leader_end_offset)
        self.fetched_ms = now_ms

    def begin_epoch(self, *, leader_end_offset: int, in_sync: bool, now_ms: int) -> None:
        """Keep the offsets when the same leader is elected again; the lag time begins again."""
        self.caught_up_ms = now_ms if in_sync else None
        self.fetched_ms = now_ms if in_sync else None
        self.leader_end_at_fetch = leader_end_offset

    def is_caught_up(self, leader_end_offset: int, *, now_ms: int, lag_time_max_ms: int) -> bool:
        """Whether the follower has all of the leader's log, or had all of it at most ``lag_time_max_ms`` ago."""
        if self.end_offset == leader_end_offset:
            return True
        return self.caught_up_ms is not None and now_ms - self.caught_up_ms <= lag_time_max_ms
