"""Starts and stops one broker.

Responsible for: in which order the parts are made, recovered and run, and in which order they are closed. Must not
depend on: sockets, what a single API does.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import trio

from kwire.broker.broker import Broker
from kwire.broker.clock import Clock
from kwire.broker.containment import run_contained
from kwire.broker.controller.embedded import EmbeddedController
from kwire.broker.controller.metadata_log import MetadataLog
from kwire.broker.endpoint import Endpoint
from kwire.broker.partitions.log_dirs import LogDirs
from kwire.broker.storage_failures import StorageFailures
from kwire.errors import StorageFailure
from kwire.metadata.effective import BrokerSettings, EffectiveConfigs
from kwire.metadata.image import MetadataImage
from kwire.metadata.quorum_rules import check_quorum
from kwire.storage.files import Files


@asynccontextmanager
async def open_broker(
    settings: BrokerSettings,
    files: Files,
    *,
    endpoints: Sequence[Endpoint],
    clock: Clock | None = None,
    cluster_id: str | None = None,
) -> AsyncIterator[Broker]:
    """Open the log directories, recover, run the background tasks; flush and close everything at the end.

    Raises ConfigProblem, storage.files.DirectoryInUse, log_dirs.ForeignDirectory, StorageFailure, before anything is
    served.
    """
    clock = Clock() if clock is None else clock
    # Dynamic configs are in the metadata log, so only the static ones can say where that log is.
    static = EffectiveConfigs(MetadataImage(), settings, node_id=-1)
    check_quorum(static)
    node_id = static.broker["node.id"]
    paths = [files.absolute(path) for path in _log_dir_paths(static)]
    dirs = LogDirs.open(files, paths, node_id=node_id, cluster_id=cluster_id, clock=clock)
    try:
        metadata_log = MetadataLog.open(files, dirs, node_id=node_id, settings=settings, clock=clock)
        configs = EffectiveConfigs(metadata_log.image, settings, node_id=node_id)
        storage_failures = StorageFailures(clock)
        controller = EmbeddedController(
            log=metadata_log, configs=configs, clock=clock, on_storage_failure=storage_failures.report
        )
        # First, because partitions that Apache Kafka left without a leader at a clean stop get it back here.
        controller.register(endpoints, [one.id for one in dirs.dirs])
        broker = Broker(
            clock=clock,
            configs=configs,
            dirs=dirs,
            controller=controller,
            storage_failures=storage_failures,
            endpoints=endpoints,
        )
        broker.partitions.load()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(clock.run)
            await broker.housekeeping.recover()
            nursery.start_soon(broker.housekeeping.run)
            watch = broker.watchdog.watch
            nursery.start_soon(watch, "metadata log", controller.run)
            nursery.start_soon(watch, "partition moves", run_contained, clock.sleep, broker.moves.run)
            await nursery.start(watch, "group coordinator", broker.groups.run)
            await nursery.start(watch, "transaction coordinator", broker.transactions.run)
            yield broker
            nursery.cancel_scope.cancel()
        await _close(broker, controller)
    finally:
        dirs.release()


async def _close(broker: Broker, controller: EmbeddedController) -> None:
    """Flush and close every log, write the checkpoints, and mark the log directories as cleanly stopped.

    If a log cannot be closed, the others are, and the next start checks all of them.
    """
    await broker.housekeeping.flush_and_checkpoint()
    all_closed = True
    for partition in broker.partitions:
        try:
            broker.partitions.close(partition)
        except StorageFailure as failure:
            all_closed = False
            broker.storage_failed(failure)
    epoch = controller.broker_epoch
    controller.close()
    if all_closed:
        broker.dirs.mark_clean(epoch)


def _log_dir_paths(static: EffectiveConfigs) -> list[str]:
    paths = static.broker["log.dirs"] or static.broker["log.dir"]
    return [path.rstrip("/") or path for path in paths]
