"""Start and stop: a broker behind its listeners.

Responsible for: the order of both. Addresses are bound first, so that a busy port is reported before any data is
touched; connections are accepted last, when everything is recovered. At the stop no more are accepted, current replies
are sent, and the broker closes its log directories cleanly. Must not depend on: command lines, where settings came
from.

``open_server`` is for programs and tests that have an event loop; ``run`` is a process of its own, with its signals.
"""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

import trio

from kwire import __version__
from kwire.api import EAGER, api_table
from kwire.broker.broker import Broker
from kwire.broker.clock import Clock
from kwire.broker.containment import start_contained
from kwire.broker.logs import Logger
from kwire.broker.requests.table import ApiTable
from kwire.broker.start import open_broker
from kwire.limits import (
    CONNECTIONS_SHARE_OF_DESCRIPTORS,
    FILES_SHARE_OF_DESCRIPTORS,
    SECOND_SIGNAL_AFTER_S,
    SHUTDOWN_GRACE_S,
    SWITCH_INTERVAL_S,
)
from kwire.metadata.configs.effective import BrokerSettings, EffectiveConfigs
from kwire.metadata.configs.values import ConfigProblem
from kwire.metadata.entities import Resource, ResourceType
from kwire.metadata.image import Delta, MetadataImage
from kwire.metadata.settings.listeners import reachable_without_login, read_listeners
from kwire.metadata.settings.sasl import uses_sasl
from kwire.metadata.settings.start_rules import check_start
from kwire.server.acceptor import Acceptor, Bound, bind
from kwire.server.bindings import (
    UNLIMITED,
    Binding,
    Limits,
    read_bindings,
    read_controller_bindings,
    read_limits,
    read_socket_options,
)
from kwire.server.close_watch import CloseWatch
from kwire.server.connections.registry import ConnectionRegistry, Listener
from kwire.server.hangup import Hangups, Meaning
from kwire.server.process import raise_descriptor_limit, stop_at_once_after
from kwire.server.reopening import Reopening
from kwire.storage.files import Files
from kwire.storage.os_files import OsFiles

if TYPE_CHECKING:  # loads key stores, which a broker without TLS does not need
    from kwire.broker.outbound.interface import Dialer
    from kwire.server.tls.listeners import TlsListeners

log = Logger("kwire.server")

OnReady: TypeAlias = "Callable[[Server], Awaitable[None]]"
# ``await beside(server, task_status=...)``: see ``trio.Nursery.start``.
Beside: TypeAlias = Callable[..., Awaitable[object]]


class Server:
    """A running broker with its listeners. ``bindings`` have the bound ports; ``reopen`` replaces the broker.

    ``controller_bindings`` are the listeners for other nodes.
    """

    broker: Broker
    connections: ConnectionRegistry
    node_connections: ConnectionRegistry | None = None  # those of ``controller_bindings``

    def __init__(
        self,
        settings: BrokerSettings,
        files: Files,
        bindings: Sequence[Binding],
        tls: TlsListeners | None = None,
        controller_bindings: Sequence[Binding] = (),
        *,
        dialer: Dialer | None = None,
    ) -> None:
        self.settings = settings
        self.files = files
        self.dialer = dialer
        self.bindings = tuple(bindings)
        self.controller_bindings = tuple(controller_bindings)
        self.tls = tls
        # Each is called with another broker, before a client connects to it: hooks are of one broker.
        self.on_reopened: list[Callable[[], None]] = []
        self.tables: dict[object, ApiTable] = {}  # by feature levels, for brokers that replace others
        self.reopening: Reopening | None = None
        self.leave = trio.Event()
        self.is_stopping = False

    async def reopen(
        self,
        between: Callable[[], None],
        *,
        undo: Callable[[], None] | None = None,
        clock: Clock | None = None,
        cluster_id: str | None = None,
        discard: bool = False,
    ) -> None:
        """End all connections, stop the broker, call ``between`` while no file is open, and start a broker again.

        The sockets listen all the time, so that clients reconnect as after a restart. ``clock`` None: the new broker's
        clock continues from that of the old one. When the broker cannot start, ``undo`` is called, and what failed is
        raised once it serves again; without ``undo`` this server ends. ``discard``: the old state need not be written.
        """
        while self.reopening is not None:
            await self.reopening.done.wait()
        reopening = self.reopening = Reopening(between, undo, clock or self.broker.clock.successor(), cluster_id)
        self.broker.is_discarded = discard
        self.leave.set()
        await reopening.done.wait()
        if reopening.failure is not None:
            raise reopening.failure


