"""OffsetDelete (key 47).

Versions: 0.

Behaviour: forgets offsets of topics that no member of the group reads (KIP-496); others are GROUP_SUBSCRIBED_TO_TOPIC.
"""

from __future__ import annotations

from kwire.api.offset_commit_answers import merge_answers
from kwire.api.pacing import paced
from kwire.broker.requests.context import Context
from kwire.errors import Code, KafkaError
from kwire.security.operations import Operation, ResourceType
from kwire.wire.messages import OffsetDeleteRequest, OffsetDeleteResponse

TopicResponse = OffsetDeleteResponse.OffsetDeleteResponseTopic
PartitionResponse = OffsetDeleteResponse.OffsetDeleteResponsePartition


async def handle(context: Context, request: OffsetDeleteRequest) -> OffsetDeleteResponse:
    """Each partition by itself; a refusal of the group is that of the whole request."""
    if not context.may(Operation.DELETE, ResourceType.GROUP, request.group_id):
        return OffsetDeleteResponse(throttle_time_ms=context.throttle_ms, error_code=Code.GROUP_AUTHORIZATION_FAILED)
    image = context.broker.image
    refused: dict[str, list[PartitionResponse]] = {}
    deleted: list[tuple[str, list[PartitionResponse]]] = []
    deleting: list[PartitionResponse] = []
    partitions: list[tuple[str, int]] = []
    async for wanted in paced(context, request.topics):
        accepted = []
        may_read = context.may(Operation.READ, ResourceType.TOPIC, wanted.name)
        if not may_read or wanted.name not in image.topics:
            refused.setdefault(wanted.name, [])  # listed even without partitions
        for partition in wanted.partitions:
            answer = PartitionResponse(partition_index=partition.partition_index)
            if not may_read:
                answer.error_code = Code.TOPIC_AUTHORIZATION_FAILED
            elif image.partition(wanted.name, partition.partition_index) is None:
                answer.error_code = Code.UNKNOWN_TOPIC_OR_PARTITION
            if answer.error_code:
                refused.setdefault(wanted.name, []).append(answer)
            else:
                accepted.append(answer)
                partitions.append((wanted.name, partition.partition_index))
        deleting += accepted
        deleted.append((wanted.name, accepted))
    try:
        codes: list[Code] = await context.broker.groups.submit(
            context,
            request.group_id,
            lambda machine, ticket, now_ms: machine.delete_offsets(
                request.group_id, partitions, ticket=ticket, now_ms=now_ms
            ),
        )
    except KafkaError as refusal:
        return OffsetDeleteResponse(throttle_time_ms=context.throttle_ms, error_code=refusal.code)
    for answer, code in zip(deleting, codes, strict=True):
        answer.error_code = code
    topics = [TopicResponse(name=name, partitions=answers) for name, answers in merge_answers(refused, deleted)]
    return OffsetDeleteResponse(throttle_time_ms=context.throttle_ms, topics=topics)
