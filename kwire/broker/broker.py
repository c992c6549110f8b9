"""The composition root: one broker, and everything that hangs off it.

Owns: what is made in which order at the start, and how it is left. May not know: sockets, what a single API does.

There are no globals: ten brokers in one process are ten values of ``Broker``.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import trio

from kwire.broker.background import housekeeping
from kwire.broker.clock import Clock
from kwire.broker.controller.metadata_log import MetadataLog
from kwire.broker.coordination.groups import Groups
from kwire.broker.coordination.internal_topics import new_topic
from kwire.broker.coordination.producer_ids import ProducerIds
from kwire.broker.coordination.transactions import Transactions
from kwire.broker.logs import Logger
from kwire.broker.partitions.fetch_sessions import FetchSessions
from kwire.broker.partitions.flusher import Flusher
from kwire.broker.partitions.log_dirs import LogDirs
from kwire.broker.partitions.moves import Moves
from kwire.broker.partitions.partition import Partition
from kwire.broker.partitions.partitions import Partitions
from kwire.broker.requests.context import Endpoint
from kwire.broker.requests.dispatch import ApiTable
from kwire.broker.requests.quotas import Quotas
from kwire.errors import Code, KafkaError, StorageFailure
from kwire.limits import STORAGE_TROUBLE_EVERY_MS
from kwire.metadata.controller import create_topics
from kwire.metadata.decision import Decision
from kwire.metadata.effective import BrokerSettings, EffectiveConfigs
from kwire.metadata.entities import Topic
from kwire.metadata.image import Delta, MetadataImage, Record
from kwire.storage.files import Files
from kwire.storage.segment import PendingDeletion

if TYPE_CHECKING:
    from kwire.broker.background.cleaner import Cleaner

log = Logger("kwire.broker")

T = TypeVar("T")


class Broker:
    """One running broker. Made by ``open_broker``.

    ``endpoints`` are the listeners as clients see them; ``apis`` is what is served; ``configs`` gives every effective
    setting. Handlers reach everything they need from here.
    """

    def __init__(
        self,
        *,
        apis: ApiTable,
        clock: Clock,
        configs: EffectiveConfigs,
        dirs: LogDirs,
        metadata_log: MetadataLog,
        endpoints: Sequence[Endpoint],
    ) -> None:
        self.apis = apis
        self.clock = clock
        self.configs = configs
        self.dirs = dirs
        self.metadata_log = metadata_log
        self.image: MetadataImage = metadata_log.image
        self.endpoints = tuple(endpoints)
        self.flusher = Flusher(clock, self._sync_failed)
        self.partitions = Partitions(
            node_id=configs.node_id,
            image=self.image,
            configs=configs,
            dirs=dirs,
            clock=clock,
            remove_later=partial(housekeeping.remove_when_due, self),
            flush=self.flusher.flush,
        )
        self.to_remove, self.removable = trio.open_memory_channel[PendingDeletion](math.inf)
        slots_max = configs.broker["max.incremental.fetch.session.cache.slots"]
        self.fetch_sessions = FetchSessions(slots_max, clock.random_bytes)
        self.moves = Moves(self)
        self.quotas = Quotas(self.image, configs, clock)
        self.producer_ids = ProducerIds(metadata_log.reserve_producer_ids)
        self.groups = Groups(self)
        self.transactions = Transactions(self)
        # Compaction and its numbers, once it has begun.
        self.cleaner: Cleaner | None = None
        self._failing: dict[str, float] = {}  # path -> when it was last spoken of, on the monotonic clock

    @property
    def node_id(self) -> int:
        return self.configs.node_id

    @property
    def cluster_id(self) -> str:
        return self.dirs.cluster_id

    @property
    def rack(self) -> str | None:
        return self.configs.broker["broker.rack"]

    @property
    def fetch_max_bytes(self) -> int:
        return self.configs.broker["fetch.max.bytes"]

    def change_metadata(self, records: Sequence[Record]) -> Delta:
        """Append to the metadata log, apply to the image, and carry out what changed; atomic, none of it waits.

        Raises StorageFailure, with nothing changed.
        """
        delta = self.metadata_log.apply(records)
        self.partitions.on_metadata_delta(delta)
        self.groups.on_metadata_delta(delta)
        self.transactions.on_metadata_delta(delta)
        return delta

    def carry_out(self, decision: Decision[T]) -> list[T | KafkaError]:
        """Change what was decided and give the results; where the metadata log refuses, none of it was done."""
        if decision.records:
            try:
                self.change_metadata(decision.records)
            except StorageFailure as failure:
                self.storage_failed(failure)
                refusal = KafkaError(Code.KAFKA_STORAGE_ERROR, str(failure))
                return [one if isinstance(one, KafkaError) else refusal for one in decision.results]
        return decision.results

    def create_topic_automatically(self, name: str) -> Topic:
        """Create a topic that somebody asked for, with the broker's defaults. Raises KafkaError, StorageFailure."""
        decision = create_topics(self.image, self.configs, [new_topic(name, self.configs)], uuid=self.clock.uuid)
        result = decision.results[0]
        if isinstance(result, KafkaError):
            raise result
        self.change_metadata(decision.records)
        log.info("created a topic that a client asked for", topic=name)
        return self.image.topics[name]

    def _sync_failed(self, partition: Partition) -> None:
        one = self.dirs.by_path(partition.log_dir)
        assert one is not None
        one.mark_page_cache_untrusted()

    def storage_failed(self, failure: StorageFailure) -> None:
        """Say in the log that a disk refuses, once a while for each file; the log itself tries again at each append."""
        now_ms = self.clock.monotonic_ms()
        if now_ms - self._failing.get(failure.path, float("-inf")) >= STORAGE_TROUBLE_EVERY_MS:
            self._failing[failure.path] = now_ms
            log.error("a file cannot be used; others go on", path=failure.path, why=str(failure))


