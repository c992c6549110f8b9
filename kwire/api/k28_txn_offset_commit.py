"""TxnOffsetCommit (key 28).

Versions: 0-6.

Behaviour: commits offsets of a group in a transaction: they count once it commits and vanish when it aborts. A topic or
partition that does not exist is answered by itself; a refusal of the transaction or the group is the answer to each of
the others.

Version notes: 2 leader epochs (KIP-320); 3 the group fences a member that has left (KIP-447); 4
TRANSACTION_ABORTABLE; 5 the group's partition is added to the transaction without AddOffsetsToTxn (KIP-890);
6 topic ids, a consumer's member epoch in the place of the generation (STALE_MEMBER_EPOCH), and GROUP_ID_NOT_FOUND for
a group that is not there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from kwire.api.group_partitions import CheckedTopic, check_topic, commit_offsets
from kwire.api.probes import MEMBER, PARTITIONS, TRANSACTION, Probe
from kwire.broker.coordination.shard import as_coordinator
from kwire.broker.coordination.transactions.admission import Dialect
from kwire.broker.requests.context import Context
from kwire.coordinators.group.commands import CommitOffsets, OffsetToCommit
from kwire.coordinators.machine import ProducerStamp
from kwire.errors import Code, KafkaError
from kwire.security.operations import Operation, ResourceType
from kwire.types import Uuid
from kwire.wire.messages import TxnOffsetCommitRequest, TxnOffsetCommitResponse

PROBE: Probe = {**TRANSACTION, **MEMBER, "generation_id_or_member_epoch": 7, "topics": PARTITIONS}

_ABORTABLE_SINCE: Final = 4  # KIP-890
_ADDS_SINCE: Final = 5  # KIP-890
_TOPIC_IDS_SINCE: Final = 6
_MEMBER_EPOCHS_SINCE: Final = 6
_NO_SEQUENCE: Final = -1

TopicResponse = TxnOffsetCommitResponse.TxnOffsetCommitResponseTopic
PartitionResponse = TxnOffsetCommitResponse.TxnOffsetCommitResponsePartition


async def handle(context: Context, request: TxnOffsetCommitRequest) -> TxnOffsetCommitResponse:
    """Answer each partition; which topics the answer lists is decided in ``merge_answers``."""
    code = _denied(context, request)
    if code is not Code.NONE:
        return _refuse_all(context, request, code)
    committed = await commit_offsets(
        context,
        request.group_id,
        (_checked(context, wanted) for wanted in request.topics),
        answer=lambda index: PartitionResponse(partition_index=index),
        commit=lambda offsets: _commit(context, request, offsets),
    )
    topics = [
        TopicResponse(name=name, topic_id=topic_id, partitions=partitions) for (name, topic_id), partitions in committed
    ]
    return TxnOffsetCommitResponse(throttle_time_ms=context.throttle_ms, topics=topics)


def _checked(
    context: Context, wanted: TxnOffsetCommitRequest.TxnOffsetCommitRequestTopic
) -> CheckedTopic[tuple[str, Uuid], TxnOffsetCommitRequest.TxnOffsetCommitRequestPartition]:
    topic, code = check_topic(context, wanted, by_id=context.api_version >= _TOPIC_IDS_SINCE)
    return CheckedTopic((wanted.name, wanted.topic_id), topic, code, wanted.partitions)


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
                topic_id=topic.topic_id,
                partitions=[
                    PartitionResponse(partition_index=one.partition_index, error_code=code) for one in topic.partitions
                ],
            )
            for topic in request.topics
        ],
    )


async def _commit(
    context: Context, request: TxnOffsetCommitRequest, offsets: Sequence[OffsetToCommit]
) -> Sequence[Code]:
    if not offsets:
        return []
    producer = ProducerStamp(request.producer_id, request.producer_epoch)
    by_epoch = context.api_version >= _MEMBER_EPOCHS_SINCE
    command = CommitOffsets(
        request.group_id,
        request.generation_id_or_member_epoch,
        request.member_id,
        request.group_instance_id,
        tuple(offsets),
        unknown_group=Code.GROUP_ID_NOT_FOUND if by_epoch else Code.ILLEGAL_GENERATION,
        has_member_epoch=by_epoch,
    )
    groups = context.broker.groups
    try:
        if not request.group_id:
            raise KafkaError(Code.INVALID_GROUP_ID)
        # Loaded first, so that there is no wait between the admission and the append.
        await groups.machine(context, request.group_id)
        await _admit(context, request, producer)
        if not groups.is_loaded(request.group_id):
            # Another broker leads the group's partition by now; an admission is valid for the current turn only.
            raise KafkaError(Code.NOT_COORDINATOR)
        codes: Sequence[Code] = await groups.submit(
            context,
            request.group_id,
            lambda machine, ticket, now_ms: machine.commit_transactional_offsets(
                command, producer, ticket=ticket, now_ms=now_ms
            ),
        )
    except KafkaError as refusal:
        # The transaction coordinator did not answer. With this code clients retry at the same group coordinator.
        unanswered = refusal.code is Code.NETWORK_EXCEPTION
        return [Code.COORDINATOR_LOAD_IN_PROGRESS if unanswered else refusal.code] * len(offsets)
    return codes


async def _admit(context: Context, request: TxnOffsetCommitRequest, producer: ProducerStamp) -> None:
    broker = context.broker
    where = await broker.groups.partition_of(request.group_id)
    partition = broker.partitions.get(*where)
    dialect = Dialect.OLD
    if context.api_version >= _ABORTABLE_SINCE:
        dialect = Dialect.ADDS if context.api_version >= _ADDS_SINCE else Dialect.ABORTABLE
    refused = await broker.admission.admit(
        context, request.transactional_id, producer, {partition: _NO_SEQUENCE}, dialect
    )
    if where in refused:
        raise as_coordinator(KafkaError(refused[where]))
