"""OffsetFetch (key 9).

Versions: 1-10.

Behaviour: what a group has committed, for the partitions that are named, or for all. A partition without an offset, a
topic that does not exist and a group that does not exist are no errors: the offset is -1.

Version notes: 1 null is not allowed for the topics; 7 ``require_stable``: an offset of an open transaction makes its
partition UNSTABLE_OFFSET_COMMIT (KIP-447); 8 several groups (KIP-709); 9 a consumer's member id and epoch (KIP-848);
10 topic ids (KIP-848).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from kwire.api.pacing import paced, paced_list
from kwire.api.probes import INDEXES, UNKNOWN_NAME, Probe
from kwire.broker.requests.context import Context
from kwire.coordinators.group.commands import FetchedOffset
from kwire.coordinators.group.coordinator import GroupCoordinator
from kwire.coordinators.group.offsets import TopicToFetch
from kwire.errors import Code, KafkaError
from kwire.security.operations import Operation, ResourceType
from kwire.types import ZERO_UUID
from kwire.wire.messages import OffsetFetchRequest, OffsetFetchResponse

PROBE: Probe = {
    "group_id": UNKNOWN_NAME,
    "topics": INDEXES,
    "groups": [{"group_id": UNKNOWN_NAME, "topics": INDEXES}],
}

_SEVERAL_GROUPS_SINCE: Final = 8  # KIP-709
_TOPIC_IDS_SINCE: Final = 10  # KIP-848
_GROUP_ERRORS_SINCE: Final = 2  # before, a group's error is that of each partition

# Partitions that are looked up at once; a request of fewer is answered from one state of the group.
_PARTITIONS_AT_ONCE: Final = 500

GroupResponse = OffsetFetchResponse.OffsetFetchResponseGroup
TopicResponse = OffsetFetchResponse.OffsetFetchResponseTopics
PartitionResponse = OffsetFetchResponse.OffsetFetchResponsePartitions


async def handle(context: Context, request: OffsetFetchRequest) -> OffsetFetchResponse:
    """Each group by itself."""
    if context.api_version >= _SEVERAL_GROUPS_SINCE:
        groups = [await _fetch(context, wanted, require_stable=request.require_stable) for wanted in request.groups]
        return OffsetFetchResponse(throttle_time_ms=context.throttle_ms, groups=groups)
    return _as_one_group(
        context, request, await _fetch(context, _only_group(request), require_stable=request.require_stable)
    )


async def _fetch(
    context: Context, wanted: OffsetFetchRequest.OffsetFetchRequestGroup, *, require_stable: bool
) -> GroupResponse:
    if not context.may(Operation.DESCRIBE, ResourceType.GROUP, wanted.group_id):
        return GroupResponse(group_id=wanted.group_id, error_code=Code.GROUP_AUTHORIZATION_FAILED)
    known: list[TopicToFetch] | None = None
    unknown: list[TopicResponse] = []
    if wanted.topics is not None:
        known = []
        async for topic in paced(context, wanted.topics):
            name = topic.name
            if context.api_version >= _TOPIC_IDS_SINCE:
                found = context.broker.image.topics_by_id.get(topic.topic_id)
                if found is None:
                    unknown.append(_refused(topic, Code.UNKNOWN_TOPIC_ID))
                    continue
                name = found.name
            if not context.may(Operation.DESCRIBE, ResourceType.TOPIC, name):
                unknown.append(_refused(topic, Code.TOPIC_AUTHORIZATION_FAILED))
                continue
            known.append((name, topic.topic_id, topic.partition_indexes))
    try:
        machine = await context.broker.groups.machine(context, wanted.group_id)
        fetched: list[tuple[str, list[FetchedOffset]]] = []
        for goes_on, piece in _in_pieces(_committed(context, machine, wanted) if known is None else known):
            offsets = machine.fetch_offsets(
                wanted.group_id, piece, wanted.member_id, wanted.member_epoch, require_stable=require_stable
            )
            for is_continued, (topic_name, found_offsets) in zip(goes_on, offsets, strict=True):
                if is_continued:
                    fetched[-1][1].extend(found_offsets)
                else:
                    fetched.append((topic_name, found_offsets))
            await context.yield_turn()
    except KafkaError as refusal:
        return GroupResponse(group_id=wanted.group_id, error_code=refusal.code)
    answers = [await _topic(context, name, partitions) async for name, partitions in paced(context, fetched)]
    return GroupResponse(group_id=wanted.group_id, topics=[answer for answer in answers if answer] + unknown)


def _committed(
    context: Context, machine: GroupCoordinator, wanted: OffsetFetchRequest.OffsetFetchRequestGroup
) -> Iterator[TopicToFetch]:
    """What the group has committed in topics that the client may describe."""
    for topic in machine.offsets.committed_topics(wanted.group_id):
        if context.may(Operation.DESCRIBE, ResourceType.TOPIC, topic):
            yield topic, ZERO_UUID, machine.offsets.committed_partitions(wanted.group_id, topic)


def _in_pieces(topics: Iterable[TopicToFetch]) -> Iterator[tuple[list[bool], list[TopicToFetch]]]:
    """Pieces of a bounded number of partitions, at least one piece; and which entries go on with the topic before."""
    goes_on: list[bool] = []
    piece: list[TopicToFetch] = []
    count = 0
    is_first = True
    for topic, topic_id, partitions in topics:
        indexes = list(partitions)
        for start in range(0, max(1, len(indexes)), _PARTITIONS_AT_ONCE):
            some = indexes[start : start + _PARTITIONS_AT_ONCE]
            goes_on.append(start > 0)
            piece.append((topic, topic_id, some))
            count += max(1, len(some))
            if count >= _PARTITIONS_AT_ONCE:
                yield goes_on, piece
                goes_on, piece, count, is_first = [], [], 0, False
    if piece or is_first:
        yield goes_on, piece


async def _topic(context: Context, name: str, partitions: list[FetchedOffset]) -> TopicResponse | None:
    """None for a topic that is gone, when topics go by their ids."""
    topic_id = ZERO_UUID
    if context.api_version >= _TOPIC_IDS_SINCE:
        topic = context.broker.image.topics.get(name)
        if topic is None:
            return None
        topic_id = topic.id
    return TopicResponse(name=name, topic_id=topic_id, partitions=await paced_list(context, _partition, partitions))


def _partition(fetched: FetchedOffset) -> PartitionResponse:
    return PartitionResponse(
        partition_index=fetched.partition,
        committed_offset=fetched.offset,
        committed_leader_epoch=fetched.leader_epoch,
        metadata=fetched.metadata,
        error_code=fetched.error,
    )


def _refused(topic: OffsetFetchRequest.OffsetFetchRequestTopics, code: Code) -> TopicResponse:
    return TopicResponse(
        name=topic.name,
        topic_id=topic.topic_id,
        partitions=[
            PartitionResponse(partition_index=index, committed_offset=-1, metadata="", error_code=code)
            for index in topic.partition_indexes
        ],
    )


def _only_group(request: OffsetFetchRequest) -> OffsetFetchRequest.OffsetFetchRequestGroup:
    topics = None
    if request.topics is not None:
        topics = [
            OffsetFetchRequest.OffsetFetchRequestTopics(name=each.name, partition_indexes=each.partition_indexes)
            for each in request.topics
        ]
    return OffsetFetchRequest.OffsetFetchRequestGroup(group_id=request.group_id, topics=topics)


def _as_one_group(context: Context, request: OffsetFetchRequest, group: GroupResponse) -> OffsetFetchResponse:
    if group.error_code and context.api_version < _GROUP_ERRORS_SINCE:
        group.topics = [
            TopicResponse(
                name=topic.name,
                partitions=[
                    PartitionResponse(
                        partition_index=index, committed_offset=-1, metadata="", error_code=group.error_code
                    )
                    for index in topic.partition_indexes
                ],
            )
            for topic in request.topics or ()
        ]
    return OffsetFetchResponse(
        throttle_time_ms=context.throttle_ms,
        error_code=group.error_code,
        topics=[
            OffsetFetchResponse.OffsetFetchResponseTopic(
                name=topic.name,
                partitions=[
                    OffsetFetchResponse.OffsetFetchResponsePartition(
                        partition_index=each.partition_index,
                        committed_offset=each.committed_offset,
                        committed_leader_epoch=each.committed_leader_epoch,
                        metadata=each.metadata,
                        error_code=each.error_code,
                    )
                    for each in topic.partitions
                ],
            )
            for topic in group.topics
        ],
    )
