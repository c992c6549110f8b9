"""Transaction markers: the control batches that end a transaction in a partition.

Responsible for: the format of a marker, and appending one. Must not depend on: transactions as a whole, when a marker
is due.

    key    int16 version (0), int16 type: 0 abort, 1 commit
    value  int16 version (0), int32 epoch of the coordinator
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Final, NamedTuple, Protocol, TypeAlias

from kwire.broker.partitions.partition import ACKS_ALL, Partition
from kwire.coordinators.machine import ProducerStamp
from kwire.errors import Code
from kwire.types import OFFSETS_TOPIC, TopicPartition
from kwire.wire.batches.records import Record, build_batch

_KEY = struct.Struct(">hh")
_VALUE = struct.Struct(">hi")
_ABORT: Final = 0
_COMMIT: Final = 1


class Marker(NamedTuple):
    """``transaction_version`` decides how the partition's log checks the producer's epoch (KIP-890)."""

    producer: ProducerStamp
    committed: bool
    coordinator_epoch: int
    transaction_version: int

    def batch(self, now_ms: int) -> bytes:
        """Return the control batch of the marker; ``now_ms`` is the timestamp of its record, in ms since the epoch."""
        key = _KEY.pack(0, _COMMIT if self.committed else _ABORT)
        return build_batch(
            [Record(0, now_ms, key, _VALUE.pack(0, self.coordinator_epoch), ())],
            producer_id=self.producer.producer_id,
            producer_epoch=self.producer.producer_epoch,
            transactional=True,
            control=True,
        )


class AppendedMarker(NamedTuple):
    """A marker that is to be committed: see ``Partition.committed``."""

    partition: Partition
    next_offset: int
    since: int

    @property
    def is_committed(self) -> bool:
        return self.partition.is_answerable(self.next_offset, ACKS_ALL, self.since)

    async def committed(self) -> None:
        """Return once the marker is committed. Raises KafkaError, StorageFailure."""
        await self.partition.committed(self.next_offset, since=self.since)


class OffsetsMarkerAppended(Protocol):
    """Called when a marker was appended to a partition of ``__consumer_offsets``, below ``end_offset``."""

    def __call__(self, index: int, producer: ProducerStamp, end_offset: int, *, committed: bool) -> None: ...


class VerificationGuard:
    """Taken before another broker is asked whether a producer's transaction has a partition (KIP-890).

    Meanwhile the transaction may end: then ``refusal`` is a code, and the producer's waiting batch must not be
    appended, or it would begin a transaction that is never ended.
    """

    __slots__ = ("_guards", "_has_marker", "_key", "_leading_since", "_partition")

    def __init__(
        self, partition: Partition, producer_id: int, guards: dict[_GuardKey, list[VerificationGuard]]
    ) -> None:
        self._partition = partition
        self._leading_since = partition.leading_since
        self._key = (partition.topic_partition, producer_id)
        self._guards = guards
        self._has_marker = False
        guards.setdefault(self._key, []).append(self)

    @property
    def refusal(self) -> Code:
        """INVALID_TXN_STATE if a marker of the producer was appended since.

        NOT_LEADER_OR_FOLLOWER if the partition has had another leader, which may have written one: clients ask again.
        """
        if self._partition.leading_since != self._leading_since:
            return Code.NOT_LEADER_OR_FOLLOWER
        return Code.INVALID_TXN_STATE if self._has_marker else Code.NONE

    def note_marker(self) -> None:
        self._has_marker = True

    def end(self) -> None:
        others = self._guards[self._key]
        others.remove(self)
        if not others:
            del self._guards[self._key]


_GuardKey: TypeAlias = tuple[TopicPartition, int]


class MarkerWriter:
    """Appends markers. ``find`` gives a partition that this broker leads, or raises KafkaError."""

    def __init__(
        self,
        *,
        find: Callable[[str, int], Partition],
        now_ms: Callable[[], int],
        offsets_marker_appended: OffsetsMarkerAppended,
    ) -> None:
        self._find = find
        self._now_ms = now_ms
        self._offsets_marker_appended = offsets_marker_appended
        self._guards: dict[_GuardKey, list[VerificationGuard]] = {}

    def guard(self, partition: Partition, producer_id: int) -> VerificationGuard:
        """Watch for markers of this producer in a partition, until ``end`` of the guard."""
        return VerificationGuard(partition, producer_id, self._guards)

    def append(self, where: TopicPartition, marker: Marker) -> AppendedMarker:
        """Append the marker, and tell the group coordinator of it where the partition is one of its own.

        Raises KafkaError (UNKNOWN_TOPIC_OR_PARTITION, NOT_LEADER_OR_FOLLOWER, NOT_ENOUGH_REPLICAS,
        INVALID_PRODUCER_EPOCH, TRANSACTION_COORDINATOR_FENCED) or StorageFailure.
        """
        partition = self._find(*where)
        is_offsets = where.topic == OFFSETS_TOPIC
        if not is_offsets and partition.leader is not None:
            partition.leader.check_before_append(partition)
        batch = marker.batch(self._now_ms())
        end_offset = partition.append_own(batch, transaction_version=marker.transaction_version).next_offset
        if self._guards:
            for guard in self._guards.get((where, marker.producer.producer_id), ()):
                guard.note_marker()
        if is_offsets:
            self._offsets_marker_appended(where.partition, marker.producer, end_offset, committed=marker.committed)
        return AppendedMarker(partition, end_offset, partition.leading_since)
