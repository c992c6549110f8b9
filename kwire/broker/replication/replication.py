"""Replication of one broker: which partitions are fetched from which leader, and the background tasks of leaders.

Responsible for: following the metadata (leaders, brokers that may be in sync), the fetchers, the check for lagging
followers, the checkpoint of high watermarks. Must not depend on: how a partition is copied, sockets.
"""

from __future__ import annotations

import zlib
from collections.abc import Awaitable, Callable, Collection, Mapping
from functools import partial
from typing import Any, Final, Literal

import trio

from kwire.broker.clock import Clock
from kwire.broker.containment import start_contained
from kwire.broker.outbound.interface import Node
from kwire.broker.partitions.leading import check_growth, check_lag
from kwire.broker.partitions.partition import Partition
from kwire.broker.partitions.partitions import Partitions
from kwire.broker.replication.fetcher import Fetcher
from kwire.broker.replication.isr_updates import IsrUpdates
from kwire.broker.replication.throttle import Throttle
from kwire.broker.storage_failures import StorageFailures
from kwire.errors import StorageFailure
from kwire.metadata.cluster.partition_changes import directory_of, has_online_directory
from kwire.metadata.configs.effective import EffectiveConfigs
from kwire.metadata.image import Delta, MetadataImage
from kwire.replication.throttle import ReplicationQuota
from kwire.types import TopicPartition
from kwire.wire.messages import AlterPartitionRequest

# Time between two attempts of partitions that could not follow the metadata.
_RETRY_MS: Final = 1000.0
_RETRY_MS_MAX: Final = 30_000.0
# A task that is this late has been paused with the whole process, as by SIGSTOP.
_PAUSE_MS_MIN: Final = 500.0


def alive_brokers(image: MetadataImage) -> dict[int, int]:
    """Return the broker epochs of the brokers that may be in sync: not fenced, not in controlled shutdown."""
    return {
        broker.id: broker.epoch
        for broker in image.brokers.values()
        if not broker.fenced and not broker.in_controlled_shutdown
    }


class AliveBrokers(Mapping[int, int]):
    """``alive_brokers`` as of the last change of the metadata; shared with the partitions."""

    def __init__(self, image: MetadataImage) -> None:
        self._image = image
        self._epochs = alive_brokers(image)

    def on_metadata_delta(self, delta: Delta) -> None:
        """Called before the partitions follow: a new leader reads which brokers may be in sync."""
        if delta.brokers_changed:
            self._epochs = alive_brokers(self._image)

    def __getitem__(self, broker_id: int) -> int:
        return self._epochs[broker_id]

    def __iter__(self) -> Any:
        return iter(self._epochs)

    def __len__(self) -> int:
        return len(self._epochs)


