"""JoinGroup (key 11).

Versions: 0-9.

Behaviour: the answer is sent when the rebalance is complete: all members have joined again, or the longest rebalance
timeout has passed. The leader's answer lists all members.

Version notes: 0 no rebalance timeout, the session timeout counts; 4 a new member must join a second time with the id
that it was given (KIP-394); 5 static members (KIP-345); 7 the protocol may be null in the answer (KIP-559); 8 a reason,
for the log (KIP-800); 9 a returning static leader may be answered that it need not assign (KIP-814).
"""

from __future__ import annotations

from typing import Final

from kwire.api.pacing import paced_list
from kwire.api.probes import MEMBER, Probe
from kwire.broker.requests.context import Context
from kwire.coordinators.group.commands import Joined, JoinGroup
from kwire.errors import Code, KafkaError
from kwire.security.operations import Operation, ResourceType
from kwire.wire.messages import JoinGroupRequest, JoinGroupResponse

# A session timeout of 0 ms is invalid.
PROBE: Probe = {**MEMBER, "session_timeout_ms": 0, "protocol_type": "consumer", "protocols": [{"name": "range"}]}

_REBALANCE_TIMEOUT_SINCE: Final = 1
_MEMBER_ID_REQUIRED_SINCE: Final = 4  # KIP-394
_NULL_PROTOCOL_SINCE: Final = 7  # KIP-559
_SKIP_ASSIGNMENT_SINCE: Final = 9  # KIP-814
# A member may send this many times what one group record may hold, over all its protocols.
_PROTOCOLS_AT_LIMIT_MAX: Final = 4
# Bytes that a protocol counts in addition to its metadata, because each join of the group handles it.
_PROTOCOL_BYTES: Final = 64


async def handle(context: Context, request: JoinGroupRequest) -> JoinGroupResponse:
    """The generation that the member is in, or the refusal."""
    version = context.api_version
    own_rebalance_timeout = version >= _REBALANCE_TIMEOUT_SINCE and request.rebalance_timeout_ms != -1
    groups = context.broker.groups
    sizes = [len(each.metadata) for each in request.protocols]
    record_bytes_max = context.broker.configs.broker["message.max.bytes"]
    command = JoinGroup(
        group_id=request.group_id,
        member_id=request.member_id,
        group_instance_id=request.group_instance_id,
        client_id=context.client_id or "",
        client_host=context.client.java_host,
        session_timeout_ms=request.session_timeout_ms,
        rebalance_timeout_ms=request.rebalance_timeout_ms if own_rebalance_timeout else request.session_timeout_ms,
        protocol_type=request.protocol_type,
        protocols=tuple(await paced_list(context, _protocol, request.protocols)),
        random_suffix=groups.new_member_suffix(),
        member_id_required=version >= _MEMBER_ID_REQUIRED_SINCE,
        may_skip_assignment=version >= _SKIP_ASSIGNMENT_SINCE,
        consumer_member_id=groups.new_member_id(),
        fits_record=max(sizes, default=0) <= record_bytes_max,
    )
    joined: Joined
    try:
        context.authorize(Operation.READ, ResourceType.GROUP, request.group_id)
        if sum(sizes) + _PROTOCOL_BYTES * len(sizes) > _PROTOCOLS_AT_LIMIT_MAX * record_bytes_max:
            # Apache Kafka's code for a group record that is too large.
            raise KafkaError(Code.UNKNOWN_SERVER_ERROR)
        joined = await groups.submit(
            context,
            request.group_id,
            lambda machine, ticket, now_ms: machine.join(command, ticket=ticket, now_ms=now_ms),
        )
    except KafkaError as refusal:
        joined = Joined("", refusal.code)
    return JoinGroupResponse(
        throttle_time_ms=context.throttle_ms,
        error_code=joined.error,
        generation_id=joined.generation_id,
        protocol_type=joined.protocol_type,
        protocol_name=(joined.protocol_name or "") if version < _NULL_PROTOCOL_SINCE else joined.protocol_name,
        leader=joined.leader,
        skip_assignment=joined.skip_assignment,
        member_id=joined.member_id,
        members=[
            JoinGroupResponse.JoinGroupResponseMember(
                member_id=each.member_id, group_instance_id=each.group_instance_id, metadata=each.metadata
            )
            for each in joined.members
        ],
    )


def _protocol(given: JoinGroupRequest.JoinGroupRequestProtocol) -> tuple[str, bytes]:
    return given.name, bytes(given.metadata)
