"""ConsumerGroupHeartbeat (key 68).

Versions: 0-1.

Behaviour: a member of a consumer group joins, reports that it is alive and which partitions it owns, gets its target
partitions, and leaves (KIP-848). The answer never waits for other members.

Version notes: 1 a regular expression as subscription; the client chooses its member id (KIP-1082).
"""

from __future__ import annotations

from functools import partial
from typing import Final

from kwire.api.modern_groups import may_describe_all, refused, topic_partitions
from kwire.api.probes import MEMBER, Probe
from kwire.broker.requests.context import Context
from kwire.coordinators.group.consumer.commands import ConsumerHeartbeat, HeartbeatAnswer
from kwire.errors import Code, KafkaError
from kwire.metadata.features import GROUP_VERSION
from kwire.security.operations import Operation, ResourceType
from kwire.wire.messages import ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse

PROBE: Probe = MEMBER

_OWN_MEMBER_ID_SINCE: Final = 1  # KIP-1082


async def handle(context: Context, request: ConsumerGroupHeartbeatRequest) -> ConsumerGroupHeartbeatResponse:
    """The member's epoch and, when it changed, its assignment."""
    try:
        answer = await _heartbeat(context, request)
    except KafkaError as refusal:
        return refused(context, ConsumerGroupHeartbeatResponse, refusal)
    assignment = None
    if answer.assignment is not None:
        held = topic_partitions(ConsumerGroupHeartbeatResponse.TopicPartitions, answer.assignment)
        assignment = ConsumerGroupHeartbeatResponse.Assignment(topic_partitions=held)
    return ConsumerGroupHeartbeatResponse(
        throttle_time_ms=context.throttle_ms,
        member_id=answer.member_id,
        member_epoch=answer.member_epoch,
        heartbeat_interval_ms=answer.heartbeat_interval_ms,
        assignment=assignment,
    )


async def _heartbeat(context: Context, request: ConsumerGroupHeartbeatRequest) -> HeartbeatAnswer:
    check_served(context)
    # As in Apache Kafka, these refusals have no text.
    if not context.may(Operation.READ, ResourceType.GROUP, request.group_id):
        raise KafkaError(Code.GROUP_AUTHORIZATION_FAILED)
    may_describe = partial(context.may, Operation.DESCRIBE, ResourceType.TOPIC)
    if not await may_describe_all(context, request.subscribed_topic_names or ()):
        raise KafkaError(Code.TOPIC_AUTHORIZATION_FAILED)
    groups = context.broker.groups
    owned = request.topic_partitions
    command = ConsumerHeartbeat(
        group_id=request.group_id,
        member_id=request.member_id,
        member_epoch=request.member_epoch,
        instance_id=request.instance_id,
        rack_id=request.rack_id,
        rebalance_timeout_ms=request.rebalance_timeout_ms,
        topics=None if request.subscribed_topic_names is None else tuple(request.subscribed_topic_names),
        regex=request.subscribed_topic_regex,
        assignor=request.server_assignor,
        owned=None if owned is None else {each.topic_id: frozenset(each.partitions) for each in owned},
        client_id=context.client_id or "",
        client_host=context.client.java_host,
        new_member_id=groups.new_member_id(),
        may_lack_id=context.api_version < _OWN_MEMBER_ID_SINCE,
        may_describe=partial(may_describe, audited=False),
    )
    await groups.load_kind("consumer")
    answer: HeartbeatAnswer = await groups.submit(
        context,
        request.group_id,
        lambda machine, ticket, now_ms: machine.consumer.heartbeat(command, ticket=ticket, now_ms=now_ms),
    )
    return answer


def check_served(context: Context) -> None:
    """KafkaError(UNSUPPORTED_VERSION) unless the settings and the finalized features have consumer groups."""
    broker = context.broker
    is_enabled = "consumer" in broker.configs.broker["group.coordinator.rebalance.protocols"]
    if not is_enabled or broker.image.features.get(GROUP_VERSION, 0) < 1:
        raise KafkaError(Code.UNSUPPORTED_VERSION)
