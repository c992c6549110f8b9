"""Runs coordinators: one pure machine over each partition of an internal topic.

Owns: the machines of one topic, which of them has a key, and loading them by replaying their logs. May not know: any
particular coordinator, requests, how Effects are carried out (``shard`` does that).

A machine is loaded when it is first asked for, or soon after the start if its partition has a directory: sessions and
retention begin then. Whoever asks while it is being loaded waits; nobody is told COORDINATOR_LOAD_IN_PROGRESS.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

import trio

from kwire.broker.controller.auto_topics import auto_create_topics
from kwire.broker.coordination.shard import Shard, ShardServices, as_coordinator, replay_log
from kwire.broker.logs import Logger
from kwire.broker.partitions.partition import Partition
from kwire.broker.waits import Waits
from kwire.coordinators.machine import Effects, Machine, ProducerStamp, partition_for
from kwire.errors import Code, KafkaError, ProtocolViolation, StorageFailure
from kwire.metadata.image import Delta
from kwire.types import TopicPartition
from kwire.wire.compression import Codec

if TYPE_CHECKING:
    from kwire.broker.broker import Broker

log = Logger("kwire.coordinator")

M = TypeVar("M", bound=Machine)

# The wall clock against the monotonic one: below this it is being adjusted, from this on it was set.
_CLOCK_STEP_MS: Final = 1000


class _Loading(Generic[M]):
    """A shard whose log is being replayed; ``slices`` has the rest of it."""

    __slots__ = ("done", "shard", "slices")

    def __init__(self, shard: Shard[M], slices: Iterator[None]) -> None:
        self.shard = shard
        self.slices = slices
        self.done = trio.Event()


class Runtime(Generic[M]):
    """The machines of ``topic``, one for each of its partitions.

    ``run_action`` performs a machine's actions, whose outcome goes back through the shard's ``apply``;
    ``codec`` compresses what is appended, and ``base_sequence`` is what Kafka writes in this topic's batches.
    """

    def __init__(
        self,
        broker: Broker,
        topic: str,
        make: Callable[[], M],
        *,
        codec: Codec = Codec.NONE,
        base_sequence: int = 0,
        run_action: Callable[[Shard[M], object], None] | None = None,
    ) -> None:
        self.broker = broker
        self.topic = topic
        self._make = make
        self._services = ShardServices(
            broker.clock,
            self.now_ms,
            codec,
            base_sequence,
            broker.storage_failed,
            self._start_commit,
            run_action or _no_actions,
        )
        self._shards: dict[int, Shard[M]] = {}
        self._loading: dict[int, _Loading[M]] = {}
        self._partition_count: int | None = None
        self._complained_of = ""
        self._nursery: trio.Nursery | None = None
        self._wall_ahead_ms = self._measure_wall_ahead_ms()

    # --- asking
    # ------------------------------------------------------------------------------------------------------

    async def submit(self, context: Waits, key: str, command: Callable[[M, int, int], Effects]) -> Any:
        """Give ``command(machine, ticket, now_ms)`` to the machine that has ``key``, and wait for the reply.

        Raises KafkaError: what the machine refuses, or what a failed append is to a client.
        """
        shard = await self._shard(context, key)
        waiter = shard.submit(command)
        if not waiter.answered:
            waiter.event = trio.Event()
            try:
                await context.wait(waiter.event, math.inf)
            finally:
                shard.forget(waiter)
        if isinstance(waiter.result, KafkaError):
            raise waiter.result
        return waiter.result

    async def machine(self, context: Waits, key: str) -> M:
        """The loaded machine that has ``key``, for questions that it answers at once.

        Raises KafkaError(COORDINATOR_NOT_AVAILABLE, NOT_COORDINATOR).
        """
        return (await self._shard(context, key)).machine

    async def machines(self, context: Waits) -> list[M]:
        """All machines that hold anything, loaded. Raises as ``machine`` does."""
        found = [one for one in self.broker.partitions.of_topic(self.topic).values() if self._holds_anything(one)]
        return [(await self._loaded(context, one.index)).machine for one in found]

    def now_ms(self) -> int:
        """The time for machines: that of the wall clock, and when it was set, machines hear of it first."""
        ahead_ms = self._measure_wall_ahead_ms()
        step_ms = ahead_ms - self._wall_ahead_ms
        if abs(step_ms) >= _CLOCK_STEP_MS:
            self._wall_ahead_ms = ahead_ms
            for shard in self._shards.values():
                shard.machine.clock_stepped(step_ms)
        return self.broker.clock.now_ms()

    async def partition_of(self, key: str) -> TopicPartition:
        """Return the partition that keeps everything about ``key``. Raises KafkaError(COORDINATOR_NOT_AVAILABLE)."""
        return TopicPartition(self.topic, partition_for(key, await self.partition_count()))

    async def partition_count(self) -> int:
        """Return the number of partitions of the topic, which is created if it does not exist.

        Should the topic grow, its keys stay where they are until the broker starts again, as in Kafka.

        Raises KafkaError(COORDINATOR_NOT_AVAILABLE).
        """
        if self._partition_count is None:
            if self.topic not in self.broker.image.topics:
                await self._create_topic()
            self._partition_count = len(self.broker.image.topics[self.topic].partitions)
        return self._partition_count

    async def _create_topic(self) -> None:
        (refusal,) = await auto_create_topics(self.broker.controller, self.broker.configs, [self.topic])
        if refusal is None:
            return
        if str(refusal) != self._complained_of:  # clients ask ten times a second
            log.warning("cannot create internal topic", topic=self.topic, error=str(refusal))
            self._complained_of = str(refusal)
        raise KafkaError(Code.COORDINATOR_NOT_AVAILABLE) from refusal

    # --- what happens by itself
    # --------------------------------------------------------------------------------------

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Load what lies on disk, and finish what must wait for the disk, until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            task_status.started()
            for partition in list(self.broker.partitions.of_topic(self.topic).values()):
                await trio.lowlevel.checkpoint()
                if self._holds_anything(partition) and partition.index not in self._shards | self._loading:
                    await self._load_in_slices(self._begin(partition))
            await trio.sleep_forever()

    def on_metadata_delta(self, delta: Delta) -> None:
        """The metadata changed. Without its topic a coordinator knows nothing, and coordinates nothing."""
        if any(topic.name == self.topic for topic in delta.topics_deleted):
            for shard in list(self._shards.values()):
                self._unload(shard)
            for loading in list(self._loading.values()):
                self._unload(loading.shard)
            self._partition_count = None

    def loaded(self, shard: Shard[M]) -> None:
        """A machine has just been loaded; what it missed meanwhile can be told to it here."""

    def tell_loaded(self, command: Callable[[M], Effects]) -> None:
        """Give each machine that is loaded a command that nobody waits for."""
        for shard in list(self._shards.values()):
            shard.apply(command(shard.machine))

    def marker_appended(self, index: int, producer: ProducerStamp, *, committed: bool) -> None:
        """Whoever coordinates the transaction of ``producer`` has appended its marker to this partition."""
        shard = self._shards.get(index)
        # One that is not loaded, or not wholly, reads the marker in the log.
        if shard is not None:
            shard.machine.replay_marker(producer.producer_id, producer.producer_epoch, committed=committed)

    # --- loading
    # -----------------------------------------------------------------------------------------------------

    def _holds_anything(self, partition: Partition) -> bool:
        return self.broker.partitions.has_directory(partition)

    async def _shard(self, context: Waits, key: str) -> Shard[M]:
        index = partition_for(key, await self.partition_count())
        shard = self._shards.get(index)
        return await self._loaded(context, index) if shard is None else shard

    async def _loaded(self, context: Waits, index: int) -> Shard[M]:
        shard = self._shards.get(index)
        if shard is not None:
            return shard
        loading = self._loading.get(index)
        if loading is None:
            try:
                loading = self._begin(self.broker.partitions.get(self.topic, index))
            except KafkaError as refusal:
                raise as_coordinator(refusal) from refusal
            # Most logs are short, and done with at once.
            if not self._load_slice(loading):
                assert self._nursery is not None
                self._nursery.start_soon(self._load_in_slices, loading)
        await context.wait(loading.done, math.inf)
        if loading.shard.closed_because is not None:
            raise KafkaError(loading.shard.closed_because)
        return loading.shard

    def _begin(self, partition: Partition) -> _Loading[M]:
        shard = Shard(partition, self._make(), self._services)
        # Nothing is made on the disk for a partition that holds nothing.
        slices = replay_log(partition, shard.machine) if self._holds_anything(partition) else iter(())
        loading = self._loading[partition.index] = _Loading(shard, slices)
        return loading

    async def _load_in_slices(self, loading: _Loading[M]) -> None:
        while not self._load_slice(loading):
            await trio.lowlevel.checkpoint()

    def _load_slice(self, loading: _Loading[M]) -> bool:
        """Replay one more slice; True when there is nothing left to do."""
        shard = loading.shard
        if shard.closed_because is not None:
            return True
        try:
            next(loading.slices)
        except StopIteration:
            del self._loading[shard.partition.index]
            self._shards[shard.partition.index] = shard
            shard.apply(shard.machine.loaded(self.now_ms()))
            self.loaded(shard)
            loading.done.set()
            return True
        except (StorageFailure, KafkaError, ProtocolViolation) as failure:
            log.error(  # noqa: TRY400 (bytes that are damaged are no fault of the code)
                "coordinator not loaded: its log cannot be replayed", partition=str(shard.partition), error=str(failure)
            )
            self._unload(shard)
            return True
        return False

    def _unload(self, shard: Shard[M]) -> None:
        """Forget a machine. Who waits for it is told NOT_COORDINATOR; who asks again has it loaded anew."""
        index = shard.partition.index
        self._shards.pop(index, None)
        loading = self._loading.pop(index, None)
        shard.close(Code.NOT_COORDINATOR)
        if loading is not None:
            loading.done.set()

    def _measure_wall_ahead_ms(self) -> int:
        clock = self.broker.clock
        return clock.now_ms() - int(clock.monotonic_ms())

    # --- committing
    # --------------------------------------------------------------------------------------------------

    def _start_commit(self, shard: Shard[M], offset: int) -> None:
        assert self._nursery is not None
        self._nursery.start_soon(self._commit, shard, offset)

    async def _commit(self, shard: Shard[M], offset: int) -> None:
        if shard.closed_because is not None:
            return
        try:
            await shard.partition.committed(offset)
        except KafkaError:
            self._unload(shard)
            return
        except StorageFailure as failure:
            self.broker.storage_failed(failure)
            # The machine knows more than the disk does: begin anew from what is there.
            self._unload(shard)
            return
        shard.committed()


def _no_actions(_shard: object, action: object) -> None:
    raise AssertionError(f"no handler for the action {action!r}")
