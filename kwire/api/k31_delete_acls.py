"""DeleteAcls (key 31).

Versions: 1-3.

Behaviour: deletes the ACLs that filters select. All filters are applied to the ACLs as they were before the request, so
an ACL that several filters select is in the answer to each. SECURITY_DISABLED without an authorizer.

Version notes: 1 prefixed ACLs (KIP-290); 3 user resources (KIP-373).
"""

from __future__ import annotations

from collections.abc import Sequence

from kwire.acls import Acl, AclFilter, ResourceType
from kwire.api.acl_requests import read_filter
from kwire.api.pacing import paced_list, submit_in_slices
from kwire.api.probes import Probe
from kwire.broker.requests.context import Context
from kwire.errors import Code, KafkaError
from kwire.limits import ACLS_OF_REQUEST_MAX
from kwire.metadata.commands.security import DeleteAcls
from kwire.metadata.decisions.acls import check_filter, select_acls
from kwire.security.authorizer import denied
from kwire.security.operations import Operation
from kwire.wire.messages import DeleteAclsRequest, DeleteAclsResponse

PROBE: Probe = {}

Result = DeleteAclsResponse.DeleteAclsFilterResult
Selected = Sequence[Acl] | KafkaError


async def handle(context: Context, request: DeleteAclsRequest) -> DeleteAclsResponse:
    filters = await paced_list(context, read_filter, request.filters)
    outcomes: list[Selected]
    if not context.may_cluster(Operation.ALTER):
        outcomes = [denied(ResourceType.CLUSTER)] * len(filters)
    elif context.broker.authorizer is None:
        outcomes = [KafkaError(Code.SECURITY_DISABLED, "No Authorizer is configured.")] * len(filters)
    else:
        outcomes = await _delete(context, filters)
    results = await paced_list(context, _result, outcomes)
    return DeleteAclsResponse(throttle_time_ms=context.throttle_ms, filter_results=results)


async def _delete(context: Context, filters: Sequence[AclFilter]) -> list[Selected]:
    """Select with each filter, then delete what was selected, a few ACLs at a time."""
    outcomes: list[Selected] = []
    selected: dict[AclFilter, None] = {}
    selected_count = 0
    for each in filters:
        try:
            check_filter(each)
        except KafkaError as refusal:
            outcomes.append(refusal)
            continue
        acls = list(select_acls(context.broker.image, each))
        selected |= dict.fromkeys(map(AclFilter.exactly, acls))
        outcomes.append(acls)
        selected_count += len(acls)
        if selected_count > ACLS_OF_REQUEST_MAX:
            message = f"Cannot remove more than {ACLS_OF_REQUEST_MAX} acls in a single delete operation."
            return [KafkaError(Code.INVALID_REQUEST, message)] * len(filters)
        await context.yield_turn()
    deleted = await submit_in_slices(context, list(selected), DeleteAcls)
    failure = next((one for one in deleted if isinstance(one, KafkaError)), None)
    return outcomes if failure is None else [failure] * len(outcomes)


def _result(outcome: Selected) -> Result:
    if isinstance(outcome, KafkaError):
        return Result(error_code=outcome.code, error_message=outcome.message)
    return Result(
        error_message=None,
        matching_acls=[
            DeleteAclsResponse.DeleteAclsMatchingAcl(
                error_message=None,
                resource_type=acl.resource_type,
                resource_name=acl.resource_name,
                pattern_type=acl.pattern_type,
                principal=acl.principal,
                host=acl.host,
                operation=acl.operation,
                permission_type=acl.permission,
            )
            for acl in outcome
        ],
    )
