"""kafka-configs: show and change configs of topics, brokers, groups and client metrics, quotas, and SCRAM credentials.

Responsible for: the flags, checks and output of the official script. Must not depend on: the wire, and which keys exist
beyond quotas (the broker knows them).
"""

from __future__ import annotations

import re
import socket
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from kwire.cli.admin import configs as admin
from kwire.cli.admin.configs import ResourceType
from kwire.cli.admin.groups import list_groups
from kwire.cli.admin.topics import list_topics
from kwire.cli.connections.client import Cluster
from kwire.cli.connections.connection import ClientError, NotServed
from kwire.cli.java.exits import Failure
from kwire.cli.java.names import error_line, hash_order
from kwire.cli.java.options import BOOTSTRAP, COMMAND_CONFIG, ZOOKEEPER, Option, Parsed, parse
from kwire.cli.script_twins.common import bootstrap_of, open_cluster, read_config
from kwire.errors import KafkaError

NAME: Final = "kafka-configs"
ABOUT: Final = "Show and change configs of topics, brokers, groups and client metrics, quotas and SCRAM credentials."

_TYPES: Final = ("broker-loggers", "topics", "clients", "users", "brokers", "ips", "client-metrics", "groups")
_QUOTA_TYPES: Final = ("users", "clients", "ips")

# --topic NAME says --entity-type topics --entity-name NAME in one, and so on
_SHORT: Final = {
    "topic": "topics",
    "client": "clients",
    "user": "users",
    "broker": "brokers",
    "broker-logger": "broker-loggers",
    "ip": "ips",
    "client-metrics": "client-metrics",
    "group": "groups",
}
_SHORT_DEFAULTS: Final = {
    "client-defaults": "clients",
    "user-defaults": "users",
    "broker-defaults": "brokers",
    "ip-defaults": "ips",
}

OPTIONS: Final = (
    BOOTSTRAP,
    COMMAND_CONFIG,
    ZOOKEEPER,
    Option("bootstrap-controller", "Controllers to ask instead of brokers.", "HOST:PORT"),
    Option("describe", "Show configs."),
    Option("alter", "Change configs; see --add-config and --delete-config."),
    Option("entity-type", f"The type of the entity: {', '.join(_TYPES)}.", "TYPE", many=True),
    Option("entity-name", "Its name; a broker's is its id.", "NAME", many=True),
    Option(
        "entity-default", "The default for users, clients, brokers or ips without a config of their own.", many=True
    ),
    Option("all", "Show every config, not only those that were set."),
    Option("add-config", "Configs to set: k1=v1,k2=[v1,v2],k3=v3.", "CONFIGS"),
    Option("add-config-file", "Properties file with configs to set.", "FILE"),
    Option("delete-config", "Configs to reset: k1,k2.", "KEYS", many=True),
    *(Option(name, f"Short for --entity-type {kind} --entity-name NAME.", "NAME") for name, kind in _SHORT.items()),
    *(Option(name, f"Short for --entity-type {kind} --entity-default.") for name, kind in _SHORT_DEFAULTS.items()),
)

_RESOURCES: Final = {
    "topics": ResourceType.TOPIC,
    "brokers": ResourceType.BROKER,
    "broker-loggers": ResourceType.BROKER_LOGGER,
    "client-metrics": ResourceType.CLIENT_METRICS,
    "groups": ResourceType.GROUP,
}
_DYNAMIC: Final = {
    ResourceType.TOPIC: admin.Source.DYNAMIC_TOPIC_CONFIG,
    ResourceType.CLIENT_METRICS: admin.Source.DYNAMIC_CLIENT_METRICS_CONFIG,
    ResourceType.GROUP: admin.Source.DYNAMIC_GROUP_CONFIG,
}
_QUOTA_ENTITIES: Final = {"users": "user", "clients": "client-id", "ips": "ip"}
_QUOTA_KEYS: Final = {
    "users": ("consumer_byte_rate", "controller_mutation_rate", "producer_byte_rate", "request_percentage"),
    "clients": ("consumer_byte_rate", "controller_mutation_rate", "producer_byte_rate", "request_percentage"),
    "ips": ("connection_creation_rate",),
}
_SCRAM_ITERATIONS_MIN: Final = 4096


class Entity(NamedTuple):
    """One entity of the line; a name of "" is the default entity, and None means every one."""

    kind: str
    name: str | None

    @property
    def singular(self) -> str:
        return self.kind[:-1]


