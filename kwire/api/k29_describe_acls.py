"""DescribeAcls (key 29).

Versions: 1-3.

Behaviour: SECURITY_DISABLED, as stock Apache Kafka answers without an authorizer. ACLs in the metadata log are kept.
"""

from __future__ import annotations

from kwire.broker.requests.context import Context
from kwire.errors import Code
from kwire.security.operations import Operation
from kwire.wire.messages import DescribeAclsRequest, DescribeAclsResponse


def handle(context: Context, request: DescribeAclsRequest) -> DescribeAclsResponse:
    del request  # the answer does not depend on the filter
    context.authorize_cluster(Operation.DESCRIBE)
    return DescribeAclsResponse(
        throttle_time_ms=context.throttle_ms,
        error_code=Code.SECURITY_DISABLED,
        error_message="No Authorizer is configured on the broker",
    )
