"""SyncGroup (key 14).

Versions: 0-5.

Behaviour: the leader sends an assignment for each member, the others ask for theirs; all answers come once the leader's
are in ``__consumer_offsets``.

Version notes: 3 static members (KIP-345); 5 the member names its protocol type and protocol, and must (KIP-559).
"""

from __future__ import annotations

from typing import Final

from kwire.api.pacing import paced_list
from kwire.api.probes import MEMBER, Probe
from kwire.broker.requests.context import Context
from kwire.coordinators.group.commands import Synced, SyncGroup
from kwire.errors import Code, KafkaError
from kwire.security.operations import Operation, ResourceType
from kwire.wire.messages import SyncGroupRequest, SyncGroupResponse

PROBE: Probe = {**MEMBER, "protocol_type": "consumer", "protocol_name": "range"}

_PROTOCOL_SINCE: Final = 5  # KIP-559


async def handle(context: Context, request: SyncGroupRequest) -> SyncGroupResponse:
    """The member's assignment, or the refusal."""
    command = SyncGroup(
        request.group_id,
        request.generation_id,
        request.member_id,
        request.group_instance_id,
        request.protocol_type,
        request.protocol_name,
        tuple(await paced_list(context, _assignment, request.assignments)),
    )
    synced: Synced
    try:
        if context.api_version >= _PROTOCOL_SINCE and None in (request.protocol_type, request.protocol_name):
            raise KafkaError(Code.INCONSISTENT_GROUP_PROTOCOL)
        context.authorize(Operation.READ, ResourceType.GROUP, request.group_id)
        synced = await context.broker.groups.submit(
            context,
            request.group_id,
            lambda machine, ticket, now_ms: machine.sync(command, ticket=ticket, now_ms=now_ms),
        )
    except KafkaError as refusal:
        synced = Synced(refusal.code)
    return SyncGroupResponse(
        throttle_time_ms=context.throttle_ms,
        error_code=synced.error,
        protocol_type=synced.protocol_type,
        protocol_name=synced.protocol_name,
        assignment=synced.assignment,
    )


def _assignment(given: SyncGroupRequest.SyncGroupRequestAssignment) -> tuple[str, bytes]:
    return given.member_id, bytes(given.assignment)
