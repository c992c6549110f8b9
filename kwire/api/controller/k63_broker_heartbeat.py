"""BrokerHeartbeat (key 63).

Versions: 0-2.

Behaviour: keeps a broker's session, and moves it between fenced, unfenced, controlled shutdown and "may shut down". A
stale epoch or an unknown broker gets STALE_BROKER_EPOCH; the other fields of such an answer are defaults.

Version notes: 1 log directories that are offline (KIP-858); 2 those that are cordoned (KIP-1066).
"""

from __future__ import annotations

from kwire.api.controller.serving import serving
from kwire.broker.requests.context import Context
from kwire.errors import KafkaError
from kwire.metadata.cluster.heartbeat import Heartbeat
from kwire.security.operations import Operation
from kwire.wire.messages import BrokerHeartbeatRequest, BrokerHeartbeatResponse


def handle(context: Context, request: BrokerHeartbeatRequest) -> BrokerHeartbeatResponse:
    context.authorize_cluster(Operation.CLUSTER_ACTION)
    cordoned = request.cordoned_log_dirs
    beat = Heartbeat(
        broker_id=request.broker_id,
        broker_epoch=request.broker_epoch,
        metadata_offset=request.current_metadata_offset,
        want_fence=request.want_fence,
        want_shut_down=request.want_shut_down,
        offline_dirs=tuple(request.offline_log_dirs),
        cordoned_dirs=None if cordoned is None else tuple(cordoned),
    )
    try:
        reply = serving(context).heartbeat(beat)
    except KafkaError as refusal:
        return BrokerHeartbeatResponse(throttle_time_ms=context.throttle_ms, error_code=refusal.code)
    return BrokerHeartbeatResponse(
        throttle_time_ms=context.throttle_ms,
        is_caught_up=reply.is_caught_up,
        is_fenced=reply.is_fenced,
        should_shut_down=reply.should_shut_down,
    )
