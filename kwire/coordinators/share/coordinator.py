"""The share coordinator: one partition of ``__share_group_state`` as a state machine (KIP-932).

Responsible for: the durable state of share partitions (start offset, delivery state of records in flight), the epochs
that fence old leaders and states, snapshots, and which records of the log are redundant. Must not depend on: the log,
clocks, requests, how records are delivered.

Leaders of partitions read the state when they begin to serve a share group and write its changes. The group
coordinator initializes and deletes it. ``state_epoch`` is set each time the state is initialized;
``leader_epoch`` is the highest of the leaders that read or wrote it.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from kwire.coordinators.machine import ClusterMetadata, Effects, MetadataChange, Record
from kwire.coordinators.share.records import (
    Entry,
    Snapshot,
    Update,
    read_record,
    snapshot_record,
    tombstone,
    update_record,
)
from kwire.coordinators.share.state import UNKNOWN_COUNT, UNKNOWN_START_OFFSET, SharePartitionKey, StateBatch, combine
from kwire.coordinators.timeline import Table, Timeline
from kwire.errors import Code, KafkaError

_OLD_LEADER: Final = "The leader epoch in the request is older than the epoch on the broker."
_OLD_STATE: Final = "The coordinator rejected the request because the state epoch did not match."
_COLD_TIMER: Final = ("cold partitions",)
# Share partitions that one step of a pass over cold ones writes before other tasks run.
_SNAPSHOTS_IN_TURN: Final = 200


@dataclass(frozen=True, slots=True)
class ShareCoordinatorConfig:
    """Settings of the share coordinator.

    ``updates_per_snapshot``: share.coordinator.snapshot.update.records.per.snapshot; ``cold_interval_ms``:
    share.coordinator.cold.partition.snapshot.interval.ms.
    """

    updates_per_snapshot: int
    cold_interval_ms: int


class Stored(NamedTuple):
    """The state of one share partition. ``updates``: how many updates follow the snapshot at ``snapshot_offset``.

    ``leader_epoch_max``: of all leaders, also of those before the state was initialized again.
    """

    state: Snapshot
    updates: int
    snapshot_offset: int
    leader_epoch_max: int


class Write(NamedTuple):
    """A change by a leader. ``delivered_count`` UNKNOWN_COUNT: not changed."""

    state_epoch: int
    leader_epoch: int
    start_offset: int
    delivered_count: int
    batches: tuple[StateBatch, ...]


class ShareCoordinator:
    """A ``Machine``.

    Commands raise KafkaError(INVALID_REQUEST, UNKNOWN_TOPIC_OR_PARTITION, FENCED_LEADER_EPOCH, FENCED_STATE_EPOCH),
    otherwise they reply.
    """

    def __init__(self, config: ShareCoordinatorConfig) -> None:
        self.config = config
        self.timeline = Timeline()
        self.stored: Table[SharePartitionKey, Stored] = Table(self.timeline)
        self._metadata: ClusterMetadata | None = None
        self._end_offset = 0
        self._cold: list[SharePartitionKey] = []

    # --- commands
    # ----------------------------------------------------------------------------------------------------

    def initialize(
        self, key: SharePartitionKey, state_epoch: int, start_offset: int, *, ticket: int, now_ms: int
    ) -> Effects:
        """Initialize the state again. The reply is None."""
        self._check_partition(key)
        _check_epoch(state_epoch, "state")
        stored = self.stored.get(key)
        if stored is not None and stored.state.state_epoch > state_epoch:
            raise KafkaError(Code.FENCED_STATE_EPOCH, _OLD_STATE)
        self._check_topic(key)
        snapshot = Snapshot(
            snapshot_epoch=0 if stored is None else stored.state.snapshot_epoch + 1,
            state_epoch=state_epoch,
            leader_epoch=0,
            start_offset=start_offset,
            # Behind a known start offset nothing was delivered yet; with an unknown one the count is unknown too
            # (KIP-1226).
            delivered_count=UNKNOWN_COUNT if start_offset == UNKNOWN_START_OFFSET else 0,
            created_ms=now_ms,
            written_ms=now_ms,
        )
        return _answered(ticket, None, snapshot_record(key, snapshot))

    def write(self, key: SharePartitionKey, write: Write, *, ticket: int, now_ms: int) -> Effects:
        """Store a change by a leader. The reply is None."""
        self._check_partition(key)
        _check_epoch(write.leader_epoch, "leader")
        _check_epoch(write.state_epoch, "state")
        stored = self._initialized(key, "Write")
        if stored.leader_epoch_max > write.leader_epoch:
            raise KafkaError(Code.FENCED_LEADER_EPOCH, _OLD_LEADER)
        if stored.state.state_epoch > write.state_epoch:
            raise KafkaError(Code.FENCED_STATE_EPOCH, _OLD_STATE)
        if any(batch.last_offset < batch.first_offset for batch in write.batches):
            raise KafkaError(Code.INVALID_REQUEST, "The last offset of a batch cannot be less than the first.")
        self._check_topic(key)
        # Only reading the state makes a leader's epoch the current one.
        return _answered(ticket, None, self._record(key, stored, write, stored.state.leader_epoch, now_ms))

    def read(self, key: SharePartitionKey, leader_epoch: int, *, ticket: int, now_ms: int) -> Effects:
        """The reply is the state as a ``Snapshot``. Leaders of lower epochs are fenced from then on."""
        self._check_partition(key)
        _check_epoch(leader_epoch, "leader")
        stored = self._initialized(key, "Read")
        if stored.leader_epoch_max > leader_epoch:
            raise KafkaError(Code.FENCED_LEADER_EPOCH, _OLD_LEADER)
        self._check_topic(key)
        state = stored.state
        if leader_epoch == stored.leader_epoch_max:
            return _answered(ticket, state)
        write = Write(state.state_epoch, leader_epoch, state.start_offset, state.delivered_count, ())
        return _answered(ticket, state, self._record(key, stored, write, leader_epoch, now_ms))

    def summary(self, key: SharePartitionKey) -> Snapshot | None:
        """The committed state without a change of epochs; None for one that is not initialized."""
        self._check_partition(key)
        self._check_topic(key)
        stored = self.stored.committed(key)
        return None if stored is None else stored.state

    def delete(self, key: SharePartitionKey, *, ticket: int, now_ms: int) -> Effects:
        """Delete the state if there is one. The reply is None."""
        del now_ms
        self._check_partition(key)
        self._check_topic(key)
        return _answered(ticket, None, *([tombstone(key)] if key in self.stored else []))

    # --- the log
    # -----------------------------------------------------------------------------------------------------

    def redundant_below(self) -> int:
        """The offset below which no record of the log counts any more."""
        return min((each.snapshot_offset for _, each in self.stored.committed_items()), default=self._end_offset)

    # --- Machine
    # -----------------------------------------------------------------------------------------------------

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
        del timestamp_ms, producer_id, producer_epoch
        entry = read_record(key, value)
        self._end_offset = offset + 1
        if entry is None:
            return
        before = self.stored.get(entry.key)
        match entry.value:
            case None:
                self.stored.pop(entry.key)
            case Snapshot() as snapshot:
                highest = snapshot.leader_epoch if before is None else before.leader_epoch_max
                self.stored[entry.key] = Stored(snapshot, 0, offset, max(highest, snapshot.leader_epoch))
            case Update() as update:
                self.stored[entry.key] = _updated(before, update, offset)

    def replay_marker(self, producer_id: int, producer_epoch: int, *, committed: bool) -> None:
        """No transaction writes to this topic."""

    def loaded(self, metadata: ClusterMetadata, now_ms: int) -> Effects:
        self._metadata = metadata
        effects = self._delete_states_of_missing_topics()
        effects.set_timer(_COLD_TIMER, now_ms + self.config.cold_interval_ms)
        return effects

    def on_metadata_change(self, change: MetadataChange, metadata: ClusterMetadata, now_ms: int) -> Effects:
        del now_ms
        self._metadata = metadata
        return self._delete_states_of_missing_topics() if change.topics_deleted else Effects()

    def on_timer(self, key: Hashable, now_ms: int) -> Effects:
        assert key == _COLD_TIMER
        return self._snapshot_cold_partitions(now_ms)

    def clock_stepped(self, by_ms: int) -> None:
        """Only the pass over cold partitions has a timer, which need not move."""

    def on_append_result(self, follow_up: object, error: Code | None, now_ms: int) -> Effects:
        raise AssertionError(f"no follow-up was asked for: {follow_up!r}, {error}, {now_ms}")

    def unloaded(self) -> None:
        """There is nothing to release."""

    # --- helpers
    # -----------------------------------------------------------------------------------------------------

    def _check_partition(self, key: SharePartitionKey) -> None:
        if key.partition < 0:
            raise KafkaError(Code.INVALID_REQUEST, "The partition id cannot be a negative number.")

    def _check_topic(self, key: SharePartitionKey) -> None:
        metadata = self._metadata
        topic = None if metadata is None else metadata.topic_by_id(key.topic_id)
        if topic is None or key.partition >= topic.partition_count:
            raise KafkaError(Code.UNKNOWN_TOPIC_OR_PARTITION, "This server does not host this topic-partition.")

    def _initialized(self, key: SharePartitionKey, operation: str) -> Stored:
        stored = self.stored.get(key)
        if stored is None:
            raise KafkaError(
                Code.INVALID_REQUEST, f"{operation} operation on uninitialized share partition not allowed."
            )
        return stored

    def _record(self, key: SharePartitionKey, stored: Stored, write: Write, leader_epoch: int, now_ms: int) -> Record:
        """An update, or after many of them a snapshot."""
        state = stored.state
        if stored.updates < self.config.updates_per_snapshot:
            batches = tuple(combine((), write.batches, write.start_offset))
            return update_record(
                key,
                Update(state.snapshot_epoch, leader_epoch, write.start_offset, write.delivered_count, batches),
            )
        start_offset = state.start_offset if write.start_offset == UNKNOWN_START_OFFSET else write.start_offset
        return snapshot_record(
            key,
            Snapshot(
                state.snapshot_epoch + 1,
                state.state_epoch,
                leader_epoch,
                start_offset,
                _count(state, write),
                now_ms,
                now_ms,
                tuple(combine(state.batches, write.batches, start_offset)),
            ),
        )

    def _delete_states_of_missing_topics(self) -> Effects:
        metadata = self._metadata
        assert metadata is not None
        records = [tombstone(key) for key in self.stored if not metadata.topic_exists(key.topic_id)]
        return Effects(records=records, atomic=False)

    def _snapshot_cold_partitions(self, now_ms: int) -> Effects:
        """Write snapshots of share partitions that have not changed for long, so that older records are redundant."""
        effects = Effects(atomic=False)
        if not self._cold:
            self._cold = list(self.stored)
        for _ in range(min(_SNAPSHOTS_IN_TURN, len(self._cold))):
            key = self._cold.pop()
            stored = self.stored.get(key)
            if stored is None or now_ms - stored.state.written_ms < self.config.cold_interval_ms:
                continue
            if stored.updates == 0 and stored.state.created_ms != stored.state.written_ms:
                continue  # its snapshot was written by such a pass, and nothing changed since
            snapshot = replace(stored.state, snapshot_epoch=stored.state.snapshot_epoch + 1, written_ms=now_ms)
            effects.records.append(snapshot_record(key, snapshot))
        pause_ms = 0 if self._cold else self.config.cold_interval_ms
        effects.set_timer(_COLD_TIMER, now_ms + pause_ms)
        return effects


def _answered(ticket: int, result: object, *records: Record) -> Effects:
    effects = Effects(records=list(records))
    effects.reply(ticket, result)
    return effects


def _check_epoch(epoch: int, whose: str) -> None:
    if epoch < 0:
        raise KafkaError(Code.INVALID_REQUEST, f"The {whose} epoch cannot be a negative number.")


def _count(state: Snapshot, change: Write | Update) -> int:
    """The count belongs to a start offset: without one it stays (KIP-1226)."""
    if change.delivered_count == UNKNOWN_COUNT or change.start_offset == UNKNOWN_START_OFFSET:
        return state.delivered_count
    return change.delivered_count


def _updated(before: Stored | None, update: Update, offset: int) -> Stored:
    """The state after an update; one without a snapshot, whose snapshot was lost, counts by itself."""
    if before is None:
        state = Snapshot(
            update.snapshot_epoch,
            0,
            update.leader_epoch,
            update.start_offset,
            update.delivered_count,
            batches=update.batches,
        )
        return Stored(state, 0, offset, update.leader_epoch)
    state = before.state
    start_offset = state.start_offset if update.start_offset == UNKNOWN_START_OFFSET else update.start_offset
    return Stored(
        replace(
            state,
            start_offset=start_offset,
            leader_epoch=max(state.leader_epoch, update.leader_epoch),
            delivered_count=_count(state, update),
            batches=tuple(combine(state.batches, update.batches, start_offset)),
        ),
        before.updates + 1,
        before.snapshot_offset,
        max(before.leader_epoch_max, update.leader_epoch),
    )


__all__ = ["Entry", "ShareCoordinator", "ShareCoordinatorConfig", "Snapshot", "Stored", "Write"]
