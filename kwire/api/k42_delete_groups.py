"""DeleteGroups (key 42).

Versions: 0-3.

Behaviour: a group without members is deleted with all its offsets.

Version notes: 3 an error message for each group (KIP-1313), which Apache Kafka fills where a plugin failed alone.
"""

from __future__ import annotations

from kwire.api.pacing import paced
from kwire.broker.requests.context import Context
from kwire.errors import Code, KafkaError
from kwire.security.operations import Operation, ResourceType
from kwire.wire.messages import DeleteGroupsRequest, DeleteGroupsResponse


async def handle(context: Context, request: DeleteGroupsRequest) -> DeleteGroupsResponse:
    """Each group by itself; one named twice is deleted once."""
    return DeleteGroupsResponse(
        throttle_time_ms=context.throttle_ms,
        results=[
            DeleteGroupsResponse.DeletableGroupResult(group_id=group_id, error_code=await _delete(context, group_id))
            async for group_id in paced(context, dict.fromkeys(request.groups_names))
        ],
    )


async def _delete(context: Context, group_id: str) -> Code:
    try:
        context.authorize(Operation.DELETE, ResourceType.GROUP, group_id)
        await context.broker.groups.submit(
            context,
            group_id,
            lambda machine, ticket, now_ms: machine.delete_group(group_id, ticket=ticket, now_ms=now_ms),
        )
    except KafkaError as refusal:
        return refusal.code
    return Code.NONE
