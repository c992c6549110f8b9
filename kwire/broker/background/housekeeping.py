"""What a broker does by itself: recovery at the start, retention, flushing and checkpoints in the background.

Owns: when each partition is looked after, in slices short enough that nobody waits for them. May not know: how a log
recovers or which segments it gives up.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, Final

import trio

from kwire.broker.containment import run_contained
from kwire.broker.logs import Logger
from kwire.broker.partitions.partition import Partition
from kwire.errors import StorageFailure
from kwire.storage.segment import PendingDeletion
from kwire.types import TopicPartition

if TYPE_CHECKING:
    from kwire.broker.broker import Broker

log = Logger("kwire.broker")

# Between two checkpoints of the event loop, housekeeping looks after so many partitions.
_SLICE: Final = 20
_PROGRESS_MS: Final = 1000
# Kafka flushes by its own schedule only when asked to; the recovery point of an idle log would then never move.
_BACKGROUND_FLUSH_MS: Final = 60_000
# A test may move the clock by a day while one log is flushed.
_REST_MS_MAX: Final = 100.0


async def recover(broker: Broker) -> None:
    """After an unclean stop, open every log that has a directory, in threads, before anything is served."""
    unclean = [one for one in broker.partitions.found_on_disk() if not _left_cleanly(broker, one)]
    if not unclean:
        return
    log.warning("the last stop was not a clean one: checking logs", partitions=len(unclean))
    limiter = trio.CapacityLimiter(max(2, os.cpu_count() or 1))
    done = 0
    next_word = broker.clock.monotonic_ms() + _PROGRESS_MS

    async def check(partition: Partition) -> None:
        nonlocal done, next_word
        async with limiter:
            try:
                await trio.to_thread.run_sync(partial(getattr, partition, "log"))
            except StorageFailure as failure:
                broker.storage_failed(failure)
        done += 1
        if broker.clock.monotonic_ms() >= next_word:
            next_word += _PROGRESS_MS
            log.info("checking logs", done=done, of=len(unclean))

    async with trio.open_nursery() as nursery:
        for partition in unclean:
            nursery.start_soon(check, partition)
    log.info("all logs are checked", partitions=len(unclean))


async def run(broker: Broker) -> None:
    """Keep house until cancelled."""
    watch = broker.watchdog.watch
    async with trio.open_nursery() as nursery:
        for name, task in _TASKS.items():
            nursery.start_soon(watch, name, run_contained, broker.clock.sleep, task, broker)


async def _retain(broker: Broker) -> None:
    while True:
        await broker.clock.sleep(broker.configs.broker["log.retention.check.interval.ms"])
        async for partition in _in_slices(broker.partitions):
            apply_retention(broker, partition)


def apply_retention(broker: Broker, partition: Partition) -> None:
    """Give up what the partition's settings no longer keep; the files go after ``file.delete.delay.ms``."""
    if partition.deleted or not broker.partitions.has_directory(partition):
        return
    try:
        before = partition.log.log_start_offset
        deletions = partition.log.apply_retention(broker.clock.now_ms())
    except StorageFailure as failure:
        broker.storage_failed(failure)
        return
    for deletion in deletions:
        remove_when_due(broker, deletion)
    if partition.log.log_start_offset != before:
        log.info("old segments given up", partition=str(partition), log_start_offset=partition.log.log_start_offset)
        partition.note_change()


def remove_when_due(broker: Broker, deletion: PendingDeletion) -> None:
    """Remove a renamed file or directory once ``file.delete.delay.ms`` has passed."""
    broker.clock.call_at(deletion.due_ms, partial(broker.to_remove.send_nowait, deletion))


async def _remove_due(broker: Broker) -> None:
    """Remove one after the other, with the loop given back in between: of a deleted topic all is due at once."""
    files = broker.dirs.files
    async for deletion in broker.removable:
        try:
            if deletion.is_directory:
                files.remove_directory(deletion.path)
            else:
                files.remove(deletion.path)
        except StorageFailure as failure:
            broker.storage_failed(failure)


