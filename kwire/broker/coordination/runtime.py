"""Runs coordinators: one pure machine over each partition of an internal topic.

Responsible for: the machines of one topic, which of them has a key, loading them by replaying their logs, and replacing
one that failed. Must not depend on: any particular coordinator, requests, how Effects are carried out (``shard``).

A broker runs the machines of the partitions that it leads. A machine is loaded when a request first needs it, or, if
its partition has a directory, soon after the start or after this broker became the leader: sessions and retention begin
then. It is unloaded when another broker becomes the leader, and requests that wait for it are answered NOT_COORDINATOR.

A request that needs a machine which is being loaded waits. In a cluster loading may depend on other brokers: the
records that the partition had when this broker became its leader must be committed first, so that no answer is older
than one that the leader before has given. A request then waits for a limited time and is answered
COORDINATOR_LOAD_IN_PROGRESS.
"""

from __future__ import annotations

import itertools
import math
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from importlib import import_module
from typing import Any, Final, Generic, NamedTuple, TypeVar, TypeVarTuple

import trio

from kwire.broker.clock import Clock
from kwire.broker.containment import must_stop_broker
from kwire.broker.coordination.commits import Commits
from kwire.broker.coordination.metadata_view import MetadataView, change_of
from kwire.broker.coordination.replay import replay_log
from kwire.broker.coordination.shard import Shard, ShardServices, Waiter, as_coordinator
from kwire.broker.logs import Logger
from kwire.broker.partitions.partition import Partition, Role
from kwire.broker.partitions.partitions import Partitions
from kwire.broker.waits import Waits
from kwire.coordinators.machine import Effects, Machine, ProducerStamp, partition_for
from kwire.errors import Code, KafkaError, ProtocolViolation, StorageFailure
from kwire.metadata.image import Delta
from kwire.types import TopicPartition
from kwire.wire.batches.compression import Codec

log = Logger("kwire.coordinator")

M = TypeVar("M", bound=Machine)
Ts = TypeVarTuple("Ts")

# A smaller change of the wall clock against the monotonic one is an adjustment, a larger one means that it was set.
_CLOCK_STEP_MS: Final = 1000
# A coordinator that fails repeatedly is not reloaded at once, which would hold the event loop.
_RELOAD_MS: Final = 1000


class _Loading(Generic[M]):
    """A shard whose log is being replayed; ``slices`` has the rest of it."""

    __slots__ = ("done", "shard", "slices")

    def __init__(self, shard: Shard[M], slices: Iterator[None]) -> None:
        self.shard = shard
        self.slices = slices
        self.done = trio.Event()


class RuntimeParts(NamedTuple):
    """The parts of the broker that the runtimes of all coordinators use.

    ``create_topic`` creates the internal topic of that name, or raises KafkaError; ``storage_failed`` reports a failed
    disk; ``load_wait_ms`` is how long a request waits for a machine that is being loaded.
    """

    clock: Clock
    partitions: Partitions
    metadata: MetadataView
    create_topic: Callable[[str], Awaitable[None]]
    storage_failed: Callable[[StorageFailure], None]
    load_wait_ms: float = math.inf


