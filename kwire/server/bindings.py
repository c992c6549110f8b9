"""The settings of the edge, read: listeners, what they advertise, limits on connections, socket options.

Owns: the meaning of ``listeners``, ``advertised.listeners``, ``listener.security.protocol.map`` and of the
``socket.*``, ``max.connections*`` and ``connections.*`` keys. May not know: where a setting came from, sockets.

Readers take ``value``, which gives the typed value of a broker key: the static settings at start, and for limits the
values in force, as they may be altered while the broker runs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Final, NamedTuple, TypeAlias

from kwire.broker.requests.context import Endpoint
from kwire.metadata.config_values import address_counts
from kwire.metadata.configs import ConfigProblem, Value

ValueOf: TypeAlias = Callable[[str], Value]

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


def read_bindings(value: ValueOf) -> list[Binding]:
    """The broker's listeners; a controller's are left out. Raises ConfigProblem."""
    protocols = _protocol_map(value)
    controllers = {name.upper() for name in _names(value("controller.listener.names"))}
    listeners = [one for one in _parse("listeners", value) if one[0] not in controllers]
    advertised = {name: (host, port) for name, host, port in _parse("advertised.listeners", value)}
    if not listeners:
        raise _problem(
            "listeners", value, "No listener for clients is left.", "at least one, as PLAINTEXT://localhost:9092"
        )
    names = [name for name, _, _ in listeners]
    for name, (host, _) in advertised.items():
        if host and host in WILDCARDS:
            raise _problem(
                "advertised.listeners",
                value,
                f"{host} is where to listen, and no address that a client could connect to.",
                f"a name that clients know this machine by, as {name}://localhost:9092",
            )
        if name not in names and name not in controllers:
            raise _problem(
                "advertised.listeners", value, f"{name} is not among the listeners.", f"names of {', '.join(names)}"
            )
    ports = [port for _, _, port in listeners if port]
    hosts = {(host, port) for _, host, port in listeners if port}
    if len(set(names)) < len(names):
        raise _problem(
            "listeners",
            value,
            "Two listeners share a name.",
            "a name for each, as A://localhost:9092,B://localhost:9093, and A:PLAINTEXT,B:PLAINTEXT in"
            " listener.security.protocol.map",
        )
    if len(set(ports)) < len(ports) and len(hosts) < len(ports):
        raise _problem("listeners", value, "Two listeners share a port.", "a port for each")
    return [
        Binding(name, _served_protocol(name, protocols, value), host, port, advertised.get(name))
        for name, host, port in listeners
    ]


def read_limits(value: ValueOf, listeners: Sequence[str] = ()) -> Limits:
    """Limits of the broker, and of those ``listeners`` that have their own. Raises ConfigProblem."""
    limits = Limits(
        request_bytes_max=_int(value, "socket.request.max.bytes"),
        queued_bytes_max=_int(value, "queued.max.request.bytes"),
        idle_ms_max=_int(value, "connections.max.idle.ms"),
        connections_max=_int(value, "max.connections"),
        connections_per_ip_max=_int(value, "max.connections.per.ip"),
        connections_per_ip_overrides=_overrides(value),
        creation_rate_max=_int(value, "max.connection.creation.rate"),
        listener_connections_max=_own_limits(value, "max.connections", listeners),
        listener_creation_rate_max=_own_limits(value, "max.connection.creation.rate", listeners),
    )
    if 0 < limits.queued_bytes_max < limits.request_bytes_max:
        raise _problem(
            "queued.max.request.bytes",
            value,
            "It is below socket.request.max.bytes.",
            f"-1 or >= {limits.request_bytes_max}",
        )
    return limits


def read_socket_options(value: ValueOf) -> SocketOptions:
    return SocketOptions(
        send_buffer_bytes=_int(value, "socket.send.buffer.bytes"),
        receive_buffer_bytes=_int(value, "socket.receive.buffer.bytes"),
        backlog=_int(value, "socket.listen.backlog.size"),
    )


def _parse(key: str, value: ValueOf) -> list[tuple[str, str, int]]:
    parsed = []
    for text in _names(value(key)):
        match = _LISTENER.fullmatch(text)
        if match is None or int(match[4]) > 65535:
            raise _problem(
                key, value, f"{text!r} is not a listener.", "NAME://HOST:PORT, as PLAINTEXT://localhost:9092"
            )
        parsed.append((match[1].upper(), match[2] or match[3] or "", int(match[4])))
    return parsed


def _protocol_map(value: ValueOf) -> dict[str, str]:
    protocols = {}
    for pair in _names(value("listener.security.protocol.map")):
        name, colon, protocol = pair.partition(":")
        if not colon or protocol.upper() not in _PROTOCOLS:
            raise _problem(
                "listener.security.protocol.map",
                value,
                f"{pair!r} does not name a security protocol.",
                f"NAME:PROTOCOL with one of {', '.join(_PROTOCOLS)}",
            )
        protocols[name.strip().upper()] = protocol.upper()
    return protocols


def _served_protocol(name: str, protocols: Mapping[str, str], value: ValueOf) -> str:
    protocol = protocols.get(name)
    if protocol is None:
        raise _problem(
            "listeners",
            value,
            f"No security protocol defined for listener {name}.",
            f"{name}:PLAINTEXT in listener.security.protocol.map",
        )
    if protocol != _PLAINTEXT:
        raise _problem(
            "listeners", value, f"The listener {name} wants {protocol}, which is not served yet.", "PLAINTEXT"
        )
    return protocol


def _overrides(value: ValueOf) -> Mapping[str, int]:
    key = "max.connections.per.ip.overrides"
    return address_counts(key, str(value(key) or ""))


def _own_limits(value: ValueOf, key: str, listeners: Sequence[str]) -> Mapping[str, int]:
    limits = {name: _int(value, f"listener.name.{name.lower()}.{key}") for name in listeners}
    return {name: limit for name, limit in limits.items() if limit < UNLIMITED}


def _names(value: Value) -> list[str]:
    """The items of a list value, or of a string that Kafka reads as a list."""
    items = value if isinstance(value, tuple) else str(value or "").split(",")
    return [item.strip() for item in items if item.strip()]


def _int(value: ValueOf, key: str) -> int:
    number = value(key)
    assert isinstance(number, int)
    return number


def _problem(key: str, value: ValueOf, message: str, expected: str) -> ConfigProblem:
    text = value(key)
    return ConfigProblem(key, ",".join(text) if isinstance(text, tuple) else str(text), message, expected)
