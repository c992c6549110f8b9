"""Transactional batches of a produce request, before they are appended (KIP-98, KIP-890).

Responsible for: which batches the transaction coordinator must verify, and the code that a producer gets for a refusal.
Must not depend on: how the coordinator is asked (``broker.coordination.transactions.admission``), how batches
are appended.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, TypeAlias

from kwire.broker.coordination.transactions.admission import Dialect
from kwire.broker.partitions.partition import Partition
from kwire.broker.requests.context import Context
from kwire.coordinators.machine import ProducerStamp
from kwire.errors import Code, KafkaError
from kwire.security.operations import Operation, ResourceType
from kwire.types import TopicPartition
from kwire.wire.batches.batch import HEADER_BYTES, OVERHEAD_BYTES, TRANSACTIONAL, BatchHeader, read_only_batch
from kwire.wire.messages import ProduceRequest

_ABORTABLE_SINCE: Final = 11  # KIP-890
_ADDS_SINCE: Final = 12  # KIP-890
_ZSTD: Final = 4
_ZSTD_SINCE: Final = 7  # KIP-110
# Position of the low byte of the attributes, which has the transactional bit.
_ATTRIBUTES_POSITION: Final = 22
# Limits of one turn: a partition takes about 20 microseconds, besides the time of writing the bytes.
_PIECE_PARTITIONS: Final = 64
_PIECE_BYTES: Final = 256 * 1024

PartitionData: TypeAlias = ProduceRequest.PartitionProduceData
# A topic's name, None if its id is unknown, and what is produced to it.
NamedTopic: TypeAlias = "tuple[str | None, Sequence[PartitionData]]"

_UNVERIFIED: Final = frozenset(
    {
        Code.COORDINATOR_LOAD_IN_PROGRESS,
        Code.COORDINATOR_NOT_AVAILABLE,
        Code.NETWORK_EXCEPTION,
        Code.NOT_COORDINATOR,
    }
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


def is_transactional_batch(records: memoryview | None) -> bool:
    """Whether the batch is transactional; reads that bit only, as every produced batch is checked."""
    return records is not None and len(records) >= HEADER_BYTES and bool(records[_ATTRIBUTES_POSITION] & TRANSACTIONAL)


def pieces(partitions: Sequence[PartitionData]) -> Iterator[Sequence[PartitionData]]:
    """Divide the partitions of a topic into pieces that are each admitted and appended in one turn."""
    piece: list[PartitionData] = []
    byte_count = 0
    for wanted in partitions:
        piece.append(wanted)
        byte_count += len(wanted.records or b"")
        if len(piece) == _PIECE_PARTITIONS or byte_count >= _PIECE_BYTES:
            yield piece
            piece, byte_count = [], 0
    if piece:
        yield piece


class Verification:
    """The transactional batches of one request, as the transaction coordinator admits them.

    A small request is admitted as a whole. Of a larger one the partitions are added to the transaction together, and
    each piece is admitted just before it is appended: ``is_in_pieces``, so that other connections run in between, as
    they do (``yields_turns``) where no batch is transactional and nothing is admitted.
    """

    __slots__ = (
        "_context",
        "_dialect",
        "_producer",
        "_refused",
        "_topics",
        "_transactional_id",
        "is_in_pieces",
        "yields_turns",
    )

    def __init__(self, context: Context, transactional_id: str, topics: Sequence[NamedTopic]) -> None:
        self.yields_turns = self.is_in_pieces = not _is_small(topics)
        self._context = context
        self._transactional_id = transactional_id
        self._topics = topics
        self._producer: ProducerStamp | None = None
        self._refused: dict[TopicPartition, KafkaError] = {}
        self._dialect = Dialect.OLD
        if context.api_version >= _ABORTABLE_SINCE:
            self._dialect = Dialect.ADDS if context.api_version >= _ADDS_SINCE else Dialect.ABORTABLE

    async def begin(self) -> None:
        """Check what holds for the request as a whole. Nothing may wait between this and the appends of a small one.

        Raises KafkaError(INVALID_PRODUCER_ID_MAPPING).
        """
        first_sequences: dict[Partition, int] = {}
        for name, partitions in self._topics:
            for piece in pieces(partitions):
                first_sequences |= self._first_sequences(name, piece)
                if self.is_in_pieces:
                    await self._context.yield_turn()
        if not first_sequences:
            self.is_in_pieces = False
        elif not self.is_in_pieces:
            await self._admit(first_sequences)
        elif self._dialect is Dialect.ADDS:
            assert self._producer is not None
            self._note(
                await self._context.broker.admission.add_all(
                    self._context, self._transactional_id, self._producer, first_sequences
                )
            )

    async def refused(self, name: str | None, piece: Sequence[PartitionData]) -> Mapping[TopicPartition, KafkaError]:
        """The partitions that refuse and why; the others of the piece may be appended to, in this turn."""
        if self.is_in_pieces:
            first_sequences = self._first_sequences(name, piece)
            await self._admit(
                {
                    partition: sequence
                    for partition, sequence in first_sequences.items()
                    if partition.topic_partition not in self._refused
                }
            )
        return self._refused

    async def refused_after_a_wait(
        self, name: str | None, piece: Sequence[PartitionData]
    ) -> Mapping[TopicPartition, KafkaError]:
        """The same again: while the handler waited, the transaction may have ended."""
        if not self.is_in_pieces:
            first_sequences: dict[Partition, int] = {}
            for topic, partitions in self._topics:
                first_sequences |= self._first_sequences(topic, partitions)
            self._refused.clear()
            await self._admit(first_sequences)
        return await self.refused(name, piece)

    async def _admit(self, first_sequences: Mapping[Partition, int]) -> None:
        if first_sequences:
            assert self._producer is not None
            self._note(
                await self._context.broker.admission.admit(
                    self._context, self._transactional_id, self._producer, first_sequences, self._dialect
                )
            )

    def _note(self, codes: Mapping[TopicPartition, Code]) -> None:
        self._refused |= {where: _refusal(code, self._dialect) for where, code in codes.items()}

    def _first_sequences(self, name: str | None, partitions: Sequence[PartitionData]) -> dict[Partition, int]:
        """The partitions of transactional batches with a producer id that pass the first checks.

        A batch that does not pass is left out, so that its partition does not become part of the transaction; its
        refusal is found when it is to be appended. A batch without a producer id is appended like any other, as in
        Apache Kafka.
        """
        found: dict[Partition, int] = {}
        if name is None or not self._context.may(Operation.WRITE, ResourceType.TOPIC, name, audited=False):
            return found
        for wanted in partitions:
            try:
                partition = self._context.broker.partitions.get(name, wanted.index)
                _, header = produced_batch(wanted.records, self._context.api_version)
            except KafkaError:
                continue
            if header.is_transactional and header.producer_id >= 0:
                producer = ProducerStamp(header.producer_id, header.producer_epoch)
                if self._producer is None:
                    self._producer = producer
                elif self._producer != producer:
                    message = "Transactional records contained more than one producer ID"
                    raise KafkaError(Code.INVALID_PRODUCER_ID_MAPPING, message)
                found[partition] = header.base_sequence
        return found


def _is_small(topics: Sequence[NamedTopic]) -> bool:
    """Whether all that is to be appended fits into one turn."""
    if sum(len(partitions) for _, partitions in topics) > _PIECE_PARTITIONS:
        return False
    return sum(len(wanted.records or b"") for _, partitions in topics for wanted in partitions) <= _PIECE_BYTES


def _refusal(code: Code, dialect: Dialect) -> KafkaError:
    if code is Code.INVALID_TXN_STATE:
        return KafkaError(code, "Partition was not added to the transaction")
    # A client of an older version, which adds partitions by AddPartitionsToTxn, does not know these codes; it retries
    # this one.
    if code in _UNVERIFIED or (code is Code.CONCURRENT_TRANSACTIONS and dialect is not Dialect.ADDS):
        message = f"Unable to verify the partition has been added to the transaction. Underlying error: {code.name}"
        return KafkaError(Code.NOT_ENOUGH_REPLICAS, message)
    return KafkaError(code)
