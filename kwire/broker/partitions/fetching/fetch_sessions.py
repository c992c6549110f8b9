"""Incremental fetch sessions (KIP-227).

Responsible for: the partitions of each session and the state that its client has, session ids and epochs, which session
is evicted when the cache is full. Must not depend on: how a partition is read, sockets, time (``now_ms`` is passed in).

A session keeps its partitions, so that a request names only what changed and a response holds only what is new.
Its ``Watch`` is marked by its partitions when they change: a request reads the marked ones and no others.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final

from kwire.broker.partitions.watches import Watch
from kwire.errors import Code, KafkaError

if TYPE_CHECKING:
    from kwire.broker.partitions.partition import Partition

NO_SESSION: Final = 0
INITIAL_EPOCH: Final = 0
FINAL_EPOCH: Final = -1
# Kafka keeps a session at least this long before another may take its place.
EVICTION_MS: Final = 120_000


class FetchItem:
    """One partition that a client fetches: the fields of its request, and the offsets sent last (-1: nothing yet)."""

    __slots__ = (
        "fetch_offset",
        "index",
        "key",
        "last_fetched_epoch",
        "leader_epoch",
        "max_bytes",
        "partition",
        "sent_high_watermark",
        "sent_log_start_offset",
        "topic",
        "topic_id",
    )

    def __init__(self, key: Hashable, topic: str, topic_id: bytes, index: int) -> None:
        self.key = key
        self.topic = topic
        self.topic_id = topic_id
        self.index = index
        self.partition: Partition | None = None
        self.sent_high_watermark = -1
        self.sent_log_start_offset = -1
        self.fetch_offset = 0
        self.leader_epoch = -1
        self.last_fetched_epoch = -1
        self.max_bytes = 0

    def ask(self, wanted: Any) -> None:
        """Apply the fields of a FetchPartition."""
        self.fetch_offset = wanted.fetch_offset
        self.leader_epoch = wanted.current_leader_epoch
        self.last_fetched_epoch = wanted.last_fetched_epoch
        self.max_bytes = wanted.partition_max_bytes

    def unwatch(self, watch: Watch) -> None:
        """Remove the watch from the partition at which it was registered, if any."""
        if self.partition is not None:
            self.partition.unwatch(watch)
            self.partition = None


class FollowerFetchItem(FetchItem):
    """One partition that a follower fetches: also where its own log starts."""

    __slots__ = ("log_start_offset",)

    def __init__(self, key: Hashable, topic: str, topic_id: bytes, index: int) -> None:
        super().__init__(key, topic, topic_id, index)
        self.log_start_offset = -1

    def ask(self, wanted: Any) -> None:
        super().ask(wanted)
        self.log_start_offset = wanted.log_start_offset


class FetchSession:
    """The partitions of one client, in the order in which they are to be read next."""

    __slots__ = (
        "_new_item",
        "access_epoch",
        "created_ms",
        "epoch",
        "items",
        "last_used_ms",
        "session_id",
        "uses_topic_ids",
        "watch",
    )

    def __init__(
        self, *, uses_topic_ids: bool, committed_only: bool, log_end: bool = False, follower: bool = False
    ) -> None:
        """``log_end``: the client reads up to the log end. ``follower``: it is a replica."""
        self.session_id = NO_SESSION
        self.epoch = INITIAL_EPOCH
        self.access_epoch = 0  # the authorizer's epoch when access to each partition was last decided
        self.uses_topic_ids = uses_topic_ids
        self.items: dict[Hashable, FetchItem] = {}
        self.watch = Watch(committed_only=committed_only, log_end=log_end)
        self._new_item = FollowerFetchItem if follower else FetchItem
        self.created_ms = 0
        self.last_used_ms = 0

    def update(self, topics: Iterable[Any], forgotten: Iterable[Any], *, committed_only: bool) -> None:
        """Apply an incremental request: first added and changed partitions, then forgotten ones, as in Apache Kafka."""
        if committed_only != self.watch.committed_only:
            # The visible end of each partition changes with the isolation level.
            self.watch.committed_only = committed_only
            self.watch.dirty.update(dict.fromkeys(self.items))
        self.ask(topics)
        self.forget(forgotten)

    def access_changed(self, epoch: int) -> None:
        """Read each partition again, because the client may no longer be allowed to."""
        self.access_epoch = epoch
        self.watch.dirty.update(dict.fromkeys(self.items))

    def ask(self, topics: Iterable[Any]) -> None:
        """Add or change partitions of the request's topics; each is to be read."""
        for topic in topics:
            name = topic.topic_id if self.uses_topic_ids else topic.topic
            for wanted in topic.partitions:
                key = (name, wanted.partition)
                item = self.items.get(key)
                if item is None:
                    item = self.items[key] = self._new_item(key, topic.topic, topic.topic_id, wanted.partition)
                item.ask(wanted)
                self.watch.dirty[key] = None

    def forget(self, topics: Iterable[Any]) -> None:
        for topic in topics:
            name = topic.topic_id if self.uses_topic_ids else topic.topic
            for index in topic.partitions:
                key = (name, index)
                item = self.items.pop(key, None)
                if item is not None:
                    item.unwatch(self.watch)
                    self.watch.dirty.pop(key, None)

    def dirty_items(self) -> Iterator[FetchItem]:
        """The partitions that may have something new, longest unread first (``move_to_end`` keeps that order)."""
        items, dirty = self.items, self.watch.dirty
        if len(dirty) * 4 < len(items):
            return iter([items[key] for key in dirty if key in items])
        return iter([item for key, item in items.items() if key in dirty])

    def move_to_end(self, item: FetchItem) -> None:
        """Move a partition that returned records to the end, so that a busy one does not starve the others."""
        if item.key in self.items:
            self.items[item.key] = self.items.pop(item.key)

    def close(self) -> None:
        for item in self.items.values():
            item.unwatch(self.watch)
        self.items.clear()