async def _compact(broker: Broker) -> None:
    if not broker.configs.broker["log.cleaner.enable"]:
        return
    await broker.clock.sleep(broker.configs.broker["log.cleaner.backoff.ms"])
    # Not before it is due for the first time: a start need not pay for it.
    from kwire.broker.background.cleaner import Cleaner  # noqa: PLC0415

    broker.cleaner = Cleaner(broker)
    await broker.cleaner.run()


async def _expire_producers(broker: Broker) -> None:
    """Forget producers that were not heard of for ``producer.id.expiration.ms``, by this broker's clock."""
    while True:
        await broker.clock.sleep(broker.configs.broker["producer.id.expiration.check.interval.ms"])
        expiration_ms = broker.configs.broker["producer.id.expiration.ms"]
        async for partition in _in_slices(broker.partitions):
            if partition.opened is not None:
                partition.opened.producers.expire(broker.clock.now_ms(), expiration_ms)


async def _flush_when_old(broker: Broker) -> None:
    """``flush.ms``, looked at every ``log.flush.scheduler.interval.ms`` as in Kafka, which by default is never."""
    while True:
        interval_ms = broker.configs.broker["log.flush.scheduler.interval.ms"]
        if interval_ms <= 0:
            return  # Kafka's scheduler takes this for "once", at the start, when nothing is to be flushed
        await broker.clock.sleep(interval_ms)
        now = broker.clock.monotonic_ms()
        async with aclosing(_in_slices(broker.partitions)) as slices:
            async for partition in slices:
                if now - partition.flushed_ms >= partition.settings.log.flush_ms:
                    await _flush(broker, partition)


async def _flush_and_checkpoint(broker: Broker) -> None:
    while True:
        # 0 means "once, at the start" to Kafka's scheduler: then only kwire's own interval counts.
        configured = broker.configs.broker["log.flush.offset.checkpoint.interval.ms"] or _BACKGROUND_FLUSH_MS
        await broker.clock.sleep(min(configured, _BACKGROUND_FLUSH_MS))
        for partition in _unflushed(broker):
            started_ms = broker.clock.monotonic_ms()
            await _flush(broker, partition)
            # Rest as long as it took: ten thousand logs are no reason to make anybody wait.
            await broker.clock.sleep(min(broker.clock.monotonic_ms() - started_ms, _REST_MS_MAX))
        write_checkpoints(broker)


async def flush_and_checkpoint(broker: Broker) -> None:
    """Bring what was written to the disk, and write down how far each log is known to be sound."""
    for partition in _unflushed(broker):
        await _flush(broker, partition)
    write_checkpoints(broker)


def _unflushed(broker: Broker) -> list[Partition]:
    opened = [(partition, partition.opened) for partition in broker.partitions]
    return [partition for partition, log in opened if log is not None and log.recovery_point < log.end_offset]


async def _flush(broker: Broker, partition: Partition) -> None:
    opened = partition.opened
    if opened is None or opened.recovery_point >= opened.end_offset:
        return
    try:
        await broker.flusher.flush(partition)
    except StorageFailure as failure:
        broker.storage_failed(failure)


def write_checkpoints(broker: Broker) -> None:
    """Recovery points, log start offsets and high watermarks of every directory, those of unopened logs as found."""
    by_dir: dict[str, list[Partition]] = defaultdict(list)
    for partition in broker.partitions:
        by_dir[partition.log_dir].append(partition)
    for one in broker.dirs.dirs:
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
            broker.storage_failed(failure)


async def _in_slices(partitions: Iterable[Partition]) -> AsyncGenerator[Partition, None]:
    """Each partition, with the loop given back to others every few of them."""
    for count, partition in enumerate(list(partitions)):
        if count % _SLICE == 0:
            await trio.lowlevel.checkpoint()
        yield partition


def _left_cleanly(broker: Broker, partition: Partition) -> bool:
    one = broker.dirs.by_path(partition.log_dir)
    return one is not None and one.clean


# By the name under which the watchdog reports each.
_TASKS: Final[Mapping[str, Callable[[Broker], Awaitable[None]]]] = {
    "retention": _retain,
    "file deletion": _remove_due,
    "checkpoints": _flush_and_checkpoint,
    "flush": _flush_when_old,
    "producer expiration": _expire_producers,
    "log cleaner": _compact,
}
