"""StreamsGroupHeartbeat (key 88).

Versions: 0-1.

Behaviour: a member of a streams group joins with the topology of its application, reports that it is alive and which
tasks it has, gets its tasks, and leaves (KIP-1071). The answer never waits for other members. Internal topics that are
missing are created before the answer; tasks are assigned with a later heartbeat, which the member is asked to send
soon.

Version notes: 1 the acceptable recovery lag as a 64-bit number, and whether the broker wants the description of the
topology (KIP-1331): never, as this broker does not store it.

As a release before 4.4 static members, offsets of tasks and warm-up tasks are refused, and no interval of task offsets
is answered.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from kwire.api.modern_groups import refused
from kwire.api.probes import MEMBER, Probe
from kwire.api.streams_topics import check_topics, create_internal_topics
from kwire.broker.requests.context import Context
from kwire.coordinators.group.streams.commands import EndpointPartitions, HeartbeatAnswer, StreamsHeartbeat
from kwire.coordinators.group.streams.member import Endpoint
from kwire.coordinators.group.streams.tasks import TaskOffsets, Tasks, TaskSet
from kwire.coordinators.group.streams.topology import Topology, topology_of
from kwire.errors import Code, KafkaError
from kwire.metadata.features import STREAMS_VERSION
from kwire.personas import persona
from kwire.security.operations import Operation, ResourceType
from kwire.wire.messages import StreamsGroupHeartbeatRequest, StreamsGroupHeartbeatResponse

PROBE: Probe = MEMBER

_MISSING_TAGS_SINCE: Final = 1  # KIP-1331

TaskIds = StreamsGroupHeartbeatResponse.TaskIds
TopicPartition = StreamsGroupHeartbeatResponse.TopicPartition


async def handle(context: Context, request: StreamsGroupHeartbeatRequest) -> StreamsGroupHeartbeatResponse:
    """The member's epoch and, when they changed, its tasks and the endpoints of all members."""
    try:
        answer = await _heartbeat(context, request)
    except KafkaError as refusal:
        return refused(context, StreamsGroupHeartbeatResponse, refusal)
    tasks, endpoints = answer.tasks, answer.endpoints
    return StreamsGroupHeartbeatResponse(
        throttle_time_ms=context.throttle_ms,
        member_id=answer.member_id,
        member_epoch=answer.member_epoch,
        heartbeat_interval_ms=answer.heartbeat_interval_ms,
        task_offset_interval_ms=answer.task_offset_interval_ms,
        acceptable_recovery_lag=answer.acceptable_recovery_lag,
        status=[
            StreamsGroupHeartbeatResponse.Status(status_code=status, status_detail=detail)
            for status, detail in answer.statuses
        ],
        active_tasks=None if tasks is None else _task_ids(tasks.active),
        standby_tasks=None if tasks is None else _task_ids(tasks.standby),
        warmup_tasks=None if tasks is None else _task_ids(tasks.warmup),
        endpoint_information_epoch=answer.endpoint_epoch,
        partitions_by_user_endpoint=None if endpoints is None else [_endpoint(each) for each in endpoints],
    )


async def _heartbeat(context: Context, request: StreamsGroupHeartbeatRequest) -> HeartbeatAnswer:
    check_served(context)
    # As in Apache Kafka, this refusal has no text.
    if not context.may(Operation.READ, ResourceType.GROUP, request.group_id):
        raise KafkaError(Code.GROUP_AUTHORIZATION_FAILED)
    topology = None
    if request.topology is not None:
        await check_topics(context, request.topology)
        topology = topology_of(request.topology)
        if topology is None:
            # As Apache Kafka answers what it does not expect.
            raise KafkaError(Code.UNKNOWN_SERVER_ERROR)
    release = persona(context.broker.configs.broker["kwire.as.release"])
    is_old = release is not None and release.has_old_streams_groups
    if is_old:
        _refuse_later_features(request)
    command = _command(context, request, topology)
    await context.broker.groups.load_kind("streams")
    answer: HeartbeatAnswer = await context.broker.groups.submit(
        context,
        request.group_id,
        lambda machine, ticket, now_ms: machine.streams.heartbeat(command, ticket=ticket, now_ms=now_ms),
    )
    if is_old:
        answer = answer._replace(task_offset_interval_ms=0)
    if not answer.missing:
        return answer
    statuses = await create_internal_topics(context, answer.missing, answer.statuses)
    return answer._replace(statuses=statuses)


