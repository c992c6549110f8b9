"""CreateAcls (key 30).

Versions: 1-3.

Behaviour: each ACL is created or refused by itself; one that exists is accepted. SECURITY_DISABLED without an
authorizer.

Version notes: 1 prefixed ACLs (KIP-290); 3 user resources (KIP-373).
"""

from __future__ import annotations

from collections.abc import Sequence

from kwire.acls import Acl, Operation, PatternType, Permission, ResourceType
from kwire.api.acl_requests import check_codes
from kwire.api.pacing import paced_list, submit_in_slices
from kwire.api.probes import Probe
from kwire.broker.requests.context import Context
from kwire.errors import Code, KafkaError
from kwire.limits import ACLS_OF_REQUEST_MAX
from kwire.metadata.commands.security import CreateAcls
from kwire.security.authorizer import denied
from kwire.wire.messages import CreateAclsRequest, CreateAclsResponse

PROBE: Probe = {}

Result = CreateAclsResponse.AclCreationResult


async def handle(context: Context, request: CreateAclsRequest) -> CreateAclsResponse:
    acls = await paced_list(context, _acl, request.creations)
    outcomes: Sequence[object]
    if not context.may_cluster(Operation.ALTER):
        outcomes = [denied(ResourceType.CLUSTER)] * len(acls)
    elif any(await paced_list(context, _is_filter, acls)):
        outcomes = [KafkaError(Code.UNKNOWN_SERVER_ERROR)] * len(acls)
    elif context.broker.authorizer is None:
        outcomes = [KafkaError(Code.SECURITY_DISABLED, "No Authorizer is configured.")] * len(acls)
    elif len(set(acls) - context.broker.image.acl_ids.keys()) > ACLS_OF_REQUEST_MAX:
        message = "Unable to perform excessively large batch operation."
        outcomes = [KafkaError(Code.POLICY_VIOLATION, message)] * len(acls)
    else:
        outcomes = await submit_in_slices(context, acls, CreateAcls)
    results = await paced_list(context, _result, outcomes)
    return CreateAclsResponse(throttle_time_ms=context.throttle_ms, results=results)


def _is_filter(acl: Acl) -> bool:
    """Whether a field is ANY or MATCH: those belong to filters, and Apache Kafka fails the whole request."""
    return (
        acl.resource_type is ResourceType.ANY
        or acl.pattern_type in (PatternType.ANY, PatternType.MATCH)
        or acl.operation is Operation.ANY
        or acl.permission is Permission.ANY
    )


def _acl(creation: CreateAclsRequest.AclCreation) -> Acl:
    check_codes(creation.resource_type, creation.resource_pattern_type, creation.operation, creation.permission_type)
    return Acl(
        ResourceType(creation.resource_type),
        creation.resource_name,
        PatternType(creation.resource_pattern_type),
        creation.principal,
        creation.host,
        Operation(creation.operation),
        Permission(creation.permission_type),
    )


def _result(outcome: object) -> Result:
    if isinstance(outcome, KafkaError):
        return Result(error_code=outcome.code, error_message=outcome.message)
    return Result()
