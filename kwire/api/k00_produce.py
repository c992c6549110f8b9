"""Produce (key 0).

Versions: 3-13 served. ApiVersions has 0-13 as in Apache Kafka, because librdkafka looks for 0; versions 0-2 close the
connection.

Behaviour: each partition has its own answer. The records of a connection's first batches are checked, later the
usual path reads only batch headers; see ``partitions.validate``. The transaction coordinator admits a
transactional batch first, unless the transaction is open in the partition already.

Version notes: 7 zstd may be sent (KIP-110); 8 record errors and message (KIP-467); 10 current leader on errors
(KIP-951); 11 TRANSACTION_ABORTABLE, and 12 transactional produces add their partition to the transaction (KIP-890); 13
topic ids (KIP-516).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias

from kwire.api.moved_leader import current_leader, endpoints_of
from kwire.api.probes import NAMED, Probe
from kwire.api.transactional_produce import PartitionData, Verification, is_transactional_batch, pieces, produced_batch
from kwire.broker.partitions.partition import ACKS_ALL, Partition
from kwire.broker.partitions.validate import InvalidRecords, LargeBatch
from kwire.broker.requests.context import Context
from kwire.errors import Code, KafkaError, ProtocolViolation, StorageFailure
from kwire.limits import CHECKED_BATCHES
from kwire.security.operations import Operation, ResourceType
from kwire.types import INTERNAL_TOPICS, TopicPartition, Uuid
from kwire.wire.messages import ProduceRequest, ProduceResponse

PROBE: Probe = {
    "acks": 1,
    "timeout_ms": 1000,
    "topic_data": [{**NAMED, "partition_data": [{"index": 0, "records": None}]}],
}

ADMIN_CLIENT_ID: Final = "__admin_client"
_LEADER_SINCE: Final = 10  # KIP-951
_TOPIC_IDS_SINCE: Final = 13  # KIP-516
_ACKS: Final = (-1, 1, 0)
_START_UNKNOWN: Final = (
    Code.MESSAGE_TOO_LARGE,
    Code.RECORD_LIST_TOO_LARGE,
    Code.CORRUPT_MESSAGE,
    Code.NOT_LEADER_OR_FOLLOWER,
    Code.KAFKA_STORAGE_ERROR,
)

# Partitions of a request that are sorted between two looks at the clock.
_SORTED_AT_ONCE: Final = 256

TopicData = ProduceRequest.TopicProduceData
PartitionResponse = ProduceResponse.PartitionProduceResponse
# A partition, the offset behind the batch that was appended to it, ``leading_since`` of then, and the answer that waits
# for the commit.
Uncommitted: TypeAlias = tuple[Partition, int, int, PartitionResponse]


async def handle(context: Context, request: ProduceRequest) -> ProduceResponse | None:
    """Append each partition's records; None with acks=0, which has no reply."""
    topics = request.topic_data
    is_single = len(topics) == 1 and len(topics[0].partition_data) == 1
    if is_single:
        is_transactional = is_transactional_batch(topics[0].partition_data[0].records)
    else:
        topics, is_transactional = await _each_once(context, topics)
    verification: Verification | None = None
    if is_transactional or request.transactional_id is not None:
        try:
            verification = await _verification(context, request, topics, is_transactional=is_transactional)
        except KafkaError as refusal:
            return _refuse_all(context, request, topics, refusal)
    uncommitted: list[Uncommitted] = []
    answers = []
    for topic in topics:
        responses: list[PartitionResponse] = []
        name = _name(context, topic)
        if verification is None:
            await _append(
                context, request, name, topic.partition_data, responses, uncommitted, yields_turns=not is_single
            )
        else:
            for piece in pieces(topic.partition_data):
                await _append(context, request, name, piece, responses, uncommitted, verification)
                if verification.yields_turns:
                    await context.yield_turn()
        answers.append(
            ProduceResponse.TopicProduceResponse(
                name=topic.name, topic_id=topic.topic_id, partition_responses=responses
            )
        )
    if uncommitted:
        await _commit(context, request, uncommitted)
    if request.acks == 0:
        _close_on_refusal(answers)
        return None
    response = ProduceResponse(responses=answers, throttle_time_ms=context.throttle_ms)
    if context.broker.replication is not None and context.api_version >= _LEADER_SINCE:
        _add_leaders(context, response)
    return response


