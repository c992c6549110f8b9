"""The log of one partition: ordered segments, and what must be known to append to them.

Responsible for: every change of a log: appending (check, then write, then change memory), rolling, truncation, deletion
of records, flushes. Must not depend on: topics' metadata, requests, clocks (``now_ms`` is a parameter), waiting.

Reading is in ``log_reading``, how a log is opened after a stop of any kind in ``recovery``, what is deleted when in
``retention``.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Final

from kwire.errors import Code, KafkaError, StorageFailure
from kwire.storage import retention
from kwire.storage.config import FOREVER, LogConfig
from kwire.storage.directory import SMALL_FILES, LogDirectory
from kwire.storage.files import Files
from kwire.storage.flush import PendingFlush
from kwire.storage.log_reading import ReadableLog
from kwire.storage.producer_state import Change
from kwire.storage.recovery import recovery
from kwire.storage.segments.lookup import TimestampOffset
from kwire.storage.segments.segment import AppendedBatch, PendingDeletion, Segment
from kwire.storage.stamping import Appended, as_appended, stamp_batches, take_stamped_batches
from kwire.types import Uuid
from kwire.wire.batches.batch import OVERHEAD_BYTES, BatchHeader

__all__ = ["Appended", "Log", "LogConfig", "PendingDeletion", "PendingFlush", "TimestampOffset"]

# A snapshot of the producers is taken after this many batches, so that a start after a kill reads little of the log;
# with more producers, after as many batches as there are producers, so that its cost per append stays constant.
SNAPSHOT_INTERVAL_BATCHES: Final = 512


class Log(ReadableLog):
    """The log of one partition. There is always an active segment, the last one, though it may have no file yet."""

    def __init__(
        self, files: Files, path: str, config: LogConfig, recovered: recovery.Recovered, *, topic_id: Uuid | None
    ) -> None:
        super().__init__(files, path, config, recovered)
        self.recovery_point = recovered.recovery_point
        self.size_bytes = sum(segment.size_bytes for segment in self.segments)
        self.snapshots = recovered.snapshots
        # Records that recovery removed or found missing; empty for a sound log.
        self.losses = recovered.losses
        # A follower copies what is in doubt again; the leader's log is what there is.
        self.doubtful_from: int | None = (
            recovered.doubtful_from if recovered.doubtful_from < recovered.end_offset else None
        )
        # The error of the last append, None if it succeeded. Every append tries again.
        self.failure: StorageFailure | None = None
        self._directory = LogDirectory(files, path, exists=recovered.exists, topic_id=topic_id)
        self._directory.names_changed = int(
            recovered.recovery_point < recovered.end_offset or bool(self.snapshots.unsynced)
        )
        if self.epochs.rebuilt:
            # On a full disk the next append writes it, or the next start rebuilds it again.
            with contextlib.suppress(StorageFailure):
                self._directory.write_epochs(self.epochs)
        self._flush: PendingFlush | None = None
        self._batches_since_snapshot = 0

    @classmethod
    def open(
        cls,
        files: Files,
        path: str,
        config: LogConfig,
        *,
        now_ms: int,
        recovery_point: int = 0,
        log_start_offset: int = 0,
        clean: bool = False,
        same_boot: bool = False,
        topic_id: Uuid | None = None,
        on_progress: Callable[[int, int], None] | None = None,
        keep_cut_bytes: bool = False,
    ) -> Log:
        """Open the log in directory ``path``, which need not exist, and recover it after an unclean stop.

        ``clean``: the log was closed cleanly. ``same_boot``: the machine has not restarted since, so the page cache
        has lost nothing. ``on_progress`` is called with bytes checked and bytes to check. ``keep_cut_bytes``: bytes
        that recovery removes are kept beside the log. Raises StorageFailure.
        """
        recovered = recovery.recover(
            files,
            path,
            config,
            now_ms=now_ms,
            recovery_point=recovery_point,
            log_start_offset=log_start_offset,
            stop=recovery.Stop.of(clean=clean, same_boot=same_boot),
            on_progress=on_progress,
            keep_cut_bytes=keep_cut_bytes,
        )
        return cls(files, path, config, recovered, topic_id=topic_id)

    # --- appending

    def append(
        self,
        batches: memoryview,
        headers: Sequence[BatchHeader],
        *,
        leader_epoch: int,
        now_ms: int,
        assign_offsets: bool = True,
        check_sequence: bool = True,
        transaction_version: int = 0,
    ) -> Appended:
        """Append the batches that ``headers`` describe; all of them, or none and an error.

        ``assign_offsets=False`` takes batches as a leader stamped them. ``check_sequence=False`` is for coordinators,
        whose batches carry no sequences. ``transaction_version`` is that of a transaction marker.

        Raises KafkaError: RECORD_LIST_TOO_LARGE, OUT_OF_ORDER_SEQUENCE_NUMBER, INVALID_PRODUCER_EPOCH,
        INVALID_TXN_STATE, TRANSACTION_COORDINATOR_FENCED; or StorageFailure.
        """
        size_bytes = 0
        for header in headers:
            size_bytes += header.length + OVERHEAD_BYTES
        if self._flush is not None:
            self._check_synced()
        if size_bytes > self.config.segment_bytes:
            raise self._too_large(size_bytes)
        has_producers = headers[0].producer_id >= 0 or len(headers) > 1
        if has_producers and check_sequence:
            duplicate = self.producers.find_duplicate(headers)
            if duplicate is not None:
                return Appended(
                    duplicate.base_offset,
                    duplicate.last_offset,
                    duplicate.timestamp_ms,
                    self.log_start_offset,
                    duplicate=True,
                )
        append_time_ms = now_ms if self.config.log_append_time and assign_offsets else -1
        if assign_offsets:
            parts, rows = stamp_batches(
                batches, headers, self.end_offset, leader_epoch=leader_epoch, append_time_ms=append_time_ms
            )
        else:
            parts, rows = take_stamped_batches(batches[:size_bytes], headers, self.end_offset)
        changes = (
            self.producers.check_all(
                batches,
                headers,
                rows,
                now_ms=now_ms,
                check_sequence=check_sequence,
                fenced=assign_offsets,
                transaction_version=transaction_version,
            )
            if has_producers
            else ()
        )
        try:
            segment = self._segment_for(size_bytes, rows, now_ms)
            self._note_epochs(headers, rows, leader_epoch if assign_offsets else None)
            segment.append(parts, size_bytes, rows, self.config.index_interval_bytes)
        except StorageFailure as failure:
            self.failure = failure
            raise
        self.failure = None
        self.end_offset = rows[-1].last_offset + 1
        self.size_bytes += size_bytes
        for change in changes:
            self._apply(change, segment)
        self._batches_since_snapshot += len(rows)
        if self._batches_since_snapshot >= SNAPSHOT_INTERVAL_BATCHES and (
            self._batches_since_snapshot >= len(self.producers)
        ):
            with contextlib.suppress(StorageFailure):
                self.checkpoint()
        return as_appended((rows[0].base_offset, self.end_offset - 1, append_time_ms, self.log_start_offset, False))

    def advance_high_watermark(self, offset: int) -> None:
        """Move the high watermark up to ``offset``, never down and never beyond the end."""
        if offset > self.high_watermark:
            self.high_watermark = min(offset, self.end_offset)
            if self.producers.undecided:
                self.producers.high_watermark_moved(self.high_watermark)

    def lower_high_watermark(self, offset: int) -> None:
        """Set the high watermark of a log that was just opened: what other replicas are known to have is below it."""
        self.high_watermark = min(max(offset, self.log_start_offset), self.end_offset)

    def roll(self, now_ms: int) -> None:
        """Seal the active segment and begin another, unless it is empty. Raises StorageFailure with nothing changed."""
        self._roll(self.end_offset, now_ms)

    def begin_epoch(self, leader_epoch: int) -> None:
        """Note that ``leader_epoch`` begins at the log end, before its first append.

        The next append or truncation writes it to the checkpoint; until then each start takes it from the metadata.
        """
        self.doubtful_from = None
        self.epochs.assign(leader_epoch, self.end_offset)

    # --- cutting

    def truncate_to(self, offset: int, *, now_ms: int) -> None:
        """Remove the batches that hold ``offset`` or anything behind it (a follower that disagrees with its leader)."""
        if offset >= self.end_offset:
            # An epoch that begins at the log end has no records: this broker led and appended nothing in it.
            self.epochs.truncate_to(offset)
            if self.epochs.changed:
                self._directory.write_epochs(self.epochs)
            return
        if offset < self.segments[0].base_offset:
            self.truncate_fully_and_start_at(offset)
            return
        while self.active.base_offset > offset:
            self.segments.pop().remove()
        found = self.active.find(offset)
        if found is not None:
            self.active.truncate_to_position(found.position, offset)
        # The leader of an unclean election may lack records behind which this log began.
        self.log_start_offset = min(self.log_start_offset, offset)
        self._cut(offset)
        recovery.replay(
            self.segments,
            self.producers,
            self.epochs,
            self.snapshots,
            end_offset=offset,
            now_ms=now_ms,
        )

    def truncate_fully_and_start_at(self, offset: int) -> None:
        """Remove everything; the next append gets ``offset``."""
        while self.segments:
            self.segments.pop().remove()
        self.segments.append(self._new_segment(offset, 0))
        self.log_start_offset = offset
        self.epochs.clear()
        self._cut(offset)
        self.high_watermark = offset
        self.snapshots.remove_before(FOREVER)
        self.producers.clear()

    def delete_records_before(self, offset: int) -> None:
        """Move the log start offset up; files go at the next retention. Raises KafkaError(OFFSET_OUT_OF_RANGE)."""
        if offset > self.high_watermark:
            raise KafkaError(Code.OFFSET_OUT_OF_RANGE, f"{offset} is above the high watermark {self.high_watermark}")
        self._move_start(max(self.log_start_offset, offset))

    def apply_retention(self, now_ms: int) -> list[PendingDeletion]:
        """Delete segments by retention time, retention size and log start offset.

        Their files are renamed at once; the caller removes each path when it is due. At most
        ``retention.SEGMENTS_DELETED_AT_ONCE`` are deleted: call again until there are none. Raises StorageFailure if
        no segment can be deleted.
        """
        deletions: list[PendingDeletion] = []
        try:
            for reason in retention.segments_to_delete(self, now_ms)[: retention.SEGMENTS_DELETED_AT_ONCE]:
                if len(self.segments) == 1:
                    self.roll(now_ms)
                if len(self.segments) == 2 and not self.active.size_bytes:
                    # Its name keeps the end offset: after a kill a log without files would begin at the start offset
                    # of the last checkpoint, and give offsets that were given before.
                    self.active.create_file()
                # Renamed before it leaves the list: if the disk refuses, the segment is still there.
                due_ms = now_ms + self.config.file_delete_delay_ms
                deletions += self.segments[0].rename_to_deleted(due_ms, reason)
                self.size_bytes -= self.segments.pop(0).size_bytes
                self._directory.names_changed += 1
        except StorageFailure:
            # On a full disk the last segment cannot be sealed. Deleting others makes room; the next call deletes it.
            if not deletions:
                raise
        if deletions:
            self._move_start(max(self.log_start_offset, self.segments[0].base_offset))
            self.snapshots.remove_before(self.segments[0].base_offset)
        return deletions

    def holds(self, segments: Sequence[Segment]) -> bool:
        """Whether ``segments`` are still consecutive segments of this log and none is the active one (compaction)."""
        own = self.segments
        if segments[0] not in own:
            return False
        index = own.index(segments[0])
        return index + len(segments) < len(own) and own[index : index + len(segments)] == list(segments)

    def replace_segments(self, replaced: Sequence[Segment], segment: Segment) -> None:
        """Replace ``replaced`` by ``segment``, whose files are renamed already (compaction)."""
        index = self.segments.index(replaced[0])
        self.segments[index : index + len(replaced)] = [segment]
        self.size_bytes += segment.size_bytes - sum(one.size_bytes for one in replaced)
        self._known_end = (-1, -1)
        self._directory.names_changed += 1
        for one in replaced[1:]:
            self.snapshots.remove(one.base_offset)

    def delete(self, new_path: str) -> None:
        """Delete the log: rename its directory, if there is one. Nothing is written: it must work on a full disk."""
        self._close_files()
        if self._directory.exists:
            self._directory.rename(new_path)

    # --- durability

    def begin_flush(self) -> PendingFlush:
        """Prepare a sync of everything that is not on the disk. ``PendingFlush.sync`` may run in a thread.

        Raises StorageFailure, also after a failed sync: what the disk holds is unknown then, and the log must be
        recovered.
        """
        self._check_synced()
        pending = PendingFlush(self.files, self.end_offset)
        try:
            for segment in self.segments:
                if segment.unsynced:
                    pending.add_segment(segment, sealed=segment is not self.active)
            if self._directory.names_changed and self._directory.exists:
                names = (*SMALL_FILES, *self.snapshots.unsynced)
                pending.add_directory(self.path, names, self._directory.names_changed)
        except StorageFailure:
            pending.close()
            raise
        self._flush = pending
        return pending

    def finish_flush(self, pending: PendingFlush) -> None:
        """Move the recovery point: recovery need not check what ``pending`` synced."""
        self._check_synced()
        pending.note_synced()
        if pending.names_changed == self._directory.names_changed:
            self._directory.names_changed = 0
            self.snapshots.unsynced.clear()
        self.recovery_point = max(self.recovery_point, min(pending.end_offset, self.end_offset))

    def flush(self) -> None:
        """Sync everything to the disk in this thread. Raises StorageFailure."""
        pending = self.begin_flush()
        pending.sync()
        self.finish_flush(pending)

    def checkpoint(self) -> None:
        """Write index entries and a producer snapshot, so that recovery reads less of the log."""
        self._batches_since_snapshot = 0
        if self._directory.exists and self.active.size_bytes:
            self.active.write_out()
            self._take_snapshot()

    def close(self) -> None:
        """Complete all files and close descriptors. Not synced: flush first.

        Raises StorageFailure, also if a sync has failed before: the log was not closed cleanly then.
        """
        try:
            if self._directory.exists:
                # An empty one too: it may have been preallocated.
                self.active.seal()
                self._take_snapshot()
        finally:
            self._close_files()
        self._check_synced()

    # --- helpers of append

    def _too_large(self, size_bytes: int) -> KafkaError:
        return KafkaError(
            Code.RECORD_LIST_TOO_LARGE,
            f"Message batch size is {size_bytes} bytes in append to {self.path}, which exceeds the maximum "
            f"configured segment size of {self.config.segment_bytes}.",
        )

    def _segment_for(self, size_bytes: int, rows: Sequence[AppendedBatch], now_ms: int) -> Segment:
        if not self._directory.exists:
            self._directory.make()
        first = rows[0]
        active = self.segments[-1]
        if active.is_full(self.config, size_bytes, rows[-1].last_offset, now_ms, first.max_timestamp):
            self._roll(max(self.end_offset, first.base_offset), now_ms)
            active = self.segments[-1]
        if active.file.size == 0:
            self._directory.names_changed += 1
            if self.config.preallocate:
                active.file.preallocate(self.config.segment_bytes)
        return active

    def _roll(self, base_offset: int, now_ms: int) -> None:
        if self.active.size_bytes == 0 and self.active.base_offset == base_offset:
            return
        if self.active.size_bytes:
            self.active.seal()
            self._take_snapshot()
            self.active.close()
        else:
            # It is empty and has another base offset.
            self.segments.pop().remove()
        self.segments.append(self._new_segment(base_offset, now_ms))

    def _note_epochs(
        self, headers: Sequence[BatchHeader], rows: Sequence[AppendedBatch], leader_epoch: int | None
    ) -> None:
        # Before the write, as in Apache Kafka: an epoch without a batch is harmless, a batch without epoch is not.
        if leader_epoch is not None:
            if leader_epoch > self.epochs.latest:
                self.epochs.assign(leader_epoch, rows[0].base_offset)
        else:
            for header in headers:
                self.epochs.assign(header.leader_epoch, header.base_offset)
        if self.epochs.changed:
            self._directory.write_epochs(self.epochs)

    def _apply(self, change: Change, segment: Segment) -> None:
        self.producers.apply(change)
        completed = change.completed
        if completed is not None and completed.aborted:
            self._any_aborted = True
            segment.aborted.append(self.producers.aborted(completed))
            self._directory.names_changed += 1

    # --- other helpers

    def _check_synced(self) -> None:
        if self._flush is not None and self._flush.failure is not None:
            raise StorageFailure(self.path, f"closed after a failed sync: {self._flush.failure}")

    def _move_start(self, offset: int) -> None:
        self.log_start_offset = offset
        self.epochs.truncate_before(offset)
        # Old epochs in the file are harmless, and the next change writes it: deletion must work on a full disk.
        with contextlib.suppress(StorageFailure):
            self._directory.write_epochs(self.epochs)

    def _cut(self, end_offset: int) -> None:
        self.end_offset = end_offset
        self.high_watermark = min(self.high_watermark, end_offset)
        self.recovery_point = min(self.recovery_point, end_offset)
        self.size_bytes = sum(segment.size_bytes for segment in self.segments)
        self._known_end = (-1, -1)
        self.epochs.truncate_to(end_offset)
        self._directory.write_epochs(self.epochs)

    def _new_segment(self, base_offset: int, now_ms: int) -> Segment:
        return Segment(self.files, self.path, base_offset, names={}, created_ms=now_ms)

    def _take_snapshot(self) -> None:
        self.snapshots.take(self.producers, self.end_offset, [segment.base_offset for segment in self.segments])
        self._directory.names_changed += 1

    def _close_files(self) -> None:
        for segment in self.segments:
            segment.close()
