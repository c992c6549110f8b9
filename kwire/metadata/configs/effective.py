"""Effective config values of topics, brokers and groups, and their sources in Kafka's order of precedence.

Responsible for: the order of precedence. A topic's own config, then the broker config that gives it its default (of
this broker, of all brokers, static, default). Must not depend on: requests, files, how a value came into the settings.

    topic retention.ms       <- log.retention.ms, log.retention.minutes x 60000, log.retention.hours x 3600000
                                each looked for in: dynamic of this broker, dynamic of all brokers, static, default
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import IntEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple, cast

from kwire.metadata.configs.definitions import (
    ConfigKey,
    Keys,
    broker_synonyms,
    client_metrics_keys,
    split_listener_prefix,
)
from kwire.metadata.configs.tables import AS_RELEASE, TIMESTAMP_DIFFERENCE, ConfigTables, config_tables
from kwire.metadata.configs.values import ConfigType, Value, value_text
from kwire.metadata.entities import ResourceType
from kwire.metadata.image import MetadataImage
from kwire.personas import NONE

if TYPE_CHECKING:  # not at run time: the types are for mypy, and would cost a millisecond of each start
    from kwire.metadata.configs.types import BrokerValues, GroupValues, TopicValues

# A config of groups, and the broker configs with its lowest and highest value.
GROUP_LIMITS: Final[tuple[tuple[str, str | None, str | None], ...]] = (
    *(
        (f"{protocol}.{what}", f"group.{protocol}.min.{what}", f"group.{protocol}.max.{what}")
        for protocol in ("consumer", "share", "streams")
        for what in ("heartbeat.interval.ms", "session.timeout.ms", "assignment.interval.ms")
    ),
    *(
        (f"share.{what}", f"group.share.min.{what}", f"group.share.max.{what}")
        for what in ("record.lock.duration.ms", "delivery.count.limit", "partition.max.record.locks")
    ),
    ("streams.num.standby.replicas", None, "group.streams.max.standby.replicas"),
    ("streams.num.warmup.replicas", None, "group.streams.max.warmup.replicas"),
    ("streams.task.offset.interval.ms", "group.streams.min.task.offset.interval.ms", None),
)


UNLIMITED: Final = 2**63 - 1


class Source(IntEnum):
    """Where a value comes from, as DescribeConfigs numbers it."""

    TOPIC = 1
    DYNAMIC_BROKER = 2
    DYNAMIC_DEFAULT_BROKER = 3
    STATIC_BROKER = 4
    DEFAULT = 5
    BROKER_LOGGER = 6
    CLIENT_METRICS = 7
    GROUP = 8


class ConfigSynonym(NamedTuple):
    """One source of a value: the name of the config there, its value, and the kind of source."""

    name: str
    value: str | None
    source: Source


class Described(NamedTuple):
    """One config as DescribeConfigs returns it. ``value`` is None when it is null or sensitive."""

    name: str
    value: str | None
    read_only: bool
    source: Source
    sensitive: bool
    synonyms: tuple[ConfigSynonym, ...]
    type: ConfigType | None  # None for a key that Kafka does not know


class BrokerSettings:
    """The static settings of one broker, from file, flags and environment, already checked.

    For each ``EffectiveConfigs`` that is made of them, ``parsed`` has the values of those that were used, and
    ``inherited`` the values that topics and groups take from broker configs, with the texts of these.
    """

    def __init__(self, texts: Mapping[str, str] | None = None) -> None:
        self.texts: Mapping[str, str] = MappingProxyType(dict(texts or {}))
        self.parsed: dict[str, Value] = {}
        self.inherited: tuple[Mapping[str, str], dict[ResourceType, dict[str, Value]]] = ({}, {})


class _BrokerValues(dict[str, Value]):
    """The values of broker configs, each parsed at its first use. ``settings`` are the static ones among ``texts``."""

    def __init__(self, texts: Mapping[str, str], keys: Keys, settings: BrokerSettings) -> None:
        super().__init__(settings.parsed)
        for name in texts.keys() | settings.texts.keys():
            if texts.get(name) != settings.texts.get(name):
                self.pop(name, None)
        self._texts = texts
        self._keys = keys
        self._settings = settings

    def __missing__(self, name: str) -> Value:
        text, settings = self._texts.get(name), self._settings
        is_static = text == settings.texts.get(name)
        if is_static and name in settings.parsed:
            value = settings.parsed[name]
        else:
            key = self._keys[split_listener_prefix(name)[1]]
            value = key.default if text is None else key.parse(text)
            if is_static:
                settings.parsed[name] = value
        self[name] = value
        return value


def _broker_values(texts: Mapping[str, str], keys: Keys, settings: BrokerSettings) -> BrokerValues:
    return cast("BrokerValues", _BrokerValues(texts, keys, settings))


class EffectiveConfigs:
    """The effective values for an image and static settings. They change with the image, so do not keep a value."""

    def __init__(self, image: MetadataImage, settings: BrokerSettings, node_id: int) -> None:
        self._image = image
        self._settings = settings
        self._node_id = node_id
        self.tables = config_tables(settings.texts.get(AS_RELEASE, NONE))
        self._merged: tuple[Mapping[str, str], Mapping[str, str], dict[str, str]] | None = None
        self._merged_version = -1
        # Caches of values that depend on the broker's configs alone; replaced when those change.
        self._broker_values = _broker_values({}, self.tables.every_broker, settings)
        self._inherited: dict[ResourceType, dict[str, Value]] = {}
        self._inherited_rows: dict[ResourceType, dict[str, Described]] = {}

    @property
    def node_id(self) -> int:
        return self._node_id

    @property
    def broker(self) -> BrokerValues:
        """The effective value of each broker config, as ``configs.broker["num.partitions"]``.

        Of several names for one setting (log.retention.ms, .minutes, .hours) each has its own value and unit.
        """
        self._broker_texts()
        return self._broker_values

    def broker_value(self, name: str) -> Value:
        """Return the effective value of a broker config whose name mypy does not know, also one with a listener prefix.

        Raises KeyError for a name that is not in the table.
        """
        return cast("Mapping[str, Value]", self.broker)[name]

    def listener_value(self, listener: str, name: str) -> Value:
        """Return a config of one listener: ``listener.name.LISTENER.NAME`` where that is set, else NAME."""
        own = f"listener.name.{listener.lower()}.{name}"
        return self.broker_value(own if self.is_set(own) else name)

    def text(self, name: str) -> str | None:
        """Return the text of a setting that is in no table of configs, such as super.users; None if it is not set."""
        return self._broker_texts().get(name)

    def with_broker_configs(self, configs: Mapping[str, str]) -> EffectiveConfigs:
        """Return the effective configs as they would be with ``configs`` set too, for checks before a change."""
        texts = dict(self._broker_texts())
        for name, text in configs.items():
            _override(texts, name, text)
        return EffectiveConfigs(MetadataImage(), BrokerSettings(texts), self._node_id)

    def with_dynamic_configs(self, broker_name: str, configs: Mapping[str, str]) -> EffectiveConfigs:
        """Return the effective configs as they would be with ``configs`` as all dynamic ones of a broker.

        ``broker_name`` "" stands for the dynamic configs of all brokers.
        """
        for_all = self._image.config(ResourceType.BROKER, "")
        for_this = self._image.config(ResourceType.BROKER, str(self._node_id))
        layers = (for_all, configs) if broker_name else (configs, for_this)
        return EffectiveConfigs(MetadataImage(), BrokerSettings(self._merge(*layers)), self._node_id)

    def is_set(self, name: str) -> bool:
        """Whether the settings or a dynamic config set this name of a broker config; synonyms do not count."""
        return name in self._broker_texts()

    def topic(self, name: str) -> TopicValues:
        """Return the value of every topic config."""
        return cast("TopicValues", self.topic_values(self._image.config(ResourceType.TOPIC, name)))

    def topic_values(self, own: Mapping[str, str]) -> dict[str, Value]:
        """Return the value of every topic config for a topic whose own configs are ``own``. Raises ConfigProblem."""
        values = self._inherited_values(ResourceType.TOPIC) | _parsed(own, self.tables.every_topic)
        return _with_one_difference(values) if TIMESTAMP_DIFFERENCE in values else values

    def group(self, name: str) -> GroupValues:
        """Return the value of every group config (KIP-848 and later).

        A value of the group that the broker's limits no longer allow counts as the nearest that they do.
        """
        own = self._image.config(ResourceType.GROUP, name)
        values = self.group_values(own)
        for key, lowest, highest in GROUP_LIMITS if own else ():
            if key in own:
                values[key] = self._within(cast("int", values[key]), lowest, highest)
        return cast("GroupValues", values)

    def _within(self, value: int, lowest: str | None, highest: str | None) -> int:
        limits = cast("Mapping[str, int]", self.broker)
        at_least = value if lowest is None else max(value, limits[lowest])
        return at_least if highest is None else min(at_least, limits[highest])

    def group_values(self, own: Mapping[str, str]) -> dict[str, Value]:
        """Return the value of every group config for a group whose own configs are ``own``. Raises ConfigProblem."""
        return self._inherited_values(ResourceType.GROUP) | _parsed(own, self.tables.every_group)

    # --- DescribeConfigs ---

    def describe_topic(self, name: str, keys: Iterable[str] | None = None) -> list[Described]:
        """Describe the configs ``keys`` of a topic, None for all; a topic that does not exist has the defaults."""
        return self._describe_owned(ResourceType.TOPIC, self._image.config(ResourceType.TOPIC, name), keys)

    def describe_new_topic(self, own: Mapping[str, str]) -> list[Described]:
        """Describe a topic that is not in the image yet; internal configs only where ``own`` has them."""
        described = self._describe_owned(ResourceType.TOPIC, own)
        if not own:
            return described
        # CreateTopics returns the text as stored, DescribeConfigs the parsed value.
        return [one._replace(value=own[one.name]) if one.name in own else one for one in described]

    def describe_group(self, name: str, keys: Iterable[str] | None = None) -> list[Described]:
        """Describe the configs ``keys`` of a group, None for all; a group that does not exist has the defaults."""
        return self._describe_owned(ResourceType.GROUP, self._image.config(ResourceType.GROUP, name), keys)

    def describe_client_metrics(self, name: str, keys: Iterable[str] | None = None) -> list[Described]:
        """Describe a subscription to client metrics; one that does not exist has the defaults."""
        own = self._image.config(ResourceType.CLIENT_METRICS, name)
        table = client_metrics_keys()
        values = {key.name: key.parse(own.get(key.name, key.default_text)) for key in table.values()}
        return [
            Described(
                name=key,
                value=value_text(values[key]),
                read_only=False,
                source=Source.CLIENT_METRICS if key in own else Source.DEFAULT,
                sensitive=False,
                synonyms=(ConfigSynonym(key, value_text(values[key]), Source.CLIENT_METRICS),) if key in own else (),
                type=table[key].type,
            )
            for key in _chosen(table, keys)
        ]

    def describe_broker(self, keys: Iterable[str] | None = None) -> list[Described]:
        """Describe this broker: every known config, and those in its settings that Kafka does not know."""
        texts = self._broker_texts()
        # Configs that are only dynamic (replication throttles) are listed once they are set.
        names = [
            name
            for name, key in self.tables.broker.items()
            if name in texts or not (key.internal or name in _DYNAMIC_ONLY)
        ]
        names += [name for name in texts if name not in self.tables.broker]
        wanted = _chosen(names, keys)
        return [self._describe_broker_key(name, _ALL_SOURCES) for name in wanted]

    def describe_broker_default(self, keys: Iterable[str] | None = None) -> list[Described]:
        """Describe the dynamic configs of all brokers."""
        names = _chosen(self._image.config(ResourceType.BROKER, ""), keys)
        return [self._describe_broker_key(name, {Source.DYNAMIC_DEFAULT_BROKER}) for name in names]

    # --- values of the broker ---

    def _broker_texts(self) -> dict[str, str]:
        """Return the static settings overridden by the dynamic ones; merged again only after these changed."""
        if self._merged is not None and self._merged_version == self._image.version:
            return self._merged[2]
        for_all = self._image.config(ResourceType.BROKER, "")
        for_this = self._image.config(ResourceType.BROKER, str(self._node_id))
        if self._merged is None or self._merged[0] is not for_all or self._merged[1] is not for_this:
            merged = self._merge(for_all, for_this)
            self._merged = (for_all, for_this, merged)
            self._broker_values = _broker_values(merged, self.tables.every_broker, self._settings)
            self._inherited, self._inherited_rows = {}, {}
        self._merged_version = self._image.version
        return self._merged[2]

    def _merge(self, *layers: Mapping[str, str]) -> dict[str, str]:
        """Return the static settings with dynamic ones over them, later layers over earlier ones."""
        merged = dict(self._settings.texts)
        for layer in layers:
            for name, text in layer.items():
                _override(merged, name, text)
        return merged

    def _describe_broker_key(self, name: str, sources: set[Source]) -> Described:
        key = self.tables.broker.get(split_listener_prefix(name)[1])
        sensitive = key is None or key.sensitive
        synonyms = tuple(one for one in self._synonyms_of(name, sensitive) if one.source in sources)
        value = None if sensitive else value_text(self.broker_value(name))  # an unknown key counts as sensitive
        if Source.STATIC_BROKER not in sources:
            value = None if sensitive else self._image.config(ResourceType.BROKER, "").get(name)
        elif name == "broker.id":
            value = str(self._node_id)
        return Described(
            name=name,
            value=value,
            read_only=name not in self.tables.dynamic,
            source=synonyms[0].source if synonyms else Source.DEFAULT,
            sensitive=sensitive,
            synonyms=synonyms,
            type=self.tables.types.get(name, key.type) if key else None,
        )

    def _synonyms_of(self, name: str, sensitive: bool) -> list[ConfigSynonym]:
        """Return every broker-level source of a value for ``name`` or a synonym of it, in order of precedence."""
        names = broker_synonyms(name)
        places = (
            (self._image.config(ResourceType.BROKER, str(self._node_id)), Source.DYNAMIC_BROKER),
            (self._image.config(ResourceType.BROKER, ""), Source.DYNAMIC_DEFAULT_BROKER),
            (self._settings.texts, Source.STATIC_BROKER),
        )
        synonyms = [
            ConfigSynonym(synonym, None if sensitive else texts[synonym], source)
            for texts, source in places
            for synonym in names
            if synonym in texts
        ]
        if name == "broker.id" and name not in self._settings.texts:
            synonyms.append(ConfigSynonym(name, str(self._node_id), Source.STATIC_BROKER))  # Kafka sets it from node.id
        table = self.tables.broker
        keys = ((synonym, table.get(split_listener_prefix(synonym)[1])) for synonym in names)
        defaults = ((synonym, key.default_text) for synonym, key in keys if key is not None)
        if split_listener_prefix(name)[1] in table and name not in _DYNAMIC_ONLY:
            synonyms += [
                ConfigSynonym(synonym, None if sensitive else text, Source.DEFAULT)
                for synonym, text in defaults
                if text is not None and not split_listener_prefix(synonym)[0]
            ]
        # Kafka leaves out the synonyms before the name itself.
        own = (position for position, one in enumerate(synonyms) if one.name == name)
        return synonyms[next(own, len(synonyms)) :]

    # --- topics and groups ---

    def _table(self, owner: ResourceType, *, every: bool = False) -> Keys:
        tables: ConfigTables = self.tables
        if owner is ResourceType.TOPIC:
            return tables.every_topic if every else tables.topic
        return tables.every_group if every else tables.group

    def _inherited_values(self, owner: ResourceType) -> dict[str, Value]:
        """Return the values of a topic or group without configs of its own."""
        texts = self._broker_texts()
        if owner not in self._inherited:
            if self._settings.inherited[0] != texts:
                self._settings.inherited = (texts, {})
            made = self._settings.inherited[1]
            if owner not in made:
                made[owner] = {
                    name: _inherited(key, texts, self.tables.every_broker)
                    for name, key in self._table(owner, every=True).items()
                }
            self._inherited[owner] = made[owner]
        return self._inherited[owner]

    def _describe_owned(
        self, owner: ResourceType, own: Mapping[str, str], keys: Iterable[str] | None = None
    ) -> list[Described]:
        table, source = self._table(owner), _OWN_SOURCES[owner]
        rows = self._described_inherited(owner).copy()
        for name, value in _parsed(own, table).items():
            own_value = ConfigSynonym(name, value_text(value), source)
            synonyms = (own_value, *rows[name].synonyms)
            rows[name] = rows[name]._replace(value=own_value.value, source=source, synonyms=synonyms)
        names = _chosen([name for name, key in table.items() if not key.internal or name in own], keys)
        return [rows[name] for name in names]

    def _described_inherited(self, owner: ResourceType) -> dict[str, Described]:
        """Describe every key, internal ones too, of a topic or group without configs of its own."""
        values = self._inherited_values(owner)
        if owner not in self._inherited_rows:
            table = self._table(owner)
            self._inherited_rows[owner] = {
                name: self._describe_inherited(owner, key, values[name]) for name, key in table.items()
            }
        return self._inherited_rows[owner]

    def _describe_inherited(self, owner: ResourceType, key: ConfigKey, value: Value) -> Described:
        synonyms = self._synonyms_of(key.synonyms[0].name, key.sensitive) if key.synonyms else []
        if not key.synonyms and owner is ResourceType.GROUP:
            synonyms = [ConfigSynonym(key.name, key.default_text, Source.DEFAULT)]  # Kafka lists it for groups only
        return Described(
            name=key.name,
            value=value_text(value),
            read_only=False,
            source=synonyms[0].source if synonyms else Source.DEFAULT,
            sensitive=key.sensitive,
            synonyms=tuple(synonyms),
            type=key.type,
        )


def _override(texts: dict[str, str], name: str, text: str) -> None:
    """Set a broker config; the other names of the same setting no longer count, nor does a listener's for others."""
    prefix, base = split_listener_prefix(name)
    for synonym in broker_synonyms(base):
        texts.pop(prefix + synonym, None)
    texts[name] = text


