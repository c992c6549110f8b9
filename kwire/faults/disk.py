"""Faults of the disk: files whose writes, reads or syncs fail by a rule.

Responsible for: the files that a rule concerns, which operations fail, and the counts of the rule. Must not depend on:
the content of files, requests.

``FaultyFiles`` is between a broker and its files. Operations have three kinds: ``read``, ``write`` and ``sync``. An
fsync runs in a thread of its own, so that counts are changed under a lock.
"""

from __future__ import annotations

import errno
import os
import random
import threading
from collections.abc import Callable, Sequence

import trio

from kwire.broker.clock import Clock
from kwire.errors import StorageFailure
from kwire.faults.rules import DiskFull, IoError, Rule, SlowSync, SyncError, Trigger
from kwire.storage.files import Buffer, File, Files, FileSlice, Lock, Syncer


class ArmedOnDisk:
    """One rule for files.

    ``matched`` counts the operations that it applies to, ``fired`` those that it disturbed, ``not_matched`` (about) the
    others.

    ``clock`` is that of the broker; made and disarmed in its event loop.
    """

    def __init__(self, rule: Rule, clock: Clock) -> None:
        self.rule = rule
        self.matched = 0
        self.fired = 0
        self.not_matched = 0
        self._clock = clock
        self._random = random.Random(rule.trigger.seed)  # noqa: S311 - it repeats on purpose
        self._counting = threading.Lock()
        self._over = threading.Event()
        self._loop_thread = threading.get_ident()
        self._fired_once_more = trio.Event()

    @property
    def is_released(self) -> bool:
        return self._over.is_set()

    def release(self) -> None:
        """End the current delays, and delay no more operations."""
        self._over.set()

    async def wait_fired(self, times: int) -> None:
        """Return once it has disturbed ``times`` operations since it was armed."""
        while self.fired < times:
            await self._fired_once_more.wait()

    def move_to(self, clock: Clock) -> None:
        """Follow the clock of another broker."""
        self._clock = clock

    def at(self, operation: str, path: str) -> None:
        """Disturb an operation if it is due. Raises StorageFailure."""
        effect = self.rule.effect
        if not self._concerns(operation, path):
            self.not_matched += 1
            return
        if not self._triggers():
            return
        if isinstance(effect, SlowSync):
            # On the event loop there is no delay, which would stop the whole broker.
            if threading.get_ident() != self._loop_thread:
                self._over.wait(effect.ms / 1000)
            return
        number = errno.ENOSPC if isinstance(effect, DiskFull) else errno.EIO
        failure = StorageFailure(path, os.strerror(number))
        raise failure from OSError(number, os.strerror(number))

    def _concerns(self, operation: str, path: str) -> bool:
        match self.rule.effect:
            case DiskFull():
                concerned = operation == "write"
            case IoError(kind):
                concerned = kind in {"any", operation}
            case SyncError() | SlowSync():
                concerned = operation == "sync"
            case _:
                raise AssertionError(self.rule.effect)
        return concerned and self._names(path)

    def _names(self, path: str) -> bool:
        scope = self.rule.scope
        if scope.topic is None:
            return True
        wanted = f"{scope.topic}-" if scope.partition is None else f"{scope.topic}-{scope.partition}"
        for name in path.split("/")[-2:]:
            topic, dash, index = name.rpartition("-")
            if dash and index.isdecimal() and (name == wanted or (scope.partition is None and topic + dash == wanted)):
                return True
        return False

    def _triggers(self) -> bool:
        with self._counting:
            self.matched += 1
            if not self._is_due(self.rule.trigger):
                return False
            self.fired += 1
        if threading.get_ident() == self._loop_thread:
            self._notify()
        else:
            trio.from_thread.run_sync(self._notify)
        return True

    def _notify(self) -> None:
        self._fired_once_more.set()
        self._fired_once_more = trio.Event()

    def _is_due(self, trigger: Trigger) -> bool:
        if self.matched <= trigger.skip or (trigger.times is not None and self.fired >= trigger.times):
            return False
        now_ms = self._clock.now_ms()
        if trigger.from_ms is not None and now_ms < trigger.from_ms:
            return False
        if trigger.until_ms is not None and now_ms >= trigger.until_ms:
            return False
        return trigger.probability >= 1.0 or self._random.random() < trigger.probability


