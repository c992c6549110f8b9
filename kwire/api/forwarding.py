"""Requests that a broker forwards to the active controller (KIP-590).

Behaviour: the request goes to the controller in an Envelope, with the client's principal and address, and its response
back to the client. The controller authorizes and decides. Log levels, which
IncrementalAlterConfigs changes too, are settings of this broker alone and are changed here; it also checks the configs
of brokers.

A request for which no active controller is found in ``request.timeout.ms`` has REQUEST_TIMED_OUT.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from kwire.api import k33_alter_configs, k44_incremental_alter_configs
from kwire.api.config_changes import Altered
from kwire.api.forwarding_refusals import refuse_items
from kwire.broker.requests.context import Context
from kwire.errors import KafkaError
from kwire.wire.messages import AlterConfigsRequest, IncrementalAlterConfigsRequest


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


async def handle_configs(context: Context, request: AlterConfigsRequest | IncrementalAlterConfigsRequest) -> Any:
    """Check the configs of brokers and change log levels here, and forward the rest.

    As in Apache Kafka, the broker answers for another broker's configs, and for values that it cannot use.
    """
    own: Any = k33_alter_configs if isinstance(request, AlterConfigsRequest) else k44_incremental_alter_configs
    resources: Sequence[Any] = request.resources
    results: list[Altered | None] = await own.check(context, request)
    part: Any = copy.copy(request)
    part.resources = [wanted for wanted, result in zip(resources, results, strict=True) if result is None]
    if len(part.resources) == len(resources):
        return await handle(context, request)
    forwarded = (await handle(context, part)).responses if part.resources else []
    # A controller of Apache Kafka answers in an order of its own.
    answers = {(one.resource_type, one.resource_name): one for one in forwarded}
    for place, wanted in enumerate(resources):
        name = (wanted.resource_type, wanted.resource_name)
        if results[place] is None:
            results[place] = Altered(*name, answers[name].error_code, answers[name].error_message)
    return await own.respond(context, results)