@asynccontextmanager
async def open_server(
    settings: BrokerSettings,
    files: Files,
    *,
    clock: Clock | None = None,
    cluster_id: str | None = None,
    connections_max: int = UNLIMITED,
    dialer: Dialer | None = None,
) -> AsyncIterator[Server]:
    """Serve within the block, and stop in order at its end.

    ``dialer`` connects to other nodes, None over TCP. ``connections_max`` bounds what ``max.connections`` may allow,
    for a process that has only so many descriptors. Raises CannotBind, ConfigProblem, storage.files.DirectoryInUse,
    broker.log_dirs.ForeignDirectory, broker.node.member.JoinRefused, StorageFailure.
    """
    configs = EffectiveConfigs(MetadataImage(), settings, node_id=-1)
    check_start(configs)
    bindings = read_bindings(configs)
    every = [*bindings, *read_controller_bindings(configs)]
    limits = read_limits(configs, [binding.name for binding in every])
    options = read_socket_options(configs)
    tls = _tls_listeners(configs, every)
    bounds: list[Bound] = []
    failure: Exception | None = None
    try:
        # One by one, so that bound addresses are released when the next cannot be bound.
        bounds.extend(bind(binding, options) for binding in every)
        bound_now = [bound.binding for bound in bounds]
        server = Server(settings, files, bound_now[: len(bindings)], tls, bound_now[len(bindings) :], dialer=dialer)
        serve_one = partial(_serve_one, server, bounds, limits, connections_max, options.backlog)
        async with trio.open_nursery() as nursery:
            try:
                await nursery.start(_serve_one_after_the_other, server, serve_one, clock or Clock(), cluster_id)
            except Exception as error:  # noqa: BLE001 (raised below, outside of the nursery, which would wrap it)
                failure = error
            else:
                yield server
                server.is_stopping = True
                server.leave.set()
    finally:
        for bound in bounds:
            bound.close()
    if failure is not None:
        raise failure


async def _serve_one_after_the_other(
    server: Server,
    serve_one: Callable[[Clock, str | None], AbstractAsyncContextManager[None]],
    clock: Clock,
    cluster_id: str | None,
    *,
    task_status: trio.TaskStatus[None],
) -> None:
    """Serve with one broker until the server ends, or with several, each after the one before."""
    reopening: Reopening | None = None
    while True:
        serves = False
        try:
            async with serve_one(clock, cluster_id):
                serves = True
                if reopening is None:
                    task_status.started()
                else:
                    server.reopening = None
                    reopening.done.set()
                await server.leave.wait()
        except Exception as error:
            if serves or reopening is None or not reopening.failed(error):
                raise
        else:
            reopening = server.reopening
            if reopening is None:
                return
            try:
                reopening.between()
            except Exception as error:
                if not reopening.failed(error):
                    raise
        if not server.is_stopping:
            server.leave = trio.Event()
        clock, cluster_id = reopening.clock, reopening.cluster_id


@asynccontextmanager
async def _serve_one(  # noqa: PLR0917
    server: Server,
    bounds: Sequence[Bound],
    limits: Limits,
    connections_max: int,
    backlog: int,
    clock: Clock,
    cluster_id: str | None,
) -> AsyncIterator[None]:
    """Serve with one broker within the block."""
    async with open_broker(
        server.settings,
        server.files,
        endpoints=[binding.endpoint for binding in server.bindings],
        controller_endpoints=[binding.endpoint for binding in server.controller_bindings],
        clock=clock,
        cluster_id=cluster_id,
        dialer=server.dialer,
    ) as broker:
        apis = _reused_table(server.tables, broker)
        for key in EAGER:
            assert callable(apis[key].handler)  # imported now, so that the first client need not wait for it
        if any(uses_sasl(each.endpoint.security_protocol) for each in (*server.bindings, *server.controller_bindings)):
            _load_logins(broker)
        read_limits_now = _limits_in_force(broker, limits, connections_max)
        connections = ConnectionRegistry(apis, broker.clock, read_limits_now)
        served = [(bound, connections) for bound in bounds[: len(server.bindings)]]
        if server.controller_bindings:
            from_nodes = server.node_connections = _controller_registry(broker, read_limits_now)
            served += [(bound, from_nodes) for bound in bounds[len(server.bindings) :]]
        broker.controller.subscribe(partial(_follow_features, broker, connections))
        member = broker.member
        if member is not None:
            member.controller.on_versions.append(lambda: connections.serve(_api_table(broker)))
        if server.tls is not None:
            await server.tls.follow(broker)
        server.broker, server.connections = broker, connections
        for listener in server.on_reopened:
            listener()
        for bound in bounds:
            bound.listen(backlog)
        async with _accepting(server, served):
            if member is not None:
                # Partitions may be led here as soon as this returns, so clients can connect already.
                await member.become_unfenced()
            yield
            if member is not None:
                await member.leave()
            elif broker.cluster_controller is not None and broker.configs.broker["controlled.shutdown.enable"]:
                await broker.cluster_controller.hand_over()


