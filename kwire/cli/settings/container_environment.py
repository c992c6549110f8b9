"""Broker settings in environment variables, with the names of well-known container images.

Responsible for: the names. ``KAFKA_LOG_DIRS`` is log.dirs in the images of Apache and Confluent, where ``__`` is ``_``
and ``___`` is ``-``; ``KAFKA_CFG_LOG_DIRS`` is the same in Bitnami's; ``KAFKA_ADVERTISED_HOST_NAME``,
``KAFKA_ADVERTISED_PORT`` and ``KAFKA_CREATE_TOPICS`` are wurstmeister's. ``KWIRE_X_Y`` is kwire's own config kwire.x.y.
Must not depend on: the effect of settings.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from kwire.metadata.configs.definitions import AUTHORIZER_SETTINGS, RETIRED, broker_keys, split_listener_prefix

PREFIX: Final = "KAFKA_"
_BITNAMI_PREFIX: Final = "KAFKA_CFG_"
_KWIRE_PREFIX: Final = "KWIRE_"
_CLUSTER_ID: Final = ("CLUSTER_ID", "KAFKA_CLUSTER_ID", "KAFKA_KRAFT_CLUSTER_ID")
_CREATE_TOPICS: Final = "KAFKA_CREATE_TOPICS"
_SEPARATOR: Final = "KAFKA_CREATE_TOPICS_SEPARATOR"
_DEFAULT_PORT: Final = "9092"

# Bitnami's other names for settings.
_BITNAMI_NAMES: Final = {
    "KAFKA_LOGS_DIRS": "log.dirs",
    "KAFKA_SEGMENT_BYTES": "log.segment.bytes",
    "KAFKA_MAX_MESSAGE_BYTES": "message.max.bytes",
}
# wurstmeister's: together they make listeners and advertised.listeners.
_HOST_NAME: Final = "KAFKA_HOST_NAME"
_PORT: Final = "KAFKA_PORT"
_PROTOCOL: Final = "KAFKA_PROTOCOL_NAME"
_ADVERTISED_HOST_NAME: Final = "KAFKA_ADVERTISED_HOST_NAME"
_ADVERTISED_PORT: Final = "KAFKA_ADVERTISED_PORT"
_ADVERTISED_PROTOCOL: Final = "KAFKA_ADVERTISED_PROTOCOL_NAME"
_ADDRESS_PARTS: Final = frozenset(
    {_HOST_NAME, _PORT, _PROTOCOL, _ADVERTISED_HOST_NAME, _ADVERTISED_PORT, _ADVERTISED_PROTOCOL}
)
# Variables for a JVM, its log4j and JMX, for paths in an image, or for Confluent's other programs.
_NOTHING_HERE: Final = re.compile(
    r"KAFKA_(OPTS|HEAP_OPTS|GC_LOG_OPTS|JVM_PERFORMANCE_OPTS|DEBUG|JAVA_\w+|JAVA|LOG4J_\w+|TOOLS_LOG4J_LOGLEVEL|JMX_\w+"
    r"|HOME|VERSION|BASE_DIR|CONF_DIR|VOLUME_DIR|DATA_DIR|DAEMON_USER|DAEMON_GROUP|ZOOKEEPER_PROTOCOL"
    r"|SKIP_KRAFT_STORAGE_INIT|REST_\w+|CONFLUENT_\w+"
    # Variables that Kubernetes and Docker links set for a service named "kafka".
    r"|SERVICE_HOST|SERVICE_PORT\w*|PORT_\d+_\w+|NAME|ENV_\w+)"
)


@dataclass
class ContainerEnvironment:
    """The values of the variables. ``settings`` maps a setting's name to its text and the variable that gave it."""

    settings: dict[str, tuple[str, str]] = field(default_factory=dict)
    cluster_id: str | None = None
    topics: list[str] = field(default_factory=list)
    without_effect: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)


