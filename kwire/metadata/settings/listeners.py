"""The listeners of a broker as its settings give them: names, security protocols, addresses.

Responsible for: the syntax of ``listeners``, ``advertised.listeners`` and ``listener.security.protocol.map``, and the
rules between them and the configs that name listeners, as Apache Kafka's KafkaConfig has them. Must not depend on:
sockets.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from kwire.metadata.configs.effective import EffectiveConfigs
from kwire.metadata.configs.values import ConfigProblem, value_text
from kwire.metadata.settings.sasl import read_sasl, uses_sasl

_PROTOCOLS: Final = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
_ADDRESS: Final = re.compile(r"([^:/]+)://(?:\[([0-9a-zA-Z%.:]+)\]|([0-9a-zA-Z\-_.]*)):([0-9]{1,5})")
_NONROUTABLE: Final = "0.0.0.0"  # noqa: S104 (compared with, not bound)


class ListenerAddress(NamedTuple):
    """One entry of ``listeners`` or ``advertised.listeners``; the name in upper case, host "" where none is given."""

    name: str
    host: str
    port: int

    @property
    def url(self) -> str:
        return f"{self.name}://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"


class Listeners(NamedTuple):
    """The listeners of the settings. ``advertised`` has the addresses for clients, by listener name.

    ``advertised_controllers`` is the same for the controller's listeners.
    """

    clients: tuple[ListenerAddress, ...]
    controllers: tuple[ListenerAddress, ...]
    advertised: Mapping[str, ListenerAddress]
    advertised_controllers: Mapping[str, ListenerAddress]
    protocols: Mapping[str, str]


def read_listeners(configs: EffectiveConfigs) -> Listeners:
    """Read and check the listeners. Raises ConfigProblem."""
    protocols = _protocols(configs)
    bound = _addresses(configs, "listeners", configs.broker["listeners"], protocols)
    _check_ports(configs, bound)
    given = configs.broker["advertised.listeners"]
    advertised = _addresses(configs, "advertised.listeners", given or (), protocols)
    names = configs.broker["controller.listener.names"]
    found = Listeners(
        clients=tuple(one for one in bound if one.name not in names),
        controllers=tuple(one for one in bound if one.name in names),
        advertised={one.name: one for one in advertised if one.name not in names},
        advertised_controllers={one.name: one for one in advertised if one.name in names},
        protocols=protocols,
    )
    _check_controllers(configs, found)
    if "broker" in configs.broker["process.roles"]:
        _check_clients(configs, found)
        _check_login(configs, found)
        _check_inter_broker(configs, found)
    else:
        _check_controller_alone(configs, found)
        _check_login(configs, found)
    if configs.broker["kwire.require.login"]:
        _check_reachable(configs, found)
    if any(one.host == _NONROUTABLE for one in advertised):
        message = (
            f"advertised.listeners cannot use the nonroutable meta-address {_NONROUTABLE}. Use a routable IP address."
        )
        expected = "a name that clients know this machine by, such as PLAINTEXT://localhost:9092"
        raise _problem(configs, "advertised.listeners", message, expected)
    return found


def inter_broker_listener(configs: EffectiveConfigs) -> str:
    """Return the name of the listener that brokers use among themselves."""
    name = configs.broker["inter.broker.listener.name"]
    return (configs.broker["security.inter.broker.protocol"] if name is None else name).upper()


class NodeListeners(NamedTuple):
    """The listeners of other nodes that this node connects to: name and security protocol of each."""

    controllers: tuple[str, str]
    brokers: tuple[str, str]


def node_listeners(configs: EffectiveConfigs) -> NodeListeners:
    """Return the listeners that nodes use among themselves. Raises ConfigProblem."""
    protocols = read_listeners(configs).protocols
    controllers, brokers = configs.broker["controller.listener.names"][0].upper(), inter_broker_listener(configs)
    return NodeListeners((controllers, protocols.get(controllers, "PLAINTEXT")), (brokers, protocols[brokers]))


def reachable_without_login(configs: EffectiveConfigs, found: Listeners) -> list[ListenerAddress]:
    """Return the listeners that other machines can reach and use without login, those of the controller too."""
    every = (*found.clients, *found.controllers)
    return [one for one in every if not (_is_loopback(one.host) or _asks_for_login(configs, found, one.name))]


def _asks_for_login(configs: EffectiveConfigs, found: Listeners, name: str) -> bool:
    protocol = found.protocols[name]
    return uses_sasl(protocol) or (protocol == "SSL" and configs.listener_value(name, "ssl.client.auth") == "required")


_LOOPBACK: Final = frozenset(("localhost", "127.0.0.1", "::1"))  # the usual ones, without ipaddress


def _is_loopback(host: str) -> bool:
    if host.lower() in _LOOPBACK:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


# --- syntax ---


def _protocols(configs: EffectiveConfigs) -> dict[str, str]:
    """Return the security protocol of each listener name."""
    name = "listener.security.protocol.map"
    protocols = {}
    for pair in filter(None, map(str.strip, configs.broker["listener.security.protocol.map"].split(","))):
        listener, colon, protocol = pair.rpartition(":")
        if not colon or protocol.strip().upper() not in _PROTOCOLS:
            message = f"{pair!r} does not give a security protocol to a listener."
            raise _problem(configs, name, message, f"NAME:PROTOCOL with one of {', '.join(_PROTOCOLS)}")
        protocols[listener.strip().upper()] = protocol.strip().upper()
    if not configs.is_set(name):
        # KIP-631: without a map, controller listeners are PLAINTEXT unless a listener is named SSL or SASL_*.
        controllers = configs.broker["controller.listener.names"]
        listeners = [url.partition("://")[0] for url in configs.broker["listeners"]]
        if not {"SSL", "SASL_PLAINTEXT", "SASL_SSL"} & {*controllers, *map(str.upper, listeners)}:
            protocols |= {controller.upper(): "PLAINTEXT" for controller in controllers if controller != "PLAINTEXT"}
    return protocols


def _addresses(
    configs: EffectiveConfigs, key: str, urls: Sequence[str], protocols: Mapping[str, str]
) -> list[ListenerAddress]:
    addresses = [_address(configs, key, url) for url in urls]
    names = [address.name for address in addresses]
    if len(set(names)) < len(names):
        message = f"Each listener must have a different name, listeners: [{', '.join(urls)}]"
        raise _problem(
            configs, key, message, "a name for each, and a protocol for it in listener.security.protocol.map"
        )
    for name in names:
        if name not in protocols:
            message = f"No security protocol defined for listener {name}"
            raise _problem(configs, key, message, f"{name}:PLAINTEXT in listener.security.protocol.map")
    return addresses


def _address(configs: EffectiveConfigs, key: str, url: str) -> ListenerAddress:
    match = _ADDRESS.fullmatch(url)
    if match is None or int(match[4]) > 65535:
        expected = "NAME://HOST:PORT, such as PLAINTEXT://localhost:9092"
        raise _problem(configs, key, f"Unable to parse {url} to a broker endpoint", expected)
    return ListenerAddress(match[1].upper(), match[2] or match[3] or "", int(match[4]))


# --- rules ---


def _check_ports(configs: EffectiveConfigs, bound: Iterable[ListenerAddress]) -> None:
    """Each listener has a port of its own; one IPv4 and one IPv6 address may share a port (KIP-797)."""
    hosts: dict[int, list[str]] = {}
    for one in bound:
        hosts.setdefault(one.port, []).append(one.host)
    listeners = f"listeners: [{', '.join(configs.broker['listeners'])}]"
    for port, sharing in hosts.items():
        if not port or len(sharing) == 1:
            continue
        versions = [_ip_version(host) for host in sharing]
        if sorted(map(str, versions)) != ["4", "6"]:
            message = _SHARED_PORT[_shared_by(versions)].format(listeners=listeners, port=port)
            raise _problem(configs, "listeners", message, "a port for each, or one IPv4 and one IPv6 address")


# Apache Kafka's messages, by what shares the port.
_SHARED_PORT: Final = {
    "names": "Each listener must have a different port, {listeners}",
    "addresses": "If you have two listeners on the same port then one needs to be IPv4 and the other IPv6, "
    "{listeners}, port: {port}",
    "both": "Each listener must have a different port unless exactly one listener has an IPv4 address and the other "
    "IPv6 address, {listeners}, port: {port}",
}


def _shared_by(versions: list[int | None]) -> str:
    if versions.count(None) > 1:
        return "names"
    return "addresses" if len(versions) - versions.count(None) == 2 else "both"


def _ip_version(host: str) -> int | None:
    try:
        return ipaddress.ip_address(host).version
    except ValueError:
        return None


def _check_controllers(configs: EffectiveConfigs, found: Listeners) -> None:
    bound = {one.name for one in (*found.clients, *found.controllers)}
    names = configs.broker["controller.listener.names"]
    if set(configs.broker["process.roles"]) == {"broker"}:
        if bound.intersection(name.upper() for name in names):
            message = (
                "controller.listener.names must not contain a value appearing in the 'listeners' configuration when"
                " running KRaft with just the broker role"
            )
            raise _problem(configs, "controller.listener.names", message, "a name that is not in listeners")
        if (configs.broker["inter.broker.listener.name"] or "") in names:
            message = (
                "controller.listener.names must not contain an explicitly set inter.broker.listener.name configuration"
                " value when process.roles=broker"
            )
            raise _problem(configs, "inter.broker.listener.name", message, "a name of listeners")
        return
    # kwire's default names a controller listener that need not exist: clients use the broker's listener.
    if configs.is_set("controller.listener.names") and not bound.issuperset(names):
        message = (
            "controller.listener.names must only contain values appearing in the 'listeners' configuration when running"
            " the KRaft controller role"
        )
        raise _problem(configs, "controller.listener.names", message, f"names of {', '.join(sorted(bound))}")
    for name in configs.broker["early.start.listeners"] or ():
        if name.upper() not in bound and name not in names:
            message = (
                f"early.start.listeners contains listener {name}, but this is not contained in listeners or "
                "controller.listener.names"
            )
            raise _problem(configs, "early.start.listeners", message, f"names of {', '.join(sorted(bound))}")


def _check_controller_alone(configs: EffectiveConfigs, found: Listeners) -> None:
    """A controller without a broker has listeners of controllers, and no others."""
    if not found.controllers:
        message = (
            "controller.listener.names must contain at least one value appearing in the 'listeners' configuration when"
            " running the KRaft controller role"
        )
        raise _problem(configs, "controller.listener.names", message, "CONTROLLER, and listeners=CONTROLLER://:9093")
    if found.clients:
        message = (
            "The listeners config must only contain KRaft controller listeners from controller.listener.names when "
            "process.roles=controller"
        )
        raise _problem(configs, "listeners", message, found.controllers[0].url)


def _check_clients(configs: EffectiveConfigs, found: Listeners) -> None:
    if not found.clients or (configs.is_set("advertised.listeners") and not found.advertised):
        message = (
            "There must be at least one broker advertised listener. Perhaps all listeners appear in "
            "controller.listener.names?"
        )
        name = "advertised.listeners" if found.clients else "listeners"
        raise _problem(configs, name, message, "at least one for clients, such as PLAINTEXT://localhost:9092")
    bound = [one.name for one in found.clients]
    unknown = [name for name in found.advertised if name not in bound]
    if unknown:
        message = (
            "advertised.listeners listener names must be equal to or a subset of the ones defined in listeners. Found "
            f"{','.join(unknown)}. The valid options based on the current configuration are {','.join(bound)}"
        )
        raise _problem(configs, "advertised.listeners", message, f"names of {', '.join(bound)}")


def _check_login(configs: EffectiveConfigs, found: Listeners) -> None:
    for name in (one.name for one in (*found.clients, *found.controllers)):
        if uses_sasl(found.protocols[name]):
            read_sasl(configs, name)


def _check_reachable(configs: EffectiveConfigs, found: Listeners) -> None:
    for one in reachable_without_login(configs, found):
        message = f"Other machines can reach {one.url} without login, which kwire.require.login refuses."
        raise _problem(configs, "listeners", message, "SASL_SSL, SSL with ssl.client.auth=required, or localhost")


def _check_inter_broker(configs: EffectiveConfigs, found: Listeners) -> None:
    """Check that the listener for other brokers is advertised, even where there is no other broker."""
    key = "inter.broker.listener.name"
    given = configs.broker["inter.broker.listener.name"]
    if given is not None and configs.is_set("security.inter.broker.protocol"):
        message = "Only one of inter.broker.listener.name and security.inter.broker.protocol should be set."
        raise _problem(configs, key, message, "one of the two")
    name = (configs.broker["security.inter.broker.protocol"] if given is None else given).upper()
    advertised = list(found.advertised) or [one.name for one in found.clients]
    if not name or name not in advertised:
        message = (
            f"{key} must be a listener name defined in advertised.listeners. The valid options based on currently "
            f"configured listeners are {','.join(advertised)}"
        )
        raise _problem(configs, key, message, f"{key}={advertised[0]}")
    if uses_sasl(found.protocols[name]):
        _check_inter_broker_mechanism(configs, name)


def _check_inter_broker_mechanism(configs: EffectiveConfigs, listener: str) -> None:
    key = "sasl.mechanism.inter.broker.protocol"
    mechanisms = read_sasl(configs, listener).mechanisms
    if configs.broker["sasl.mechanism.inter.broker.protocol"] not in mechanisms:
        message = f"{key} must be included in sasl.enabled.mechanisms when SASL is used for inter-broker communication"
        raise _problem(configs, key, message, " or ".join(mechanisms))


def _problem(configs: EffectiveConfigs, name: str, message: str, expected: str) -> ConfigProblem:
    return ConfigProblem(name, value_text(configs.broker_value(name)), message, expected)
