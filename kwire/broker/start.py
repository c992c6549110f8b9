"""Starts and stops one broker.

Responsible for: the order in which the parts are made, recovered and run, the order in which they are closed, and which
of them follow changes of the metadata. Must not depend on: sockets, what a single API does.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Final

import trio

from kwire.broker.background.file_remover import FileRemover
from kwire.broker.background.housekeeping import Housekeeping
from kwire.broker.broker import Broker
from kwire.broker.clients.audit import AuditLog
from kwire.broker.clients.authorization import follow_acls, make_authorizer
from kwire.broker.clients.hooks import Hooks
from kwire.broker.clients.quotas import Quotas
from kwire.broker.clients.response_cache import ResponseCache
from kwire.broker.clock import Clock
from kwire.broker.containment import run_contained, start_contained
from kwire.broker.coordination.background import begin_coordinators
from kwire.broker.coordination.groups import Groups
from kwire.broker.coordination.metadata_view import MetadataView
from kwire.broker.coordination.runtime import RuntimeParts
from kwire.broker.coordination.share.share_states import ShareStates
from kwire.broker.coordination.transactions.admission import Admission
from kwire.broker.coordination.transactions.markers import MarkerWriter
from kwire.broker.coordination.transactions.producer_ids import ProducerIds
from kwire.broker.coordination.transactions.transactions import Transactions
from kwire.broker.directories.log_dirs import LogDir, LogDirs, has_cluster_id
from kwire.broker.endpoint import Endpoint
from kwire.broker.metadata_source import MetadataSource, open_own_log
from kwire.broker.partitions.cluster_view import ClusterView
from kwire.broker.partitions.fetching.fetch_sessions import FetchSessions
from kwire.broker.partitions.flusher import Flusher
from kwire.broker.partitions.moves import Moves
from kwire.broker.partitions.partitions import Partitions
from kwire.broker.parts_at_first_use import create_internal_topic, make_authentication, make_delegation_tokens
from kwire.broker.share.dead_letters import DeadLetterWriter
from kwire.broker.share.share_partitions import SharePartitions
from kwire.broker.storage_failures import StorageFailures
from kwire.broker.telemetry.client_telemetry import ClientTelemetry
from kwire.broker.watchdog import Watchdog
from kwire.errors import StorageFailure
from kwire.metadata.configs.effective import BrokerSettings, EffectiveConfigs
from kwire.metadata.image import Delta, MetadataImage
from kwire.metadata.settings.quorum_rules import check_quorum, is_broker_alone
from kwire.storage.files import Files

if TYPE_CHECKING:  # only a broker with logins, or a node of a cluster, loads them
    from kwire.broker.controller.embedded import EmbeddedController
    from kwire.broker.coordination.remote import RemoteCoordination
    from kwire.broker.node.directory_assignments import DirectoryAssignments
    from kwire.broker.outbound.interface import Dialer, Node
    from kwire.broker.partitions.directory_failures import LogDirFailures
    from kwire.broker.partitions.fetching.replica_selector import RackAwareReplicaSelector
    from kwire.broker.replication.replication import Replication
    from kwire.broker.share.remote_dead_letters import RemoteDeadLetters

_CORDONED: Final = "cordoned.log.dirs"


@asynccontextmanager
async def open_broker(
    settings: BrokerSettings,
    files: Files,
    *,
    endpoints: Sequence[Endpoint],
    controller_endpoints: Sequence[Endpoint] = (),
    clock: Clock | None = None,
    cluster_id: str | None = None,
    dialer: Dialer | None = None,
) -> AsyncIterator[Broker]:
    """Open the log directories, recover, run the background tasks; flush and close everything at the end.

    ``controller_endpoints`` are the listeners by which brokers of other processes join this node's controller.
    ``dialer`` connects to other nodes, None over TCP. Raises ConfigProblem, storage.files.DirectoryInUse,
    log_dirs.ForeignDirectory, StorageFailure, node.member.JoinRefused, before anything is served.
    """
    clock = Clock() if clock is None else clock
    # Dynamic configs are in the metadata log, so only the static ones can say where that log is.
    static = EffectiveConfigs(MetadataImage(), settings, node_id=-1)
    check_quorum(static)
    node_id = static.broker["node.id"]
    paths = [files.absolute(path) for path in _log_dir_paths(static)]
    joins = is_broker_alone(static)
    if joins and cluster_id is None and not has_cluster_id(files, paths):
        cluster_id = await _learn_cluster_id(static, dialer)
    dirs = LogDirs.open(files, paths, node_id=node_id, cluster_id=cluster_id, clock=clock, without_failed=joins)
    storage_failures = StorageFailures(clock)
    try:
        source = (
            _open_quorum(settings, dirs=dirs, node_id=node_id, endpoints=endpoints, clock=clock, dialer=dialer)
            if joins
            else open_own_log(
                settings,
                files,
                dirs=dirs,
                node_id=node_id,
                endpoints=endpoints,
                clock=clock,
                storage_failures=storage_failures,
                has_other_brokers=bool(controller_endpoints),
                dialer=dialer,
            )
        )
        async with source as metadata:
            broker = _make_broker(
                clock=clock, dirs=dirs, metadata=metadata, storage_failures=storage_failures, endpoints=endpoints
            )
            broker.partitions.load()
            if controller_endpoints and metadata.own is not None:
                is_broker = "broker" in static.broker["process.roles"]
                await _serve_controller(broker, metadata.own, controller_endpoints, is_broker=is_broker)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(clock.run)
                await broker.housekeeping.recover()
                broker.partitions.begin_roles()
                broker.housekeeping.begin(nursery)
                watch = broker.watchdog.watch
                nursery.start_soon(watch, "metadata log", metadata.run)
                if broker.cluster_controller is not None:
                    nursery.start_soon(watch, "controller", broker.cluster_controller.run)
                run_moves = partial(nursery.start_soon, watch, "partition moves", run_contained, clock.sleep)
                broker.moves.task.begin(nursery, run_moves)
                if static.broker["delegation.token.secret.key"] and metadata.member is None:
                    start_contained(nursery, clock.sleep, broker.delegation_tokens.run)
                begin_coordinators(nursery, watch, broker.groups, broker.transactions, broker.share_states)
                broker.share_partitions.begin(nursery)
                await _start_cluster_parts(nursery, broker, metadata)
                yield broker
                nursery.cancel_scope.cancel()
            await _close(broker, metadata)
    finally:
        dirs.release()


async def _start_cluster_parts(nursery: trio.Nursery, broker: Broker, metadata: MetadataSource) -> None:
    """Start the tasks of a broker of a cluster; a broker without others has only the first ones."""
    watch, sleep = broker.watchdog.watch, broker.clock.sleep
    _start_cordons(nursery, broker, metadata)
    if broker.replication is not None:
        await nursery.start(watch, "replication", broker.replication.run)
    if broker.replication is not None or broker.cluster_controller is not None:
        failures = _log_dir_failures(broker, metadata)
        nursery.start_soon(watch, "log directory failures", run_contained, sleep, failures.run)
    if broker.remote_transactions is not None:
        await nursery.start(watch, "transactions of other brokers", broker.remote_transactions.run)
    if metadata.member is not None:
        assignments = _directory_assignments(broker)
        nursery.start_soon(watch, "directories of replicas", run_contained, sleep, assignments.run)


async def _serve_controller(
    broker: Broker, controller: EmbeddedController, endpoints: Sequence[Endpoint], *, is_broker: bool
) -> None:
    """Make the controller of several brokers. Raises StorageFailure."""
    from kwire.broker.controller.cluster_controller import ClusterController  # noqa: PLC0415 (a single node needs none)

    broker.cluster_controller = ClusterController(
        controller=controller,
        configs=broker.configs,
        clock=broker.clock,
        files=broker.dirs.files,
        cluster_id=broker.cluster_id,
        own_broker=broker.node_id if is_broker else None,
        endpoints=endpoints,
    )
    await broker.cluster_controller.start()
    if broker.replication is not None:
        from kwire.broker.controller.alter_partition import ask_own_controller  # noqa: PLC0415 (as above)

        broker.replication.isr_updates.ask_controller = partial(ask_own_controller, broker.cluster_controller)
    # Last, so that this node's own partitions follow a change before other nodes read it.
    controller.subscribe(broker.cluster_controller.on_metadata_delta)


def _directory_assignments(broker: Broker) -> DirectoryAssignments:
    from kwire.broker.node.directory_assignments import DirectoryAssignments  # noqa: PLC0415 (only a node loads it)

    made = DirectoryAssignments(
        node_id=broker.node_id,
        image=broker.image,
        partitions=broker.partitions,
        dirs=broker.dirs,
        controller=broker.controller,
    )
    broker.controller.subscribe(made.on_metadata_delta)
    return made


def _start_cordons(nursery: trio.Nursery, broker: Broker, metadata: MetadataSource) -> None:
    """Follow ``cordoned.log.dirs``; a node without others begins once it is set."""
    configs, member, own = broker.configs.broker, metadata.member, metadata.own
    if member is None and (own is None or own.broker_epoch < 0):
        return
    is_running = False

    def begin(delta: Delta | None = None) -> None:
        nonlocal is_running
        if is_running or (delta is not None and not (delta.configs_changed and broker.configs.broker[_CORDONED])):
            return
        is_running = True
        from kwire.broker.directories.cordons import LogDirCordons  # noqa: PLC0415 (most brokers need none)

        tell = member.cordon if member is not None else own.cordon if own is not None else None
        assert tell is not None
        cordons = LogDirCordons(dirs=broker.dirs, configs=broker.configs, tell=tell)
        broker.controller.subscribe(cordons.on_metadata_delta)
        watch = broker.watchdog.watch
        nursery.start_soon(watch, "cordoned log directories", run_contained, broker.clock.sleep, cordons.run)

    if member is not None or configs[_CORDONED]:
        begin()
    else:
        broker.controller.subscribe(begin)


def _replica_selector(image: MetadataImage, configs: EffectiveConfigs) -> RackAwareReplicaSelector | None:
    if configs.broker["replica.selector.class"] is None:
        return None
    from kwire.broker.partitions.fetching.replica_selector import (  # noqa: PLC0415 (few brokers choose one)
        RACK_AWARE,
        RackAwareReplicaSelector,
    )

    return RackAwareReplicaSelector(image) if configs.broker["replica.selector.class"] == RACK_AWARE else None


def _log_dir_failures(broker: Broker, metadata: MetadataSource) -> LogDirFailures:
    from kwire.broker.partitions.directory_failures import LogDirFailures  # noqa: PLC0415 (only a node loads it)

    async def on_offline(one: LogDir) -> None:
        if broker.replication is not None:
            broker.replication.leave_offline()
        if metadata.own is not None and one is metadata.own.log.home:
            metadata.own.log.lose_directory()  # without its metadata log the node stops, as in Apache Kafka
        elif metadata.member is not None:
            await metadata.member.report_offline(
                one.id, is_last=not broker.dirs.online, timeout_ms=broker.configs.broker["log.dir.failure.timeout.ms"]
            )
        elif broker.cluster_controller is not None:
            broker.cluster_controller.lose_own_directory(one.id)

    made = LogDirFailures(
        dirs=broker.dirs,
        partitions=broker.partitions,
        on_offline=on_offline,
    )
    broker.storage_failures.subscribers.append(made.note)
    return made


def _learn_cluster_id(configs: EffectiveConfigs, dialer: Dialer | None) -> Awaitable[str]:
    from kwire.broker.quorum_source import learn_cluster_id  # noqa: PLC0415 (only a node of a cluster loads it)

    return learn_cluster_id(configs, dialer)


def _open_quorum(
    settings: BrokerSettings,
    *,
    dirs: LogDirs,
    node_id: int,
    endpoints: Sequence[Endpoint],
    clock: Clock,
    dialer: Dialer | None,
) -> AbstractAsyncContextManager[MetadataSource]:
    from kwire.broker.quorum_source import open_quorum  # noqa: PLC0415 (only a node of a cluster loads it)

    return open_quorum(settings, dirs=dirs, node_id=node_id, endpoints=endpoints, clock=clock, dialer=dialer)


def _make_broker(
    *,
    clock: Clock,
    dirs: LogDirs,
    metadata: MetadataSource,
    storage_failures: StorageFailures,
    endpoints: Sequence[Endpoint],
) -> Broker:
    """Make each part from those made before it."""
    image, configs, controller = metadata.image, metadata.configs, metadata.controller
    node_id = configs.node_id
    connection = metadata.connection
    watchdog = Watchdog()
    cluster = ClusterView.of_one(node_id)
    flusher = Flusher(clock, dirs)
    file_remover = FileRemover(files=dirs.files, clock=clock, storage_failures=storage_failures)
    partitions = Partitions(
        node_id=node_id,
        image=image,
        configs=configs,
        dirs=dirs,
        clock=clock,
        remove_later=file_remover.remove_when_due,
        flush=flusher.flush,
        cluster=cluster,
    )
    moves = Moves(
        node_id=node_id,
        partitions=partitions,
        dirs=dirs,
        clock=clock,
        controller=controller,
        remove_later=file_remover.remove_when_due,
        storage_failures=storage_failures,
    )
    housekeeping = Housekeeping(
        partitions=partitions,
        dirs=dirs,
        clock=clock,
        configs=configs,
        flusher=flusher,
        file_remover=file_remover,
        storage_failures=storage_failures,
        watchdog=watchdog,
    )
    remote = None if connection is None else _remote_coordination(connection, configs, clock)
    coordination = RuntimeParts(
        clock=clock,
        partitions=partitions,
        metadata=MetadataView(image, configs),
        create_topic=partial(create_internal_topic, controller, configs),
        storage_failed=storage_failures.report,
        load_wait_ms=math.inf if remote is None else remote.load_wait_ms,
    )
    producer_ids = ProducerIds(controller, node_id)
    share_states = ShareStates(coordination, configs=configs)
    share_persister = share_states if remote is None else remote.share_persister(share_states)
    groups = Groups(coordination, configs=configs, share_states=share_persister)
    markers = MarkerWriter(find=partitions.get, now_ms=clock.now_ms, offsets_marker_appended=groups.marker_appended)
    remote_transactions = None if remote is None else remote.transactions
    transactions = Transactions(
        coordination, configs=configs, producer_ids=producer_ids, markers=markers, remote=remote_transactions
    )
    admission = Admission(
        transactions=transactions,
        configs=configs,
        clock=clock,
        storage_failures=storage_failures,
        markers=markers,
        remote=remote_transactions,
    )
    share_partitions = SharePartitions(
        clock=clock,
        configs=configs,
        partitions=partitions,
        states=share_persister,
        dead_letters=DeadLetterWriter(
            clock=clock,
            configs=configs,
            image=image,
            partitions=partitions,
            controller=controller,
            remote=None if connection is None else _remote_dead_letters(connection, configs),
        ),
    )
    hooks = Hooks()
    quotas = Quotas(image, configs, clock, hooks)
    authorizer = make_authorizer(image, configs)
    if authorizer is not None:
        controller.subscribe(partial(follow_acls, authorizer))
    telemetry = ClientTelemetry(image, clock, bytes_max=configs.broker["telemetry.max.bytes"])
    replication = None
    if connection is not None:
        replication = _replication(
            metadata=metadata,
            connection=connection,
            partitions=partitions,
            housekeeping=housekeeping,
            storage_failures=storage_failures,
            clock=clock,
        )
        assert metadata.peers is not None
        controller.subscribe(metadata.peers.on_metadata_delta)
        # Before partitions: a new leader reads which brokers may be in sync.
        controller.subscribe(replication.alive.on_metadata_delta)
    # In this order: coordinators find the partitions that a change has created or deleted.
    for part in (partitions, groups, transactions, share_states, share_partitions, quotas, telemetry):
        controller.subscribe(part.on_metadata_delta)
    if replication is not None:
        controller.subscribe(replication.on_metadata_delta)
    return Broker(
        clock=clock,
        configs=configs,
        endpoints=tuple(endpoints),
        watchdog=watchdog,
        controller=controller,
        image=image,
        dirs=dirs,
        storage_failures=storage_failures,
        partitions=partitions,
        flusher=flusher,
        file_remover=file_remover,
        housekeeping=housekeeping,
        moves=moves,
        groups=groups,
        transactions=transactions,
        producer_ids=producer_ids,
        markers=markers,
        admission=admission,
        make_delegation_tokens=partial(make_delegation_tokens, metadata, clock),
        make_authentication=partial(make_authentication, metadata, clock),
        share_states=share_states,
        share_persister=share_persister,
        share_partitions=share_partitions,
        hooks=hooks,
        quotas=quotas,
        fetch_sessions=FetchSessions(configs.broker["max.incremental.fetch.session.cache.slots"], clock.random_bytes),
        responses=ResponseCache(),
        audit=AuditLog(clock.monotonic_ms),
        authorizer=authorizer,
        telemetry=telemetry,
        member=metadata.member,
        peers=metadata.peers,
        remote_transactions=remote_transactions,
        replication=replication,
        replica_selector=None if replication is None else _replica_selector(image, configs),
    )


def _replication(
    *,
    metadata: MetadataSource,
    connection: Callable[[int, str], Node],
    partitions: Partitions,
    housekeeping: Housekeeping,
    storage_failures: StorageFailures,
    clock: Clock,
) -> Replication:
    from kwire.broker.replication.replication import Replication  # noqa: PLC0415 (only a node of a cluster loads it)

    peers = metadata.peers
    assert peers is not None
    return Replication(
        image=metadata.image,
        configs=metadata.configs,
        partitions=partitions,
        connect=connection,
        disconnect=lambda node_id, client_id: peers.drop(node_id, client_id=client_id),
        clock=clock,
        broker_epoch=metadata.broker_epoch,
        ask_controller=metadata.ask_controller,
        write_high_watermarks=housekeeping.write_high_watermarks,
        storage_failures=storage_failures,
    )


def _remote_coordination(
    connection: Callable[[int, str], Node], configs: EffectiveConfigs, clock: Clock
) -> RemoteCoordination:
    from kwire.broker.coordination.remote import remote_coordination  # noqa: PLC0415 (only a node of a cluster loads it)

    return remote_coordination(
        connection, node_id=configs.node_id, clock=clock, timeout_ms=configs.broker["request.timeout.ms"]
    )


def _remote_dead_letters(connection: Callable[[int, str], Node], configs: EffectiveConfigs) -> RemoteDeadLetters:
    from kwire.broker.share.remote_dead_letters import RemoteDeadLetters  # noqa: PLC0415 (only a node of a cluster)

    return RemoteDeadLetters(connection, node_id=configs.node_id, timeout_ms=configs.broker["request.timeout.ms"])


async def _close(broker: Broker, metadata: MetadataSource) -> None:
    """Flush and close every log, write the checkpoints, and mark the log directories as cleanly stopped.

    If a log cannot be closed, or could not be recovered since the start, the next start checks all of them. A broker
    whose state is discarded only closes them.
    """
    if not broker.is_discarded:
        await broker.housekeeping.flush_and_checkpoint()
    all_closed = not broker.is_discarded and not broker.partitions.unrecovered()
    for partition in broker.partitions:
        try:
            broker.partitions.close(partition)
        except StorageFailure as failure:
            all_closed = False
            broker.storage_failures.report(failure)
    if metadata.own is not None and not broker.is_discarded:
        await metadata.own.log.snapshot_before_close()
    epoch = metadata.broker_epoch()
    (metadata.discard if broker.is_discarded else metadata.close)()
    if all_closed:
        broker.dirs.mark_clean(epoch)


def _log_dir_paths(static: EffectiveConfigs) -> list[str]:
    paths = static.broker["log.dirs"] or static.broker["log.dir"]
    return [path.rstrip("/") or path for path in paths]
