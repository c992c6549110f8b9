"""Whether a producer may write to a partition in a transaction: verified before the append (KIP-890).

Responsible for: when the coordinator is asked, and its refusals as clients of each version understand them. Must not
depend on: requests, what is written.

Between the coordinator's answer and the append no other task may run, or a transaction that ended in between would be
left open in the partition. So the last step of ``Admission.admit`` is a check that does not suspend, and its caller
appends in the same turn of the event loop. Where the coordinator is another broker, that check is the guard of each
partition: it tells whether the transaction ended here while the other broker was asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import TYPE_CHECKING

import trio

from kwire.broker.clock import Clock
from kwire.broker.coordination.transactions.markers import MarkerWriter
from kwire.broker.coordination.transactions.transactions import Transactions
from kwire.broker.partitions.partition import Partition
from kwire.broker.storage_failures import StorageFailures
from kwire.broker.waits import Waits
from kwire.coordinators.machine import ProducerStamp
from kwire.errors import Code, KafkaError, StorageFailure
from kwire.metadata.configs.effective import EffectiveConfigs
from kwire.types import TopicPartition

if TYPE_CHECKING:  # imported where the node is part of a cluster
    from kwire.broker.coordination.transactions.remote import RemoteTransactions


class Dialect(Enum):
    """The protocol of a request's version, which decides the codes of refusals."""

    # Before KIP-890: the client gets INVALID_TXN_STATE for TRANSACTION_ABORTABLE.
    OLD = 0
    ABORTABLE = 1
    # The client writes without having added the partition: the broker adds it.
    ADDS = 2


