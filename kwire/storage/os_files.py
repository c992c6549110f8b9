"""The files of the operating system.

Responsible for: descriptors (how many are open, which are pinned), whole writes or none, durable renames, the directory
lock. Must not depend on: segments, batches, topics, time.
"""

# ruff: noqa: PTH103, PTH104, PTH105, PTH108, PTH116, PTH120, PTH123 (paths are strings, see ``files``)

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Final

from kwire.errors import StorageFailure
from kwire.storage.files import Buffer, DirectoryInUse, FileSlice

_IOV_MAX: Final = 1024
_sync: Final[Callable[[int], None]] = getattr(os, "fdatasync", os.fsync)

# Locks of fcntl belong to the process: a second broker in the same process would get the lock it must not have.
_locked_in_this_process: Final[set[str]] = set()


class OsFiles:
    """See ``Files``. ``open_files_max`` bounds the descriptors that are kept open without a slice in flight.

    ``syncs`` False: no fsync, for data that need not survive a crash of the machine.
    """

    def __init__(
        self,
        *,
        open_files_max: int = 512,
        writev: Callable[[int, Sequence[Buffer]], int] = os.writev,
        syncs: bool = True,
    ) -> None:
        self.open_files_max = open_files_max
        self.syncs = syncs
        self.writev = writev
        # Files with an open descriptor, the longest idle first, and the thread that used each last.
        self._recent: OrderedDict[OsFile, int] = OrderedDict()
        self._latest: tuple[OsFile, int] | None = None
        self._recent_lock = threading.Lock()

    def open(self, path: str, *, size: int | None = None, writable: bool = True) -> OsFile:
        if size is None:
            size = 0
            with _Disk(path), contextlib.suppress(FileNotFoundError):
                size = os.stat(path).st_size
        return OsFile(self, path, size, writable=writable)

    def sizes(self, directory: str) -> dict[str, int]:
        with _Disk(directory), contextlib.suppress(FileNotFoundError), os.scandir(directory) as entries:
            return {entry.name: entry.stat().st_size for entry in entries if entry.is_file()}
        return {}

    def exists(self, path: str) -> bool:
        with _Disk(path), contextlib.suppress(FileNotFoundError):
            os.stat(path)
            return True
        return False

    def directories(self, directory: str) -> list[str]:
        with _Disk(directory), contextlib.suppress(FileNotFoundError), os.scandir(directory) as entries:
            return sorted(entry.name for entry in entries if entry.is_dir())
        return []

    def read_bytes(self, path: str) -> bytes | None:
        with _Disk(path):
            try:
                fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                return None
            with open(fd, "rb", buffering=0) as file:
                return file.read()

    def write_bytes(self, path: str, content: bytes, *, durable: bool) -> None:
        new_path = path + ".tmp"
        try:
            with _Disk(path):
                with open(new_path, "wb", buffering=0) as file:
                    rest = memoryview(content)
                    while rest:
                        rest = rest[file.write(rest) :]
                    if durable and self.syncs:
                        os.fsync(file.fileno())
                os.replace(new_path, path)
        except StorageFailure:
            with contextlib.suppress(OSError):
                os.unlink(new_path)
            raise
        if durable:
            self.sync_directory(os.path.dirname(path) or ".")

    def absolute(self, path: str) -> str:
        return os.path.abspath(path)  # noqa: PTH100 (resolve() would follow links, which Java does not)

    def make_directory(self, path: str) -> None:
        try:
            os.makedirs(path, exist_ok=True)
        except OSError as error:
            raise StorageFailure(path, f"the directory cannot be created: {error.strerror or error}") from error

    def rename(self, path: str, new_path: str) -> None:
        with _Disk(path):
            os.rename(path, new_path)

    def remove(self, path: str) -> None:
        with _Disk(path), contextlib.suppress(FileNotFoundError):
            os.unlink(path)

    def remove_directory(self, path: str) -> None:
        with _Disk(path), contextlib.suppress(FileNotFoundError):
            shutil.rmtree(path)

    def sync_directory(self, path: str) -> None:
        if not self.syncs:
            return
        with _Disk(path):
            fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)

    def modified_ms(self, path: str) -> int:
        with _Disk(path), contextlib.suppress(FileNotFoundError):
            return os.stat(path).st_mtime_ns // 1_000_000
        return 0

    def space(self, path: str) -> tuple[int, int]:
        with _Disk(path):
            volume = os.statvfs(path)
        return volume.f_blocks * volume.f_frsize, volume.f_bavail * volume.f_frsize

    def lock(self, path: str) -> OsLock:
        return OsLock(path)

    def boot_id(self) -> str | None:
        content = self.read_bytes("/proc/sys/kernel/random/boot_id")
        return content.decode("ascii").strip() if content else None

    def used(self, file: OsFile) -> None:
        """Note that ``file`` has an open descriptor, and close the least recently used one above the limit.

        Only one of this thread's own: another thread may be about to read from what it has just opened.
        """
        thread = threading.get_ident()
        latest = self._latest
        if latest is not None and latest[0] is file and latest[1] == thread:
            return
        recent = self._recent
        idle = None
        with self._recent_lock:
            self._latest = (file, thread)
            recent[file] = thread
            recent.move_to_end(file)
            if len(recent) > self.open_files_max:
                idle = next((each for each, user in recent.items() if user == thread), file)
                if idle is not file:
                    del recent[idle]
        if idle is not None and idle is not file:
            idle.drop_descriptor()

    def forget(self, file: OsFile) -> None:
        with self._recent_lock:
            self._latest = None
            self._recent.pop(file, None)


