"""The configs of topics, brokers and groups: type, default, check, synonyms, and when each may be changed.

Responsible for: the tables, and parsing a value by them.

    kafka_configs.tsv  Kafka's configs, read from the official jars: scope, name, type, default, importance, check,
                       synonyms, dynamic mode, internal
    kwire_configs.tsv  kwire's own broker configs, ``kwire.*``: name, type, default, check, dynamic mode, documentation.
                       To add one, add its row, run ``python tools/write_config_types.py`` and read it as
                       ``configs.broker["kwire.name"]``. A file, --set, an environment variable (KWIRE_NAME) and
                       AlterConfigs (if it is dynamic) set it; ``kwire config`` and DescribeConfigs show it.

Type, check and dynamic mode have the same words in both tables: ``ConfigType``, ``values.check_named``, and
read-only, per-broker or cluster-wide. ``support.py`` has how kwire treats a Kafka config, ``effective.py`` the
sources of effective values. Must not depend on: the user's files, images, the running broker.

kwire's defaults for Kafka's configs differ from Kafka's only where those do not fit one machine (``OWN_DEFAULTS``).
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Literal, NamedTuple, TypeAlias, get_args

from kwire.metadata.configs.values import (
    Check,
    ConfigProblem,
    ConfigType,
    Value,
    check_named,
    double_text,
    parse_value,
    value_text,
)

__all__ = [
    "AUTHORIZER_SETTINGS",
    "KWIRE_PREFIX",
    "OWN_DEFAULTS",
    "RETIRED",
    "ConfigKey",
    "ConfigProblem",
    "ConfigTableError",
    "ConfigType",
    "Value",
    "broker_keys",
    "broker_synonyms",
    "client_metrics_keys",
    "double_text",
    "dynamic_broker_names",
    "group_keys",
    "nearest",
    "parse_broker_config",
    "split_listener_prefix",
    "topic_keys",
    "value_text",
]

KWIRE_PREFIX = "kwire."
# Settings that no table has, because Kafka's StandardAuthorizer reads them itself.
AUTHORIZER_SETTINGS = frozenset({"allow.everyone.if.no.acl.found", "super.users"})
_KAFKA_TABLE = Path(__file__).with_name("kafka_configs.tsv")
_KWIRE_TABLE = Path(__file__).with_name("kwire_configs.tsv")
Keys: TypeAlias = "MappingProxyType[str, ConfigKey]"
Dynamic: TypeAlias = Literal["read-only", "cluster-wide", "per-broker", "-"]
_DYNAMIC: tuple[str, ...] = get_args(Dynamic)
_TYPES = {each.name: each for each in ConfigType}
_check = cache(check_named)


class ConfigTableError(Exception):
    """A row of a table that cannot be read: a mistake in the table, not in a user's settings."""


class Synonym(NamedTuple):
    """A broker key that gives a topic or group key its default, in another unit where ``factor`` is not 1."""

    name: str
    factor: int


class ConfigKey(NamedTuple):
    """One config: how its text is read and checked. ``default_text`` is None for null."""

    name: str
    type: ConfigType
    default_text: str | None
    required: bool
    importance: str
    check: Check
    distinct: bool  # a list from which Kafka drops repeated items before its check
    synonyms: tuple[Synonym, ...]
    dynamic: Dynamic
    internal: bool
    documentation: str | None = None  # set for kwire's own configs only
    kafka_default_text: str | None = None  # set where kwire's default differs (``OWN_DEFAULTS``)

    @property
    def is_kwires(self) -> bool:
        """Whether this is a config that Kafka does not have."""
        return self.name.startswith(KWIRE_PREFIX)

    @property
    def sensitive(self) -> bool:
        """Whether its value is never shown."""
        return self.type is ConfigType.PASSWORD

    @property
    def default(self) -> Value:
        return _default(self.name, self.type, self.default_text)

    def parse(self, text: str | None) -> Value:
        """Parse and check ``text``. Raises ConfigProblem with Kafka's message."""
        value = parse_value(self.name, self.type, text)
        if self.distinct and isinstance(value, tuple):
            value = tuple(dict.fromkeys(value))
        if text is not None:
            self.check(self.name, value)
        return value


@cache
def _default(name: str, config_type: ConfigType, text: str | None) -> Value:
    """Parse a default, which each broker asks for again."""
    return parse_value(name, config_type, text)


# Kafka's defaults need three brokers, or wait for members that one machine starts at the same time.
OWN_DEFAULTS = MappingProxyType(
    {
        "controller.listener.names": "CONTROLLER",
        "group.consumer.assignment.interval.ms": "0",
        "group.initial.rebalance.delay.ms": "0",
        "node.id": "1",
        "offsets.topic.replication.factor": "1",
        "process.roles": "broker,controller",
        "share.coordinator.state.topic.min.isr": "1",
        "share.coordinator.state.topic.replication.factor": "1",
        # One event loop accepts all connections: with a backlog of 50, clients of a burst would wait seconds for SYN
        # retries.
        "socket.listen.backlog.size": "1024",
        # The size that the kernel chooses: a fifth less CPU for each MB produced than with Kafka's 100 KB.
        "socket.receive.buffer.bytes": "-1",
        "transaction.state.log.min.isr": "1",
        "transaction.state.log.replication.factor": "1",
    }
)

