"""The log directories (``log.dirs``): their owner, the partitions in them, and how the last run stopped.

Responsible for: the lock, ``meta.properties``, the offset checkpoints and the mark of a clean stop of each directory;
which directory holds which partition. Must not depend on: partitions at run time, topics, the content of the metadata
log.

A directory that was stopped cleanly needs no recovery. After a kill, the boot id says whether the page cache
survived: on the same boot nothing that was written is lost, so only the ends of the logs are checked; after a crash
of the machine, or a sync that failed, everything since the recovery point is read again.
"""

from __future__ import annotations

import contextlib
import threading
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Final, TypeVar

from kwire.broker.clock import Clock
from kwire.broker.logs import Logger
from kwire.errors import StorageFailure
from kwire.storage import checkpoints
from kwire.storage.files import DirectoryInUse, Files, Lock
from kwire.storage.log import Log
from kwire.types import METADATA_TOPIC, TopicPartition, Uuid, uuid_from_text, uuid_text

log = Logger("kwire.broker")

T = TypeVar("T")

LOCK_NAME: Final = ".lock"
UNKNOWN_ID: Final = b""
BOOT_ID_NAME: Final = ".boot-id"
_BOOTSTRAP: Final = "bootstrap.checkpoint"
_WITHOUT: Final = {
    checkpoints.RECOVERY_POINT_CHECKPOINT: "logs are checked from their beginning after an unclean stop",
    checkpoints.LOG_START_OFFSET_CHECKPOINT: "each log starts at its first segment",
    checkpoints.HIGH_WATERMARK_CHECKPOINT: "the high watermark is the end of the log",
    checkpoints.CLEANER_CHECKPOINT: "logs are compacted from their beginning",
}
_DELETED: Final = "-delete"
_STRAY: Final = "-stray"
_FUTURE: Final = "-future"


class ForeignDirectory(Exception):
    """The directory belongs to another node or cluster than the settings say."""


