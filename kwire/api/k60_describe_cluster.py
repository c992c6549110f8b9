"""DescribeCluster (key 60).

Versions: 0-2.

Behaviour: cluster id, controller and brokers, each at the listener that this connection came in by (KIP-700).
A broker without that listener is left out.

Version notes: 1 names the type of endpoint that the client expects (KIP-919): this listener is a broker's;
2 lists fenced brokers on request (KIP-1073).
"""

from __future__ import annotations

from typing import Final

from kwire.api.probes import Probe
from kwire.broker.requests.context import Context
from kwire.errors import Code
from kwire.security.operations import ALL_CLUSTER_OPERATIONS, CLUSTER_NAME, NOT_ASKED, Operation, ResourceType
from kwire.wire.messages import DescribeClusterRequest, DescribeClusterResponse

PROBE: Probe = {"include_cluster_authorized_operations": True}

BROKERS: Final = 1
CONTROLLERS: Final = 2
_TYPE_NAMES: Final = {BROKERS: "BROKER", CONTROLLERS: "CONTROLLER"}


def handle(context: Context, request: DescribeClusterRequest) -> DescribeClusterResponse:
    if request.endpoint_type != BROKERS:
        return wrong_endpoint(context, request.endpoint_type, own=BROKERS)
    broker = context.broker
    view = context.cluster_view()
    return DescribeClusterResponse(
        throttle_time_ms=context.throttle_ms,
        error_message=None,
        cluster_id=broker.cluster_id,
        controller_id=view.controller_id(),
        brokers=[
            DescribeClusterResponse.DescribeClusterBroker(
                broker_id=node.id, host=endpoint.host, port=endpoint.port, rack=node.rack, is_fenced=node.fenced
            )
            for node, endpoint in view.brokers(with_fenced=request.include_fenced_brokers)
        ],
        cluster_authorized_operations=operations(context, request),
    )


def operations(context: Context, request: DescribeClusterRequest) -> int:
    """Return the bit field of the operations on the cluster that the client may do, if it asked for that."""
    if not request.include_cluster_authorized_operations:
        return NOT_ASKED
    if not context.may_cluster(Operation.DESCRIBE):
        return 0
    return context.allowed_operations(ResourceType.CLUSTER, CLUSTER_NAME, ALL_CLUSTER_OPERATIONS)


def wrong_endpoint(context: Context, endpoint_type: int, *, own: int) -> DescribeClusterResponse:
    """Refuse a request for another type of endpoint than ``own``, that of this listener."""
    code, message = Code.UNSUPPORTED_ENDPOINT_TYPE, f"Unsupported endpoint type {endpoint_type}"
    if endpoint_type in _TYPE_NAMES:
        code = Code.MISMATCHED_ENDPOINT_TYPE
        message = (
            f"The request was sent to an endpoint of type {_TYPE_NAMES[own]}, "
            f"but we wanted an endpoint of type {_TYPE_NAMES[endpoint_type]}"
        )
    return DescribeClusterResponse(
        throttle_time_ms=context.throttle_ms,
        error_code=code,
        error_message=message,
        cluster_id="",
        controller_id=-1,
        cluster_authorized_operations=NOT_ASKED,
    )
