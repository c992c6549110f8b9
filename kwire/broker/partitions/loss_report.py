"""The file that keeps what recovery removed from the logs of a log directory.

Responsible for: the format of ``kwire-recovery-losses.json`` and adding to it. Must not depend on: how losses are found
(``storage.losses``), who reads the file (``kwire doctor --data``).

The file holds one JSON object a line, the oldest first, and at most LOSSES_KEPT_MAX of them. Apache Kafka ignores it,
and it may be deleted at any time.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final, NamedTuple

from kwire.limits import LOSSES_KEPT_MAX
from kwire.storage.files import Files
from kwire.storage.losses import Loss
from kwire.types import TopicPartition

FILE_NAME: Final = "kwire-recovery-losses.json"


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
