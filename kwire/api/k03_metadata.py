"""Metadata (key 3).

Versions: 0-13.

Behaviour: the brokers as the listener of this connection advertises them, and the topics asked for, by name or id. A
topic that is missing is created where the request and ``auto.create.topics.enable`` allow it, and is in the same
answer. A partition without a leader, or whose leader lacks this listener, has LEADER_NOT_AVAILABLE or
LISTENER_NOT_FOUND.

Version notes: 0 an empty list means all topics, from 1 on null does; 4 the client allows or forbids auto-creation; 8-10
cluster authorized operations (KIP-430); 10-11 have topic ids, but a topic cannot be requested by its id; 12 requests by
id (KIP-516); 13 a top-level error for rebootstrapping (KIP-1102), which this broker never needs.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import partial
from typing import Final

from kwire.api.pacing import paced, paced_list
from kwire.api.probes import Probe
from kwire.broker.requests.context import Context
from kwire.errors import Code, KafkaError
from kwire.metadata.config_rules import check_topic_name
from kwire.metadata.entities import Partition, Topic
from kwire.metadata.listener_view import ListenerView
from kwire.security.operations import (
    ALL_CLUSTER_OPERATIONS,
    ALL_TOPIC_OPERATIONS,
    CLUSTER_NAME,
    NOT_ASKED,
    Operation,
    ResourceType,
)
from kwire.types import INTERNAL_TOPICS, ZERO_UUID, Uuid
from kwire.wire.messages import MetadataRequest, MetadataResponse

# A name would create the topic before version 4 (KIP-204); null, or an empty list in version 0, means all topics.
PROBE: Probe = {"topics": None, "allow_auto_topic_creation": True}

_NULL_IS_ALL_SINCE: Final = 1
_BY_ID_SINCE: Final = 12  # KIP-516
_CLUSTER_OPERATIONS: Final = range(8, 11)  # KIP-430, moved to DescribeCluster by KIP-700

TopicAnswer = MetadataResponse.MetadataResponseTopic
PartitionAnswer = MetadataResponse.MetadataResponsePartition


async def handle(context: Context, request: MetadataRequest) -> MetadataResponse:
    broker = context.broker
    view = context.cluster_view()
    operations = NOT_ASKED
    if context.api_version < _BY_ID_SINCE and _asks_by_id(request):
        return _no_ids_yet(context, request)
    if context.api_version in _CLUSTER_OPERATIONS and request.include_cluster_authorized_operations:
        operations = 0
        if context.may_cluster(Operation.DESCRIBE):
            operations = context.allowed_operations(ResourceType.CLUSTER, CLUSTER_NAME, ALL_CLUSTER_OPERATIONS)
    return MetadataResponse(
        throttle_time_ms=context.throttle_ms,
        brokers=[
            MetadataResponse.MetadataResponseBroker(
                node_id=node.id, host=endpoint.host, port=endpoint.port, rack=node.rack
            )
            for node, endpoint in view.brokers()
        ],
        cluster_id=broker.cluster_id,
        controller_id=view.controller_id(),
        topics=await _topics(context, view, request),
        cluster_authorized_operations=operations,
    )


def may_be_kept(response: MetadataResponse) -> bool:
    """Tell whether an equal request may be sent this response again while the image has not changed.

    Not if a topic was refused: its creation is tried again for each request.
    """
    return not (response.throttle_time_ms or response.error_code or any(topic.error_code for topic in response.topics))


async def _topics(context: Context, view: ListenerView, request: MetadataRequest) -> list[TopicAnswer]:
    with_operations = request.include_topic_authorized_operations
    image = context.broker.image
    asks_all = request.topics is None or (not request.topics and context.api_version < _NULL_IS_ALL_SINCE)
    if asks_all:
        return [
            await _known(context, view, topic, with_operations)
            async for topic in paced(context, image.topics.values())
            if context.may(Operation.DESCRIBE, ResourceType.TOPIC, topic.name, audited=False)
        ]
    assert request.topics is not None
    by_id = list(dict.fromkeys(wanted.topic_id for wanted in request.topics if wanted.topic_id != ZERO_UUID))
    if by_id:
        return [await _by_id(context, view, topic_id, with_operations) async for topic_id in paced(context, by_id)]
    names = dict.fromkeys(wanted.name for wanted in request.topics if wanted.name is not None)
    return await _by_name(context, view, request, names.keys(), with_operations)


def _asks_by_id(request: MetadataRequest) -> bool:
    return any(wanted.name is None or wanted.topic_id != ZERO_UUID for wanted in request.topics or ())


def _no_ids_yet(context: Context, request: MetadataRequest) -> MetadataResponse:
    """A request by id in versions 10 and 11 is refused as a whole, including the brokers."""
    return MetadataResponse(
        throttle_time_ms=context.throttle_ms,
        topics=[
            TopicAnswer(
                error_code=Code.INVALID_REQUEST,
                name=wanted.name or "",
                topic_id=wanted.topic_id,
                topic_authorized_operations=NOT_ASKED,
            )
            for wanted in request.topics or ()
        ],
    )


async def _by_id(context: Context, view: ListenerView, topic_id: Uuid, with_operations: bool) -> TopicAnswer:
    topic = context.broker.image.topics_by_id.get(topic_id)
    if topic is None:
        return TopicAnswer(error_code=Code.UNKNOWN_TOPIC_ID, name=None, topic_id=topic_id)
    if not context.may(Operation.DESCRIBE, ResourceType.TOPIC, topic.name):
        return TopicAnswer(error_code=Code.TOPIC_AUTHORIZATION_FAILED, name=None, topic_id=topic_id)
    return await _known(context, view, topic, with_operations)


async def _by_name(
    context: Context, view: ListenerView, request: MetadataRequest, names: Collection[str], with_operations: bool
) -> list[TopicAnswer]:
    topics = context.broker.image.topics
    # Topics that the client may not describe are not looked up: the answer does not tell whether they exist.
    hidden: set[str] = set()
    if context.broker.authorizer is not None:
        hidden = {name for name in names if not context.may(Operation.DESCRIBE, ResourceType.TOPIC, name)}
    refused = dict.fromkeys(hidden, Code.TOPIC_AUTHORIZATION_FAILED)
    if any(name not in topics for name in names):
        missing = [name for name in names if name not in topics and name not in hidden]
        refused |= await _create_missing(context, request, missing)
    return [
        await _known(context, view, topics[name], with_operations)
        if name in topics and name not in hidden
        else _refused(context, name, refused.get(name, Code.UNKNOWN_TOPIC_OR_PARTITION), with_operations)
        async for name in paced(context, names)
    ]


def _refused(context: Context, name: str, code: Code, with_operations: bool) -> TopicAnswer:
    denied = code is Code.TOPIC_AUTHORIZATION_FAILED
    return TopicAnswer(
        error_code=code,
        name=name,
        is_internal=name in INTERNAL_TOPICS,
        topic_authorized_operations=NOT_ASKED if denied else _operations(context, name, with_operations),
    )


def _operations(context: Context, topic: str, with_operations: bool) -> int:
    if not with_operations:
        return NOT_ASKED
    return context.allowed_operations(ResourceType.TOPIC, topic, ALL_TOPIC_OPERATIONS)


async def _create_missing(context: Context, request: MetadataRequest, names: Sequence[str]) -> dict[str, Code]:
    """Create the topics where the request and the settings allow it, in one command; return the codes of the others.

    As in Apache Kafka, a topic that the controller refuses (its name collides, too many at once) is answered as
    unknown: the client asked for a topic, not for its creation.
    """
    broker = context.broker
    codes: dict[str, Code] = {}
    async for name in paced(context, names):
        try:
            check_topic_name(name)
        except KafkaError as refusal:
            codes[name] = refusal.code
    if not (request.allow_auto_topic_creation and broker.configs.broker["auto.create.topics.enable"]):
        return codes
    if not context.may_cluster(Operation.CREATE, audited=False):
        for name in names:
            if not context.may(Operation.CREATE, ResourceType.TOPIC, name):
                codes[name] = Code.TOPIC_AUTHORIZATION_FAILED
    valid = [name for name in names if name not in codes]
    from kwire.broker.controller.auto_topics import auto_create_topics  # noqa: PLC0415 (with the first such topic)

    results = await auto_create_topics(broker.controller, broker.configs, valid, yield_turn=context.yield_turn)
    for name, result in zip(valid, results, strict=True):
        if result is not None and result.code is Code.KAFKA_STORAGE_ERROR:
            codes[name] = result.code
    return codes


async def _known(context: Context, view: ListenerView, topic: Topic, with_operations: bool) -> TopicAnswer:
    return TopicAnswer(
        name=topic.name,
        topic_id=topic.id,
        is_internal=topic.name in INTERNAL_TOPICS,
        partitions=await paced_list(context, partial(_partition, view), topic.partitions),
        topic_authorized_operations=_operations(context, topic.name, with_operations),
    )


def _partition(view: ListenerView, partition: Partition) -> PartitionAnswer:
    code, leader, offline = view.partition(partition)
    return PartitionAnswer(
        error_code=code,
        partition_index=partition.index,
        leader_id=leader,
        leader_epoch=partition.leader_epoch,
        replica_nodes=list(partition.replicas),
        isr_nodes=list(partition.isr),
        offline_replicas=offline,
    )
