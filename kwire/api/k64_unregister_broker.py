"""UnregisterBroker (key 64).

Versions: 0.

Behaviour: removes the registration of a broker that is gone (KIP-919). The broker that
answers cannot be unregistered: Apache Kafka does it, and from then on the cluster has no broker until a restart.
"""

from __future__ import annotations

from kwire.api.probes import NO_BROKER, Probe
from kwire.broker.controller.interface import only
from kwire.broker.requests.context import Context
from kwire.errors import Code, KafkaError
from kwire.metadata.commands.nodes import UnregisterBroker
from kwire.security.operations import Operation
from kwire.wire.messages import UnregisterBrokerRequest, UnregisterBrokerResponse

PROBE: Probe = {"broker_id": NO_BROKER}


async def handle(context: Context, request: UnregisterBrokerRequest) -> UnregisterBrokerResponse:
    broker = context.broker
    try:
        context.authorize_cluster(Operation.ALTER)
        if request.broker_id == broker.node_id:
            message = f"Broker {request.broker_id} is running and cannot be unregistered"
            raise KafkaError(Code.INVALID_REQUEST, message)
        if broker.cluster_controller is not None:
            await broker.cluster_controller.take_out(request.broker_id)
        only(await broker.controller.submit(UnregisterBroker(request.broker_id)))
    except KafkaError as refusal:
        return UnregisterBrokerResponse(
            throttle_time_ms=context.throttle_ms, error_code=refusal.code, error_message=refusal.message
        )
    return UnregisterBrokerResponse(throttle_time_ms=context.throttle_ms, error_message="")
