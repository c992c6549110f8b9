"""Commands on configs: replace all configs of a resource (AlterConfigs), or change single entries.

Responsible for: the result of each operation, the order of the checks, and the records. Must not depend on: request
classes, log levels (BROKER_LOGGER is no metadata).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import NamedTuple

from kwire.errors import Code, KafkaError
from kwire.metadata.config_rules import (
    check_broker_configs,
    check_client_metrics_configs,
    check_group_configs,
    check_topic_configs,
    check_topic_name,
)
from kwire.metadata.configs.definitions import Keys, client_metrics_keys
from kwire.metadata.configs.effective import EffectiveConfigs
from kwire.metadata.configs.tables import ConfigTables
from kwire.metadata.configs.values import ConfigType, whole_number
from kwire.metadata.entities import Resource, ResourceType
from kwire.metadata.features import CORDONED_LOG_DIRS
from kwire.metadata.image import MetadataImage
from kwire.wire.message import Message
from kwire.wire.messages import ConfigRecord

_MIN_ISR = "min.insync.replicas"
_CORDONED = "cordoned.log.dirs"


class Operation(IntEnum):
    """What to do with one entry, as IncrementalAlterConfigs numbers it (KIP-339)."""

    SET = 0
    DELETE = 1
    APPEND = 2
    SUBTRACT = 3


class ConfigChange(NamedTuple):
    """One entry to change; ``operation`` as the request numbers it."""

    name: str
    operation: int
    value: str | None


def alter_configs(
    image: MetadataImage, effective: EffectiveConfigs, resource: Resource, configs: Sequence[tuple[str, str | None]]
) -> list[Message]:
    """Replace all configs of a resource by ``configs``. Raises KafkaError."""
    changes = [ConfigChange(name, Operation.SET, value) for name, value in configs]
    _check_entries(changes)
    if resource.type in effective.tables.unsupported:
        raise _unknown_type(resource)
    wanted = {change.name: change.value or "" for change in changes}
    return _change(image, effective, resource, wanted)


def alter_configs_incrementally(
    image: MetadataImage, effective: EffectiveConfigs, resource: Resource, changes: Sequence[ConfigChange]
) -> list[Message]:
    """Change single entries of a resource's configs. Raises KafkaError."""
    _check_entries(changes)
    if resource.type is ResourceType.UNKNOWN or resource.type in effective.tables.unsupported:
        raise _unknown_type(resource)
    if resource.type is ResourceType.BROKER and resource.name:
        _check_node_id(image, resource.name, effective.node_id)
    wanted = dict(image.config(resource.type, resource.name))
    for change in changes:
        _change_entry(resource, wanted, change, effective.tables)
    return _change(image, effective, resource, wanted, touched={change.name for change in changes})


def configs_after(
    image: MetadataImage, effective: EffectiveConfigs, resource: Resource, changes: Sequence[ConfigChange]
) -> dict[str, str]:
    """Return all configs of a resource as incremental changes would leave them. Raises KafkaError."""
    _check_entries(changes)
    wanted = dict(image.config(resource.type, resource.name))
    for change in changes:
        _change_entry(resource, wanted, change, effective.tables)
    return wanted


def _check_entries(changes: Sequence[ConfigChange]) -> None:
    missing = [change.name for change in changes if change.value is None and change.operation != Operation.DELETE]
    if missing:
        raise KafkaError(Code.INVALID_REQUEST, f"Null value not supported for : {','.join(missing)}")
    if len({change.name for change in changes}) != len(changes):
        raise KafkaError(Code.INVALID_REQUEST, "Error due to duplicate config keys")
    for change in changes:
        if change.operation not in Operation.__members__.values():
            raise KafkaError(Code.INVALID_REQUEST, f"Unknown operation {change.operation} for {change.name}")


def _change_entry(resource: Resource, wanted: dict[str, str], change: ConfigChange, tables: ConfigTables) -> None:
    if change.operation == Operation.DELETE:
        wanted.pop(change.name, None)
        return
    assert change.value is not None
    if change.operation == Operation.SET:
        wanted[change.name] = change.value
        return
    # Kafka's controller has no types for the configs of client metrics: none of them counts as a list.
    key = None if resource.type is ResourceType.CLIENT_METRICS else _keys_of(resource.type, tables).get(change.name)
    if key is None or key.type is not ConfigType.LIST:
        raise KafkaError(Code.INVALID_CONFIG, _no_list(resource.type, change))
    # A config that is not set has Kafka's default here, not that of this broker.
    present = [item for item in wanted.get(change.name, key.default_text or "").split(",") if item]
    given = _split(change.value)
    if change.operation == Operation.APPEND:
        held = set(present)
        present += [item for item in dict.fromkeys(given) if item not in held]
    else:
        removed = set(given)
        present = [item for item in present if item not in removed]
    wanted[change.name] = ",".join(present)


