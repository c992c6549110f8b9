"""Share sessions: which partitions the member of a share group fetches here (KIP-932).

Responsible for: the sessions of one broker, their epochs and limit, and which connection each one came by. Must not
depend on: how records are acquired, requests, time.

A session belongs to a member of a group. It begins with epoch 0, each request has the next epoch, and -1 ends it. The
end of its connection ends it too, because a member uses one connection to a broker.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from kwire.errors import Code, KafkaError
from kwire.types import Uuid

INITIAL_EPOCH: Final = 0
FINAL_EPOCH: Final = -1
_EPOCH_MAX: Final = 2**31 - 1


class SessionKey(NamedTuple):
    group_id: str
    member_id: str


class SharedPartition(NamedTuple):
    """One partition of a session."""

    topic_id: Uuid
    partition: int


class ShareSession:
    """The partitions of one member, in the order in which they were added or last gave records.

    ``partitions``: True for one whose next answer must be sent even if it is empty. ``topics_read``: ids of
    topics that existed when the session fetched them.
    """

    __slots__ = ("connection", "epoch", "key", "partitions", "topics_read")

    def __init__(self, key: SessionKey, connection: object) -> None:
        self.key = key
        self.connection = connection
        self.epoch = INITIAL_EPOCH + 1
        self.partitions: dict[SharedPartition, bool] = {}
        self.topics_read: set[Uuid] = set()

    def update(self, added: Iterable[SharedPartition], forgotten: Iterable[SharedPartition]) -> None:
        """First add, then forget partitions, as Apache Kafka does."""
        for each in added:
            self.partitions.setdefault(each, True)
        for each in forgotten:
            self.partitions.pop(each, None)

    def note_answer(self, each: SharedPartition, *, failed: bool) -> bool:
        """Whether an empty answer for a partition must be sent: it was added, or had an error before."""
        due = self.partitions.get(each, False)
        if each in self.partitions:
            self.partitions[each] = failed
        return due

    def move_to_end(self, each: SharedPartition) -> None:
        """Called for a partition that gave records, so that the others are next."""
        if each in self.partitions:
            self.partitions[each] = self.partitions.pop(each)


class ShareSessions:
    """At most ``sessions_max`` sessions (``group.share.max.share.sessions``).

    ``on_group_empty(group_id)`` is called when the last session of a group ended.
    """

    def __init__(self, sessions_max: int, on_group_empty: Callable[[str], None]) -> None:
        self.sessions_max = sessions_max
        self._on_group_empty = on_group_empty
        self._sessions: dict[SessionKey, ShareSession] = {}
        self._members: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._sessions)

    def find(self, key: SessionKey) -> ShareSession | None:
        """None for a member without a session."""
        return self._sessions.get(key)

    def open(self, key: SessionKey, connection: object) -> ShareSession:
        """Begin a session; one that the member has already is replaced. KafkaError(SHARE_SESSION_LIMIT_REACHED)."""
        self._remove(key)
        if len(self._sessions) >= self.sessions_max:
            raise KafkaError(Code.SHARE_SESSION_LIMIT_REACHED)
        session = self._sessions[key] = ShareSession(key, connection)
        self._members[key.group_id] = self._members.get(key.group_id, 0) + 1
        return session

    def resume(self, key: SessionKey, epoch: int) -> ShareSession:
        """The session that a request with this epoch continues; it has the next epoch then, unless this is the last.

        Raises KafkaError: SHARE_SESSION_NOT_FOUND, INVALID_SHARE_SESSION_EPOCH.
        """
        session = self._sessions.get(key)
        if session is None:
            raise KafkaError(Code.SHARE_SESSION_NOT_FOUND)
        if epoch == FINAL_EPOCH:
            return session
        if session.epoch != epoch:
            raise KafkaError(Code.INVALID_SHARE_SESSION_EPOCH)
        session.epoch = 1 if epoch == _EPOCH_MAX else epoch + 1
        return session

    def end(self, session: ShareSession) -> bool:
        """End a session. False if it has ended, or another has replaced it."""
        if self._sessions.get(session.key) is not session:
            return False
        self._remove(session.key)
        group_id = session.key.group_id
        if not self._members.get(group_id):
            self._members.pop(group_id, None)
            self._on_group_empty(group_id)
        return True

    def _remove(self, key: SessionKey) -> None:
        if self._sessions.pop(key, None) is not None:
            self._members[key.group_id] -= 1
