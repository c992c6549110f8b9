"""What AlterConfigs and IncrementalAlterConfigs share.

Responsible for: the checks that Kafka's broker makes before its controller sees a change, and log levels. Must not
depend on: which of the two requests is handled.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from kwire.api.pacing import paced, submit_in_slices
from kwire.broker import logs
from kwire.broker.requests.context import Context
from kwire.errors import Code, KafkaError
from kwire.metadata.alter_configs import ConfigChange
from kwire.metadata.alter_configs import Operation as ConfigOperation
from kwire.metadata.commands import Command
from kwire.metadata.config_values import whole_number
from kwire.metadata.decision import Outcome
from kwire.metadata.entities import Resource, ResourceType
from kwire.security.operations import Operation
from kwire.security.operations import ResourceType as AclResourceType

T = TypeVar("T", bound=Sequence[Any])
# A resource with more changes than this counts as several resources.
_CHANGES_OF_ONE = 16


class Altered(NamedTuple):
    """The result of one resource, as both responses have it."""

    resource_type: int
    resource_name: str
    error_code: int
    error_message: str | None


def authorize_configs(context: Context, operation: Operation, resource_type: int, name: str) -> None:
    """Raise KafkaError if the client may not do this to the configs of a resource."""
    match resource_type:
        case ResourceType.TOPIC:
            context.authorize(operation, AclResourceType.TOPIC, name)
        case ResourceType.GROUP:
            context.authorize(operation, AclResourceType.GROUP, name)
        case ResourceType.BROKER | ResourceType.BROKER_LOGGER if operation is Operation.ALTER_CONFIGS:
            # As in Apache Kafka, this refusal has no text.
            if not context.may_cluster(operation):
                raise KafkaError(Code.CLUSTER_AUTHORIZATION_FAILED)
        case ResourceType.BROKER | ResourceType.BROKER_LOGGER | ResourceType.CLIENT_METRICS:
            context.authorize_cluster(operation)
        case _:
            pass  # refused below as unknown


async def alter_each(
    context: Context,
    resources: Sequence[Any],
    changes_of: Callable[[Resource, Any], T | None],
    configs_of: Callable[[Resource, T], tuple[Iterable[str], Mapping[str, str]]],
    command: Callable[[Sequence[tuple[Resource, T]]], Command[Outcome]],
) -> list[Altered]:
    """Change each resource of a request; a resource that occurs twice is refused.

    ``changes_of`` returns what to change for the controller, or None when the broker itself has made the change; it may
    raise KafkaError. ``configs_of`` gives the names that change, and all configs as the change
    would leave them. ``command`` makes the
    controller's command from the changes.
    """
    counts = Counter([(wanted.resource_type, wanted.resource_name) for wanted in resources])
    outcomes: list[object] = []
    submitted: list[tuple[Resource, T]] = []
    places: list[int] = []
    async for place, wanted in paced(context, enumerate(resources)):
        outcomes.append(None)
        try:
            if counts[wanted.resource_type, wanted.resource_name] > 1:
                raise KafkaError(Code.INVALID_REQUEST, "Each resource must appear at most once.")
            resource = _resource(wanted.resource_type, wanted.resource_name)
            authorize_configs(context, Operation.ALTER_CONFIGS, wanted.resource_type, wanted.resource_name)
            changes = changes_of(resource, wanted)
            if changes is not None and resource.type is ResourceType.BROKER:
                await _check_reconfiguration(context, resource, *configs_of(resource, changes))
        except KafkaError as refusal:
            outcomes[place] = refusal
            continue
        if changes is not None:
            submitted.append((resource, changes))
            places.append(place)
    results = await submit_in_slices(context, submitted, command, size=lambda item: 1 + len(item[1]) // _CHANGES_OF_ONE)
    for place, result in zip(places, results, strict=True):
        outcomes[place] = result
    pairs = zip(resources, outcomes, strict=True)
    return [_altered(wanted, outcome) async for wanted, outcome in paced(context, pairs)]


async def _check_reconfiguration(
    context: Context, resource: Resource, names: Iterable[str], configs: Mapping[str, str]
) -> None:
    """Run the broker's own checks of a change, such as that of a new certificate. Raises KafkaError."""
    effective = context.broker.configs
    await context.broker.reconfiguration.check(names, lambda: effective.with_dynamic_configs(resource.name, configs))


def _altered(wanted: Any, outcome: object) -> Altered:
    code, message = (outcome.code, outcome.message) if isinstance(outcome, KafkaError) else (Code.NONE, None)
    return Altered(wanted.resource_type, wanted.resource_name, code, message)


def alter_loggers(node_id: int, name: str, changes: Sequence[ConfigChange], *, validate_only: bool) -> None:
    """Set log levels, which are not metadata and last until the broker stops. Raises KafkaError."""
    _check_node(node_id, name)
    for change in changes:
        if change.operation in {ConfigOperation.APPEND, ConfigOperation.SUBTRACT}:
            operation = ConfigOperation(change.operation).name
            message = f"{operation} operation is not allowed for the BROKER_LOGGER resource"
            raise KafkaError(Code.INVALID_REQUEST, message)
        if change.name != logs.ROOT:
            raise KafkaError(Code.INVALID_CONFIG, f"Logger {change.name} does not exist!")
        if change.operation == ConfigOperation.DELETE:
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