def _no_list(resource_type: ResourceType, change: ConfigChange) -> str:
    operation = Operation(change.operation).name
    if resource_type is ResourceType.BROKER:
        return f"Config value {operation.lower()} is not allowed for config key: {change.name}"
    return f"Can't {operation} to key {change.name} because its type is not LIST."


def _change(
    image: MetadataImage,
    effective: EffectiveConfigs,
    resource: Resource,
    wanted: Mapping[str, str],
    touched: set[str] | None = None,
) -> list[Message]:
    present = image.config(resource.type, resource.name)
    _check(image, effective, resource, wanted, changed=_changed(present, wanted, touched))
    names = [*wanted, *(name for name in present if name not in wanted)]
    # Those of a broker are written even if they stay as they are: what they name, a key store, may have changed.
    again = _changed(present, wanted, touched) & set(wanted) if resource.type is ResourceType.BROKER else set()
    return [
        ConfigRecord(resource_type=resource.type, resource_name=resource.name, name=name, value=wanted.get(name))
        for name in names
        if wanted.get(name) != present.get(name) or name in again
    ]


def _changed(present: Mapping[str, str], wanted: Mapping[str, str], touched: set[str] | None) -> set[str]:
    if touched is not None:
        return touched
    return set(wanted) | set(present)


def _check(
    image: MetadataImage,
    effective: EffectiveConfigs,
    resource: Resource,
    wanted: Mapping[str, str],
    *,
    changed: set[str],
) -> None:
    match resource.type:
        case ResourceType.TOPIC:
            if not resource.name:
                raise KafkaError(Code.INVALID_REQUEST, "Default topic resources are not allowed.")
            check_topic_name(resource.name)
            check_topic_configs(effective, wanted)
            if resource.name not in image.topics:
                message = f"The topic '{resource.name}' does not exist."
                raise KafkaError(Code.UNKNOWN_TOPIC_OR_PARTITION, message)
        case ResourceType.BROKER:
            _check_broker(image, effective, resource.name, wanted, changed=changed)
        case ResourceType.CLIENT_METRICS:
            if not resource.name:
                raise KafkaError(Code.INVALID_REQUEST, "Subscription name can't be empty")
            check_client_metrics_configs(wanted)
        case ResourceType.GROUP:
            if not resource.name:
                raise KafkaError(Code.INVALID_REQUEST, "Default group resources are not allowed.")
            check_group_configs(effective, wanted)
        case _:
            raise _unknown_type(resource)


def _unknown_type(resource: Resource) -> KafkaError:
    return KafkaError(Code.INVALID_REQUEST, f"Unknown resource type {int(resource.type)}")


def _check_broker(
    image: MetadataImage, effective: EffectiveConfigs, name: str, wanted: Mapping[str, str], *, changed: set[str]
) -> None:
    if name:
        _check_node_id(image, name, effective.node_id)
    is_other = bool(name) and whole_number(name) != effective.node_id
    check_broker_configs(effective, wanted, changed=changed, for_all=not name, of_other=is_other)
    if _CORDONED in changed and image.metadata_version < CORDONED_LOG_DIRS:
        message = f"The {_CORDONED} configuration value cannot be set because it requires metadata.version >= 4.3-IV0"
        raise KafkaError(Code.INVALID_CONFIG, message)
    if image.elr_enabled and _MIN_ISR in changed:
        # The choice of leaders depends on it (KIP-966), so it is one number for the cluster and always set.
        if name:
            message = f"Broker-level {_MIN_ISR} cannot be altered while ELR is enabled."
            raise KafkaError(Code.INVALID_CONFIG, message)
        if _MIN_ISR not in wanted:
            message = f"Cluster-level {_MIN_ISR} cannot be removed while ELR is enabled."
            raise KafkaError(Code.INVALID_CONFIG, message)


def _check_node_id(image: MetadataImage, name: str, node_id: int) -> None:
    """Refuse a name that is neither this node's id nor that of a broker."""
    try:
        given_id = whole_number(name)
    except ValueError:
        raise KafkaError(Code.INVALID_REQUEST, f"Node id must be an integer, but it is: {name}") from None
    if given_id != node_id and given_id not in image.brokers:
        raise KafkaError(Code.INVALID_REQUEST, f"Unexpected broker id, expected {node_id}, but received {name}")


def _keys_of(resource_type: ResourceType, tables: ConfigTables) -> Keys:
    match resource_type:
        case ResourceType.TOPIC:
            return tables.topic
        case ResourceType.BROKER:
            return tables.broker
        case ResourceType.GROUP:
            return tables.group
        case _:
            return client_metrics_keys()


def _split(text: str) -> list[str]:
    """Split as Java's String.split: blanks and an empty text stay, empty items at the end do not."""
    items = text.split(",")
    while len(items) > 1 and not items[-1]:
        items.pop()
    return items if items != [""] or not text else []