class LogDir:
    """One data directory, locked by ``lock``."""

    def __init__(self, files: Files, path: str) -> None:
        self.files = files
        self.path = path
        self.id: Uuid = bytes(16)
        self.clean = False
        self.clean_epoch = -1  # of the broker that stopped cleanly
        self.same_boot = False
        self.recovery_points: dict[TopicPartition, int] = {}
        self.log_start_offsets: dict[TopicPartition, int] = {}
        self.high_watermarks: dict[TopicPartition, int] = {}
        self.cleaned_offsets: dict[TopicPartition, int] = {}
        self.partition_count = 0
        self.is_offline = False  # it has failed, and is used again only after the next start
        self.is_cordoned = False  # it gets no new partitions (KIP-1066)
        self._lock: Lock | None = None
        # By the name of a checkpoint: the keys that its file has.
        self._written: dict[str, set[TopicPartition]] = {}
        # By the name of a checkpoint: how often its file was written. One thread writes a file at a time.
        self._writes: Counter[str] = Counter()
        self._writing = threading.Lock()
        self._high_watermarks_written: dict[TopicPartition, int] | None = None
        # By the name of a checkpoint: keys whose entry in the file is that of a deleted topic.
        self._stale: dict[str, set[TopicPartition]] = {}

    def lock(self) -> None:
        """Make the directory and lock it. Raises storage.files.DirectoryInUse, StorageFailure."""
        self.files.make_directory(self.path)
        self._lock = self.files.lock(self.file(LOCK_NAME))

    def is_new(self) -> bool:
        """Whether it is not formatted. Raises StorageFailure."""
        return self.files.read_bytes(self.file(checkpoints.META_PROPERTIES)) is None

    def file(self, name: str) -> str:
        return f"{self.path}/{name}"

    def partition_path(self, partition: TopicPartition) -> str:
        return f"{self.path}/{partition.topic}-{partition.partition}"

    def partitions(self) -> list[tuple[TopicPartition, str]]:
        """The partition directories in this one and their paths; deleted and stray ones are left out."""
        found = []
        for name in self.files.directories(self.path):
            topic, dash, index = name.rpartition("-")
            if dash and index.isdecimal() and topic and topic != METADATA_TOPIC:
                found.append((TopicPartition(topic, int(index)), f"{self.path}/{name}"))
        return found

    def warn_of_foreign_directories(self) -> None:
        """Log the folders that are not partitions; Apache Kafka does not start with them."""
        foreign = foreign_directories(self.files, self.path)
        if foreign:
            log.warning(
                "folders in a log directory are not partitions", directory=self.path, folders=", ".join(foreign)
            )

    def remove_half_deleted(self) -> None:
        """Remove directories that were being deleted and incomplete copies of moved partitions."""
        for name in self.files.directories(self.path):
            if name.endswith((_DELETED, _FUTURE)):
                self.files.remove_directory(self.file(name))

    def set_aside(self, partition: TopicPartition, path: str, unique: str) -> None:
        """Rename a partition's directory to ``...-stray``, as Apache Kafka does: it is kept and not served."""
        self.files.rename(path, _unique_name(self.path, partition, unique, _STRAY))

    def deleted_directory_name(self, partition: TopicPartition, unique: str) -> str:
        """The new name of a deleted partition's directory until its files are removed."""
        return _unique_name(self.path, partition, unique, _DELETED)

    def future_name(self, partition: TopicPartition, unique: str) -> str:
        """The name of the directory into which a moved partition is copied."""
        return _unique_name(self.path, partition, unique, _FUTURE)

    def open(self, node_id: int, cluster_id: str | None, clock: Clock) -> str:
        """Check or write ``meta.properties``, read the checkpoints; returns the cluster id.

        Raises ForeignDirectory, StorageFailure.
        """
        cluster_id = self._own(node_id, cluster_id, clock)
        mark = self.files.read_bytes(self.file(checkpoints.CLEAN_SHUTDOWN))
        self.clean = mark is not None
        self.clean_epoch = checkpoints.read_clean_shutdown(mark)
        boot_id = self.files.boot_id()
        left = self.files.read_bytes(self.file(BOOT_ID_NAME))
        self.same_boot = boot_id is not None and left == boot_id.encode("ascii")
        if boot_id is not None and not self.same_boot:
            self.files.write_bytes(self.file(BOOT_ID_NAME), boot_id.encode("ascii"), durable=False)
        for name, offsets in self._checkpoints().items():
            offsets.update(self._read_offsets(name))
            self._written[name] = set(offsets)
        return cluster_id

    def write_checkpoints(
        self,
        recovery_points: Mapping[TopicPartition, int],
        log_start_offsets: Mapping[TopicPartition, int],
        high_watermarks: Mapping[TopicPartition, int],
    ) -> None:
        """Write the offsets of each partition here, for the next start. Raises StorageFailure."""
        self.recovery_points = dict(recovery_points)
        self.log_start_offsets = dict(log_start_offsets)
        self.high_watermarks = dict(high_watermarks)
        self._write_offset_checkpoints()

    def note_cut(self, partition: TopicPartition, cut: Log) -> None:
        """Lower at once what the checkpoints have of a log that was cut. Raises StorageFailure.

        Otherwise what is written behind the cut would count as synced, deleted or committed after a crash.
        """
        after = (cut.recovery_point, cut.log_start_offset, cut.high_watermark, cut.end_offset)
        for (name, offsets), offset in zip(self._checkpoints().items(), after, strict=True):
            if offsets.get(partition, 0) > offset:
                offsets[partition] = offset
                self._write_checkpoint(name, durable=True)

    def high_watermarks_to_write(self, high_watermarks: Mapping[TopicPartition, int]) -> Callable[[], None] | None:
        """Note the high watermarks of partitions here; the others keep theirs. None: the file has them already.

        The function that is returned writes the checkpoint, in a thread, unless it was written otherwise meanwhile. It
        raises StorageFailure.
        """
        name = checkpoints.HIGH_WATERMARK_CHECKPOINT
        self.high_watermarks |= high_watermarks
        offsets = dict(self.high_watermarks)
        if offsets == self._high_watermarks_written:
            return None
        writes = self._writes[name]

        def write() -> None:
            content = checkpoints.write_offsets(offsets)
            with self._writing:
                if self._writes[name] != writes:
                    return
                self.files.write_bytes(self.file(name), content, durable=False)
                self._note_written(name, offsets)
                forgotten = offsets.keys() - self.high_watermarks.keys()
                if forgotten:  # another write has begun meanwhile
                    self._stale.setdefault(name, set()).update(forgotten)

        return write

    def _write_offset_checkpoints(self) -> None:
        for name in self._checkpoints():
            if name != checkpoints.CLEANER_CHECKPOINT:
                self._write_checkpoint(name, durable=True)

    def note_offsets(self, partition: TopicPartition, opened: Log) -> None:
        """Keep the offsets of a log that is closed now for the next checkpoint."""
        self.recovery_points[partition] = opened.recovery_point
        self.log_start_offsets[partition] = opened.log_start_offset
        self.high_watermarks[partition] = opened.high_watermark

    def write_offsets(self, partition: TopicPartition, opened: Log) -> None:
        """Write the offsets of a log that was copied here and synced. Raises StorageFailure."""
        self.note_offsets(partition, opened)
        self.recovery_points[partition] = opened.end_offset
        self._write_offset_checkpoints()

    def note_cleaned(self, partition: TopicPartition, offset: int) -> None:
        """Write down up to which offset compaction has cleaned a log. Raises StorageFailure."""
        self.cleaned_offsets[partition] = offset
        # Not synced: an older offset costs a longer round and nothing else.
        self._write_checkpoint(checkpoints.CLEANER_CHECKPOINT, durable=False)

    def forget(self, partition: TopicPartition) -> None:
        """Drop every checkpoint entry of a partition that is not here any more.

        Checkpoints are keyed by topic name. The files may keep the entry for a while; ``drop_stale_entries`` comes
        before another topic of the same name gets a directory here.
        """
        for name, offsets in self._checkpoints().items():
            offsets.pop(partition, None)
            self._writes[name] += 1  # a thread must not write the entry now
            if partition in self._written.get(name, ()):
                self._stale.setdefault(name, set()).add(partition)

    def forget_all_but(self, partitions: Collection[TopicPartition]) -> None:
        """Drop the checkpoint entries of partitions that have no directory here."""
        known = set[TopicPartition]().union(*self._checkpoints().values())
        for partition in known.difference(partitions):
            self.forget(partition)

    def drop_stale_entries(self, partition: TopicPartition) -> None:
        """Make sure that no checkpoint file has an entry of a deleted topic's partition. Raises StorageFailure."""
        with self._writing:
            names = [name for name, stale in self._stale.items() if partition in stale]
        for name in names:
            self._write_checkpoint(name, durable=True)

    def mark_clean(self, broker_epoch: int) -> None:
        """The last write of a clean stop."""
        self.files.write_bytes(
            self.file(checkpoints.CLEAN_SHUTDOWN), checkpoints.write_clean_shutdown(broker_epoch), durable=True
        )

    def remove_clean_mark(self) -> None:
        """Remove the mark of a clean stop, before anything is changed: a kill from now on counts as one."""
        self.files.remove(self.file(checkpoints.CLEAN_SHUTDOWN))

    def mark_page_cache_untrusted(self) -> None:
        """A sync has failed: the page cache may differ from the disk, so the next start checks all logs."""
        with contextlib.suppress(StorageFailure):
            self.files.remove(self.file(BOOT_ID_NAME))

    def release(self) -> None:
        if self._lock is not None:
            self._lock.release()

    def _own(self, node_id: int, cluster_id: str | None, clock: Clock) -> str:
        """Read ``meta.properties``, or write it in a new directory, with the given cluster id or a new one."""
        path = self.file(checkpoints.META_PROPERTIES)
        found = checkpoints.read_properties(self.files.read_bytes(path))
        if found is None:
            self._check_is_new(path)
            cluster_id = cluster_id or uuid_text(clock.uuid())
            self.id = clock.uuid()
            properties = {
                "version": "1",
                "cluster.id": cluster_id,
                "node.id": str(node_id),
                "directory.id": uuid_text(self.id),
            }
            self.files.write_bytes(path, checkpoints.write_properties(properties), durable=True)
            return cluster_id
        self._check_properties(path, found)
        theirs = found["cluster.id"]
        if cluster_id is not None and theirs != cluster_id:
            raise ForeignDirectory(
                f"{self.path} belongs to cluster {theirs}, not to {cluster_id} (CLUSTER_ID): take another directory, or"
                " the cluster id that it has"
            )
        if found["node.id"] != str(node_id):
            theirs = found["node.id"]
            raise ForeignDirectory(
                f"{self.path} belongs to node {theirs}, but node.id is {node_id}: take another directory, or"
                f" node.id={theirs}"
            )
        self.id = self._directory_id(found, clock, path)
        return theirs

    def _check_is_new(self, path: str) -> None:
        """Refuse a directory with data and without ``meta.properties``. Raises StorageFailure."""
        held = [name for name in self.files.directories(self.path) if name.rpartition("-")[2].isdecimal()]
        if self.files.read_bytes(self.file(_BOOTSTRAP)) is not None:
            held.append(_BOOTSTRAP)
        if held:
            raise StorageFailure(
                path,
                f"the file is missing, but the directory holds data ({held[0]}). Nothing was changed. Restore the file"
                " from a copy, or choose an empty directory",
            )

    def _check_properties(self, path: str, found: dict[str, str]) -> None:
        """Refuse a file that does not say which cluster and node it belongs to. Raises StorageFailure."""
        is_number = found.get("node.id", "").removeprefix("-").isdecimal()
        is_uuid = _is_uuid(found.get("directory.id", uuid_text(bytes(16))))
        if found.get("version") in {"0", "1"} and found.get("cluster.id") and is_number and is_uuid:
            return
        raise StorageFailure(
            path,
            "the file is damaged: it must have the lines version=1, cluster.id=..., node.id=... and directory.id=..."
            " Nothing was changed. Restore it from a copy; if the directory holds no data, delete it",
        )

    def _directory_id(self, found: dict[str, str], clock: Clock, path: str) -> Uuid:
        if "directory.id" in found:
            return uuid_from_text(found["directory.id"])
        # Kafka before 3.7 gave directories no id; it adds one at the first start, as we do.
        directory_id = clock.uuid()
        self.files.write_bytes(
            path, checkpoints.write_properties({**found, "directory.id": uuid_text(directory_id)}), durable=True
        )
        return directory_id

    def _checkpoints(self) -> dict[str, dict[TopicPartition, int]]:
        return {
            checkpoints.RECOVERY_POINT_CHECKPOINT: self.recovery_points,
            checkpoints.LOG_START_OFFSET_CHECKPOINT: self.log_start_offsets,
            checkpoints.HIGH_WATERMARK_CHECKPOINT: self.high_watermarks,
            checkpoints.CLEANER_CHECKPOINT: self.cleaned_offsets,
        }

    def _write_checkpoint(self, name: str, *, durable: bool) -> None:
        offsets = self._checkpoints()[name]
        with self._writing:
            self.files.write_bytes(self.file(name), checkpoints.write_offsets(offsets), durable=durable)
            self._note_written(name, offsets)
            self._stale.pop(name, None)

    def _note_written(self, name: str, offsets: Mapping[TopicPartition, int]) -> None:
        self._writes[name] += 1
        self._written[name] = set(offsets)
        if name == checkpoints.HIGH_WATERMARK_CHECKPOINT:
            self._high_watermarks_written = dict(offsets)

    def _read_offsets(self, name: str) -> dict[TopicPartition, int]:
        content = self.files.read_bytes(self.file(name))
        offsets = checkpoints.read_offsets(content)
        if offsets is None and content is not None:
            log.warning("damaged checkpoint ignored", path=self.file(name), consequence=_WITHOUT[name])
        return offsets or {}


