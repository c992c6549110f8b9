"""ShareAcknowledge (key 79).

Versions: 1-2.

Behaviour: a member acknowledges records that it has acquired; this is stored before the answer. The request belongs to
the share session that a ShareFetch began; epoch -1 ends it, and the records that the member still holds are released.

Version notes: 2 RENEW and the duration of the acquisition lock (KIP-1222).
"""

from __future__ import annotations

from kwire.api.moved_leader import current_leader_by_id, endpoints_of
from kwire.api.pacing import paced
from kwire.api.probes import MEMBER, NO_UUID_TEXT, Probe
from kwire.api.share_acknowledgements import acknowledge
from kwire.api.share_sessions import checked_names, end_session, share_sessions
from kwire.broker.requests.context import Context
from kwire.broker.share.sessions import FINAL_EPOCH, INITIAL_EPOCH
from kwire.errors import Code, KafkaError
from kwire.wire.messages import ShareAcknowledgeRequest, ShareAcknowledgeResponse

PROBE: Probe = {**MEMBER, "member_id": NO_UUID_TEXT, "share_session_epoch": 7}

PartitionData = ShareAcknowledgeResponse.PartitionData


async def handle(context: Context, request: ShareAcknowledgeRequest) -> ShareAcknowledgeResponse:
    try:
        key = checked_names(context, request.group_id, request.member_id)
        if request.share_session_epoch == INITIAL_EPOCH:
            raise KafkaError(Code.INVALID_SHARE_SESSION_EPOCH)
        session = share_sessions(context.broker).resume(key, request.share_session_epoch)
    except KafkaError as refusal:
        return ShareAcknowledgeResponse(
            throttle_time_ms=context.throttle_ms, error_code=refusal.code, error_message=refusal.message
        )
    results = await acknowledge(context, key, request.topics, is_renew=request.is_renew_ack)
    if request.share_session_epoch == FINAL_EPOCH:
        await end_session(context, session)
    leaders: set[int] = set()
    topics: dict[bytes, ShareAcknowledgeResponse.ShareAcknowledgeTopicResponse] = {}
    async for each, refused in paced(context, results.items()):
        topic = topics.setdefault(
            each.topic_id,
            ShareAcknowledgeResponse.ShareAcknowledgeTopicResponse(topic_id=each.topic_id, partitions=[]),
        )
        answer = _answer(each.partition, refused)
        topic.partitions.append(answer)
        if answer.error_code == Code.NOT_LEADER_OR_FOLLOWER:  # KIP-951
            leader, epoch = current_leader_by_id(context, each.topic_id, each.partition)
            answer.current_leader = ShareAcknowledgeResponse.LeaderIdAndEpoch(leader_id=leader, leader_epoch=epoch)
            leaders.add(leader)
    return ShareAcknowledgeResponse(
        throttle_time_ms=context.throttle_ms,
        acquisition_lock_timeout_ms=context.broker.share_partitions.lock_ms(key.group_id),
        responses=list(topics.values()),
        node_endpoints=endpoints_of(context, leaders, ShareAcknowledgeResponse.NodeEndpoint),
    )


def _answer(index: int, refusal: KafkaError | None) -> PartitionData:
    if refusal is None:
        return PartitionData(partition_index=index)
    return PartitionData(partition_index=index, error_code=refusal.code, error_message=refusal.message)