async def _append(  # noqa: PLR0917 (as for ``answer``)
    context: Context,
    request: ProduceRequest,
    topic: str | None,
    partitions: Sequence[PartitionData],
    responses: list[PartitionResponse],
    uncommitted: list[Uncommitted],
    verification: Verification | None = None,
    *,
    yields_turns: bool = False,
) -> None:
    """Append to partitions of one topic, and add an answer for each to ``responses``.

    What is written in a transaction is appended in the turn in which the coordinator admitted it, so
    ``yields_turns`` is for other requests.
    """
    refused: Mapping[TopicPartition, KafkaError] = {}
    if verification is not None:
        refused = await verification.refused(topic, partitions)
    for wanted in partitions:
        try:
            response = answer(context, request, topic, wanted, refused, uncommitted)
        except LargeBatch as large:
            await context.connection.in_thread(large.validate)
            if verification is not None:
                refused = await verification.refused_after_a_wait(topic, partitions)
            response = answer(context, request, topic, wanted, refused, uncommitted, large)
        responses.append(response)
        if yields_turns:
            await context.yield_turn()


def answer(  # noqa: PLR0917 (keywords cost, and this runs for each batch)
    context: Context,
    request: ProduceRequest,
    topic: str | None,
    wanted: ProduceRequest.PartitionProduceData,
    refused: Mapping[TopicPartition, KafkaError],
    uncommitted: list[Uncommitted],
    large: LargeBatch | None = None,
) -> PartitionResponse:
    """One partition's answer; ``uncommitted`` collects those whose batch must be committed first.

    Raises LargeBatch, as ``Partition.append`` does.
    """
    found: Partition | None = None  # the partition that refused, if the request came that far
    try:
        if topic is None:
            raise KafkaError(Code.UNKNOWN_TOPIC_ID)
        if not context.may(Operation.WRITE, ResourceType.TOPIC, topic):
            raise KafkaError(Code.TOPIC_AUTHORIZATION_FAILED)
        partition = context.broker.partitions.get(topic, wanted.index)
        batch, header = produced_batch(wanted.records, context.api_version)
        if refused and partition.topic_partition in refused:
            raise refused[partition.topic_partition]
        if request.acks not in _ACKS:
            raise KafkaError(Code.INVALID_REQUIRED_ACKS)
        if topic in INTERNAL_TOPICS and context.client_id != ADMIN_CLIENT_ID:
            raise KafkaError(Code.INVALID_TOPIC_EXCEPTION, f"Cannot append to internal topic {topic}")
        found = partition
        connection = context.connection
        trusted = connection.checked_batches >= CHECKED_BATCHES
        appended = partition.append(batch, header, acks=request.acks, trusted=trusted, large=large)
        if not trusted:
            connection.checked_batches += 1
    except InvalidRecords as refusal:
        return PartitionResponse(
            index=wanted.index,
            error_code=refusal.code,
            base_offset=-1,
            log_start_offset=_start_of(found, refusal.code),
            record_errors=[
                ProduceResponse.BatchIndexAndErrorMessage(batch_index=index, batch_index_error_message=message)
                for index, message in refusal.record_errors
            ],
            error_message=refusal.message,
        )
    except KafkaError as refusal:
        return PartitionResponse(
            index=wanted.index,
            error_code=refusal.code,
            base_offset=-1,
            log_start_offset=_start_of(found, refusal.code),
            # For a refusal by the log Kafka sends only the code, unless single records are the reason.
            error_message=refusal.message if found is None else None,
        )
    except StorageFailure as failure:
        context.broker.storage_failures.report(failure)
        return PartitionResponse(index=wanted.index, error_code=Code.KAFKA_STORAGE_ERROR, base_offset=-1)
    response = PartitionResponse(
        index=wanted.index,
        base_offset=appended.base_offset,
        log_append_time_ms=appended.log_append_time_ms,
        log_start_offset=appended.log_start_offset,
    )
    if not partition.is_committed(appended.last_offset + 1):
        uncommitted.append((partition, appended.last_offset + 1, partition.leading_since, response))
    return response


def _add_leaders(context: Context, response: ProduceResponse) -> None:
    """Add the current leader of partitions that this broker does not lead (KIP-951)."""
    leaders = []
    for topic in response.responses:
        for answer in topic.partition_responses:
            if answer.error_code == Code.NOT_LEADER_OR_FOLLOWER:
                known = context.broker.image.topics_by_id.get(topic.topic_id)
                name = topic.name if known is None else known.name
                leader, epoch = current_leader(context, name, answer.index)
                answer.current_leader = ProduceResponse.LeaderIdAndEpoch(leader_id=leader, leader_epoch=epoch)
                leaders.append(leader)
    if leaders:
        response.node_endpoints = endpoints_of(context, leaders, ProduceResponse.NodeEndpoint)


