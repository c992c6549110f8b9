"""OffsetCommit (key 8).

Versions: 2-10.

Behaviour: a topic or partition that does not exist is answered by itself; the others are committed together, one batch
in the group's partition of ``__consumer_offsets`` for every 200 of them. A refusal of the group is the answer to each.

Version notes: 2-4 a retention time in the request, which later versions leave to the broker (KIP-211); 6 leader epochs
(KIP-320); 7 static members (KIP-345); 9 a consumer's member epoch, and GROUP_ID_NOT_FOUND for a group that is not there
(KIP-848), which is ILLEGAL_GENERATION as before if the broker appears as a release before 4.0; 10 topic ids (KIP-848).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from kwire.api.group_partitions import CheckedTopic, check_topic, commit_offsets
from kwire.api.probes import MEMBER, PARTITIONS, Probe
from kwire.broker.requests.context import Context
from kwire.coordinators.group.commands import CommitOffsets, OffsetToCommit
from kwire.errors import Code, KafkaError
from kwire.personas import persona
from kwire.security.operations import Operation, ResourceType
from kwire.types import Uuid
from kwire.wire.messages import OffsetCommitRequest, OffsetCommitResponse

PROBE: Probe = {**MEMBER, "generation_id_or_member_epoch": 7, "topics": PARTITIONS}

_GROUP_ID_NOT_FOUND_SINCE: Final = 9  # KIP-848
_TOPIC_IDS_SINCE: Final = 10  # KIP-848

TopicResponse = OffsetCommitResponse.OffsetCommitResponseTopic
PartitionResponse = OffsetCommitResponse.OffsetCommitResponsePartition


async def handle(context: Context, request: OffsetCommitRequest) -> OffsetCommitResponse:
    """Answer each partition; which topics the answer lists is decided in ``merge_answers``."""
    if not context.may(Operation.READ, ResourceType.GROUP, request.group_id):
        return _denied(context, request)
    committed = await commit_offsets(
        context,
        request.group_id,
        (_checked(context, wanted) for wanted in request.topics),
        answer=lambda index: PartitionResponse(partition_index=index),
        commit=lambda offsets: _commit(context, request, offsets),
    )
    topics = [
        TopicResponse(name=name, topic_id=topic_id, partitions=partitions) for (name, topic_id), partitions in committed
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


def _checked(
    context: Context, wanted: OffsetCommitRequest.OffsetCommitRequestTopic
) -> CheckedTopic[tuple[str, Uuid], OffsetCommitRequest.OffsetCommitRequestPartition]:
    topic, code = check_topic(context, wanted, by_id=context.api_version >= _TOPIC_IDS_SINCE)
    return CheckedTopic((wanted.name, wanted.topic_id), topic, code, wanted.partitions)


async def _commit(context: Context, request: OffsetCommitRequest, offsets: Sequence[OffsetToCommit]) -> Sequence[Code]:
    if not offsets:
        return []
    by_epoch = context.api_version >= _GROUP_ID_NOT_FOUND_SINCE
    command = CommitOffsets(
        request.group_id,
        request.generation_id_or_member_epoch,
        request.member_id,
        request.group_instance_id,
        tuple(offsets),
        retention_ms=request.retention_time_ms,
        unknown_group=Code.GROUP_ID_NOT_FOUND if by_epoch else Code.ILLEGAL_GENERATION,
        has_member_epoch=by_epoch,
    )
    try:
        codes: Sequence[Code] = await context.broker.groups.submit(
            context,
            request.group_id,
            lambda machine, ticket, now_ms: machine.commit_offsets(command, ticket=ticket, now_ms=now_ms),
        )
    except KafkaError as refusal:
        return [_code_of_release(context, refusal.code)] * len(offsets)
    return codes


def _code_of_release(context: Context, code: Code) -> Code:
    if code is Code.GROUP_ID_NOT_FOUND:
        release = persona(context.broker.configs.broker["kwire.as.release"])
        if release is not None and release.has_old_groups:
            return Code.ILLEGAL_GENERATION
    return code
