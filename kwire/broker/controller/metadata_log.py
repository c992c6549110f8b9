"""The metadata log, open for appending: every change of metadata is a record in ``__cluster_metadata-0``.

Responsible for: opening the log as the leader of a new epoch, appending, flushing, and writing snapshots. Must not
depend on: which commands exist (``metadata.commands``), or what a change means to partitions and coordinators.

    meta.properties                             (log_dirs)
    bootstrap.checkpoint                        feature levels of a formatted directory (metadata_format)
    __cluster_metadata-0/
      0000...0-0000000000.checkpoint            voters of a formatted directory (metadata_format)
      OFFSET-EPOCH.checkpoint                   the image up to OFFSET (metadata.log_format)
      *.log                                     LeaderChange first in each epoch, then records
      quorum-state                              leader and epoch (quorum_state)

An Apache Kafka broker can start on this directory, and this broker on a directory of Apache Kafka.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final, NamedTuple

import trio

from kwire.broker.clock import Clock
from kwire.broker.containment import OnDemand
from kwire.broker.controller.metadata_check import check_metadata_log
from kwire.broker.controller.metadata_format import (
    Identity,
    bootstrap_transaction,
    controller_endpoint,
    format_if_new,
    formatted,
    framed_batch,
)
from kwire.broker.controller.metadata_replay import MetadataReplay
from kwire.broker.controller.quorum_state import (
    has_led,
    leader_change_batch,
    read_leader_epoch,
    with_endpoints,
    write_quorum_state,
)
from kwire.broker.directories import loss_report
from kwire.broker.directories.log_dirs import LogDir, LogDirs
from kwire.broker.endpoint import Endpoint
from kwire.broker.logs import Logger
from kwire.broker.steps import run_at_once
from kwire.errors import StorageFailure
from kwire.metadata import features
from kwire.metadata.configs.effective import BrokerSettings, EffectiveConfigs
from kwire.metadata.configs.values import ConfigProblem
from kwire.metadata.image import Delta, MetadataImage, Record
from kwire.metadata.log.log_format import (
    KRAFT_VOTERS,
    SnapshotId,
    control_batch,
    data_batch,
    list_snapshots,
    stamped,
    write_snapshot,
)
from kwire.metadata.log.snapshot import snapshot_records
from kwire.personas import persona
from kwire.storage.checkpoints import CLEAN_SHUTDOWN, META_PROPERTIES
from kwire.storage.config import LogConfig
from kwire.storage.files import Files
from kwire.storage.flush import PendingFlush
from kwire.storage.log import Log
from kwire.types import METADATA_TOPIC, METADATA_TOPIC_ID, TopicPartition, uuid_text
from kwire.wire.batches.batch import read_batch_header
from kwire.wire.messages import AbortTransactionRecord

logger = Logger("kwire.metadata")

# A clean stop leaves at most this many bytes of log for the next start to replay.
_REPLAY_BYTES_MAX: Final = 64 * 1024


class _BegunSnapshot(NamedTuple):
    """A snapshot of the image as it was at ``snapshot_id``, encoded while ``batches`` are taken."""

    snapshot_id: SnapshotId
    now_ms: int
    batches: Iterator[bytes]


class MetadataLog:
    """The log of this node's one-voter quorum, and the image that its records give. Made by ``open``."""

    def __init__(
        self,
        *,
        files: Files,
        home: LogDir,
        node_id: int,
        configs: EffectiveConfigs,
        clock: Clock,
        loaded: MetadataReplay,
    ) -> None:
        self.image = loaded.image
        self.quorum = loaded.quorum
        self.epoch = 0
        self.last_timestamp_ms = loaded.last_timestamp_ms
        self.node_id = node_id
        self.path = metadata_path(home)
        self._files = files
        self._home = home
        self._clock = clock
        self._bytes_between_snapshots = configs.broker["metadata.log.max.record.bytes.between.snapshots"]
        self._snapshot_interval_ms = configs.broker["metadata.log.max.snapshot.interval.ms"]
        self._snapshot_ms = clock.now_ms()
        self._bytes_since_snapshot = loaded.bytes_since_snapshot
        # Set when enough was appended, or the last snapshot is too old: ``write_due_snapshot`` writes one.
        self.snapshot_due = trio.Event()
        self.snapshot_task = OnDemand(self._write_snapshots)
        # Set once an fsync has failed: what the disk holds is unknown from then on, so nothing more can be committed.
        self.lost = trio.Event()
        self.lost_because = "the metadata log could not be brought to the disk"
        self.log = _open_log(files, home, configs, clock, loaded)
        # The newest snapshot; that at offset 0, from formatting, has nothing that the log lacks.
        self.latest_snapshot = _latest_snapshot(files, self.path)

    @classmethod
    def open(cls, files: Files, dirs: LogDirs, *, node_id: int, settings: BrokerSettings, clock: Clock) -> MetadataLog:
        """Open at once; see ``open_in_steps``."""
        return run_at_once(cls.open_in_steps(files, dirs, node_id=node_id, settings=settings, clock=clock))

    @classmethod
    def open_in_steps(
        cls, files: Files, dirs: LogDirs, *, node_id: int, settings: BrokerSettings, clock: Clock
    ) -> Generator[None, None, MetadataLog]:
        """Replay the directory, become the leader of the next epoch, and append the first records of a new cluster.

        Returns the log; yields between two steps, since a large log takes long. A directory without metadata is
        formatted first, unless it holds data. Raises StorageFailure, ConfigProblem for a metadata.log.dir that is not
        one of log.dirs.
        """
        configs = EffectiveConfigs(MetadataImage(), settings, node_id)
        home = _home(dirs, configs)
        identity = Identity(node_id, home.id, *controller_endpoint(configs))
        _check_has_own_log(files, dirs, home)
        release = persona(configs.broker["kwire.as.release"])
        levels = features.first_levels(release)
        quorum = format_if_new(files, home.path, identity, clock.now_ms(), levels=levels)
        if quorum is not None:
            logger.info("metadata log formatted", path=metadata_path(home))
        # kafka-storage format makes no directory for the log where the settings name the quorum's voters.
        files.make_directory(metadata_path(home))
        loaded = MetadataReplay(files, metadata_path(home), quorum)
        yield from loaded.load_snapshot()
        yield from check_metadata_log(
            files,
            metadata_path(home),
            from_offset=loaded.snapshot.offset,
            epoch=loaded.snapshot.epoch,
            clean=home.clean,
            same_boot=home.same_boot,
        )
        self = cls(files=files, home=home, node_id=node_id, configs=configs, clock=clock, loaded=loaded)
        yield from loaded.replay(self.log)
        self.quorum = loaded.quorum
        self.last_timestamp_ms = loaded.last_timestamp_ms
        self._bytes_since_snapshot = loaded.bytes_since_snapshot
        _check_voters(home, node_id, loaded)
        features.check_levels(loaded.image.features, release)
        # Removed only now: when a start is refused above, the next start still finds the marks of the clean stop.
        dirs.remove_clean_marks()
        self._lead()
        if loaded.in_transaction:
            self._append_records([AbortTransactionRecord(reason="Controller failover")])
        if not self.image.metadata_version:
            levels, others = (levels, []) if quorum is not None else formatted(files, home.path)
            self._bootstrap(levels, others, configs.broker["min.insync.replicas"])
        return self

    @property
    def home(self) -> LogDir:
        """The log directory that holds the metadata log."""
        return self._home

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
        """The finalized feature levels that ApiVersions reports."""
        return features.finalized(self.image, self.quorum.kraft_version)

    def apply(self, records: Sequence[Record]) -> Delta:
        """Append the records as one batch, then apply them to the image: all or none.

        Nothing else changes metadata. Raises StorageFailure, with nothing changed.
        """
        if not records:
            return Delta()
        self._append_records(records)
        delta = self.image.apply(records)
        if self._bytes_since_snapshot >= self._bytes_between_snapshots:
            self._note_due()
        return delta

    def follow_voter_endpoints(self, endpoints: Sequence[Endpoint]) -> None:
        """Append the voters again if this node's listeners differ from those in the log. Raises StorageFailure."""
        voters = self.quorum.voters
        if voters is None or (changed := with_endpoints(voters, self.node_id, endpoints)) == voters:
            return
        now_ms = self._clock.now_ms()
        self._append(control_batch([(KRAFT_VOTERS, changed)], offset=self.end_offset, epoch=self.epoch, now_ms=now_ms))
        self.quorum = self.quorum._replace(voters=changed)

    def tick(self) -> None:
        """Note that a snapshot is due when the last one is older than the interval and records came after it."""
        age_ms = self._clock.now_ms() - self._snapshot_ms
        if self._bytes_since_snapshot and 0 < self._snapshot_interval_ms <= age_ms:
            self._note_due()

    def _note_due(self) -> None:
        self.snapshot_due.set()
        self.snapshot_task.wake()

    async def _write_snapshots(self) -> None:
        while self.snapshot_due.is_set():
            await self.write_due_snapshot()

    async def write_due_snapshot(self) -> None:
        """Wait until a snapshot is due, and write it in steps with other tasks in between.

        The log may grow meanwhile: the snapshot has the image of its first step. A stop waits for it, since ``close``
        would write it again from the start. A failure only makes the next start slower, so it is logged and not raised.
        """
        await self.snapshot_due.wait()
        self.snapshot_due = trio.Event()
        covered_bytes, self._bytes_since_snapshot = self._bytes_since_snapshot, 0
        try:
            with trio.CancelScope(shield=True):
                await self._snapshot_in_steps()
        except BaseException as failure:
            self._bytes_since_snapshot += covered_bytes
            if not isinstance(failure, StorageFailure):
                raise
            logger.failure("no metadata snapshot", failure)

    async def snapshot_before_close(self) -> None:
        """Write the snapshot that ``close`` would write, in steps. A failure is logged, since ``close`` tries again."""
        if self._bytes_since_snapshot <= _REPLAY_BYTES_MAX:
            return
        try:
            await self._snapshot_in_steps()
        except StorageFailure as failure:
            logger.failure("no metadata snapshot", failure)
        else:
            self._bytes_since_snapshot = 0

    async def _snapshot_in_steps(self) -> None:
        begun = self._begin_snapshot()
        parts = []
        for batch in begun.batches:
            parts.append(batch)
            await trio.lowlevel.checkpoint()
        with self._flushing() as pending:  # a snapshot must not be ahead of the log on the disk
            await trio.to_thread.run_sync(pending.sync)
        await trio.to_thread.run_sync(self._store, begun.snapshot_id, parts)
        self._finish_snapshot(begun)

    def snapshot(self) -> None:
        """Write a snapshot of the image and delete the log before it, all at once. Raises StorageFailure."""
        begun = self._begin_snapshot()
        parts = list(begun.batches)
        self.flush()
        self._store(begun.snapshot_id, parts)
        self._finish_snapshot(begun)
        self._bytes_since_snapshot = 0

    def flush(self) -> None:
        """Write everything to the disk (fsync). Raises StorageFailure, and sets ``lost``."""
        with self._flushing() as pending:
            pending.sync()

    def lose_directory(self) -> None:
        """Set ``lost``: the log directory that holds this log has failed."""
        self.lost_because = "the log directory of the metadata log has failed"
        self.lost.set()

    def close(self) -> None:
        """Flush and close, with a snapshot if the next start would have much to replay. Raises StorageFailure."""
        if self._bytes_since_snapshot > _REPLAY_BYTES_MAX:
            self.snapshot()
        self.flush()
        self.log.close()

    @contextmanager
    def _flushing(self) -> Iterator[PendingFlush]:
        """Yields the pending flush; the body calls its ``sync``, here or in a thread."""
        pending = self.log.begin_flush()
        try:
            yield pending
        except StorageFailure:
            self._home.mark_page_cache_untrusted()
            self.lost.set()
            raise
        finally:
            pending.close()
        self.log.finish_flush(pending)

    def _begin_snapshot(self) -> _BegunSnapshot:
        snapshot_id = SnapshotId(self.end_offset, self.epoch)
        now_ms = self._clock.now_ms()
        batches = write_snapshot(
            snapshot_records(self.image),
            self.quorum,
            metadata_version=self.image.metadata_version,
            epoch=snapshot_id.epoch,
            now_ms=now_ms,
            last_timestamp_ms=self.last_timestamp_ms,
        )
        return _BegunSnapshot(snapshot_id, now_ms, batches)

    def _store(self, snapshot_id: SnapshotId, parts: Sequence[bytes]) -> None:
        self._files.write_bytes(f"{self.path}/{snapshot_id.file_name}", b"".join(parts), durable=True)

    def _finish_snapshot(self, begun: _BegunSnapshot) -> None:
        self._snapshot_ms = begun.now_ms
        self.latest_snapshot = begun.snapshot_id
        self._delete_before(begun.snapshot_id, begun.now_ms)

    def _lead(self) -> None:
        """Begin a new epoch."""
        self.epoch = max(read_leader_epoch(self._files, self.path), self.log.latest_epoch, 0) + 1
        kraft_version = self.quorum.kraft_version
        write_quorum_state(self._files, self.path, node_id=self.node_id, epoch=self.epoch, kraft_version=kraft_version)
        self._append(
            leader_change_batch(
                self.quorum,
                node_id=self.node_id,
                epoch=self.epoch,
                offset=self.end_offset,
                now_ms=self._clock.now_ms(),
                copies_voters=not self.log.end_offset,
            )
        )

    def _bootstrap(self, levels: Mapping[str, int], others: Sequence[Record], min_insync_replicas: int) -> None:
        """Append the first records, from the levels and users that the directory was formatted with."""
        records, batch = bootstrap_transaction(tuple(levels.items()), min_insync_replicas)
        if others:
            records = [*records, *others]
            batch = framed_batch(records, levels)
        self._append(stamped(batch, self._clock.now_ms(), offset=self.end_offset, epoch=self.epoch))
        self.image.apply(records)

    def _append_records(self, records: Sequence[Record]) -> None:
        now_ms = self._clock.now_ms()
        level = self.image.metadata_version
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

    def _delete_before(self, kept: SnapshotId, now_ms: int) -> None:
        """Delete the older snapshots, and the segments that only they need."""
        self.log.roll(now_ms)
        self.log.delete_records_before(kept.offset)
        for deletion in self.log.apply_retention(now_ms):
            self._files.remove(deletion.path)
        for snapshot_id in list_snapshots(self._files.sizes(self.path)):
            if snapshot_id < kept:
                self._files.remove(f"{self.path}/{snapshot_id.file_name}")


