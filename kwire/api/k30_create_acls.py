"""CreateAcls (key 30).

Versions: 1-3.

Behaviour: SECURITY_DISABLED for each, as stock Apache Kafka answers without an authorizer.
"""

from __future__ import annotations

from kwire.broker.requests.context import Context
from kwire.errors import Code
from kwire.wire.messages import CreateAclsRequest, CreateAclsResponse


def handle(context: Context, request: CreateAclsRequest) -> CreateAclsResponse:
    return CreateAclsResponse(
        throttle_time_ms=context.throttle_ms,
        results=[
            CreateAclsResponse.AclCreationResult(
                error_code=Code.SECURITY_DISABLED, error_message="No Authorizer is configured."
            )
            for _ in request.creations
        ],
    )