def main(argv: Sequence[str]) -> int:
    parsed = parse(NAME, ABOUT, OPTIONS, argv)
    entities = _check(parsed)
    try:
        with open_cluster(parsed, NAME, bootstrap_of(parsed) or parsed.value("bootstrap-controller")) as cluster:
            if parsed.has("alter"):
                _alter(parsed, cluster, entities)
            else:
                _describe(parsed, cluster, entities)
    except KafkaError as error:
        raise Failure(
            f"Error while executing config command with args '{' '.join(argv)}'\n"
            f"java.util.concurrent.ExecutionException: {error_line(error)}"
        ) from error
    except ClientError as error:
        raise Failure(f"Error while executing config command with args '{' '.join(argv)}'\n{error}") from error
    return 0


def _check(parsed: Parsed) -> list[Entity]:
    """Refuse invalid combinations, with the official messages; return the entities of the line."""
    if parsed.count(("describe", "alter")) != 1:
        parsed.refuse("Command must include exactly one action: --describe, --alter")
    entities = _entities(parsed)
    kinds = [entity.kind for entity in entities]
    if not (parsed.has("bootstrap-server") or parsed.has("bootstrap-controller") or parsed.has("zookeeper")):
        raise Failure("Either --bootstrap-server or --bootstrap-controller must be specified.")
    for kind in kinds:
        if kind not in _TYPES:
            raise Failure(
                f"Invalid entity type {kind}, the entity type must be one of {', '.join(_TYPES)} with a"
                " --bootstrap-server or --bootstrap-controller argument"
            )
    if not kinds:
        raise Failure("At least one entity type must be specified")
    twice = sorted({kind for kind in kinds if kinds.count(kind) > 1})
    if twice:
        raise Failure(f"Duplicate entity type(s) specified: {','.join(twice)}")
    if len(kinds) > 1 and sorted(kinds) != ["clients", "users"]:
        raise Failure("Only 'users' and 'clients' entity types may be specified together")
    for entity in entities:
        _check_name(entity)
    if parsed.has("alter"):
        _check_alter(parsed, entities)
    return entities


def _check_name(entity: Entity) -> None:
    if not entity.name:
        return
    if entity.kind in ("brokers", "broker-loggers") and not re.fullmatch(r"-?\d+", entity.name):
        raise Failure(f"The entity name for {entity.kind} must be a valid integer broker id, but it is: {entity.name}")
    if entity.kind == "ips":
        try:
            socket.getaddrinfo(entity.name, None)
        except OSError:
            raise Failure(
                f"The entity name for ips must be a valid IP or resolvable host, but it is: {entity.name}"
            ) from None


def _check_alter(parsed: Parsed, entities: Sequence[Entity]) -> None:
    for entity in entities:
        if entity.name is None or (entity.name == "" and entity.kind not in (*_QUOTA_TYPES, "brokers")):
            raise Failure(
                f"An entity name must be specified with --alter of {','.join(each.kind for each in entities)}"
            )
    if parsed.count(("add-config", "add-config-file")) > 1:
        raise Failure("Only one of --add-config or --add-config-file must be specified")
    if not parsed.count(("add-config", "add-config-file", "delete-config")):
        raise Failure(
            "At least one of --add-config, --add-config-file, or --delete-config must be specified with --alter"
        )


def _entities(parsed: Parsed) -> list[Entity]:
    """Pair types with names, in the order of the line; a default takes a name's place. Short forms come after."""
    kinds = parsed.values("entity-type")
    names: list[str] = [
        value if name == "entity-name" else ""
        for name, value in parsed.in_order()
        if name in ("entity-name", "entity-default")
    ]
    entities = [Entity(kind, names[index] if index < len(names) else None) for index, kind in enumerate(kinds)]
    entities += [Entity(kind, parsed.value(name)) for name, kind in _SHORT.items() if parsed.has(name)]
    entities += [Entity(kind, "") for name, kind in _SHORT_DEFAULTS.items() if parsed.has(name)]
    return entities


# ---- describe


