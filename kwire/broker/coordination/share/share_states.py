"""The share coordinator of this broker: the runtime of its machines.

Responsible for: its settings, which machine has a share partition, and deleting redundant records of
``__share_group_state``. Must not depend on: requests, how records are delivered.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Final

import trio

from kwire.broker.coordination.runtime import Runtime, RuntimeParts
from kwire.broker.coordination.shard import Waiter
from kwire.broker.waits import Waits
from kwire.coordinators.machine import Effects
from kwire.errors import KafkaError, StorageFailure
from kwire.metadata.configs.effective import EffectiveConfigs
from kwire.types import SHARE_STATE_TOPIC, uuid_text
from kwire.wire.batches.compression import Codec

if TYPE_CHECKING:  # loaded with the first share group
    from kwire.coordinators.share.coordinator import ShareCoordinator, ShareCoordinatorConfig, Write
    from kwire.coordinators.share.records import Snapshot
    from kwire.coordinators.share.state import SharePartitionKey

# Loaded before the first machine, in steps of a few milliseconds each.
_MODULES: Final = (
    "kwire.coordinators.share.state",
    "kwire.coordinators.share.records",
    "kwire.coordinators.share.coordinator",
    "kwire.coordinators.share.in_flight",
    "kwire.coordinators.share.share_partition",
)
_PRUNE_INTERVAL: Final = "share.coordinator.state.topic.prune.interval.ms"


class ShareStates(Runtime["ShareCoordinator"]):
    """The state of all share partitions, over the partitions of ``__share_group_state``.

    Commands raise KafkaError as the machine does, or as its log does.
    """

    def __init__(self, parts: RuntimeParts, *, configs: EffectiveConfigs) -> None:
        codec = Codec(configs.broker["share.coordinator.state.topic.compression.codec"])
        super().__init__(
            parts,
            SHARE_STATE_TOPIC,
            self._make,
            codec=codec,
            write_timeout_ms=configs.broker["share.coordinator.write.timeout.ms"],
            modules=_MODULES,
        )
        self._configs = configs
        self._prune_interval_ms = configs.broker[_PRUNE_INTERVAL]

    async def initialize(self, waits: Waits, key: SharePartitionKey, state_epoch: int, start_offset: int) -> None:
        def command(machine: ShareCoordinator, ticket: int, now_ms: int) -> Effects:
            return machine.initialize(key, state_epoch, start_offset, ticket=ticket, now_ms=now_ms)

        await self.submit(waits, key_text(key), command)

    async def read(self, waits: Waits, key: SharePartitionKey, leader_epoch: int) -> Snapshot:
        def command(machine: ShareCoordinator, ticket: int, now_ms: int) -> Effects:
            return machine.read(key, leader_epoch, ticket=ticket, now_ms=now_ms)

        state: Snapshot = await self.submit(waits, key_text(key), command)
        return state

    async def write(self, waits: Waits, key: SharePartitionKey, write: Write) -> None:
        def command(machine: ShareCoordinator, ticket: int, now_ms: int) -> Effects:
            return machine.write(key, write, ticket=ticket, now_ms=now_ms)

        await self.submit(waits, key_text(key), command)

    def write_now(self, key: SharePartitionKey, write: Write) -> Waiter | None:
        """See ``Runtime.submit_now``."""

        def command(machine: ShareCoordinator, ticket: int, now_ms: int) -> Effects:
            return machine.write(key, write, ticket=ticket, now_ms=now_ms)

        return self.submit_now(key_text(key), command)

    async def summary(self, waits: Waits, key: SharePartitionKey) -> Snapshot | None:
        return (await self.machine(waits, key_text(key))).summary(key)

    async def delete(self, waits: Waits, key: SharePartitionKey) -> None:
        def command(machine: ShareCoordinator, ticket: int, now_ms: int) -> Effects:
            return machine.delete(key, ticket=ticket, now_ms=now_ms)

        await self.submit(waits, key_text(key), command)

    def _make(self) -> ShareCoordinator:
        from kwire.coordinators.share.coordinator import ShareCoordinator  # noqa: PLC0415 (with the first share group)

        return ShareCoordinator(self._config)

    @cached_property
    def _config(self) -> ShareCoordinatorConfig:
        from kwire.coordinators.share.coordinator import ShareCoordinatorConfig  # noqa: PLC0415 (as above)

        return ShareCoordinatorConfig(
            updates_per_snapshot=self._configs.broker["share.coordinator.snapshot.update.records.per.snapshot"],
            cold_interval_ms=self._configs.broker["share.coordinator.cold.partition.snapshot.interval.ms"],
        )

    # --- pruning
    # -----------------------------------------------------------------------------------------------------

    def begin(self, nursery: trio.Nursery) -> None:
        """See ``Runtime.begin``; and delete redundant records from time to time."""
        super().begin(nursery)
        self._clock.call_later(self._prune_interval_ms, self._prune_again)

    def _prune_again(self) -> None:
        self._clock.call_later(self._prune_interval_ms, self._prune_again)
        self.prune()

    def prune(self) -> None:
        """Delete the records at the start of each loaded machine's log that are redundant."""
        for shard in list(self._shards.values()):
            partition = shard.partition
            offset = min(shard.machine.redundant_below(), partition.high_watermark)
            try:
                if offset > partition.log.log_start_offset:
                    partition.delete_records_before(offset)
            except StorageFailure as failure:
                self._storage_failed(failure)
            except KafkaError:
                continue  # another broker leads it now


def key_text(key: SharePartitionKey) -> str:
    """The key of a share partition as FindCoordinator names it."""
    return f"{key.group_id}:{uuid_text(key.topic_id)}:{key.partition}"