# Configs of older releases, and their successors ("" where none is needed).
RETIRED = MappingProxyType(
    {
        "advertised.host.name": "advertised.listeners",
        "advertised.port": "advertised.listeners",
        "broker.id.generation.enable": "node.id",
        "control.plane.listener.name": "controller.listener.names",
        "group.consumer.max.assignment.interval": "group.consumer.max.assignment.interval.ms",
        "group.coordinator.new.enable": "group.coordinator.rebalance.protocols",
        "host.name": "listeners",
        "inter.broker.protocol.version": "metadata.version (kafka-features.sh upgrade)",
        "log.message.format.version": "",
        "log.message.timestamp.difference.max.ms": (
            "log.message.timestamp.before.max.ms and log.message.timestamp.after.max.ms"
        ),
        "message.format.version": "",
        "message.timestamp.difference.max.ms": "message.timestamp.before.max.ms and message.timestamp.after.max.ms",
        "metrics.jmx.enable": "",
        "offsets.commit.required.acks": "",
        "password.encoder.cipher.algorithm": "",
        "password.encoder.iterations": "",
        "password.encoder.key.length": "",
        "password.encoder.keyfactory.algorithm": "",
        "password.encoder.old.secret": "",
        "password.encoder.secret": "",
        "port": "listeners",
        "quota.consumer.default": "kafka-configs.sh --entity-type clients --entity-default",
        "quota.producer.default": "kafka-configs.sh --entity-type clients --entity-default",
        "max.broker.id": "node.id",
        "reserved.broker.max.id": "node.id",
        "security.protocol": "security.inter.broker.protocol",
        "zookeeper.clientCnxnSocket": "controller.quorum.bootstrap.servers",
        "zookeeper.connect": "controller.quorum.bootstrap.servers",
        "zookeeper.connection.timeout.ms": "controller.quorum.request.timeout.ms",
        "zookeeper.max.in.flight.requests": "",
        "zookeeper.metadata.migration.enable": "",
        "zookeeper.session.timeout.ms": "broker.session.timeout.ms",
        "zookeeper.set.acl": "",
        "zookeeper.ssl.cipher.suites": "",
        "zookeeper.ssl.client.enable": "",
        "zookeeper.ssl.crl.enable": "",
        "zookeeper.ssl.enabled.protocols": "",
        "zookeeper.ssl.endpoint.identification.algorithm": "",
        "zookeeper.ssl.keystore.location": "",
        "zookeeper.ssl.keystore.password": "",
        "zookeeper.ssl.keystore.type": "",
        "zookeeper.ssl.ocsp.enable": "",
        "zookeeper.ssl.protocol": "",
        "zookeeper.ssl.truststore.location": "",
        "zookeeper.ssl.truststore.password": "",
        "zookeeper.ssl.truststore.type": "",
        "zookeeper.sync.time.ms": "",
    }
)


def broker_keys() -> Keys:
    """Return the configs of brokers: those of server.properties, those that are only dynamic, and kwire's own."""
    return _tables()["broker"]


def topic_keys() -> Keys:
    return _tables()["topic"]


def group_keys() -> Keys:
    return _tables()["group"]


def client_metrics_keys() -> Keys:
    """Return the configs of a subscription to client metrics (KIP-714), for which Kafka has no ConfigDef."""
    return _client_metrics_keys()


def parse_broker_config(key: str, text: str) -> Value:
    """Parse a broker setting. Raises ConfigProblem: name, value, Kafka's message, and the valid values.

    A listener's own key (``listener.name.external.ssl.keystore.location``) is read as its base key. A key that Kafka
    does not know raises KeyError; the caller decides whether that is an error (a flag) or a warning (a file).
    """
    base = split_listener_prefix(key)[1]
    return broker_keys()[base].parse(text)


def nearest(key: str, scope: Literal["broker", "topic", "group"] = "broker") -> str | None:
    """Return the known config whose name is most similar to ``key``, for a misspelled name; None if none is similar."""
    import difflib  # noqa: PLC0415 (5 ms, needed only after a mistake)

    names = [name for name, known in _tables()[scope].items() if not known.internal]
    found = difflib.get_close_matches(key.lower().replace("_", "."), names, n=1, cutoff=0.75)
    return found[0] if found else None


def split_listener_prefix(key: str) -> tuple[str, str]:
    """Split ``listener.name.external.ssl.protocol`` after the listener's name; a key without one gives ("", key).

    A SASL mechanism in front of what Kafka takes for one mechanism (``listener.name.external.plain.sasl.jaas.config``)
    belongs to the prefix.
    """
    if not key.startswith("listener.name."):
        return "", key
    parts = key.split(".", 3)
    if len(parts) < 4:
        return "", key
    mechanism, dot, rest = parts[3].partition(".")
    of_mechanism = dot and mechanism in _SASL_MECHANISMS and rest.startswith(_OF_MECHANISM)
    base = rest if of_mechanism else parts[3]
    return key[: -len(base)], base


