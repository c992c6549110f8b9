"""What AlterConfigs and IncrementalAlterConfigs share: one resource after the other, each by itself.

Owns: the order of checks that Kafka's broker makes before its controller sees a change. May not know: which of the two
requests asks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from kwire.broker import logs
from kwire.broker.broker import Broker
from kwire.errors import Code, KafkaError, StorageFailure
from kwire.metadata.config_values import whole_number
from kwire.metadata.controller import ConfigChange, Operation
from kwire.metadata.entities import Resource, ResourceType
from kwire.wire.message import Message


class Altered(NamedTuple):
    """What became of one resource, as both responses tell it."""

    resource_type: int
    resource_name: str
    error_code: int
    error_message: str | None


def alter_each(
    broker: Broker, resources: Sequence[Any], *, validate_only: bool, decide: Callable[[Resource, Any], list[Message]]
) -> list[Altered]:
    """Carry out ``decide`` for each resource of a request; a resource that stands twice is refused."""
    counts = Counter((wanted.resource_type, wanted.resource_name) for wanted in resources)
    altered = []
    for wanted in resources:
        code, message = Code.NONE, None
        try:
            if counts[wanted.resource_type, wanted.resource_name] > 1:
                raise KafkaError(Code.INVALID_REQUEST, "Each resource must appear at most once.")
            records = decide(_resource(wanted.resource_type, wanted.resource_name), wanted)
            if records and not validate_only:
                broker.change_metadata(records)
        except KafkaError as refusal:
            code, message = refusal.code, refusal.message
        except StorageFailure as failure:
            broker.storage_failed(failure)
            code, message = Code.KAFKA_STORAGE_ERROR, str(failure)
        altered.append(Altered(wanted.resource_type, wanted.resource_name, code, message))
    return altered


def alter_loggers(node_id: int, name: str, changes: Sequence[ConfigChange], *, validate_only: bool) -> None:
    """Set log levels, which are no metadata and are forgotten at the next start. Raises KafkaError."""
    _check_node(node_id, name)
    for change in changes:
        if change.operation in {Operation.APPEND, Operation.SUBTRACT}:
            operation = Operation(change.operation).name
            message = f"{operation} operation is not allowed for the BROKER_LOGGER resource"
            raise KafkaError(Code.INVALID_REQUEST, message)
        if change.name != logs.ROOT:
            raise KafkaError(Code.INVALID_CONFIG, f"Logger {change.name} does not exist!")
        if change.operation == Operation.DELETE:
            message = "Removing the log level of the root logger is not allowed"
            raise KafkaError(Code.INVALID_REQUEST, message)
        if change.value not in logs.LEVEL_NAMES:
            message = (
                f"Cannot set the log level of {change.name} to {change.value} as it is not a supported log level. "
                f"Valid log levels are {', '.join(sorted(logs.LEVEL_NAMES))}"
            )
            raise KafkaError(Code.INVALID_CONFIG, message)
    for change in changes:
        if not validate_only and change.value is not None:
            logs.set_level(change.value)


def _resource(resource_type: int, name: str) -> Resource:
    try:
        return Resource(ResourceType(resource_type), name)
    except ValueError:
        raise KafkaError(Code.INVALID_REQUEST, f"Unknown resource type {resource_type}") from None


def _check_node(node_id: int, name: str) -> None:
    try:
        asked = whole_number(name)
    except ValueError:
        raise KafkaError(Code.INVALID_REQUEST, f"Node id must be an integer, but it is: {name}") from None
    if asked != node_id:
        raise KafkaError(Code.INVALID_REQUEST, f"Unexpected node id. Expected {node_id}, but received {name}")
