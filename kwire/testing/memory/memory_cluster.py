"""A cluster in one event loop: a controller and brokers, their network and files in memory.

Responsible for: starting, stopping and killing nodes, and requests of a test to them. Must not depend on: sockets,
threads.

    async with memory_cluster(brokers=3) as cluster:
        await cluster.client(1).request(CreateTopicsRequest(...))
        await cluster.kill(1)                  # as SIGKILL: nothing is closed, the network resets its connections
        cluster.network.cut("broker2", "broker3")
        await cluster.start(1)

With pytest's jumping clock, sessions end and replicas lag without any wait.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

import trio

from kwire.api import api_table
from kwire.api.controller import controller_table
from kwire.broker.broker import Broker
from kwire.broker.clock import Clock
from kwire.broker.endpoint import Endpoint
from kwire.broker.outbound.connection import NodeConnection
from kwire.broker.outbound.interface import Address
from kwire.broker.requests.table import ApiTable
from kwire.broker.start import open_broker
from kwire.metadata.configs.effective import BrokerSettings
from kwire.security.sasl.client import SaslLogin
from kwire.server.bindings import Limits
from kwire.server.connections.connection import serve_connection
from kwire.server.connections.registry import ConnectionRegistry, Listener
from kwire.testing.memory.files import MemoryFiles
from kwire.testing.memory.network import MemoryNetwork
from kwire.testing.memory.transport import MemoryTransport

CONTROLLER_ID: Final = 100

_PORT: Final = 9092
_CONTROLLER_PORT: Final = 9093
_REQUEST_MS: Final = 60_000.0
_POLL_S: Final = 0.05


class MemoryNode:
    """One node. ``broker`` is there while it runs; ``files`` stay."""

    def __init__(
        self, node_id: int, *, is_controller: bool, settings: Mapping[str, str], protocol: str = "PLAINTEXT"
    ) -> None:
        self.id = node_id
        self.is_controller = is_controller
        self.host = "controller" if is_controller else f"broker{node_id}"
        port = _CONTROLLER_PORT if is_controller else _PORT
        name = "CONTROLLER" if is_controller else protocol
        self.endpoint = Endpoint(name, protocol, self.host, port)
        self.address = Address(self.host, port)
        self.files = MemoryFiles()
        self.clock = Clock()
        self.broker: Broker | None = None
        self.settings = {
            "process.roles": "controller" if is_controller else "broker",
            "node.id": str(node_id),
            "controller.listener.names": "CONTROLLER",
            "controller.quorum.bootstrap.servers": f"controller:{_CONTROLLER_PORT}",
            "listeners": f"{name}://{self.host}:{port}",
            "listener.security.protocol.map": f"CONTROLLER:{protocol},{protocol}:{protocol}",
            "security.inter.broker.protocol": protocol,
            "log.dirs": "/data",
            **settings,
        }
        self._scope: trio.CancelScope | None = None
        self._stop = trio.Event()
        self._ended = trio.Event()

    async def run(self, network: MemoryNetwork, *, task_status: trio.TaskStatus[None]) -> None:
        """Serve until stopped or killed."""
        self._stop, self._ended = trio.Event(), trio.Event()
        self.clock = Clock()
        mine = [self.endpoint]
        try:
            with trio.CancelScope() as self._scope:
                async with (
                    open_broker(
                        BrokerSettings(self.settings),
                        self.files,
                        endpoints=[] if self.is_controller else mine,
                        controller_endpoints=mine if self.is_controller else [],
                        clock=self.clock,
                        dialer=network.dialer(self.host),
                    ) as self.broker,
                    trio.open_nursery() as peers,
                ):
                    registry = ConnectionRegistry(self._table(self.broker), self.clock, Limits)
                    listener = Listener(self.endpoint, registry)
                    network.listen(self.address, partial(_serve, peers, self.broker, listener))
                    member = self.broker.member
                    if member is not None:
                        member.controller.on_versions.append(partial(self._serve_again, self.broker, registry))
                        await member.become_unfenced()
                    task_status.started()
                    await self._stop.wait()
                    if member is not None:
                        await member.leave()
                    network.stop_listening(self.address)
                    peers.cancel_scope.cancel()
        finally:
            network.stop_listening(self.address)
            self.broker = None
            self._ended.set()

    def _table(self, broker: Broker) -> ApiTable:
        configs, levels = broker.configs.broker, broker.controller.finalized_features.levels
        if self.is_controller:
            return controller_table(configs, levels)
        return api_table(configs, levels, None if broker.member is None else broker.member.controller.versions)

    def _serve_again(self, broker: Broker, registry: ConnectionRegistry) -> None:
        registry.serve(self._table(broker))

    async def stop(self) -> None:
        """Stop cleanly."""
        self._stop.set()
        await self._ended.wait()

    async def kill(self) -> None:
        """End at once: nothing is flushed or closed."""
        assert self._scope is not None
        self._scope.cancel()
        await self._ended.wait()


async def _serve(peers: trio.Nursery, broker: Broker, listener: Listener, transport: MemoryTransport) -> None:
    """Serve a connection as a task of the node, which ends with it: no request continues in a node that was killed."""
    ended = trio.Event()

    async def serve() -> None:
        try:
            await serve_connection(broker, transport, listener)
        finally:
            ended.set()

    try:
        peers.start_soon(serve)
    except RuntimeError:  # the node has ended meanwhile
        return
    await ended.wait()


class MemoryCluster:
    """The nodes of one cluster. Brokers have the ids 1, 2, ..., the controller ``CONTROLLER_ID``."""

    def __init__(
        self, nursery: trio.Nursery, nodes: Mapping[int, MemoryNode], *, login: SaslLogin | None = None
    ) -> None:
        self.network = MemoryNetwork(nursery)
        self._login = login
        self.nodes = dict(nodes)
        self._nursery = nursery
        self._clients: dict[tuple[int, SaslLogin | None], NodeConnection] = {}

    @property
    def controller(self) -> Broker:
        """The controller's parts."""
        return self.broker(CONTROLLER_ID)

    def broker(self, node_id: int) -> Broker:
        """Return the parts of a node that runs."""
        broker = self.nodes[node_id].broker
        assert broker is not None, f"node {node_id} does not run"
        return broker

    def client(self, node_id: int, *, login: SaslLogin | None = None) -> NodeConnection:
        """Return a test's connection to a node, which reconnects after a loss.

        It logs in with ``login``, by default that of the cluster.
        """
        login = login or self._login
        known = self._clients.get((node_id, login))
        if known is None:
            known = self._clients[node_id, login] = NodeConnection(
                self.nodes[node_id].address,
                dialer=self.network.dialer("client", login=login),
                client_id="test",
                timeout_ms=_REQUEST_MS,
            )
        return known

    async def start(self, node_id: int) -> None:
        """Start a node that does not run."""
        await self._nursery.start(self.nodes[node_id].run, self.network)

    async def stop(self, node_id: int) -> None:
        """Stop a node cleanly."""
        await self.nodes[node_id].stop()

    async def kill(self, node_id: int) -> None:
        """End a node at once."""
        await self.nodes[node_id].kill()

    async def until(self, holds: Callable[[], bool], timeout_s: float = 120) -> None:
        """Wait until ``holds()`` is true. Raises AssertionError after a time."""
        with trio.move_on_after(timeout_s):
            while not holds():  # noqa: ASYNC110 (no event tells of every condition)
                await trio.sleep(_POLL_S)
            return
        raise AssertionError(f"still not so after {timeout_s:g} s")

    def unfenced(self) -> set[int]:
        """The brokers that the controller has unfenced."""
        return {broker.id for broker in self.controller.image.brokers.values() if not broker.fenced}


