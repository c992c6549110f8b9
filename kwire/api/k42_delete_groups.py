"""DeleteGroups (key 42).

Versions: 0-3.

Behaviour: a group without members is deleted with all its offsets; of a share group, the states of its share partitions
are deleted first.

Version notes: 3 an error message for each group (KIP-1313), which Apache Kafka fills where a plugin failed alone.
"""

from __future__ import annotations

from kwire.api.pacing import paced
from kwire.api.probes import UNKNOWN_NAME, Probe
from kwire.api.share_deletion import delete_states
from kwire.broker.requests.context import Context
from kwire.coordinators.group.group import SHARE
from kwire.errors import Code, KafkaError
from kwire.security.operations import Operation, ResourceType
from kwire.wire.messages import DeleteGroupsRequest, DeleteGroupsResponse

PROBE: Probe = {"groups_names": [UNKNOWN_NAME]}


async def handle(context: Context, request: DeleteGroupsRequest) -> DeleteGroupsResponse:
    """Each group by itself; one named twice is deleted once."""
    return DeleteGroupsResponse(
        throttle_time_ms=context.throttle_ms,
        results=[
            DeleteGroupsResponse.DeletableGroupResult(group_id=group_id, error_code=await _delete(context, group_id))
            async for group_id in paced(context, dict.fromkeys(request.groups_names))
        ],
    )


async def _delete_share_states(context: Context, group_id: str) -> None:
    """Delete what the share coordinator has of a share group, before the group is deleted."""
    machine = await context.broker.groups.machine(context, group_id)
    if machine.kind_of(group_id) != SHARE:
        return
    partitions = await context.broker.groups.submit(
        context,
        group_id,
        lambda machine, ticket, now_ms: machine.share.begin_delete(group_id, ticket=ticket, now_ms=now_ms),
    )
    for refusal in (await delete_states(context, group_id, partitions)).values():
        raise refusal


async def _delete(context: Context, group_id: str) -> Code:
    try:
        context.authorize(Operation.DELETE, ResourceType.GROUP, group_id)
        await _delete_share_states(context, group_id)
        await context.broker.groups.submit(
            context,
            group_id,
            lambda machine, ticket, now_ms: machine.delete_group(group_id, ticket=ticket, now_ms=now_ms),
        )
    except KafkaError as refusal:
        return refusal.code
    return Code.NONE
