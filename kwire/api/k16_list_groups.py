"""ListGroups (key 16).

Versions: 0-5.

Behaviour: all groups of this broker, of every kind. The encoded answer is sent again until a group changes
(``response_cache``): the work for a request is in proportion to the number of groups.

Version notes: 4 a filter by state (KIP-518); 5 the kind of group and a filter by it (KIP-848).
"""

from __future__ import annotations

from kwire.api.pacing import paced_lazily
from kwire.api.probes import Probe
from kwire.broker.requests.context import Context
from kwire.errors import KafkaError
from kwire.security.operations import Operation, ResourceType
from kwire.wire.messages import ListGroupsRequest, ListGroupsResponse

PROBE: Probe = {}


async def handle(context: Context, request: ListGroupsRequest) -> ListGroupsResponse:
    """The groups that pass both filters."""
    try:
        machines = await context.broker.groups.machines(context)
    except KafkaError as refusal:
        return ListGroupsResponse(throttle_time_ms=context.throttle_ms, error_code=refusal.code)
    may_list_all = context.may_cluster(Operation.DESCRIBE, audited=False)
    groups = []
    for machine in machines:
        groups += [
            ListGroupsResponse.ListedGroup(
                group_id=each.group_id,
                protocol_type=each.protocol_type,
                group_state=each.state,
                group_type=each.group_type,
            )
            async for each in paced_lazily(context, machine.list_groups(request.states_filter, request.types_filter))
            if each is not None
            and (may_list_all or context.may(Operation.DESCRIBE, ResourceType.GROUP, each.group_id, audited=False))
        ]
    return ListGroupsResponse(throttle_time_ms=context.throttle_ms, groups=groups)
