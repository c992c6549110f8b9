"""UnregisterController (key 94).

Versions: 0.

Behaviour: removes the registration of a controller that is gone. The active controller,
which is the one of this node, cannot be unregistered.
"""

from __future__ import annotations

from kwire.api.probes import NO_BROKER, Probe
from kwire.broker.controller.interface import only
from kwire.broker.requests.context import Context
from kwire.errors import KafkaError
from kwire.metadata.commands.nodes import UnregisterController
from kwire.security.operations import Operation
from kwire.wire.messages import UnregisterControllerRequest, UnregisterControllerResponse

PROBE: Probe = {"controller_id": NO_BROKER}


async def handle(context: Context, request: UnregisterControllerRequest) -> UnregisterControllerResponse:
    broker = context.broker
    try:
        context.authorize_cluster(Operation.ALTER)
        only(await broker.controller.submit(UnregisterController(request.controller_id, own_id=broker.node_id)))
    except KafkaError as refusal:
        return UnregisterControllerResponse(
            throttle_time_ms=context.throttle_ms, error_code=refusal.code, error_message=refusal.message
        )
    return UnregisterControllerResponse(throttle_time_ms=context.throttle_ms, error_message="")