def metadata_path(home: LogDir) -> str:
    """Return the directory of the metadata log in a log directory."""
    return f"{home.path}/{METADATA_TOPIC}-0"


def _check_has_own_log(files: Files, dirs: LogDirs, home: LogDir) -> None:
    """Refuse directories with data and without a metadata log: a new log would not know their partitions."""
    path = metadata_path(home)
    if files.sizes(path):
        return
    held = next(filter(None, map(_held, dirs.online)), None)
    if held is None:
        return
    elsewhere = next((metadata_path(one) for one in dirs.online if files.sizes(metadata_path(one))), None)
    if elsewhere is not None:
        reason = f"the metadata log is missing here, and there is one at {elsewhere}"
        advice = f"Set metadata.log.dir={elsewhere.rpartition('/')[0]}"
    else:
        reason = (
            f"the metadata log is missing, but {held} is there: it belongs to a broker of cluster {dirs.cluster_id},"
            " whose controllers are other nodes"
        )
        advice = (
            "Start it with its server.properties, or the whole cluster with kwire cluster; if the metadata log was"
            " deleted, restore it from a copy. Otherwise choose an empty directory"
        )
    raise StorageFailure(path, f"{reason}. Nothing was changed. {advice}")


def _held(one: LogDir) -> str | None:
    """What shows that a broker used a log directory: a partition, or the mark of a clean stop."""
    partitions = one.partitions()
    if partitions:
        return partitions[0][1]
    return one.file(CLEAN_SHUTDOWN) if one.clean else None


