"""Recovery at the start; retention, flushing and checkpoints in the background.

Responsible for: when each task runs for each partition, in slices short enough not to delay requests. Must not depend
on: how a log recovers, which segments retention deletes.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, Final

import trio

from kwire.broker.background.file_remover import FileRemover
from kwire.broker.clock import Clock
from kwire.broker.containment import run_contained
from kwire.broker.directories.log_dirs import LogDirs
from kwire.broker.logs import Logger
from kwire.broker.partitions.flusher import Flusher
from kwire.broker.partitions.partition import Partition
from kwire.broker.partitions.partitions import Partitions
from kwire.broker.storage_failures import StorageFailures
from kwire.broker.watchdog import Watchdog
from kwire.errors import StorageFailure
from kwire.metadata.configs.effective import EffectiveConfigs
from kwire.storage.retention import SEGMENTS_DELETED_AT_ONCE
from kwire.storage.segments.segment import DELETED_SUFFIX, LOG_SUFFIX
from kwire.types import TopicPartition

if TYPE_CHECKING:
    from kwire.broker.background.cleaner import Cleaner

log = Logger("kwire.broker")

_DELETED_LOG_SUFFIX: Final = LOG_SUFFIX + DELETED_SUFFIX
# Partitions handled between two checkpoints of the event loop.
_SLICE: Final = 20
_PROGRESS_MS: Final = 1000
# Without a flush setting the recovery point of an idle log would otherwise never move.
_BACKGROUND_FLUSH_MS: Final = 60_000
# A test may move the clock by a day while one log is flushed.
_REST_MS_MAX: Final = 100.0


class Housekeeping:
    """Recovery and background tasks for the logs of one broker. ``cleaner`` is None until compaction has begun."""

    def __init__(
        self,
        *,
        partitions: Partitions,
        dirs: LogDirs,
        clock: Clock,
        configs: EffectiveConfigs,
        flusher: Flusher,
        file_remover: FileRemover,
        storage_failures: StorageFailures,
        watchdog: Watchdog,
    ) -> None:
        self.cleaner: Cleaner | None = None
        self._partitions = partitions
        self._dirs = dirs
        self._clock = clock
        self._configs = configs
        self._flusher = flusher
        self._file_remover = file_remover
        self._storage_failures = storage_failures
        self._watchdog = watchdog

    async def recover(self) -> None:
        """After an unclean stop, open every log that has a directory, in threads, before anything is served."""
        unclean = self._partitions.unrecovered()
        if not unclean:
            return
        log.warning("unclean shutdown: recovering logs", partitions=len(unclean))
        limiter = trio.CapacityLimiter(max(2, os.cpu_count() or 1))
        done = 0
        next_word = self._clock.monotonic_ms() + _PROGRESS_MS

        async def check(partition: Partition) -> None:
            nonlocal done, next_word
            async with limiter:
                try:
                    await trio.to_thread.run_sync(partial(getattr, partition, "log"))
                except StorageFailure as failure:
                    self._storage_failures.report(failure)
            done += 1
            if self._clock.monotonic_ms() >= next_word:
                next_word += _PROGRESS_MS
                log.info("recovering logs", done=done, partitions=len(unclean))

        async with trio.open_nursery() as nursery:
            for partition in unclean:
                nursery.start_soon(check, partition)
        log.info("log recovery finished", partitions=len(unclean))

    def begin(self, nursery: trio.Nursery) -> None:
        """Run all background tasks in ``nursery``, each from the first time that it is due."""
        configs, clock, watch = self._configs, self._clock, self._watchdog.watch
        delete_files = partial(nursery.start_soon, watch, "file deletion", run_contained, clock.sleep)
        self._file_remover.task.begin(nursery, delete_files)
        for name, interval_ms, work in (
            ("retention", lambda: configs.broker["log.retention.check.interval.ms"], self._retain),
            ("checkpoints", self._checkpoint_interval_ms, self._flush_and_checkpoint),
            # Kafka's scheduler takes 0 for "once", at the start, when nothing is to be flushed.
            ("flush", lambda: configs.broker["log.flush.scheduler.interval.ms"], self._flush_when_old),
            (
                "producer expiration",
                lambda: configs.broker["producer.id.expiration.check.interval.ms"],
                self._expire_producers,
            ),
        ):
            _repeat(nursery, clock, interval_ms, work, watch=watch, name=name)
        if configs.broker["log.cleaner.enable"]:
            # Imported when it is due for the first time, so that a start is faster.
            clean = partial(nursery.start_soon, watch, "log cleaner", run_contained, clock.sleep, self._compact)
            clock.call_later(configs.broker["log.cleaner.backoff.ms"], clean)

    def _checkpoint_interval_ms(self) -> float:
        # 0 means "once, at the start" to Kafka's scheduler: then only kwire's own interval counts.
        configured = self._configs.broker["log.flush.offset.checkpoint.interval.ms"] or _BACKGROUND_FLUSH_MS
        return min(configured, _BACKGROUND_FLUSH_MS)

    async def _retain(self) -> None:
        async for partition in _in_slices(self._partitions):
            while self.apply_retention(partition):
                await trio.lowlevel.checkpoint()

    def apply_retention(self, partition: Partition) -> bool:
        """Delete segments by the partition's retention settings; files are removed after ``file.delete.delay.ms``.

        Returns whether there may be more to delete.
        """
        if partition.deleted or not self._partitions.has_directory(partition):
            return False
        try:
            before = partition.log.log_start_offset
            deletions = partition.log.apply_retention(self._clock.now_ms())
        except StorageFailure as failure:
            self._storage_failures.report(failure)
            return False
        for deletion in deletions:
            self._file_remover.remove_when_due(deletion)
        segments = sum(one.path.endswith(_DELETED_LOG_SUFFIX) for one in deletions)
        if deletions:
            log.info(
                "segments deleted",
                partition=str(partition),
                segments=segments,
                reason=", ".join(dict.fromkeys(one.reason for one in deletions)),
                log_start_offset=partition.log.log_start_offset,
            )
        if partition.log.log_start_offset != before:
            partition.note_change()
        return segments >= SEGMENTS_DELETED_AT_ONCE

    async def _compact(self) -> None:
        from kwire.broker.background.cleaner import Cleaner  # noqa: PLC0415

        self.cleaner = Cleaner(
            partitions=self._partitions,
            dirs=self._dirs,
            clock=self._clock,
            configs=self._configs,
            file_remover=self._file_remover,
            storage_failures=self._storage_failures,
        )
        await self.cleaner.run()

    async def _expire_producers(self) -> None:
        """Remove producers idle for ``producer.id.expiration.ms`` by this broker's clock."""
        expiration_ms = self._configs.broker["producer.id.expiration.ms"]
        async for partition in _in_slices(self._partitions):
            if partition.opened is not None:
                partition.opened.producers.expire(self._clock.now_ms(), expiration_ms)

    async def _flush_when_old(self) -> None:
        """``flush.ms``, checked every ``log.flush.scheduler.interval.ms`` as in Kafka, which by default is never."""
        now = self._clock.monotonic_ms()
        async with aclosing(_in_slices(self._partitions)) as slices:
            async for partition in slices:
                if now - partition.flushed_ms >= partition.settings.log.flush_ms:
                    await self._flush(partition)

    async def _flush_and_checkpoint(self) -> None:
        for partition in self._unflushed():
            started_ms = self._clock.monotonic_ms()
            await self._flush(partition)
            # Pause for as long as it took, so that flushing many logs does not delay requests.
            await self._clock.sleep(min(self._clock.monotonic_ms() - started_ms, _REST_MS_MAX))
        self.write_checkpoints()

    async def flush_and_checkpoint(self) -> None:
        """Flush every log, then write the checkpoints."""
        for partition in self._unflushed():
            await self._flush(partition)
        self.write_checkpoints()

    def _unflushed(self) -> list[Partition]:
        opened = [(partition, partition.opened) for partition in self._partitions]
        return [partition for partition, log in opened if log is not None and log.recovery_point < log.end_offset]

    async def _flush(self, partition: Partition) -> None:
        opened = partition.opened
        if opened is None or opened.recovery_point >= opened.end_offset:
            return
        try:
            await self._flusher.flush(partition)
        except StorageFailure as failure:
            self._storage_failures.report(failure)

    def write_checkpoints(self) -> None:
        """Write the offset checkpoints of every log directory; a log that is not open keeps the offsets it had."""
        by_dir: dict[str, list[Partition]] = defaultdict(list)
        for partition in self._partitions:
            by_dir[partition.log_dir].append(partition)
        for one in self._dirs.online:
            recovery_points: dict[TopicPartition, int] = {}
            log_starts: dict[TopicPartition, int] = {}
            watermarks: dict[TopicPartition, int] = {}
            for partition in by_dir[one.path]:
                key, opened = partition.topic_partition, partition.opened
                if opened is not None:
                    recovery_points[key] = opened.recovery_point
                    log_starts[key] = opened.log_start_offset
                    watermarks[key] = opened.high_watermark
                elif key in one.recovery_points:
                    recovery_points[key] = one.recovery_points[key]
                    watermarks[key] = one.high_watermarks.get(key, one.recovery_points[key])
                    log_starts[key] = one.log_start_offsets.get(key, 0)
            try:
                one.write_checkpoints(recovery_points, log_starts, watermarks)
            except StorageFailure as failure:
                self._storage_failures.report(failure)

    async def write_high_watermarks(self) -> None:
        """Write the high watermarks of open logs to the checkpoint of each log directory, where they have changed."""
        opened: dict[str, dict[TopicPartition, int]] = defaultdict(dict)
        for partition in self._partitions:  # no task switch: a closed log must not be noted again
            if partition.opened is not None:
                opened[partition.log_dir][partition.topic_partition] = partition.opened.high_watermark
        for one in self._dirs.online:
            write = one.high_watermarks_to_write(opened[one.path])
            if write is None:
                continue
            try:
                await trio.to_thread.run_sync(write)
            except StorageFailure as failure:
                self._storage_failures.report(failure)


def _repeat(
    nursery: trio.Nursery,
    clock: Clock,
    interval_ms: Callable[[], float],
    work: Callable[[], Awaitable[None]],
    *,
    watch: Callable[..., Awaitable[None]],
    name: str,
) -> None:
    """Run ``work`` in ``nursery`` once ``interval_ms()`` has passed on ``clock``, then again, each run contained.

    An interval that is not positive ends it. ``watch`` is that of the watchdog, which reports runs by ``name``. Between
    two runs there is a timer and no task, which would cost each start and stop of a broker.
    """

    async def work_and_wait() -> None:
        await work()
        wait()

    work_and_wait.__qualname__ = work.__qualname__  # the name of the task in log lines

    def wait() -> None:
        delay_ms = interval_ms()
        if delay_ms > 0:
            clock.call_later(delay_ms, start)

    def start() -> None:
        nursery.start_soon(watch, name, run_contained, clock.sleep, work_and_wait)

    wait()


async def _in_slices(partitions: Iterable[Partition]) -> AsyncGenerator[Partition, None]:
    """Each partition, with the loop given back to others every few of them."""
    for count, partition in enumerate(list(partitions)):
        if count % _SLICE == 0:
            await trio.lowlevel.checkpoint()
        yield partition
