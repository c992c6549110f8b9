"""AlterConfigs (key 33).

Versions: 0-2.

Behaviour: the configs of the request replace all configs of the resource; the others have their defaults again.
Clients use IncrementalAlterConfigs (key 44) instead since KIP-339.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from kwire.api.config_changes import alter_each
from kwire.api.pacing import paced
from kwire.broker.requests.context import Context
from kwire.metadata.commands.configs import AlterConfigs
from kwire.wire.messages import AlterConfigsRequest, AlterConfigsResponse


async def handle(context: Context, request: AlterConfigsRequest) -> AlterConfigsResponse:
    altered = await alter_each(
        context,
        request.resources,
        lambda _, wanted: [(config.name, config.value) for config in wanted.configs],
        lambda resource, configs: _after(context.broker.image.config(resource.type, resource.name), configs),
        lambda resources: AlterConfigs(resources, validate_only=request.validate_only),
    )
    return AlterConfigsResponse(
        throttle_time_ms=context.throttle_ms,
        responses=[
            AlterConfigsResponse.AlterConfigsResourceResponse(**one._asdict()) async for one in paced(context, altered)
        ],
    )


def _after(
    present: Mapping[str, str], configs: Sequence[tuple[str, str | None]]
) -> tuple[Iterable[str], Mapping[str, str]]:
    """Return the names that change, and all configs afterwards."""
    wanted = {name: value or "" for name, value in configs}
    return {*present, *wanted}, wanted
