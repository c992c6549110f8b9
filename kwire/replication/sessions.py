"""The follower's side of incremental fetch sessions (KIP-227).

Responsible for: which partitions a request must name, session id and epoch. Must not depend on: messages, connections,
the answers for single partitions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Generic, NamedTuple, TypeVar

from kwire.replication.follower import FetchPosition

Key = TypeVar("Key")

NO_SESSION: Final = 0
FULL: Final = 0
_EPOCH_MAX: Final = 2**31 - 1


class SessionRequest(NamedTuple, Generic[Key]):
    """The next request: partitions with fetch positions, and partitions that leave the session."""

    session_id: int
    epoch: int
    partitions: Mapping[Key, FetchPosition]
    forgotten: list[Key]


class FollowerSession(Generic[Key]):
    """The partitions that one fetcher fetches from one leader, and the state that the leader has of them."""

    def __init__(self) -> None:
        self.positions: dict[Key, FetchPosition] = {}
        # The positions of the request that is in flight: an answer counts for these.
        self.requested: Mapping[Key, FetchPosition] = {}
        self._session_id = NO_SESSION
        self._epoch = FULL
        self._changed: dict[Key, FetchPosition] = {}
        self._forgotten: dict[Key, None] = {}

    def __len__(self) -> int:
        return len(self.positions)

    @property
    def has_news(self) -> bool:
        """Whether the leader must be sent a request even if no partition is left."""
        return bool(self.positions) or (self._session_id != NO_SESSION and bool(self._forgotten))

    def set(self, key: Key, position: FetchPosition) -> None:
        """Fetch a partition from this position from the next request on."""
        if self.positions.get(key) != position:
            self.positions[key] = self._changed[key] = position
            self._forgotten.pop(key, None)

    def remove(self, key: Key) -> None:
        """Do not fetch a partition any more."""
        if self.positions.pop(key, None) is not None:
            self._changed.pop(key, None)
            self._forgotten[key] = None

    def build(self) -> SessionRequest[Key]:
        """Return the next request. The caller then calls ``answered``, ``reset`` or ``forget``."""
        if self._epoch == FULL:
            request = SessionRequest(self._session_id, FULL, dict(self.positions), [])
        else:
            request = SessionRequest(self._session_id, self._epoch, self._changed, list(self._forgotten))
        self.requested = dict(self.positions)
        self._changed, self._forgotten = {}, {}
        return request

    def answered(self, session_id: int) -> None:
        """Continue with the session in the leader's answer; 0: the leader keeps none."""
        if session_id == NO_SESSION:
            self.forget()
        else:
            self._epoch = 1 if self._epoch in (FULL, _EPOCH_MAX) else self._epoch + 1
            self._session_id = session_id

    def reset(self) -> None:
        """Begin a new session with the next request, because the last one failed; it ends the old one."""
        self._epoch = FULL

    def forget(self) -> None:
        """Begin a new session, because the leader has none."""
        self._session_id = NO_SESSION
        self._epoch = FULL
