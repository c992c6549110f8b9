"""What AlterConfigs and IncrementalAlterConfigs share.

Responsible for: the checks that Kafka's broker makes before its controller sees a change, and log levels. Must not
depend on: which of the two requests is handled.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

from kwire.api.pacing import paced, submit_in_slices
from kwire.broker import logs
from kwire.broker.requests.context import Context
from kwire.errors import Code, KafkaError
from kwire.metadata.commands import Command, ControllerState
from kwire.metadata.configs.values import whole_number
from kwire.metadata.decisions.alter_configs import ConfigChange
from kwire.metadata.decisions.alter_configs import Operation as ConfigOperation
from kwire.metadata.decisions.decision import Outcome, no_charge
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


@dataclass(frozen=True, slots=True)
class ConfigRequest(Generic[T]):
    """How one of the two requests changes a resource.

    ``changes_of`` returns what to change for the controller, or None when the broker itself has changed log levels; it
    may raise KafkaError. ``configs_of`` gives the names that change, and all configs as the change would leave them.
    ``command`` makes the controller's command from the changes.
    """

    changes_of: Callable[[Resource, Any], T | None]
    configs_of: Callable[[Resource, T], tuple[Iterable[str], Mapping[str, str]]]
    command: Callable[[Sequence[tuple[Resource, T]]], Command[Outcome]]


async def alter_each(context: Context, resources: Sequence[Any], how: ConfigRequest[T]) -> list[Altered]:
    """Change each resource of a request; a resource that occurs twice is refused."""
    counts = _counts(resources)
    at_controller = _is_at_controller(context)
    outcomes: list[object] = []
    submitted: list[tuple[Resource, T]] = []
    places: list[int] = []
    async for place, wanted in paced(context, enumerate(resources)):
        outcomes.append(None)
        try:
            resource = _once(wanted, counts)
            if resource.type is not ResourceType.BROKER_LOGGER:
                authorize_configs(context, Operation.ALTER_CONFIGS, wanted.resource_type, wanted.resource_name)
            changes = how.changes_of(resource, wanted)
            if changes is not None and resource.type is ResourceType.BROKER and not at_controller:
                _check_own_broker(context, resource)
                await _check_reconfiguration(context, resource, *how.configs_of(resource, changes))
        except KafkaError as refusal:
            outcomes[place] = refusal
            continue
        if changes is not None:
            submitted.append((resource, changes))
            places.append(place)
    size = lambda item: 1 + len(item[1]) // _CHANGES_OF_ONE  # noqa: E731 (one use)
    results = await submit_in_slices(context, submitted, how.command, size=size)
    for place, result in zip(places, results, strict=True):
        outcomes[place] = result
    pairs = zip(resources, outcomes, strict=True)
    return [altered(wanted, outcome) async for wanted, outcome in paced(context, pairs)]


async def check_each(context: Context, resources: Sequence[Any], how: ConfigRequest[T]) -> list[Altered | None]:
    """Do what a broker does before its controller, another process, gets the request.

    That is the check of its own configs, and of those of all brokers, and the change of log levels. The result of a
    resource that the controller is to change is None; the controller authorizes it.
    """
    counts = _counts(resources)
    results: list[Altered | None] = []
    async for wanted in paced(context, resources):
        try:
            resource = _once(wanted, counts)
            changes = how.changes_of(resource, wanted)
            if changes is not None and resource.type is ResourceType.BROKER:
                _check_own_broker(context, resource)
                _decide_here(context, how.command([(resource, changes)]))
                await _check_reconfiguration(context, resource, *how.configs_of(resource, changes))
            results.append(None if changes is not None else altered(wanted, None))
        except KafkaError as refusal:
            results.append(altered(wanted, refusal))
    return results


def _counts(resources: Sequence[Any]) -> Counter[tuple[int, str]]:
    return Counter([(wanted.resource_type, wanted.resource_name) for wanted in resources])


def _once(wanted: Any, counts: Mapping[tuple[int, str], int]) -> Resource:
    if counts[wanted.resource_type, wanted.resource_name] > 1:
        raise KafkaError(Code.INVALID_REQUEST, "Each resource must appear at most once.")
    return _resource(wanted.resource_type, wanted.resource_name)


def _is_at_controller(context: Context) -> bool:
    """Tell whether the request came in by a controller's listener, where the configs of any broker are changed."""
    names = context.broker.configs.broker["controller.listener.names"]
    return context.broker.cluster_controller is not None and context.endpoint.name in names


def _check_own_broker(context: Context, resource: Resource) -> None:
    """Refuse the configs of another broker: only that one can check them. Raises KafkaError."""
    node_id = context.broker.node_id
    if resource.name and _node_id(resource.name) != node_id:
        message = f"Unexpected broker id, expected {node_id}, but received {resource.name}"
        raise KafkaError(Code.INVALID_REQUEST, message)


def _decide_here(context: Context, command: Command[Outcome]) -> None:
    """Check a command against this broker's image. Raises KafkaError if the controller would refuse it."""
    broker = context.broker
    state = ControllerState(
        image=broker.image, configs=broker.configs, node_id=broker.node_id, kraft_version=0, uuid=broker.clock.uuid
    )
    (result,) = command.decide(state, no_charge).results
    if isinstance(result, KafkaError):
        raise result


async def _check_reconfiguration(
    context: Context, resource: Resource, names: Iterable[str], configs: Mapping[str, str]
) -> None:
    """Run the broker's own checks of a change, such as that of a new certificate. Raises KafkaError."""
    effective = context.broker.configs
    await context.broker.reconfiguration.check(names, lambda: effective.with_dynamic_configs(resource.name, configs))


def altered(wanted: Any, outcome: object) -> Altered:
    """Return the result of a resource whose change was refused with a KafkaError, or made."""
    code, message = (outcome.code, outcome.message) if isinstance(outcome, KafkaError) else (Code.NONE, None)
    return Altered(wanted.resource_type, wanted.resource_name, code, message)


def alter_loggers(context: Context, name: str, changes: Sequence[ConfigChange], *, validate_only: bool) -> None:
    """Set log levels, which are no metadata and are lost at the next start, if the client may. Raises KafkaError."""
    authorize_configs(context, Operation.ALTER_CONFIGS, ResourceType.BROKER_LOGGER, name)
    node_id = context.broker.node_id
    if _node_id(name) != node_id:
        raise KafkaError(Code.INVALID_REQUEST, f"Unexpected node id. Expected {node_id}, but received {name}")
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


def _node_id(name: str) -> int:
    try:
        return whole_number(name)
    except ValueError:
        raise KafkaError(Code.INVALID_REQUEST, f"Node id must be an integer, but it is: {name}") from None
