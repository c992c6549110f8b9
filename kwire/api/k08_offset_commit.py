"""OffsetCommit (key 8).

Versions: 2-10.

Behaviour: a topic or partition that does not exist is answered by itself; the others are committed together, one batch
in the group's partition of ``__consumer_offsets``. A refusal of the group is the answer to each of them.

Version notes: 2-4 a retention of the client's own, later only the broker's (KIP-211); 6 leader epochs (KIP-320);
7 static members (KIP-345); 9 a consumer's member epoch, and GROUP_ID_NOT_FOUND for a group that is not there (KIP-848);
10 topic ids (KIP-848).
"""

from __future__ import annotations

from typing import Final

from kwire.api.offset_commit_answers import merge_answers
from kwire.api.pacing import paced
from kwire.broker.requests.context import Context
from kwire.coordinators.group.commands import CommitOffsets, OffsetToCommit
from kwire.errors import Code, KafkaError
from kwire.metadata.entities import Topic
from kwire.security.operations import Operation, ResourceType
from kwire.types import Uuid
from kwire.wire.messages import OffsetCommitRequest, OffsetCommitResponse

_GROUP_ID_NOT_FOUND_SINCE: Final = 9  # KIP-848
_TOPIC_IDS_SINCE: Final = 10  # KIP-848

TopicResponse = OffsetCommitResponse.OffsetCommitResponseTopic
PartitionResponse = OffsetCommitResponse.OffsetCommitResponsePartition


async def handle(context: Context, request: OffsetCommitRequest) -> OffsetCommitResponse:
    """Answer each partition; which topics the answer lists is decided in ``merge_answers``."""
    if not context.may(Operation.READ, ResourceType.GROUP, request.group_id):
        return _denied(context, request)
    refused: dict[tuple[str, Uuid], list[PartitionResponse]] = {}
    committed: list[tuple[tuple[str, Uuid], list[PartitionResponse]]] = []
    offsets: list[OffsetToCommit] = []
    committing: list[PartitionResponse] = []
    async for wanted in paced(context, request.topics):
        topic = _find(context, wanted)
        key = (wanted.name, wanted.topic_id)
        accepted: list[PartitionResponse] = []
        may_read = _may_read(context, wanted, topic)
        if topic is None or not may_read:
            refused.setdefault(key, [])  # listed even without partitions
        for partition in wanted.partitions:
            index = partition.partition_index
            answer = PartitionResponse(partition_index=index)
            if topic is None or not may_read or not 0 <= index < len(topic.partitions):
                answer.error_code = _unknown(context, topic) if may_read else Code.TOPIC_AUTHORIZATION_FAILED
                refused.setdefault(key, []).append(answer)
                continue
            accepted.append(answer)
            offsets.append(
                OffsetToCommit(
                    topic.name,
                    topic.id,
                    index,
                    partition.committed_offset,
                    partition.committed_leader_epoch,
                    partition.committed_metadata,
                )
            )
        committing += accepted
        committed.append((key, accepted))
    if offsets:
        for answer, code in zip(committing, await _commit(context, request, offsets), strict=True):
            answer.error_code = code
    topics = [
        TopicResponse(name=name, topic_id=topic_id, partitions=partitions)
        for (name, topic_id), partitions in merge_answers(refused, committed)
    ]
    return OffsetCommitResponse(throttle_time_ms=context.throttle_ms, topics=topics)


def _denied(context: Context, request: OffsetCommitRequest) -> OffsetCommitResponse:
    return OffsetCommitResponse(
        throttle_time_ms=context.throttle_ms,
        topics=[
            TopicResponse(
                name=topic.name,
                topic_id=topic.topic_id,
                partitions=[
                    PartitionResponse(partition_index=one.partition_index, error_code=Code.GROUP_AUTHORIZATION_FAILED)
                    for one in topic.partitions
                ],
            )
            for topic in request.topics
        ],
    )


def _may_read(context: Context, wanted: OffsetCommitRequest.OffsetCommitRequestTopic, topic: Topic | None) -> bool:
    name = wanted.name if topic is None else topic.name
    return not name or context.may(Operation.READ, ResourceType.TOPIC, name)


def _unknown(context: Context, topic: Topic | None) -> Code:
    by_id = context.api_version >= _TOPIC_IDS_SINCE
    return Code.UNKNOWN_TOPIC_ID if by_id and topic is None else Code.UNKNOWN_TOPIC_OR_PARTITION


def _find(context: Context, wanted: OffsetCommitRequest.OffsetCommitRequestTopic) -> Topic | None:
    image = context.broker.image
    if context.api_version >= _TOPIC_IDS_SINCE:
        return image.topics_by_id.get(wanted.topic_id)
    return image.topics.get(wanted.name)


async def _commit(context: Context, request: OffsetCommitRequest, offsets: list[OffsetToCommit]) -> list[Code]:
    by_epoch = context.api_version >= _GROUP_ID_NOT_FOUND_SINCE
    command = CommitOffsets(
        request.group_id,
        request.generation_id_or_member_epoch,
        request.member_id,
        request.group_instance_id,
        tuple(offsets),
        retention_ms=request.retention_time_ms,
        unknown_group=Code.GROUP_ID_NOT_FOUND if by_epoch else Code.ILLEGAL_GENERATION,
    )
    try:
        codes: list[Code] = await context.broker.groups.submit(
            context,
            request.group_id,
            lambda machine, ticket, now_ms: machine.commit_offsets(command, ticket=ticket, now_ms=now_ms),
        )
    except KafkaError as refusal:
        return [refusal.code] * len(offsets)
    return codes
