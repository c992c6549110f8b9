"""Topic-partition to ``Partition``: the partitions that this broker leads, and their logs on disk.

Responsible for: the map, the settings of each topic as its partitions need them, opening logs with the offsets of the
checkpoints, and following the image (created, deleted, changed). Must not depend on: requests, why the image changed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import NamedTuple, TypeVarTuple

from kwire.broker.clock import Clock
from kwire.broker.containment import must_stop_broker
from kwire.broker.directories import loss_report
from kwire.broker.directories.log_dirs import LogDir, LogDirs
from kwire.broker.directories.partition_metadata import is_of_topic, topic_id_in
from kwire.broker.logs import Logger
from kwire.broker.partitions.cluster_view import ClusterView
from kwire.broker.partitions.partition import Partition, Role, TopicSettings
from kwire.broker.partitions.topic_settings import topic_settings
from kwire.errors import Code, KafkaError, StorageFailure
from kwire.metadata import entities
from kwire.metadata.configs.effective import EffectiveConfigs
from kwire.metadata.entities import DIRECTORY_LOST, DIRECTORY_MIGRATING, DIRECTORY_UNASSIGNED, ResourceType
from kwire.metadata.image import Delta, MetadataImage
from kwire.storage.log import Log
from kwire.storage.recovery.losses import Cause, Loss
from kwire.storage.segments.segment import PendingDeletion
from kwire.types import TopicPartition, uuid_text

log = Logger("kwire.broker")

Ts = TypeVarTuple("Ts")


_RESERVED = (DIRECTORY_UNASSIGNED, DIRECTORY_MIGRATING, DIRECTORY_LOST)


class LogLocation(NamedTuple):
    """The directory of a partition's log. ``is_clean``: it was closed cleanly since this broker started."""

    log_dir: LogDir
    path: str
    is_clean: bool = False


