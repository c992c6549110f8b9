"""DescribeCluster (key 60).

Versions: 0-2.

Behaviour: cluster id, controller and brokers, each at the listener that this connection came in by (KIP-700). On one
node the broker is the controller too.

Version notes: 1 names the type of endpoint that the client expects (KIP-919): this listener is a broker's;
2 tells of fenced brokers when asked (KIP-1073).
"""

from __future__ import annotations

from typing import Final

from kwire.broker.requests.context import Context
from kwire.errors import Code
from kwire.metadata.entities import BrokerNode
from kwire.security.operations import ALL_CLUSTER_OPERATIONS, CLUSTER_NAME, NOT_ASKED, Operation, ResourceType
from kwire.wire.messages import DescribeClusterRequest, DescribeClusterResponse

_BROKERS: Final = 1
_CONTROLLERS: Final = 2

NodeAnswer = DescribeClusterResponse.DescribeClusterBroker


def handle(context: Context, request: DescribeClusterRequest) -> DescribeClusterResponse:
    if request.endpoint_type != _BROKERS:
        return _wrong_endpoint(context, request.endpoint_type)
    broker = context.broker
    nodes = [node for node in broker.image.brokers.values() if request.include_fenced_brokers or not node.fenced]
    return DescribeClusterResponse(
        throttle_time_ms=context.throttle_ms,
        error_message=None,
        cluster_id=broker.cluster_id,
        controller_id=broker.node_id,
        brokers=[answer for node in nodes if (answer := _node(context, node))],
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
    if endpoint_type == _CONTROLLERS:
        code = Code.MISMATCHED_ENDPOINT_TYPE
        message = "The request was sent to an endpoint of type BROKER, but we wanted an endpoint of type CONTROLLER"
    return DescribeClusterResponse(
        throttle_time_ms=context.throttle_ms,
        error_code=code,
        error_message=message,
        cluster_id="",
        controller_id=-1,
        cluster_authorized_operations=NOT_ASKED,
    )


def _node(context: Context, node: BrokerNode) -> NodeAnswer | None:
    """Tell where a broker is; one without this listener is left out, as Kafka leaves it out."""
    if node.id == context.broker.node_id:
        endpoint = context.endpoint
        return NodeAnswer(
            broker_id=node.id, host=endpoint.host, port=endpoint.port, rack=node.rack, is_fenced=node.fenced
        )
    for point in node.endpoints:
        if point.listener == context.endpoint.name:
            return NodeAnswer(
                broker_id=node.id, host=point.host, port=point.port, rack=node.rack, is_fenced=node.fenced
            )
    return None
