"""DeleteAcls (key 31).

Versions: 1-3.

Behaviour: SECURITY_DISABLED for each filter, as stock Apache Kafka answers without an authorizer.
"""

from __future__ import annotations

from kwire.broker.requests.context import Context
from kwire.errors import Code
from kwire.security.operations import Operation
from kwire.wire.messages import DeleteAclsRequest, DeleteAclsResponse


def handle(context: Context, request: DeleteAclsRequest) -> DeleteAclsResponse:
    code, message = Code.SECURITY_DISABLED, "No Authorizer is configured."
    if not context.may_cluster(Operation.ALTER):
        code, message = Code.CLUSTER_AUTHORIZATION_FAILED, "Cluster authorization failed."
    return DeleteAclsResponse(
        throttle_time_ms=context.throttle_ms,
        filter_results=[
            DeleteAclsResponse.DeleteAclsFilterResult(error_code=code, error_message=message) for _ in request.filters
        ],
    )
