"""AlterShareGroupOffsets (key 91).

Versions: 0.

Behaviour: sets the start offsets of partitions of a share group without members, which is created if it does not
exist. The states of records in flight or delivered behind the old start are dropped.
"""

from __future__ import annotations

from kwire.api.pacing import paced
from kwire.api.probes import PARTITIONS, UNKNOWN_NAME, Probe
from kwire.broker.coordination.group_actions import initialize_states
from kwire.broker.requests.context import Context
from kwire.coordinators.group.share.commands import InitializeStates
from kwire.errors import Code, KafkaError
from kwire.security.operations import Operation, ResourceType
from kwire.types import ZERO_UUID
from kwire.wire.messages import AlterShareGroupOffsetsRequest, AlterShareGroupOffsetsResponse

PROBE: Probe = {"group_id": UNKNOWN_NAME, "topics": PARTITIONS}

Topic = AlterShareGroupOffsetsResponse.AlterShareGroupOffsetsResponseTopic
Partition = AlterShareGroupOffsetsResponse.AlterShareGroupOffsetsResponsePartition


async def handle(context: Context, request: AlterShareGroupOffsetsRequest) -> AlterShareGroupOffsetsResponse:
    """All partitions that exist, or none if the group refuses."""
    try:
        context.authorize(Operation.READ, ResourceType.GROUP, request.group_id)
        if not request.group_id:
            raise KafkaError(Code.INVALID_GROUP_ID, "The group id is invalid.")
        responses = await _alter(context, request)
    except KafkaError as refusal:
        return AlterShareGroupOffsetsResponse(
            throttle_time_ms=context.throttle_ms, error_code=refusal.code, error_message=refusal.message
        )
    return AlterShareGroupOffsetsResponse(throttle_time_ms=context.throttle_ms, responses=responses)


async def _alter(context: Context, request: AlterShareGroupOffsetsRequest) -> list[Topic]:
    responses = []
    starts: dict[str, dict[int, int]] = {}
    async for topic in paced(context, request.topics):
        known = context.broker.image.topics.get(topic.topic_name)
        code = Code.NONE
        if not context.may(Operation.READ, ResourceType.TOPIC, topic.topic_name):
            code = Code.TOPIC_AUTHORIZATION_FAILED
        elif known is None:
            code = Code.UNKNOWN_TOPIC_OR_PARTITION
        partitions = []
        async for one in paced(context, topic.partitions):
            is_there = known is not None and 0 <= one.partition_index < len(known.partitions)
            own_code = code if code or is_there else Code.UNKNOWN_TOPIC_OR_PARTITION
            text = "This server does not host this topic-partition."
            message = text if own_code == Code.UNKNOWN_TOPIC_OR_PARTITION else None
            partitions.append(
                Partition(partition_index=one.partition_index, error_code=own_code, error_message=message)
            )
            if not own_code:
                starts.setdefault(topic.topic_name, {})[one.partition_index] = one.start_offset
        topic_id = ZERO_UUID if known is None else known.id
        responses.append(Topic(topic_name=topic.topic_name, topic_id=topic_id, partitions=partitions))
    if all(each.error_code == Code.TOPIC_AUTHORIZATION_FAILED for topic in responses for each in topic.partitions):
        return responses
    # Also without a partition to set: the group may be of another kind, or have members.
    refusal = await _set(context, request.group_id, starts)
    if refusal is not None:
        for answer in responses:
            for each in answer.partitions:
                if not each.error_code:
                    each.error_code, each.error_message = refusal.code, refusal.message
    return responses


async def _set(context: Context, group_id: str, starts: dict[str, dict[int, int]]) -> KafkaError | None:
    groups = context.broker.groups
    await groups.load_kind("share")
    action: InitializeStates = await groups.submit(
        context,
        group_id,
        lambda machine, ticket, now_ms: machine.share.alter_offsets(group_id, starts, ticket=ticket, now_ms=now_ms),
    )
    if not starts:
        return None
    refusal = await initialize_states(context.broker.share_persister, context, action)
    if refusal is not None:
        return refusal
    partitions = {topic_id: frozenset(offsets) for topic_id, offsets in action.offsets.items()}
    await groups.submit(
        context,
        group_id,
        lambda machine, ticket, now_ms: machine.share.initialized(group_id, partitions, ticket=ticket, now_ms=now_ms),
    )
    return None