class Admission:
    """Verifies transactional writes at the transaction coordinators.

    ``remote`` asks those of other brokers; None on a broker without others.
    """

    def __init__(
        self,
        *,
        transactions: Transactions,
        configs: EffectiveConfigs,
        clock: Clock,
        storage_failures: StorageFailures,
        markers: MarkerWriter,
        remote: RemoteTransactions | None = None,
    ) -> None:
        self._markers = markers
        self._remote = remote
        self._transactions = transactions
        self._configs = configs
        self._clock = clock
        self._storage_failures = storage_failures

    async def admit(
        self,
        waits: Waits,
        transactional_id: str,
        producer: ProducerStamp,
        first_sequences: Mapping[Partition, int],
        dialect: Dialect,
    ) -> dict[TopicPartition, Code]:
        """Return the refusals by partition; the other partitions may be appended to, in this turn.

        ``first_sequences``: the partitions, and with which sequence each batch begins.
        """
        refused, asked = self._to_ask(producer, first_sequences, dialect)
        if not asked:
            return refused
        answers: Mapping[TopicPartition, Code]
        try:
            coordinator = await self._elsewhere(transactional_id)
            if coordinator is not None:
                answers = await self._ask_elsewhere(waits, coordinator, transactional_id, producer, asked, dialect)
            else:
                if dialect is Dialect.ADDS:
                    await self._add(waits, transactional_id, producer, list(asked))
                machine = await self._transactions.machine(waits, transactional_id)
                answers = machine.verify_partitions(transactional_id, producer, asked)
        except KafkaError as refusal:
            answers = dict.fromkeys(asked, refusal.code)
        for where, code in answers.items():
            if code is not Code.NONE:
                refused[where] = _as_client_knows(code, dialect)
        return refused

    async def add_all(
        self, waits: Waits, transactional_id: str, producer: ProducerStamp, first_sequences: Mapping[Partition, int]
    ) -> dict[TopicPartition, Code]:
        """Add the partitions of a request that is admitted a few partitions at a time, in one record.

        Returns the refusals that ``admit`` would return now.
        """
        refused, asked = self._to_ask(producer, first_sequences, Dialect.ADDS)
        if not asked:
            return refused
        codes: Mapping[TopicPartition, Code] = {}
        try:
            coordinator = await self._elsewhere(transactional_id)
            if coordinator is None:
                await self._add(waits, transactional_id, producer, list(asked))
            else:
                codes = await self._add_elsewhere(waits, coordinator, transactional_id, producer, list(asked))
        except KafkaError as refusal:
            codes = dict.fromkeys(asked, refusal.code)
        for where, code in codes.items():
            if code is not Code.NONE:
                refused[where] = _as_client_knows(code, Dialect.ADDS)
        return refused

    def _to_ask(
        self, producer: ProducerStamp, first_sequences: Mapping[Partition, int], dialect: Dialect
    ) -> tuple[dict[TopicPartition, Code], dict[TopicPartition, Partition]]:
        """Refusals that need no coordinator, and the partitions in which the transaction is not open yet."""
        refused: dict[TopicPartition, Code] = {}
        asked: dict[TopicPartition, Partition] = {}
        adds = dialect is Dialect.ADDS
        if not adds and not self._configs.broker["transaction.partition.verification.enable"]:
            return refused, asked
        now_ms = self._clock.now_ms()
        for partition, sequence in first_sequences.items():
            try:
                if partition.log.producers.must_verify(*producer, sequence, begins_at_zero=adds, now_ms=now_ms):
                    asked[partition.topic_partition] = partition
            except KafkaError as refusal:
                refused[partition.topic_partition] = refusal.code
            except StorageFailure as failure:
                self._storage_failures.report(failure)
                refused[partition.topic_partition] = Code.KAFKA_STORAGE_ERROR
        return refused, asked

    async def _add(
        self, waits: Waits, transactional_id: str, producer: ProducerStamp, asked: list[TopicPartition]
    ) -> None:
        """Add the partitions; while the transaction before is being completed, try again for a limited time."""
        from kwire.coordinators.transaction.transaction import NEW_EPOCH_SINCE  # noqa: PLC0415 (with transactions only)

        give_up_ms = self._give_up_ms()
        while True:
            try:
                await self._transactions.add_partitions(
                    waits, transactional_id, producer, asked, client_version=NEW_EPOCH_SINCE
                )
            except KafkaError as refusal:
                if refusal.code is not Code.CONCURRENT_TRANSACTIONS or self._clock.monotonic_ms() >= give_up_ms:
                    raise
            else:
                return
            await self._pause(waits)

    def _give_up_ms(self) -> float:
        return self._clock.monotonic_ms() + self._configs.broker["add.partitions.to.txn.retry.backoff.max.ms"]

    async def _pause(self, waits: Waits) -> None:
        await waits.wait(trio.Event(), self._configs.broker["add.partitions.to.txn.retry.backoff.ms"])

    # --- a coordinator at another broker
    # --------------------------------------------------------------------------------

    async def _elsewhere(self, transactional_id: str) -> int | None:
        """The broker that coordinates the transaction, None if it is this one.

        Raises KafkaError(COORDINATOR_NOT_AVAILABLE).
        """
        if self._remote is None or not transactional_id:
            return None
        coordinator = await self._transactions.coordinator_of(transactional_id)
        return None if coordinator == self._configs.node_id else coordinator

    async def _ask_elsewhere(  # noqa: PLR0917 (as in admit)
        self,
        waits: Waits,
        coordinator: int,
        transactional_id: str,
        producer: ProducerStamp,
        asked: Mapping[TopicPartition, Partition],
        dialect: Dialect,
    ) -> Mapping[TopicPartition, Code]:
        assert self._remote is not None
        adds = dialect is Dialect.ADDS
        give_up_ms = self._give_up_ms()
        while True:
            # Taken again for each question: a marker that comes before it ends the transaction before.
            guards = {where: self._markers.guard(partition, producer.producer_id) for where, partition in asked.items()}
            try:
                codes = await self._remote.add_partitions(
                    waits, coordinator, transactional_id, producer, list(asked), verify_only=not adds
                )
                answers = {where: guards[where].refusal if code is Code.NONE else code for where, code in codes.items()}
            finally:
                for guard in guards.values():
                    guard.end()
            if not adds or self._is_final(codes, give_up_ms):
                return answers
            await self._pause(waits)

    async def _add_elsewhere(
        self,
        waits: Waits,
        coordinator: int,
        transactional_id: str,
        producer: ProducerStamp,
        asked: list[TopicPartition],
    ) -> Mapping[TopicPartition, Code]:
        """The same as ``_add``, at another broker."""
        assert self._remote is not None
        give_up_ms = self._give_up_ms()
        while True:
            codes = await self._remote.add_partitions(
                waits, coordinator, transactional_id, producer, asked, verify_only=False
            )
            if self._is_final(codes, give_up_ms):
                return codes
            await self._pause(waits)

    def _is_final(self, codes: Mapping[TopicPartition, Code], give_up_ms: float) -> bool:
        """Whether not to ask again: the transaction before is not being completed, or it takes too long."""
        return Code.CONCURRENT_TRANSACTIONS not in codes.values() or self._clock.monotonic_ms() >= give_up_ms


def _as_client_knows(code: Code, dialect: Dialect) -> Code:
    if code is Code.PRODUCER_FENCED:
        return Code.INVALID_PRODUCER_EPOCH
    if code is Code.TRANSACTION_ABORTABLE and dialect is Dialect.OLD:
        return Code.INVALID_TXN_STATE
    return code
