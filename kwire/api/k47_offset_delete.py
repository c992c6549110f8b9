"""OffsetDelete (key 47).

Versions: 0.

Behaviour: deletes offsets of topics that no member of the group is subscribed to (KIP-496); others are
GROUP_SUBSCRIBED_TO_TOPIC.
"""

from __future__ import annotations

from collections.abc import Sequence

from kwire.api.group_partitions import CheckedTopic, in_slices, sort_partitions
from kwire.api.probes import PARTITIONS, UNKNOWN_NAME, Probe
from kwire.broker.requests.context import Context
from kwire.errors import Code, KafkaError
from kwire.security.operations import Operation, ResourceType
from kwire.wire.messages import OffsetDeleteRequest, OffsetDeleteResponse

PROBE: Probe = {"group_id": UNKNOWN_NAME, "topics": PARTITIONS}

TopicResponse = OffsetDeleteResponse.OffsetDeleteResponseTopic
PartitionResponse = OffsetDeleteResponse.OffsetDeleteResponsePartition


async def handle(context: Context, request: OffsetDeleteRequest) -> OffsetDeleteResponse:
    """Each partition by itself; a refusal of the group is that of the whole request."""
    if not context.may(Operation.DELETE, ResourceType.GROUP, request.group_id):
        return OffsetDeleteResponse(throttle_time_ms=context.throttle_ms, error_code=Code.GROUP_AUTHORIZATION_FAILED)
    found = await sort_partitions(
        context,
        (_checked(context, wanted) for wanted in request.topics),
        answer=lambda index: PartitionResponse(partition_index=index),
        item=lambda topic, wanted: (topic.name, wanted.partition_index),
    )
    try:
        codes = await in_slices(context, found.items, lambda partitions: _delete(context, request.group_id, partitions))
    except KafkaError as refusal:
        return OffsetDeleteResponse(throttle_time_ms=context.throttle_ms, error_code=refusal.code)
    for answer, code in zip(found.asked, codes, strict=True):
        answer.error_code = code
    topics = [TopicResponse(name=name, partitions=answers) for name, answers in found.topics()]
    return OffsetDeleteResponse(throttle_time_ms=context.throttle_ms, topics=topics)


def _checked(
    context: Context, wanted: OffsetDeleteRequest.OffsetDeleteRequestTopic
) -> CheckedTopic[str, OffsetDeleteRequest.OffsetDeleteRequestPartition]:
    topic = context.broker.image.topics.get(wanted.name)
    code = Code.NONE
    if not context.may(Operation.READ, ResourceType.TOPIC, wanted.name):
        code = Code.TOPIC_AUTHORIZATION_FAILED
    elif topic is None:
        code = Code.UNKNOWN_TOPIC_OR_PARTITION
    return CheckedTopic(wanted.name, topic, code, wanted.partitions)


async def _delete(context: Context, group_id: str, partitions: Sequence[tuple[str, int]]) -> Sequence[Code]:
    codes: Sequence[Code] = await context.broker.groups.submit(
        context,
        group_id,
        lambda machine, ticket, now_ms: machine.delete_offsets(group_id, partitions, ticket=ticket, now_ms=now_ms),
    )
    return codes
