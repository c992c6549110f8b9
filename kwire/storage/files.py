"""The files that a log uses: the protocols ``Files`` and ``File``, and slices of a file.

Responsible for: the contract of each call, and ``FileSlice``. Must not depend on: the operating system (``os_files``
and ``kwire.testing.memory.files`` implement the protocols), segments, batches, topics, time.

A ``File`` opens at its first use and may be closed when too many are open; the next use opens it again. A ``FileSlice``
pins the descriptor it reads from, so a reply in flight can be sent even if the file is closed or deleted. Every failure
of the disk is a StorageFailure. Files and slices belong to one thread; only ``FileSlice.pread`` and
``Syncer.run`` may be called from another. A file may pass to another thread: logs are recovered in several threads.
Paths are plain strings: a pathlib.Path for each file would cost start-up more than the files themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeAlias

from kwire.errors import StorageFailure

Buffer: TypeAlias = bytes | bytearray | memoryview


class Files(Protocol):
    """Named files and directories; paths are plain strings. What fails on the disk raises StorageFailure."""

    def open(self, path: str, *, size: int | None = None, writable: bool = True) -> File:
        """Return a handle, without a system call if ``size`` is known. The file is created at its first append."""
        ...

    def sizes(self, directory: str) -> dict[str, int]:
        """Names and sizes of the regular files in the directory; empty if there is no such directory."""
        ...

    def exists(self, path: str) -> bool: ...
    def directories(self, directory: str) -> list[str]:
        """Names of the directories in the directory, sorted; empty if there is no such directory."""
        ...

    def read_bytes(self, path: str) -> bytes | None:
        """Return the whole content; None if there is no such file."""
        ...

    def write_bytes(self, path: str, content: bytes, *, durable: bool) -> None:
        """Replace the whole file at once: after a crash it holds the old or the new content."""
        ...

    def absolute(self, path: str) -> str:
        """Return the absolute path."""
        ...

    def make_directory(self, path: str) -> None:
        """Create a directory and those above it; one that exists is no error."""
        ...

    def rename(self, path: str, new_path: str) -> None:
        """Rename a file or directory; an existing file at ``new_path`` is replaced."""
        ...

    def remove(self, path: str) -> None:
        """Remove a file; one that is not there is no error."""
        ...

    def remove_directory(self, path: str) -> None:
        """Remove a directory and all in it; one that is not there is no error."""
        ...

    def sync_directory(self, path: str) -> None:
        """Make the names in the directory durable: files created, renamed and removed there."""
        ...

    def modified_ms(self, path: str) -> int:
        """When the file was last written, in ms since the epoch; 0 if it is not there."""
        ...

    def space(self, path: str) -> tuple[int, int]:
        """Total and free bytes of the volume that holds ``path``; (-1, -1) if unknown."""
        ...

    def lock(self, path: str) -> Lock:
        """Lock a file, created if missing. Raises DirectoryInUse if another process or broker has locked it."""
        ...

    def boot_id(self) -> str | None:
        """An id of the machine's boot; None if unknown. While it is the same the page cache has lost nothing."""
        ...


class File(Protocol):
    """One file that grows at its end. ``size`` is what was written, whatever was preallocated."""

    path: str
    size: int

    def append(self, parts: Sequence[Buffer], size_bytes: int) -> int:
        """Write all ``parts`` (``size_bytes`` in total) at the end, or nothing; return the position."""
        ...

    def read(self, position: int, count: int) -> bytes:
        """Read up to ``count`` bytes; fewer at the end of the file."""
        ...

    def slice(self, position: int, count: int) -> FileSlice:
        """Return a slice that keeps the descriptor open; the caller closes it."""
        ...

    def truncate(self, size: int) -> None:
        """Cut the file, and what was preallocated, to ``size`` bytes."""
        ...

    def preallocate(self, size: int) -> None:
        """Reserve ``size`` bytes on the disk for the whole file; the attribute ``size`` does not change."""
        ...

    def syncer(self) -> Syncer:
        """Return a handle of its own on this file; the caller runs or closes it."""
        ...

    def close(self) -> None:
        """Close the descriptor; the next use opens the file again."""
        ...


class Lock(Protocol):
    def release(self) -> None: ...


class Syncer(Protocol):
    """A separate handle on one file, so that a thread can sync it even if the file is closed or renamed."""

    def run(self) -> None:
        """Sync and close. Raises StorageFailure."""
        ...

    def close(self) -> None:
        """Close without a sync."""
        ...


class Pinned(Protocol):
    """The open descriptor that a FileSlice reads from."""

    def pread(self, position: int, count: int) -> bytes:
        """Read ``count`` bytes; fewer at the end of the file."""
        ...

    def sendfile(self, socket_fd: int, position: int, count: int) -> int:
        """See ``FileSlice.sendfile_to``."""
        ...

    def unpin(self) -> None:
        """End one use of the descriptor; after the last one it is closed."""
        ...


class DirectoryInUse(StorageFailure):
    """Another process, or another broker in this one, holds the lock of a data directory."""


class FileSlice:
    """A stretch of a file, readable until it is closed, even if the file is deleted meanwhile.

    ``end_offset`` is set by a log: no record in the slice has this offset or a later one, see ``Log.read``.
    """

    __slots__ = ("_count", "_pinned", "_position", "end_offset")

    def __init__(self, pinned: Pinned, position: int, count: int) -> None:
        self._pinned: Pinned | None = pinned
        self._position = position
        self._count = count
        self.end_offset = -1

    def __len__(self) -> int:
        return self._count

    def pread(self, offset: int = 0, count: int | None = None) -> bytes:
        """Read ``count`` bytes from ``offset`` in this slice, by default all. Fewer only if the file was truncated."""
        assert self._pinned is not None, "the slice is closed"
        left = self._count - offset
        return self._pinned.pread(self._position + offset, left if count is None else min(count, left))

    def narrow(self, offset: int, count: int) -> None:
        """Reduce the slice to its ``count`` bytes from ``offset`` on."""
        assert 0 <= offset <= offset + count <= self._count
        self._position += offset
        self._count = count

    def sendfile_to(self, socket_fd: int, offset: int, count: int) -> int:
        """Send up to ``count`` bytes from ``offset`` in this slice to a socket; return how many it took.

        0 means that the file was truncated: the connection must be closed. OSError as ``os.sendfile`` raises it, so
        BlockingIOError when the socket is full.
        """
        assert self._pinned is not None, "the slice is closed"
        return self._pinned.sendfile(socket_fd, self._position + offset, min(count, self._count - offset))

    def close(self) -> None:
        pinned, self._pinned = self._pinned, None
        if pinned is not None:
            pinned.unpin()

    def __del__(self) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"FileSlice({self._count} bytes at {self._position})"
