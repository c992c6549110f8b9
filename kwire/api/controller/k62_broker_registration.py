"""BrokerRegistration (key 62).

Versions: 0-4.

Behaviour: registers a broker, fenced, and answers with its epoch. The reason of a refusal is in the controller's log,
because the response has a code only: INCONSISTENT_CLUSTER_ID, DUPLICATE_BROKER_REGISTRATION, INVALID_REGISTRATION,
UNSUPPORTED_VERSION, BROKER_ID_NOT_REGISTERED.

Version notes: 1 migration from ZooKeeper, which is refused (KIP-866); 2 log directories (KIP-858); 3 the epoch of a
registration that ended cleanly (KIP-966); 4 features whose lowest level is 0 (KIP-584).
"""

from __future__ import annotations

from kwire.api.controller.serving import serving
from kwire.broker.logs import Logger
from kwire.broker.requests.context import Context
from kwire.errors import KafkaError
from kwire.metadata.cluster.registration import BrokerRegistration
from kwire.metadata.entities import Endpoint, VersionRange
from kwire.security.operations import Operation
from kwire.wire.messages import BrokerRegistrationRequest, BrokerRegistrationResponse

logger = Logger("kwire.controller")


async def handle(context: Context, request: BrokerRegistrationRequest) -> BrokerRegistrationResponse:
    context.authorize_cluster(Operation.CLUSTER_ACTION)
    try:
        epoch = await serving(context).register_broker(_registration(request))
    except KafkaError as refusal:
        logger.warning(
            "broker registration refused", broker=request.broker_id, peer=context.client.peer, why=str(refusal)
        )
        return BrokerRegistrationResponse(throttle_time_ms=context.throttle_ms, error_code=refusal.code)
    return BrokerRegistrationResponse(throttle_time_ms=context.throttle_ms, broker_epoch=epoch)


def _registration(request: BrokerRegistrationRequest) -> BrokerRegistration:
    return BrokerRegistration(
        broker_id=request.broker_id,
        cluster_id=request.cluster_id,
        incarnation_id=request.incarnation_id,
        endpoints=[Endpoint(one.name, one.host, one.port, one.security_protocol) for one in request.listeners],
        features={
            one.name: VersionRange(one.min_supported_version, one.max_supported_version) for one in request.features
        },
        rack=request.rack,
        log_dirs=list(request.log_dirs),
        previous_epoch=request.previous_broker_epoch,
        is_migrating_zk_broker=request.is_migrating_zk_broker,
    )
