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

from collections.abc import Mapping
from typing import Final, TypeAlias

from kwire.api import transactional_produce as transactional
from kwire.api.transactional_produce import any_transactional, produced_batch
from kwire.broker.partitions.partition import Partition
from kwire.broker.partitions.validate import InvalidRecords, LargeBatch
from kwire.broker.requests.context import Context
from kwire.errors import Code, KafkaError, ProtocolViolation, StorageFailure
from kwire.limits import CHECKED_BATCHES
from kwire.security.operations import Operation, ResourceType
from kwire.types import INTERNAL_TOPICS, TopicPartition, Uuid
from kwire.wire.messages import ProduceRequest, ProduceResponse

ADMIN_CLIENT_ID: Final = "__admin_client"
_TOPIC_IDS_SINCE: Final = 13  # KIP-516
_ACKS: Final = (-1, 1, 0)
_START_UNKNOWN: Final = (
    Code.MESSAGE_TOO_LARGE,
    Code.RECORD_LIST_TOO_LARGE,
    Code.CORRUPT_MESSAGE,
    Code.NOT_LEADER_OR_FOLLOWER,
    Code.KAFKA_STORAGE_ERROR,
)

PartitionResponse = ProduceResponse.PartitionProduceResponse
# A partition, the offset behind the batch that was appended to it, and the answer that waits for the commit.
Uncommitted: TypeAlias = tuple[Partition, int, PartitionResponse]


async def handle(context: Context, request: ProduceRequest) -> ProduceResponse | None:
    """Append each partition's records; None with acks=0, which has no reply."""
    refused: Mapping[TopicPartition, KafkaError] = {}
    topics = request.topic_data
    verified = request.transactional_id is not None or any_transactional(request)
    if len(topics) != 1 or len(topics[0].partition_data) != 1:
        topics = request.topic_data = _each_once(topics)
    if verified:
        try:
            # Nothing may wait between this answer and the appends.
            refused = await transactional.refused(context, request, [_name(context, topic) for topic in topics])
        except KafkaError as refusal:
            return _refuse_all(context, request, refusal)
    uncommitted: list[Uncommitted] = []
    answers = []
    # What is written in a transaction is appended in the turn in which the coordinator admitted it.
    may_breathe = request.transactional_id is None and not (len(topics) == 1 and len(topics[0].partition_data) == 1)
    for topic in topics:
        name = _name(context, topic)
        responses = []
        for wanted in topic.partition_data:
            try:
                response = answer(context, request, name, wanted, refused, uncommitted)
            except LargeBatch as large:
                refused = await _validate_in_thread(context, request, large)
                response = answer(context, request, name, wanted, refused, uncommitted, large)
            responses.append(response)
            if may_breathe:
                await context.breathe()
        answers.append(
            ProduceResponse.TopicProduceResponse(
                name=topic.name, topic_id=topic.topic_id, partition_responses=responses
            )
        )
    if uncommitted:
        await _commit(context, uncommitted)
    if request.acks == 0:
        _close_on_refusal(answers)
        return None
    return ProduceResponse(responses=answers, throttle_time_ms=context.throttle_ms)


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
            # Kafka sends only the code of a log's refusal, unless single records are the reason.
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
        uncommitted.append((partition, appended.last_offset + 1, response))
    return response


async def _validate_in_thread(
    context: Context, request: ProduceRequest, large: LargeBatch
) -> Mapping[TopicPartition, KafkaError]:
    """Validate the batch in a thread. Returns the partitions that refuse after the wait, and why.

    A transaction may end meanwhile, so the coordinator admits the request again.
    """
    await context.connection.in_thread(large.validate)
    if request.transactional_id is None and not any_transactional(request):
        return {}
    names = [_name(context, topic) for topic in request.topic_data]
    try:
        return await transactional.refused(context, request, names)
    except KafkaError as refusal:
        return {
            TopicPartition(name, wanted.index): refusal
            for name, topic in zip(names, request.topic_data, strict=True)
            if name is not None
            for wanted in topic.partition_data
        }


def _start_of(found: Partition | None, code: Code) -> int:
    """The log start offset for a refusal: Kafka sends it unless the batch's size or CRC is the reason."""
    if found is None or code in _START_UNKNOWN:
        return -1
    return found.log.log_start_offset


async def _commit(context: Context, uncommitted: list[Uncommitted]) -> None:
    """Wait until each batch is committed; where that fails the error is the answer."""
    await context.connection.send_pending()
    for partition, next_offset, response in uncommitted:
        try:
            await partition.committed(next_offset)
        except KafkaError as refusal:
            response.error_code = refusal.code
            response.base_offset = -1
        except StorageFailure as failure:
            context.broker.storage_failures.report(failure)
            response.error_code = Code.KAFKA_STORAGE_ERROR
            response.base_offset = -1


def _each_once(topics: list[ProduceRequest.TopicProduceData]) -> list[ProduceRequest.TopicProduceData]:
    """Each topic and partition once, as in Apache Kafka: of two batches for one partition the last is taken."""
    merged: dict[tuple[str, Uuid], dict[int, ProduceRequest.PartitionProduceData]] = {}
    for topic in topics:
        merged.setdefault((topic.name, topic.topic_id), {}).update({one.index: one for one in topic.partition_data})
    return [
        ProduceRequest.TopicProduceData(name=name, topic_id=topic_id, partition_data=list(partitions.values()))
        for (name, topic_id), partitions in merged.items()
        if partitions
    ]


def _name(context: Context, topic: ProduceRequest.TopicProduceData) -> str | None:
    if context.api_version < _TOPIC_IDS_SINCE:
        return topic.name
    known = context.broker.image.topics_by_id.get(topic.topic_id)
    return None if known is None else known.name


def _refuse_all(context: Context, request: ProduceRequest, refusal: KafkaError) -> ProduceResponse | None:
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
        for topic in request.topic_data
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
