"""LeaveGroup (key 13).

Versions: 0-5.

Behaviour: members leave, or an administrator removes them, static ones by their instance ids.

Version notes: 0-2 one member, whose error is the answer's; 3 several (KIP-345); 5 a reason, for the log (KIP-800).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from kwire.api.pacing import paced_list
from kwire.api.probes import MEMBER, UNKNOWN_NAME, Probe
from kwire.broker.requests.context import Context
from kwire.coordinators.group.commands import LeavingMember, LeftMember
from kwire.errors import Code, KafkaError
from kwire.security.operations import Operation, ResourceType
from kwire.wire.messages import LeaveGroupRequest, LeaveGroupResponse

PROBE: Probe = {**MEMBER, "members": [{"member_id": UNKNOWN_NAME}]}

_SEVERAL_MEMBERS_SINCE: Final = 3  # KIP-345
# More leave by several commands.
_MEMBERS_AT_ONCE: Final = 500


async def handle(context: Context, request: LeaveGroupRequest) -> LeaveGroupResponse:
    """Each member by itself."""
    is_one = context.api_version < _SEVERAL_MEMBERS_SINCE
    if is_one:
        leaving = [LeavingMember(request.member_id)]
    else:
        leaving = await paced_list(context, _leaving, request.members)
    try:
        context.authorize(Operation.READ, ResourceType.GROUP, request.group_id)
        left: list[LeftMember] = []
        for start in range(0, max(1, len(leaving)), _MEMBERS_AT_ONCE):
            left += await _leave(context, request.group_id, leaving[start : start + _MEMBERS_AT_ONCE])
            await context.yield_turn()
    except KafkaError as refusal:
        return LeaveGroupResponse(throttle_time_ms=context.throttle_ms, error_code=refusal.code)
    if is_one:
        return LeaveGroupResponse(throttle_time_ms=context.throttle_ms, error_code=left[0].error)
    return LeaveGroupResponse(
        throttle_time_ms=context.throttle_ms,
        error_code=Code.NONE,
        members=await paced_list(context, _answer, left),
    )


def _leaving(member: LeaveGroupRequest.MemberIdentity) -> LeavingMember:
    return LeavingMember(member.member_id, member.group_instance_id)


def _answer(left: LeftMember) -> LeaveGroupResponse.MemberResponse:
    return LeaveGroupResponse.MemberResponse(
        member_id=left.member_id, group_instance_id=left.group_instance_id, error_code=left.error
    )


async def _leave(context: Context, group_id: str, leaving: Sequence[LeavingMember]) -> Sequence[LeftMember]:
    left: Sequence[LeftMember] = await context.broker.groups.submit(
        context,
        group_id,
        lambda machine, ticket, now_ms: machine.leave(group_id, leaving, ticket=ticket, now_ms=now_ms),
    )
    return left
