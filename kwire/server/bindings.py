"""The settings that the server uses: listeners to bind, what they advertise, connection limits, socket options.

Responsible for: the values of ``listeners``, ``advertised.listeners``, and of the ``socket.*``, ``max.connections*``
and ``connections.*`` configs (``metadata.settings`` checks them). Must not depend on: where a setting came from,
sockets.

Readers take the configs in force: the static settings at start, and for limits also those that were altered since.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final, NamedTuple

from kwire.broker.endpoint import Endpoint
from kwire.metadata.configs.effective import EffectiveConfigs
from kwire.metadata.configs.values import address_counts
from kwire.metadata.settings.listeners import ListenerAddress, Listeners, read_listeners

UNLIMITED: Final = 2**31 - 1
WILDCARDS: Final = frozenset({"", "0.0.0.0", "::"})  # noqa: S104 (the user sets it)
_NONE: Final[Mapping[str, int]] = MappingProxyType({})


class Binding(NamedTuple):
    """A listener as the settings give it. Host "" means every interface; port 0 means any free port."""

    name: str
    security_protocol: str
    host: str
    port: int
    advertised: tuple[str, int] | None = None

    @property
    def url(self) -> str:
        return f"{self.name}://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    @property
    def advertises_stand_in(self) -> bool:
        """Whether it advertises ``localhost`` because it binds every interface and no name for them is given."""
        return not (self.advertised and self.advertised[0]) and self.host in WILDCARDS

    @property
    def endpoint(self) -> Endpoint:
        """The address that clients get. An advertised port 0 means the bound port."""
        host, port = self.advertised or ("", 0)
        bound = "localhost" if self.host in WILDCARDS else self.host
        return Endpoint(self.name, self.security_protocol, host or bound, port or self.port)


class Limits(NamedTuple):
    """Kafka's settings for connections, with units last. -1 means no limit where it does in Kafka."""

    request_bytes_max: int = 104857600
    queued_bytes_max: int = -1
    unfinished_bytes_max: int = 512 * 1024 * 1024
    idle_ms_max: int = 600_000
    connections_max: int = UNLIMITED
    connections_per_ip_max: int = UNLIMITED
    connections_per_ip_overrides: Mapping[str, int] = _NONE
    creation_rate_max: int = UNLIMITED  # new connections a second
    # By the listener's name: listener.name.external.max.connections and the like.
    listener_connections_max: Mapping[str, int] = _NONE
    listener_creation_rate_max: Mapping[str, int] = _NONE


class SocketOptions(NamedTuple):
    """Buffers of -1 are the system's."""

    send_buffer_bytes: int = 102400
    receive_buffer_bytes: int = -1
    backlog: int = 50


def read_bindings(configs: EffectiveConfigs) -> list[Binding]:
    """Return the listeners for clients; a controller's are left out. Raises ConfigProblem."""
    listeners = read_listeners(configs)
    return [_binding(listeners, one, listeners.advertised) for one in listeners.clients]


def read_controller_bindings(configs: EffectiveConfigs) -> list[Binding]:
    """Return the controller's listeners, by which brokers of other processes join it. Raises ConfigProblem."""
    listeners = read_listeners(configs)
    return [_binding(listeners, one, listeners.advertised_controllers) for one in listeners.controllers]


def read_limits(configs: EffectiveConfigs, listeners: Sequence[str] = ()) -> Limits:
    """Limits of the broker, and of those ``listeners`` that have their own. Raises ConfigProblem."""
    return Limits(
        request_bytes_max=configs.broker["socket.request.max.bytes"],
        queued_bytes_max=configs.broker["queued.max.request.bytes"],
        unfinished_bytes_max=configs.broker["kwire.unfinished.request.bytes"],
        idle_ms_max=configs.broker["connections.max.idle.ms"],
        connections_max=configs.broker["max.connections"],
        connections_per_ip_max=configs.broker["max.connections.per.ip"],
        connections_per_ip_overrides=_overrides(configs),
        creation_rate_max=configs.broker["max.connection.creation.rate"],
        listener_connections_max=_own_limits(configs, "max.connections", listeners),
        listener_creation_rate_max=_own_limits(configs, "max.connection.creation.rate", listeners),
    )


def read_socket_options(configs: EffectiveConfigs) -> SocketOptions:
    return SocketOptions(
        send_buffer_bytes=configs.broker["socket.send.buffer.bytes"],
        receive_buffer_bytes=configs.broker["socket.receive.buffer.bytes"],
        backlog=configs.broker["socket.listen.backlog.size"],
    )


def _binding(listeners: Listeners, one: ListenerAddress, advertised: Mapping[str, ListenerAddress]) -> Binding:
    given = advertised.get(one.name)
    return Binding(
        one.name, listeners.protocols[one.name], one.host, one.port, None if given is None else (given.host, given.port)
    )


def _overrides(configs: EffectiveConfigs) -> Mapping[str, int]:
    return address_counts("max.connections.per.ip.overrides", configs.broker["max.connections.per.ip.overrides"])


def _own_limits(configs: EffectiveConfigs, key: str, listeners: Sequence[str]) -> Mapping[str, int]:
    limits = {name: configs.broker_value(f"listener.name.{name.lower()}.{key}") for name in listeners}
    return {name: limit for name, limit in limits.items() if isinstance(limit, int) and limit < UNLIMITED}
