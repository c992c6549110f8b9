"""One partition of which this broker has a replica.

Responsible for: the partition's role (leader or follower), leader epoch, replicas and in-sync replicas, appending, and
waiting until records are committed. Must not depend on: requests, connections, how long a client waits.

The high watermark is kept apart from the end of the log: records below it are committed. The only replica moves it as
soon as a batch is written, or, when the topic's flush settings ask for it, once the batch is on the disk. A leader with
followers moves it when the in-sync replicas have fetched the batch (``kwire.replication.leader``), a follower as its
leader says; ``replica`` moves it. Every caller that appends and needs committed records does the same two steps::

    appended = partition.append(batch, header, acks=acks)       # or append_own
    since = partition.leading_since                             # before the next await
    await partition.committed(appended.next_offset, since=since)    # returns at once in the usual case

docs/decisions/committed.md has the reasons.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Container, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from kwire.broker.clock import Clock
from kwire.broker.partitions.cluster_view import ClusterView
from kwire.broker.partitions.replica import Replica
from kwire.broker.partitions.validate import LargeBatch, ValidationSettings, validate
from kwire.errors import Code, KafkaError, StorageFailure
from kwire.metadata import entities
from kwire.replication.leader import RECOVERED, Leader, Leadership
from kwire.storage.config import FOREVER
from kwire.storage.log import Appended, Log, LogConfig
from kwire.types import Uuid
from kwire.wire.batches.batch import BatchHeader, check_batch, read_batch_header

ACKS_ALL: Final = -1
READ_UNCOMMITTED: Final = 0
READ_COMMITTED: Final = 1


class Role(Enum):
    """The role of this broker's replica: a leader takes appends, a follower copies the leader's log."""

    LEADER = "leader"
    FOLLOWER = "follower"


@dataclass(frozen=True, slots=True)
class TopicSettings:
    """The topic configs that partitions use; replaced as a whole when a config changes."""

    log: LogConfig
    validation: ValidationSettings
    min_insync_replicas: int
    # Indexes of the partitions whose replica here is throttled while it is not in sync.
    throttled_as_leader: Container[int] = frozenset()
    throttled_as_follower: Container[int] = frozenset()


class Partition(Replica):
    """This broker's replica of one partition. Every method but the waits is atomic.

    ``flush`` syncs the partition's whole log to the disk, in one fsync for all tasks that wait for the log.
    ``leads``: it has the role of the leader and is not deleted. ``leader`` is the leader's view of the followers; None
    on a follower, and where there is only one replica.
    """

    __slots__ = (
        "_flush",
        "_open_log",
        "clock",
        "cluster",
        "deleted",
        "flushed_ms",
        "isr",
        "leader",
        "leader_epoch",
        "leader_id",
        "leading_since",
        "leads",
        "log_dir",
        "partition_epoch",
        "recovery_state",
        "replicas",
        "role",
        "settings",
        "topic_deleted",
    )

    def __init__(
        self,
        topic: str,
        index: int,
        topic_id: Uuid,
        *,
        role: Role,
        leader_id: int,
        leader_epoch: int,
        replicas: Sequence[int],
        isr: Sequence[int],
        log_dir: str,
        settings: TopicSettings,
        open_log: Callable[[Partition], Log],
        flush: Callable[[Partition], Awaitable[None]],
        clock: Clock,
        cluster: ClusterView,
        partition_epoch: int = 0,
        recovery_state: int = RECOVERED,
    ) -> None:
        super().__init__(topic, index, topic_id)
        self.role = role
        self.leader_id = leader_id
        self.leader_epoch = leader_epoch
        self.partition_epoch = partition_epoch
        self.replicas = replicas
        self.isr = isr
        self.recovery_state = recovery_state
        self.log_dir = log_dir
        self.settings = settings
        self.leads = role is Role.LEADER
        # The leader epoch since which this replica has led, also if it was elected again.
        self.leading_since = leader_epoch if self.leads else -1
        self.leader: Leader | None = None
        # True: there is no flush setting, and no other replica.
        self.commits_on_append = settings.log.flush_messages == FOREVER and len(replicas) <= 1
        self.deleted = False
        self.topic_deleted = False
        self.flushed_ms = clock.monotonic_ms()
        self._open_log = open_log
        self._flush = flush
        self.clock = clock
        self.cluster = cluster

    def open_log(self) -> Log:
        """See ``Replica``."""
        return self._open_log(self)

    def configure(self, settings: TopicSettings) -> None:
        """Apply changed topic configs; they are used from the next append on."""
        self.settings = settings
        self._follow_commit_mode()
        if self._log is not None:
            self._log.config = settings.log
        if self.leader is not None:
            self.leader.min_insync_replicas = settings.min_insync_replicas
            self.advance_replicated()

    # --- writing
    # -----------------------------------------------------------------------------------------------------

    def append(
        self,
        batch: memoryview,
        header: BatchHeader,
        *,
        acks: int,
        trusted: bool = False,
        large: LargeBatch | None = None,
    ) -> Appended:
        """Check and append the batch that a producer sent; ``trusted`` as in ``validate``.

        Raises LargeBatch with nothing written for a batch that must be validated in a thread; the caller does that and
        calls again with it as ``large``.

        The records are written, not yet committed: see ``committed``. Raises KafkaError (NOT_LEADER_OR_FOLLOWER,
        NOT_ENOUGH_REPLICAS, CORRUPT_MESSAGE, MESSAGE_TOO_LARGE, sequence and timestamp refusals, ...) with nothing
        written, or StorageFailure.
        """
        settings = self.settings
        in_sync = len(self.isr)
        # min.insync.replicas counts at most as many replicas as there are (KIP-966).
        if acks == ACKS_ALL and in_sync < settings.min_insync_replicas and in_sync < len(self.replicas):
            raise KafkaError(
                Code.NOT_ENOUGH_REPLICAS,
                f"The size of the current ISR {in_sync} is insufficient to satisfy the min.isr requirement of "
                f"{min(settings.min_insync_replicas, len(self.replicas))} for partition {self}",
            )
        now_ms = self.clock.now_ms()
        check_batch(batch, header)
        if large is None:
            batch, header = validate(
                batch, header, settings.validation, now_ms, partition=self, trusted=trusted, inline=True
            )
        else:
            batch, header = large.result(settings.validation)
        return self._write(batch, header, now_ms)

    def append_own(self, batch: bytes | memoryview, *, transaction_version: int = 0) -> Appended:
        """Append a batch that the broker itself made: coordinator records and transaction markers.

        ``transaction_version`` is that of a marker's transaction. Raises KafkaError(NOT_LEADER_OR_FOLLOWER),
        StorageFailure.
        """
        view, now_ms = memoryview(batch), self.clock.now_ms()
        return self._write(
            view, read_batch_header(view), now_ms, check_sequence=False, transaction_version=transaction_version
        )

    def _write(
        self,
        batch: memoryview,
        header: BatchHeader,
        now_ms: int,
        *,
        check_sequence: bool = True,
        transaction_version: int = 0,
    ) -> Appended:
        if not self.leads:
            raise KafkaError(Code.NOT_LEADER_OR_FOLLOWER)
        if not self.commits_on_append:
            self.complete_role()
        log = self._log
        if log is None:
            log = self.log
        appended = log.append(
            batch,
            (header,),
            leader_epoch=self.leader_epoch,
            now_ms=now_ms,
            check_sequence=check_sequence,
            transaction_version=transaction_version,
        )
        if not appended.duplicate:
            if self.commits_on_append:
                self._advance(log, log.end_offset, len(batch))
            else:
                self._note_written(log, appended, len(batch))
        return appended

    def _note_written(self, log: Log, appended: Appended, byte_count: int) -> None:
        """Commit the batch that was appended, as far as its flush and the other replicas allow now."""
        leader = self.leader
        if leader is not None:
            leader.note_append(appended.base_offset, int(self.clock.monotonic_ms()))
            self._note_end(log, byte_count)
            self.advance_replicated()
        elif self.is_flush_due:
            self._uncommitted_bytes += byte_count
            self._wake_end_watches(byte_count)
        else:
            self._advance(log, log.end_offset, byte_count)

    @property
    def is_flush_due(self) -> bool:
        """Whether as much was appended since the last flush as ``flush.messages`` allows."""
        log = self.log
        return log.end_offset - log.recovery_point >= self.settings.log.flush_messages

    # --- committing
    # --------------------------------------------------------------------------------------------------

    def is_committed(self, offset: int) -> bool:
        """Whether all records below ``offset`` are committed; hot paths call this before ``committed``."""
        return self.log.high_watermark >= offset

    def is_answerable(self, offset: int, acks: int, since: int) -> bool:
        """Whether a produce request with these acks can be answered, without ``committed``.

        ``since`` is ``leading_since`` of the append: after another leader there may be other records at the offset.
        """
        if self.leading_since != since:
            return False
        if self.leader is None or acks == ACKS_ALL:
            return self.log.high_watermark >= offset
        return not self.is_flush_due or self.log.recovery_point >= offset

    async def committed(
        self, offset: int, *, since: int, acks: int = ACKS_ALL, timeout_ms: float | None = None
    ) -> None:
        """Return once all records below ``offset`` are committed, without a task switch if they are already.

        ``offset`` is ``Appended.next_offset`` of an append, a duplicate's too. Committed means: below the high
        watermark, so on the disk where the topic's flush settings ask for that, and on all in-sync replicas; with other
        ``acks`` the other replicas do not count. ``since`` is ``leading_since`` when the records were appended: this
        broker may have lost the leadership since and got it back, with other records at the offset. A wait may be
        cancelled at any time; the records then are committed or not, as if the caller had not waited. Returns also if
        the topic is deleted meanwhile.

        Raises StorageFailure if the disk refuses (the records may be gone after a restart and the log takes no more),
        KafkaError: NOT_LEADER_OR_FOLLOWER if the partition gets another leader before the records are committed,
        REQUEST_TIMED_OUT if other replicas have not fetched them after ``timeout_ms``.
        """

        def is_reached() -> bool:
            if self.topic_deleted:
                return True
            # Another leader may have other records at the same offsets.
            if self.leads and self.leading_since == since:
                return self.is_answerable(offset, acks, since)
            raise KafkaError(Code.NOT_LEADER_OR_FOLLOWER)

        self.complete_role()
        while not is_reached() and (
            len(self.replicas) <= 1 or (self.is_flush_due and self.log.recovery_point < offset)
        ):
            await self._flush(self)
        await self._commit_waits.until(is_reached, offset, clock=self.clock, timeout_ms=timeout_ms)

    async def flush(self) -> None:
        """Sync the whole log to the disk. Raises StorageFailure."""
        await self._flush(self)

    def check_enough_replicas(self) -> None:
        """Refuse acks=all for committed records if the in-sync replicas became too few since they were appended.

        Raises KafkaError(NOT_ENOUGH_REPLICAS_AFTER_APPEND).
        """
        if self.leader is not None:
            self.leader.check_after_commit()

    def commit_all(self) -> None:
        """Commit the whole log, which is on the disk, as far as other replicas have it.

        Only a leader does so.
        """
        if self.leader is not None:
            self.advance_replicated()
            return
        if len(self.replicas) > 1:
            return  # its role is not complete
        byte_count, self._uncommitted_bytes = self._uncommitted_bytes, 0
        log = self.log
        if log.high_watermark < log.end_offset:
            self._advance(log, log.end_offset, byte_count)

    def advance_replicated(self) -> None:
        """Leader with followers: move the high watermark to where the in-sync replicas have all records."""
        leader, log = self.leader, self.log
        assert leader is not None
        own_end = log.recovery_point if self.is_flush_due else log.end_offset
        now_ms = int(self.clock.monotonic_ms())
        self._commit_up_to(leader.high_watermark(end_offset=own_end, alive=self.cluster.alive, now_ms=now_ms))

    # --- following the metadata
    # --------------------------------------------------------------------------------------

    def follow_metadata(self, after: entities.Partition, role: Role) -> None:
        """Apply what the metadata has for this partition now; an older partition epoch changes nothing."""
        if after.partition_epoch < self.partition_epoch:
            return
        self.partition_epoch = after.partition_epoch
        self.replicas = after.replicas
        self.recovery_state = after.leader_recovery_state
        if self.leader is None or after.partition_epoch > self.leader.partition_epoch:
            self.isr = after.isr
        if (role, after.leader, after.leader_epoch) != (self.role, self.leader_id, self.leader_epoch):
            self.change_role(role, leader_id=after.leader, leader_epoch=after.leader_epoch)
        else:
            self.begin_role()

    def change_role(self, role: Role, *, leader_id: int, leader_epoch: int) -> None:
        """Follow the metadata: this replica leads, or follows ``leader_id``, since ``leader_epoch`` began."""
        self.role = role
        led, self.leads = self.leads, role is Role.LEADER and not self.deleted
        if not self.leads:
            self.leading_since = -1
        elif not led:
            self.leading_since = leader_epoch
        self.leader_id = leader_id
        self.leader_epoch = leader_epoch
        if self._log is not None and role is Role.LEADER:
            self._log.begin_epoch(leader_epoch)
        self.begin_role()
        self.note_change()

    def take_role_again(self) -> None:
        """Complete a change of the role that a failure has interrupted. Raises StorageFailure."""
        if self.leads and self._log is not None:
            self._log.begin_epoch(self.leader_epoch)
        self.begin_role()
        self.note_change()

    def begin_role(self) -> None:
        """Make the state of a leader with followers, bring it up to date, or drop it. Raises StorageFailure.

        A leader with followers opens its log, because followers must reach the start offset of its epoch.
        """
        if not self.leads or len(self.replicas) <= 1:
            had_followers, self.leader = self.leader is not None, None
            self._follow_commit_mode()
            if had_followers and self.leads:
                self._commit_up_to(self.log.end_offset)
            self._commit_waits.wake()
            self.low_watermark_waits.wake()
            return
        leadership = Leadership(
            tuple(self.replicas), tuple(self.isr), self.leader_epoch, self.partition_epoch, self.recovery_state
        )
        now_ms, end_offset = int(self.clock.monotonic_ms()), self.log.end_offset
        if self.leader is None:
            self.leader = Leader(
                self.cluster.node_id,
                leadership,
                end_offset=end_offset,
                min_insync_replicas=self.settings.min_insync_replicas,
                lag_time_max_ms=self.cluster.lag_time_max_ms,
                now_ms=now_ms,
            )
            self._uncommitted.clear()
        else:
            self.leader.follow_metadata(leadership, end_offset=end_offset, now_ms=now_ms)
        self._follow_commit_mode()
        self.advance_replicated()
        self.propose_recovered()

    def propose_recovered(self) -> None:
        """Leader: have the controller note that this replica has recovered, if it was elected uncleanly."""
        if self.leader is not None and self.leader.propose_recovered(alive=self.cluster.alive) is not None:
            self.cluster.propose(self.topic_partition)

    def complete_role(self) -> None:
        """Make the state of a leader with followers where ``begin_role`` failed: without it nothing may be committed.

        Raises StorageFailure if the log still cannot be opened.
        """
        if self.leads and self.leader is None and len(self.replicas) > 1:
            self.begin_role()

    def _follow_commit_mode(self) -> None:
        """Decide whether an append commits at once; that also decides when watches and waiting tasks are woken."""
        self.commits_on_append = self.settings.log.flush_messages == FOREVER and len(self.replicas) <= 1
        for watch, key in [*self._watches.items(), *self._end_watches.items()]:
            self.unwatch(watch)
            self.watch(watch, key)

    # --- reading
    # -----------------------------------------------------------------------------------------------------

    def check_leader_epoch(self, current_leader_epoch: int) -> None:
        """Refuse a client whose metadata is older or newer than ours (KIP-320); -1: the client does not know it."""
        if current_leader_epoch in (-1, self.leader_epoch):
            return
        if current_leader_epoch < self.leader_epoch:
            raise KafkaError(Code.FENCED_LEADER_EPOCH)
        raise KafkaError(Code.UNKNOWN_LEADER_EPOCH)

    # --- the end
    # -----------------------------------------------------------------------------------------------------

    def take_offline(self) -> None:
        """The log directory failed: close the log, and end all waits with its failure."""
        with contextlib.suppress(StorageFailure):
            self.close()
        self._log = None
        self.leader = None
        self._uncommitted.clear()
        self._uncommitted_bytes = 0
        self.note_change()
        self._commit_waits.wake()
        self.low_watermark_waits.wake()

    def mark_deleted(self, *, topic_deleted: bool) -> None:
        """The topic was deleted, or this replica moved to another broker: end every wait and refuse appends.

        A topic of the same name may get the same directory: an append would write to its files. Records that were not
        committed when the replica moved are not acknowledged: the new leader may lack them.
        """
        self.deleted = True
        self.topic_deleted = topic_deleted
        self.leads = False
        self.role = Role.FOLLOWER
        self.leader = None
        self.note_change()
        self._watches.clear()
        self._end_watches.clear()
        self._commit_waits.wake()
        self.low_watermark_waits.wake()