@asynccontextmanager
async def open_broker(
    settings: BrokerSettings,
    apis: ApiTable,
    files: Files,
    *,
    endpoints: Sequence[Endpoint],
    clock: Clock | None = None,
    cluster_id: str | None = None,
) -> AsyncIterator[Broker]:
    """Open the data directories, recover, run the broker's own tasks, and leave everything in order at the end.

    Raises storage.files.DirectoryInUse, log_dirs.ForeignDirectory, StorageFailure, before anything is served.
    """
    clock = Clock() if clock is None else clock
    # The dynamic settings lie in the metadata log, so where that log lies is asked of the static ones.
    static = EffectiveConfigs(MetadataImage(), settings, node_id=-1)
    node_id = static.broker["node.id"]
    paths = [files.absolute(path) for path in _log_dir_paths(static)]
    dirs = LogDirs.open(files, paths, node_id=node_id, cluster_id=cluster_id, clock=clock)
    try:
        metadata_log = MetadataLog.open(files, dirs, node_id=node_id, settings=settings, clock=clock)
        configs = EffectiveConfigs(metadata_log.image, settings, node_id=node_id)
        broker = Broker(
            apis=apis, clock=clock, configs=configs, dirs=dirs, metadata_log=metadata_log, endpoints=endpoints
        )
        # First, because partitions that Apache Kafka left without a leader at a clean stop get it back here.
        metadata_log.register(broker.endpoints)
        broker.partitions.load()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(clock.run)
            await housekeeping.recover(broker)
            nursery.start_soon(housekeeping.run, broker)
            nursery.start_soon(_stop_without_metadata, metadata_log)
            nursery.start_soon(broker.moves.run)
            await nursery.start(broker.groups.run)
            await nursery.start(broker.transactions.run)
            yield broker
            nursery.cancel_scope.cancel()
        await _leave_in_order(broker)
    finally:
        dirs.release()


async def _stop_without_metadata(metadata_log: MetadataLog) -> None:
    """End the broker, by an error, when the metadata log has lost what it was given: a start finds out what is left."""
    await metadata_log.lost.wait()
    raise StorageFailure(metadata_log.log.path, "the metadata log could not be brought to the disk: kwire stops")


async def _leave_in_order(broker: Broker) -> None:
    """Flush and close every log, write the checkpoints, and mark the directories as left cleanly.

    Where a log cannot be closed the rest is, and the next start checks them all.
    """
    await housekeeping.flush_and_checkpoint(broker)
    all_closed = True
    for partition in broker.partitions:
        try:
            partition.close()
        except StorageFailure as failure:
            all_closed = False
            broker.storage_failed(failure)
    epoch = broker.metadata_log.broker_epoch
    broker.metadata_log.close()
    if all_closed:
        broker.dirs.mark_clean(epoch)


def _log_dir_paths(static: EffectiveConfigs) -> list[str]:
    paths = static.broker["log.dirs"] or static.broker["log.dir"]
    return [path.rstrip("/") or path for path in paths]
