"""Moving partitions between the data directories of this broker (KIP-113), while they are in use.

Responsible for: pending moves, copying, and the switch to the copy. Must not depend on: requests, the content of a log.

    1  roll the log, so that nearly everything is in sealed files
    2  copy those to ``TOPIC-N.UNIQUE-future`` in the new directory, in a thread; producers and consumers continue
    3  without a task switch: close the log, copy what is new or changed since, rename, open it there

A file that is cut or replaced while it is copied in step 2, because a follower truncates its log or a segment is
compacted, is copied again in step 3. After a truncation everything is copied again in step 2, since a file that was cut
and has grown again may have the same size and time as before. Step 3 blocks the broker while the active segment is
copied, which step 1 has made small. Then the metadata gets the new directory. A move that fails leaves the partition in
its directory.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

import trio

from kwire.broker.clock import Clock
from kwire.broker.containment import OnDemand
from kwire.broker.controller.interface import Controller
from kwire.broker.directories.log_dirs import LogDir, LogDirs
from kwire.broker.logs import Logger
from kwire.broker.partitions.partition import Partition
from kwire.broker.partitions.partitions import Partitions
from kwire.broker.storage_failures import StorageFailures
from kwire.errors import StorageFailure
from kwire.storage.files import Files
from kwire.storage.segments.segment import PendingDeletion

log = Logger("kwire.broker")

_CHUNK_BYTES: Final = 1024 * 1024


class FileStamp(NamedTuple):
    """Size and time of a file when it was copied; with the same stamp later it has not changed."""

    size: int
    modified_ms: int


class Moves:
    """The pending moves. ``task`` does one at a time."""

    def __init__(
        self,
        *,
        node_id: int,
        partitions: Partitions,
        dirs: LogDirs,
        clock: Clock,
        controller: Controller,
        remove_later: Callable[[PendingDeletion], None],
        storage_failures: StorageFailures,
    ) -> None:
        # By partition, not by name: a topic that is created again under the name is not moved.
        self.pending: dict[Partition, LogDir] = {}
        self._node_id = node_id
        self._partitions = partitions
        self._dirs = dirs
        self._clock = clock
        self._controller = controller
        self._remove_later = remove_later
        self._storage_failures = storage_failures
        self.task = OnDemand(self.run)

    def request(self, partition: Partition, target: LogDir) -> None:
        """Add a move to ``pending``. A move to the partition's own directory cancels the pending one."""
        self.pending.pop(partition, None)
        if partition.log_dir == target.path:
            return
        self.pending[partition] = target
        self.task.wake()

    async def run(self) -> None:
        """Do what is pending, one move after the other."""
        while self.pending:
            partition, target = next(iter(self.pending.items()))
            try:
                if not partition.deleted:
                    await self._move_or_log(partition, target)
            finally:
                if self.pending.get(partition) is target:
                    del self.pending[partition]

    async def _move_or_log(self, partition: Partition, target: LogDir) -> None:
        future = target.future_name(partition.topic_partition, self._partitions.unique_name())
        try:
            await self._move(partition, target, future)
        except StorageFailure as failure:
            if not partition.deleted:
                self._storage_failures.report(failure)
                log.failure(
                    "cannot move the partition to another log directory",
                    failure,
                    partition=str(partition),
                    directory=target.path,
                )
            target.files.remove_directory(future)

    async def _move(self, partition: Partition, target: LogDir, future: str) -> None:
        if not self._partitions.has_directory(partition):
            await self._report_moved(partition, target)
            return
        source = self._dirs.by_path(partition.log_dir)
        assert source is not None
        path = source.partition_path(partition.topic_partition)
        self._partitions.prepare_directory(target, partition)
        if not source.files.sizes(path):
            # There is no directory yet, as nothing was written.
            self._partitions.close(partition)
            await self._report_moved(partition, target)
            return
        copied: dict[str, FileStamp] | None = None
        while copied is None:
            partition.log.roll(self._clock.now_ms())
            target.files.make_directory(future)
            truncations = partition.truncations
            copied = await trio.to_thread.run_sync(copy_files_in_use, target.files, path, future)
            if partition.truncations != truncations and not partition.deleted:
                target.files.remove_directory(future)
                copied = None
        if partition.deleted or self.pending.get(partition) is not target:
            target.files.remove_directory(future)
            return
        opened = partition.log
        self._partitions.close(partition)
        copy_changed_files(target.files, path, future, copied)
        new_path = target.partition_path(partition.topic_partition)
        deleted_path = source.deleted_directory_name(partition.topic_partition, self._partitions.unique_name())
        try:
            # Before the rename, so that after a kill the start offset is in the same directory as the log.
            target.write_offsets(partition.topic_partition, opened)
            target.files.rename(future, new_path)
        except StorageFailure:
            target.forget(partition.topic_partition)
            raise
        try:
            target.files.sync_directory(target.path)
            source.files.rename(path, deleted_path)
        except StorageFailure:
            # The next start must not find the partition in both.
            target.forget(partition.topic_partition)
            target.files.rename(new_path, future)
            raise
        due_ms = self._clock.now_ms() + partition.settings.log.file_delete_delay_ms
        self._remove_later(PendingDeletion(deleted_path, due_ms, is_directory=True))
        await self._report_moved(partition, target)

    async def _report_moved(self, partition: Partition, target: LogDir) -> None:
        from kwire.metadata.commands.partitions import AssignReplicasToDirs  # noqa: PLC0415 (with the first move)

        key = partition.topic_partition
        self._partitions.moved(partition, target)
        # A refusal does not undo the move: the next start takes the directory in which it finds the partition.
        await self._controller.submit(AssignReplicasToDirs(self._node_id, {key: target.id}))
        partition.note_change()
        log.info("partition moved", partition=str(key), directory=target.path)


