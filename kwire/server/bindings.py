"""The settings of the edge, read: listeners, what they advertise, limits on connections, socket options.

Owns: the meaning of ``listeners``, ``advertised.listeners``, ``listener.security.protocol.map`` and of the
``socket.*``, ``max.connections*`` and ``connections.*`` keys. May not know: where a setting came from, sockets.

Readers take the configs in force: the static settings at start, and for limits also those that were altered since.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final, NamedTuple

from kwire.broker.endpoint import Endpoint
from kwire.metadata.config_values import ConfigProblem, address_counts, value_text
from kwire.metadata.effective import EffectiveConfigs

UNLIMITED: Final = 2**31 - 1
WILDCARDS: Final = frozenset({"", "0.0.0.0", "::"})  # noqa: S104 (it is the user who asks for it)
_NONE: Final[Mapping[str, int]] = MappingProxyType({})
_PLAINTEXT: Final = "PLAINTEXT"
_PROTOCOLS: Final = (_PLAINTEXT, "SSL", "SASL_PLAINTEXT", "SASL_SSL")
_LISTENER: Final = re.compile(r"([^:/]+)://(?:\[([0-9a-zA-Z%.:]+)\]|([0-9a-zA-Z\-_.]*)):([0-9]{1,5})")


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
        """Whether clients are told ``localhost`` because nobody said what "every interface" is called."""
        return not (self.advertised and self.advertised[0]) and self.host in WILDCARDS

    @property
    def endpoint(self) -> Endpoint:
        """What clients are told. An advertised port 0 is the port that was got."""
        host, port = self.advertised or ("", 0)
        bound = "localhost" if self.host in WILDCARDS else self.host
        return Endpoint(self.name, self.security_protocol, host or bound, port or self.port)


class Limits(NamedTuple):
    """Kafka's settings for connections, under their names with units last. -1 is no limit where Kafka says so."""

    request_bytes_max: int = 104857600
    queued_bytes_max: int = -1
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
    """The broker's listeners; a controller's are left out. Raises ConfigProblem."""
    protocols = _protocol_map(configs)
    controllers = {name.upper() for name in configs.broker["controller.listener.names"]}
    listeners = [one for one in _parse("listeners", configs.broker["listeners"]) if one[0] not in controllers]
    advertised = {
        name: (host, port)
        for name, host, port in _parse("advertised.listeners", configs.broker["advertised.listeners"] or ())
    }
    if not listeners:
        raise _problem(
            "listeners", configs, "No listener for clients is left.", "at least one, as PLAINTEXT://localhost:9092"
        )
    names = [name for name, _, _ in listeners]
    for name, (host, _) in advertised.items():
        if host and host in WILDCARDS:
            raise _problem(
                "advertised.listeners",
                configs,
                f"{host} is where to listen, and no address that a client could connect to.",
                f"a name that clients know this machine by, as {name}://localhost:9092",
            )
        if name not in names and name not in controllers:
            raise _problem(
                "advertised.listeners", configs, f"{name} is not among the listeners.", f"names of {', '.join(names)}"
            )
    ports = [port for _, _, port in listeners if port]
    hosts = {(host, port) for _, host, port in listeners if port}
    if len(set(names)) < len(names):
        raise _problem(
            "listeners",
            configs,
            "Two listeners share a name.",
            "a name for each, as A://localhost:9092,B://localhost:9093, and A:PLAINTEXT,B:PLAINTEXT in"
            " listener.security.protocol.map",
        )
    if len(set(ports)) < len(ports) and len(hosts) < len(ports):
        raise _problem("listeners", configs, "Two listeners share a port.", "a port for each")
    return [
        Binding(name, _served_protocol(name, protocols, configs), host, port, advertised.get(name))
        for name, host, port in listeners
    ]


def read_limits(configs: EffectiveConfigs, listeners: Sequence[str] = ()) -> Limits:
    """Limits of the broker, and of those ``listeners`` that have their own. Raises ConfigProblem."""
    limits = Limits(
        request_bytes_max=configs.broker["socket.request.max.bytes"],
        queued_bytes_max=configs.broker["queued.max.request.bytes"],
        idle_ms_max=configs.broker["connections.max.idle.ms"],
        connections_max=configs.broker["max.connections"],
        connections_per_ip_max=configs.broker["max.connections.per.ip"],
        connections_per_ip_overrides=_overrides(configs),
        creation_rate_max=configs.broker["max.connection.creation.rate"],
        listener_connections_max=_own_limits(configs, "max.connections", listeners),
        listener_creation_rate_max=_own_limits(configs, "max.connection.creation.rate", listeners),
    )
    if 0 < limits.queued_bytes_max < limits.request_bytes_max:
        raise _problem(
            "queued.max.request.bytes",
            configs,
            "It is below socket.request.max.bytes.",
            f"-1 or >= {limits.request_bytes_max}",
        )
    return limits


def read_socket_options(configs: EffectiveConfigs) -> SocketOptions:
    return SocketOptions(
        send_buffer_bytes=configs.broker["socket.send.buffer.bytes"],
        receive_buffer_bytes=configs.broker["socket.receive.buffer.bytes"],
        backlog=configs.broker["socket.listen.backlog.size"],
    )


def _parse(key: str, urls: Sequence[str]) -> list[tuple[str, str, int]]:
    parsed = []
    for text in urls:
        match = _LISTENER.fullmatch(text)
        if match is None or int(match[4]) > 65535:
            message, expected = f"{text!r} is not a listener.", "NAME://HOST:PORT, as PLAINTEXT://localhost:9092"
            raise ConfigProblem(key, ",".join(urls), message, expected)
        parsed.append((match[1].upper(), match[2] or match[3] or "", int(match[4])))
    return parsed


def _protocol_map(configs: EffectiveConfigs) -> dict[str, str]:
    protocols = {}
    for pair in _items(configs.broker["listener.security.protocol.map"]):
        name, colon, protocol = pair.partition(":")
        if not colon or protocol.upper() not in _PROTOCOLS:
            raise _problem(
                "listener.security.protocol.map",
                configs,
                f"{pair!r} does not name a security protocol.",
                f"NAME:PROTOCOL with one of {', '.join(_PROTOCOLS)}",
            )
        protocols[name.strip().upper()] = protocol.upper()
    return protocols


def _served_protocol(name: str, protocols: Mapping[str, str], configs: EffectiveConfigs) -> str:
    protocol = protocols.get(name)
    if protocol is None:
        raise _problem(
            "listeners",
            configs,
            f"No security protocol defined for listener {name}.",
            f"{name}:PLAINTEXT in listener.security.protocol.map",
        )
    if protocol != _PLAINTEXT:
        raise _problem(
            "listeners", configs, f"The listener {name} wants {protocol}, which is not served yet.", "PLAINTEXT"
        )
    return protocol


def _overrides(configs: EffectiveConfigs) -> Mapping[str, int]:
    return address_counts("max.connections.per.ip.overrides", configs.broker["max.connections.per.ip.overrides"])


def _own_limits(configs: EffectiveConfigs, key: str, listeners: Sequence[str]) -> Mapping[str, int]:
    limits = {name: configs.broker_value(f"listener.name.{name.lower()}.{key}") for name in listeners}
    return {name: limit for name, limit in limits.items() if isinstance(limit, int) and limit < UNLIMITED}


def _items(text: str) -> list[str]:
    """The items of a string that Kafka reads as a list."""
    return [item.strip() for item in text.split(",") if item.strip()]


def _problem(key: str, configs: EffectiveConfigs, message: str, expected: str) -> ConfigProblem:
    return ConfigProblem(key, value_text(configs.broker_value(key)), message, expected)
