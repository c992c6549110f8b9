"""Compaction in the background: which log is cleaned next, how fast, and the numbers of the rounds.

Responsible for: choosing the dirtiest log, driving its round slice by slice, the throttle,
``cleaner-offset-checkpoint``, and the logs that cannot be cleaned. Must not depend on: which records stay
(``kwire.storage.compaction.compaction``).

A round runs on the event loop in slices of a few milliseconds. After each the loop is free for at least as long as the
slice took, so cleaning takes at most half of a processor and delays requests by at most one slice; syncing, and the
codecs' work on large batches, goes to a thread. A round that is interrupted leaves no trace, and the next one begins
where the last finished one ended.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import trio

from kwire.broker.background.file_remover import FileRemover
from kwire.broker.clock import Clock
from kwire.broker.containment import must_stop_broker
from kwire.broker.directories.log_dirs import LogDir, LogDirs
from kwire.broker.logs import Logger
from kwire.broker.partitions.partition import Partition
from kwire.broker.partitions.partitions import Partitions
from kwire.broker.storage_failures import StorageFailures
from kwire.errors import KafkaError, StorageFailure
from kwire.metadata.configs.effective import EffectiveConfigs
from kwire.storage.compaction.compaction import Cleanable, Compaction, Slice, cleanable_part
from kwire.storage.segments.segment import LOG_SUFFIX

log = Logger("kwire.cleaner")

# Logs that are checked between two checkpoints of the event loop.
_LOGS_PER_SLICE: Final = 20
_PROGRESS_MS: Final = 10_000


class Cleaner:
    """Runs compaction in one broker.

    ``rounds`` are those in progress, whose numbers change as they go; ``uncleanable`` has the reason for each log that
    is not cleaned; ``rounds_done``, ``bytes_read`` and ``bytes_written`` count since the start; ``dirtiest_ratio`` is
    the largest dirty ratio of the last search.
    """

    def __init__(
        self,
        *,
        partitions: Partitions,
        dirs: LogDirs,
        clock: Clock,
        configs: EffectiveConfigs,
        file_remover: FileRemover,
        storage_failures: StorageFailures,
    ) -> None:
        self.rounds: dict[Partition, Compaction] = {}
        self.uncleanable: dict[Partition, str] = {}
        self.rounds_done = 0
        self.bytes_read = 0
        self.bytes_written = 0
        self.dirtiest_ratio = 0.0
        self._partitions = partitions
        self._dirs = dirs
        self._clock = clock
        self._configs = configs
        self._file_remover = file_remover
        self._storage_failures = storage_failures
        self._round_ended = trio.Event()
        # Not opened since the start and with one segment: nothing to clean before the next append.
        self._single: set[Partition] = set()

    async def run(self) -> None:
        """Clean whatever is dirty enough, until cancelled."""
        async with trio.open_nursery() as nursery:
            while True:
                await self._wait_for_a_place()
                found = await self.dirtiest()
                if found is None:
                    await self._sleep_backoff()
                    continue
                partition, cleanable = found
                self._begin(partition, cleanable)
                nursery.start_soon(self._do_round, partition)

    async def dirtiest(self) -> tuple[Partition, Cleanable] | None:
        """Find the log to clean next, if any is dirty or old enough."""
        best: tuple[Partition, Cleanable] | None = None
        dirtiest_ratio = 0.0
        self._forget_closed_logs()
        for count, partition in enumerate(list(self._candidates())):
            if count % _LOGS_PER_SLICE == 0:
                await trio.lowlevel.checkpoint()
            try:
                cleanable = self._cleanable_part(partition)
            except StorageFailure as failure:
                self._storage_failures.report(failure)
                continue
            if cleanable is None:
                continue
            dirtiest_ratio = max(dirtiest_ratio, cleanable.ratio)
            is_due = cleanable.is_due(partition.settings.log.min_cleanable_dirty_ratio)
            if is_due and (best is None or cleanable.ratio > best[1].ratio):
                best = partition, cleanable
        self.dirtiest_ratio = dirtiest_ratio
        return best

    async def clean(self, partition: Partition) -> Compaction | None:
        """Clean one log now, however little of it is dirty. None if there is nothing or a round is in progress."""
        cleanable = None if partition in self.rounds else self._cleanable_part(partition)
        if cleanable is None or not cleanable.cleanable_bytes:
            return None
        compaction = self._begin(partition, cleanable)
        await self._do_round(partition)
        return compaction

    # --- choosing

    def _candidates(self) -> Iterator[Partition]:
        for partition in self._partitions:
            if (
                partition.settings.log.compact
                and partition not in self.rounds
                and partition not in self.uncleanable
                and self._partitions.has_directory(partition)
            ):
                yield partition

    def _cleanable_part(self, partition: Partition) -> Cleanable | None:
        if partition.deleted or (partition.opened is None and self._has_one_segment(partition)):
            return None
        opened = partition.log
        if len(opened.segments) == 1:
            return None
        cleaned_offset = self._log_dir(partition).cleaned_offsets.get(partition.topic_partition)
        return cleanable_part(opened, cleaned_offset, self._clock.now_ms())

    def _has_one_segment(self, partition: Partition) -> bool:
        """Decided from the file names, so that unused logs stay closed."""
        if partition not in self._single:
            one = self._log_dir(partition)
            names = one.files.sizes(one.partition_path(partition.topic_partition))
            if sum(name.endswith(LOG_SUFFIX) for name in names) > 1:
                return False
            self._single.add(partition)
        return True

    def _log_dir(self, partition: Partition) -> LogDir:
        one = self._dirs.by_path(partition.log_dir)
        assert one is not None
        return one

    def _forget_closed_logs(self) -> None:
        self.uncleanable = {partition: why for partition, why in self.uncleanable.items() if not partition.deleted}
        self._single = {one for one in self._single if one.opened is None and not one.deleted}

    # --- one round

    def _begin(self, partition: Partition, cleanable: Cleanable) -> Compaction:
        threads = max(1, self._threads)
        buffer_bytes = self._configs.broker["log.cleaner.dedupe.buffer.size"]
        load_factor = self._configs.broker["log.cleaner.io.buffer.load.factor"]
        # One half of the buffer is for reading, as in Kafka.
        slice_bytes = self._configs.broker["log.cleaner.io.buffer.size"] // threads // 2
        compaction = self.rounds[partition] = Compaction(
            partition.log,
            cleanable,
            now_ms=self._clock.now_ms(),
            map_bytes_max=int(buffer_bytes * load_factor) // threads,
            slice_bytes=slice_bytes,
        )
        log.info(
            "log cleaning started",
            partition=str(partition),
            first_dirty_offset=cleanable.first_dirty_offset,
            end_offset=cleanable.end_offset,
            dirty_ratio=round(cleanable.ratio, 3),
            bytes=compaction.bytes_to_read,
        )
        return compaction

    async def _do_round(self, partition: Partition) -> None:
        compaction = self.rounds[partition]
        began_ms = self._clock.monotonic_ms()
        try:
            await self._drive(partition, compaction)
            if compaction.cleaned_offset is not None:
                self._finish(partition, compaction, self._clock.monotonic_ms() - began_ms)
            elif not partition.deleted:
                # Interrupted; the reason may still hold.
                await self._sleep_backoff()
        except StorageFailure as failure:
            # An unfinished round leaves no trace and is tried again.
            self._storage_failures.report(failure)
            await self._sleep_backoff()
        except KafkaError as error:
            self.uncleanable[partition] = str(error)
            log.warning("log cannot be cleaned", partition=str(partition), reason=str(error))
        except Exception as error:
            if must_stop_broker(error):
                raise
            self.uncleanable[partition] = repr(error)
            log.failure("log cleaning failed: the log is not cleaned again", error, partition=str(partition))
        finally:
            del self.rounds[partition]
            self._round_ended.set()

    async def _drive(self, partition: Partition, compaction: Compaction) -> None:
        clock = self._clock
        next_word_ms = clock.monotonic_ms() + _PROGRESS_MS
        slices = compaction.slices()
        try:
            before_ms = clock.monotonic_ms()
            for piece in slices:
                took_ms = clock.monotonic_ms() - before_ms
                await self._do_blocking_work(piece)
                await clock.sleep(max(took_ms, self._throttle_ms(piece.moved_bytes)))
                if partition.deleted or not partition.settings.log.compact or partition.opened is not compaction.log:
                    return
                before_ms = clock.monotonic_ms()
                if before_ms >= next_word_ms:
                    next_word_ms = before_ms + _PROGRESS_MS
                    self._log_progress(partition, compaction)
        finally:
            slices.close()

    async def _do_blocking_work(self, piece: Slice) -> None:
        """Do the work that a slice leaves to the driver."""
        for deletion in piece.deletions:
            self._file_remover.remove_when_due(deletion)
        if piece.blocking is not None:
            await trio.to_thread.run_sync(piece.blocking)

    def _finish(self, partition: Partition, compaction: Compaction, took_ms: float) -> None:
        assert compaction.cleaned_offset is not None
        self.rounds_done += 1
        self.bytes_read += compaction.bytes_read
        self.bytes_written += compaction.bytes_written
        self._log_dir(partition).note_cleaned(partition.topic_partition, compaction.cleaned_offset)
        log.info(
            "log cleaning finished",
            partition=str(partition),
            cleaned_offset=compaction.cleaned_offset,
            seconds=round(took_ms / 1000, 1),
            bytes_read=compaction.bytes_read,
            bytes_written=compaction.bytes_written,
            records_read=compaction.records_read,
            records_kept=compaction.records_kept,
            **({"keyless_records": compaction.keyless_records} if compaction.keyless_records else {}),
        )

    def _log_progress(self, partition: Partition, compaction: Compaction) -> None:
        log.info(
            "log cleaning in progress",
            partition=str(partition),
            percent=100 * compaction.bytes_read // max(1, compaction.bytes_to_read),
            bytes_read=compaction.bytes_read,
            bytes_written=compaction.bytes_written,
        )

    # --- pace

    @property
    def _threads(self) -> int:
        """How many rounds may be in progress at once; all of them share the one loop."""
        return self._configs.broker["log.cleaner.threads"]

    def _throttle_ms(self, moved_bytes: int) -> float:
        bytes_per_second = self._configs.broker["log.cleaner.io.max.bytes.per.second"]
        return round(moved_bytes / bytes_per_second * 1000, 3)

    async def _wait_for_a_place(self) -> None:
        while len(self.rounds) >= self._threads:
            if not self._threads:
                await self._sleep_backoff()
                continue
            self._round_ended = trio.Event()
            await self._round_ended.wait()

    async def _sleep_backoff(self) -> None:
        # With a backoff of 0 all logs would otherwise be checked continually.
        await self._clock.sleep(max(1, self._configs.broker["log.cleaner.backoff.ms"]))