_SASL_MECHANISMS = frozenset({"plain", "scram-sha-256", "scram-sha-512", "oauthbearer", "gssapi"})
_OF_MECHANISM = ("sasl.", "connections.max.reauth.ms")


def dynamic_broker_names() -> frozenset[str]:
    """Return the broker configs that can be changed while the broker runs."""
    return _dynamic_broker_names()


def broker_synonyms(name: str) -> tuple[str, ...]:
    """Return the names of a broker setting in order of precedence (log.retention.ms, .minutes, .hours)."""
    prefix, base = split_listener_prefix(name)
    if prefix:
        return (name, *broker_synonyms(base))
    for family in _FAMILIES:
        if name in family:
            return family
    return (name,)


# Names of one setting, in order of precedence: the first that is set counts.
_FAMILIES = (
    ("log.retention.ms", "log.retention.minutes", "log.retention.hours"),
    ("log.roll.ms", "log.roll.hours"),
    ("log.roll.jitter.ms", "log.roll.jitter.hours"),
    ("log.flush.interval.ms", "log.flush.scheduler.interval.ms"),
)


@cache
def _dynamic_broker_names() -> frozenset[str]:
    return frozenset(name for name, key in broker_keys().items() if key.dynamic in {"cluster-wide", "per-broker"})


@cache
def _client_metrics_keys() -> Keys:
    rows = (
        ("interval.ms", ConfigType.INT, "300000"),
        ("match", ConfigType.LIST, ""),
        ("metrics", ConfigType.LIST, ""),
    )
    return MappingProxyType(
        {
            name: ConfigKey(
                name=name,
                type=config_type,
                default_text=default,
                required=False,
                importance="MEDIUM",
                check=check_named("-"),
                distinct=False,
                synonyms=(),
                dynamic="-",
                internal=False,
            )
            for name, config_type, default in rows
        }
    )


@cache
def _tables() -> dict[str, Keys]:
    """Read both tables. Raises ConfigTableError."""
    tables: dict[str, dict[str, ConfigKey]] = {"broker": {}, "topic": {}, "group": {}}
    for table, columns, read in ((_KAFKA_TABLE, 9, _kafka_config), (_KWIRE_TABLE, 6, _kwire_config)):
        for line in table.read_text("utf-8").splitlines()[1:]:
            cells = line.split("\t")
            try:
                if len(cells) != columns:
                    raise ValueError(f"not {columns} columns with a tab between two, but {len(cells)}")
                scope, key = read(cells)
                if key.name in tables[scope]:
                    raise ValueError("the name is that of an earlier row")
            except ValueError as error:
                raise ConfigTableError(f"{table.name}, row {cells[0]!r}: {error}") from error
            tables[scope][key.name] = key
    return {scope: MappingProxyType(table) for scope, table in tables.items()}


def _kafka_config(cells: list[str]) -> tuple[str, ConfigKey]:
    scope, name, type_name, default, importance, check_spec, synonyms, dynamic, internal = cells
    own_default = OWN_DEFAULTS.get(name) if scope == "broker" else None
    return scope.partition("-")[0], ConfigKey(
        name=name,
        type=_type(type_name),
        default_text=own_default or _default_text(default),
        required=default == "(required)" and own_default is None,
        importance=importance,
        check=_check(check_spec),
        distinct=check_spec.startswith("list"),
        synonyms=tuple(_synonym(text) for text in synonyms.split(",") if text != "-"),
        dynamic=_dynamic(dynamic),
        internal=internal == "internal",
        kafka_default_text=None if own_default is None else _default_text(default),
    )


def _kwire_config(cells: list[str]) -> tuple[str, ConfigKey]:
    name, type_name, default, check_spec, dynamic, documentation = cells
    if not name.startswith(KWIRE_PREFIX):
        raise ValueError(f"the name does not begin with {KWIRE_PREFIX}")
    if not documentation:
        raise ValueError("no documentation")
    key = ConfigKey(
        name=name,
        type=_type(type_name),
        default_text=_default_text(default),
        required=False,
        importance="MEDIUM",
        check=_check(check_spec),
        distinct=check_spec.startswith("list"),
        synonyms=(),
        dynamic=_dynamic(dynamic),
        internal=False,
        documentation=documentation,
    )
    key.parse(key.default_text)
    return "broker", key


def _type(cell: str) -> ConfigType:
    known = _TYPES.get(cell)
    if known is None:
        raise ValueError(f"unknown type {cell!r}, the types are {', '.join(_TYPES)}")
    return known


def _default_text(cell: str) -> str | None:
    if cell in {"(null)", "(required)"}:
        return None
    return "" if cell == "(empty)" else cell


def _synonym(text: str) -> Synonym:
    name, _, factor = text.removesuffix(")").partition("(x")
    return Synonym(name, int(factor or 1))


def _dynamic(cell: str) -> Dynamic:
    if cell not in _DYNAMIC:
        raise ValueError(f"unknown dynamic mode {cell!r}, the modes are {', '.join(_DYNAMIC)}")
    return cell  # type: ignore[return-value]  # tested above
