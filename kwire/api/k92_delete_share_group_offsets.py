"""DeleteShareGroupOffsets (key 92).

Versions: 0.

Behaviour: deletes the start offsets of whole topics of a share group without members, which then begins as its configs
say.
"""

from __future__ import annotations

from kwire.api.pacing import paced
from kwire.api.probes import NO_TOPIC, UNKNOWN_NAME, Probe
from kwire.api.share_deletion import delete_states
from kwire.broker.requests.context import Context
from kwire.errors import Code, KafkaError
from kwire.security.operations import Operation, ResourceType
from kwire.types import Uuid
from kwire.wire.messages import DeleteShareGroupOffsetsRequest, DeleteShareGroupOffsetsResponse

PROBE: Probe = {"group_id": UNKNOWN_NAME, "topics": [{"topic_name": NO_TOPIC}]}

Topic = DeleteShareGroupOffsetsResponse.DeleteShareGroupOffsetsResponseTopic


async def handle(context: Context, request: DeleteShareGroupOffsetsRequest) -> DeleteShareGroupOffsetsResponse:
    """Each topic by itself, unless the group refuses."""
    try:
        context.authorize(Operation.DELETE, ResourceType.GROUP, request.group_id)
        if not request.group_id:
            raise KafkaError(Code.INVALID_GROUP_ID, "The group id is invalid.")
        responses = await _delete(context, request)
    except KafkaError as refusal:
        return DeleteShareGroupOffsetsResponse(
            throttle_time_ms=context.throttle_ms, error_code=refusal.code, error_message=refusal.message
        )
    return DeleteShareGroupOffsetsResponse(throttle_time_ms=context.throttle_ms, responses=responses)


async def _delete(context: Context, request: DeleteShareGroupOffsetsRequest) -> list[Topic]:
    group_id = request.group_id
    refused: list[Topic] = []
    unknown: list[Topic] = []
    wanted: dict[Uuid, str] = {}
    async for topic in paced(context, request.topics):
        name = topic.topic_name
        known = context.broker.image.topics.get(name)
        if not context.may(Operation.READ, ResourceType.TOPIC, name):
            refused.append(Topic(topic_name=name, error_code=Code.TOPIC_AUTHORIZATION_FAILED))
        elif known is None:
            unknown.append(
                Topic(
                    topic_name=name,
                    error_code=Code.UNKNOWN_TOPIC_OR_PARTITION,
                    error_message="This server does not host this topic-partition.",
                )
            )
        else:
            wanted[known.id] = name
    await context.broker.groups.load_kind("share")
    found: dict[Uuid, frozenset[int]] = await context.broker.groups.submit(
        context,
        group_id,
        lambda machine, ticket, now_ms: machine.share.begin_delete_offsets(
            group_id, list(wanted), ticket=ticket, now_ms=now_ms
        ),
    )
    async for topic_id, name in paced(context, wanted.items()):
        if topic_id not in found:
            unknown.append(
                Topic(
                    topic_name=name,
                    error_code=Code.UNKNOWN_TOPIC_OR_PARTITION,
                    error_message="There is no offset information to delete.",
                )
            )
    deleted = []
    failed = await delete_states(context, group_id, found)
    async for topic_id in paced(context, found):
        refusal = failed.get(topic_id)
        answer = Topic(topic_name=wanted[topic_id], topic_id=topic_id)
        if refusal is not None:
            answer.error_code, answer.error_message = refusal.code, refusal.message
        deleted.append(answer)
    return [*refused, *deleted, *unknown]
