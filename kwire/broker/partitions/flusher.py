"""Group commit: many producers that wait for the disk share one fsync.

Responsible for: which log is being flushed and which tasks wait for it. Must not depend on: requests, the content of
the log.

An fsync runs in a thread on descriptors of its own, so appends continue meanwhile; the next
fsync covers all of them. A fsync that fails takes the log offline (the page cache may have dropped what it could
not write).
"""

from __future__ import annotations

import time
from collections import deque
from typing import Final

import trio

from kwire.broker.clock import Clock
from kwire.broker.directories.log_dirs import LogDirs
from kwire.broker.partitions.partition import Partition, Role
from kwire.errors import StorageFailure

# Quantiles are computed over this many fsyncs.
_TIMES_KEPT: Final = 1000


class Flusher:
    """At most one fsync per log at a time; calls made meanwhile share the next.

    ``flushes``, ``failures`` and ``total_ms`` count fsyncs since the start; ``times_ms`` are the times of the last
    ones, which are real time: the broker's clock may be stopped.
    """

    def __init__(self, clock: Clock, dirs: LogDirs) -> None:
        self._clock = clock
        self._dirs = dirs
        self._running: dict[Partition, trio.Event] = {}
        self.flushes = 0
        self.failures = 0
        self.total_ms = 0.0
        self.times_ms: deque[float] = deque(maxlen=_TIMES_KEPT)

    async def flush(self, partition: Partition) -> None:
        """Return once all that is in the log now is on the disk and committed, or the topic is deleted.

        Raises StorageFailure.
        """
        target = partition.log.end_offset
        while not partition.deleted and partition.log.recovery_point < target:
            running = self._running.get(partition)
            if running is not None:
                await running.wait()
                continue
            done = self._running[partition] = trio.Event()
            try:
                await self._sync(partition)
            finally:
                del self._running[partition]
                done.set()
        if partition.role is Role.LEADER and not partition.deleted and partition.log.high_watermark < target:
            partition.commit_all()

    async def _sync(self, partition: Partition) -> None:
        log = partition.log
        pending = log.begin_flush()
        started_s = time.perf_counter()
        try:
            await trio.to_thread.run_sync(pending.sync)
        except StorageFailure:
            self.failures += 1
            # The directory of a deleted topic has another name by now, or is gone.
            if partition.deleted:
                return
            log_dir = self._dirs.by_path(partition.log_dir)
            assert log_dir is not None
            log_dir.mark_page_cache_untrusted()
            raise
        finally:
            pending.close()
        self._note_time((time.perf_counter() - started_s) * 1000)
        if partition.deleted or partition.opened is not log:
            return  # moved to another directory meanwhile, where all of it is on the disk already
        log.finish_flush(pending)
        partition.flushed_ms = self._clock.monotonic_ms()
        if partition.role is Role.LEADER:
            partition.commit_all()

    def _note_time(self, took_ms: float) -> None:
        self.flushes += 1
        self.total_ms += took_ms
        self.times_ms.append(took_ms)
