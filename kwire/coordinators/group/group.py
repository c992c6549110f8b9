"""The interfaces of a group and of a kind of groups.

Responsible for: the ``Group`` interface and the rules of retention that all kinds share. Must not depend on: any kind
of group.

A kind of group is a package beside this module (``classic``, ``consumer``, ``share``, ``streams``). It has a class of
all its groups, a ``GroupKind``, and a class of one group, a ``Group``. The coordinator gives a kind the records of its
types, the timers whose keys begin with its name, and the follow-ups of that name; a kind other than classic is a
``ModernKind``.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator
from enum import Enum
from typing import Final, Protocol

from kwire.coordinators.group.commands import CommitOffsets, DescribedGroup, ListedGroup
from kwire.coordinators.group.records import ModernEntry
from kwire.coordinators.machine import ClusterMetadata, Effects, MetadataChange, Record
from kwire.errors import Code

# The names of the newer kinds, as ListGroups, records and timers have them.
CONSUMER: Final = "consumer"
SHARE: Final = "share"
STREAMS: Final = "streams"


class Retention(Enum):
    """From when the retention of a group's offsets counts (KIP-211)."""

    SINCE_COMMIT = "commit"
    SINCE_EMPTY = "empty"
    # Not while the group has members, which may need any of them.
    NONE = "none"


class Group(Protocol):
    """One group. ``empty_since_ms`` is -1 where it is not known."""

    @property
    def group_id(self) -> str: ...
    @property
    def kind(self) -> str:
        """As ListGroups names it: classic, consumer, share, streams."""
        ...

    @property
    def is_empty(self) -> bool:
        """Whether it has no members, so that it may be deleted."""
        ...

    @property
    def may_expire(self) -> bool:
        """Whether it may go when it has no offsets left."""
        ...

    @property
    def empty_since_ms(self) -> int: ...
    @property
    def retention(self) -> Retention: ...

    def check_commit(self, command: CommitOffsets, now_ms: int) -> None:
        """Whether the sender of OffsetCommit may commit; it has shown that it is alive.

        Raises KafkaError(UNKNOWN_MEMBER_ID, ILLEGAL_GENERATION, FENCED_INSTANCE_ID, REBALANCE_IN_PROGRESS,
        STALE_MEMBER_EPOCH, GROUP_ID_NOT_FOUND).
        """
        ...

    def check_transactional_commit(self, command: CommitOffsets) -> None:
        """The same for TxnOffsetCommit. Clients before KIP-447 name neither member nor generation; both pass."""
        ...

    def check_offset_delete(self) -> None:
        """Whether OffsetDelete may delete offsets (of topics that no member reads). KafkaError(NON_EMPTY_GROUP)."""
        ...

    def check_fetch(self, member_id: str | None, member_epoch: int) -> None:
        """Whether the sender of OffsetFetch may read (KIP-848). KafkaError(UNKNOWN_MEMBER_ID, STALE_MEMBER_EPOCH)."""
        ...

    def subscribes_to(self, topic: str) -> bool:
        """Whether a member reads ``topic``; while that cannot be known, yes."""
        ...

    def listed(self) -> ListedGroup: ...

    def described(self) -> DescribedGroup:
        """For DescribeGroups. Raises KafkaError(GROUP_ID_NOT_FOUND) for a kind that has a request of its own."""
        ...

    def tombstones(self) -> list[Record]:
        """The records that delete the group, its offsets apart."""
        ...


class GroupKind(Protocol):
    """All groups of one kind in one partition."""

    def find(self, group_id: str) -> Group | None:
        """The group as commands see it; their changes to it are undone when their records are refused."""
        ...

    def committed(self, group_id: str) -> Group | None:
        """The group as it is committed, for requests that only read."""
        ...

    def group_ids(self) -> list[str]: ...

    def listed(self) -> Iterator[ListedGroup | None]:
        """Each group as ListGroups shows it, as it is committed when the iterator gets there.

        Gives None for a group that was deleted by then, so that the caller may pause after each.
        """
        ...

    @property
    def changes(self) -> int:
        """A number that grows whenever ``listed`` may give something else."""
        ...


def each_listed(group_ids: Iterable[str], committed: Callable[[str], Group | None]) -> Iterator[ListedGroup | None]:
    """``GroupKind.listed`` by way of the groups themselves."""
    for group_id in list(group_ids):
        group = committed(group_id)
        yield None if group is None else group.listed()


class ModernKind(GroupKind, Protocol):
    """All groups of a newer kind in one partition.

    Its timers have tuples for keys that begin with its name. ``metadata`` is read at each call: it is the newest.
    """

    def replay(self, entry: ModernEntry) -> None:
        """Apply one record of its types; nothing else changes durable state."""
        ...

    def loaded(self, metadata: ClusterMetadata, now_ms: int) -> Effects:
        """The log was replayed: the sessions of members restart."""
        ...

    def on_metadata_change(self, change: MetadataChange, now_ms: int) -> Effects: ...

    def on_timer(self, key: Hashable, now_ms: int) -> Effects: ...

    def on_append_result(self, follow_up: object, error: Code | None, now_ms: int) -> Effects: ...

    def clock_stepped(self, by_ms: int) -> None: ...
