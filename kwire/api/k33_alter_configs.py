"""AlterConfigs (key 33).

Versions: 0-2.

Behaviour: the configs of the request replace all configs of the resource; the others have their defaults again.
Clients use IncrementalAlterConfigs (key 44) instead since KIP-339.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from kwire.api.config_changes import Altered, ConfigRequest, alter_each, check_each
from kwire.api.pacing import paced
from kwire.api.probes import NO_CONFIG, Probe
from kwire.broker.requests.context import Context
from kwire.errors import Code, KafkaError
from kwire.metadata.commands.configs import AlterConfigs
from kwire.metadata.entities import Resource, ResourceType
from kwire.wire.messages import AlterConfigsRequest, AlterConfigsResponse

PROBE: Probe = {"resources": NO_CONFIG, "validate_only": True}


async def handle(context: Context, request: AlterConfigsRequest) -> AlterConfigsResponse:
    return await respond(context, await alter_each(context, request.resources, _how(context, request)))


async def check(context: Context, request: AlterConfigsRequest) -> list[Altered | None]:
    """Do what a broker does before it forwards the request: see ``check_each``."""
    return await check_each(context, request.resources, _how(context, request))


async def respond(context: Context, results: Sequence[Altered]) -> AlterConfigsResponse:
    """Make the response."""
    answer = AlterConfigsResponse.AlterConfigsResourceResponse
    return AlterConfigsResponse(
        throttle_time_ms=context.throttle_ms,
        responses=[answer(**one._asdict()) async for one in paced(context, results)],
    )


def _how(context: Context, request: AlterConfigsRequest) -> ConfigRequest[list[tuple[str, str | None]]]:
    def changes_of(
        resource: Resource, wanted: AlterConfigsRequest.AlterConfigsResource
    ) -> list[tuple[str, str | None]] | None:
        if resource.type is ResourceType.BROKER_LOGGER:
            raise KafkaError(Code.INVALID_REQUEST, f"Unknown resource type {wanted.resource_type}")
        return [(config.name, config.value) for config in wanted.configs]

    return ConfigRequest(
        changes_of,
        lambda resource, configs: _after(context.broker.image.config(resource.type, resource.name), configs),
        lambda resources: AlterConfigs(resources, validate_only=request.validate_only),
    )


def _after(
    present: Mapping[str, str], configs: Sequence[tuple[str, str | None]]
) -> tuple[Iterable[str], Mapping[str, str]]:
    """Return the names that change, and all configs afterwards."""
    wanted = {name: value or "" for name, value in configs}
    return {*present, *wanted}, wanted