class FaultyFiles:
    """Files between a broker and ``inner``; see ``kwire.storage.files.Files``. ``rules`` are those that are armed."""

    def __init__(self, inner: Files) -> None:
        self.inner = inner
        self.rules: tuple[ArmedOnDisk, ...] = ()

    def check(self, operation: str, path: str) -> None:
        """Raise StorageFailure, or delay, by the rules."""
        for rule in self.rules:
            rule.at(operation, path)

    def open(self, path: str, *, size: int | None = None, writable: bool = True) -> File:
        return _FaultyFile(self, self.inner.open(path, size=size, writable=writable))

    def sizes(self, directory: str) -> dict[str, int]:
        return self.inner.sizes(directory)

    def exists(self, path: str) -> bool:
        return self.inner.exists(path)

    def directories(self, directory: str) -> list[str]:
        return self.inner.directories(directory)

    def read_bytes(self, path: str) -> bytes | None:
        self.check("read", path)
        return self.inner.read_bytes(path)

    def write_bytes(self, path: str, content: bytes, *, durable: bool) -> None:
        self.check("write", path)
        if durable:
            self.check("sync", path)
        self.inner.write_bytes(path, content, durable=durable)

    def absolute(self, path: str) -> str:
        return self.inner.absolute(path)

    def make_directory(self, path: str) -> None:
        self.check("write", path)
        self.inner.make_directory(path)

    def rename(self, path: str, new_path: str) -> None:
        self.inner.rename(path, new_path)

    def remove(self, path: str) -> None:
        self.inner.remove(path)

    def remove_directory(self, path: str) -> None:
        self.inner.remove_directory(path)

    def sync_directory(self, path: str) -> None:
        self.check("sync", path)
        self.inner.sync_directory(path)

    def modified_ms(self, path: str) -> int:
        return self.inner.modified_ms(path)

    def space(self, path: str) -> tuple[int, int]:
        return self.inner.space(path)

    def lock(self, path: str) -> Lock:
        return self.inner.lock(path)

    def boot_id(self) -> str | None:
        return self.inner.boot_id()


class _FaultyFile:
    """See ``kwire.storage.files.File``."""

    __slots__ = ("_files", "_inner", "path")

    def __init__(self, files: FaultyFiles, inner: File) -> None:
        self.path = inner.path
        self._files = files
        self._inner = inner

    @property
    def size(self) -> int:
        return self._inner.size

    @size.setter
    def size(self, value: int) -> None:
        self._inner.size = value

    def append(self, parts: Sequence[Buffer], size_bytes: int) -> int:
        if self._files.rules:
            self._files.check("write", self.path)
        return self._inner.append(parts, size_bytes)

    def read(self, position: int, count: int) -> bytes:
        if self._files.rules:
            self._files.check("read", self.path)
        return self._inner.read(position, count)

    def slice(self, position: int, count: int) -> FileSlice:
        if self._files.rules:
            self._files.check("read", self.path)
        return self._inner.slice(position, count)

    def truncate(self, size: int) -> None:
        self._inner.truncate(size)

    def preallocate(self, size: int) -> None:
        self._files.check("write", self.path)
        self._inner.preallocate(size)

    def syncer(self) -> Syncer:
        return _FaultySyncer(self._files.check, self.path, self._inner.syncer())

    def close(self) -> None:
        self._inner.close()


class _FaultySyncer:
    """See ``kwire.storage.files.Syncer``."""

    __slots__ = ("_check", "_inner", "_path")

    def __init__(self, check: Callable[[str, str], None], path: str, inner: Syncer) -> None:
        self._check = check
        self._path = path
        self._inner = inner

    def run(self) -> None:
        try:
            self._check("sync", self._path)
        except StorageFailure:
            self._inner.close()
            raise
        self._inner.run()

    def close(self) -> None:
        self._inner.close()


def without_faults(files: Files) -> Files:
    """Give the files behind those that may fail."""
    return files.inner if isinstance(files, FaultyFiles) else files