def _refuse_later_features(request: StreamsGroupHeartbeatRequest) -> None:
    """KafkaError(INVALID_REQUEST), with the messages of Kafka 4.3, for what streams groups have had since 4.4."""
    for is_used, message in (
        (request.instance_id is not None, "Static membership is not yet supported."),
        (request.task_offsets is not None, "TaskOffsets are not supported yet."),
        (request.task_end_offsets is not None, "TaskEndOffsets are not supported yet."),
        (bool(request.warmup_tasks), "WarmupTasks are not supported yet."),
    ):
        if is_used:
            raise KafkaError(Code.INVALID_REQUEST, message)


def check_served(context: Context) -> None:
    """KafkaError(UNSUPPORTED_VERSION) unless the settings and the finalized features have streams groups."""
    broker = context.broker
    is_enabled = "streams" in broker.configs.broker["group.coordinator.rebalance.protocols"]
    if not is_enabled or broker.image.features.get(STREAMS_VERSION, 0) < 1:
        raise KafkaError(Code.UNSUPPORTED_VERSION)


def _command(context: Context, request: StreamsGroupHeartbeatRequest, topology: Topology | None) -> StreamsHeartbeat:
    endpoint = request.user_endpoint
    kinds = (request.active_tasks, request.standby_tasks, request.warmup_tasks)
    named = sum(each is not None for each in kinds)
    return StreamsHeartbeat(
        group_id=request.group_id,
        member_id=request.member_id,
        member_epoch=request.member_epoch,
        endpoint_epoch=request.endpoint_information_epoch,
        instance_id=request.instance_id,
        rack_id=request.rack_id,
        rebalance_timeout_ms=request.rebalance_timeout_ms,
        topology=topology,
        owned=None if named == 0 else TaskSet(*(_tasks(each or ()) for each in kinds)),
        owns_some_kinds_only=0 < named < len(kinds),
        process_id=request.process_id,
        endpoint=None if endpoint is None else Endpoint(endpoint.host, endpoint.port),
        client_tags=None if request.client_tags is None else {each.key: each.value for each in request.client_tags},
        offsets=_offsets(request.task_offsets),
        end_offsets=_offsets(request.task_end_offsets),
        shutdown_application=request.shutdown_application,
        wants_missing_tags=context.api_version >= _MISSING_TAGS_SINCE,
        client_id=context.client_id or "",
        client_host=context.client.java_host,
    )


def _tasks(listed: Iterable[Any]) -> Tasks:
    return {each.subtopology_id: frozenset(each.partitions) for each in listed}


def _offsets(listed: Sequence[Any] | None) -> TaskOffsets | None:
    """KafkaError(INVALID_REQUEST) if a task is there twice."""
    if listed is None:
        return None
    found: dict[str, dict[int, int]] = {}
    for each in listed:
        partitions = found.setdefault(each.subtopology_id, {})
        if each.partition in partitions:
            raise KafkaError(
                Code.INVALID_REQUEST,
                f"Task offsets contain a duplicate entry for subtopology {each.subtopology_id} and partition "
                f"{each.partition}.",
            )
        partitions[each.partition] = each.offset
    return found


def _task_ids(tasks: Tasks) -> list[TaskIds]:
    return [
        TaskIds(subtopology_id=subtopology, partitions=sorted(partitions)) for subtopology, partitions in tasks.items()
    ]


def _endpoint(found: EndpointPartitions) -> StreamsGroupHeartbeatResponse.EndpointToPartitions:
    return StreamsGroupHeartbeatResponse.EndpointToPartitions(
        user_endpoint=StreamsGroupHeartbeatResponse.Endpoint(host=found.endpoint.host, port=found.endpoint.port),
        active_partitions=[TopicPartition(topic=topic, partitions=partitions) for topic, partitions in found.active],
        standby_partitions=[TopicPartition(topic=topic, partitions=partitions) for topic, partitions in found.standby],
    )
