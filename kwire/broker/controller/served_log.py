"""The metadata log as other nodes read it: Fetch and FetchSnapshot on ``__cluster_metadata``.

Responsible for: what a reader at an offset and epoch gets (records, a diverging epoch, a snapshot to load), waiting for
the next record, and how far each observer has read. Must not depend on: requests, how the log is written.

The log has one voter, so everything in it is committed: the high watermark is its end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import trio

from kwire.broker.clock import Clock
from kwire.broker.controller.interface import Observer
from kwire.broker.controller.metadata_log import MetadataLog
from kwire.broker.endpoint import Endpoint
from kwire.errors import Code, KafkaError
from kwire.metadata.image import Delta
from kwire.metadata.log.log_format import SnapshotId, list_snapshots
from kwire.storage.epochs import EpochEnd
from kwire.storage.files import Files, FileSlice
from kwire.types import Uuid

# The most bytes of one answer, whatever the request allows.
_FETCH_BYTES_MAX: Final = 8 * 1024 * 1024
# An observer that has not fetched for this long is not listed any more, as in Apache Kafka.
_OBSERVER_KEPT_MS: Final = 300_000


class MetadataRead(NamedTuple):
    """Records, a diverging epoch, or a snapshot to load. The caller sends or closes ``records``."""

    records: FileSlice | None = None
    diverging: EpochEnd | None = None
    snapshot: SnapshotId | None = None

    @property
    def is_empty(self) -> bool:
        return self == (None, None, None)


class SnapshotPart(NamedTuple):
    """A part of a snapshot; ``size_bytes`` is that of the whole."""

    content: bytes
    size_bytes: int


@dataclass(slots=True)
class _Reader:
    log_end_offset: int
    fetched_ms: int
    caught_up_ms: int


class ServedLog:
    """The reader's side of the metadata log. ``endpoints`` are the controller listeners as other nodes see them."""

    def __init__(self, log: MetadataLog, files: Files, *, clock: Clock, endpoints: Sequence[Endpoint]) -> None:
        self._log = log
        self._files = files
        self._clock = clock
        self.endpoints = tuple(endpoints)
        self._readers: dict[tuple[int, Uuid], _Reader] = {}
        self._appended = trio.Event()

    @property
    def leader_id(self) -> int:
        return self._log.node_id

    @property
    def leader_epoch(self) -> int:
        return self._log.epoch

    @property
    def high_watermark(self) -> int:
        return self._log.end_offset

    @property
    def log_start_offset(self) -> int:
        return self._log.log_start_offset

    @property
    def appended(self) -> trio.Event:
        """An event that is set by the next append."""
        return self._appended

    def on_metadata_delta(self, _delta: Delta) -> None:
        """Wake the readers that wait: records were appended."""
        self._appended.set()
        self._appended = trio.Event()

    def check_epoch(self, epoch: int) -> None:
        """Compare a reader's leader epoch. Raises KafkaError: FENCED_LEADER_EPOCH, UNKNOWN_LEADER_EPOCH."""
        if epoch < self._log.epoch:
            raise KafkaError(Code.FENCED_LEADER_EPOCH)
        if epoch > self._log.epoch:
            raise KafkaError(Code.UNKNOWN_LEADER_EPOCH)

    def read(self, offset: int, last_fetched_epoch: int, max_bytes: int) -> MetadataRead:
        """Read whole batches from the one that holds ``offset`` on. At least one batch, however small ``max_bytes``.

        Raises StorageFailure.
        """
        log, latest = self._log.log, self._log.latest_snapshot
        if latest is not None and (offset == 0 or self._needs_snapshot(offset, last_fetched_epoch, latest)):
            return MetadataRead(snapshot=latest)
        if offset or last_fetched_epoch:
            end = log.offset_for_epoch(last_fetched_epoch)
            if end.epoch != last_fetched_epoch or end.end_offset < offset:
                return MetadataRead(diverging=end)
        end_offset = log.end_offset
        max_bytes = min(max(max_bytes, 0), _FETCH_BYTES_MAX)
        return MetadataRead(log.read(offset, max_bytes=max_bytes, end_offset=end_offset, at_least_one=True))

    def note_reader(self, node_id: int, directory_id: Uuid, offset: int) -> None:
        """Note that an observer fetches from ``offset`` on: it has everything before.

        A reader without a node id, such as a consumer, is no observer.
        """
        if node_id < 0:
            return
        now_ms = self._clock.now_ms()
        key = (node_id, directory_id)
        before = self._readers.get(key)
        if before is None:
            self._forget_readers()
        caught_up_ms = now_ms if offset >= self.high_watermark or before is None else before.caught_up_ms
        self._readers[key] = _Reader(offset, now_ms, caught_up_ms)

    def observers(self) -> list[Observer]:
        """List the observers that fetched lately."""
        self._forget_readers()
        return [
            Observer(node_id, directory_id, one.log_end_offset, one.fetched_ms, one.caught_up_ms)
            for (node_id, directory_id), one in self._readers.items()
        ]

    def _forget_readers(self) -> None:
        oldest_ms = self._clock.now_ms() - _OBSERVER_KEPT_MS
        for key in [key for key, one in self._readers.items() if one.fetched_ms < oldest_ms]:
            del self._readers[key]

    def read_snapshot(self, snapshot_id: SnapshotId, position: int, max_bytes: int) -> SnapshotPart:
        """Read a part of a snapshot. Raises KafkaError: SNAPSHOT_NOT_FOUND, POSITION_OUT_OF_RANGE; StorageFailure."""
        size_bytes = self._files.sizes(self._log.path).get(snapshot_id.file_name)
        if size_bytes is None or snapshot_id not in list_snapshots(self._files.sizes(self._log.path)):
            raise KafkaError(Code.SNAPSHOT_NOT_FOUND)
        if not 0 <= position < size_bytes:
            raise KafkaError(Code.POSITION_OUT_OF_RANGE)
        count = min(size_bytes - position, max(max_bytes, 0), _FETCH_BYTES_MAX)
        file = self._files.open(f"{self._log.path}/{snapshot_id.file_name}", size=size_bytes, writable=False)
        try:
            return SnapshotPart(bytes(file.read(position, count)), size_bytes)
        finally:
            file.close()

    def _needs_snapshot(self, offset: int, last_fetched_epoch: int, latest: SnapshotId) -> bool:
        start = self._log.log_start_offset
        if offset < start:
            return True
        return bool(start) and (last_fetched_epoch < latest.epoch if offset == start else False)
