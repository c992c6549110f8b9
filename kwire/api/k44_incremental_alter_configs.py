"""IncrementalAlterConfigs (key 44).

Versions: 0-1.

Behaviour: single entries are set, deleted, or for lists extended and shortened; what is not named stays (KIP-339). Log
levels (BROKER_LOGGER, KIP-412) take effect at once and are forgotten at the next start.

Left out: loggers other than the root, and the levels TRACE and FATAL, which nothing is logged at.
"""

from __future__ import annotations

from kwire.api.config_changes import alter_each, alter_loggers
from kwire.broker.requests.context import Context
from kwire.metadata.controller import ConfigChange, alter_configs_incrementally
from kwire.metadata.entities import Resource, ResourceType
from kwire.wire.message import Message
from kwire.wire.messages import IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse


def handle(context: Context, request: IncrementalAlterConfigsRequest) -> IncrementalAlterConfigsResponse:
    broker = context.broker

    def decide(resource: Resource, wanted: IncrementalAlterConfigsRequest.AlterConfigsResource) -> list[Message]:
        changes = [ConfigChange(config.name, config.config_operation, config.value) for config in wanted.configs]
        if resource.type is ResourceType.BROKER_LOGGER:
            alter_loggers(broker.node_id, resource.name, changes, validate_only=request.validate_only)
            return []
        return alter_configs_incrementally(broker.image, broker.configs, resource, changes)

    altered = alter_each(broker, request.resources, validate_only=request.validate_only, decide=decide)
    return IncrementalAlterConfigsResponse(
        throttle_time_ms=context.throttle_ms,
        responses=[IncrementalAlterConfigsResponse.AlterConfigsResourceResponse(**one._asdict()) for one in altered],
    )
