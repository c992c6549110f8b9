"""Transactional batches of a produce request, before they are appended (KIP-98, KIP-890).

Responsible for: which batches the transaction coordinator must verify, and the code that a producer gets for a refusal.
Must not depend on: how the coordinator is asked (``broker.coordination.admission``), how batches are appended.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from kwire.broker.coordination.admission import Dialect, admit
from kwire.broker.partitions.partition import Partition
from kwire.broker.requests.context import Context
from kwire.coordinators.machine import ProducerStamp
from kwire.errors import Code, KafkaError
from kwire.security.operations import Operation, ResourceType
from kwire.types import TopicPartition
from kwire.wire.batch import HEADER_BYTES, OVERHEAD_BYTES, TRANSACTIONAL, BatchHeader, read_only_batch
from kwire.wire.messages import ProduceRequest

_ABORTABLE_SINCE: Final = 11  # KIP-890
_ADDS_SINCE: Final = 12  # KIP-890
_ZSTD: Final = 4
_ZSTD_SINCE: Final = 7  # KIP-110
# The low byte of the attributes, in which the bit is.
_ATTRIBUTES_POSITION: Final = 22

_UNVERIFIED: Final = frozenset(
    {Code.COORDINATOR_LOAD_IN_PROGRESS, Code.COORDINATOR_NOT_AVAILABLE, Code.NOT_COORDINATOR}
)


def produced_batch(records: memoryview | None, api_version: int) -> tuple[memoryview, BatchHeader]:
    """The one batch that was sent for a partition, without an incomplete batch behind it.

    These are the checks that Apache Kafka does before the transaction coordinator is asked. Raises KafkaError as
    ``read_only_batch`` does; UNSUPPORTED_COMPRESSION_TYPE for zstd below version 7 (KIP-110).
    """
    if records is None:
        raise KafkaError(Code.INVALID_RECORD)
    header = read_only_batch(records)
    if api_version < _ZSTD_SINCE and header.codec == _ZSTD:
        raise KafkaError(Code.UNSUPPORTED_COMPRESSION_TYPE)
    size = header.length + OVERHEAD_BYTES
    return (records if size == len(records) else records[:size]), header


def any_transactional(request: ProduceRequest) -> bool:
    """Whether any of the batches is transactional, by the bit alone: the usual request has no other test to pass."""
    for topic in request.topic_data:
        for wanted in topic.partition_data:
            records = wanted.records
            if records is not None and len(records) >= HEADER_BYTES and records[_ATTRIBUTES_POSITION] & TRANSACTIONAL:
                return True
    return False


async def refused(
    context: Context, request: ProduceRequest, names: Sequence[str | None]
) -> Mapping[TopicPartition, KafkaError]:
    """The partitions that refuse and why; the others may be appended to, in this turn. ``names`` are the topics' names.

    Raises KafkaError for the whole request: TRANSACTIONAL_ID_AUTHORIZATION_FAILED, INVALID_PRODUCER_ID_MAPPING.
    """
    if request.transactional_id is None:
        raise KafkaError(Code.TRANSACTIONAL_ID_AUTHORIZATION_FAILED)
    if any_transactional(request):
        context.authorize(Operation.WRITE, ResourceType.TRANSACTIONAL_ID, request.transactional_id)
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
    """The transactional batches with a producer id that pass the first checks.

    A batch that does not pass is left out, so that its partition does not become part of the transaction; its refusal
    is found when it is to be appended. A batch without a producer id is appended like any other, as in Apache Kafka.
    """
    for topic, name in zip(request.topic_data, names, strict=True):
        if name is None:
            continue
        for wanted in topic.partition_data:
            try:
                partition = context.broker.partitions.get(name, wanted.index)
                _, header = produced_batch(wanted.records, context.api_version)
            except KafkaError:
                continue
            if header.is_transactional and header.producer_id >= 0:
                yield partition, header


def _refusal(code: Code, dialect: Dialect) -> KafkaError:
    if code is Code.INVALID_TXN_STATE:
        return KafkaError(code, "Partition was not added to the transaction")
    # A client that does not add partitions by producing does not know these codes; it retries this one.
    if code in _UNVERIFIED or (code is Code.CONCURRENT_TRANSACTIONS and dialect is not Dialect.ADDS):
        message = f"Unable to verify the partition has been added to the transaction. Underlying error: {code.name}"
        return KafkaError(Code.NOT_ENOUGH_REPLICAS, message)
    return KafkaError(code)
