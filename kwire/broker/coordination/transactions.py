"""The transaction coordinator of this broker: the runtime of its machines, and the markers that they order.

Owns: which settings transactions obey, spare producer ids, and bringing a decided transaction to its end whatever
happens on the way. May not know: requests, how a transaction works.

A decision is appended, then answered, and in the same turn the markers go into the partitions and the completion into
the log, so that the next transaction need not wait. Only a disk that refuses, a flush, or very many partitions make
the rest a task of its own; it tries again until the markers are there.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final, cast

import trio

from kwire.broker.coordination.markers import Marker, append_marker
from kwire.broker.coordination.runtime import Runtime
from kwire.broker.coordination.shard import Shard
from kwire.broker.logs import Logger
from kwire.broker.partitions.partition import Partition
from kwire.broker.waits import Waits
from kwire.coordinators.machine import Effects, ProducerStamp
from kwire.coordinators.transaction.commands import (
    AbortOverdue,
    EndTransaction,
    InitProducerId,
    TransactionConfig,
    WriteMarkers,
)
from kwire.coordinators.transaction.coordinator import TransactionCoordinator
from kwire.coordinators.transaction.transaction import DECIDED, NO_PRODUCER_ID
from kwire.errors import Code, KafkaError, StorageFailure
from kwire.metadata.effective import EffectiveConfigs
from kwire.metadata.features import TRANSACTION_VERSION
from kwire.metadata.image import Delta
from kwire.types import TRANSACTION_TOPIC, TopicPartition
from kwire.wire.batch import NO_SEQUENCE

if TYPE_CHECKING:
    from kwire.broker.broker import Broker

log = Logger("kwire.transactions")

# Markers written before others get a turn.
_MARKERS_AT_ONCE: Final = 200
_RETRY_MS: Final = 500
# The partition has gone, or belongs to a later producer: this transaction is over there.
_OVER: Final = frozenset(
    {Code.UNKNOWN_TOPIC_OR_PARTITION, Code.INVALID_PRODUCER_EPOCH, Code.TRANSACTION_COORDINATOR_FENCED}
)


class Transactions(Runtime[TransactionCoordinator]):
    """All transactional ids, over the partitions of ``__transaction_state``."""

    def __init__(self, broker: Broker) -> None:
        config = transaction_config(broker.configs)
        super().__init__(
            broker,
            TRANSACTION_TOPIC,
            lambda: TransactionCoordinator(config, self.version),
            base_sequence=NO_SEQUENCE,
            run_action=self._run_action,
        )

    @property
    def version(self) -> int:
        """The finalized level of transaction.version."""
        return self.broker.image.features.get(TRANSACTION_VERSION, 0)

    def on_metadata_delta(self, delta: Delta) -> None:
        super().on_metadata_delta(delta)
        if TRANSACTION_VERSION in delta.features_changed:
            for shard in [*self._shards.values(), *(loading.shard for loading in self._loading.values())]:
                shard.machine.transaction_version = self.version

    # --- commands
    # ----------------------------------------------------------------------------------------------------

    async def init_producer_id(self, context: Waits, command: InitProducerId) -> ProducerStamp:
        """Raises KafkaError as the machine does, or as its log does, or when no producer id can be reserved."""
        if command.transactional_id:
            machine = await self.machine(context, command.transactional_id)
            if machine.lacks_producer_id(command):
                await self.broker.producer_ids.fill()

        def init(machine: TransactionCoordinator, ticket: int, now_ms: int) -> Effects:
            spare_id = self._spare_id(machine.lacks_producer_id(command))
            return machine.init_producer_id(command, spare_id=spare_id, ticket=ticket, now_ms=now_ms)

        return cast("ProducerStamp", await self._perform(context, command.transactional_id, init))

    async def add_partitions(
        self,
        context: Waits,
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

        await self._perform(context, transactional_id, add)

    async def end(self, context: Waits, command: EndTransaction) -> ProducerStamp:
        """Raises as ``init_producer_id`` does."""
        if command.transactional_id:
            machine = await self.machine(context, command.transactional_id)
            if machine.is_epoch_exhausted(command.transactional_id):
                await self.broker.producer_ids.fill()

        def end(machine: TransactionCoordinator, ticket: int, now_ms: int) -> Effects:
            spare_id = self._spare_id(machine.is_epoch_exhausted(command.transactional_id))
            return machine.end(command, spare_id=spare_id, ticket=ticket, now_ms=now_ms)

        return cast("ProducerStamp", await self._perform(context, command.transactional_id, end))

    async def _perform(
        self, context: Waits, key: str, command: Callable[[TransactionCoordinator, int, int], Effects]
    ) -> Any:
        # Before a coordinator is looked for, as there is none for it.
        if not key:
            raise KafkaError(Code.INVALID_REQUEST)
        return await self.submit(context, key, command)

    def _spare_id(self, is_needed: bool) -> int:
        return self.broker.producer_ids.take() if is_needed else NO_PRODUCER_ID

    # --- actions
    # ------------------------------------------------------------------------------------------------------

    def _run_action(self, shard: Shard[TransactionCoordinator], action: object) -> None:
        match action:
            case WriteMarkers():
                self._write_markers(shard, action)
            case AbortOverdue(transactional_id):
                if shard.machine.is_epoch_exhausted(transactional_id) and self.broker.producer_ids.is_empty:
                    assert self._nursery is not None
                    self._nursery.start_soon(self._fill_then_abort_overdue, shard, transactional_id)
                else:
                    self._abort_overdue(shard, transactional_id)
            case _:
                raise AssertionError(action)

    async def _fill_then_abort_overdue(self, shard: Shard[TransactionCoordinator], transactional_id: str) -> None:
        try:
            await self.broker.producer_ids.fill()
        except KafkaError as refusal:
            log.warning("no producer id to abort a timed-out transaction; will retry", error=str(refusal))
            return
        if shard.closed_because is None:
            self._abort_overdue(shard, transactional_id)

    def _abort_overdue(self, shard: Shard[TransactionCoordinator], transactional_id: str) -> None:
        machine = shard.machine
        spare_id = self._spare_id(machine.is_epoch_exhausted(transactional_id))
        log.info("aborting a transaction that has been open for too long", transactional_id=transactional_id)
        now_ms = self.now_ms()
        shard.apply(machine.abort_overdue(transactional_id, spare_id=spare_id, now_ms=now_ms))

    def _write_markers(self, shard: Shard[TransactionCoordinator], action: WriteMarkers) -> None:
        ending = _Ending(self.broker, shard, action)
        ending.append_markers()
        if not ending.are_written or not ending.complete():
            assert self._nursery is not None
            self._nursery.start_soon(ending.finish)


class _Ending:
    """A decided transaction whose markers are being written."""

    __slots__ = ("_again", "_broker", "_left", "_marker", "_shard", "_transactional_id", "_uncommitted")

    def __init__(self, broker: Broker, shard: Shard[TransactionCoordinator], action: WriteMarkers) -> None:
        self._broker = broker
        self._shard = shard
        self._transactional_id = action.transactional_id
        coordinator_epoch = shard.partition.leader_epoch
        self._marker = Marker(action.producer, action.committed, coordinator_epoch, action.client_version)
        self._left = deque(action.partitions)
        # Where it could not be written, and where it must reach the disk before it counts.
        self._again: list[TopicPartition] = []
        self._uncommitted: list[tuple[Partition, int]] = []

    @property
    def are_written(self) -> bool:
        return not (self._left or self._again or self._uncommitted)

    def append_markers(self) -> None:
        """So many as may be done in one turn."""
        for _ in range(min(len(self._left), _MARKERS_AT_ONCE)):
            self._append(self._left.popleft())

    def complete(self) -> bool:
        """Whether the completion is in the coordinator's log."""
        machine = self._shard.machine
        self._shard.apply(machine.complete(self._transactional_id, self._broker.transactions.now_ms()))
        transaction = machine.transactions.get(self._transactional_id)
        return transaction is None or transaction.state not in DECIDED

    async def finish(self) -> None:
        """Go on until all is done, or until the machine is unloaded: then the next one is told to begin anew."""
        while self._shard.closed_because is None:
            while self._left:
                await trio.lowlevel.checkpoint()
                self.append_markers()
            await self._commit()
            if self._shard.closed_because is not None or (self.are_written and self.complete()):
                return
            self._left.extend(self._again)
            self._again.clear()
            await self._broker.clock.sleep(_RETRY_MS)

    def _append(self, where: TopicPartition) -> None:
        try:
            partition, next_offset = append_marker(self._broker, where, self._marker)
        except StorageFailure as failure:
            self._broker.storage_failed(failure)
            self._again.append(where)
        except KafkaError as refusal:
            if refusal.code not in _OVER:
                self._again.append(where)
            log.warning(
                "a transaction marker was refused",
                partition=str(where),
                transactional_id=self._transactional_id,
                why=str(refusal),
            )
        else:
            if not partition.is_committed(next_offset):
                self._uncommitted.append((partition, next_offset))

    async def _commit(self) -> None:
        uncommitted, self._uncommitted = self._uncommitted, []
        for partition, next_offset in uncommitted:
            try:
                await partition.committed(next_offset)
            except KafkaError:
                self._again.append(partition.topic_partition)
            except StorageFailure as failure:
                self._broker.storage_failed(failure)
                self._again.append(partition.topic_partition)


def transaction_config(configs: EffectiveConfigs) -> TransactionConfig:
    """What the broker's settings say of transactions."""
    return TransactionConfig(
        max_timeout_ms=configs.broker["transaction.max.timeout.ms"],
        id_expiration_ms=configs.broker["transactional.id.expiration.ms"],
        abort_interval_ms=configs.broker["transaction.abort.timed.out.transaction.cleanup.interval.ms"],
        expire_interval_ms=configs.broker["transaction.remove.expired.transaction.cleanup.interval.ms"],
    )