def _latest_snapshot(files: Files, path: str) -> SnapshotId | None:
    found = list_snapshots(files.sizes(path))
    return found[-1] if found and found[-1].offset else None


def _open_log(files: Files, home: LogDir, configs: EffectiveConfigs, clock: Clock, loaded: MetadataReplay) -> Log:
    path = metadata_path(home)
    config = LogConfig(
        segment_bytes=configs.broker["metadata.log.segment.bytes"],
        segment_ms=configs.broker["metadata.log.segment.ms"],
        retention_ms=-1,
        retention_bytes=-1,
    )
    snapshot_offset = loaded.snapshot.offset
    opened = Log.open(
        files,
        path,
        config,
        now_ms=clock.now_ms(),
        log_start_offset=snapshot_offset,
        clean=home.clean,
        same_boot=home.same_boot,
        topic_id=METADATA_TOPIC_ID,
    )
    if opened.losses:
        partition = TopicPartition(METADATA_TOPIC, 0)
        loss_report.report(files, home.path, partition, opened.losses, time_ms=clock.now_ms())
    if opened.log_start_offset > snapshot_offset:
        message = f"the log begins at {opened.log_start_offset}, but no valid snapshot reaches that offset"
        raise StorageFailure(path, "; ".join([message, *map(str, loaded.damaged_snapshots)]))
    is_empty = not opened.end_offset and not loaded.image.version and not loaded.quorum.kraft_version
    if is_empty and loaded.damaged_snapshots:
        raise loaded.damaged_snapshots[0]
    if is_empty and has_led(files, path):
        # With a new, empty log the topics of all partition directories would be unknown.
        raise StorageFailure(path, "there was a metadata log here, but the records are gone")
    if opened.end_offset < snapshot_offset:
        opened.truncate_fully_and_start_at(snapshot_offset)
    opened.advance_high_watermark(opened.end_offset)
    return opened


