"""What is special about a produce request that writes in a transaction (KIP-98, KIP-890).

Owns: which of its batches need the coordinator's leave, and what a refusal is to a producer. May not know: how the
coordinator is asked (``broker.admission``), how anything is appended.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from kwire.broker.coordination.admission import Dialect, admit
from kwire.broker.partitions.partition import Partition
from kwire.broker.requests.context import Context
from kwire.coordinators.machine import ProducerStamp
from kwire.errors import Code, KafkaError
from kwire.types import TopicPartition
from kwire.wire.batch import HEADER_BYTES, MAGIC, TRANSACTIONAL, BatchHeader, read_batch_header
from kwire.wire.messages import ProduceRequest

_ABORTABLE_SINCE: Final = 11  # KIP-890
_ADDS_SINCE: Final = 12  # KIP-890
# The low byte of the attributes, in which the bit is.
_ATTRIBUTES_POSITION: Final = 22

_UNVERIFIED: Final = frozenset(
    {Code.COORDINATOR_LOAD_IN_PROGRESS, Code.COORDINATOR_NOT_AVAILABLE, Code.NOT_COORDINATOR}
)


def any_transactional(request: ProduceRequest) -> bool:
    """Whether any of the batches is transactional; nothing else of them is looked at."""
    for topic in request.topic_data:
        for wanted in topic.partition_data:
            records = wanted.records
            if records is not None and len(records) >= HEADER_BYTES and records[_ATTRIBUTES_POSITION] & TRANSACTIONAL:
                return True
    return False


async def refused(
    context: Context, request: ProduceRequest, names: Sequence[str | None]
) -> Mapping[TopicPartition, KafkaError]:
    """Why partitions refuse; the others may be appended to, in this turn. ``names`` are those of the topics.

    Raises KafkaError for the whole request: TRANSACTIONAL_ID_AUTHORIZATION_FAILED, INVALID_PRODUCER_ID_MAPPING.
    """
    if request.transactional_id is None:
        # Nobody may write in a transaction without saying in which.
        raise KafkaError(Code.TRANSACTIONAL_ID_AUTHORIZATION_FAILED)
    first_sequences: dict[Partition, int] = {}
    producers: set[ProducerStamp] = set()
    for partition, header in _batches(context, request, names):
        first_sequences[partition] = header.base_sequence
        producers.add(ProducerStamp(header.producer_id, header.producer_epoch))
    if not producers:
        return {}
    if len(producers) > 1:
        message = "Transactional records contained more than one producer ID"
        raise KafkaError(Code.INVALID_PRODUCER_ID_MAPPING, message)
    dialect = Dialect.OLD
    if context.api_version >= _ABORTABLE_SINCE:
        dialect = Dialect.ADDS if context.api_version >= _ADDS_SINCE else Dialect.ABORTABLE
    codes = await admit(context, request.transactional_id, producers.pop(), first_sequences, dialect)
    return {where: _refusal(code, dialect) for where, code in codes.items()}


def _batches(
    context: Context, request: ProduceRequest, names: Sequence[str | None]
) -> Iterator[tuple[Partition, BatchHeader]]:
    """The transactional batches that could be appended. What is wrong with others is found when their turn comes."""
    for topic, name in zip(request.topic_data, names, strict=True):
        for wanted in topic.partition_data:
            if name is None or wanted.records is None or len(wanted.records) < HEADER_BYTES:
                continue
            header = read_batch_header(wanted.records)
            if header.magic != MAGIC or not header.is_transactional:
                continue
            try:
                partition = context.broker.partitions.get(name, wanted.index)
            except KafkaError:
                continue
            yield partition, header


def _refusal(code: Code, dialect: Dialect) -> KafkaError:
    if code is Code.INVALID_TXN_STATE:
        return KafkaError(code, "Partition was not added to the transaction")
    # A client that cannot add partitions by producing does not expect these; this one it tries again.
    if code in _UNVERIFIED or (code is Code.CONCURRENT_TRANSACTIONS and dialect is not Dialect.ADDS):
        message = f"Unable to verify the partition has been added to the transaction. Underlying error: {code.name}"
        return KafkaError(Code.NOT_ENOUGH_REPLICAS, message)
    return KafkaError(code)