class Partitions:
    """All partitions of this broker, by topic and index."""

    def __init__(
        self,
        *,
        node_id: int,
        image: MetadataImage,
        configs: EffectiveConfigs,
        dirs: LogDirs,
        clock: Clock,
        remove_later: Callable[[PendingDeletion], None],
        flush: Callable[[Partition], Awaitable[None]],
        cluster: ClusterView,
    ) -> None:
        self._node_id = node_id
        self._image = image
        self._configs = configs
        self._dirs = dirs
        self._clock = clock
        self._remove_later = remove_later
        self._flush = flush
        self.cluster = cluster
        cluster.truncated = self._note_truncated
        self._by_topic: dict[str, dict[int, Partition]] = {}
        self._settings: dict[str, TopicSettings] = {}
        # Shared by all topics without own configs; None until needed, and after a change of the broker's configs.
        self._usual_settings: TopicSettings | None = None
        # Partitions that have a directory, or whose log was opened.
        self._found: dict[TopicPartition, LogLocation] = {}
        # Replicated partitions that do not lead or follow yet.
        self._to_begin: list[Partition] = []
        # Partitions that could not follow the metadata, as a leader cannot whose log does not open.
        self._failed: dict[TopicPartition, None] = {}

    def get(self, topic: str, index: int) -> Partition:
        """The partition, which this broker leads.

        Raises KafkaError: UNKNOWN_TOPIC_OR_PARTITION, NOT_LEADER_OR_FOLLOWER.
        """
        try:
            partition = self._by_topic[topic][index]
            if partition.role is Role.LEADER:
                return partition
        except KeyError:
            pass
        if self._image.partition(topic, index) is None:
            raise KafkaError(Code.UNKNOWN_TOPIC_OR_PARTITION)
        raise KafkaError(Code.NOT_LEADER_OR_FOLLOWER)

    def replica(self, topic: str, index: int) -> Partition:
        """This broker's replica of the partition, whether it leads or follows.

        Raises KafkaError: UNKNOWN_TOPIC_OR_PARTITION, NOT_LEADER_OR_FOLLOWER if there is none here.
        """
        try:
            return self._by_topic[topic][index]
        except KeyError:
            pass
        if self._image.partition(topic, index) is None:
            raise KafkaError(Code.UNKNOWN_TOPIC_OR_PARTITION)
        raise KafkaError(Code.NOT_LEADER_OR_FOLLOWER)

    def get_in_epoch(self, topic: str, index: int, leader_epoch: int, *, leads: bool = True) -> Partition:
        """The partition, which this broker leads in the leader epoch that a client knows; -1: it knows none.

        With ``leads`` false a follower's replica is given too.

        Raises KafkaError: UNKNOWN_TOPIC_OR_PARTITION, FENCED_LEADER_EPOCH, UNKNOWN_LEADER_EPOCH,
        NOT_LEADER_OR_FOLLOWER; in this order, so that old metadata is reported before the role (KIP-320).
        """
        partition = self.replica(topic, index)
        partition.check_leader_epoch(leader_epoch)
        if leads and not partition.leads:
            raise KafkaError(Code.NOT_LEADER_OR_FOLLOWER)
        return partition

    def of_topic(self, topic: str) -> Mapping[int, Partition]:
        """Replicas of a topic here, by index; empty if there are none. Not to be kept over a wait."""
        return self._by_topic.get(topic, {})

    def __iter__(self) -> Iterator[Partition]:
        for topic in list(self._by_topic.values()):
            yield from list(topic.values())

    def __len__(self) -> int:
        return sum(len(topic) for topic in self._by_topic.values())

    # --- start
    # -------------------------------------------------------------------------------------------------------

    def load(self) -> None:
        """Find the directory of each partition; directories that belong to no topic of the image are set aside."""
        for one in self._dirs.online:
            one.remove_half_deleted()
            one.warn_of_foreign_directories()
            for topic_partition, path in one.partitions():
                if self._is_ours(one, topic_partition, path):
                    self._note_found(topic_partition, LogLocation(one, path))
                else:
                    log.warning("stray partition set aside", partition=str(topic_partition), directory=path)
                    one.set_aside(topic_partition, path, self.unique_name())
        self._report_missing_directories()
        for one in self._dirs.dirs:
            here = [key for key, found in self._found.items() if found.log_dir is one]
            one.partition_count = len(here)
            one.forget_all_but(here)
        for topic in self._image.topics.values():
            for partition in topic.partitions:
                if self._node_id in partition.replicas:
                    self._add(topic.name, partition)

    def unrecovered(self) -> list[Partition]:
        """The partitions whose log was not closed cleanly before this start and has not been opened since."""
        unclean = [key for key, found in self._found.items() if not (found.log_dir.clean or found.is_clean)]
        partitions = [self._by_topic[topic][index] for topic, index in unclean if index in self.of_topic(topic)]
        return [partition for partition in partitions if partition.opened is None]

    def has_directory(self, partition: Partition) -> bool:
        """Whether the partition has a directory or an open log."""
        return partition.opened is not None or partition.topic_partition in self._found

    # --- following the image
    # -----------------------------------------------------------------------------------------

    def on_metadata_delta(self, delta: Delta) -> None:
        """Apply a change of the image to partitions and logs."""
        for topic in delta.topics_deleted:
            self._contained(topic.name, self._delete, topic)
        # Before new partitions are made, which use the new settings.
        broker_changed = any(resource.type is ResourceType.BROKER for resource in delta.configs_changed)
        if broker_changed:
            self._usual_settings = None
        changed = {resource.name for resource in delta.configs_changed if resource.type is ResourceType.TOPIC}
        for name in list(self._by_topic) if broker_changed else changed:
            self._contained(name, self._configure, name)
        for key, partition in delta.partitions_created.items():
            self._contained(key, self._add, key.topic, partition)
        for key, (_, after) in delta.partitions_changed.items():
            self._contained(key, self._follow, key.topic, after)
        self.begin_roles()

    def retry_failed(self) -> list[Partition]:
        """Follow the metadata with the partitions that could not; returns those that do now."""
        failed, self._failed = self._failed, {}
        followed = []
        for key in failed:
            wanted = self._image.partition(*key)
            if wanted is None or self._node_id not in wanted.replicas:
                continue
            self._contained(key, self._follow_again, key.topic, wanted, was_failing=True)
            known = self.of_topic(key.topic).get(key.partition)
            if key not in self._failed and known is not None:
                log.info("partition follows the metadata now", partition=str(key))
                followed.append(known)
        self.begin_roles()
        return followed

    @property
    def has_failed(self) -> bool:
        """Whether ``retry_failed`` has something to do."""
        return bool(self._failed)

    def begin_roles(self) -> None:
        """Let new replicated partitions lead; at the start once their logs are recovered."""
        begin, self._to_begin = self._to_begin, []
        for partition in begin:
            self._contained(partition.topic_partition, partition.begin_role)

    def _follow(self, topic: str, after: entities.Partition) -> None:
        """Apply a change of a partition; a reassignment adds or removes this broker's replica."""
        known = self.of_topic(topic).get(after.index)
        if known is None:
            self._add(topic, after)
        elif self._node_id in after.replicas:
            known.follow_metadata(after, self._role(after))
        else:
            del self._by_topic[topic][after.index]
            known.mark_deleted(topic_deleted=False)
            self._remove_files(known)

    def _follow_again(self, topic: str, wanted: entities.Partition) -> None:
        known = self.of_topic(topic).get(wanted.index)
        if known is None or known.topic_id != wanted.topic_id:
            self._add(topic, wanted)
        elif wanted.partition_epoch > known.partition_epoch:
            known.follow_metadata(wanted, self._role(wanted))
        else:
            known.take_role_again()

    def _contained(
        self, key: TopicPartition | str, step: Callable[[*Ts], None], *args: *Ts, was_failing: bool = False
    ) -> None:
        """Run a step for one topic or partition; after a failure the other partitions still follow the metadata.

        A leader whose log cannot be opened refuses requests. A partition is tried again (``retry_failed``).
        """
        try:
            step(*args)
        except Exception as error:
            if must_stop_broker(error):
                raise
            if isinstance(key, TopicPartition):
                self._failed[key] = None
            if not was_failing:
                is_disk = isinstance(error, StorageFailure)
                if isinstance(error, StorageFailure):
                    self.cluster.storage_failed(error)
                event = "the log of a partition cannot be opened" if is_disk else "partition cannot follow the metadata"
                log.failure(event, error, partition=str(key))

    def _add(self, topic: str, partition: entities.Partition) -> None:
        if self._node_id not in partition.replicas:
            return
        key = TopicPartition(topic, partition.index)
        added = self._by_topic.setdefault(topic, {})[partition.index] = Partition(
            topic,
            partition.index,
            partition.topic_id,
            role=self._role(partition),
            leader_id=partition.leader,
            leader_epoch=partition.leader_epoch,
            replicas=partition.replicas,
            isr=partition.isr,
            log_dir=self._place(key, partition).path,
            settings=self._settings_of(topic),
            open_log=self._open_log,
            flush=self._flush,
            clock=self._clock,
            cluster=self.cluster,
            partition_epoch=partition.partition_epoch,
            recovery_state=partition.leader_recovery_state,
        )
        if len(partition.replicas) > 1:
            self._to_begin.append(added)

    def _role(self, partition: entities.Partition) -> Role:
        return Role.LEADER if partition.leader == self._node_id else Role.FOLLOWER

    def _configure(self, topic: str) -> None:
        if self._settings.pop(topic, None) is None:
            return
        settings = self._settings_of(topic)
        for partition in self.of_topic(topic).values():
            partition.configure(settings)

    def _settings_of(self, topic: str) -> TopicSettings:
        if topic not in self._settings:
            self._settings[topic] = self._find_settings(topic)
        return self._settings[topic]

    def _find_settings(self, topic: str) -> TopicSettings:
        if self._image.config(ResourceType.TOPIC, topic):
            return topic_settings(self._configs, topic)
        if self._usual_settings is None:
            self._usual_settings = topic_settings(self._configs, topic)
        return self._usual_settings

    def _delete(self, topic: entities.Topic) -> None:
        """Remove the topic's partitions at once; their files are deleted after ``file.delete.delay.ms``."""
        self._settings.pop(topic.name, None)
        for partition in self._by_topic.pop(topic.name, {}).values():
            partition.mark_deleted(topic_deleted=True)
            self._remove_files(partition)

    def _remove_files(self, partition: Partition) -> None:
        one = self._dirs.by_path(partition.log_dir)
        assert one is not None
        one.partition_count -= 1
        one.forget(partition.topic_partition)
        self._found.pop(partition.topic_partition, None)
        path = one.partition_path(partition.topic_partition)
        try:
            if partition.opened is None and not one.files.sizes(path):
                return  # there are no files
            deleted_path = one.deleted_directory_name(partition.topic_partition, self.unique_name())
            if partition.opened is not None:
                partition.opened.delete(deleted_path)
            else:
                one.files.rename(path, deleted_path)
        except StorageFailure as failure:
            log.failure("the files of a deleted partition stay until the next start", failure, partition=str(partition))
            return
        due_ms = self._clock.now_ms() + partition.settings.log.file_delete_delay_ms
        self._remove_later(PendingDeletion(deleted_path, due_ms, is_directory=True))

    def moved(self, partition: Partition, target: LogDir) -> None:
        """Note that a partition, which is not open, is complete and synced in another directory now."""
        before = self._dirs.by_path(partition.log_dir)
        assert before is not None
        before.partition_count -= 1
        target.partition_count += 1
        partition.log_dir = target.path
        key = partition.topic_partition
        if key in self._found:
            self._found[key] = LogLocation(target, target.partition_path(key), is_clean=True)
        cleaned_offset = before.cleaned_offsets.get(key)
        if cleaned_offset is not None:
            target.cleaned_offsets[key] = cleaned_offset
        before.forget(key)

    # --- logs
    # --------------------------------------------------------------------------------------------------------

    def close(self, partition: Partition) -> None:
        """Close a partition's log; a later use opens it again without recovery. Raises StorageFailure."""
        opened = partition.opened
        if opened is None:
            return
        partition.close()
        key = partition.topic_partition
        found = self._found[key]
        found.log_dir.note_offsets(key, opened)
        self._found[key] = found._replace(is_clean=True)

    def take_offline(self, one: LogDir) -> int:
        """Close the logs in a directory that failed; returns how many partitions it has.

        Each use of them raises StorageFailure from now on.
        """
        lost = [partition for partition in self if partition.log_dir == one.path]
        for partition in lost:
            partition.take_offline()
        return len(lost)

    def is_offline(self, partition: Partition) -> bool:
        """Whether the log directory of a partition has failed."""
        one = self._dirs.by_path(partition.log_dir)
        return one is not None and one.is_offline

    def _open_log(self, partition: Partition) -> Log:
        """Open one log with the offsets of its directory's checkpoints, recovering it after an unclean stop."""
        one = self._dirs.by_path(partition.log_dir)
        assert one is not None
        if one.is_offline:
            raise StorageFailure(one.path, "the log directory is offline")
        key = partition.topic_partition
        path = one.partition_path(key)
        found = self._found.get(key)
        if found is None:
            self.prepare_directory(one, partition)
        opened = Log.open(
            one.files,
            path,
            partition.settings.log,
            now_ms=self._clock.now_ms(),
            recovery_point=one.recovery_points.get(key, 0),
            log_start_offset=one.log_start_offsets.get(key, 0),
            clean=one.clean or found is None or found.is_clean,
            same_boot=one.same_boot,
            topic_id=partition.topic_id,
            keep_cut_bytes=self._configs.broker["kwire.recovery.keep.cut.bytes"],
        )
        if opened.epochs.rebuilt:
            log.warning(
                "leader-epoch-checkpoint missing or damaged, rebuilt from the log", partition=str(key), path=path
            )
        if opened.losses:
            loss_report.report(one.files, one.path, key, opened.losses, time_ms=self._clock.now_ms())
        self._found[key] = LogLocation(one, path)
        if len(partition.replicas) > 1:
            opened.lower_high_watermark(one.high_watermarks.get(key, opened.log_start_offset))
        if partition.role is Role.LEADER:
            opened.begin_epoch(partition.leader_epoch)
        return opened

    def _note_truncated(self, key: TopicPartition) -> None:
        """Keep the checkpoints from lying above a log that was cut. Raises StorageFailure."""
        partition = self._by_topic[key.topic][key.partition]
        one = self._dirs.by_path(partition.log_dir)
        assert one is not None
        one.note_cut(key, partition.log)

    def prepare_directory(self, one: LogDir, partition: Partition) -> None:
        """Remove what a deleted topic of the same name left in ``one``, before a partition gets a directory there.

        Raises StorageFailure if that is not possible.
        """
        key = partition.topic_partition
        path = one.partition_path(key)
        one.drop_stale_entries(key)
        if one.files.sizes(path) and topic_id_in(one, path) not in (None, partition.topic_id):
            # The directory could not be renamed when its topic was deleted.
            deleted_path = one.deleted_directory_name(key, self.unique_name())
            one.files.rename(path, deleted_path)
            self._remove_later(PendingDeletion(deleted_path, self._clock.now_ms(), is_directory=True))

    def _place(self, key: TopicPartition, partition: entities.Partition) -> LogDir:
        """The partition's log directory: where it was found, else the assigned one, else the emptiest."""
        if key in self._found:
            return self._found[key].log_dir
        one = self._assigned_dir(partition) or self._dirs.emptiest()
        one.partition_count += 1
        return one

    def _assigned_dir(self, partition: entities.Partition) -> LogDir | None:
        """The log directory that the metadata names for this broker's replica, if it is one of ``log.dirs``."""
        for replica, directory in zip(partition.replicas, partition.directories, strict=False):
            if replica == self._node_id:
                known = self._dirs.by_id(directory)
                # Nothing is created elsewhere for a replica that may be in a directory which could not be read.
                return known or (None if directory in _RESERVED else self._dirs.not_read())
        return None

    def _note_found(self, key: TopicPartition, location: LogLocation) -> None:
        """Note the directory of a partition. Of two copies, which a kill during a move leaves, one is set aside.

        Both are complete then. The one in the directory that the metadata names is kept, so that the choice is the
        same at every start.
        """
        other = self._found.setdefault(key, location)
        if other is location:
            return
        known = self._image.partition(*key)
        assert known is not None
        kept, aside = (location, other) if self._assigned_dir(known) is location.log_dir else (other, location)
        self._found[key] = kept
        log.warning(
            "partition found in two log directories: one copy set aside",
            partition=str(key),
            kept=kept.path,
            set_aside=aside.path,
        )
        aside.log_dir.set_aside(key, aside.path, self.unique_name())

    def _report_missing_directories(self) -> None:
        """Report the partitions that had records according to the checkpoints and have no directory.

        Only after a clean stop: otherwise a checkpoint may still have the entry of a deleted topic of the same name.
        """
        for one in self._dirs.dirs:
            for key, recovery_point in one.recovery_points.items() if one.clean else ():
                start = one.log_start_offsets.get(key, 0)
                end = max(recovery_point, one.high_watermarks.get(key, 0))
                if key not in self._found and end > start and self._image.partition(*key) is not None:
                    loss = Loss(start, end, 0, Cause.DIRECTORY_MISSING)
                    loss_report.report(one.files, one.path, key, [loss], time_ms=self._clock.now_ms())

    def _is_ours(self, one: LogDir, key: TopicPartition, path: str) -> bool:
        known = self._image.partition(*key)
        if known is None or self._node_id not in known.replicas:
            return False
        return is_of_topic(one, path, known.topic_id)

    def unique_name(self) -> str:
        """A unique part for a directory name."""
        return uuid_text(self._clock.uuid()).replace("-", "").replace("_", "")