class Runtime(Generic[M]):
    """The machines of ``topic``, one for each of its partitions.

    ``make`` makes an empty machine; ``run_action`` performs a machine's actions, whose outcome goes back through the
    shard's ``run``; ``codec`` compresses what is appended, and ``base_sequence`` is what Kafka writes in this topic's
    batches. Of a replicated partition, a write that is not committed within ``write_timeout_ms`` is answered
    COORDINATOR_NOT_AVAILABLE; it may be committed later. ``modules`` are imported before the first machine is made, one
    in each pass of the event loop.
    """

    def __init__(
        self,
        parts: RuntimeParts,
        topic: str,
        make: Callable[[], M],
        *,
        codec: Codec = Codec.NONE,
        base_sequence: int = 0,
        run_action: Callable[[Shard[M], object], None] | None = None,
        write_timeout_ms: float = math.inf,
        modules: Sequence[str] = (),
    ) -> None:
        self.topic = topic
        self._modules = deque(modules)
        self._make = make
        self._clock = parts.clock
        self._partitions = parts.partitions
        self._metadata = parts.metadata
        self._create = parts.create_topic
        self._storage_failed = parts.storage_failed
        self._load_wait_ms = parts.load_wait_ms
        self._commits: Commits[M] = Commits(
            clock=parts.clock,
            start_task=self.start_task,
            storage_failed=parts.storage_failed,
            lost=self._unload,
            timeout_ms=write_timeout_ms,
        )
        self._services = ShardServices(
            clock=parts.clock,
            now_ms=self.now_ms,
            codec=codec,
            base_sequence=base_sequence,
            storage_failed=parts.storage_failed,
            wait_committed=self._commits.wait_for,
            run_action=run_action or _no_actions,
            failed=self._failed,
        )
        self._shard_numbers = itertools.count()
        self._shards: dict[int, Shard[M]] = {}
        self._loading: dict[int, _Loading[M]] = {}
        self._partition_count: int | None = None
        self._reported = ""
        self._nursery: trio.Nursery | None = None
        self._wall_ahead_ms = self._measure_wall_ahead_ms()

    # --- requests
    # ----------------------------------------------------------------------------------------------------

    async def submit(self, waits: Waits, key: str, command: Callable[[M, int, int], Effects]) -> Any:
        """Run ``command(machine, ticket, now_ms)`` on the machine that has ``key``, and wait for the reply.

        Raises KafkaError: a refusal by the machine, or the client's code for a refused append.
        """
        shard = await self._shard(waits, key)
        waiter = shard.submit(command)
        if not waiter.answered:
            waiter.event = trio.Event()
            try:
                await waits.wait(waiter.event, math.inf)
            finally:
                shard.forget(waiter)
        if isinstance(waiter.result, KafkaError):
            raise waiter.result
        return waiter.result

    def submit_now(self, key: str, command: Callable[[M, int, int], Effects]) -> Waiter | None:
        """Run a command on a machine that is loaded, for a caller that does not wait here.

        The waiter has the reply, or an event that is set when the reply comes. None, with nothing done, if the machine
        is not loaded. Raises KafkaError as ``submit`` does.
        """
        count = self._partition_count
        shard = None if count is None else self._shards.get(partition_for(key, count))
        if shard is None:
            return None
        waiter = shard.submit(command)
        if not waiter.answered:
            waiter.event = trio.Event()
        return waiter

    def is_loaded(self, key: str) -> bool:
        """Whether the machine that has ``key`` is loaded here."""
        count = self._partition_count
        return count is not None and partition_for(key, count) in self._shards

    async def machine(self, waits: Waits, key: str) -> M:
        """The loaded machine that has ``key``, for queries.

        Raises KafkaError(COORDINATOR_NOT_AVAILABLE, NOT_COORDINATOR, COORDINATOR_LOAD_IN_PROGRESS).
        """
        return (await self._shard(waits, key)).machine

    async def machines(self, waits: Waits) -> list[M]:
        """All machines of this broker that hold anything, loaded. Raises as ``machine`` does."""
        found = [one for one in self._partitions.of_topic(self.topic).values() if self._is_ours(one)]
        return [(await self._loaded(waits, one.index)).machine for one in found]

    async def unload(self, waits: Waits, key: str) -> TopicPartition:
        """Unload the machine that has ``key``, as when its partition moves to another broker; returns the partition.

        Requests that wait for it are answered NOT_COORDINATOR; the next request has it loaded. Raises as ``machine``.
        """
        shard = await self._shard(waits, key)
        self._unload(shard)
        return shard.partition.topic_partition

    def loaded_shards(self) -> list[Shard[M]]:
        """The shards that are loaded now."""
        return list(self._shards.values())

    def now_ms(self) -> int:
        """The time for machines: that of the wall clock, and when it was set, machines get that time first."""
        ahead_ms = self._measure_wall_ahead_ms()
        step_ms = ahead_ms - self._wall_ahead_ms
        if abs(step_ms) >= _CLOCK_STEP_MS:
            self._wall_ahead_ms = ahead_ms
            for shard in self._shards.values():
                shard.machine.clock_stepped(step_ms)
        return self._clock.now_ms()

    async def partition_of(self, key: str) -> TopicPartition:
        """The partition that keeps everything about ``key``. Raises KafkaError(COORDINATOR_NOT_AVAILABLE)."""
        return TopicPartition(self.topic, partition_for(key, await self.partition_count()))

    async def partition_count(self) -> int:
        """How many partitions the topic has; it is created if it does not exist.

        Should the topic grow, its keys stay where they are until the broker starts again, as in Kafka.

        Raises KafkaError(COORDINATOR_NOT_AVAILABLE).
        """
        if self._partition_count is None:
            await self._import_modules()
            if not self._metadata.partition_count(self.topic):
                await self._create_topic()
            count = self._metadata.partition_count(self.topic)
            if not count:
                # Another broker has just created it, and this one has not applied the record yet.
                raise KafkaError(Code.COORDINATOR_NOT_AVAILABLE)
            self._partition_count = count
        return self._partition_count

    async def coordinator_of(self, key: str) -> int:
        """The node id of the broker that coordinates ``key``; the topic is created if it does not exist.

        Raises KafkaError(COORDINATOR_NOT_AVAILABLE).
        """
        leader = self._metadata.leader(await self.partition_of(key))
        if leader < 0:
            raise KafkaError(Code.COORDINATOR_NOT_AVAILABLE)
        return leader

    async def _import_modules(self) -> None:
        while self._modules:
            import_module(self._modules.popleft())
            await trio.lowlevel.checkpoint()

    async def _create_topic(self) -> None:
        try:
            # In a cluster the controller may be away for long; clients ask again.
            with trio.move_on_after(self._load_wait_ms / 1000):
                await self._create(self.topic)
        except KafkaError as refusal:
            if str(refusal) != self._reported:  # clients ask ten times a second
                log.warning("cannot create internal topic", topic=self.topic, error=str(refusal))
                self._reported = str(refusal)
            raise KafkaError(Code.COORDINATOR_NOT_AVAILABLE) from refusal

    # --- background
    # --------------------------------------------------------------------------------------------------

    def begin(self, nursery: trio.Nursery) -> None:
        """Run the tasks of coordinators in ``nursery`` from now on."""
        self._nursery = nursery

    @property
    def has_partitions(self) -> bool:
        """Whether there is anything to load."""
        return bool(self._partitions.of_topic(self.topic))

    async def load_stored(self) -> None:
        """Load what is on disk, once ``begin`` was called."""
        for index, partition in list(self._partitions.of_topic(self.topic).items()):
            await trio.lowlevel.checkpoint()
            if self._is_ours(partition):
                await self._import_for_stored()
            self._load_if_stored(index)

    def start_task(self, shard: Shard[M], task: Callable[[*Ts], Awaitable[None]], *args: *Ts) -> None:
        """Run a task that belongs to a shard; if it raises, the shard has failed."""
        assert self._nursery is not None
        self._nursery.start_soon(self._run_task, shard, task, args)

    async def _run_task(self, shard: Shard[M], task: Callable[..., Awaitable[None]], args: Iterable[Any]) -> None:
        try:
            await task(*args)
        except Exception as error:  # noqa: BLE001 (a bug, whatever it is)
            self._failed(shard, error)

    def on_metadata_delta(self, delta: Delta) -> None:
        """The metadata changed: unload the machines of deleted or lost partitions, load those of gained ones.

        The other machines get the part of the change that concerns them.
        """
        if any(topic.name == self.topic for topic in delta.topics_deleted):
            for shard in list(self._shards.values()):
                self._unload(shard)
            for loading in list(self._loading.values()):
                self._unload(loading.shard)
            self._partition_count = None
            return
        if delta.partitions_changed:
            for topic, index in delta.partitions_changed:
                if topic == self.topic:
                    self._follow_leader(index)
        change = change_of(delta, self._metadata)
        if change is not None:
            for shard in list(self._shards.values()):
                shard.run(lambda machine, now_ms: machine.on_metadata_change(change, self._metadata, now_ms))

    def _follow_leader(self, index: int) -> None:
        """Load or unload the machine of a partition whose leader may have changed."""
        partition = self._partitions.of_topic(self.topic).get(index)
        if partition is not None and partition.role is Role.LEADER:
            # Before the start is done, ``load_stored`` loads them.
            if self._nursery is not None and self._holds_anything(partition):
                self._nursery.start_soon(self._import_and_load, index)
            return
        shard = self._shards.get(index) or (self._loading[index].shard if index in self._loading else None)
        if shard is not None:
            log.info("coordinator unloaded: another broker leads its partition", partition=str(shard.partition))
            self._unload(shard)

    async def _import_and_load(self, index: int) -> None:
        await self._import_for_stored()
        self._load_if_stored(index)

    async def _import_for_stored(self) -> None:
        """Import whatever stored records may need, in steps."""
        await self._import_modules()

    def marker_appended(self, index: int, producer: ProducerStamp, end_offset: int, *, committed: bool) -> None:
        """A marker that ends the transaction of ``producer`` was appended to this partition, below ``end_offset``."""
        shard = self._shards.get(index)
        # A machine that is not completely loaded reads the marker from the log.
        if shard is not None:
            shard.append_marker(producer, end_offset, committed=committed)

    # --- loading
    # -----------------------------------------------------------------------------------------------------

    def _holds_anything(self, partition: Partition) -> bool:
        return self._partitions.has_directory(partition)

    def _is_ours(self, partition: Partition) -> bool:
        """Whether this broker leads the partition, and it holds anything."""
        return partition.role is Role.LEADER and self._holds_anything(partition)

    async def _shard(self, waits: Waits, key: str) -> Shard[M]:
        index = partition_for(key, self._partition_count or await self.partition_count())
        shard = self._shards.get(index)
        return await self._loaded(waits, index) if shard is None else shard

    async def _loaded(self, waits: Waits, index: int) -> Shard[M]:
        shard = self._shards.get(index)
        if shard is not None:
            return shard
        loading = self._loading.get(index)
        if loading is None:
            try:
                loading = self._begin(self._partitions.get(self.topic, index))
            except KafkaError as refusal:
                raise as_coordinator(refusal) from refusal
        if not await waits.wait(loading.done, self._load_wait_ms):
            raise KafkaError(Code.COORDINATOR_LOAD_IN_PROGRESS)
        if loading.shard.closed_because is not None:
            raise KafkaError(loading.shard.closed_because)
        return loading.shard

    def _load_if_stored(self, index: int) -> None:
        partition = self._partitions.of_topic(self.topic).get(index)
        if partition is None or index in self._shards or index in self._loading:
            return
        if self._is_ours(partition):
            self._begin(partition)

    def _begin(self, partition: Partition) -> _Loading[M]:
        shard = Shard(partition, self._make(), self._services, number=next(self._shard_numbers))
        # No directory is created for a partition that holds nothing.
        slices = replay_log(partition, shard.machine) if self._holds_anything(partition) else iter(())
        loading = self._loading[partition.index] = _Loading(shard, slices)
        if _waits_for_replicas(partition):
            self.start_task(shard, self._load_once_committed, loading)
        # Most logs are short and are replayed at once.
        elif not self._load_slice(loading):
            self.start_task(shard, self._load_in_slices, loading)
        return loading

    async def _load_once_committed(self, loading: _Loading[M]) -> None:
        """Load once all records that the previous leader may have committed are known to be committed."""
        shard = loading.shard
        try:
            await shard.partition.committed(shard.partition.log.end_offset, since=shard.since)
        except (KafkaError, StorageFailure) as failure:
            if isinstance(failure, StorageFailure):
                self._storage_failed(failure)
            if shard.closed_because is None:
                self._unload(shard)
            return
        await self._load_in_slices(loading)

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
            self._finish_loading(loading)
            return True
        except (StorageFailure, KafkaError, ProtocolViolation) as failure:
            log.error(  # noqa: TRY400 (bytes that are damaged are no fault of the code)
                "coordinator not loaded: its log cannot be replayed", partition=str(shard.partition), error=str(failure)
            )
            self._unload(shard)
            return True
        except Exception as error:
            if must_stop_broker(error):
                raise
            # Not loaded again before a request needs it: its log has not changed, so it would fail again.
            log.failure("coordinator failed while being loaded", error, partition=str(shard.partition))
            self._unload(shard)
            return True
        return False

    def _finish_loading(self, loading: _Loading[M]) -> None:
        shard = loading.shard
        del self._loading[shard.partition.index]
        self._shards[shard.partition.index] = shard
        if shard.machine.timeline.has_uncommitted:
            self.start_task(shard, self._commit_replayed, shard, shard.partition.log.end_offset)
        shard.run(lambda machine, now_ms: machine.loaded(self._metadata, now_ms))
        loading.done.set()

    def _failed(self, shard: Shard[M], error: Exception) -> None:
        """A coordinator raised an unexpected exception: reload it from its log. Raises if the broker must stop.

        Requests that wait for it are answered NOT_COORDINATOR, upon which clients look for their coordinator again.
        """
        if must_stop_broker(error):
            raise error
        log.failure("coordinator failed, loading it again from its log", error, partition=str(shard.partition))
        if shard.closed_because is None:
            self._unload(shard)
            self.start_task(shard, self._reload, shard.partition.index)

    async def _reload(self, index: int) -> None:
        await self._clock.sleep(_RELOAD_MS)
        self._load_if_stored(index)

    def _unload(self, shard: Shard[M]) -> None:
        """Unload a machine. Requests that wait for it are answered NOT_COORDINATOR; a new request has it loaded."""
        index = shard.partition.index
        self._shards.pop(index, None)
        loading = self._loading.pop(index, None)
        shard.close(Code.NOT_COORDINATOR)
        if loading is not None:
            loading.done.set()
        try:
            shard.machine.unloaded()
        except Exception as error:
            if must_stop_broker(error):
                raise
            log.failure("coordinator failed while being unloaded", error, partition=str(shard.partition))

    def _measure_wall_ahead_ms(self) -> int:
        return self._clock.now_ms() - int(self._clock.monotonic_ms())

    async def _commit_replayed(self, shard: Shard[M], offset: int) -> None:
        """Wait for records that were replayed before they were committed.

        After a failed sync the log refuses appends: the machine then answers from its committed state.
        """
        try:
            await shard.partition.committed(offset, since=shard.since)
        except StorageFailure as failure:
            self._storage_failed(failure)
        except KafkaError:
            if shard.closed_because is None:
                self._unload(shard)
        else:
            if shard.closed_because is None:
                shard.committed()


def _waits_for_replicas(partition: Partition) -> bool:
    """Whether this leader has records that other replicas must fetch before they are committed."""
    return len(partition.replicas) > 1 and not partition.is_committed(partition.log.end_offset)


def _no_actions(_shard: object, action: object) -> None:
    raise AssertionError(f"no handler for the action {action!r}")
