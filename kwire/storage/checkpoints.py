"""The small text files beside the logs.

Responsible for: their formats, both ways. Must not depend on: their directory, when they are written.

```
*-offset-checkpoint        0 / number of lines / "topic partition offset" each
leader-epoch-checkpoint    0 / number of lines / "epoch start-offset" each
partition.metadata         "version: 0" / "topic_id: <uuid>"
meta.properties            Java properties: version=1, cluster.id, node.id, directory.id
.kafka_cleanshutdown       {"version":0,"brokerEpoch":n}
```
A reader returns None for a file that is missing or damaged: only meta.properties is indispensable.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Final

from kwire.storage.epochs import EpochStart
from kwire.types import TopicPartition, Uuid, uuid_from_text, uuid_text

RECOVERY_POINT_CHECKPOINT: Final = "recovery-point-offset-checkpoint"
LOG_START_OFFSET_CHECKPOINT: Final = "log-start-offset-checkpoint"
HIGH_WATERMARK_CHECKPOINT: Final = "replication-offset-checkpoint"
CLEANER_CHECKPOINT: Final = "cleaner-offset-checkpoint"
LEADER_EPOCH_CHECKPOINT: Final = "leader-epoch-checkpoint"
PARTITION_METADATA: Final = "partition.metadata"
META_PROPERTIES: Final = "meta.properties"
CLEAN_SHUTDOWN: Final = ".kafka_cleanshutdown"

_VERSION: Final = "0"


def write_offsets(offsets: Mapping[TopicPartition, int]) -> bytes:
    lines = [f"{topic} {partition} {offset}" for (topic, partition), offset in offsets.items()]
    return _write_lines(lines)


def read_offsets(content: bytes | None) -> dict[TopicPartition, int] | None:
    lines = _read_lines(content)
    if lines is None:
        return None
    try:
        rows = [line.split(" ") for line in lines]
        return {TopicPartition(topic, int(partition)): int(offset) for topic, partition, offset in rows}
    except ValueError:
        return None


def write_epochs(epochs: Iterable[EpochStart]) -> bytes:
    return _write_lines([f"{epoch} {start_offset}" for epoch, start_offset in epochs])


def read_epochs(content: bytes | None) -> list[EpochStart] | None:
    """Return the entries in ascending order; None also if they are not in that order."""
    lines = _read_lines(content)
    if lines is None:
        return None
    try:
        rows = [line.split(" ") for line in lines]
        entries = [EpochStart(int(epoch), int(start_offset)) for epoch, start_offset in rows]
    except ValueError:
        return None
    before = EpochStart(-1, -1)
    for entry in entries:
        if entry.epoch <= before.epoch or entry.start_offset <= before.start_offset:
            return None
        before = entry
    return entries


def write_partition_metadata(topic_id: Uuid) -> bytes:
    return f"version: 0\ntopic_id: {uuid_text(topic_id)}".encode()


def read_partition_metadata(content: bytes | None) -> Uuid | None:
    """Return the topic id."""
    for line in (content or b"").decode("utf-8", "replace").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "topic_id":
            try:
                return uuid_from_text(value.strip())
            except ValueError:
                return None
    return None


def write_properties(properties: Mapping[str, str]) -> bytes:
    return "".join(f"{name}={_escaped(value)}\n" for name, value in sorted(properties.items())).encode("latin-1")


def read_properties(content: bytes | None) -> dict[str, str] | None:
    if content is None:
        return None
    properties = {}
    for line in content.decode("latin-1").splitlines():
        text = line.strip()
        if text and text[0] not in "#!":
            name, _, value = text.partition("=")
            properties[name.strip()] = re.sub(r"\\(.)", r"\1", value.strip())
    return properties


def write_clean_shutdown(broker_epoch: int) -> bytes:
    return f'{{"version":0,"brokerEpoch":{broker_epoch}}}'.encode()


def read_clean_shutdown(content: bytes | None) -> int:
    """Read the broker epoch of the run that stopped cleanly; -1 if the file does not tell."""
    try:
        return max(-1, int(json.loads(content or b"{}")["brokerEpoch"]))
    except (ValueError, KeyError, TypeError):
        return -1


def _write_lines(lines: list[str]) -> bytes:
    return "".join(f"{line}\n" for line in [_VERSION, str(len(lines)), *lines]).encode()


def _read_lines(content: bytes | None) -> list[str] | None:
    lines = (content or b"").decode("utf-8", "replace").splitlines()
    if len(lines) < 2 or lines[0] != _VERSION or lines[1] != str(len(lines) - 2):
        return None
    return lines[2:]


def _escaped(value: str) -> str:
    return "".join(f"\\{character}" if character in "=:#!\\" else character for character in value)
