"""Makes the machines of transactions for their runtime, and executes their actions.

Responsible for: the settings of transactions, and completing a decided transaction despite failures. Must
not depend on: requests, how a transaction works.

It is loaded with the first transaction: many brokers never have one.

A decision is appended, then answered, and in the same turn of the event loop the markers are appended to the partitions
and the completion to the coordinator's log, so that the next transaction need not wait. A task of its own does the rest
where a disk fails, a flush or replicas must be waited for, other brokers lead partitions, or there are very many of
them; it tries again until the markers are committed. Markers for other brokers go to the leaders of the partitions, as
they are at each attempt.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final, Protocol, TypeVarTuple

import trio

from kwire.broker.clock import Clock
from kwire.broker.coordination.metadata_view import MetadataView
from kwire.broker.coordination.shard import Shard
from kwire.broker.coordination.transactions.markers import AppendedMarker, Marker, MarkerWriter
from kwire.broker.coordination.transactions.producer_ids import ProducerIds
from kwire.broker.logs import Logger
from kwire.coordinators.transaction.commands import AbortOverdue, TransactionConfig, WriteMarkers
from kwire.coordinators.transaction.coordinator import TransactionCoordinator
from kwire.coordinators.transaction.transaction import PREPARED
from kwire.errors import Code, KafkaError, StorageFailure
from kwire.metadata.configs.effective import EffectiveConfigs
from kwire.metadata.entities import NO_LEADER
from kwire.types import TopicPartition

if TYPE_CHECKING:  # imported where the node is part of a cluster
    from kwire.broker.coordination.transactions.remote import RemoteTransactions

log = Logger("kwire.transactions")

Ts = TypeVarTuple("Ts")

# The markers that are appended in one turn of the event loop.
_MARKERS_AT_ONCE: Final = 20
_RETRY_MS: Final = 500
# The partition has records of a later producer, or a marker of a later coordinator: this transaction has ended there.
_OVER: Final = frozenset({Code.INVALID_PRODUCER_EPOCH, Code.TRANSACTION_COORDINATOR_FENCED})


class StartTask(Protocol):
    """``Runtime.start_task``."""

    def __call__(
        self, shard: Shard[TransactionCoordinator], task: Callable[[*Ts], Awaitable[None]], /, *args: *Ts
    ) -> None: ...


class TransactionMachines:
    """Makes machines, and executes their actions in tasks of the runtime."""

    def __init__(
        self,
        *,
        clock: Clock,
        configs: EffectiveConfigs,
        metadata: MetadataView,
        producer_ids: ProducerIds,
        markers: MarkerWriter,
        remote: RemoteTransactions | None,
        storage_failed: Callable[[StorageFailure], None],
        start_task: StartTask,
    ) -> None:
        self._clock = clock
        self._config = transaction_config(configs)
        self._metadata = metadata
        self._producer_ids = producer_ids
        self._markers = markers
        self._remote = remote
        self._storage_failed = storage_failed
        self._start_task = start_task

    def make(self) -> TransactionCoordinator:
        """Return the empty machine of one partition of ``__transaction_state``."""
        return TransactionCoordinator(self._config)

    def run_action(self, shard: Shard[TransactionCoordinator], action: object) -> None:
        """Execute an action; the outcome goes to the machine through the shard."""
        match action:
            case WriteMarkers():
                self._write_markers(shard, action)
            case AbortOverdue(transactional_id):
                if shard.machine.is_epoch_exhausted(transactional_id) and self._producer_ids.is_empty:
                    self._start_task(shard, self._fill_then_abort_overdue, shard, transactional_id)
                else:
                    self._abort_overdue(shard, transactional_id)
            case _:
                raise AssertionError(action)

    async def _fill_then_abort_overdue(self, shard: Shard[TransactionCoordinator], transactional_id: str) -> None:
        try:
            await self._producer_ids.fill()
        except KafkaError as refusal:
            log.warning("no producer id to abort a timed-out transaction; will retry", error=str(refusal))
            return
        if shard.closed_because is None:
            self._abort_overdue(shard, transactional_id)

    def _abort_overdue(self, shard: Shard[TransactionCoordinator], transactional_id: str) -> None:
        spare_id = self._producer_ids.take_if(shard.machine.is_epoch_exhausted(transactional_id))
        log.info("aborting timed-out transaction", transactional_id=transactional_id)
        shard.run(lambda machine, now_ms: machine.abort_overdue(transactional_id, spare_id=spare_id, now_ms=now_ms))

    def _write_markers(self, shard: Shard[TransactionCoordinator], action: WriteMarkers) -> None:
        completion = _Completion(
            shard,
            action,
            markers=self._markers,
            remote=self._remote,
            leader=self._metadata.leader,
            exists=self._metadata.partition_exists,
            clock=self._clock,
            storage_failed=self._storage_failed,
        )
        completion.append_markers()
        if not completion.are_written or not completion.complete():
            self._start_task(shard, completion.finish)


class _Completion:
    """The completion of a decided transaction: its markers, then the record of the coordinator."""

    def __init__(
        self,
        shard: Shard[TransactionCoordinator],
        action: WriteMarkers,
        *,
        markers: MarkerWriter,
        remote: RemoteTransactions | None,
        leader: Callable[[TopicPartition], int],
        exists: Callable[[TopicPartition], bool],
        clock: Clock,
        storage_failed: Callable[[StorageFailure], None],
    ) -> None:
        self._shard = shard
        self._markers = markers
        self._remote = remote
        self._leader = leader
        self._exists = exists
        self._clock = clock
        self._storage_failed = storage_failed
        self._transactional_id = action.transactional_id
        coordinator_epoch = shard.partition.leader_epoch
        self._marker = Marker(action.producer, action.committed, coordinator_epoch, action.client_version)
        self._left = deque(action.partitions)
        # Where the append was refused, and where the marker is not committed yet.
        self._again: list[TopicPartition] = []
        self._uncommitted: list[AppendedMarker] = []
        # Partitions that other brokers lead.
        self._elsewhere: list[TopicPartition] = []

    @property
    def are_written(self) -> bool:
        return not (self._left or self._again or self._uncommitted or self._elsewhere)

    def append_markers(self) -> None:
        """Append as many markers as one turn of the event loop allows."""
        for _ in range(min(len(self._left), _MARKERS_AT_ONCE)):
            self._append(self._left.popleft())

    def complete(self) -> bool:
        """Whether the completion is in the coordinator's log."""
        self._shard.run(lambda machine, now_ms: machine.complete(self._transactional_id, now_ms))
        transaction = self._shard.machine.transactions.get(self._transactional_id)
        return transaction is None or transaction.state not in PREPARED

    async def finish(self) -> None:
        """Continue until all is done, or until the machine is unloaded: the next one requests the markers again."""
        while self._shard.closed_because is None:
            while self._left:
                await trio.lowlevel.checkpoint()
                self.append_markers()
            if self._elsewhere:
                await self._commit_everywhere()
            else:
                await self._commit()
            if self._shard.closed_because is not None or (self.are_written and self.complete()):
                return
            self._left.extend(self._again)
            self._again.clear()
            await self._clock.sleep(_RETRY_MS)

    async def _commit_everywhere(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._commit)
            nursery.start_soon(self._send)

    def _append(self, where: TopicPartition) -> None:
        try:
            appended = self._markers.append(where, self._marker)
        except StorageFailure as failure:
            self._storage_failed(failure)
            self._again.append(where)
        except KafkaError as refusal:
            if refusal.code is Code.NOT_LEADER_OR_FOLLOWER and self._remote is not None:
                self._elsewhere.append(where)
            else:
                self._refused(where, refusal)
        else:
            if not appended.is_committed:
                self._uncommitted.append(appended)

    def _refused(self, where: TopicPartition, refusal: KafkaError) -> None:
        is_over = refusal.code in _OVER or not self._exists(where)
        if not is_over:
            self._again.append(where)
        log.warning(
            "transaction marker refused",
            partition=str(where),
            transactional_id=self._transactional_id,
            error=str(refusal),
            will_retry=not is_over,
        )

    async def _send(self) -> None:
        """Have other brokers write their markers; each answers once its markers are committed."""
        by_leader: dict[int, list[TopicPartition]] = {}
        for where in self._elsewhere:
            by_leader.setdefault(self._leader(where), []).append(where)
        self._elsewhere.clear()
        # Partitions without a leader get their markers when there is one.
        self._again += by_leader.pop(NO_LEADER, [])
        async with trio.open_nursery() as nursery:
            for leader, partitions in by_leader.items():
                nursery.start_soon(self._send_to, leader, partitions)

    async def _send_to(self, leader: int, partitions: list[TopicPartition]) -> None:
        assert self._remote is not None
        try:
            codes = await self._remote.write_marker(leader, self._marker, partitions)
        except KafkaError as failure:
            log.warning("transaction markers not sent", node=leader, error=str(failure))
            self._again += partitions
            return
        for where, code in codes.items():
            if code is not Code.NONE:
                self._refused(where, KafkaError(code))

    async def _commit(self) -> None:
        uncommitted, self._uncommitted = self._uncommitted, []
        for appended in uncommitted:
            try:
                await appended.committed()
            except KafkaError:
                self._again.append(appended.partition.topic_partition)
            except StorageFailure as failure:
                self._storage_failed(failure)
                self._again.append(appended.partition.topic_partition)


def transaction_config(configs: EffectiveConfigs) -> TransactionConfig:
    """The broker's settings for transactions."""
    return TransactionConfig(
        max_timeout_ms=configs.broker["transaction.max.timeout.ms"],
        id_expiration_ms=configs.broker["transactional.id.expiration.ms"],
        abort_interval_ms=configs.broker["transaction.abort.timed.out.transaction.cleanup.interval.ms"],
        expire_interval_ms=configs.broker["transaction.remove.expired.transaction.cleanup.interval.ms"],
    )
