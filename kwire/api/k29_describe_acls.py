"""DescribeAcls (key 29).

Versions: 1-3.

Behaviour: the ACLs that a filter selects, by resource. SECURITY_DISABLED without an authorizer, although ACLs are kept.

Version notes: 1 prefixed ACLs (KIP-290); 3 user resources (KIP-373).
"""

from __future__ import annotations

from kwire.acls import Acl, PatternType, ResourceType
from kwire.api.acl_requests import read_filter
from kwire.api.pacing import paced
from kwire.api.probes import Probe
from kwire.broker.requests.context import Context
from kwire.errors import Code
from kwire.metadata.decisions.acls import select_acls
from kwire.security.operations import Operation
from kwire.wire.messages import DescribeAclsRequest, DescribeAclsResponse

# 1 is any.
PROBE: Probe = {"resource_type_filter": 1, "pattern_type_filter": 1, "operation": 1, "permission_type": 1}

Resource = DescribeAclsResponse.DescribeAclsResource


async def handle(context: Context, request: DescribeAclsRequest) -> DescribeAclsResponse:
    wanted = read_filter(request)
    context.authorize_cluster(Operation.DESCRIBE)
    if context.broker.authorizer is None:
        return DescribeAclsResponse(
            throttle_time_ms=context.throttle_ms,
            error_code=Code.SECURITY_DISABLED,
            error_message="No Authorizer is configured on the broker",
        )
    resources: dict[tuple[ResourceType, str, PatternType], Resource] = {}
    async for acl in paced(context, select_acls(context.broker.image, wanted)):
        pattern = acl[:3]
        if pattern not in resources:
            resources[pattern] = Resource(
                resource_type=acl.resource_type, resource_name=acl.resource_name, pattern_type=acl.pattern_type, acls=[]
            )
        resources[pattern].acls.append(_description(acl))
    return DescribeAclsResponse(throttle_time_ms=context.throttle_ms, resources=list(resources.values()))


def _description(acl: Acl) -> DescribeAclsResponse.AclDescription:
    return DescribeAclsResponse.AclDescription(
        principal=acl.principal, host=acl.host, operation=acl.operation, permission_type=acl.permission
    )
