"""TxnOffsetCommit (key 28).

Versions: 0-5.

Behaviour: commits offsets of a group in a transaction: they count once it commits and vanish when it aborts. A topic or
partition that does not exist is answered by itself; a refusal of the transaction or the group is the answer to each of
the others.

Version notes: 2 leader epochs (KIP-320); 3 the group may fence a member that is no more (KIP-447); 4
TRANSACTION_ABORTABLE; 5 the group's partition is added to the transaction without AddOffsetsToTxn (KIP-890).
"""

from __future__ import annotations

from typing import Final

from kwire.api.offset_commit_answers import merge_answers
from kwire.api.pacing import paced
from kwire.broker.coordination.admission import Dialect, admit
from kwire.broker.requests.context import Context
from kwire.coordinators.group.commands import CommitOffsets, OffsetToCommit
from kwire.coordinators.machine import ProducerStamp
from kwire.errors import Code, KafkaError
from kwire.security.operations import Operation, ResourceType
from kwire.wire.messages import TxnOffsetCommitRequest, TxnOffsetCommitResponse

_ABORTABLE_SINCE: Final = 4  # KIP-890
_ADDS_SINCE: Final = 5  # KIP-890
_NO_SEQUENCE: Final = -1

TopicResponse = TxnOffsetCommitResponse.TxnOffsetCommitResponseTopic
PartitionResponse = TxnOffsetCommitResponse.TxnOffsetCommitResponsePartition


async def handle(context: Context, request: TxnOffsetCommitRequest) -> TxnOffsetCommitResponse:
    """Answer each partition; which topics the answer lists is decided in ``merge_answers``."""
    code = _denied(context, request)
    if code is not Code.NONE:
        return _refuse_all(context, request, code)
    refused: dict[str, list[PartitionResponse]] = {}
    committed: list[tuple[str, list[PartitionResponse]]] = []
    offsets: list[OffsetToCommit] = []
    committing: list[PartitionResponse] = []
    async for wanted in paced(context, request.topics):
        topic = context.broker.image.topics.get(wanted.name)
        key = wanted.name
        accepted: list[PartitionResponse] = []
        may_read = context.may(Operation.READ, ResourceType.TOPIC, key)
        if topic is None or not may_read:
            refused.setdefault(key, [])  # listed even without partitions
        for partition in wanted.partitions:
            index = partition.partition_index
            answer = PartitionResponse(partition_index=index)
            if topic is None or not may_read or not 0 <= index < len(topic.partitions):
                answer.error_code = Code.UNKNOWN_TOPIC_OR_PARTITION if may_read else Code.TOPIC_AUTHORIZATION_FAILED
                refused.setdefault(key, []).append(answer)
                continue
            accepted.append(answer)
            offsets.append(
                OffsetToCommit(
                    topic.name,
                    topic.id,
                    index,
                    partition.committed_offset,
                    partition.committed_leader_epoch,
                    partition.committed_metadata,
                )
            )
        committing += accepted
        committed.append((key, accepted))
    if offsets:
        for answer, code in zip(committing, await _commit(context, request, offsets), strict=True):
            answer.error_code = code
    topics = [TopicResponse(name=name, partitions=partitions) for name, partitions in merge_answers(refused, committed)]
    return TxnOffsetCommitResponse(throttle_time_ms=context.throttle_ms, topics=topics)


def _denied(context: Context, request: TxnOffsetCommitRequest) -> Code:
    if not context.may(Operation.WRITE, ResourceType.TRANSACTIONAL_ID, request.transactional_id):
        return Code.TRANSACTIONAL_ID_AUTHORIZATION_FAILED
    if not context.may(Operation.READ, ResourceType.GROUP, request.group_id):
        return Code.GROUP_AUTHORIZATION_FAILED
    return Code.NONE


def _refuse_all(context: Context, request: TxnOffsetCommitRequest, code: Code) -> TxnOffsetCommitResponse:
    return TxnOffsetCommitResponse(
        throttle_time_ms=context.throttle_ms,
        topics=[
            TopicResponse(
                name=topic.name,
                partitions=[
                    PartitionResponse(partition_index=one.partition_index, error_code=code) for one in topic.partitions
                ],
            )
            for topic in request.topics
        ],
    )


async def _commit(context: Context, request: TxnOffsetCommitRequest, offsets: list[OffsetToCommit]) -> list[Code]:
    producer = ProducerStamp(request.producer_id, request.producer_epoch)
    command = CommitOffsets(
        request.group_id, request.generation_id, request.member_id, request.group_instance_id, tuple(offsets)
    )
    groups = context.broker.groups
    try:
        if not request.group_id:
            raise KafkaError(Code.INVALID_GROUP_ID)
        # Loaded first, so that nothing comes between the admission and the append.
        await groups.machine(context, request.group_id)
        await _admit(context, request, producer)
        codes: list[Code] = await groups.submit(
            context,
            request.group_id,
            lambda machine, ticket, now_ms: machine.commit_transactional_offsets(
                command, producer, ticket=ticket, now_ms=now_ms
            ),
        )
    except KafkaError as refusal:
        return [refusal.code] * len(offsets)
    return codes


async def _admit(context: Context, request: TxnOffsetCommitRequest, producer: ProducerStamp) -> None:
    broker = context.broker
    where = await broker.groups.partition_of(request.group_id)
    partition = broker.partitions.get(*where)
    dialect = Dialect.OLD
    if context.api_version >= _ABORTABLE_SINCE:
        dialect = Dialect.ADDS if context.api_version >= _ADDS_SINCE else Dialect.ABORTABLE
    refused = await admit(context, request.transactional_id, producer, {partition: _NO_SEQUENCE}, dialect)
    if where in refused:
        raise KafkaError(refused[where])
