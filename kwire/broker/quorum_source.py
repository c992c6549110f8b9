"""Makes the parts of a broker whose controllers are other processes (``process.roles=broker``).

Responsible for: reading the settings about the controllers, and connecting the parts of ``kwire.broker.node``. Must
not depend on: partitions, coordinators, listeners.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import trio

from kwire.broker.clock import Clock
from kwire.broker.directories.log_dirs import LogDirs
from kwire.broker.endpoint import Endpoint
from kwire.broker.metadata_source import MetadataSource
from kwire.broker.node.controller_channel import ControllerChannel
from kwire.broker.node.heartbeats import HeartbeatTask, HeartbeatThread
from kwire.broker.node.member import ClusterMember, JoinRefused, open_member
from kwire.broker.node.metadata_follower import MetadataFollower
from kwire.broker.node.quorum_controller import QuorumController
from kwire.broker.outbound.connection import NodeConnection
from kwire.broker.outbound.interface import Address, Dialer, OutboundError
from kwire.broker.outbound.listener_security import security_towards_brokers, security_towards_controllers
from kwire.broker.outbound.peers import Peers
from kwire.broker.outbound.secured import connect_blocking, secured
from kwire.broker.outbound.sockets import SocketDialer
from kwire.errors import Code, code_of
from kwire.metadata import entities
from kwire.metadata.broker_lifecycle import BrokerLifecycle, Identity, Timing
from kwire.metadata.configs.effective import BrokerSettings, EffectiveConfigs
from kwire.metadata.entities import SECURITY_PROTOCOLS
from kwire.metadata.image import MetadataImage
from kwire.metadata.log.observer import ControllerAddress, MetadataObserver
from kwire.metadata.settings.listeners import inter_broker_listener
from kwire.wire.messages import DescribeClusterRequest

_CONTROLLERS = 2  # DescribeCluster's endpoint type
_LEARN_EVERY_S = 0.05


async def learn_cluster_id(configs: EffectiveConfigs, dialer: Dialer | None) -> str:
    """Ask the controllers for the id of their cluster, for a node whose directories are new.

    The request is DescribeCluster, which needs ALTER on the cluster, more than the other requests of a broker. Raises
    JoinRefused, ConfigProblem.
    """
    security = security_towards_controllers(configs, os.urandom)
    if security is not None:
        security.load()
    dialer = secured(SocketDialer() if dialer is None else dialer, security)
    limit_s = configs.broker["initial.broker.registration.timeout.ms"] / 1000
    why = "no answer"
    with trio.move_on_after(limit_s):
        while True:
            for controller in controller_addresses(configs):
                address = Address(controller.host, controller.port)
                connection = NodeConnection(address, dialer=dialer, client_id="kwire", timeout_ms=2000)
                try:
                    response = await connection.request(DescribeClusterRequest(endpoint_type=_CONTROLLERS))
                    if response.cluster_id and not response.error_code:
                        return str(response.cluster_id)
                    if response.error_code == Code.CLUSTER_AUTHORIZATION_FAILED:
                        raise JoinRefused(_may_not_describe(address))
                    why = f"{address} answered {code_of(response.error_code).name}"
                except OutboundError as error:
                    why = str(error)
                finally:
                    connection.close()
            await trio.sleep(_LEARN_EVERY_S)
    raise JoinRefused(f"no controller at {_controllers_text(configs)} answered within {limit_s:g} s: {why}")


@asynccontextmanager
async def open_quorum(
    settings: BrokerSettings,
    *,
    dirs: LogDirs,
    node_id: int,
    endpoints: Sequence[Endpoint],
    clock: Clock,
    dialer: Dialer | None = None,
) -> AsyncIterator[MetadataSource]:
    """Join the cluster; leave it at the end of the block. Raises JoinRefused, ConfigProblem.

    ``dialer`` None connects over TCP and sends heartbeats from a thread.
    """
    image = MetadataImage()
    configs = EffectiveConfigs(image, settings, node_id=node_id)
    broker = configs.broker
    towards_controllers = security_towards_controllers(configs, clock.random_bytes)
    towards_brokers = security_towards_brokers(configs, clock.random_bytes)
    for security in filter(None, (towards_controllers, towards_brokers)):
        security.load()
    sockets = SocketDialer() if dialer is None else dialer
    dial = secured(sockets, towards_controllers)
    observer = MetadataObserver(
        node_id=node_id,
        directory_id=dirs.online[0].id,
        cluster_id=dirs.cluster_id,
        bootstrap=controller_addresses(configs),
    )
    follower = MetadataFollower(
        observer=observer,
        image=image,
        dialer=dial,
        node_id=node_id,
        timeout_ms=broker["controller.quorum.request.timeout.ms"],
    )
    life = BrokerLifecycle(
        Identity(
            broker_id=node_id,
            cluster_id=dirs.cluster_id,
            incarnation_id=clock.uuid(),
            endpoints=[
                entities.Endpoint(one.name, one.host, one.port, SECURITY_PROTOCOLS[one.security_protocol])
                for one in endpoints
            ],
            rack=broker["broker.rack"],
            log_dirs=[one.id for one in dirs.online],
            previous_epoch=dirs.previous_epoch,
        ),
        Timing(
            heartbeat_interval_ms=broker["broker.heartbeat.interval.ms"],
            session_timeout_ms=broker["broker.session.timeout.ms"],
            registration_timeout_ms=broker["initial.broker.registration.timeout.ms"],
        ),
    )
    channel = ControllerChannel(
        follower=follower, dialer=dial, client_id=str(node_id), timeout_ms=broker["request.timeout.ms"]
    )
    # A separate connection, as in Kafka, so that a client's request does not wait behind these fetches.
    alter_partition = ControllerChannel(
        follower=follower, dialer=dial, client_id=str(node_id), timeout_ms=broker["request.timeout.ms"]
    )
    controller = QuorumController(follower=follower, channel=channel, broker_epoch=lambda: life.epoch)
    member = ClusterMember(
        follower=follower,
        life=life,
        controller=controller,
        controllers=_controllers_text(configs),
        controlled_shutdown=broker["controlled.shutdown.enable"],
    )
    # Kafka waits this long for the answer to a heartbeat, so that one lost answer does not cost the session.
    beat_timeout_ms = broker["broker.session.timeout.ms"] / 2
    member.follow(
        HeartbeatThread(
            life,
            leader=lambda: follower.leader,
            client_id=str(node_id),
            timeout_ms=beat_timeout_ms,
            on_change=member.note_change,
            connect=connect_blocking(towards_controllers),
            login=dial.login,
        )
        if dialer is None
        else HeartbeatTask(
            life,
            leader=lambda: follower.leader,
            dialer=dial,
            client_id=str(node_id),
            timeout_ms=beat_timeout_ms,
            on_change=member.note_change,
        )
    )
    peers = Peers(image=image, dialer=secured(sockets, towards_brokers), listener=inter_broker_listener(configs))
    for security in filter(None, (towards_controllers, towards_brokers)):
        follower.subscribe(security.on_metadata_delta)
    try:
        async with open_member(member):
            # From here on the directories change; without a new mark of a clean stop they count as stopped by a kill.
            dirs.remove_clean_marks()
            yield MetadataSource(
                image=image,
                configs=configs,
                controller=controller,
                broker_epoch=lambda: member.epoch,
                run=trio.sleep_forever,
                close=lambda: None,
                discard=lambda: None,
                ask_controller=alter_partition.request,
                member=member,
                peers=peers,
            )
    finally:
        channel.close()
        alter_partition.close()
        peers.close()


def controller_addresses(configs: EffectiveConfigs) -> list[ControllerAddress]:
    """Return where the settings say that controllers are; the voters' ids where these are named."""
    addresses = [(None, text) for text in configs.broker["controller.quorum.bootstrap.servers"]]
    voters = [voter.partition("@") for voter in configs.broker["controller.quorum.voters"]]
    named = [(int(node_id), text) for node_id, _, text in voters]
    return [ControllerAddress(node_id, *_host_and_port(text)) for node_id, text in named or addresses]


def _may_not_describe(address: Address) -> str:
    return (
        f"the controller at {address} does not tell this broker the id of the cluster (CLUSTER_AUTHORIZATION_FAILED):"
        " format the log directory with it, kafka-storage format -t CLUSTER_ID -c FILE, or allow the principal of this"
        " broker ALTER on the cluster"
    )


def _host_and_port(text: str) -> tuple[str, int]:
    host, _, port = text.strip().rpartition(":")
    return host.strip("[]"), int(port)


def _controllers_text(configs: EffectiveConfigs) -> str:
    return ", ".join(str(Address(one.host, one.port)) for one in controller_addresses(configs))
