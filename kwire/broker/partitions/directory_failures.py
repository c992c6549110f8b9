"""Log directories that fail while the broker runs (KIP-112, KIP-858).

Responsible for: which storage failure means that a whole log directory has failed, and taking it offline: its logs are
closed, its replicas refuse requests with KAFKA_STORAGE_ERROR until the next start. Must not depend on: where a failure
occurred.

A node without other brokers takes no directory offline: there is no other replica, so a log that failed tries again at
its next append. In a cluster other replicas can lead, so the directory goes offline as in Apache Kafka. Some errors of
the operating system are certain to concern the whole directory; after any other a test file is written.
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Awaitable, Callable
from typing import Final

import trio

from kwire.broker.directories.log_dirs import LogDir, LogDirs
from kwire.broker.logs import Logger
from kwire.broker.partitions.partitions import Partitions
from kwire.errors import StorageFailure

log = Logger("kwire.broker")

_PROBE: Final = ".write-probe"
# Errors of a disk or a file system, not of one file.
_CERTAIN: Final = frozenset(
    {
        errno.EIO,
        errno.ENOSPC,
        errno.EROFS,
        errno.ENODEV,
        errno.ENXIO,
        errno.ESTALE,
        errno.EDQUOT,
    }
)
# Errors of this process.
_NOT_OF_THE_DISK: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EINTR, errno.EAGAIN})


class LogDirFailures:
    """Takes log directories offline. ``run`` finds out which failed, and awaits ``on_offline`` with each of them."""

    def __init__(
        self,
        *,
        dirs: LogDirs,
        partitions: Partitions,
        on_offline: Callable[[LogDir], Awaitable[None]],
    ) -> None:
        self._dirs = dirs
        self._partitions = partitions
        self._on_offline = on_offline
        # Reported failures by directory: whether it is certain that the directory has failed.
        self._suspected: dict[str, bool] = {}
        self._some = trio.Event()

    def note(self, failure: StorageFailure) -> None:
        """Look at a storage failure: it may be that of a whole directory."""
        one = self._dirs.of_file(failure.path)
        if one is None or one.is_offline:
            return
        cause = failure.__cause__
        number = cause.errno if isinstance(cause, OSError) else None
        if number not in _NOT_OF_THE_DISK:
            self._suspected[one.path] = self._suspected.get(one.path, False) or number in _CERTAIN
            self._some.set()

    async def run(self) -> None:
        """Take directories offline until cancelled."""
        while True:
            await self._some.wait()
            self._some = trio.Event()
            suspected, self._suspected = self._suspected, {}
            for path, is_certain in suspected.items():
                one = self._dirs.by_path(path)
                assert one is not None
                if one.is_offline or not (is_certain or await trio.to_thread.run_sync(_refuses_a_file, one)):
                    continue
                one.is_offline = True
                count = self._partitions.take_offline(one)
                log.error("log directory offline: it failed", directory=path, partitions=count)
                await self._on_offline(one)


def _refuses_a_file(one: LogDir) -> bool:
    path = one.file(_PROBE)
    try:
        one.files.write_bytes(path, b"", durable=True)
    except StorageFailure:
        return True
    finally:
        with contextlib.suppress(StorageFailure):
            one.files.remove(path)
    return False
