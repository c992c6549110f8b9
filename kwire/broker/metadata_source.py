"""Where a broker's metadata comes from: its own metadata log, or the controllers of a cluster.

Responsible for: the value ``MetadataSource``, which ``start`` makes the parts of a broker from, and the source that is
this node's own log. Must not depend on: what the parts do with the metadata. ``quorum_source`` makes the other source.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from kwire.broker.clock import Clock
from kwire.broker.controller.embedded import EmbeddedController
from kwire.broker.controller.interface import Controller
from kwire.broker.controller.metadata_log import MetadataLog
from kwire.broker.directories.log_dirs import LogDirs
from kwire.broker.endpoint import Endpoint
from kwire.broker.steps import run_in_steps
from kwire.broker.storage_failures import StorageFailures
from kwire.metadata.configs.effective import BrokerSettings, EffectiveConfigs
from kwire.metadata.image import MetadataImage
from kwire.metadata.settings.listeners import inter_broker_listener
from kwire.storage.files import Files
from kwire.wire.message import Message

if TYPE_CHECKING:  # a broker that is a cluster of its own does not load them
    from kwire.broker.node.member import ClusterMember
    from kwire.broker.outbound.interface import Dialer, Node
    from kwire.broker.outbound.listener_security import ListenerSecurity
    from kwire.broker.outbound.peers import Peers


class MetadataSource(NamedTuple):
    """The image is complete, and shows this broker's registration.

    ``run`` is a background task of the broker. ``close`` is called last at a clean stop, ``discard`` where the files
    are not used any more; both may raise StorageFailure.
    ``own`` is the controller, where it is this node's; where it is not, ``ask_controller`` sends it a request of this
    broker, or raises KafkaError. ``member`` is None where this node has a controller of its own, ``peers`` where no
    other broker can join.
    """

    image: MetadataImage
    configs: EffectiveConfigs
    controller: Controller
    broker_epoch: Callable[[], int]
    run: Callable[[], Awaitable[None]]
    close: Callable[[], None]
    discard: Callable[[], None]
    ask_controller: Callable[[Message], Awaitable[Any]] | None = None
    own: EmbeddedController | None = None
    member: ClusterMember | None = None
    peers: Peers | None = None

    @property
    def connection(self) -> Callable[[int, str], Node] | None:
        """Gives the connection to another broker, by node id and client id; None where there are no others."""
        peers = self.peers
        return None if peers is None else lambda node_id, client_id: peers.connection(node_id, client_id=client_id)


@asynccontextmanager
async def open_own_log(
    settings: BrokerSettings,
    files: Files,
    *,
    dirs: LogDirs,
    node_id: int,
    endpoints: Sequence[Endpoint],
    clock: Clock,
    storage_failures: StorageFailures,
    has_other_brokers: bool,
    dialer: Dialer | None,
) -> AsyncIterator[MetadataSource]:
    """Open this node's metadata log, and register this broker in it, if the node is one.

    Raises StorageFailure, ConfigProblem.
    """
    opening = MetadataLog.open_in_steps(files, dirs, node_id=node_id, settings=settings, clock=clock)
    metadata_log = await run_in_steps(opening)
    configs = EffectiveConfigs(metadata_log.image, settings, node_id=node_id)
    controller = EmbeddedController(
        log=metadata_log, configs=configs, clock=clock, on_storage_failure=storage_failures.report
    )
    is_broker = "broker" in configs.broker["process.roles"]
    if is_broker:
        # Before partitions are opened: those that Apache Kafka left without a leader at a clean stop get one here.
        controller.register(endpoints, [one.id for one in dirs.dirs])
    peers = None
    if is_broker and has_other_brokers:
        peers = _make_peers(configs, metadata_log.image, controller, dialer, clock)
    yield MetadataSource(
        image=metadata_log.image,
        configs=configs,
        controller=controller,
        broker_epoch=lambda: controller.broker_epoch,
        run=controller.run,
        close=controller.close,
        discard=metadata_log.log.close,
        own=controller,
        peers=peers,
    )
    if peers is not None:
        peers.close()


def _make_peers(
    configs: EffectiveConfigs, image: MetadataImage, controller: Controller, dialer: Dialer | None, clock: Clock
) -> Peers:
    from kwire.broker.outbound.peers import Peers  # noqa: PLC0415 (only a node of a cluster loads it)
    from kwire.broker.outbound.secured import secured_later  # noqa: PLC0415
    from kwire.broker.outbound.sockets import SocketDialer  # noqa: PLC0415

    def read() -> ListenerSecurity | None:
        from kwire.broker.outbound.listener_security import security_towards_brokers  # noqa: PLC0415

        security = security_towards_brokers(configs, clock.random_bytes)
        if security is not None:
            controller.subscribe(security.on_metadata_delta)
        return security

    return Peers(
        image=image,
        dialer=secured_later(dialer or SocketDialer(), read),
        listener=inter_broker_listener(configs),
    )
