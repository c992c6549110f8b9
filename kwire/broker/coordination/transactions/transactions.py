"""The transaction coordinator of this broker: the runtime of its machines.

Responsible for: the commands of transactions, spare producer ids for them, and loading what transactions need with the
first of them (``machines``). Must not depend on: requests, how a transaction works.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, cast

from kwire.broker.coordination.runtime import Runtime, RuntimeParts
from kwire.broker.coordination.shard import Shard
from kwire.broker.coordination.transactions.markers import MarkerWriter
from kwire.broker.coordination.transactions.producer_ids import ProducerIds
from kwire.broker.waits import Waits
from kwire.coordinators.machine import Effects, ProducerStamp
from kwire.errors import Code, KafkaError
from kwire.metadata.configs.effective import EffectiveConfigs
from kwire.types import TRANSACTION_TOPIC, TopicPartition
from kwire.wire.batches.batch import NO_SEQUENCE

if TYPE_CHECKING:  # loaded with the first transaction, or where the node is part of a cluster
    from kwire.broker.coordination.transactions.machines import TransactionMachines
    from kwire.broker.coordination.transactions.remote import RemoteTransactions
    from kwire.coordinators.transaction.commands import EndTransaction, InitProducerId
    from kwire.coordinators.transaction.coordinator import TransactionCoordinator

# What ``machines`` imports, in steps of a few milliseconds each.
_MODULES: Final = (
    "kwire.coordinators.transaction.transitions",
    "kwire.coordinators.transaction.coordinator",
    "kwire.broker.coordination.transactions.machines",
)


class Transactions(Runtime["TransactionCoordinator"]):
    """All transactional ids, over the partitions of ``__transaction_state``."""

    def __init__(
        self,
        parts: RuntimeParts,
        *,
        configs: EffectiveConfigs,
        producer_ids: ProducerIds,
        markers: MarkerWriter,
        remote: RemoteTransactions | None = None,
    ) -> None:
        super().__init__(
            parts,
            TRANSACTION_TOPIC,
            self._make,
            base_sequence=NO_SEQUENCE,
            run_action=self._run_action,
            write_timeout_ms=configs.broker["request.timeout.ms"],
            modules=_MODULES,
        )
        self._configs = configs
        self._producer_ids = producer_ids
        self._markers = markers
        self._remote = remote

    # --- commands
    # ----------------------------------------------------------------------------------------------------

    async def init_producer_id(self, waits: Waits, command: InitProducerId) -> ProducerStamp:
        """Raises KafkaError as the machine does, or as its log does, or when no producer id can be reserved."""
        if command.transactional_id:
            machine = await self.machine(waits, command.transactional_id)
            if machine.lacks_producer_id(command):
                await self._producer_ids.fill()

        def init(machine: TransactionCoordinator, ticket: int, now_ms: int) -> Effects:
            spare_id = self._producer_ids.take_if(machine.lacks_producer_id(command))
            return machine.init_producer_id(command, spare_id=spare_id, ticket=ticket, now_ms=now_ms)

        return cast("ProducerStamp", await self._perform(waits, command.transactional_id, init))

    async def add_partitions(
        self,
        waits: Waits,
        transactional_id: str,
        producer: ProducerStamp,
        partitions: Iterable[TopicPartition],
        *,
        client_version: int,
    ) -> None:
        """Raises as ``init_producer_id`` does."""

        def add(machine: TransactionCoordinator, ticket: int, now_ms: int) -> Effects:
            return machine.add_partitions(
                transactional_id, producer, partitions, client_version=client_version, ticket=ticket, now_ms=now_ms
            )

        await self._perform(waits, transactional_id, add)

    async def end(self, waits: Waits, command: EndTransaction) -> ProducerStamp:
        """Raises as ``init_producer_id`` does."""
        if command.transactional_id:
            machine = await self.machine(waits, command.transactional_id)
            if machine.is_epoch_exhausted(command.transactional_id):
                await self._producer_ids.fill()

        def end(machine: TransactionCoordinator, ticket: int, now_ms: int) -> Effects:
            spare_id = self._producer_ids.take_if(machine.is_epoch_exhausted(command.transactional_id))
            return machine.end(command, spare_id=spare_id, ticket=ticket, now_ms=now_ms)

        return cast("ProducerStamp", await self._perform(waits, command.transactional_id, end))

    async def _perform(
        self, waits: Waits, key: str, command: Callable[[TransactionCoordinator, int, int], Effects]
    ) -> Any:
        # Refused before the coordinator's topic is created.
        if not key:
            raise KafkaError(Code.INVALID_REQUEST)
        return await self.submit(waits, key, command)

    # --- machines
    # -----------------------------------------------------------------------------------------------------

    @cached_property
    def _machines(self) -> TransactionMachines:
        from kwire.broker.coordination.transactions.machines import (  # noqa: PLC0415  with the first transaction
            TransactionMachines,
        )

        return TransactionMachines(
            clock=self._clock,
            configs=self._configs,
            metadata=self._metadata,
            producer_ids=self._producer_ids,
            markers=self._markers,
            remote=self._remote,
            storage_failed=self._storage_failed,
            start_task=self.start_task,
        )

    def _make(self) -> TransactionCoordinator:
        return self._machines.make()

    def _run_action(self, shard: Shard[TransactionCoordinator], action: object) -> None:
        self._machines.run_action(shard, action)