def _check_voters(home: LogDir, node_id: int, loaded: MetadataReplay) -> None:
    """Refuse a quorum that this node is not the only voter of, by the id of its directory (KIP-853)."""
    for voter in loaded.quorum.voters.voters if loaded.quorum.voters is not None else ():
        if voter.voter_id != node_id:
            raise StorageFailure(
                metadata_path(home),
                f"node {voter.voter_id} is a voter of this metadata log: a quorum of several nodes is not served."
                " Nothing was changed. Choose another directory",
            )
        if voter.voter_directory_id != home.id:
            raise StorageFailure(
                f"{home.path}/{META_PROPERTIES}",
                f"directory.id is {uuid_text(home.id)}, but this node votes as {uuid_text(voter.voter_directory_id)}:"
                " the file is damaged or belongs to another directory. Nothing was changed. Restore it from a copy, or"
                " write the second id into it",
            )


def _home(dirs: LogDirs, configs: EffectiveConfigs) -> LogDir:
    chosen = configs.broker["metadata.log.dir"]
    if chosen is None:
        return dirs.dirs[0]
    home = dirs.by_path(dirs.files.absolute(chosen.rstrip("/")))
    if home is None:
        expected = "one of log.dirs"
        raise ConfigProblem("metadata.log.dir", chosen, f"metadata.log.dir is {chosen}, not {expected}", expected)
    return home
