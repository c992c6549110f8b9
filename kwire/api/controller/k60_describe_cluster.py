"""DescribeCluster (key 60) on a controller's listener.

Versions: 0-2.

Behaviour: cluster id, active controller, and the registered controllers at the listener that the request came in by
(KIP-919). Brokers are not listed here: a client that expects them gets MISMATCHED_ENDPOINT_TYPE. Needs ALTER on the
cluster, unlike on a broker's listener; or CLUSTER_ACTION, which brokers have, unlike in Apache Kafka: a broker with a
new directory asks for the cluster id.

Version notes: 1 names the type of endpoint that the client expects; 2 fenced brokers, of which there are none here.
"""

from __future__ import annotations

from typing import Final

from kwire.api.controller.serving import serving
from kwire.broker.requests.context import Context
from kwire.errors import Code
from kwire.security.operations import ALL_CLUSTER_OPERATIONS, CLUSTER_NAME, NOT_ASKED, Operation, ResourceType
from kwire.wire.messages import DescribeClusterRequest, DescribeClusterResponse

_BROKERS: Final = 1
_CONTROLLERS: Final = 2


def handle(context: Context, request: DescribeClusterRequest) -> DescribeClusterResponse:
    if not context.may_cluster(Operation.ALTER, audited=False):
        context.authorize_cluster(Operation.CLUSTER_ACTION)
    if request.endpoint_type != _CONTROLLERS:
        return _wrong_endpoint(context, request.endpoint_type)
    cluster = serving(context)
    return DescribeClusterResponse(
        throttle_time_ms=context.throttle_ms,
        error_message=None,
        endpoint_type=_CONTROLLERS,
        cluster_id=cluster.cluster_id,
        controller_id=cluster.node_id,
        brokers=[
            DescribeClusterResponse.DescribeClusterBroker(
                broker_id=node.id, host=point.host, port=point.port, rack=None
            )
            for node in context.broker.image.controllers.values()
            for point in node.endpoints
            if point.listener == context.endpoint.name
        ],
        cluster_authorized_operations=_operations(context, request),
    )


def _operations(context: Context, request: DescribeClusterRequest) -> int:
    if not request.include_cluster_authorized_operations:
        return NOT_ASKED
    if not context.may_cluster(Operation.DESCRIBE):
        return 0
    return context.allowed_operations(ResourceType.CLUSTER, CLUSTER_NAME, ALL_CLUSTER_OPERATIONS)


def _wrong_endpoint(context: Context, endpoint_type: int) -> DescribeClusterResponse:
    code, message = Code.UNSUPPORTED_ENDPOINT_TYPE, f"Unsupported endpoint type {endpoint_type}"
    if endpoint_type == _BROKERS:
        code = Code.MISMATCHED_ENDPOINT_TYPE
        message = "The request was sent to an endpoint of type CONTROLLER, but we wanted an endpoint of type BROKER"
    return DescribeClusterResponse(
        throttle_time_ms=context.throttle_ms,
        error_code=code,
        error_message=message,
        cluster_id="",
        controller_id=-1,
        cluster_authorized_operations=NOT_ASKED,
    )
