"""The metadata log as a non-voting replica follows it: the next request of a broker, and the records that it may apply.

Responsible for: the requests (Fetch and FetchSnapshot on ``__cluster_metadata``) and their target, changes of the
leader, divergence, snapshots, and the high watermark: a record is returned only once it is committed. Must not depend
on: connections, clocks, files, the content of records.

Use, one request at a time:

    ask = observer.next()                       # node, request, and pause before it
    committed = observer.answered(response)     # or observer.failed(), when no response arrived
    for change in committed:
        ...                                     # apply its records, in this order
        observer.applied(change)

Fetched batches are kept in memory until they are committed; nothing is written to a disk. A broker that starts reads
the log, or its newest snapshot, from the leader (docs/decisions/cluster.md). KIP-595 has the protocol of fetching,
KIP-630 that of snapshots.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, Final, NamedTuple, TypeAlias

from kwire.errors import Code, KafkaError, ProtocolViolation, StorageFailure, code_of
from kwire.metadata.image import Record
from kwire.metadata.log.log_format import Quorum, RecordReader, SnapshotId, SnapshotReader
from kwire.types import METADATA_TOPIC, METADATA_TOPIC_ID, Uuid
from kwire.wire.batches.batch import BatchHeader, is_valid_batch, read_batch_header
from kwire.wire.message import Message
from kwire.wire.messages import FetchRequest, FetchSnapshotRequest

FETCH_BYTES_MAX: Final = 1024 * 1024
MAX_WAIT_MS: Final = 500

# Pauses before the next request, by the outcome of the last one.
_NO_PAUSE_MS: Final = 0
_ELECTION_PAUSE_MS: Final = 50  # the node knows no leader: an election takes about a second
_FAILURE_PAUSE_MS: Final = 100

_NO_LEADER: Final = -1
_UNKNOWN_OFFSET: Final = -1


class MetadataDiverged(Exception):
    """The controllers have lost records that were committed, which this broker has applied. One sentence."""


class ControllerAddress(NamedTuple):
    """Where a controller listens; ``node_id`` None for a bootstrap server, which is known by its address alone."""

    node_id: int | None
    host: str
    port: int


class Ask(NamedTuple):
    """A request to send to ``target`` after ``pause_ms``."""

    target: ControllerAddress
    message: Message
    pause_ms: int


@dataclass(frozen=True, slots=True)
class CommittedRecords:
    """Records to apply, in order; ``offset`` and ``epoch`` are those of the last one. Control batches have none.

    ``steps`` decodes them, some at a time, and can be used once. It raises KafkaError or ProtocolViolation for what
    cannot be read.
    """

    steps: Iterator[Sequence[Record]]
    offset: int
    epoch: int


@dataclass(frozen=True, slots=True)
class LoadedSnapshot:
    """Records that replace all that was applied before; ``offset`` is the last one that the snapshot covers.

    ``steps`` is as in ``CommittedRecords``; ``reader`` knows the quorum once it has ended.
    """

    steps: Iterator[Sequence[Record]]
    offset: int
    epoch: int
    reader: SnapshotReader


Change: TypeAlias = CommittedRecords | LoadedSnapshot


class _Batch(NamedTuple):
    """A fetched batch that is not committed yet."""

    content: memoryview
    header: BatchHeader


class _Download(NamedTuple):
    """A snapshot that is being fetched."""

    snapshot_id: SnapshotId
    content: bytearray


class MetadataObserver:
    """The observer of one broker. ``bootstrap`` are the addresses to begin with, at least one."""

    def __init__(
        self, *, node_id: int, directory_id: Uuid, cluster_id: str | None, bootstrap: Sequence[ControllerAddress]
    ) -> None:
        self._node_id = node_id
        self._directory_id = directory_id
        self._cluster_id = cluster_id
        self._bootstrap = list(bootstrap)
        self._next_bootstrap = 0
        self._endpoints: dict[int, ControllerAddress] = {
            one.node_id: one for one in bootstrap if one.node_id is not None
        }
        self._failed_leader: tuple[int, int] | None = None
        self.leader_id = _NO_LEADER
        self.leader_epoch = 0
        self.high_watermark = _UNKNOWN_OFFSET
        self.applied_offset = -1
        self._applied_epoch = 0
        self._uncommitted: deque[_Batch] = deque()
        self._reader = RecordReader(Quorum(0, None))
        self._download: _Download | None = None
        self._pause_ms = _NO_PAUSE_MS
        self._asked_leader = False

    # --- state ---

    @property
    def quorum(self) -> Quorum:
        """The voters, as the committed control records have them."""
        return self._reader.quorum

    @property
    def leader(self) -> ControllerAddress | None:
        """The active controller as far as is known; None during an election, or before the first answer."""
        return self._endpoints.get(self.leader_id)

    @property
    def is_controller_id(self) -> bool:
        """Whether the active controller has this broker's node id, so that it refuses this broker's requests."""
        return self.leader_id == self._node_id

    @property
    def controllers(self) -> Mapping[int, ControllerAddress]:
        """The controllers whose addresses are known, by node id."""
        return self._endpoints

    @property
    def end_offset(self) -> int:
        """The offset that is fetched next."""
        return self._uncommitted[-1].header.last_offset + 1 if self._uncommitted else self.applied_offset + 1

    @property
    def is_caught_up(self) -> bool:
        """Whether everything below the leader's high watermark is applied, as of its last response."""
        return self.high_watermark >= 0 and self.applied_offset + 1 >= self.high_watermark

    # --- requests ---

    def next(self) -> Ask:
        """Return the next request and its target."""
        leader = self.leader
        self._asked_leader = leader is not None
        pause_ms, self._pause_ms = self._pause_ms, _NO_PAUSE_MS
        if self._download is not None and leader is not None:
            return Ask(leader, self._fetch_snapshot(self._download), pause_ms)
        return Ask(leader or self._any_controller(), self._fetch(), pause_ms)

    def answered(self, response: Any) -> list[Change]:
        """Handle the response to the last request; returns the changes to apply.

        Raises MetadataDiverged; KafkaError with the leader's code for a refusal that waiting does not cure, such as
        INCONSISTENT_CLUSTER_ID.
        """
        if self._download is not None and hasattr(response, "topics"):
            return self._take_snapshot(response, self._download)
        return self._take_fetch(response)

    def applied(self, change: Change) -> None:
        """Note that a change is applied: the first of those that ``answered`` has returned."""
        if isinstance(change, LoadedSnapshot):
            self._uncommitted.clear()
            self._reader = RecordReader(change.reader.quorum)
            self.high_watermark = max(self.high_watermark, change.offset + 1)
        else:
            self._uncommitted.popleft()
        self.applied_offset, self._applied_epoch = change.offset, change.epoch

    def failed(self) -> None:
        """Note that no response arrived: the connection was refused or lost, or the node did not answer in time."""
        self._pause_ms = _FAILURE_PAUSE_MS
        self._download = None
        if self._asked_leader:
            self._failed_leader = (self.leader_epoch, self.leader_id)
            self.leader_id = _NO_LEADER

    def _fetch(self) -> FetchRequest:
        last_epoch = self._uncommitted[-1].header.leader_epoch if self._uncommitted else self._applied_epoch
        partition = FetchRequest.FetchPartition(
            partition=0,
            current_leader_epoch=self.leader_epoch,
            fetch_offset=self.end_offset,
            last_fetched_epoch=last_epoch,
            log_start_offset=-1,
            partition_max_bytes=0,
            replica_directory_id=self._directory_id,
            high_watermark=self.high_watermark,
        )
        return FetchRequest(
            cluster_id=self._cluster_id,
            replica_state=FetchRequest.ReplicaState(replica_id=self._node_id, replica_epoch=-1),
            max_wait_ms=MAX_WAIT_MS,
            min_bytes=0,
            max_bytes=FETCH_BYTES_MAX,
            topics=[FetchRequest.FetchTopic(topic_id=METADATA_TOPIC_ID, partitions=[partition])],
        )

    def _fetch_snapshot(self, download: _Download) -> FetchSnapshotRequest:
        snapshot_id = FetchSnapshotRequest.SnapshotId(
            end_offset=download.snapshot_id.offset, epoch=download.snapshot_id.epoch
        )
        partition = FetchSnapshotRequest.PartitionSnapshot(
            partition=0,
            current_leader_epoch=self.leader_epoch,
            snapshot_id=snapshot_id,
            position=len(download.content),
            replica_directory_id=self._directory_id,
        )
        return FetchSnapshotRequest(
            cluster_id=self._cluster_id,
            replica_id=self._node_id,
            max_bytes=FETCH_BYTES_MAX,
            topics=[FetchSnapshotRequest.TopicSnapshot(name=METADATA_TOPIC, partitions=[partition])],
        )

    def _any_controller(self) -> ControllerAddress:
        """Return the next of the addresses that are known, in turn."""
        known = [*self._bootstrap, *(one for one in self._endpoints.values() if one not in self._bootstrap)]
        chosen = known[self._next_bootstrap % len(known)]
        self._next_bootstrap += 1
        return chosen

    # --- responses to Fetch ---

    def _take_fetch(self, response: Any) -> list[Change]:
        if response.error_code:
            code = code_of(response.error_code)
            if code not in _PASSING or self.is_controller_id:
                raise KafkaError(code)
            self.failed()
            return []
        if len(response.responses) != 1 or len(response.responses[0].partitions) != 1:
            raise ProtocolViolation("a controller's answer does not have the one partition that was asked for")
        (partition,) = response.responses[0].partitions
        for point in response.node_endpoints:
            self._endpoints[point.node_id] = ControllerAddress(point.node_id, point.host, point.port)
        current = partition.current_leader
        if not partition.error_code:
            self._failed_leader = None
            self._note_leader(current.leader_id, current.leader_epoch)
            return self._take_partition(partition)
        self._take_refusal(code_of(partition.error_code), current.leader_id, current.leader_epoch)
        return []

    def _take_refusal(self, code: Code, leader_id: int, leader_epoch: int) -> None:
        if code in _LEADER_CHANGES:
            self._note_leader(leader_id, leader_epoch)
            if self.leader is None:
                self._pause_ms = _ELECTION_PAUSE_MS
        elif code in _PASSING:
            self._pause_ms = _ELECTION_PAUSE_MS
            self.leader_id = _NO_LEADER
        else:
            raise KafkaError(code)

    def _note_leader(self, leader_id: int, leader_epoch: int) -> None:
        """Note the leader that a controller names, unless it is of an earlier epoch."""
        if leader_epoch < self.leader_epoch:
            self.leader_id = _NO_LEADER
            self._pause_ms = _ELECTION_PAUSE_MS
            return
        if leader_epoch > self.leader_epoch:
            self._failed_leader = None
            self._download = None
        self.leader_epoch = leader_epoch
        self.leader_id = leader_id
        if (leader_epoch, leader_id) == self._failed_leader:
            # The other controllers name the lost leader until they have elected another. It may only be cut off from
            # this broker, so it is tried again after them.
            self.leader_id = _NO_LEADER
            self._failed_leader = None
            self._pause_ms = _ELECTION_PAUSE_MS

    def _take_partition(self, partition: Any) -> list[Change]:
        if partition.diverging_epoch.end_offset >= 0:
            self._truncate(partition.diverging_epoch.epoch, partition.diverging_epoch.end_offset)
            return []
        if partition.snapshot_id.end_offset >= 0:
            snapshot_id = SnapshotId(partition.snapshot_id.end_offset, partition.snapshot_id.epoch)
            if snapshot_id <= (self.applied_offset + 1, self._applied_epoch) and self.applied_offset >= 0:
                # The whole snapshot is applied already: ask again after a pause.
                self._pause_ms = _FAILURE_PAUSE_MS
                return []
            self._download = _Download(snapshot_id, bytearray())
            return []
        self._append(memoryview(partition.records or b""))
        self.high_watermark = max(self.high_watermark, partition.high_watermark)
        return self._commit()

    def _append(self, records: memoryview) -> None:
        """Keep the batches of a response. Raises ProtocolViolation for one that is damaged or out of order."""
        position = 0
        while position < len(records):
            header = read_batch_header(records, position)
            end = position + header.size_bytes
            if end > len(records):
                return  # the last batch of a response may be cut short
            if not is_valid_batch(records, position, header):
                raise ProtocolViolation(f"the metadata batch at offset {header.base_offset} is damaged")
            if header.base_offset != self.end_offset:
                raise ProtocolViolation(
                    f"a metadata batch at offset {header.base_offset} came instead of {self.end_offset}"
                )
            # A copy, because the response's buffer holds up to a megabyte that would live as long as one batch.
            self._uncommitted.append(_Batch(memoryview(bytes(records[position:end])), header))
            position = end

    def _commit(self) -> list[Change]:
        """Return the batches that are committed: those that end below the high watermark."""
        return [
            CommittedRecords(self._reader.steps(content, header), header.last_offset, header.leader_epoch)
            for content, header in takewhile(self._is_committed, self._uncommitted)
        ]

    def _is_committed(self, batch: _Batch) -> bool:
        return batch.header.last_offset < self.high_watermark

    def _truncate(self, epoch: int, end_offset: int) -> None:
        """Drop the batches behind the point where this log and the leader's diverge. Raises MetadataDiverged."""
        while self._uncommitted:
            header = self._uncommitted[-1].header
            if header.leader_epoch <= epoch and header.last_offset < end_offset:
                return
            self._uncommitted.pop()
        if self._applied_epoch > epoch or self.applied_offset >= end_offset:
            raise MetadataDiverged(
                f"the controllers' log ends at offset {end_offset} of epoch {epoch}, but this broker has applied the"
                f" committed record at offset {self.applied_offset} of epoch {self._applied_epoch}"
            )

    # --- responses to FetchSnapshot ---

    def _take_snapshot(self, response: Any, download: _Download) -> list[Change]:
        for point in response.node_endpoints:
            self._endpoints[point.node_id] = ControllerAddress(point.node_id, point.host, point.port)
        if response.error_code or len(response.topics) != 1 or len(response.topics[0].partitions) != 1:
            return self._begin_again()
        (partition,) = response.topics[0].partitions
        if partition.error_code or partition.position != len(download.content):
            return self._begin_again()
        download.content.extend(partition.unaligned_records or b"")
        if len(download.content) < partition.size:
            if not partition.unaligned_records:
                return self._begin_again()
            return []
        self._download = None
        return self._load(download)

    def _begin_again(self) -> list[Change]:
        """Return to Fetch: the snapshot is gone, the leader has changed, or the answer is empty."""
        self._download = None
        self._pause_ms = _FAILURE_PAUSE_MS
        return []

    def _load(self, download: _Download) -> list[Change]:
        snapshot_id, content = download
        if snapshot_id.offset <= self.applied_offset:
            return []
        reader = SnapshotReader(f"snapshot {snapshot_id.file_name} of the controller", content)
        return [LoadedSnapshot(_steps(reader), snapshot_id.offset - 1, snapshot_id.epoch, reader)]


def _steps(reader: SnapshotReader) -> Iterator[Sequence[Record]]:
    try:
        yield from reader.steps()
    except StorageFailure as failure:
        raise ProtocolViolation(str(failure)) from failure


# The node knows another leader or epoch than the request had.
_LEADER_CHANGES: Final = frozenset({Code.NOT_LEADER_OR_FOLLOWER, Code.FENCED_LEADER_EPOCH, Code.LEADER_NOT_AVAILABLE})
# The node lags behind, is starting or stopping, or has a failure of its own.
_PASSING: Final = frozenset(
    {
        Code.UNKNOWN_LEADER_EPOCH,
        Code.BROKER_NOT_AVAILABLE,
        Code.UNKNOWN_TOPIC_ID,
        Code.UNKNOWN_TOPIC_OR_PARTITION,
        Code.UNKNOWN_SERVER_ERROR,
        Code.KAFKA_STORAGE_ERROR,
        Code.OFFSET_NOT_AVAILABLE,
    }
)