def _load_logins(broker: Broker) -> None:
    """Import what a login needs, so that the first client need not wait for it."""
    import kwire.server.connections.login  # noqa: F401, PLC0415

    assert broker.authentication is not None


def _controller_registry(broker: Broker, read_limits_now: Callable[[], Limits]) -> ConnectionRegistry:
    """Make the registry of connections to the controller, which have a table of APIs of their own."""
    from kwire.api.controller import controller_table  # noqa: PLC0415 (a single node does not load it)

    table = controller_table(broker.configs.broker, broker.controller.finalized_features.levels)
    return ConnectionRegistry(table, broker.clock, read_limits_now)


def _follow_features(broker: Broker, connections: ConnectionRegistry, delta: Delta) -> None:
    """Serve other APIs when the level of a feature has changed."""
    if delta.features_changed:
        connections.serve(_api_table(broker))


def _reused_table(tables: dict[object, ApiTable], broker: Broker) -> ApiTable:
    """The table of a broker that starts. ``tables`` has those of earlier brokers with the same settings."""
    levels = tuple(broker.controller.finalized_features.levels.items())
    if broker.member is not None or levels not in tables:
        tables[levels] = _api_table(broker)
    return tables[levels]


def _api_table(broker: Broker) -> ApiTable:
    """The table of what this broker serves now."""
    controller = None if broker.member is None else broker.member.controller.versions
    return api_table(broker.configs.broker, broker.controller.finalized_features.levels, controller)


async def report_ready(server: Server) -> None:
    """Log what is served, and print ``ready NAME://HOST:PORT`` on stdout for each listener."""
    log_ready(server)
    print_lines(f"ready {binding.url}" for binding in server.bindings or server.controller_bindings)


def run(
    settings: BrokerSettings,
    *,
    cluster_id: str | None = None,
    files: Files | None = None,
    syncs: bool = True,
    wrap: Callable[[Files], Files] = lambda files: files,
    on_ready: OnReady = report_ready,
    beside: Beside | None = None,
) -> None:
    """Serve until a signal ends it. ``on_ready`` is awaited once, when clients are accepted.

    ``beside`` is a task that runs as long as the broker and is started before (``trio.Nursery.start``). Without
    ``files`` data is on disk, with ``syncs`` as for OsFiles; ``wrap`` adds a layer. Raises as open_server and on_ready.
    """
    descriptors = raise_descriptor_limit()
    if files is None:
        files = OsFiles(open_files_max=int(descriptors * FILES_SHARE_OF_DESCRIPTORS), syncs=syncs)
    connections_max = int(descriptors * CONNECTIONS_SHARE_OF_DESCRIPTORS)
    # A thread that encodes a large response gives the interpreter back to the event loop this soon.
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    open_it = partial(open_server, settings, wrap(files), cluster_id=cluster_id, connections_max=connections_max)
    trio.run(_serve_until_signalled, open_it, on_ready, beside)


async def _serve_until_signalled(
    open_it: Callable[[], AbstractAsyncContextManager[Server]],
    on_ready: OnReady = report_ready,
    beside: Beside | None = None,
) -> None:
    serving: Server | None = None
    stop = trio.Event()
    hangups = Hangups()
    stopping = [signal.SIGTERM, signal.SIGINT]
    if not hangups.ignored:
        stopping.append(signal.SIGHUP)
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
        async with trio.open_nursery() as nursery:

            async def stop_when_signalled() -> None:
                async for number in signals:
                    if number == signal.SIGHUP and _hung_up(hangups, serving) != "stop":
                        continue
                    at_once = stop_at_once_after(time.monotonic() + SECOND_SIGNAL_AFTER_S)
                    for each in stopping:
                        signal.signal(each, at_once)
                    log.info("stopping", signal=signal.Signals(number).name)
                    break
                stop.set()
                if serving is None:
                    nursery.cancel_scope.cancel()

            nursery.start_soon(stop_when_signalled)
            async with (
                open_it() as server,
                trio.open_nursery() as tasks,
            ):
                if beside is not None:
                    await tasks.start(beside, server)
                await on_ready(server)
                serving = server
                # The objects made so far are permanent: the garbage collector need not visit them again.
                gc.freeze()
                # A collection of three generations of half a million objects takes 0.4 s. Requests leave few cycles
                # behind.
                gc.set_threshold(50_000, 20, 50)
                await stop.wait()
                tasks.cancel_scope.cancel()
            log.info("stopped")


