"""The committed offsets of the groups of one partition.

Responsible for: committed offsets and those of open transactions; committing, fetching, deleting and expiring. Must not
depend on: members (the coordinator checks those first), the log, request versions.

An offset that is committed inside a transaction is pending: it becomes the group's offset when the transaction commits,
and is dropped when it aborts. The later record in the log wins, plain or transactional, so that compaction
cannot change the outcome.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeAlias

from kwire.coordinators.group.commands import CommittedOffset, FetchedOffset, OffsetToCommit
from kwire.coordinators.group.records import OffsetEntry, offset_record
from kwire.coordinators.machine import Record
from kwire.coordinators.timeline import NestedTable, Table, Timeline
from kwire.errors import Code
from kwire.types import ZERO_UUID, Uuid

# Topic, its id or zero, and partitions.
TopicToFetch: TypeAlias = tuple[str, Uuid, Iterable[int]]


class Offsets:
    """Everything here is durable: changed by ``replay`` and ``replay_marker`` alone.

    ``committed``: by group, topic and partition. ``pending``: offsets of open transactions by producer id, group, topic
    and partition. ``open_in_group``: by group, the producers with an open transaction in it.
    """

    def __init__(self, timeline: Timeline) -> None:
        self.committed: NestedTable[CommittedOffset] = NestedTable(timeline)
        self.pending: NestedTable[CommittedOffset] = NestedTable(timeline)
        self.open_in_group: Table[str, frozenset[int]] = Table(timeline)
        # The offset behind the last replayed record.
        self.end_offset = 0

    # Commands: their records and their answer

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
        """The committed offsets of these partitions, or (None) of all that the group has committed.

        With ``require_stable`` a partition with a pending offset is UNSTABLE_OFFSET_COMMIT. An offset of an earlier
        topic of the same name does not count. Records that are not committed yet do not count.
        """
        if topics is None:
            topics = [
                (topic, ZERO_UUID, self.committed_partitions(group_id, topic))
                for topic in self.committed_topics(group_id)
            ]
        producers = self.open_in_group.committed(group_id) or () if require_stable else ()
        pending = self.pending.committed
        return [
            (
                topic,
                [
                    FetchedOffset(partition, error=Code.UNSTABLE_OFFSET_COMMIT)
                    if producers and any(pending((one, group_id, topic, partition)) is not None for one in producers)
                    else _fetched(partition, self.committed.committed((group_id, topic, partition)), topic_id)
                    for partition in partitions
                ],
            )
            for topic, topic_id, partitions in topics
        ]

    def committed_topics(self, group_id: str) -> list[str]:
        """The topics in which the group has committed an offset."""
        return self.committed.committed_children(group_id)

    def committed_partitions(self, group_id: str, topic: str) -> list[int]:
        """The partitions of the topic for which the group has committed an offset."""
        return self.committed.committed_children(group_id, topic)

    def delete(self, group_id: str, partitions: Iterable[tuple[str, int]]) -> list[Record]:
        """Tombstones for those of the partitions that have an offset, committed or pending, each once."""
        pending = self._pending_partitions(group_id)
        return [
            offset_record(group_id, topic, partition, None)
            for topic, partition in dict.fromkeys(partitions)
            if self.committed.get((group_id, topic, partition)) is not None or (topic, partition) in pending
        ]

    def delete_all(self, group_id: str) -> list[Record]:
        """Return the tombstones of all offsets of a group, also of those that a transaction has not committed yet."""
        found = dict.fromkeys((topic, partition) for (_, topic, partition), _ in self.committed.under(group_id))
        found |= dict.fromkeys(sorted(self._pending_partitions(group_id)))
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
        """Tombstones for offsets of topics that no member reads once their retention is over; whether none remains.

        ``since_ms`` says from when the retention of an offset counts, ``is_read`` whether a member reads a topic.
        """
        records: list[Record] = []
        nothing_remains = group_id not in self.open_in_group
        pending = self._pending_partitions(group_id)
        for (_, topic, partition), offset in self.committed.under(group_id):
            due_ms = since_ms(offset) + retention_ms if offset.expire_ms == -1 else offset.expire_ms
            if now_ms >= due_ms and not is_read(topic) and (topic, partition) not in pending:
                records.append(offset_record(group_id, topic, partition, None))
            else:
                nothing_remains = False
        return records, nothing_remains

    def delete_of(self, group_id: str, is_deleted: Callable[[str, Uuid], bool], *, before: int) -> list[Record]:
        """Tombstones for the group's offsets, committed or pending, in topics that were deleted.

        ``is_deleted`` tells by the name and the id, which is zero where it was not known. Only offsets in records below
        ``before`` count.
        """
        found = self.committed.under(group_id) + [
            (path[1:], offset)
            for producer_id in self.open_in_group.get(group_id) or ()
            for path, offset in self.pending.under(producer_id, group_id)
        ]
        deleted = {
            path: None
            for path, offset in found
            if offset.record_offset < before and is_deleted(path[1], offset.topic_id)
        }
        return [offset_record(group_id, topic, partition, None) for _, topic, partition in deleted]

    def group_ids(self) -> list[str]:
        """The groups that have an offset, committed or pending; the first ones last."""
        return list(dict.fromkeys([*self.committed.keys(), *self.open_in_group]))[::-1]

    def count(self, group_id: str) -> int:
        """How many offsets the group has committed."""
        return self.committed.count(group_id)

    # Replay

    def replay(self, entry: OffsetEntry, *, offset: int, producer_id: int) -> None:
        """``producer_id`` -1: not in a transaction."""
        self.end_offset = offset + 1
        path = (entry.group_id, entry.topic, entry.partition)
        if entry.value is None:
            self.committed.remove(path)
            for open_producer_id in self.open_in_group.get(entry.group_id) or ():
                self.pending.remove((open_producer_id, *path))
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
            self.committed.set(path, committed)
            return
        self.pending.set((producer_id, *path), committed)
        producers = self.open_in_group.get(entry.group_id) or frozenset()
        if producer_id not in producers:
            self.open_in_group[entry.group_id] = producers | {producer_id}

    def replay_marker(self, producer_id: int, *, committed: bool) -> None:
        """The transaction of this producer ended: its offsets become the groups', or vanish."""
        for group_id, producers in self.open_in_group.items():
            if producer_id not in producers:
                continue
            if len(producers) > 1:
                self.open_in_group[group_id] = producers - {producer_id}
            else:
                self.open_in_group.pop(group_id)
        for path, offset in self.pending.under(producer_id):
            self.pending.remove(path)
            if not committed:
                continue
            present = self.committed.get(path[1:])
            if present is None or present.record_offset < offset.record_offset:
                self.committed.set(path[1:], offset)

    # Queries

    def _pending_partitions(self, group_id: str) -> frozenset[tuple[str, int]]:
        return frozenset(
            path[2:]
            for producer_id in self.open_in_group.get(group_id) or ()
            for path, _ in self.pending.under(producer_id, group_id)
        )


def _fetched(partition: int, offset: CommittedOffset | None, topic_id: Uuid) -> FetchedOffset:
    if offset is None:
        return FetchedOffset(partition)
    if ZERO_UUID not in (offset.topic_id, topic_id) and offset.topic_id != topic_id:
        return FetchedOffset(partition)
    return FetchedOffset(partition, offset.offset, offset.leader_epoch, offset.metadata)
