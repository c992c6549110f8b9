"""DescribeTopicPartitions (key 75).

Versions: 0.

Behaviour: topics in order of their names, partition after partition, at most as many as the request or
``max.request.partition.size.limit`` allows; a cursor marks where the next request continues (KIP-966). A request
without topics is for all of them. A cursor must point at a topic that is asked for.
"""

from __future__ import annotations

from bisect import bisect_left

from kwire.api.probes import NO_TOPIC, Probe
from kwire.broker.requests.context import Context
from kwire.errors import Code, KafkaError
from kwire.metadata.config_rules import check_topic_name
from kwire.metadata.entities import Partition
from kwire.metadata.listener_view import ListenerView
from kwire.security.operations import ALL_TOPIC_OPERATIONS, NOT_ASKED, Operation, ResourceType
from kwire.types import INTERNAL_TOPICS
from kwire.wire.messages import DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse

PROBE: Probe = {"topics": [{"name": NO_TOPIC}]}

TopicAnswer = DescribeTopicPartitionsResponse.DescribeTopicPartitionsResponseTopic
PartitionAnswer = DescribeTopicPartitionsResponse.DescribeTopicPartitionsResponsePartition
Cursor = DescribeTopicPartitionsResponse.Cursor


async def handle(context: Context, request: DescribeTopicPartitionsRequest) -> DescribeTopicPartitionsResponse:
    names = sorted({topic.name for topic in request.topics} or context.broker.image.topics)
    cursor = request.cursor
    if cursor is not None and not _can_go_on(request, cursor):
        return _refused(context, request)
    limit = context.broker.configs.broker["max.request.partition.size.limit"]
    left = max(1, min(request.response_partition_limit, limit))
    if cursor is not None:
        names = names[bisect_left(names, cursor.topic_name) :]
    answers: list[TopicAnswer] = []
    hidden: list[TopicAnswer] = []
    for name in names:
        first = cursor.partition_index if cursor is not None and name == cursor.topic_name else 0
        await context.yield_turn()
        if not context.may(Operation.DESCRIBE, ResourceType.TOPIC, name):
            if request.topics:
                hidden.append(_denied(name))
            continue
        if left == 0:
            return _answer(context, answers + hidden, Cursor(topic_name=name, partition_index=0))
        answer, after = _describe(context, name, first, left)
        answers.append(answer)
        left -= len(answer.partitions)
        if after is not None:
            return _answer(context, answers + hidden, Cursor(topic_name=name, partition_index=after))
    return _answer(context, answers + hidden, None)


def _can_go_on(request: DescribeTopicPartitionsRequest, cursor: DescribeTopicPartitionsRequest.Cursor) -> bool:
    is_asked_for = not request.topics or any(topic.name == cursor.topic_name for topic in request.topics)
    return is_asked_for and cursor.partition_index >= 0


def _answer(context: Context, topics: list[TopicAnswer], next_cursor: Cursor | None) -> DescribeTopicPartitionsResponse:
    return DescribeTopicPartitionsResponse(throttle_time_ms=context.throttle_ms, topics=topics, next_cursor=next_cursor)


def _refused(context: Context, request: DescribeTopicPartitionsRequest) -> DescribeTopicPartitionsResponse:
    topics = [
        TopicAnswer(name=topic.name, error_code=Code.INVALID_REQUEST, topic_authorized_operations=NOT_ASKED)
        for topic in request.topics
    ]
    return _answer(context, topics, None)


def _denied(name: str) -> TopicAnswer:
    """The answer for a topic that the client may not describe: it does not tell whether the topic exists."""
    return TopicAnswer(name=name, error_code=Code.TOPIC_AUTHORIZATION_FAILED, topic_authorized_operations=NOT_ASKED)


def _operations(context: Context, name: str) -> int:
    return context.allowed_operations(ResourceType.TOPIC, name, ALL_TOPIC_OPERATIONS)


def _describe(context: Context, name: str, first: int, limit: int) -> tuple[TopicAnswer, int | None]:
    """Describe one topic from partition ``first`` on; also give the partition at which to go on, if any is left."""
    topic = context.broker.image.topics.get(name)
    if topic is None:
        try:
            check_topic_name(name)
            code = Code.UNKNOWN_TOPIC_OR_PARTITION
        except KafkaError as refusal:
            code = refusal.code
        return TopicAnswer(name=name, error_code=code, topic_authorized_operations=_operations(context, name)), None
    end = first + limit
    view = context.cluster_view()
    answer = TopicAnswer(
        name=name,
        topic_id=topic.id,
        is_internal=name in INTERNAL_TOPICS,
        partitions=[_partition(view, partition) for partition in topic.partitions[first:end]],
        topic_authorized_operations=_operations(context, name),
    )
    return answer, end if end < len(topic.partitions) else None


def _partition(view: ListenerView, partition: Partition) -> PartitionAnswer:
    code, leader, offline = view.partition(partition)
    return PartitionAnswer(
        error_code=code,
        partition_index=partition.index,
        leader_id=leader,
        leader_epoch=partition.leader_epoch,
        replica_nodes=list(partition.replicas),
        isr_nodes=list(partition.isr),
        # Never null: the official kafka-topics --describe fails on null.
        eligible_leader_replicas=list(partition.eligible_leader_replicas),
        last_known_elr=list(partition.last_known_elr),
        offline_replicas=offline,
    )
