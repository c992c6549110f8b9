"""ListConfigResources (key 74).

Versions: 0-1.

Behaviour: names of what has configs: every topic and broker, and the groups and client metrics subscriptions that
were given some (KIP-1000, KIP-1142).

Version notes: 0 has client metrics subscriptions only; in 1 an empty list of types means every type.
"""

from __future__ import annotations

from typing import Final

from kwire.api.pacing import paced
from kwire.api.probes import Probe
from kwire.broker.requests.context import Context
from kwire.errors import Code
from kwire.metadata.entities import ResourceType
from kwire.security.operations import Operation
from kwire.wire.messages import ListConfigResourcesRequest, ListConfigResourcesResponse

PROBE: Probe = {}

_TYPES_SINCE: Final = 1
_TYPES: Final = (
    ResourceType.GROUP,
    ResourceType.CLIENT_METRICS,
    ResourceType.BROKER_LOGGER,
    ResourceType.BROKER,
    ResourceType.TOPIC,
)


async def handle(context: Context, request: ListConfigResourcesRequest) -> ListConfigResourcesResponse:
    context.authorize_cluster(Operation.DESCRIBE_CONFIGS)
    wanted = set(request.resource_types) or set(_TYPES)
    if context.api_version < _TYPES_SINCE:  # KIP-1000, before KIP-1142 added the others
        wanted = {ResourceType.CLIENT_METRICS}
    if not wanted <= set(_TYPES):
        return ListConfigResourcesResponse(throttle_time_ms=context.throttle_ms, error_code=Code.UNSUPPORTED_VERSION)
    return ListConfigResourcesResponse(
        throttle_time_ms=context.throttle_ms,
        config_resources=[
            ListConfigResourcesResponse.ConfigResource(resource_name=name, resource_type=resource_type)
            for resource_type in _TYPES
            if resource_type in wanted
            async for name in paced(context, _names(context, resource_type))
        ],
    )


def _names(context: Context, resource_type: ResourceType) -> list[str]:
    image = context.broker.image
    match resource_type:
        case ResourceType.TOPIC:
            return list(image.topics)
        case ResourceType.BROKER | ResourceType.BROKER_LOGGER:
            return [str(broker_id) for broker_id in image.brokers]
        case _:
            return [resource.name for resource in image.configs if resource.type is resource_type]