@asynccontextmanager
async def memory_cluster(
    *,
    brokers: int = 3,
    settings: Mapping[str, str] | None = None,
    own_settings: Mapping[int, Mapping[str, str]] | None = None,
    protocol: str = "PLAINTEXT",
    login: SaslLogin | None = None,
) -> AsyncIterator[MemoryCluster]:
    """Run a controller and brokers, all of them unfenced. ``settings`` are for every node, ``own_settings`` by node.

    ``protocol`` is that of every listener, PLAINTEXT or SASL_PLAINTEXT; ``login`` is for the test's own connections.
    """
    shared = {**_small(brokers), **(settings or {})}
    own = own_settings or {}
    nodes = {
        node_id: MemoryNode(
            node_id,
            is_controller=node_id == CONTROLLER_ID,
            protocol=protocol,
            settings={**shared, **own.get(node_id, {})},
        )
        for node_id in (CONTROLLER_ID, *range(1, brokers + 1))
    }
    async with trio.open_nursery() as nursery:
        cluster = MemoryCluster(nursery, nodes, login=login)
        for node_id in nodes:
            await cluster.start(node_id)
        await cluster.until(lambda: cluster.unfenced() == set(range(1, brokers + 1)))
        yield cluster
        nursery.cancel_scope.cancel()


def _small(brokers: int) -> dict[str, str]:
    factor = str(min(3, brokers))
    return {
        "default.replication.factor": factor,
        "offsets.topic.replication.factor": factor,
        "offsets.topic.num.partitions": "2",
        "transaction.state.log.replication.factor": factor,
        "transaction.state.log.min.isr": "1",
        "transaction.state.log.num.partitions": "2",
        "share.coordinator.state.topic.replication.factor": factor,
        "share.coordinator.state.topic.min.isr": "1",
        "share.coordinator.state.topic.num.partitions": "2",
    }