class OsFile:
    """See ``File``. The descriptor's own position is always the end, for writev."""

    __slots__ = ("_descriptor", "_files", "_torn", "_writable", "path", "size")

    def __init__(self, files: OsFiles, path: str, size: int, *, writable: bool) -> None:
        self.path = path
        self.size = size
        self._files = files
        self._writable = writable
        self._descriptor: _Descriptor | None = None
        # A write failed and what it left behind could not be cut off yet.
        self._torn = False

    def append(self, parts: Sequence[Buffer], size_bytes: int) -> int:
        fd = self._open().fd
        if self._torn:
            self._cut_back(fd)
        try:
            written = self._files.writev(fd, parts) if len(parts) <= _IOV_MAX else 0
            if written != size_bytes:
                rest = memoryview(b"".join(parts))[written:]
                while rest:
                    written = self._files.writev(fd, [rest])
                    rest = rest[written:]
        except OSError as error:
            # What was written is removed before the failure is raised: a log must not hold an incomplete batch.
            self._torn = True
            with contextlib.suppress(StorageFailure):
                self._cut_back(fd)
            raise _failure(self.path, error) from error
        position = self.size
        self.size = position + size_bytes
        return position

    def read(self, position: int, count: int) -> bytes:
        return self._open().pread(position, count)

    def slice(self, position: int, count: int) -> FileSlice:
        descriptor = self._open()
        descriptor.pins += 1
        return FileSlice(descriptor, position, count)

    def truncate(self, size: int) -> None:
        with _Disk(self.path):
            fd = self._open().fd
            os.ftruncate(fd, size)
            os.lseek(fd, size, os.SEEK_SET)
        self.size = size
        self._torn = False

    def preallocate(self, size: int) -> None:
        allocate = getattr(os, "posix_fallocate", None)
        with _Disk(self.path):
            if allocate is not None:
                allocate(self._open().fd, 0, size)
            else:  # macOS
                os.ftruncate(self._open().fd, size)

    def syncer(self) -> OsSyncer:
        with _Disk(self.path):
            return OsSyncer(self.path, os.dup(self._open().fd), self._files.syncs)

    def close(self) -> None:
        self._files.forget(self)
        self.drop_descriptor()

    def drop_descriptor(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            descriptor.unpin()

    def _open(self) -> _Descriptor:
        descriptor = self._descriptor
        if descriptor is None:
            flags = os.O_RDWR if self._writable else os.O_RDONLY
            if self._writable and self.size == 0:
                # A file that had bytes and is gone must not come back as a hole.
                flags |= os.O_CREAT
            with _Disk(self.path):
                fd = os.open(self.path, flags | os.O_CLOEXEC, 0o644)
                os.lseek(fd, self.size, os.SEEK_SET)
            descriptor = self._descriptor = _Descriptor(self.path, fd)
        self._files.used(self)
        return descriptor

    def _cut_back(self, fd: int) -> None:
        with _Disk(self.path):
            os.ftruncate(fd, self.size)
            os.lseek(fd, self.size, os.SEEK_SET)
        self._torn = False


class OsSyncer:
    __slots__ = ("_fd", "_path", "_syncs")

    def __init__(self, path: str, fd: int, syncs: bool) -> None:
        self._path = path
        self._fd = fd
        self._syncs = syncs

    def run(self) -> None:
        try:
            if self._syncs:
                with _Disk(self._path):
                    _sync(self._fd)
        finally:
            self.close()

    def close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def __del__(self) -> None:
        # When one of several cannot be made, those before it are dropped without a close.
        self.close()


class OsLock:
    """The lock that Java's FileChannel takes, so that kwire and Apache Kafka never use one directory together."""

    __slots__ = ("_fd", "_name")

    def __init__(self, path: str) -> None:
        self._name = os.path.realpath(path)
        if self._name in _locked_in_this_process:
            raise DirectoryInUse(os.path.dirname(path), "in use by another broker in this process")
        with _Disk(path):
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.lockf(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._fd)
            raise DirectoryInUse(os.path.dirname(path), "in use by another process (kwire or Apache Kafka)") from error
        _locked_in_this_process.add(self._name)

    def release(self) -> None:
        if self._name in _locked_in_this_process:
            _locked_in_this_process.discard(self._name)
            os.close(self._fd)


class _Descriptor:
    """An open descriptor, closed at its last unpin: its file holds one pin, each slice another."""

    __slots__ = ("fd", "path", "pins")

    def __init__(self, path: str, fd: int) -> None:
        self.path = path
        self.fd = fd
        self.pins = 1

    def pread(self, position: int, count: int) -> bytes:
        try:
            return os.pread(self.fd, count, position)
        except OSError as error:
            raise _failure(self.path, error) from error

    def sendfile(self, socket_fd: int, position: int, count: int) -> int:
        return os.sendfile(socket_fd, self.fd, position, count)

    def unpin(self) -> None:
        self.pins -= 1
        if self.pins == 0:
            os.close(self.fd)

    def __del__(self) -> None:
        if self.pins > 0:  # a failure has stopped the broker before it closed its logs
            os.close(self.fd)


class _Disk:
    """Turns an OSError of its block into a StorageFailure that names the path."""

    __slots__ = ("_path",)

    def __init__(self, path: str) -> None:
        self._path = path

    def __enter__(self) -> None:
        pass

    def __exit__(self, _type: object, error: BaseException | None, _traceback: object) -> None:
        if isinstance(error, OSError):
            raise _failure(self._path, error) from error


def _failure(path: str, error: OSError) -> StorageFailure:
    return StorageFailure(path, error.strerror or str(error))
