"""Problems of a log directory that no broker uses.

Responsible for: the checks of ``kwire doctor --data``, and the advice for each problem. Must not
depend on: how findings are shown. Nothing in the directory is changed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

from kwire.broker.directories import loss_report
from kwire.broker.directories.log_dirs import LOCK_NAME, foreign_directories
from kwire.cli.diagnosis.diagnosis import Finding, Level
from kwire.errors import StorageFailure
from kwire.metadata.log.log_format import list_snapshots, read_snapshot
from kwire.storage import checkpoints
from kwire.storage.files import DirectoryInUse
from kwire.storage.os_files import OsFiles
from kwire.storage.recovery.verification import verify_log
from kwire.types import METADATA_TOPIC

_METADATA_DIRECTORY: Final = f"{METADATA_TOPIC}-0"
_SHOWN_MAX: Final = 10
_FILES: Final = (
    checkpoints.RECOVERY_POINT_CHECKPOINT,
    checkpoints.LOG_START_OFFSET_CHECKPOINT,
    checkpoints.HIGH_WATERMARK_CHECKPOINT,
    checkpoints.CLEANER_CHECKPOINT,
)


def examine_data(path: str) -> Iterator[Finding]:
    """Check one log directory; ends early if it is in use or is none."""
    files = OsFiles()
    path = files.absolute(path).rstrip("/")
    names, directories = files.sizes(path), files.directories(path)
    if not names and not directories:
        yield Finding("data", "problem", f"{path} is not a log directory: it is empty or does not exist")
        return
    if LOCK_NAME in names:
        try:
            files.lock(f"{path}/{LOCK_NAME}").release()
        except DirectoryInUse:
            yield Finding("lock", "problem", f"{path} is in use by a running broker", "Stop the broker first.")
            return
    yield Finding("lock", "ok", "no broker uses the directory")
    yield _identity(files, path, has_logs=any(_is_partition(name) for name in directories))
    if checkpoints.CLEAN_SHUTDOWN in names:
        yield Finding("stop", "ok", "the last broker stopped cleanly")
    else:
        yield Finding("stop", "warning", "the last broker did not stop cleanly: the next start checks the logs")
    yield _checkpoints(files, path, names)
    yield from _metadata(files, path, directories)
    yield from _logs(files, path, directories)
    foreign = foreign_directories(files, path)
    if foreign:
        yield Finding(
            "logs",
            "warning",
            f"folders that are not partitions: {', '.join(foreign)}",
            "kwire ignores them; Apache Kafka does not start with them. Use a subdirectory of the volume.",
        )
    yield from _losses(files, path)


def _identity(files: OsFiles, path: str, *, has_logs: bool) -> Finding:
    properties = checkpoints.read_properties(files.read_bytes(f"{path}/{checkpoints.META_PROPERTIES}"))
    if properties is None:
        level: Level = "problem" if has_logs else "warning"
        return Finding("identity", level, f"{checkpoints.META_PROPERTIES} is missing", "Restore it from a backup.")
    lacking = [key for key in ("cluster.id", "node.id") if not properties.get(key)]
    if lacking:
        what = f"{checkpoints.META_PROPERTIES} has no {' and no '.join(lacking)}"
        return Finding("identity", "problem", what, "Restore it from a backup.")
    return Finding("identity", "ok", f"node {properties['node.id']} of cluster {properties['cluster.id']}")


def _checkpoints(files: OsFiles, path: str, names: dict[str, int]) -> Finding:
    damaged = [
        name
        for name in _FILES
        if name in names and checkpoints.read_offsets(files.read_bytes(f"{path}/{name}")) is None
    ]
    if damaged:
        return Finding(
            "checkpoints",
            "warning",
            f"cannot read {', '.join(damaged)}",
            "The next start ignores it: logs are checked from their beginning, and records deleted with DeleteRecords"
            " may be visible again.",
        )
    return Finding("checkpoints", "ok", f"{sum(name in names for name in _FILES)} offset checkpoints can be read")


def _metadata(files: OsFiles, path: str, directories: list[str]) -> Iterator[Finding]:
    if _METADATA_DIRECTORY not in directories:
        yield Finding("metadata", "warning", "no metadata log here (metadata.log.dir may name another directory)")
        return
    directory = f"{path}/{_METADATA_DIRECTORY}"
    problems: list[str] = []
    snapshots = list_snapshots(files.sizes(directory))
    try:
        problems += verify_log(files, directory).problems
        for snapshot in snapshots:
            snapshot_path = f"{directory}/{snapshot.file_name}"
            read_snapshot(snapshot_path, files.read_bytes(snapshot_path) or b"")
    except StorageFailure as failure:
        problems.append(str(failure))
    for problem in problems:
        yield Finding("metadata", "problem", problem, "Restore the directory from a backup.")
    if not problems:
        yield Finding("metadata", "ok", f"the metadata log and {len(snapshots)} snapshots are sound")


def _logs(files: OsFiles, path: str, directories: list[str]) -> Iterator[Finding]:
    logs = batches = size_bytes = problems = 0
    for name in sorted(directories):
        if not _is_partition(name):
            continue
        logs += 1
        try:
            verified = verify_log(files, f"{path}/{name}")
        except StorageFailure as failure:
            found: tuple[str, ...] = (str(failure),)
        else:
            found = verified.problems
            batches += verified.batches
            size_bytes += verified.size_bytes
        problems += len(found)
        for problem in found:
            yield Finding("logs", "problem", problem, "A start after an unclean stop removes the rest of the log.")
    if not problems:
        yield Finding("logs", "ok", f"{logs} logs are sound: {batches} batches, {size_bytes} bytes")


def _losses(files: OsFiles, path: str) -> Iterator[Finding]:
    losses = loss_report.read(files, path)
    if not losses:
        yield Finding("losses", "ok", "no recovery has reported lost records")
        return
    records: Counter[str] = Counter()
    for loss in losses:
        records[f"{loss.topic}-{loss.partition}"] += loss.end_offset - loss.first_offset
    yield Finding(
        "losses",
        "warning",
        f"recoveries have lost at least {records.total()} records in {len(records)} partitions",
        f"Details are in {path}/{loss_report.FILE_NAME}, which may be deleted.",
    )
    for loss in losses[-_SHOWN_MAX:]:
        time = datetime.fromtimestamp(loss.time_ms / 1000, UTC).isoformat(timespec="seconds")
        yield Finding(
            "losses",
            "warning",
            f"{time} {loss.topic}-{loss.partition}: offsets {loss.first_offset} to {loss.end_offset},"
            f" {loss.size_bytes} bytes: {loss.cause}",
        )


def _is_partition(name: str) -> bool:
    topic, dash, index = name.rpartition("-")
    return bool(topic and dash) and index.isdecimal() and topic != METADATA_TOPIC
