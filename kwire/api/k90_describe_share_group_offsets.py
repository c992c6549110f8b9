"""DescribeShareGroupOffsets (key 90).

Versions: 0-1.

Behaviour: the start offset of each partition of a share group, with the number of records behind it that are not
delivered for good. What has no state has the start offset -1, and is no error.

Version notes: 1 the lag (KIP-1226).
"""

from __future__ import annotations

from collections.abc import Iterable

from kwire.api.pacing import paced
from kwire.api.probes import INDEXES, UNKNOWN_NAME, Probe
from kwire.broker.broker import Broker
from kwire.broker.requests.context import Context
from kwire.coordinators.share.state import UNKNOWN_COUNT, UNKNOWN_START_OFFSET, SharePartitionKey
from kwire.errors import Code, KafkaError
from kwire.metadata.entities import NO_LEADER
from kwire.security.operations import Operation, ResourceType
from kwire.types import ZERO_UUID, TopicPartition, Uuid
from kwire.wire.messages import DescribeShareGroupOffsetsRequest, DescribeShareGroupOffsetsResponse

PROBE: Probe = {"groups": [{"group_id": UNKNOWN_NAME, "topics": INDEXES}]}

Group = DescribeShareGroupOffsetsResponse.DescribeShareGroupOffsetsResponseGroup
Topic = DescribeShareGroupOffsetsResponse.DescribeShareGroupOffsetsResponseTopic
Partition = DescribeShareGroupOffsetsResponse.DescribeShareGroupOffsetsResponsePartition
_UNKNOWN_LAG = -1


async def handle(context: Context, request: DescribeShareGroupOffsetsRequest) -> DescribeShareGroupOffsetsResponse:
    """Each group by itself; all partitions with a state for a group whose topics are null."""
    groups = []
    for wanted in request.groups:
        try:
            if not context.may(Operation.DESCRIBE, ResourceType.GROUP, wanted.group_id):
                raise KafkaError(Code.GROUP_AUTHORIZATION_FAILED)
            topics = await (_all(context, wanted.group_id) if wanted.topics is None else _some(context, wanted))
            groups.append(Group(group_id=wanted.group_id, topics=topics))
        except KafkaError as refusal:
            groups.append(Group(group_id=wanted.group_id, error_code=refusal.code, error_message=refusal.message))
    return DescribeShareGroupOffsetsResponse(throttle_time_ms=context.throttle_ms, groups=groups)


async def _all(context: Context, group_id: str) -> list[Topic]:
    await context.broker.groups.load_kind("share")
    machine = await context.broker.groups.machine(context, group_id)
    states = machine.share.states(group_id)
    topics = []
    for topic_id, state in ({} if states is None else states.initialized).items():
        known = context.broker.image.topics_by_id.get(topic_id)
        if known is not None and context.may(Operation.DESCRIBE, ResourceType.TOPIC, known.name):
            partitions = await _partitions(context, group_id, topic_id, sorted(state.partitions))
            topics.append(Topic(topic_name=known.name, topic_id=topic_id, partitions=partitions))
    return topics


async def _some(
    context: Context, wanted: DescribeShareGroupOffsetsRequest.DescribeShareGroupOffsetsRequestGroup
) -> list[Topic]:
    found, unknown, refused = [], [], []
    for topic in wanted.topics or ():
        if not context.may(Operation.DESCRIBE, ResourceType.TOPIC, topic.topic_name):
            code = Code.TOPIC_AUTHORIZATION_FAILED
            partitions = [
                Partition(
                    partition_index=index,
                    start_offset=-1,
                    lag=-1,
                    error_code=code,
                    error_message="Topic authorization failed.",
                )
                for index in topic.partitions
            ]
            refused.append(Topic(topic_name=topic.topic_name, partitions=partitions))
            continue
        known = context.broker.image.topics.get(topic.topic_name)
        if known is None:
            partitions = [Partition(partition_index=index, start_offset=-1) for index in topic.partitions]
            unknown.append(Topic(topic_name=topic.topic_name, topic_id=ZERO_UUID, partitions=partitions))
        else:
            partitions = await _partitions(context, wanted.group_id, known.id, topic.partitions)
            found.append(Topic(topic_name=known.name, topic_id=known.id, partitions=partitions))
    return [*found, *unknown, *refused]


async def _partitions(context: Context, group_id: str, topic_id: Uuid, indexes: Iterable[int]) -> list[Partition]:
    return [
        await _partition(context, SharePartitionKey(group_id, topic_id, index))
        async for index in paced(context, indexes)
    ]


async def _high_watermark(broker: Broker, where: TopicPartition) -> int:
    """The high watermark at the partition's leader. Raises KafkaError if the leader does not give it."""
    known = broker.image.partition(*where)
    if broker.peers is None or known is None or known.leader in {NO_LEADER, broker.node_id}:
        return broker.partitions.get(*where).high_watermark
    from kwire.broker.coordination.remote_end_offsets import remote_high_watermark  # noqa: PLC0415 (of a cluster only)

    return await remote_high_watermark(broker.peers, node_id=broker.node_id, leader=known.leader, where=where)


async def _partition(context: Context, key: SharePartitionKey) -> Partition:
    broker = context.broker
    try:
        state = await broker.share_persister.summary(context, key)
    except KafkaError:
        state = None  # no data, as Apache Kafka answers
    if state is None:
        return Partition(partition_index=key.partition, start_offset=UNKNOWN_START_OFFSET, lag=_UNKNOWN_LAG)
    lag = _UNKNOWN_LAG
    if state.start_offset != UNKNOWN_START_OFFSET and state.delivered_count != UNKNOWN_COUNT:
        try:
            where = TopicPartition(broker.image.topics_by_id[key.topic_id].name, key.partition)
            end_offset = await _high_watermark(broker, where)
        except KafkaError as refusal:
            return Partition(partition_index=key.partition, error_code=refusal.code, error_message=refusal.message)
        lag = end_offset - state.start_offset - state.delivered_count
    return Partition(
        partition_index=key.partition, start_offset=state.start_offset, leader_epoch=state.leader_epoch, lag=lag
    )
