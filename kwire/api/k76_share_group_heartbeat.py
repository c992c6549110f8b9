"""ShareGroupHeartbeat (key 76).

Versions: 1.

Behaviour: a member of a share group joins, reports that it is alive, gets the partitions that it may fetch, and leaves
(KIP-932). The answer never waits for other members. Partitions are assigned once the share coordinator has a state for
them, so a group's first member gets its assignment with a later heartbeat, which it is asked to send soon.
"""

from __future__ import annotations

from kwire.api.modern_groups import may_describe_all, refused, topic_partitions
from kwire.api.probes import MEMBER, Probe
from kwire.api.share_sessions import is_member_id
from kwire.broker.requests.context import Context
from kwire.coordinators.group.share.commands import HeartbeatAnswer, ShareHeartbeat
from kwire.errors import Code, KafkaError
from kwire.security.operations import Operation, ResourceType
from kwire.wire.messages import ShareGroupHeartbeatRequest, ShareGroupHeartbeatResponse

PROBE: Probe = MEMBER


async def handle(context: Context, request: ShareGroupHeartbeatRequest) -> ShareGroupHeartbeatResponse:
    """The member's epoch and, when it changed, its assignment."""
    try:
        answer = await _heartbeat(context, request)
    except KafkaError as refusal:
        return refused(context, ShareGroupHeartbeatResponse, refusal)
    assignment = None
    if answer.assignment is not None:
        held = topic_partitions(ShareGroupHeartbeatResponse.TopicPartitions, answer.assignment)
        assignment = ShareGroupHeartbeatResponse.Assignment(topic_partitions=held)
    return ShareGroupHeartbeatResponse(
        throttle_time_ms=context.throttle_ms,
        member_id=answer.member_id,
        member_epoch=answer.member_epoch,
        heartbeat_interval_ms=answer.heartbeat_interval_ms,
        assignment=assignment,
    )


async def _heartbeat(context: Context, request: ShareGroupHeartbeatRequest) -> HeartbeatAnswer:
    if not context.may(Operation.READ, ResourceType.GROUP, request.group_id):
        raise KafkaError(Code.GROUP_AUTHORIZATION_FAILED)
    if not is_member_id(request.member_id):
        raise KafkaError(Code.INVALID_REQUEST)
    names = request.subscribed_topic_names
    if not await may_describe_all(context, names or ()):
        raise KafkaError(Code.TOPIC_AUTHORIZATION_FAILED)
    command = ShareHeartbeat(
        group_id=request.group_id,
        member_id=request.member_id,
        member_epoch=request.member_epoch,
        rack_id=request.rack_id,
        topics=None if names is None else tuple(names),
        client_id=context.client_id or "",
        client_host=context.client.java_host,
    )
    await context.broker.groups.load_kind("share")
    answer: HeartbeatAnswer = await context.broker.groups.submit(
        context,
        request.group_id,
        lambda machine, ticket, now_ms: machine.share.heartbeat(command, ticket=ticket, now_ms=now_ms),
    )
    return answer