class FetchSessions:
    """The cache of one broker: at most ``slots_max`` sessions (``max.incremental.fetch.session.cache.slots``)."""

    def __init__(self, slots_max: int, random_bytes: Callable[[int], bytes]) -> None:
        self.slots_max = slots_max
        self._random_bytes = random_bytes
        self._sessions: dict[int, FetchSession] = {}

    def __len__(self) -> int:
        return len(self._sessions)

    def resume(self, session_id: int, epoch: int, *, uses_topic_ids: bool, now_ms: int) -> FetchSession:
        """Return the session that an incremental request continues, with its next epoch.

        Raises KafkaError: FETCH_SESSION_ID_NOT_FOUND, INVALID_FETCH_SESSION_EPOCH, FETCH_SESSION_TOPIC_ID_ERROR.
        """
        session = self._sessions.get(session_id)
        if session is None:
            raise KafkaError(Code.FETCH_SESSION_ID_NOT_FOUND)
        if session.epoch != epoch:
            raise KafkaError(Code.INVALID_FETCH_SESSION_EPOCH)
        if session.uses_topic_ids != uses_topic_ids:
            raise KafkaError(Code.FETCH_SESSION_TOPIC_ID_ERROR)
        session.epoch = 1 if epoch == 2**31 - 1 else epoch + 1
        # Insertion order is order of last use, so the first of the dict is evicted first.
        self._sessions[session_id] = self._sessions.pop(session_id)
        session.last_used_ms = now_ms
        return session

    def keep(self, session: FetchSession, now_ms: int) -> bool:
        """Give a new session its id if there is room or another can be evicted; otherwise it stays without one."""
        if not self._evict_one(len(session.items), now_ms):
            return False
        session.session_id = self._free_id()
        session.epoch = INITIAL_EPOCH + 1
        session.created_ms = session.last_used_ms = now_ms
        self._sessions[session.session_id] = session
        return True

    def end(self, session_id: int) -> None:
        """Close the session with that id, if there is one."""
        session = self._sessions.pop(session_id, None)
        if session is not None:
            session.close()

    def _evict_one(self, size: int, now_ms: int) -> bool:
        if len(self._sessions) < self.slots_max:
            return True
        if not self._sessions:
            return False
        oldest = next(iter(self._sessions.values()))
        if now_ms - oldest.last_used_ms > EVICTION_MS:
            self.end(oldest.session_id)
            return True
        # A larger session saves more, so it may replace a smaller one that is older than the minimum time.
        smallest = min(self._sessions.values(), key=lambda session: len(session.items))
        if len(smallest.items) < size and now_ms - smallest.created_ms > EVICTION_MS:
            self.end(smallest.session_id)
            return True
        return False

    def _free_id(self) -> int:
        while True:
            session_id = int.from_bytes(self._random_bytes(4), "big") & 0x7FFF_FFFF
            if session_id != NO_SESSION and session_id not in self._sessions:
                return session_id
