"""Files in memory: a broker without a disk, and a disk that fails on demand.

Responsible for: the counterpart of ``kwire.storage.os_files.OsFiles`` in memory, the state after a kill or a power cut,
injected faults. Must not depend on: the content of the files.

A file holds the bytes that were written and how many of them were synced. ``kill`` models the end of the process: all
completed writes stay, the last one may be torn. ``cut_power`` models the end of the machine: unsynced bytes may be
missing, partly written, or zeros. ``fork`` makes an independent copy, for many brokers from one prepared state.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Sequence
from typing import TypeAlias

from kwire.errors import StorageFailure
from kwire.storage.files import Buffer, DirectoryInUse, FileSlice

# Called before each operation with its name and path; returns the error to fail with, or None.
Fault: TypeAlias = Callable[[str, str], OSError | None]


class MemoryFiles:
    """See ``kwire.storage.files.Files``. ``clock_ms`` becomes the modification time of a file that is written."""

    def __init__(self) -> None:
        self.clock_ms = 0
        self.boot = "memory"
        # Bytes that may still be written before the disk is full; None is no limit.
        self.free_bytes: int | None = None
        self.fault: Fault | None = None
        self._nodes: dict[str, _Node] = {}
        self._directories: set[str] = set()
        self._durable_names: dict[str, _Node] = {}
        self._locked: set[str] = set()
        self._last_write: tuple[_Node, int] | None = None

    # --- the Files protocol

    def open(self, path: str, *, size: int | None = None, writable: bool = True) -> MemoryFile:
        if size is None:
            node = self._nodes.get(path)
            size = len(node.content) if node else 0
        return MemoryFile(self, path, size, writable=writable)

    def sizes(self, directory: str) -> dict[str, int]:
        self.check("list", directory)
        prefix = directory + "/"
        return {
            path[len(prefix) :]: len(node.content)
            for path, node in self._nodes.items()
            if path.startswith(prefix) and "/" not in path[len(prefix) :]
        }

    def exists(self, path: str) -> bool:
        self.check("stat", path)
        return path in self._nodes

    def directories(self, directory: str) -> list[str]:
        prefix = directory + "/"
        return sorted(
            path[len(prefix) :]
            for path in self._directories
            if path.startswith(prefix) and "/" not in path[len(prefix) :]
        )

    def read_bytes(self, path: str) -> bytes | None:
        self.check("read", path)
        node = self._nodes.get(path)
        return bytes(node.content) if node else None

    def write_bytes(self, path: str, content: bytes, *, durable: bool) -> None:
        self.check("write", path)
        self.take_space(path, len(content))
        node = _Node(self.clock_ms)
        node.content += content
        self._nodes[path] = node
        if durable:
            node.synced = len(content)
            self._durable_names[path] = node

    def absolute(self, path: str) -> str:
        return path  # every name is relative to the root

    def make_directory(self, path: str) -> None:
        self.check("mkdir", path)
        parts = path.split("/")
        self._directories |= {"/".join(parts[:count]) for count in range(1, len(parts) + 1)}

    def rename(self, path: str, new_path: str) -> None:
        self.check("rename", path)
        if path not in self._nodes and path not in self._directories:
            raise _failure(path, errno.ENOENT)
        for names in (self._nodes, self._durable_names):
            for name in [name for name in names if name == path or name.startswith(path + "/")]:
                names[new_path + name[len(path) :]] = names.pop(name)
        inside = {name for name in self._directories if name == path or name.startswith(path + "/")}
        self._directories = (self._directories - inside) | {new_path + name[len(path) :] for name in inside}

    def remove(self, path: str) -> None:
        self.check("remove", path)
        self._nodes.pop(path, None)
        self._durable_names.pop(path, None)

    def remove_directory(self, path: str) -> None:
        self.check("remove", path)
        for names in (self._nodes, self._durable_names):
            for name in [name for name in names if name.startswith(path + "/")]:
                del names[name]
        self._directories = {name for name in self._directories if name != path and not name.startswith(path + "/")}

    def sync_directory(self, path: str) -> None:
        self.check("sync", path)
        prefix = path + "/"
        # Copies, made in one step: it is called in a thread, while the event loop creates and removes files.
        nodes, durable = list(self._nodes.items()), list(self._durable_names)
        for name in [name for name in durable if name.startswith(prefix) and name not in self._nodes]:
            self._durable_names.pop(name, None)
        self._durable_names.update({name: node for name, node in nodes if name.startswith(prefix)})

    def modified_ms(self, path: str) -> int:
        node = self._nodes.get(path)
        return node.modified_ms if node else 0

    def space(self, path: str) -> tuple[int, int]:
        del path  # memory is one volume of unknown size
        return -1, -1

    def lock(self, path: str) -> MemoryLock:
        if path in self._locked:
            raise DirectoryInUse(path, "in use by another broker")
        return MemoryLock(self._locked, path)

    def boot_id(self) -> str | None:
        return self.boot

    # --- for tests

    def fork(self) -> MemoryFiles:
        """Make an independent copy of everything that is written, unlocked."""
        copy = MemoryFiles()
        copy.clock_ms = self.clock_ms
        copy.boot = self.boot
        nodes, durable = dict(self._nodes), dict(self._durable_names)
        copies = {id(node): node.copy() for node in [*nodes.values(), *durable.values()]}
        copy._nodes = {path: copies[id(node)] for path, node in nodes.items()}
        copy._durable_names = {path: copies[id(node)] for path, node in durable.items()}
        copy._directories = set(self._directories)
        return copy

    def content(self, path: str) -> bytearray:
        """Return the bytes of a file, to read or to damage. Raises KeyError if it does not exist."""
        return self._nodes[path].content

    def paths(self) -> list[str]:
        return sorted(self._nodes)

    def kill(self, *, torn_bytes: int | None = None) -> None:
        """End the process: locks are released. ``torn_bytes`` bytes of the last append are missing from the file."""
        self._locked.clear()
        if torn_bytes and self._last_write is not None:
            node, size = self._last_write
            preallocated = len(node.content) - size
            del node.content[max(0, size - torn_bytes) :]
            if preallocated > 0:
                node.content += bytes(preallocated + torn_bytes)
        self._last_write = None

    def cut_power(self, kept: Callable[[int], int]) -> None:
        """End the machine. ``kept(n)`` returns a number from 0 to n: how many of n unsynced bytes are kept."""
        self._locked.clear()
        self._last_write = None
        self.boot += "+"
        for path, node in list(self._nodes.items()):
            durable = self._durable_names.get(path)
            if durable is not node and kept(1) == 0:
                # The name, or its change to this content, did not reach the disk.
                if durable is None:
                    del self._nodes[path]
                    continue
                node = self._nodes[path] = durable  # noqa: PLW2901
            node.lose_unsynced(kept)
        self._durable_names = dict(self._nodes)

    # --- used by MemoryFile

    def check(self, operation: str, path: str) -> None:
        """Raise StorageFailure if a fault is injected here."""
        error = self.fault(operation, path) if self.fault is not None else None
        if error is not None:
            raise StorageFailure(path, error.strerror or str(error)) from error

    def take_space(self, path: str, size: int) -> None:
        """Take bytes of ``free_bytes``. Raises StorageFailure (ENOSPC) if fewer are left."""
        if self.free_bytes is not None:
            if size > self.free_bytes:
                raise _failure(path, errno.ENOSPC)
            self.free_bytes -= size

    def node(self, path: str, *, create: bool) -> _Node:
        node = self._nodes.get(path)
        if node is None:
            if not create:
                raise _failure(path, errno.ENOENT)
            if path.rpartition("/")[0] not in self._directories:
                raise _failure(path, errno.ENOENT)
            node = self._nodes[path] = _Node(self.clock_ms)
        return node

    def wrote(self, node: _Node, size: int) -> None:
        self._last_write = (node, size)
        node.modified_ms = self.clock_ms


class MemoryFile:
    """See ``kwire.storage.files.File``."""

    __slots__ = ("_files", "_node", "_writable", "path", "size")

    def __init__(self, files: MemoryFiles, path: str, size: int, *, writable: bool) -> None:
        self.path = path
        self.size = size
        self._files = files
        self._writable = writable
        # Like a descriptor, this still refers to a file that was renamed or removed.
        self._node: _Node | None = None

    def append(self, parts: Sequence[Buffer], size_bytes: int) -> int:
        self._files.check("append", self.path)
        self._files.take_space(self.path, size_bytes)
        node = self._open()
        position = self.size
        joined = b"".join(parts)
        assert len(joined) == size_bytes, "size_bytes is not the size of the parts"
        node.content[position : position + size_bytes] = joined
        self.size = position + size_bytes
        self._files.wrote(node, self.size)
        return position

    def read(self, position: int, count: int) -> bytes:
        self._files.check("read", self.path)
        return self._open().pread(position, count)

    def slice(self, position: int, count: int) -> FileSlice:
        self._files.check("read", self.path)
        return FileSlice(self._open(), position, count)

    def truncate(self, size: int) -> None:
        self._files.check("truncate", self.path)
        node = self._open()
        del node.content[size:]
        node.content += bytes(size - len(node.content))
        node.synced = min(node.synced, size)
        self.size = size

    def preallocate(self, size: int) -> None:
        self._files.check("preallocate", self.path)
        content = self._open().content
        content += bytes(max(0, size - len(content)))

    def syncer(self) -> MemorySyncer:
        return MemorySyncer(self._files, self.path, self._open())

    def close(self) -> None:
        self._node = None

    def _open(self) -> _Node:
        if self._node is None:
            self._node = self._files.node(self.path, create=self._writable)
        return self._node


class MemorySyncer:
    """See ``kwire.storage.files.Syncer``."""

    __slots__ = ("_files", "_node", "_path")

    def __init__(self, files: MemoryFiles, path: str, node: _Node) -> None:
        self._files = files
        self._path = path
        self._node = node

    def run(self) -> None:
        self._files.check("sync", self._path)
        self._node.synced = len(self._node.content)

    def close(self) -> None:
        pass


class MemoryLock:
    """See ``kwire.storage.files.Lock``."""

    __slots__ = ("_locked", "_path")

    def __init__(self, locked: set[str], path: str) -> None:
        self._locked = locked
        self._path = path
        locked.add(path)

    def release(self) -> None:
        self._locked.discard(self._path)


class _Node:
    """The bytes of one file; the counterpart of an inode."""

    __slots__ = ("content", "modified_ms", "synced")

    def __init__(self, modified_ms: int) -> None:
        self.content = bytearray()
        self.synced = 0
        self.modified_ms = modified_ms

    def copy(self) -> _Node:
        copy = _Node(self.modified_ms)
        copy.content += self.content
        copy.synced = self.synced
        return copy

    def lose_unsynced(self, kept: Callable[[int], int]) -> None:
        unsynced = len(self.content) - self.synced
        size = self.synced + kept(unsynced)
        # The size of the file may have reached the disk before all of its bytes.
        written = self.synced + kept(size - self.synced)
        del self.content[size:]
        self.content[written:] = bytes(size - written)
        self.synced = size

    # The methods that a FileSlice calls.

    def pread(self, position: int, count: int) -> bytes:
        return bytes(self.content[position : position + count])

    def sendfile(self, socket_fd: int, position: int, count: int) -> int:
        return os.write(socket_fd, self.pread(position, count))

    def unpin(self) -> None:
        pass


def _failure(path: str, code: int) -> StorageFailure:
    failure = StorageFailure(path, os.strerror(code))
    failure.__cause__ = OSError(code, os.strerror(code))
    return failure