class LogDirs:
    """All data directories of one broker. The first also holds the metadata log, unless the settings say another."""

    def __init__(self, files: Files, dirs: Sequence[LogDir], cluster_id: str) -> None:
        self.files = files
        self.dirs = list(dirs)
        self.cluster_id = cluster_id

    @classmethod
    def open(
        cls,
        files: Files,
        paths: Sequence[str],
        *,
        node_id: int,
        cluster_id: str | None,
        clock: Clock,
        without_failed: bool = False,
    ) -> LogDirs:
        """Lock and read every directory, or none. ``without_failed``: those whose disk fails are offline, but not all.

        Raises storage.files.DirectoryInUse, ForeignDirectory, StorageFailure.
        """
        dirs = [LogDir(files, path) for path in paths]
        failures: list[StorageFailure] = []

        def attempt(one: LogDir, step: Callable[[], T]) -> T | None:
            try:
                return step()
            except StorageFailure as failure:
                is_disk = isinstance(failure.__cause__, OSError) and not isinstance(failure, DirectoryInUse)
                if not (without_failed and is_disk):
                    raise
                failures.append(failure)
                one.is_offline, one.id = True, UNKNOWN_ID
                log.warning("log directory offline: it cannot be read", directory=one.path, why=str(failure))
                return None

        try:
            for one in dirs:
                attempt(one, one.lock)
            # A new directory gets the cluster id of the others, so those with meta.properties are read first.
            new = {one.path for one in dirs if not one.is_offline and attempt(one, one.is_new)}
            for one in sorted(dirs, key=lambda one: one.path in new):
                if not one.is_offline:
                    cluster_id = attempt(one, partial(one.open, node_id, cluster_id, clock)) or cluster_id
            if len(failures) == len(dirs):
                raise failures[0]
        except BaseException:
            for one in dirs:
                one.release()
            raise
        assert cluster_id is not None
        return cls(files, dirs, cluster_id)

    def by_id(self, directory_id: Uuid) -> LogDir | None:
        return next((one for one in self.dirs if one.id == directory_id), None)

    def by_path(self, path: str) -> LogDir | None:
        """None for a path that no directory of this broker has; paths are compared as text."""
        return next((one for one in self.dirs if one.path == path), None)

    def of_file(self, path: str) -> LogDir | None:
        """Return the log directory that a path is in."""
        found = [one for one in self.dirs if path == one.path or path.startswith(f"{one.path}/")]
        return max(found, key=lambda one: len(one.path), default=None)

    @property
    def online(self) -> list[LogDir]:
        """The directories that have not failed."""
        return [one for one in self.dirs if not one.is_offline]

    def emptiest(self) -> LogDir:
        """The directory for the next partition: the one with the fewest, as in Kafka.

        One that is cordoned is chosen only if all are: controllers before Apache Kafka 4.4 assign partitions then too.
        """
        return min(self.dirs, key=lambda one: (one.is_offline, one.is_cordoned, one.partition_count))

    def cordon(self, paths: Collection[str]) -> list[Uuid]:
        """Cordon the directories at these paths, and no others; "*" is all. Returns their ids."""
        cordoned = {self.files.absolute(path.rstrip("/") or path) for path in paths}
        for one in self.dirs:
            one.is_cordoned = "*" in paths or one.path in cordoned
        return [one.id for one in self.dirs if one.is_cordoned and one.id != UNKNOWN_ID]

    def not_read(self) -> LogDir | None:
        """Return a directory whose id is not known, because its disk failed before the start."""
        return next((one for one in self.dirs if one.id == UNKNOWN_ID), None)

    @property
    def previous_epoch(self) -> int:
        """The broker epoch of the last run, if every directory says that it stopped cleanly in this epoch; else -1."""
        epochs = {one.clean_epoch if one.clean else -1 for one in self.dirs}
        return epochs.pop() if len(epochs) == 1 else -1

    def mark_clean(self, broker_epoch: int) -> None:
        for one in self.online:
            one.mark_clean(broker_epoch)

    def remove_clean_marks(self) -> None:
        """See ``LogDir.remove_clean_mark``."""
        for one in self.online:
            one.remove_clean_mark()

    def release(self) -> None:
        for one in self.dirs:
            one.release()


def has_cluster_id(files: Files, paths: Sequence[str]) -> bool:
    """Whether a log directory at one of the paths is formatted, so that it names its cluster."""
    found = False
    for path in paths:
        with contextlib.suppress(StorageFailure):
            found = found or files.exists(f"{path}/{checkpoints.META_PROPERTIES}")
    return found


def _is_uuid(text: str) -> bool:
    try:
        uuid_from_text(text)
    except ValueError:
        return False
    return True


def foreign_directories(files: Files, path: str) -> list[str]:
    """Names of the folders in a log directory that neither kwire nor Apache Kafka makes, such as ``lost+found``."""
    foreign = []
    for name in files.directories(path):
        topic, dash, index = name.rpartition("-")
        is_partition = bool(topic and dash) and index.isdecimal()
        if not is_partition and not name.endswith((_DELETED, _STRAY, _FUTURE)):
            foreign.append(name)
    return sorted(foreign)


def _unique_name(directory: str, partition: TopicPartition, unique: str, suffix: str) -> str:
    # A file name holds 255 bytes at most: a long topic name is cut, the unique part keeps it apart.
    tail = f"-{partition.partition}.{unique}{suffix}"
    return f"{directory}/{partition.topic[: 255 - len(tail)]}{tail}"
