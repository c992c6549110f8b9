"""The committed offsets of the groups of one partition.

Owns: what is committed and what open transactions would commit; committing, fetching, deleting and expiring. May not
know: members (the coordinator has asked the group before it comes here), the log, request versions.

An offset that is committed inside a transaction is pending: it becomes the group's offset when the transaction commits,
and vanishes when it aborts. Whichever record stands later in the log wins, plain or transactional, so that compaction
cannot change the outcome.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

from kwire.coordinators.group.commands import CommittedOffset, FetchedOffset, OffsetToCommit
from kwire.coordinators.group.records import OffsetEntry, offset_record
from kwire.coordinators.machine import Record
from kwire.errors import Code
from kwire.types import ZERO_UUID, Uuid

_Partitions: TypeAlias = dict[int, CommittedOffset]
_Topics: TypeAlias = dict[str, _Partitions]

# Topic, its id or zero, and partitions.
TopicToFetch: TypeAlias = tuple[str, Uuid, Iterable[int]]


@dataclass(slots=True)
class Offsets:
    """Everything here is durable: changed by ``replay`` and ``replay_marker`` alone."""

    committed: dict[str, _Topics] = field(default_factory=dict)
    # By producer id: what its open transaction would commit.
    pending: dict[int, dict[str, _Topics]] = field(default_factory=dict)
    # By group: the producers with an open transaction in it.
    open_in_group: dict[str, set[int]] = field(default_factory=dict)

    # Commands: the records they ask for, and the answer

    def commit(
        self,
        group_id: str,
        offsets: Iterable[OffsetToCommit],
        *,
        retention_ms: int,
        metadata_max_bytes: int,
        now_ms: int,
    ) -> tuple[list[Record], list[Code]]:
        """One code for each offset. ``retention_ms`` -1: no expiry of their own."""
        records: list[Record] = []
        codes: list[Code] = []
        expire_ms = -1 if retention_ms == -1 else min(now_ms + retention_ms, 2**63 - 1)
        for each in offsets:
            metadata = each.metadata or ""
            # Kafka counts characters here, though its setting says bytes.
            if len(metadata) > metadata_max_bytes:
                codes.append(Code.OFFSET_METADATA_TOO_LARGE)
                continue
            committed = CommittedOffset(each.offset, each.leader_epoch, metadata, now_ms, expire_ms, each.topic_id)
            records.append(offset_record(group_id, each.topic, each.partition, committed))
            codes.append(Code.NONE)
        return records, codes

    def fetch(
        self, group_id: str, topics: Iterable[TopicToFetch] | None, *, require_stable: bool
    ) -> list[tuple[str, list[FetchedOffset]]]:
        """What is committed for these partitions, or for all that the group has ever committed (None).

        With ``require_stable`` a partition with a pending offset is UNSTABLE_OFFSET_COMMIT. An offset that was
        committed for a former topic of the same name is none.
        """
        committed = self.committed.get(group_id, {})
        unstable = self._pending_partitions(group_id) if require_stable else frozenset()
        if topics is None:
            topics = [(topic, ZERO_UUID, partitions) for topic, partitions in committed.items()]
        return [
            (
                topic,
                [
                    FetchedOffset(partition, error=Code.UNSTABLE_OFFSET_COMMIT)
                    if (topic, partition) in unstable
                    else _fetched(partition, committed.get(topic, {}).get(partition), topic_id)
                    for partition in partitions
                ],
            )
            for topic, topic_id, partitions in topics
        ]

    def delete(self, group_id: str, partitions: Iterable[tuple[str, int]]) -> list[Record]:
        """Tombstones for those of the partitions that have an offset, committed or pending."""
        return [
            offset_record(group_id, topic, partition, None)
            for topic, partition in partitions
            if self._committed(group_id, topic, partition) is not None or self._is_pending(group_id, topic, partition)
        ]

    def delete_all(self, group_id: str) -> list[Record]:
        found = {(topic, partition): None for topic, partition, _ in _each(self.committed.get(group_id, {}))}
        for topic, partition in sorted(self._pending_partitions(group_id)):
            found[topic, partition] = None
        return [offset_record(group_id, topic, partition, None) for topic, partition in found]

    def expire(
        self,
        group_id: str,
        since_ms: Callable[[CommittedOffset], int],
        is_read: Callable[[str], bool],
        *,
        retention_ms: int,
        now_ms: int,
    ) -> tuple[list[Record], bool]:
        """Tombstones for what nobody reads and has been kept long enough, and whether nothing remains.

        ``since_ms`` says from when the retention of an offset counts, ``is_read`` whether a member reads a topic.
        """
        records: list[Record] = []
        nothing_remains = group_id not in self.open_in_group
        pending = self._pending_partitions(group_id)
        for topic, partition, offset in _each(self.committed.get(group_id, {})):
            due_ms = since_ms(offset) + retention_ms if offset.expire_ms == -1 else offset.expire_ms
            if now_ms >= due_ms and not is_read(topic) and (topic, partition) not in pending:
                records.append(offset_record(group_id, topic, partition, None))
            else:
                nothing_remains = False
        return records, nothing_remains

    def forget_topics(self, topics: dict[str, Uuid], *, with_unknown_ids: bool) -> list[Record]:
        """Tombstones for all offsets of topics that were deleted, by name and id.

        ``with_unknown_ids``: those too that were committed when the id was not known.
        """
        unknown = ZERO_UUID if with_unknown_ids else None
        found: dict[tuple[str, str, int], None] = {}
        for groups in (self.committed, *self.pending.values()):
            for group_id, by_topic in groups.items():
                for topic in topics.keys() & by_topic.keys():
                    for partition, offset in by_topic[topic].items():
                        # One that names another id belongs to a newer topic of the same name.
                        if offset.topic_id in (unknown, topics[topic]):
                            found[group_id, topic, partition] = None
        return [offset_record(group_id, topic, partition, None) for group_id, topic, partition in found]

    def topics(self) -> set[tuple[str, Uuid]]:
        """Name and id of each topic in which anything is committed."""
        return {
            (topic, offset.topic_id)
            for groups in (self.committed, *self.pending.values())
            for topics in groups.values()
            for topic, _, offset in _each(topics)
        }

    # Replay

    def replay(self, entry: OffsetEntry, *, offset: int, producer_id: int) -> None:
        """``producer_id`` -1: not in a transaction."""
        if entry.value is None:
            topics = self.committed.get(entry.group_id, {})
            _remove(topics, entry.topic, entry.partition)
            if not topics:
                self.committed.pop(entry.group_id, None)
            for open_producer_id in self.open_in_group.get(entry.group_id, ()):
                _remove(self.pending[open_producer_id][entry.group_id], entry.topic, entry.partition)
            return
        value = entry.value
        committed = CommittedOffset(
            value.offset,
            value.leader_epoch,
            value.metadata,
            value.commit_timestamp,
            value.expire_timestamp,
            value.topic_id,
            record_offset=offset,
        )
        if producer_id == -1:
            _put(self.committed, entry.group_id, entry.topic, entry.partition, committed)
        else:
            _put(self.pending.setdefault(producer_id, {}), entry.group_id, entry.topic, entry.partition, committed)
            self.open_in_group.setdefault(entry.group_id, set()).add(producer_id)

    def replay_marker(self, producer_id: int, *, committed: bool) -> None:
        """The transaction of this producer ended: its offsets become the groups', or vanish."""
        groups = self.pending.pop(producer_id, {})
        for group_id, topics in groups.items():
            self.open_in_group[group_id].discard(producer_id)
            if not self.open_in_group[group_id]:
                del self.open_in_group[group_id]
            if not committed:
                continue
            for topic, partition, offset in _each(topics):
                present = self._committed(group_id, topic, partition)
                if present is None or present.record_offset < offset.record_offset:
                    _put(self.committed, group_id, topic, partition, offset)

    # Questions

    def _committed(self, group_id: str, topic: str, partition: int) -> CommittedOffset | None:
        return self.committed.get(group_id, {}).get(topic, {}).get(partition)

    def _is_pending(self, group_id: str, topic: str, partition: int) -> bool:
        return (topic, partition) in self._pending_partitions(group_id)

    def _pending_partitions(self, group_id: str) -> frozenset[tuple[str, int]]:
        producers = self.open_in_group.get(group_id)
        if not producers:
            return frozenset()
        return frozenset(
            (topic, partition)
            for producer_id in producers
            for topic, partition, _ in _each(self.pending[producer_id].get(group_id, {}))
        )


def _fetched(partition: int, offset: CommittedOffset | None, topic_id: Uuid) -> FetchedOffset:
    if offset is None:
        return FetchedOffset(partition)
    if ZERO_UUID not in (offset.topic_id, topic_id) and offset.topic_id != topic_id:
        return FetchedOffset(partition)
    return FetchedOffset(partition, offset.offset, offset.leader_epoch, offset.metadata)


def _each(topics: _Topics) -> Iterator[tuple[str, int, CommittedOffset]]:
    return (
        (topic, partition, offset) for topic, partitions in topics.items() for partition, offset in partitions.items()
    )


def _put(groups: dict[str, _Topics], group_id: str, topic: str, partition: int, offset: CommittedOffset) -> None:
    groups.setdefault(group_id, {}).setdefault(topic, {})[partition] = offset


def _remove(topics: _Topics, topic: str, partition: int) -> None:
    partitions = topics.get(topic, {})
    partitions.pop(partition, None)
    if not partitions:
        topics.pop(topic, None)
