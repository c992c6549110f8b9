"""The configs that clients see: those of this release of Apache Kafka, or of an older one (``kwire.as.release``).

Responsible for: the tables of one release. ``persona_configs.json`` has what differs in an older release, as its broker
answered (tools/record_personas.py). Must not depend on: values, images.

A config that the release lacks keeps its value, which kwire reads; clients do not see it, and topics and groups cannot
have it. One that later releases lack is listed with its default.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from kwire.metadata.configs.definitions import (
    KWIRE_PREFIX,
    OWN_DEFAULTS,
    ConfigKey,
    Keys,
    Synonym,
    broker_keys,
    dynamic_broker_names,
    group_keys,
    topic_keys,
)
from kwire.metadata.configs.values import ConfigType, Value, check_named
from kwire.personas import NONE

AS_RELEASE: Final = "kwire.as.release"
# One limit for timestamps before and after now, which KIP-937 split in two.
TIMESTAMP_DIFFERENCE: Final = "message.timestamp.difference.max.ms"
_TABLE: Final = Path(__file__).with_name("persona_configs.json")
# Formats before 0.11 have records of their own, which kwire does not write; a later name changes nothing.
_FORMATS: Final = "in 0.11.0,1.0,1.1,2.0,2.1,2.2,2.3,2.4,2.5,2.6,2.7,2.8,3.0,3.1,3.2,3.3,3.4,3.5,3.6,3.7,3.8,3.9"
_CHECKS_OF_ONLY: Final = {"message.format.version": _FORMATS, TIMESTAMP_DIFFERENCE: "range 0 *"}
# What a broker did before it had a config that limits or checks by default.
_BEFORE: Final = {
    "log.message.timestamp.after.max.ms": str(2**63 - 1),
    "transaction.partition.verification.enable": "false",
}
_NEWEST: Final[Mapping[str, Any]] = MappingProxyType({})


class ConfigTables(NamedTuple):
    """The configs of one release, as clients see them, and all that have a value.

    ``types`` are those that the release gives for configs of brokers, where they are not as kwire reads them.
    ``unsupported`` are the types of resources whose configs the release cannot describe: code and message.
    """

    broker: Keys
    topic: Keys
    group: Keys
    every_broker: Keys
    every_topic: Keys
    every_group: Keys
    dynamic: frozenset[str]
    types: Mapping[str, ConfigType]
    unsupported: Mapping[int, tuple[int, str]]


@cache
def config_tables(release: str) -> ConfigTables:
    """Make the tables of a release such as "3.9", or of this one (``NONE``)."""
    differences = _NEWEST if release == NONE else json.loads(_TABLE.read_text("utf-8")).get(release, _NEWEST)
    if not differences:
        tables = broker_keys(), topic_keys(), group_keys()
        return ConfigTables(*tables, *tables, dynamic_broker_names(), MappingProxyType({}), MappingProxyType({}))
    # Lists of paths and listeners became lists with the checks that drop what is repeated (KIP-1161).
    keeps_repeated = "log.dirs" in differences["broker"]["types"]
    broker = _of_release(broker_keys(), differences["broker"], keeps_repeated=keeps_repeated)
    topic = _of_release(topic_keys(), differences["topic"], keeps_repeated=keeps_repeated)
    group = _of_release(group_keys(), differences["group"], keeps_repeated=keeps_repeated)
    before = {name: broker_keys()[name]._replace(default_text=text) for name, text in _BEFORE.items()}
    return ConfigTables(
        broker,
        topic,
        group,
        MappingProxyType({**broker_keys(), **before, **broker}),
        MappingProxyType({**topic_keys(), **topic}),
        MappingProxyType({**group_keys(), **group}),
        frozenset(name for name, key in broker.items() if key.dynamic in {"cluster-wide", "per-broker"}),
        {name: ConfigType(number) for name, number in differences["broker"]["types"].items()},
        {int(kind): (code, message) for kind, (code, message) in differences["resources"].items()},
    )


def _of_release(newest: Keys, difference: Mapping[str, Any], *, keeps_repeated: bool) -> Keys:
    absent, read_only = frozenset(difference["absent"]), frozenset(difference["read_only"])
    keys = {}
    for name, newest_key in newest.items():
        if name in absent:
            continue
        key = _keeping_repeated(newest_key) if keeps_repeated and newest_key.distinct else newest_key
        if name in difference["defaults"]:
            key = _with_default(key, difference["defaults"][name])
        if name in difference["checks"]:
            key = key._replace(check=check_named(difference["checks"][name]))
        keys[name] = key._replace(dynamic="read-only") if name in read_only else key
    keys |= {name: _only_there(name, fields) for name, fields in difference["only"].items()}
    return MappingProxyType(keys)


def _keeping_repeated(key: ConfigKey) -> ConfigKey:
    """Let a list have an item twice, which its check does not see."""

    def check(name: str, value: Value) -> None:
        key.check(name, tuple(dict.fromkeys(value)) if isinstance(value, tuple) else value)

    return key._replace(distinct=False, check=check)


def _with_default(key: ConfigKey, text: str | None) -> ConfigKey:
    """Give a config with the default of the release, unless kwire has its own."""
    if key.name in OWN_DEFAULTS or key.name.startswith(KWIRE_PREFIX):
        return key._replace(kafka_default_text=text)
    return key._replace(default_text=text)


def _only_there(name: str, fields: Mapping[str, Any]) -> ConfigKey:
    """Make a config that later releases lack."""
    return ConfigKey(
        name=name,
        type=ConfigType(fields["type"]),
        default_text=fields["default"],
        required=False,
        importance="LOW",
        check=check_named(_CHECKS_OF_ONLY.get(name, "-")),
        distinct=False,
        synonyms=tuple(Synonym(synonym, 1) for synonym in fields["synonyms"]),
        dynamic="read-only" if fields["read_only"] else "cluster-wide",
        internal=False,
    )
