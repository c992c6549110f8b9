"""Requests that a broker forwards to the active controller (KIP-590).

Behaviour: the request goes to the controller in an Envelope, with the client's principal and address, and its response
back to the client. The controller authorizes and decides. Log levels, which AlterConfigs and IncrementalAlterConfigs
change too, are settings of this broker alone and are changed here.

A request for which no active controller is found in ``request.timeout.ms`` has REQUEST_TIMED_OUT.
"""

from __future__ import annotations

import copy
from typing import Any

from kwire.api import k33_alter_configs, k44_incremental_alter_configs
from kwire.api.forwarding_refusals import refuse_items
from kwire.broker.requests.context import Context
from kwire.errors import KafkaError
from kwire.metadata.entities import ResourceType
from kwire.wire.messages import AlterConfigsRequest


async def handle(context: Context, request: Any) -> Any:
    """Forward a request; return the response of the controller."""
    member = context.broker.member
    assert member is not None
    await context.connection.send_pending()
    try:
        response = await member.controller.forward(
            context.client,
            request,
            version=context.api_version,
            client_id=context.client_id,
            correlation_id=context.correlation_id,
        )
    except KafkaError as refusal:
        refused = refuse_items(request, refusal)
        if refused is None:
            raise
        return refused
    context.throttle_ms = max(context.throttle_ms, getattr(response, "throttle_time_ms", 0))
    return response


async def handle_configs(context: Context, request: Any) -> Any:
    """Change log levels here, and forward the rest."""
    levels = [one for one in request.resources if one.resource_type == ResourceType.BROKER_LOGGER]
    if not levels:
        return await handle(context, request)
    own = k33_alter_configs if isinstance(request, AlterConfigsRequest) else k44_incremental_alter_configs
    part = copy.copy(request)
    part.resources = levels
    response = await own.handle(context, part)
    part.resources = [one for one in request.resources if one.resource_type != ResourceType.BROKER_LOGGER]
    if part.resources:
        response.responses += (await handle(context, part)).responses
    return response
