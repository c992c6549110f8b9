"""DescribeCluster (key 60) on a controller's listener.

Versions: 0-2.

Behaviour: cluster id, active controller, and the registered controllers at the listener that the request came in by
(KIP-919). Brokers are not listed here: a client that expects them gets MISMATCHED_ENDPOINT_TYPE. Needs ALTER on the
cluster, unlike on a broker's listener; or CLUSTER_ACTION, which brokers have, unlike in Apache Kafka: a broker with a
new directory asks for the cluster id.

Version notes: 1 names the type of endpoint that the client expects; 2 fenced brokers, of which there are none here.
"""

from __future__ import annotations

from kwire.api.controller.serving import serving
from kwire.api.k60_describe_cluster import CONTROLLERS, operations, wrong_endpoint
from kwire.broker.requests.context import Context
from kwire.security.operations import Operation
from kwire.wire.messages import DescribeClusterRequest, DescribeClusterResponse


def handle(context: Context, request: DescribeClusterRequest) -> DescribeClusterResponse:
    if not context.may_cluster(Operation.ALTER, audited=False):
        context.authorize_cluster(Operation.CLUSTER_ACTION)
    if request.endpoint_type != CONTROLLERS:
        return wrong_endpoint(context, request.endpoint_type, own=CONTROLLERS)
    cluster = serving(context)
    return DescribeClusterResponse(
        throttle_time_ms=context.throttle_ms,
        error_message=None,
        endpoint_type=CONTROLLERS,
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
        cluster_authorized_operations=operations(context, request),
    )
