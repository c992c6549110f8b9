"""Acknowledgements in ShareFetch and ShareAcknowledge (KIP-932, KIP-1222).

Responsible for: the checks that need no state, and one result for each partition. Must not depend on: the two requests.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from kwire.api.pacing import paced
from kwire.broker.requests.context import Context
from kwire.broker.share.sessions import SessionKey, SharedPartition
from kwire.coordinators.share.acknowledgement import REJECT, RENEW, Acknowledgement
from kwire.coordinators.share.state import SharePartitionKey
from kwire.errors import Code, KafkaError
from kwire.security.operations import Operation, ResourceType

_RENEW_SINCE: Final = 2  # KIP-1222, of both requests


async def acknowledge(
    context: Context, member: SessionKey, topics: Iterable[Any], *, is_renew: bool
) -> dict[SharedPartition, KafkaError | None]:
    """Apply the acknowledgements of a request. Returns the error of each partition, or None.

    ``topics``: of the request, each with partitions that have acknowledgement batches.
    """
    results: dict[SharedPartition, KafkaError | None] = {}
    any_batches = False
    pairs = [(topic.topic_id, partition) for topic in topics for partition in topic.partitions]
    async for topic_id, partition in paced(context, pairs):
        each = SharedPartition(topic_id, partition.partition_index)
        try:
            await _acknowledge_one(context, member, each, partition.acknowledgement_batches, is_renew)
        except KafkaError as refusal:
            results[each] = refusal
        else:
            results[each] = None
            any_batches = any_batches or bool(partition.acknowledgement_batches)
    # Apache Kafka names partitions without acknowledgements only beside one that has some.
    return results if any_batches else {each: refusal for each, refusal in results.items() if refusal is not None}


async def _acknowledge_one(
    context: Context, member: SessionKey, each: SharedPartition, batches: list[Any], is_renew: bool
) -> None:
    topic = context.broker.image.topics_by_id.get(each.topic_id)
    if topic is None:
        raise KafkaError(Code.UNKNOWN_TOPIC_ID)
    acknowledgements = _checked(batches, may_renew=is_renew and context.api_version >= _RENEW_SINCE)
    context.authorize(Operation.READ, ResourceType.TOPIC, topic.name)
    if each.partition not in range(len(topic.partitions)):
        raise KafkaError(Code.UNKNOWN_TOPIC_OR_PARTITION)
    if acknowledgements:
        key = SharePartitionKey(member.group_id, each.topic_id, each.partition)
        await context.broker.share_partitions.acknowledge(context, key, member.member_id, acknowledgements)


def _checked(batches: list[Any], *, may_renew: bool) -> list[Acknowledgement]:
    """Raise KafkaError(INVALID_REQUEST) unless the batches ascend and each has types that are known and fit."""
    previous_last = -1
    highest = RENEW if may_renew else REJECT
    for batch in batches:
        types = batch.acknowledge_types
        if (
            batch.first_offset > batch.last_offset
            or batch.first_offset < previous_last
            or not types
            or (len(types) > 1 and len(types) != batch.last_offset - batch.first_offset + 1)
            or not all(0 <= kind <= highest for kind in types)
        ):
            raise KafkaError(Code.INVALID_REQUEST)
        previous_last = batch.last_offset
    return [Acknowledgement(batch.first_offset, batch.last_offset, batch.acknowledge_types) for batch in batches]