def copy_files_in_use(files: Files, path: str, new_path: str) -> dict[str, FileStamp]:
    """Copy a directory while its files may change; return the stamps that the copied files had at the beginning.

    A file that changes meanwhile in a way that cannot be copied is left out. Raises StorageFailure.
    """
    return _copy_changed(files, path, new_path, {}, in_use=True)


def copy_changed_files(files: Files, path: str, new_path: str, copied: Mapping[str, FileStamp]) -> dict[str, FileStamp]:
    """Copy the files that are not in ``copied``, or changed since; return the stamps of all copies.

    All copies are on the disk when this returns. Raises StorageFailure.
    """
    return _copy_changed(files, path, new_path, copied, in_use=False)


def _copy_changed(
    files: Files, path: str, new_path: str, copied: Mapping[str, FileStamp], *, in_use: bool
) -> dict[str, FileStamp]:
    stamps = _stamps(files, path)
    for name in copied.keys() - stamps.keys():
        files.remove(f"{new_path}/{name}")
    for name, stamp in list(stamps.items()):
        if copied.get(name) == stamp:
            continue
        files.remove(f"{new_path}/{name}")
        try:
            _copy(files, f"{path}/{name}", f"{new_path}/{name}", stamp.size)
        except StorageFailure:
            if not in_use or _stamps(files, path).get(name) == stamp:
                raise
            files.remove(f"{new_path}/{name}")
            del stamps[name]
    files.sync_directory(new_path)
    return stamps


def _stamps(files: Files, path: str) -> dict[str, FileStamp]:
    return {name: FileStamp(size, files.modified_ms(f"{path}/{name}")) for name, size in files.sizes(path).items()}


def _copy(files: Files, path: str, new_path: str, size: int) -> None:
    if size == 0:
        files.write_bytes(new_path, b"", durable=False)
        return
    source, target = files.open(path, size=size, writable=False), files.open(new_path, size=0)
    try:
        position = 0
        while position < size:
            chunk = source.read(position, min(_CHUNK_BYTES, size - position))
            if not chunk:
                raise StorageFailure(path, f"ends at {position}, not at {size}")
            target.append([chunk], len(chunk))
            position += len(chunk)
        target.syncer().run()
    finally:
        source.close()
        target.close()
