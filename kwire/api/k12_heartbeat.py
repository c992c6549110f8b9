"""Heartbeat (key 12).

Versions: 0-4.

Behaviour: extends the member's session; REBALANCE_IN_PROGRESS asks it to join again. In a consumer group it is served
to members that use the classic protocol.

Version notes: 3 static members (KIP-345).
"""

from __future__ import annotations

from kwire.api.probes import MEMBER, Probe
from kwire.broker.requests.context import Context
from kwire.errors import Code, KafkaError
from kwire.security.operations import Operation, ResourceType
from kwire.wire.messages import HeartbeatRequest, HeartbeatResponse

PROBE: Probe = MEMBER


async def handle(context: Context, request: HeartbeatRequest) -> HeartbeatResponse:
    """Answer NONE, REBALANCE_IN_PROGRESS, or the reason why the sender is not a member."""
    broker = context.broker
    try:
        context.authorize(Operation.READ, ResourceType.GROUP, request.group_id)
        machine = await broker.groups.machine(context, request.group_id)
        if machine.has_consumer_members(request.group_id):
            code = await _consumer_heartbeat(context, request)
        else:
            code = machine.heartbeat(
                request.group_id,
                request.generation_id,
                request.member_id,
                request.group_instance_id,
                now_ms=broker.clock.now_ms(),
            )
    except KafkaError as refusal:
        code = refusal.code
    return HeartbeatResponse(throttle_time_ms=context.throttle_ms, error_code=code)


async def _consumer_heartbeat(context: Context, request: HeartbeatRequest) -> Code:
    who = (request.group_id, request.generation_id, request.member_id, request.group_instance_id)
    code: Code = await context.broker.groups.submit(
        context,
        request.group_id,
        lambda machine, ticket, now_ms: machine.consumer.classic_heartbeat(*who, ticket=ticket, now_ms=now_ms),
    )
    return code
