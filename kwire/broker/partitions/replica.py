"""The log of one replica and how far its records are committed.

Responsible for: opening the log at first use, moving the high watermark, and waking the fetches and the tasks that wait
for it. Must not depend on: the role, which decides where the high watermark moves (``partition``), requests,
connections.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from typing import Final

from kwire.broker.partitions.offset_waits import OffsetWaits
from kwire.broker.partitions.watches import Watch
from kwire.errors import Code, KafkaError
from kwire.storage.log import Log
from kwire.types import TopicPartition, Uuid

# Batches above the high watermark whose sizes are kept apart; those behind are counted together.
_UNCOMMITTED_BATCHES_MAX: Final = 1024


class Replica:
    """The part of a ``Partition`` that needs no role. Every method is atomic."""

    __slots__ = (
        "_commit_waits",
        "_end_watches",
        "_log",
        "_uncommitted",
        "_uncommitted_bytes",
        "_watches",
        "commits_on_append",
        "index",
        "low_watermark_waits",
        "topic",
        "topic_id",
        "truncations",
    )

    def __init__(self, topic: str, index: int, topic_id: Uuid) -> None:
        self.topic = topic
        self.index = index
        self.topic_id = topic_id
        # True: an append is committed when it returns.
        self.commits_on_append = False
        self._log: Log | None = None
        # Bytes of the batches above the high watermark, which a flush commits.
        self._uncommitted_bytes = 0
        # With other replicas: the offset behind each batch above the high watermark, and its bytes.
        self._uncommitted: deque[tuple[int, int]] = deque()
        self._watches: dict[Watch, Hashable] = {}
        # Watches of readers up to the log end, where uncommitted records are read too.
        self._end_watches: dict[Watch, Hashable] = {}
        self._commit_waits = OffsetWaits()
        # How often the log was truncated since the start because it differed from the leader's.
        self.truncations = 0
        self.low_watermark_waits = OffsetWaits()

    def __str__(self) -> str:
        return f"{self.topic}-{self.index}"

    @property
    def topic_partition(self) -> TopicPartition:
        return TopicPartition(self.topic, self.index)

    @property
    def log(self) -> Log:
        """The log, opened (and recovered, after an unclean stop) at first use. Raises StorageFailure."""
        log = self._log
        if log is None:
            log = self._log = self.open_log()
        return log

    @property
    def opened(self) -> Log | None:
        """The log if it was opened, otherwise None."""
        return self._log

    @property
    def high_watermark(self) -> int:
        return self.log.high_watermark

    def open_log(self) -> Log:
        """Open the log with its checkpointed offsets. Raises StorageFailure."""
        raise NotImplementedError

    def close(self) -> None:
        """Close the log; a later use would open it again."""
        if self._log is not None:
            self._log.close()
            self._log = None

    def delete_records_before(self, offset: int) -> int:
        """Move the log start offset (DeleteRecords); -1 means the high watermark. Returns the new log start offset.

        Raises KafkaError(OFFSET_OUT_OF_RANGE).
        """
        log = self.log
        wanted = log.high_watermark if offset == -1 else offset
        if not 0 <= wanted <= log.high_watermark:
            raise KafkaError(Code.OFFSET_OUT_OF_RANGE)
        log.delete_records_before(wanted)
        self.note_change()
        return log.log_start_offset

    # --- the high watermark
    # ------------------------------------------------------------------------------------------

    def note_copied(self, byte_count: int) -> None:
        """Follower: a batch of the leader was appended."""
        self._note_end(self.log, byte_count)

    def note_truncated(self) -> None:
        """Follower: the log was cut where it differed from the leader's."""
        self.truncations += 1
        self._uncommitted.clear()
        self.note_change()

    def follow_high_watermark(self, offset: int) -> None:
        """Follower: move the high watermark up to the leader's, or to the end of the log if that is lower."""
        self._commit_up_to(min(offset, self.log.end_offset))

    def _commit_up_to(self, offset: int) -> None:
        log = self.log
        if offset <= log.high_watermark:
            return
        byte_count = 0
        uncommitted = self._uncommitted
        while uncommitted and uncommitted[0][0] <= offset:
            byte_count += uncommitted.popleft()[1]
        self._advance(log, offset, byte_count)
        for watch, key in list(self._end_watches.items()):
            watch.mark(key)
        if self._commit_waits:
            self._commit_waits.wake(offset)

    def _advance(self, log: Log, offset: int, byte_count: int) -> None:
        """Move the high watermark to ``offset`` and mark the partition as dirty for its watches.

        ``byte_count`` is the size of the batches that this commits.
        """
        if not self._watches:
            log.advance_high_watermark(offset)
            return
        stable_before, watermark_before = log.last_stable_offset, log.high_watermark
        log.advance_high_watermark(offset)
        stable = log.last_stable_offset
        all_stable = stable_before == watermark_before and stable == log.high_watermark
        for watch, key in list(self._watches.items()):
            if all_stable or not watch.committed_only:
                watch.note(key, byte_count)
            elif stable != stable_before:
                watch.wake(key)
            else:
                # There are no new records, but the next answer of the session has a new high watermark.
                watch.mark(key)

    def _note_end(self, log: Log, byte_count: int) -> None:
        """Note a batch above the high watermark, and wake the readers up to the log end."""
        if len(self._uncommitted) < _UNCOMMITTED_BATCHES_MAX:
            self._uncommitted.append((log.end_offset, byte_count))
        else:
            self._uncommitted[-1] = (log.end_offset, self._uncommitted[-1][1] + byte_count)
        self._wake_end_watches(byte_count)

    def _wake_end_watches(self, byte_count: int) -> None:
        for watch, key in list(self._end_watches.items()):
            watch.note(key, byte_count)

    # --- watches
    # -------------------------------------------------------------------------------------------------

    def watch(self, watch: Watch, key: Hashable) -> None:
        if watch.log_end and not self.commits_on_append:
            self._end_watches[watch] = key
        else:
            self._watches[watch] = key

    def unwatch(self, watch: Watch) -> None:
        """Remove a watch; one that is not there is no error."""
        self._watches.pop(watch, None)
        self._end_watches.pop(watch, None)

    def note_change(self) -> None:
        """Wake all watches: the log start, the leader or the partition itself changed."""
        for watch, key in [*self._watches.items(), *self._end_watches.items()]:
            watch.wake(key)
