"""DescribeGroups (key 15).

Versions: 0-6.

Behaviour: classic groups with their members; metadata of members is sent for a stable group only, an assignment as long
as the member has it. A group that does not exist, or is of another kind, is Dead.

Version notes: 3 authorized operations (KIP-430); 4 static members (KIP-345); 6 GROUP_ID_NOT_FOUND with a message for a
group that does not exist, before that no error (KIP-1043).

As a release before 4.0 members are shown without metadata and assignment unless the group is stable, and groups have no
configs to be described or altered.
"""

from __future__ import annotations

from typing import Final

from kwire.api.pacing import paced
from kwire.api.probes import UNKNOWN_NAME, Probe
from kwire.broker.requests.context import Context
from kwire.coordinators.group.classic.group import State
from kwire.errors import Code, KafkaError
from kwire.personas import persona
from kwire.security.operations import ALL_GROUP_OPERATIONS, Operation, ResourceType, bit_field
from kwire.wire.messages import DescribeGroupsRequest, DescribeGroupsResponse

PROBE: Probe = {"groups": [UNKNOWN_NAME]}

_NOT_FOUND_SINCE: Final = 6  # KIP-1043
_OPERATIONS_BEFORE_4: Final = bit_field(Operation.READ, Operation.DELETE, Operation.DESCRIBE)

DescribedGroup = DescribeGroupsResponse.DescribedGroup


async def handle(context: Context, request: DescribeGroupsRequest) -> DescribeGroupsResponse:
    """Each group by itself."""
    release = persona(context.broker.configs.broker["kwire.as.release"])
    is_old = release is not None and release.has_old_groups
    operations = _OPERATIONS_BEFORE_4 if is_old else ALL_GROUP_OPERATIONS
    groups = []
    async for group_id in paced(context, request.groups):
        described = await _describe(context, group_id)
        if is_old and described.group_state != State.STABLE.value:
            _leave_out(described)
        if request.include_authorized_operations and not described.error_code:
            described.authorized_operations = context.allowed_operations(ResourceType.GROUP, group_id, operations)
        groups.append(described)
    return DescribeGroupsResponse(throttle_time_ms=context.throttle_ms, groups=groups)


def _leave_out(described: DescribedGroup) -> None:
    """Leave out what a release before 4.0 has of a stable group only."""
    described.protocol_data = ""
    for member in described.members:
        member.member_metadata = member.member_assignment = b""


async def _describe(context: Context, group_id: str) -> DescribedGroup:
    try:
        context.authorize(Operation.DESCRIBE, ResourceType.GROUP, group_id)
        machine = await context.broker.groups.machine(context, group_id)
        group = machine.describe(group_id)
    except KafkaError as refusal:
        if refusal.code is not Code.GROUP_ID_NOT_FOUND:
            return DescribedGroup(group_id=group_id, error_code=refusal.code)
        if context.api_version < _NOT_FOUND_SINCE:
            return DescribedGroup(group_id=group_id, group_state=State.DEAD.value)
        return DescribedGroup(
            group_id=group_id,
            group_state=State.DEAD.value,
            error_code=refusal.code,
            error_message=refusal.message,
        )
    return DescribedGroup(
        group_id=group_id,
        group_state=group.state,
        protocol_type=group.protocol_type,
        protocol_data=group.protocol_name,
        members=[
            DescribeGroupsResponse.DescribedGroupMember(
                member_id=each.member_id,
                group_instance_id=each.group_instance_id,
                client_id=each.client_id,
                client_host=each.client_host,
                member_metadata=each.metadata,
                member_assignment=each.assignment,
            )
            for each in group.members
        ],
    )
