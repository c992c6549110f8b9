"""DeleteAcls (key 31).

Versions: 1-3.

Behaviour: SECURITY_DISABLED for each filter, as stock Apache Kafka answers without an authorizer.
"""

from __future__ import annotations

from kwire.broker.requests.context import Context
from kwire.errors import Code
from kwire.wire.messages import DeleteAclsRequest, DeleteAclsResponse


def handle(context: Context, request: DeleteAclsRequest) -> DeleteAclsResponse:
    return DeleteAclsResponse(
        throttle_time_ms=context.throttle_ms,
        filter_results=[
            DeleteAclsResponse.DeleteAclsFilterResult(
                error_code=Code.SECURITY_DISABLED, error_message="No Authorizer is configured."
            )
            for _ in request.filters
        ],
    )
