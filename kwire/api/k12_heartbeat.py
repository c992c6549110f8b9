"""Heartbeat (key 12).

Versions: 0-4.

Behaviour: the member lives; REBALANCE_IN_PROGRESS tells him to join again.

Version notes: 3 static members (KIP-345).
"""

from __future__ import annotations

from kwire.broker.requests.context import Context
from kwire.errors import KafkaError
from kwire.security.operations import Operation, ResourceType
from kwire.wire.messages import HeartbeatRequest, HeartbeatResponse


async def handle(context: Context, request: HeartbeatRequest) -> HeartbeatResponse:
    """NONE, REBALANCE_IN_PROGRESS, or why he is no member."""
    broker = context.broker
    try:
        context.authorize(Operation.READ, ResourceType.GROUP, request.group_id)
        machine = await broker.groups.machine(context, request.group_id)
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
