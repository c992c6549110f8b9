"""Group commit: many producers that wait for the disk share one fsync.

Responsible for: which log is being flushed and which tasks wait for it. Must not depend on: requests, what was
appended.

An fsync runs in a thread on descriptors of its own, so appends continue meanwhile; the next
fsync covers all of them. A fsync that fails takes the log offline (the page cache may have dropped what it could
not write).
"""

from __future__ import annotations

import trio

from kwire.broker.clock import Clock
from kwire.broker.partitions.log_dirs import LogDirs
from kwire.broker.partitions.partition import Partition, Role
from kwire.errors import StorageFailure


class Flusher:
    """At most one fsync per log at a time; calls made meanwhile share the next."""

    def __init__(self, clock: Clock, dirs: LogDirs) -> None:
        self._clock = clock
        self._dirs = dirs
        self._running: dict[Partition, trio.Event] = {}

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
        try:
            await trio.to_thread.run_sync(pending.sync)
        except StorageFailure:
            # The directory of a deleted topic has another name by now, or is gone.
            if partition.deleted:
                return
            log_dir = self._dirs.by_path(partition.log_dir)
            assert log_dir is not None
            log_dir.mark_page_cache_untrusted()
            raise
        finally:
            pending.close()
        if partition.deleted or partition.opened is not log:
            return  # moved to another directory meanwhile, where all of it is on the disk already
        log.finish_flush(pending)
        partition.flushed_ms = self._clock.monotonic_ms()
        if partition.role is Role.LEADER:
            partition.commit_all()