async def _verification(
    context: Context, request: ProduceRequest, topics: Sequence[TopicData], *, is_transactional: bool
) -> Verification:
    """Let the transaction coordinator admit the request, or its first part.

    Raises KafkaError for the whole request: TRANSACTIONAL_ID_AUTHORIZATION_FAILED, INVALID_PRODUCER_ID_MAPPING.
    """
    if request.transactional_id is None:
        raise KafkaError(Code.TRANSACTIONAL_ID_AUTHORIZATION_FAILED)
    if is_transactional and not context.may(Operation.WRITE, ResourceType.TRANSACTIONAL_ID, request.transactional_id):
        raise KafkaError(Code.TRANSACTIONAL_ID_AUTHORIZATION_FAILED)
    named = [(_name(context, topic), topic.partition_data) for topic in topics]
    verification = Verification(context, request.transactional_id, named)
    await verification.begin()
    return verification


def _start_of(found: Partition | None, code: Code) -> int:
    """The log start offset for a refusal: Kafka sends it unless the batch's size or CRC is the reason."""
    if found is None or code in _START_UNKNOWN:
        return -1
    return found.log.log_start_offset


async def _commit(context: Context, request: ProduceRequest, uncommitted: list[Uncommitted]) -> None:
    """Wait until each batch is committed, on other replicas with acks=-1 only; a failure is the answer."""
    acks, clock = request.acks, context.broker.clock
    waiting = [one for one in uncommitted if not one[0].is_answerable(one[1], acks, one[2])]
    if not waiting:
        return
    await context.connection.send_pending()
    deadline_ms = clock.monotonic_ms() + request.timeout_ms
    for partition, next_offset, since, response in waiting:
        await context.yield_turn()
        try:
            left_ms = deadline_ms - clock.monotonic_ms()
            await partition.committed(next_offset, acks=acks, timeout_ms=left_ms, since=since)
            if partition.topic_deleted:
                raise KafkaError(Code.UNKNOWN_TOPIC_OR_PARTITION)
            if acks == ACKS_ALL:
                partition.check_enough_replicas()
        except KafkaError as refusal:
            response.error_code = refusal.code
            response.base_offset = -1
        except StorageFailure as failure:
            context.broker.storage_failures.report(failure)
            response.error_code = Code.KAFKA_STORAGE_ERROR
            response.base_offset = -1


async def _each_once(context: Context, topics: list[TopicData]) -> tuple[list[TopicData], bool]:
    """Each topic and partition once, and whether any batch is transactional.

    As in Apache Kafka the last of two batches for one partition is taken.
    """
    is_transactional = False
    merged: dict[tuple[str, Uuid], dict[int, ProduceRequest.PartitionProduceData]] = {}
    for topic in topics:
        by_index = merged.setdefault((topic.name, topic.topic_id), {})
        for count, wanted in enumerate(topic.partition_data, 1):
            by_index[wanted.index] = wanted
            is_transactional = is_transactional or is_transactional_batch(wanted.records)
            if count % _SORTED_AT_ONCE == 0:
                await context.yield_turn()
        await context.yield_turn()
    each_once = [
        TopicData(name=name, topic_id=topic_id, partition_data=list(partitions.values()))
        for (name, topic_id), partitions in merged.items()
        if partitions
    ]
    return each_once, is_transactional


def _name(context: Context, topic: TopicData) -> str | None:
    if context.api_version < _TOPIC_IDS_SINCE:
        return topic.name
    known = context.broker.image.topics_by_id.get(topic.topic_id)
    return None if known is None else known.name


def _refuse_all(
    context: Context, request: ProduceRequest, topics: Sequence[TopicData], refusal: KafkaError
) -> ProduceResponse | None:
    answers = [
        ProduceResponse.TopicProduceResponse(
            name=topic.name,
            topic_id=topic.topic_id,
            partition_responses=[
                PartitionResponse(
                    index=wanted.index, error_code=refusal.code, base_offset=-1, error_message=refusal.message
                )
                for wanted in topic.partition_data
            ],
        )
        for topic in topics
    ]
    if request.acks == 0:
        _close_on_refusal(answers)
    return ProduceResponse(responses=answers, throttle_time_ms=context.throttle_ms)


def _close_on_refusal(answers: list[ProduceResponse.TopicProduceResponse]) -> None:
    """Close the connection after a refusal with acks=0: the producer then requests metadata again."""
    refused = [
        f"{answer.name or answer.topic_id.hex()}-{partition.index}: {Code(partition.error_code).name}"
        for answer in answers
        for partition in answer.partition_responses
        if partition.error_code
    ]
    if refused:
        raise ProtocolViolation(f"produce with acks=0 was refused ({', '.join(refused)})")