def read_environment(environment: Mapping[str, str]) -> ContainerEnvironment:
    """Read the variables that begin with ``KAFKA_``, ``CLUSTER_ID``, and those that name one of kwire's own configs.

    An empty variable counts as not set.
    """
    given = {name: text for name, text in sorted(environment.items()) if text.strip()}
    read = ContainerEnvironment(
        cluster_id=next((given[name].strip() for name in _CLUSTER_ID if name in given), None),
        topics=_topics(environment),
    )
    for variable, text in given.items():
        if variable in {*_CLUSTER_ID, _CREATE_TOPICS, _SEPARATOR, *_ADDRESS_PARTS}:
            continue
        key = _key(variable)
        if key is not None:
            read.settings[key] = (text, variable)
        elif not variable.startswith(PREFIX):
            continue
        elif _NOTHING_HERE.fullmatch(variable):
            read.without_effect.append(variable)
        else:
            read.unknown.append(variable)
    _add_addresses(read, given)
    return read


def _topics(environment: Mapping[str, str]) -> list[str]:
    separator = environment.get(_SEPARATOR) or ","
    words = environment.get(_CREATE_TOPICS, "").split(separator if separator.strip() else None)
    return [word.strip() for word in words if word.strip()]


def _key(variable: str) -> str | None:
    """Return the broker setting that a variable names: one of Kafka's, now or formerly, or kwire's own."""
    if variable in _BITNAMI_NAMES:
        return _BITNAMI_NAMES[variable]
    if variable.startswith(_BITNAMI_PREFIX):
        words = variable.removeprefix(_BITNAMI_PREFIX).lower()
        spellings: tuple[Callable[[str], str], ...] = (_bitnami_spelling, _official_spelling)
    elif variable.startswith(PREFIX):
        words = variable.removeprefix(PREFIX).lower()
        spellings = (_official_spelling,)
    elif variable.startswith(_KWIRE_PREFIX):
        words = variable.lower()
        spellings = (_official_spelling,)
    else:
        return None
    for spelling in spellings:
        key = spelling(words)
        if key in RETIRED or key in AUTHORIZER_SETTINGS or split_listener_prefix(key)[1] in broker_keys():
            return key
    return None


def _official_spelling(words: str) -> str:
    return words.replace("___", "-").replace("__", "\0").replace("_", ".").replace("\0", "_")


def _bitnami_spelling(words: str) -> str:
    return words.replace("_", ".").replace("sasl.ssl", "sasl_ssl").replace("sasl.plaintext", "sasl_plaintext")


def _add_addresses(read: ContainerEnvironment, given: Mapping[str, str]) -> None:
    """Turn host names and ports into listeners, unless variables such as ``KAFKA_LISTENERS`` set them."""
    used = [name for name in given if name in _ADDRESS_PARTS]
    if not given.get(_PORT, _DEFAULT_PORT).isdecimal():  # tcp://..., set by Kubernetes for a service named "kafka"
        used.remove(_PORT)
        read.without_effect.append(_PORT)
        given = {name: text for name, text in given.items() if name != _PORT}
    if not used:
        return
    if read.settings.keys() & {"listeners", "advertised.listeners"}:
        read.without_effect += used
        return
    source = ", ".join(used)
    port = given.get(_PORT, _DEFAULT_PORT)
    advertised_port = given.get(_ADVERTISED_PORT, port)
    protocol = given.get(_PROTOCOL, given.get(_ADVERTISED_PROTOCOL, "PLAINTEXT"))
    inside = f"{protocol}://{given.get(_HOST_NAME, '')}:{port}"
    if given.get(_ADVERTISED_PROTOCOL, protocol) != protocol:
        # Two listeners: one for other containers, one for clients outside.
        outside = f"{given[_ADVERTISED_PROTOCOL]}://"
        read.settings["listeners"] = (f"{outside}:{advertised_port},{inside}", source)
        host = given.get(_ADVERTISED_HOST_NAME, "")
        read.settings["advertised.listeners"] = (f"{outside}{host}:{advertised_port},{inside}", source)
        return
    read.settings["listeners"] = (inside, source)
    host = given.get(_ADVERTISED_HOST_NAME, given.get(_HOST_NAME, ""))
    read.settings["advertised.listeners"] = (f"{protocol}://{host}:{advertised_port}", source)