def _describe(parsed: Parsed, cluster: Cluster, entities: Sequence[Entity]) -> None:
    if entities[0].kind in _QUOTA_TYPES:
        _describe_quotas(cluster, entities)
        return
    entity = entities[0]
    kind = _RESOURCES[entity.kind]
    if entity.name is not None and not _exists(cluster, kind, entity.name):
        print(f"The {entity.singular} '{entity.name}' doesn't exist and doesn't have dynamic config.")
        return
    names = [entity.name] if entity.name is not None else _all_names(cluster, kind)
    for name in names:
        if kind is ResourceType.BROKER and not name:
            print("Default configs for brokers in the cluster are:")
        else:
            print(f"{'All' if parsed.has('all') else 'Dynamic'} configs for {entity.singular} {name} are:")
        for entry in admin.describe_configs(cluster, kind, name):
            if parsed.has("all") or _is_set(kind, name, entry):
                print(_entry_line(entry))


def _exists(cluster: Cluster, kind: ResourceType, name: str) -> bool:
    if kind is ResourceType.TOPIC:
        return name in list_topics(cluster)
    if kind in (ResourceType.BROKER, ResourceType.BROKER_LOGGER):
        return not name or int(name) in [node.id for node in cluster.nodes()]
    try:
        if name in admin.list_config_resources(cluster, kind):
            return True
    except NotServed:
        return True  # brokers before Kafka 4.1 do not tell groups with configs
    return kind is ResourceType.GROUP and name in [group.id for group in list_groups(cluster)]


def _all_names(cluster: Cluster, kind: ResourceType) -> list[str]:
    if kind is ResourceType.TOPIC:
        return hash_order(list_topics(cluster))
    if kind is ResourceType.BROKER:
        return [*(str(node.id) for node in cluster.nodes()), ""]
    if kind is ResourceType.BROKER_LOGGER:
        return [str(node.id) for node in cluster.nodes()]
    names = admin.list_config_resources(cluster, kind)
    if kind is ResourceType.GROUP:
        names = sorted({*names, *(group.id for group in list_groups(cluster))})
    return hash_order(names)


def _is_set(kind: ResourceType, name: str, entry: admin.Entry) -> bool:
    if kind is ResourceType.BROKER_LOGGER:
        return True
    if kind is ResourceType.BROKER:
        wanted = admin.Source.DYNAMIC_BROKER_CONFIG if name else admin.Source.DYNAMIC_DEFAULT_BROKER_CONFIG
        return entry.source is wanted
    return entry.source is _DYNAMIC[kind]


def _entry_line(entry: admin.Entry) -> str:
    synonyms = ", ".join(f"{source.name}:{name}={_value(value)}" for source, name, value in entry.synonyms)
    return f"  {entry.name}={_value(entry.value)} sensitive={str(entry.sensitive).lower()} synonyms={{{synonyms}}}"


def _value(value: str | None) -> str:
    return "null" if value is None else value


def _describe_quotas(cluster: Cluster, entities: Sequence[Entity]) -> None:
    wanted = [
        (
            _QUOTA_ENTITIES[entity.kind],
            admin.ANY if entity.name is None else admin.DEFAULT if entity.name == "" else admin.EXACT,
            entity.name or None,
        )
        for entity in entities
    ]
    for found, values in admin.describe_quotas(cluster, wanted, strict=True):
        settings = ", ".join(f"{key}={_double(values[key])}" for key in hash_order(values, capacity=1))
        print(f"Quota configs for {_quota_entity(found)} are {settings}")
    users = [entity for entity in entities if entity.kind == "users"]
    if len(entities) == 1 and users and users[0].name != "":
        _describe_scram(cluster, None if users[0].name is None else [users[0].name])


def _describe_scram(cluster: Cluster, users: Sequence[str] | None) -> None:
    try:
        described = admin.describe_scram(cluster, users)
    except NotServed:
        return
    for user, found in described.items():
        if isinstance(found, KafkaError):
            continue  # asked by name, and has none
        settings = ", ".join(f"{mechanism}=iterations={iterations}" for mechanism, iterations in found)
        print(f"SCRAM credential configs for user-principal '{user}' are {settings}")


def _quota_entity(entity: Mapping[str, str | None]) -> str:
    shown = []
    for kind, word in (("user", "user-principal"), ("client-id", "client-id"), ("ip", "ip")):
        if kind in entity:
            name = entity[kind]
            shown.append(f"the default {word}" if name is None else f"{word} '{name}'")
    return ", ".join(shown)


def _double(number: float) -> str:
    from kwire.cli.records.lines import java_number

    return java_number(number, double=True)


# ---- alter