def _hung_up(hangups: Hangups, server: Server | None) -> Meaning:
    """Handle a SIGHUP: reload certificates if that is its meaning. Returns the meaning."""
    tls = None if server is None else server.tls
    meaning = hangups.meaning(reloadable=tls is not None)
    if meaning == "reload" and tls is not None:
        log.info("reloading certificates", signal="SIGHUP")
        tls.reload_all()
    return meaning


@asynccontextmanager
async def _accepting(server: Server, served: Sequence[tuple[Bound, ConnectionRegistry]]) -> AsyncIterator[None]:
    broker, tls = server.broker, server.tls
    registries = list(dict.fromkeys(connections for _, connections in served))
    close_watch: CloseWatch | None = None
    try:
        async with trio.open_nursery() as peers:
            close_watch = CloseWatch(partial(start_contained, peers, broker.clock.sleep))
            async with trio.open_nursery() as acceptors:
                for connections in registries:
                    connections.begin()
                if tls is not None:
                    start_contained(acceptors, broker.clock.sleep, tls.run)
                for bound, connections in served:
                    endpoint = bound.binding.endpoint
                    listener = Listener(endpoint, connections, None if tls is None else tls.get(endpoint.name))
                    acceptor = Acceptor(broker, listener, close_watch, peers)
                    for listening in bound.sockets:
                        acceptors.start_soon(acceptor.run, listening.dup())  # which it closes
                yield
                acceptors.cancel_scope.cancel()
            if server.reopening is None:
                for bound, _ in served:
                    bound.close()
            for connections in registries:
                connections.end_all("the broker stops")
            with trio.move_on_after(SHUTDOWN_GRACE_S):
                for connections in registries:
                    await connections.empty()
            peers.cancel_scope.cancel()
    finally:
        if close_watch is not None:
            close_watch.close()


def _tls_listeners(configs: EffectiveConfigs, bindings: Sequence[Binding]) -> TlsListeners | None:
    """Read the certificates of TLS listeners, if there are any. Raises ConfigProblem."""
    if not any(binding.security_protocol.endswith("SSL") for binding in bindings):
        return None
    from kwire.server.tls.listeners import TlsListeners  # noqa: PLC0415 (a start without TLS does not load it)

    return TlsListeners.load(configs, bindings)


def _limits_in_force(broker: Broker, limits: Limits, connections_max: int) -> Callable[[], Limits]:
    """Return a function for the current limits: ``limits``, and new ones after a change of the configs."""
    for_all, for_this = (Resource(ResourceType.BROKER, name) for name in ("", str(broker.node_id)))
    made_of: tuple[object, object] | None = None

    def read() -> Limits:
        nonlocal made_of, limits
        configs = broker.image.configs
        found = configs.get(for_all), configs.get(for_this)
        if made_of is None or made_of[0] is not found[0] or made_of[1] is not found[1]:
            made_of = found
            try:
                limits = read_limits(broker.configs, [endpoint.name for endpoint in broker.endpoints])
            except ConfigProblem as problem:
                # An Apache broker may have stored a value that is refused here, such as a limit for a host by its name.
                log.warning("connection limits not changed: invalid value", key=problem.name, why=str(problem))
            limits = limits._replace(connections_max=min(limits.connections_max, connections_max))
        return limits

    return read


def log_ready(server: Server) -> None:
    """Log the broker's identity and what each listener advertises."""
    broker = server.broker
    log.info("serving", version=__version__, cluster=broker.cluster_id, node=broker.node_id, pid=os.getpid())
    for binding in (*server.bindings, *server.controller_bindings):
        endpoint = binding.endpoint
        log.info("listening", on=binding.url, advertised=f"{endpoint.host}:{endpoint.port}")
    if server.tls is not None:
        server.tls.describe([*server.bindings, *server.controller_bindings])
    warn_of_open_listeners(server)
    warn_of_stand_ins(server)


def warn_of_open_listeners(server: Server) -> None:
    """Warn of each listener that other machines can reach without login, which lets them read and change everything."""
    configs = server.broker.configs
    for one in reachable_without_login(configs, read_listeners(configs)):
        log.warning(
            "OPEN TO OTHER MACHINES: they can use this listener without login. "
            "Listen on localhost, or use: kwire serve --secure",
            listener=one.url,
        )


def warn_of_stand_ins(server: Server) -> None:
    """Warn where a listener on every interface advertises localhost, because no name was given."""
    for binding in (*server.bindings, *server.controller_bindings):
        if binding.advertises_stand_in:
            log.warning(
                "clients get localhost, which only works on this machine: set advertised.listeners for others",
                listener=binding.name,
            )


def print_lines(lines: Iterable[str]) -> None:
    """Print to stdout. A closed stdout is no reason to stop a broker."""
    with contextlib.suppress(OSError):
        sys.stdout.write("".join(f"{line}\n" for line in lines))
        sys.stdout.flush()
