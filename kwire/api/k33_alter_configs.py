"""AlterConfigs (key 33).

Versions: 0-2.

Behaviour: what is given becomes everything that the resource has; the rest goes back to its defaults.
IncrementalAlterConfigs (key 44) is what clients use today (KIP-339).
"""

from __future__ import annotations

from kwire.api.config_changes import alter_each
from kwire.broker.requests.context import Context
from kwire.metadata.controller import alter_configs
from kwire.metadata.entities import Resource
from kwire.wire.message import Message
from kwire.wire.messages import AlterConfigsRequest, AlterConfigsResponse


def handle(context: Context, request: AlterConfigsRequest) -> AlterConfigsResponse:
    broker = context.broker

    def decide(resource: Resource, wanted: AlterConfigsRequest.AlterConfigsResource) -> list[Message]:
        configs = [(config.name, config.value) for config in wanted.configs]
        return alter_configs(broker.image, broker.configs, resource, configs)

    altered = alter_each(broker, request.resources, validate_only=request.validate_only, decide=decide)
    return AlterConfigsResponse(
        throttle_time_ms=context.throttle_ms,
        responses=[AlterConfigsResponse.AlterConfigsResourceResponse(**one._asdict()) for one in altered],
    )