def _alter(parsed: Parsed, cluster: Cluster, entities: Sequence[Entity]) -> None:
    put = _to_add(parsed)
    delete = [key.strip() for text in parsed.values("delete-config") for key in text.split(",")]
    entity = entities[0]
    if entity.kind in _QUOTA_TYPES:
        _alter_quotas(cluster, entities, put, delete)
    else:
        assert entity.name is not None
        admin.alter_configs(cluster, _RESOURCES[entity.kind], entity.name, put=put, delete=delete)
    if entity.name:
        print(f"Completed updating config for {entity.singular} {entity.name}.")
    else:
        print(f"Completed updating default config for {entity.kind} in the cluster.")


def _alter_quotas(cluster: Cluster, entities: Sequence[Entity], put: Mapping[str, str], delete: Sequence[str]) -> None:
    kinds = [entity.kind for entity in entities]
    quota_keys = {key for kind in kinds for key in _QUOTA_KEYS[kind]}
    mechanisms = admin.SCRAM_MECHANISMS if kinds == ["users"] else {}
    for keys, word in ((put, "added"), (delete, "deleted")):
        unknown = sorted(key for key in keys if key not in quota_keys and key not in mechanisms)
        if unknown:
            what = "quota and SCRAM credential" if mechanisms else "quota"
            raise Failure(
                f"Only {what} configs can be {word} for '{','.join(kinds)}' using --bootstrap-server."
                f" Unexpected config names: {', '.join(unknown)}"
            )
    credentials = {key for key in (*put, *delete) if key in mechanisms}
    if not credentials:
        entity = {_QUOTA_ENTITIES[each.kind]: each.name or None for each in entities}
        present = _quotas_of(cluster, entity) if delete else {}
        absent = [key for key in delete if key not in present]
        if absent:
            raise Failure(f"Invalid config(s): {','.join(absent)}")
        admin.alter_quotas(cluster, entity, put={key: _quota(key, value) for key, value in put.items()}, delete=delete)
        return
    if len(credentials) != len({*put, *delete}):
        raise Failure(
            "Cannot alter both quota and SCRAM credential configs simultaneously for 'users' using --bootstrap-server."
        )
    if not entities[0].name:
        raise Failure("The use of --entity-default or --user-defaults is not allowed with User SCRAM Credentials")
    admin.alter_scram(
        cluster, entities[0].name, put={key: _credential(key, value) for key, value in put.items()}, delete=delete
    )


def _quotas_of(cluster: Cluster, entity: admin.Entity) -> Mapping[str, float]:
    """The quotas that an entity has of its own."""
    wanted = [(kind, admin.DEFAULT if name is None else admin.EXACT, name) for kind, name in entity.items()]
    return next((values for _, values in admin.describe_quotas(cluster, wanted, strict=True)), {})


def _quota(key: str, value: str) -> float:
    try:
        return float(value)
    except ValueError:
        raise Failure(f"Cannot parse quota configuration value for {key}: {value}") from None


def _credential(mechanism: str, value: str) -> tuple[int, str]:
    """Read iterations=8192,password=secret; the first is optional."""
    found = re.fullmatch(r"(?:iterations=(-?\d*),)?password=(.*)", value)
    if found is None:
        raise Failure(f"Invalid credential property {mechanism.replace('-', '_')}={value}")
    iterations = int(found[1] or admin.SCRAM_ITERATIONS_DEFAULT)
    if iterations == -1:
        iterations = admin.SCRAM_ITERATIONS_DEFAULT
    if iterations < _SCRAM_ITERATIONS_MIN:
        raise Failure(
            f"Iterations {iterations} is less than the minimum {_SCRAM_ITERATIONS_MIN} required for {mechanism}"
        )
    return iterations, found[2]


def _to_add(parsed: Parsed) -> dict[str, str]:
    path = parsed.value("add-config-file")
    if path is not None:
        return read_config(path)
    text = parsed.value("add-config")
    if text is None:
        return {}
    configs = {}
    # A comma separates, unless it is in square brackets, which group a value with commas.
    for part in re.split(r",(?=[^\]]*(?:\[|$))", text):
        key, found, value = part.partition("=")
        if not found:
            raise Failure(
                "requirement failed: Invalid entity config: all configs to be added must be in the format "
                '"key=val" or  "key=[val1,val2]" to group values which contain commas.'
            )
        configs[key.strip()] = re.sub(r"\[?\]?", "", value.strip()) if value.strip().startswith("[") else value.strip()
    return configs