class Replication:
    """The replication of one broker. ``ask_controller`` sends a request to the active controller, or raises KafkaError.

    ``connect`` returns the connection of this broker to another one with a client id, or raises OutboundError;
    ``disconnect`` closes it.
    """

    def __init__(
        self,
        *,
        image: MetadataImage,
        configs: EffectiveConfigs,
        partitions: Partitions,
        connect: Callable[[int, str], Node],
        disconnect: Callable[[int, str], None],
        clock: Clock,
        broker_epoch: Callable[[], int],
        ask_controller: Callable[[AlterPartitionRequest], Awaitable[Any]] | None,
        write_high_watermarks: Callable[[], Awaitable[None]],
        storage_failures: StorageFailures,
    ) -> None:
        self._image = image
        self._configs = configs
        self._partitions = partitions
        self._connect = connect
        self._disconnect = disconnect
        self._clock = clock
        self._broker_epoch = broker_epoch
        self._write_high_watermarks = write_high_watermarks
        self._storage_failures = storage_failures
        self.isr_updates = IsrUpdates(
            node_id=configs.node_id,
            partitions=partitions,
            clock=clock,
            broker_epoch=broker_epoch,
            ask_controller=ask_controller,
        )
        # The quotas of leaders and of followers, each for all replicas here that topic configs throttle.
        self.leader_quota = _quota(configs, "leader.replication.throttled.rate", clock)
        self._follower_quota = _quota(configs, "follower.replication.throttled.rate", clock)
        self._fetchers: dict[tuple[int, int], Fetcher] = {}
        self._by_partition: dict[Partition, Fetcher] = {}
        self._nursery: trio.Nursery | None = None
        self.alive = AliveBrokers(image)
        cluster = partitions.cluster
        cluster.alive, cluster.propose = self.alive, self.isr_updates.propose
        cluster.is_online = self._is_online
        cluster.storage_failed = storage_failures.report
        cluster.lag_time_max_ms = configs.broker["replica.lag.time.max.ms"]

    def on_metadata_delta(self, delta: Delta) -> None:
        """Fetch from the new leaders. Called after ``Partitions``, which change the roles."""
        if self._nursery is None:
            return
        is_gone = bool(delta.topics_deleted)
        for topic, index in [*delta.partitions_created, *delta.partitions_changed]:
            partition = self._partitions.of_topic(topic).get(index)
            if partition is not None:
                self._assign(partition)
            else:
                is_gone = True  # of other brokers, or removed from here by a reassignment
        if is_gone:
            for partition in [one for one in self._by_partition if one.deleted]:
                self._leave(partition)
        if delta.brokers_changed:
            self._forget_unregistered(delta.brokers_changed)
        if delta.brokers_changed or any(
            before.directories != after.directories for before, after in delta.partitions_changed.values()
        ):
            self._check_growth()

    def _is_online(self, where: TopicPartition, broker_id: int) -> bool:
        partition, broker = self._image.partition(*where), self._image.brokers.get(broker_id)
        return partition is None or broker is None or has_online_directory(broker, directory_of(partition, broker_id))

    def _forget_unregistered(self, changed: Collection[int]) -> None:
        """End the fetchers of brokers that are registered no more."""
        gone = {one for one in changed if one not in self._image.brokers}
        if not gone:
            return
        for partition in [one for one, fetcher in self._by_partition.items() if fetcher.leader_id in gone]:
            self._leave(partition)
        for key in [key for key in self._fetchers if key[0] in gone]:
            self._fetchers.pop(key).stop()

    def _check_growth(self) -> None:
        for partition in self._partitions:
            if partition.leader is not None:
                try:
                    check_growth(partition)
                except StorageFailure as failure:
                    self._storage_failures.report(failure)

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Copy, check for lag and write checkpoints until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            for partition in self._partitions:
                self._assign(partition)
            for task in (self.isr_updates.run, self._check_lag, self._checkpoint, self._retry_failed):
                start_contained(nursery, self._clock.sleep, task)
            task_status.started()

    def _assign(self, partition: Partition) -> None:
        """Fetch a partition from its leader, if it follows one."""
        follows = not (partition.leads or partition.deleted or self._partitions.is_offline(partition))
        follows = follows and partition.leader_id >= 0
        fetcher = self._fetcher_of(partition) if follows else None
        if self._by_partition.get(partition) is not fetcher:
            self._leave(partition)
        if fetcher is not None:
            self._by_partition[partition] = fetcher
            fetcher.follow(partition)

    def leave_offline(self) -> None:
        """Stop fetching partitions whose log directory has failed."""
        for partition in [one for one in self._by_partition if self._partitions.is_offline(one)]:
            self._leave(partition)

    def _leave(self, partition: Partition) -> None:
        fetcher = self._by_partition.pop(partition, None)
        if fetcher is not None:
            fetcher.unfollow(partition)

    def _fetcher_of(self, partition: Partition) -> Fetcher:
        number = zlib.crc32(str(partition).encode()) % max(1, self._configs.broker["num.replica.fetchers"])
        key = (partition.leader_id, number)
        fetcher = self._fetchers.get(key)
        if fetcher is None:
            client_id = f"broker-{self._configs.node_id}-fetcher-{number}"
            fetcher = self._fetchers[key] = Fetcher(
                leader_id=partition.leader_id,
                configs=self._configs,
                clock=self._clock,
                connect=partial(self._connect, partition.leader_id, client_id),
                disconnect=partial(self._disconnect, partition.leader_id, client_id),
                broker_epoch=self._broker_epoch,
                quota=self._follower_quota,
                storage_failures=self._storage_failures,
            )
            assert self._nursery is not None
            start_contained(self._nursery, self._clock.sleep, fetcher.run)
        return fetcher

    async def _check_lag(self) -> None:
        """As often as Kafka: a lagging follower leaves the in-sync replicas within 1.5 times the allowed time."""
        while True:
            wait_ms = max(1, self._configs.broker["replica.lag.time.max.ms"] // 2)
            began_s = trio.current_time()
            await self._clock.sleep(wait_ms)
            if (trio.current_time() - began_s) * 1000 * self._clock.rate - wait_ms >= _PAUSE_MS_MIN:
                # This process did not run: the followers' fetches of that time are still unread in the sockets.
                continue
            for partition in self._partitions:
                if partition.leader is not None:
                    try:
                        check_lag(partition)
                    except StorageFailure as failure:
                        self._storage_failures.report(failure)

    async def _retry_failed(self) -> None:
        """Let partitions take their role that could not, such as leaders whose log did not open."""
        pause_ms = _RETRY_MS
        while True:
            await self._clock.sleep(pause_ms)
            if not self._partitions.has_failed:
                pause_ms = _RETRY_MS
                continue
            for partition in self._partitions.retry_failed():
                self._assign(partition)
            pause_ms = min(pause_ms * 2, _RETRY_MS_MAX)

    async def _checkpoint(self) -> None:
        """Write replication-offset-checkpoint, from which a restart knows what was committed."""
        while True:
            await self._clock.sleep(max(1, self._configs.broker["replica.high.watermark.checkpoint.interval.ms"]))
            await self._write_high_watermarks()


def _quota(
    configs: EffectiveConfigs,
    rate: Literal["leader.replication.throttled.rate", "follower.replication.throttled.rate"],
    clock: Clock,
) -> Throttle:
    counted = ReplicationQuota(
        window_count=configs.broker["replication.quota.window.num"],
        window_ms=configs.broker["replication.quota.window.size.seconds"] * 1000,
    )
    return Throttle(counted, rate=lambda: configs.broker[rate], clock=clock)
