"""The interface of coordinators: a pure state machine over one partition of an internal topic.

Responsible for: the values that go in and out of a machine, and which partition of its topic a key belongs to. Must not
depend on: any particular coordinator, logs, clocks, random numbers, trio.

A command makes the machine return ``Effects``: records to append, replies to deliver, timers to set. A machine
never waits and never writes. The runtime appends the records, passes each to ``replay``, and delivers the replies once
the records are committed:

    command ──► machine ──► Effects ──► append ──► replay each record ──► (committed) ──► on_append_result, replies

``replay`` alone changes durable state, at run time and at start-up alike, so the log is the state. Soft state (members
waiting to join, sessions, parked replies) is changed by the commands themselves and is lost at a restart. Both are kept
in the tables of the machine's ``timeline``: when an append is refused, the runtime reverts the command's changes, soft
state included; and requests that only read are answered from the committed state.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple, Protocol

from kwire.coordinators.java_order import string_hash
from kwire.coordinators.timeline import Timeline
from kwire.coordinators.topics import TopicDescription
from kwire.errors import Code
from kwire.types import Uuid


class Timer(NamedTuple):
    """Call ``on_timer(key)`` at ``deadline_ms``; a second timer of the same key replaces the first, None cancels it."""

    key: Hashable
    deadline_ms: int | None


class Reply(NamedTuple):
    """The answer to the request that holds ``ticket``; ``result`` may be a KafkaError, which its waiter raises."""

    ticket: int
    result: object


class Record(NamedTuple):
    """One record for the machine's partition; ``value`` None is a tombstone."""

    key: bytes
    value: bytes | None


class ProducerStamp(NamedTuple):
    """The records belong to the open transaction of this producer."""

    producer_id: int
    producer_epoch: int


@dataclass(slots=True)
class Effects:
    """The result of a command.

    ``records`` are appended as one batch, all or nothing, unless ``atomic`` is False (clean-ups of any length). When
    the append of atomic effects is refused, the command has no effect: its changes are reverted, its replies and
    timers dropped, and its own reply is the error. ``follow_up`` is passed to ``on_append_result`` once the records are
    committed or the append was refused. ``actions`` are performed by the broker after the records are committed; their
    outcome returns as further commands.
    """

    records: list[Record] = field(default_factory=list)
    replies: list[Reply] = field(default_factory=list)
    timers: list[Timer] = field(default_factory=list)
    follow_up: object | None = None
    actions: list[object] = field(default_factory=list)
    producer: ProducerStamp | None = None
    atomic: bool = True

    def reply(self, ticket: int, result: object) -> None:
        self.replies.append(Reply(ticket, result))

    def set_timer(self, key: Hashable, deadline_ms: int | None) -> None:
        """Let the timer of ``key`` fire at ``deadline_ms`` (ms since the epoch) and at no other time; None: never."""
        self.timers.append(Timer(key, deadline_ms))


class ClusterMetadata(Protocol):
    """The queries of machines to the metadata image."""

    def topic_exists(self, topic_id: Uuid) -> bool: ...

    def topic(self, name: str) -> TopicDescription | None:
        """None for a name that no topic has."""
        ...

    def topic_by_id(self, topic_id: Uuid) -> TopicDescription | None:
        """None for an id that no topic has."""
        ...

    def topic_names(self) -> Iterable[str]:
        """Of all topics; not to be kept over a wait."""
        ...

    def feature_level(self, name: str) -> int:
        """The finalized level of a feature; 0 if it is not finalized."""
        ...

    def group_config(self, group_id: str) -> Mapping[str, object]:
        """The effective dynamic configs of a group, by key."""
        ...

    def has_group_config(self, group_id: str, name: str) -> bool:
        """Whether the group has a value of its own for a config."""
        ...


class MetadataChange(NamedTuple):
    """What changed with a new metadata image.

    ``topics_deleted``: their ids, by name. ``features``: the new levels of those that changed. ``groups_configured``:
    the groups whose dynamic configs changed. ``topics_changed``: whether topics were created or deleted, or a topic
    has other partitions or racks than before.
    """

    topics_deleted: Mapping[str, Uuid] = MappingProxyType({})
    features: Mapping[str, int] = MappingProxyType({})
    groups_configured: frozenset[str] = frozenset()
    topics_changed: bool = False


class Machine(Protocol):
    """The methods that the runtime calls. Commands are further methods of each machine."""

    @property
    def timeline(self) -> Timeline:
        """The timeline of all tables that commands and records change."""
        ...

    def replay(
        self,
        key: bytes,
        value: bytes | None,
        *,
        offset: int,
        timestamp_ms: int,
        producer_id: int,
        producer_epoch: int,
    ) -> None:
        """Apply one record of the log. Nothing else changes durable state, but ``replay_marker``."""
        ...

    def replay_marker(self, producer_id: int, producer_epoch: int, *, committed: bool) -> None:
        """A transaction of ``producer_id`` ended in this partition."""
        ...

    def loaded(self, metadata: ClusterMetadata, now_ms: int) -> Effects:
        """The log was replayed to its end: the sessions of members restart, and state of deleted topics is removed."""
        ...

    def on_metadata_change(self, change: MetadataChange, metadata: ClusterMetadata, now_ms: int) -> Effects:
        """There is a new metadata image."""
        ...

    def on_timer(self, key: Hashable, now_ms: int) -> Effects: ...

    def clock_stepped(self, by_ms: int) -> None:
        """``now_ms`` made a step, as when a wall clock is set or a laptop wakes: move the deadlines of soft state.

        Timers that are set do not move.
        """
        ...

    def on_append_result(self, follow_up: object, error: Code | None, now_ms: int) -> Effects:
        """The records of the effects that carried ``follow_up`` are committed (None), or were not appended.

        In the second case the command is reverted already.
        """
        ...

    def unloaded(self) -> None:
        """The machine is not used any more: its partition has another leader, its topic is gone, or it failed."""
        ...


def partition_for(key: str, partition_count: int) -> int:
    """The partition of an internal topic that holds ``key`` (a group or transactional id)."""
    code = string_hash(key)
    # Java's abs leaves the smallest int negative; Kafka takes it for 0.
    return 0 if code == -(2**31) else abs(code) % partition_count
