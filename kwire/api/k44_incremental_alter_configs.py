"""IncrementalAlterConfigs (key 44).

Versions: 0-1.

Behaviour: single configs are set or deleted, and lists extended or shortened; all others stay (KIP-339). Log levels
(BROKER_LOGGER, KIP-412) take effect at once and last until the broker stops.

Left out: loggers other than the root, and the levels TRACE and FATAL, which kwire does not use.
"""

from __future__ import annotations

from collections.abc import Sequence

from kwire.api.config_changes import Altered, ConfigRequest, alter_each, alter_loggers, check_each
from kwire.api.pacing import paced
from kwire.api.probes import NO_CONFIG, Probe
from kwire.broker.requests.context import Context
from kwire.metadata.commands.configs import IncrementalAlterConfigs
from kwire.metadata.decisions.alter_configs import ConfigChange, configs_after
from kwire.metadata.entities import Resource, ResourceType
from kwire.wire.messages import IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse

PROBE: Probe = {"resources": NO_CONFIG, "validate_only": True}


async def handle(context: Context, request: IncrementalAlterConfigsRequest) -> IncrementalAlterConfigsResponse:
    return await respond(context, await alter_each(context, request.resources, _how(context, request)))


async def check(context: Context, request: IncrementalAlterConfigsRequest) -> list[Altered | None]:
    """Do what a broker does before it forwards the request: see ``check_each``."""
    return await check_each(context, request.resources, _how(context, request))


async def respond(context: Context, results: Sequence[Altered]) -> IncrementalAlterConfigsResponse:
    """Make the response."""
    answer = IncrementalAlterConfigsResponse.AlterConfigsResourceResponse
    return IncrementalAlterConfigsResponse(
        throttle_time_ms=context.throttle_ms,
        responses=[answer(**one._asdict()) async for one in paced(context, results)],
    )


def _how(context: Context, request: IncrementalAlterConfigsRequest) -> ConfigRequest[list[ConfigChange]]:
    broker = context.broker

    def changes_of(
        resource: Resource, wanted: IncrementalAlterConfigsRequest.AlterConfigsResource
    ) -> list[ConfigChange] | None:
        changes = [ConfigChange(config.name, config.config_operation, config.value) for config in wanted.configs]
        if resource.type is ResourceType.BROKER_LOGGER:
            alter_loggers(context, resource.name, changes, validate_only=request.validate_only)
            return None
        return changes

    return ConfigRequest(
        changes_of,
        lambda resource, changes: (
            [change.name for change in changes],
            configs_after(broker.image, broker.configs, resource, changes),
        ),
        lambda resources: IncrementalAlterConfigs(resources, validate_only=request.validate_only),
    )