_ALL_SOURCES = set(Source)
_DYNAMIC_ONLY = frozenset(
    {
        "follower.replication.throttled.rate",
        "leader.replication.throttled.rate",
        "replica.alter.log.dirs.io.max.bytes.per.second",
    }
)


# Resources with defaults from broker configs, and the source of a value of their own.
_OWN_SOURCES: Final = {ResourceType.TOPIC: Source.TOPIC, ResourceType.GROUP: Source.GROUP}


def _with_one_difference(values: dict[str, Value]) -> dict[str, Value]:
    """Apply the one limit that older releases have where its two successors have their default (KIP-937)."""
    for name in ("message.timestamp.before.max.ms", "message.timestamp.after.max.ms"):
        if values[name] == UNLIMITED:
            values[name] = values[TIMESTAMP_DIFFERENCE]
    return values


def _parsed(own: Mapping[str, str], table: Mapping[str, ConfigKey]) -> dict[str, Value]:
    """Parse the configs of a topic or group, in the order of the table; names that it lacks are left out."""
    return {name: key.parse(own[name]) for name, key in table.items() if name in own} if own else {}


def _chosen(names: Iterable[str], keys: Iterable[str] | None) -> list[str]:
    if not keys:
        return list(names)
    wanted = set(keys)
    return [name for name in names if name in wanted]


def _inherited(key: ConfigKey, broker_texts: Mapping[str, str], broker: Keys) -> Value:
    """Return the value that a topic or group without this config takes from the broker's settings."""
    if not key.synonyms:
        return key.default
    for synonym in key.synonyms:
        if synonym.name in broker_texts:
            return _scaled(key, broker[synonym.name].parse(broker_texts[synonym.name]), synonym.factor)
    last = next(one for one in reversed(key.synonyms) if broker[one.name].default_text is not None)
    return _scaled(key, broker[last.name].default, last.factor)


def _scaled(key: ConfigKey, value: Value, factor: int) -> Value:
    if not isinstance(value, int) or isinstance(value, bool):
        return value
    if key.name == "retention.ms" and value < 0:
        return -1  # any negative number of hours or minutes means no limit
    return value * factor
