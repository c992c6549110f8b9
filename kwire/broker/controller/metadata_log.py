"""The metadata log: every change of metadata is a record in ``__cluster_metadata-0``, appended first, then applied.

Owns: the log, its snapshots and ``quorum-state``, the raft epoch (each start of the broker is one), and the image
that they give. May not know: who wants a change and why (``metadata.controller`` decides), what a change means for
logs and clients.

    meta.properties                             (log_dirs)
    bootstrap.checkpoint                        feature levels of a directory that was formatted and never started
    __cluster_metadata-0/
      0000...0-0000000000.checkpoint            the voters of a directory that was formatted and never started
      OFFSET-EPOCH.checkpoint                   the image up to OFFSET
      *.log                                     LeaderChange first in each epoch, then records
      quorum-state                              who leads, in which epoch

An Apache broker goes on where this one stopped, and the other way round.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Final

import trio

from kwire.broker.clock import Clock
from kwire.broker.controller.metadata_format import Identity, controller_endpoint, format_if_new, formatted_levels
from kwire.broker.controller.metadata_snapshots import (
    KRAFT_VERSION,
    KRAFT_VOTERS,
    LEADER_CHANGE,
    Quorum,
    SnapshotId,
    control_batch,
    data_batch,
    decode_control,
    follow_quorum,
    list_snapshots,
    read_snapshot,
    write_snapshot,
)
from kwire.broker.logs import Logger
from kwire.broker.partitions.log_dirs import LogDir, LogDirs
from kwire.broker.requests.context import Endpoint
from kwire.errors import StorageFailure
from kwire.metadata import entities, features
from kwire.metadata.config_values import ConfigProblem
from kwire.metadata.effective import BrokerSettings, EffectiveConfigs
from kwire.metadata.entities import SECURITY_PROTOCOLS
from kwire.metadata.frames import decode_record
from kwire.metadata.image import METADATA_VERSION, Delta, MetadataImage, Record
from kwire.metadata.nodes import (
    Registration,
    bootstrap_records,
    register_broker,
    reserve_producer_ids,
    stop_broker,
)
from kwire.metadata.snapshot import snapshot_records
from kwire.storage.config import LogConfig
from kwire.storage.files import Files
from kwire.storage.log import Log
from kwire.types import METADATA_TOPIC, METADATA_TOPIC_ID, Uuid, uuid_text
from kwire.wire.batch import read_batch_header
from kwire.wire.message import Message
from kwire.wire.messages import (
    AbortTransactionRecord,
    BeginTransactionRecord,
    EndTransactionRecord,
    KRaftVersionRecord,
    LeaderChangeMessage,
)
from kwire.wire.records import read_records

logger = Logger("kwire.metadata")

QUORUM_STATE: Final = "quorum-state"

# A clean stop leaves at most so many bytes for the next start to replay.
_REPLAY_BYTES_MAX: Final = 64 * 1024


class MetadataLog:
    """The log, open for appending, and the image that it gives."""

    log: Log

    def __init__(self, files: Files, home: LogDir, identity: Identity, configs: EffectiveConfigs, clock: Clock) -> None:
        """Use ``open``."""
        self.image = MetadataImage()
        self.quorum = Quorum(0, None)
        self.epoch = 0
        self.last_timestamp_ms = -1
        self.node_id = identity.node_id
        self._files = files
        self._home = home
        self._path = f"{home.path}/{METADATA_TOPIC}-0"
        self._clock = clock
        self._rack = configs.broker["broker.rack"]
        self._bytes_between_snapshots = configs.broker["metadata.log.max.record.bytes.between.snapshots"]
        self._snapshot_interval_ms = configs.broker["metadata.log.max.snapshot.interval.ms"]
        self._log_dirs: list[Uuid] = []
        self._snapshot = SnapshotId(0, 0)
        self._snapshot_ms = clock.now_ms()
        self._bytes_since_snapshot = 0
        self._in_transaction: list[Record] | None = None
        # Set once a sync has failed: nobody knows then what the disk holds, and no change can be promised any more.
        self.lost = trio.Event()

    @classmethod
    def open(cls, files: Files, dirs: LogDirs, *, node_id: int, settings: BrokerSettings, clock: Clock) -> MetadataLog:
        """Read everything, become the leader of the next epoch, and make the first records of a new cluster.

        A directory without metadata is formatted first. Raises StorageFailure, ConfigProblem for a metadata.log.dir
        that is not one of log.dirs, ProtocolViolation for records that do not fit their schema, KeyError for records
        that do not fit each other.
        """
        configs = EffectiveConfigs(MetadataImage(), settings, node_id)
        home = _home(dirs, configs)
        identity = Identity(node_id, home.id, *controller_endpoint(configs))
        self = cls(files, home, identity, configs, clock)
        self._log_dirs = [one.id for one in dirs.dirs]
        if format_if_new(files, home.path, identity, clock.now_ms()):
            logger.info("metadata log formatted", path=self._path)
        # Kafka's format makes no directory for the log where the settings name the quorum's voters.
        files.make_directory(self._path)
        self._load_snapshot()
        self.log = self._open_log(configs)
        self._replay()
        self._lead()
        self._finish_transaction()
        if not self.image.metadata_version:
            self._bootstrap(home.path, configs.broker["min.insync.replicas"])
        return self

    @property
    def broker_epoch(self) -> int:
        """The epoch of this broker's registration; -1 before ``register``."""
        broker = self.image.brokers.get(self.node_id)
        return broker.epoch if broker else -1

    @property
    def end_offset(self) -> int:
        """The offset that the next record gets; everything below is committed."""
        return self.log.end_offset

    @property
    def log_start_offset(self) -> int:
        return self.log.log_start_offset

    @property
    def size_bytes(self) -> int:
        return self.log.size_bytes

    @property
    def finalized_features(self) -> dict[str, int]:
        """The feature levels that clients are told."""
        return features.finalized(self.image, self.quorum.kraft_version)

    def apply(self, records: Sequence[Record]) -> Delta:
        """Append the records as one batch, then apply them to the image: all or nothing.

        The one way to change metadata. Raises StorageFailure, and nothing has changed.
        """
        if not records:
            return Delta()
        self._append_records(records)
        delta = self.image.apply(records)
        if self._bytes_since_snapshot >= self._bytes_between_snapshots:
            self._try_snapshot()
        return delta

    def register(self, endpoints: Sequence[Endpoint]) -> Delta:
        """Register this broker with the listeners that clients see, and let it lead what waits for it."""
        unclean_machine = not self._home.clean and not self._home.same_boot
        registration = Registration(
            broker_id=self.node_id,
            epoch=self.end_offset,
            incarnation_id=self._clock.uuid(),
            endpoints=[
                entities.Endpoint(one.name, one.host, one.port, SECURITY_PROTOCOLS[one.security_protocol])
                for one in endpoints
            ],
            rack=self._rack,
            log_dirs=self._log_dirs,
        )
        return self.apply(register_broker(self.image, registration, bump_leader_epochs=unclean_machine))

    def reserve_producer_ids(self, count: int) -> int:
        """Reserve a block of producer ids; give the first. Raises KafkaError, StorageFailure."""
        first, records = reserve_producer_ids(self.image, self.node_id, count=count)
        self.apply(records)
        return first

    def tick(self) -> None:
        """Write a snapshot when the last one is old and something has happened since. Called now and then."""
        age_ms = self._clock.now_ms() - self._snapshot_ms
        if self._bytes_since_snapshot and 0 < self._snapshot_interval_ms <= age_ms:
            self._try_snapshot()

    def snapshot(self) -> None:
        """Write the image down and let go of the log before it. Raises StorageFailure."""
        made = SnapshotId(self.end_offset, self.epoch)
        now_ms = self._clock.now_ms()
        content = write_snapshot(
            snapshot_records(self.image),
            self.quorum,
            metadata_version=self.image.metadata_version,
            epoch=made.epoch,
            now_ms=now_ms,
            last_timestamp_ms=self.last_timestamp_ms,
        )
        self.flush()  # a snapshot must not be ahead of the log that it stands for
        self._files.write_bytes(f"{self._path}/{made.file_name}", content, durable=True)
        self._snapshot, self._snapshot_ms, self._bytes_since_snapshot = made, now_ms, 0
        self._forget_before(made, now_ms)

    def _try_snapshot(self) -> None:
        """Write a snapshot; a disk that refuses it costs the next start some time, and nothing else."""
        try:
            self.snapshot()
        except StorageFailure as failure:
            logger.failure("no metadata snapshot", failure)

    def flush(self) -> None:
        """Bring everything to the disk. Raises StorageFailure."""
        pending = self.log.begin_flush()
        try:
            pending.sync()
        except StorageFailure:
            self._home.mark_page_cache_untrusted()
            self.lost.set()
            raise
        self.log.finish_flush(pending)

    def close(self) -> None:
        """Stop in order: the next start has little to replay. Raises StorageFailure."""
        if self.node_id in self.image.brokers:
            self.apply(stop_broker(self.image.brokers[self.node_id]))
        if self._bytes_since_snapshot > _REPLAY_BYTES_MAX:
            self.snapshot()
        self.flush()
        self.log.close()

    # --- opening ---

    def _load_snapshot(self) -> None:
        """Start from the newest snapshot that is whole."""
        for snapshot_id in reversed(list_snapshots(self._files, self._path)):
            path = f"{self._path}/{snapshot_id.file_name}"
            try:
                snapshot = read_snapshot(path, self._files.read_bytes(path) or b"")
            except StorageFailure as failure:
                logger.failure("metadata snapshot passed over", failure, path=path)
                continue
            self.image.apply(snapshot.records)
            self.quorum = snapshot.quorum
            self._snapshot = snapshot_id
            self.last_timestamp_ms = snapshot.last_timestamp_ms
            return

    def _open_log(self, configs: EffectiveConfigs) -> Log:
        config = LogConfig(
            segment_bytes=configs.broker["metadata.log.segment.bytes"],
            segment_ms=configs.broker["metadata.log.segment.ms"],
            retention_ms=-1,
            retention_bytes=-1,
        )
        opened = Log.open(
            self._files,
            self._path,
            config,
            now_ms=self._clock.now_ms(),
            log_start_offset=self._snapshot.offset,
            clean=self._home.clean,
            same_boot=self._home.same_boot,
            topic_id=METADATA_TOPIC_ID,
        )
        if opened.log_start_offset > self._snapshot.offset:
            raise StorageFailure(
                self._path, f"the log begins at {opened.log_start_offset}, but no snapshot reaches so far"
            )
        if not opened.end_offset and not self.image.version and not self.quorum.kraft_version and self._led_before():
            # Beginning anew here would turn all partitions into strangers.
            raise StorageFailure(self._path, "there was a metadata log here, but the records are gone")
        if opened.end_offset < self._snapshot.offset:
            opened.truncate_fully_and_start_at(self._snapshot.offset)
        opened.advance_high_watermark(opened.end_offset)
        return opened

    def _replay(self) -> None:
        """Apply what came after the snapshot."""
        for batch in self.log.read_batches(self._snapshot.offset):
            header = read_batch_header(batch)
            self._bytes_since_snapshot += header.size_bytes
            self.last_timestamp_ms = max(self.last_timestamp_ms, header.max_timestamp)
            if not header.is_control:
                self._replay_records(decode_record(record.value or b"") for record in read_records(batch))
                continue
            for record in read_records(batch):
                self.quorum = follow_quorum(self.quorum, decode_control(record)[1])

    def _replay_records(self, records: Iterable[Record]) -> None:
        """Apply records, those of a transaction when it ends (KIP-868)."""
        ready: list[Record] = []
        for record in records:
            if isinstance(record, BeginTransactionRecord):
                self._in_transaction = []
            elif isinstance(record, AbortTransactionRecord):
                self._in_transaction = None
            elif isinstance(record, EndTransactionRecord):
                ready += self._in_transaction or []
                self._in_transaction = None
            elif self._in_transaction is None:
                ready.append(record)
            else:
                self._in_transaction.append(record)
        self.image.apply(ready)

    def _led_before(self) -> int:
        """Read the epoch of the last election; 0 when there was none."""
        content = self._files.read_bytes(f"{self._path}/{QUORUM_STATE}")
        return 0 if content is None else int(json.loads(content)["leaderEpoch"])

    def _lead(self) -> None:
        """Begin a new epoch. There is nobody to ask for a vote."""
        self.epoch = max(self._led_before(), self.log.latest_epoch, 0) + 1
        content = _write_quorum_state(self.node_id, self.epoch, self.quorum.kraft_version)
        self._files.write_bytes(f"{self._path}/{QUORUM_STATE}", content, durable=True)
        voter = LeaderChangeMessage.Voter(voter_id=self.node_id)
        controls: list[tuple[int, Message]] = [
            (
                LEADER_CHANGE,
                LeaderChangeMessage(leader_id=self.node_id, voters=[voter], granting_voters=[voter]),
            )
        ]
        if self.quorum.kraft_version and not self.log.end_offset:
            # The first leader copies the voters of the formatted directory into the log.
            controls.append((KRAFT_VERSION, KRaftVersionRecord(kraft_version=self.quorum.kraft_version)))
            if self.quorum.voters is not None:
                controls.append((KRAFT_VOTERS, self.quorum.voters))
        now_ms = self._clock.now_ms()
        self._append(control_batch(controls, offset=self.end_offset, epoch=self.epoch, now_ms=now_ms))

    def _finish_transaction(self) -> None:
        if self._in_transaction is not None:
            self._append_records([AbortTransactionRecord(reason="Controller failover")])
            self._in_transaction = None

    def _bootstrap(self, directory: str, min_insync_replicas: int) -> None:
        """Make the first records, from the levels that the directory was formatted with."""
        levels = formatted_levels(self._files, directory)
        records = bootstrap_records(levels, min_insync_replicas=min_insync_replicas)
        framed = [BeginTransactionRecord(name="Bootstrap records"), *records, EndTransactionRecord()]
        self._append_records(framed, levels.get(METADATA_VERSION, 0))
        self.image.apply(records)

    # --- appending ---

    def _append_records(self, records: Sequence[Record], metadata_version: int | None = None) -> None:
        now_ms = self._clock.now_ms()
        level = self.image.metadata_version if metadata_version is None else metadata_version
        self._append(data_batch(records, level, offset=self.end_offset, epoch=self.epoch, now_ms=now_ms))

    def _append(self, batch: bytes) -> None:
        view = memoryview(batch)
        header = read_batch_header(view)
        self.log.append(
            view,
            [header],
            leader_epoch=self.epoch,
            now_ms=self._clock.now_ms(),
            assign_offsets=False,
            check_sequence=False,
        )
        self.log.advance_high_watermark(self.log.end_offset)
        self._bytes_since_snapshot += len(batch)
        self.last_timestamp_ms = header.max_timestamp

    def _forget_before(self, kept: SnapshotId, now_ms: int) -> None:
        """Remove the older snapshots, and the segments that only they need."""
        self.log.roll(now_ms)
        self.log.delete_records_before(kept.offset)
        for deletion in self.log.apply_retention(now_ms):
            self._files.remove(deletion.path)
        for snapshot_id in list_snapshots(self._files, self._path):
            if snapshot_id < kept:
                self._files.remove(f"{self._path}/{snapshot_id.file_name}")


def _home(dirs: LogDirs, configs: EffectiveConfigs) -> LogDir:
    chosen = configs.broker["metadata.log.dir"]
    if chosen is None:
        return dirs.dirs[0]
    home = dirs.by_path(dirs.files.absolute(chosen.rstrip("/")))
    if home is None:
        expected = "one of log.dirs"
        raise ConfigProblem("metadata.log.dir", chosen, f"metadata.log.dir is {chosen}, not {expected}", expected)
    return home


def _write_quorum_state(node_id: int, epoch: int, kraft_version: int) -> bytes:
    if kraft_version:
        state = {
            "leaderId": node_id,
            "leaderEpoch": epoch,
            "votedId": -1,
            "votedDirectoryId": uuid_text(bytes(16)),
            "data_version": 1,
        }
    else:
        state = {
            "clusterId": "",
            "leaderId": node_id,
            "leaderEpoch": epoch,
            "votedId": -1,
            "appliedOffset": 0,
            "currentVoters": [{"voterId": node_id}],
            "data_version": 0,
        }
    return json.dumps(state, separators=(",", ":")).encode("ascii")
