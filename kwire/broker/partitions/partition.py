"""One partition of which this broker has a replica.

Responsible for: the partition's role (leader or follower), leader epoch, replicas and in-sync replicas, its log (opened
at first use), its high watermark, waiting until records are committed, and the watches of fetches. Must not depend on:
requests, connections, how long a client waits.

The high watermark is kept apart from the end of the log: records below it are committed. A leader that is the only
in-sync replica moves it as soon as a batch is written, or, when the topic's flush settings ask for it, once the batch
is on the disk. Every caller that appends and needs committed records does the same two steps::

    appended = partition.append(batch, header, acks=acks)       # or append_own
    await partition.committed(appended.next_offset)             # returns at once in the usual case

docs/decisions/committed.md has the reasons.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from kwire.broker.clock import Clock
from kwire.broker.partitions.validate import LargeBatch, ValidationSettings, validate
from kwire.broker.partitions.watches import Watch
from kwire.errors import Code, KafkaError
from kwire.storage.config import FOREVER
from kwire.storage.log import Appended, Log, LogConfig
from kwire.types import TopicPartition, Uuid
from kwire.wire.batch import BatchHeader, check_batch, read_batch_header

ACKS_ALL: Final = -1
READ_UNCOMMITTED: Final = 0
READ_COMMITTED: Final = 1


class Role(Enum):
    """What this broker's replica of a partition is: the leader takes appends, a follower copies the leader's log."""

    LEADER = "leader"
    FOLLOWER = "follower"


@dataclass(frozen=True, slots=True)
class TopicSettings:
    """What a topic's configs mean to its partitions; replaced as a whole when a config changes."""

    log: LogConfig
    validation: ValidationSettings
    min_insync_replicas: int


