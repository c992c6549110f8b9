"""Reports records that a start of the broker found missing, or removed, from the logs of a log directory.

Responsible for: a warning for each loss, the format of ``kwire-recovery-losses.json`` and adding to it. Must not depend
on: how losses are found (``storage.recovery.losses``), the command that reads the file (``kwire doctor --data``).

The file holds one JSON object a line, the oldest first, and at most LOSSES_KEPT_MAX of them. Apache Kafka ignores it,
and it may be deleted at any time.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from typing import Final, NamedTuple

from kwire.broker.logs import Logger
from kwire.errors import StorageFailure
from kwire.limits import LOSSES_KEPT_MAX
from kwire.storage.files import Files
from kwire.storage.recovery.losses import Loss
from kwire.types import TopicPartition

log = Logger("kwire.broker")

FILE_NAME: Final = "kwire-recovery-losses.json"
# Logs are recovered in several threads, and ``write`` reads the file first.
_lock: Final = threading.Lock()


class ReportedLoss(NamedTuple):
    """One line of the file. ``time_ms``: when the recovery was, in ms since the epoch; the others are those of Loss."""

    time_ms: int
    topic: str
    partition: int
    first_offset: int
    end_offset: int
    size_bytes: int
    cause: str


def report(files: Files, directory: str, partition: TopicPartition, losses: Sequence[Loss], *, time_ms: int) -> None:
    """Log each loss, and add it to the file of the log directory. A file that cannot be written is logged too."""
    for loss in losses:
        log.warning(
            "records lost",
            partition=str(partition),
            first_offset=loss.first_offset,
            end_offset=loss.end_offset,
            bytes=loss.size_bytes,
            cause=str(loss.cause),
            directory=directory,
        )
    try:
        with _lock:
            write(files, directory, partition, losses, time_ms=time_ms)
    except StorageFailure as failure:
        log.failure("cannot write the loss report", failure, partition=str(partition), directory=directory)


def write(files: Files, directory: str, partition: TopicPartition, losses: Sequence[Loss], *, time_ms: int) -> None:
    """Add losses to the file of a log directory. Raises StorageFailure."""
    reported = [
        *read(files, directory),
        *(ReportedLoss(time_ms, *partition, *loss[:3], str(loss.cause)) for loss in losses),
    ]
    lines = [json.dumps(one._asdict()) + "\n" for one in reported[-LOSSES_KEPT_MAX:]]
    files.write_bytes(f"{directory}/{FILE_NAME}", "".join(lines).encode(), durable=True)


def read(files: Files, directory: str) -> list[ReportedLoss]:
    """Read the file of a log directory; lines that cannot be read are left out. Raises StorageFailure."""
    reported = []
    for line in (files.read_bytes(f"{directory}/{FILE_NAME}") or b"").decode("utf-8", "replace").splitlines():
        try:
            reported.append(ReportedLoss(**json.loads(line)))
        except (TypeError, ValueError):
            continue
    return reported