class Partition:
    """This broker's replica of one partition. Every method but ``committed`` is atomic.

    ``flush`` brings all that is in the partition's log to the disk, shared with the others that wait for the same log.
    """

    __slots__ = (
        "_clock",
        "_flush",
        "_log",
        "_open_log",
        "_uncommitted_bytes",
        "_watches",
        "commits_on_append",
        "deleted",
        "flushed_ms",
        "index",
        "isr",
        "leader_epoch",
        "leader_id",
        "log_dir",
        "replicas",
        "role",
        "settings",
        "topic",
        "topic_id",
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
    ) -> None:
        self.topic = topic
        self.index = index
        self.topic_id = topic_id
        self.role = role
        self.leader_id = leader_id
        self.leader_epoch = leader_epoch
        self.replicas = replicas
        self.isr = isr
        self.log_dir = log_dir
        self.settings = settings
        # No flush setting: an append is committed when it returns.
        self.commits_on_append = settings.log.flush_messages == FOREVER
        self.deleted = False
        self.flushed_ms = clock.monotonic_ms()
        self._open_log = open_log
        self._flush = flush
        self._clock = clock
        self._log: Log | None = None
        # Bytes of the batches above the high watermark, which a flush commits.
        self._uncommitted_bytes = 0
        self._watches: dict[Watch, Hashable] = {}

    def __str__(self) -> str:
        return f"{self.topic}-{self.index}"

    @property
    def topic_partition(self) -> TopicPartition:
        return TopicPartition(self.topic, self.index)

    # --- the log
    # -----------------------------------------------------------------------------------------------------

    @property
    def log(self) -> Log:
        """The log, opened (and recovered, after an unclean stop) at first use. Raises StorageFailure."""
        log = self._log
        if log is None:
            log = self._log = self._open_log(self)
        return log

    @property
    def opened(self) -> Log | None:
        """The log if it was opened, otherwise None."""
        return self._log

    @property
    def high_watermark(self) -> int:
        return self.log.high_watermark

    def configure(self, settings: TopicSettings) -> None:
        """Take over changed topic configs; they hold from the next append on."""
        self.settings = settings
        self.commits_on_append = settings.log.flush_messages == FOREVER
        if self._log is not None:
            self._log.config = settings.log

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
        now_ms = self._clock.now_ms()
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
        view, now_ms = memoryview(batch), self._clock.now_ms()
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
        if self.role is not Role.LEADER:
            raise KafkaError(Code.NOT_LEADER_OR_FOLLOWER)
        appended = self.log.append(
            batch,
            (header,),
            leader_epoch=self.leader_epoch,
            now_ms=now_ms,
            check_sequence=check_sequence,
            transaction_version=transaction_version,
        )
        if not appended.duplicate:
            if self.commits_on_append or not self._is_flush_due():
                self._advance(len(batch))
            else:
                self._uncommitted_bytes += len(batch)
        return appended

    def _is_flush_due(self) -> bool:
        """Whether as much was appended since the last flush as ``flush.messages`` allows."""
        log = self.log
        return log.end_offset - log.recovery_point >= self.settings.log.flush_messages

    # --- committing
    # --------------------------------------------------------------------------------------------------

    def is_committed(self, offset: int) -> bool:
        """Whether all records below ``offset`` are committed; the question before ``committed`` in hot paths."""
        return self.log.high_watermark >= offset

    async def committed(self, offset: int) -> None:
        """Return once all records below ``offset`` are committed, without a task switch if they are already.

        ``offset`` is ``Appended.next_offset`` of an append, a duplicate's too. Committed means: below the high
        watermark, so on the disk where the topic's flush settings ask for that. A wait may be cancelled at any time;
        the records then are committed or not, as if the caller had not waited. Returns also if the topic is deleted
        meanwhile.

        Raises StorageFailure if the disk refuses (the records may be gone after a restart and the log takes no more),
        KafkaError(NOT_LEADER_OR_FOLLOWER) if the partition gets another leader before the records are committed.
        """
        while not self.deleted and self.log.high_watermark < offset:
            if self.role is not Role.LEADER:
                raise KafkaError(Code.NOT_LEADER_OR_FOLLOWER)
            await self._flush(self)

    def commit_all(self) -> None:
        """Move the high watermark to the end of the log, all of which is on the disk. Only a leader does so."""
        byte_count, self._uncommitted_bytes = self._uncommitted_bytes, 0
        if self.log.high_watermark < self.log.end_offset:
            self._advance(byte_count)

    def _advance(self, byte_count: int) -> None:
        """Move the high watermark to the end of the log and mark the partition as dirty for its watches.

        ``byte_count`` is the size of the batches that this commits.
        """
        log = self.log
        if not self._watches:
            log.advance_high_watermark(log.end_offset)
            return
        stable_before, watermark_before = log.last_stable_offset, log.high_watermark
        log.advance_high_watermark(log.end_offset)
        stable = log.last_stable_offset
        all_stable = stable_before == watermark_before and stable == log.high_watermark
        for watch, key in list(self._watches.items()):
            if all_stable or not watch.committed_only:
                watch.note(key, byte_count)
            elif stable != stable_before:
                watch.wake(key)
            else:
                # Nothing more to read, but the next answer of the session has a new high watermark.
                watch.mark(key)

    def change_role(self, role: Role, *, leader_id: int, leader_epoch: int) -> None:
        """Follow the metadata: this replica leads, or follows ``leader_id``, since ``leader_epoch`` began."""
        self.role = role
        self.leader_id = leader_id
        self.leader_epoch = leader_epoch
        if self._log is not None and role is Role.LEADER:
            self._log.begin_epoch(leader_epoch)
        self.note_change()

    # --- reading
    # -----------------------------------------------------------------------------------------------------

    def check_leader_epoch(self, current_leader_epoch: int) -> None:
        """Refuse a client whose metadata is older or newer than ours (KIP-320); -1: the client does not know it."""
        if current_leader_epoch in (-1, self.leader_epoch):
            return
        if current_leader_epoch < self.leader_epoch:
            raise KafkaError(Code.FENCED_LEADER_EPOCH)
        raise KafkaError(Code.UNKNOWN_LEADER_EPOCH)

    def delete_records_before(self, offset: int) -> int:
        """Move the log start offset (DeleteRecords); -1 means the high watermark. Returns the new low watermark."""
        log = self.log
        wanted = log.high_watermark if offset == -1 else offset
        if not 0 <= wanted <= log.high_watermark:
            raise KafkaError(Code.OFFSET_OUT_OF_RANGE)
        log.delete_records_before(wanted)
        self.note_change()
        return log.log_start_offset

    # --- watches
    # -------------------------------------------------------------------------------------------------

    def watch(self, watch: Watch, key: Hashable) -> None:
        self._watches[watch] = key

    def unwatch(self, watch: Watch) -> None:
        self._watches.pop(watch, None)

    def note_change(self) -> None:
        """Wake all watches: the log start, the leader or the partition itself changed."""
        for watch, key in list(self._watches.items()):
            watch.wake(key)

    # --- the end
    # -----------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Close the log; a later use would open it again."""
        if self._log is not None:
            self._log.close()
            self._log = None

    def mark_deleted(self) -> None:
        """The topic was deleted: end every wait and refuse appends.

        A topic of the same name may get the same directory: an append would write to its files.
        """
        self.deleted = True
        self.role = Role.FOLLOWER
        self.note_change()
        self._watches.clear()
