"""The share partitions that this broker leads: loading, acknowledging, acquisition locks, storing changes.

Responsible for: one ``SharePartition`` for each share group that reads a partition here, its timer, and writing its
changes to the share coordinator. Must not depend on: requests, sessions, which records a member gets.

A share partition is loaded when a member first fetches it, and dropped when its group has no session here any more,
when the partition has another leader or is deleted, or when a newer state or leader fences it.

A task, not the request, does the steps after a write to the share coordinator, so that they are done even if the client
disconnects. Such a task also writes dead letters, once the share coordinator has stored the state ARCHIVING of their
records.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

import trio

from kwire.broker.clock import Clock, Timer
from kwire.broker.containment import must_stop_broker
from kwire.broker.coordination.shard import Waiter
from kwire.broker.logs import Logger
from kwire.broker.partitions.partition import Partition
from kwire.broker.partitions.partitions import Partitions
from kwire.broker.partitions.watches import Watch
from kwire.broker.share.dead_letters import DeadLettersRefused, DeadLetterWriter
from kwire.broker.waits import Patient, Waits
from kwire.errors import Code, KafkaError, StorageFailure
from kwire.metadata.configs.effective import EffectiveConfigs
from kwire.metadata.image import Delta

if TYPE_CHECKING:  # loaded with the first share group
    from kwire.broker.coordination.share.persister import SharePersister
    from kwire.coordinators.share.acknowledgement import Acknowledgement
    from kwire.coordinators.share.coordinator import Write
    from kwire.coordinators.share.dead_letters import DeadLetters
    from kwire.coordinators.share.in_flight import Limits
    from kwire.coordinators.share.records import Snapshot
    from kwire.coordinators.share.share_partition import Change, SharePartition
    from kwire.coordinators.share.state import SharePartitionKey, StateBatch

log = Logger("kwire.share")

# The code for the client by the share coordinator's code.
_CODES_OF_LEADER: Final = {
    Code.NOT_COORDINATOR: Code.COORDINATOR_NOT_AVAILABLE,
    Code.COORDINATOR_LOAD_IN_PROGRESS: Code.COORDINATOR_NOT_AVAILABLE,
    Code.COORDINATOR_NOT_AVAILABLE: Code.COORDINATOR_NOT_AVAILABLE,
    Code.GROUP_ID_NOT_FOUND: Code.GROUP_ID_NOT_FOUND,
    Code.UNKNOWN_TOPIC_OR_PARTITION: Code.UNKNOWN_TOPIC_OR_PARTITION,
    Code.FENCED_LEADER_EPOCH: Code.NOT_LEADER_OR_FOLLOWER,
    Code.FENCED_STATE_EPOCH: Code.NOT_LEADER_OR_FOLLOWER,
}
# After these the share partition must be loaded again.
_OUTDATED: Final = frozenset({Code.NOT_LEADER_OR_FOLLOWER, Code.GROUP_ID_NOT_FOUND, Code.UNKNOWN_TOPIC_OR_PARTITION})


class LedSharePartition:
    """A share partition of which this broker leads the partition; ``delivery`` is None until it is loaded.

    ``dead_letters``: those to be written, in order; None while there are none. ``unused_since``: the leader epoch in
    which it was dropped because its group has no session here any more; its state stays valid until the share partition
    is loaded again or has another leader.
    """

    __slots__ = (
        "_watches",
        "dead_letters",
        "delivery",
        "key",
        "loaded",
        "partition",
        "refusal",
        "timer",
        "unused_since",
    )

    def __init__(self, key: SharePartitionKey, partition: Partition) -> None:
        self.key = key
        self.partition = partition
        self.delivery: SharePartition | None = None
        self.loaded = trio.Event()
        self.refusal: KafkaError | None = None
        self.timer: Timer | None = None
        self.dead_letters: deque[DeadLetters] | None = None
        self.unused_since: int | None = None
        self._watches: dict[Watch, Hashable] = {}

    def watch(self, watch: Watch, key: Hashable) -> None:
        """Wake ``watch`` when records were appended, become available again, or make room for others."""
        self._watches[watch] = key
        self.partition.watch(watch, key)

    def unwatch(self, watch: Watch) -> None:
        self._watches.pop(watch, None)
        self.partition.unwatch(watch)

    def wake(self) -> None:
        for watch, key in list(self._watches.items()):
            watch.wake(key)


@dataclass(slots=True)
class _Outcome:
    error: KafkaError | None = None


class SharePartitions:
    """The share partitions of one broker by group, topic id and partition."""

    def __init__(
        self,
        *,
        clock: Clock,
        configs: EffectiveConfigs,
        partitions: Partitions,
        states: SharePersister,
        dead_letters: DeadLetterWriter,
    ) -> None:
        self._dead_letters = dead_letters
        self._clock = clock
        self._configs = configs
        self._partitions = partitions
        self._states = states
        self._led: dict[SharePartitionKey, LedSharePartition] = {}
        self._nursery: trio.Nursery | None = None

    def begin(self, nursery: trio.Nursery) -> None:
        """Run the tasks of share partitions in ``nursery`` from now on."""
        self._nursery = nursery

    # --- finding and loading
    # -----------------------------------------------------------------------------------------

    def find(self, key: SharePartitionKey) -> LedSharePartition | None:
        """The share partition if it is loaded, or being loaded."""
        return self._led.get(key)

    async def get(self, waits: Waits, key: SharePartitionKey, topic: str) -> tuple[LedSharePartition, SharePartition]:
        """The share partition, loaded.

        Raises KafkaError: UNKNOWN_TOPIC_OR_PARTITION, NOT_LEADER_OR_FOLLOWER, COORDINATOR_NOT_AVAILABLE,
        UNKNOWN_SERVER_ERROR.
        """
        led = self._led.get(key)
        if led is None:
            partition = self._partitions.get(topic, key.partition)
            if partition.topic_id != key.topic_id:
                raise KafkaError(Code.UNKNOWN_TOPIC_OR_PARTITION)
            led = self._led[key] = LedSharePartition(key, partition)
            self._start(self._load, led)
        if not led.loaded.is_set():
            await waits.wait(led.loaded, math.inf)
        if led.refusal is not None:
            raise led.refusal
        assert led.delivery is not None
        led.delivery.limits = self._limits(key.group_id)
        return led, led.delivery

    async def _load(self, led: LedSharePartition) -> None:
        try:
            state = await self._states.read(Patient(), led.key, led.partition.leader_epoch)
            led.delivery = self._delivery(led, state)
            self._send_dead_letters(led, led.delivery)
        except KafkaError as refusal:
            self._fail(led, as_leader(refusal))
        except StorageFailure as failure:
            log.warning("share partition not loaded", why=str(failure), **_names(led))
            self._fail(led, KafkaError(Code.UNKNOWN_SERVER_ERROR))
        except Exception:
            self._fail(led, KafkaError(Code.UNKNOWN_SERVER_ERROR))
            raise
        finally:
            led.loaded.set()

    def _delivery(self, led: LedSharePartition, state: Snapshot) -> SharePartition:
        from kwire.broker.share.start_offset import first_start_offset  # noqa: PLC0415 (with the first one)
        from kwire.coordinators.share.share_partition import SharePartition  # noqa: PLC0415 (as above)
        from kwire.coordinators.share.state import UNKNOWN_START_OFFSET  # noqa: PLC0415 (as above)

        start_offset = state.start_offset
        if start_offset == UNKNOWN_START_OFFSET:
            start_offset = first_start_offset(
                led.partition.log,
                self._configs.group(led.key.group_id)["share.auto.offset.reset"],
                self._clock.now_ms(),
            )
        return SharePartition(start_offset, state.state_epoch, state.batches, self._limits(led.key.group_id))

    def _fail(self, led: LedSharePartition, refusal: KafkaError) -> None:
        led.refusal = refusal
        if self._led.get(led.key) is led:
            del self._led[led.key]

    def _limits(self, group_id: str) -> Limits:
        from kwire.coordinators.share.in_flight import Limits  # noqa: PLC0415 (with the first share partition)

        values = self._configs.group(group_id)
        return Limits(
            values["share.delivery.count.limit"],
            values["share.partition.max.record.locks"],
            self._dead_letters.serves(values["errors.deadletterqueue.topic.name"]),
        )

    # --- acknowledging
    # -----------------------------------------------------------------------------------------------

    async def acknowledge(
        self, waits: Waits, key: SharePartitionKey, member_id: str, acknowledgements: list[Acknowledgement]
    ) -> None:
        """Acknowledge records of one partition.

        Raises KafkaError: UNKNOWN_TOPIC_OR_PARTITION for a share partition that was not fetched here,
        INVALID_RECORD_STATE, INVALID_REQUEST; or what storing the change raises as in ``get``.
        """
        led = self._led.get(key)
        if led is None or led.delivery is None:
            raise KafkaError(Code.UNKNOWN_TOPIC_OR_PARTITION, "This server does not host this topic-partition.")
        led.delivery.limits = self._limits(key.group_id)
        may_renew = self._configs.group(key.group_id)["share.renew.acknowledge.enable"]
        deadline_ms = self.lock_deadline_ms(key.group_id) if may_renew else None
        # The timer may be earlier than the first end of a lock; it then checks the locks and is set again.
        change = led.delivery.acknowledge(member_id, acknowledgements, renewed_deadline_ms=deadline_ms)
        await self._change(waits, led, led.delivery, change)

    async def release(self, waits: Waits, key: SharePartitionKey, member_id: str) -> None:
        """Release all records of one partition that a member holds. Raises as ``acknowledge`` does."""
        led = self._led.get(key)
        if led is None or led.delivery is None:
            raise KafkaError(Code.UNKNOWN_TOPIC_OR_PARTITION)
        await self._change(waits, led, led.delivery, led.delivery.release(member_id))

    def release_soon(self, key: SharePartitionKey, member_id: str) -> None:
        """The same when the member's connection has closed."""
        led = self._led.get(key)
        if led is not None and led.delivery is not None:
            delivery = led.delivery
            change = delivery.release(member_id)
            if change.batches:
                self._begin_store(led, delivery, change.batches, partial(self._conclude, led, delivery, change))

    async def _change(self, waits: Waits, led: LedSharePartition, delivery: SharePartition, change: Change) -> None:
        if not change.batches:
            return
        outcome = _Outcome()

        def conclude(error: KafkaError | None) -> None:
            outcome.error = error
            self._conclude(led, delivery, change, error)

        stored = self._begin_store(led, delivery, change.batches, conclude)
        if stored is not None:
            await waits.wait(stored, math.inf)
        if outcome.error is not None:
            raise outcome.error

    def _conclude(
        self, led: LedSharePartition, delivery: SharePartition, change: Change, error: KafkaError | None
    ) -> None:
        if error is None:
            delivery.complete(change)
            self._send_dead_letters(led, delivery)
        else:
            delivery.roll_back(change)
            self._rearm(led, delivery)
        led.wake()

    # --- acquisition locks
    # -------------------------------------------------------------------------------------------

    def lock_deadline_ms(self, group_id: str) -> float:
        """When the lock of records that are acquired now ends, on the monotonic clock."""
        return self._clock.monotonic_ms() + self.lock_ms(group_id)

    def lock_ms(self, group_id: str) -> int:
        return self._configs.group(group_id)["share.record.lock.duration.ms"]

    def arm(self, led: LedSharePartition, deadline_ms: float) -> None:
        """Set the timer so that locks are checked by ``deadline_ms``, when one ends."""
        if led.timer is not None:
            if led.timer.deadline_ms <= deadline_ms:
                return
            led.timer.cancel()
        led.timer = self._clock.call_later(deadline_ms - self._clock.monotonic_ms(), partial(self._expire, led))

    def of_group(self, group_id: str) -> list[tuple[SharePartitionKey, SharePartition]]:
        """The share partitions of a group that are loaded."""
        return [
            (key, led.delivery)
            for key, led in self._led.items()
            if key.group_id == group_id and led.delivery is not None
        ]

    def expire_locks(self, group_id: str) -> int:
        """End all acquisition locks of a group now; returns the number of partitions with any."""
        count = 0
        for led in [each for key, each in self._led.items() if key.group_id == group_id]:
            if led.delivery is not None and led.delivery.next_deadline_ms() is not None:
                count += 1
                self._end_locks(led, led.delivery, math.inf)
        return count

    def _expire(self, led: LedSharePartition) -> None:
        led.timer = None
        delivery = led.delivery
        if delivery is None or self._led.get(led.key) is not led:
            return
        try:
            self._end_locks(led, delivery, self._clock.monotonic_ms())
        except Exception as error:  # noqa: BLE001 (a bug, whatever it is)
            self._failed(led, error)

    def _end_locks(self, led: LedSharePartition, delivery: SharePartition, now_ms: float) -> None:
        delivery.limits = self._limits(led.key.group_id)
        batches = delivery.expire(now_ms)
        if batches:
            # The locks end even if that cannot be stored.
            self._begin_store(led, delivery, batches, lambda _error: self._send_dead_letters(led, delivery))
            led.wake()
        self._rearm(led, delivery)

    def _rearm(self, led: LedSharePartition, delivery: SharePartition) -> None:
        deadline_ms = delivery.next_deadline_ms()
        if deadline_ms is not None:
            self.arm(led, deadline_ms)

    # --- dead letters
    # ------------------------------------------------------------------------------------------------

    def _send_dead_letters(self, led: LedSharePartition, delivery: SharePartition) -> None:
        """Begin to write the dead letters that are due, behind those that are being written."""
        due = delivery.take_dead_letters()
        if not due:
            return
        if led.dead_letters is not None:
            led.dead_letters.extend(due)
            return
        led.dead_letters = deque(due)
        self._start(self._write_dead_letters, led, delivery, led.dead_letters)

    async def _write_dead_letters(
        self, led: LedSharePartition, delivery: SharePartition, queue: deque[DeadLetters]
    ) -> None:
        while queue:
            letters = queue.popleft()
            try:
                await self._dead_letters.write(led.key.group_id, led.partition, letters)
            except (KafkaError, StorageFailure, DeadLettersRefused) as refusal:
                # A record whose dead letter cannot be written must not block the others for ever.
                log.warning(
                    "dead letters not written",
                    first_offset=letters.first_offset,
                    last_offset=letters.last_offset,
                    error=str(refusal),
                    **_names(led),
                )
            known = self._led.get(led.key)
            if known is not led and not (known is None and led.unused_since == led.partition.leader_epoch):
                return  # the next load finds the remaining ones
            batches = delivery.archive(letters)
            if batches:
                self._begin_store(led, delivery, batches, lambda _error: None)
                led.wake()
        led.dead_letters = None

    # --- storing
    # -----------------------------------------------------------------------------------------------------

    def _begin_store(
        self,
        led: LedSharePartition,
        delivery: SharePartition,
        batches: list[StateBatch],
        conclude: Callable[[KafkaError | None], None],
    ) -> trio.Event | None:
        """Write to the share coordinator, then call ``conclude``. Returns None if that is done, else an event."""
        from kwire.coordinators.share.coordinator import Write  # noqa: PLC0415 (with the first share partition)

        write = Write(
            delivery.state_epoch,
            led.partition.leader_epoch,
            delivery.start_offset,
            delivery.delivered_count(),
            tuple(batches),
        )
        try:
            waiter = self._states.write_now(led.key, write)
        except (KafkaError, StorageFailure) as refusal:
            self._stored(led, refusal, conclude)
            return None
        if waiter is not None and waiter.answered:
            self._stored(led, waiter.result, conclude)
            return None
        done = trio.Event()
        self._start(self._store, led, write, waiter, conclude, done)
        return done

    async def _store(
        self,
        led: LedSharePartition,
        write: Write,
        waiter: Waiter | None,
        conclude: Callable[[KafkaError | None], None],
        done: trio.Event,
    ) -> None:
        result: object = None
        try:
            if waiter is None:
                await self._states.write(Patient(), led.key, write)
            else:
                assert waiter.event is not None
                await waiter.event.wait()
                result = waiter.result
        except (KafkaError, StorageFailure) as refusal:
            result = refusal
        try:
            self._stored(led, result, conclude)
        finally:
            done.set()

    def _stored(self, led: LedSharePartition, result: object, conclude: Callable[[KafkaError | None], None]) -> None:
        if isinstance(result, StorageFailure):
            result = KafkaError(Code.NOT_COORDINATOR)
        error = as_leader(result) if isinstance(result, KafkaError) else None
        if error is not None:
            log.warning("share group state not written", error=str(result), **_names(led))
            if error.code in _OUTDATED:
                self._forget(led)
        conclude(error)

    def _start(self, task: Callable[..., Awaitable[None]], led: LedSharePartition, *args: object) -> None:
        assert self._nursery is not None
        self._nursery.start_soon(self._run_task, task, led, args)

    async def _run_task(
        self, task: Callable[..., Awaitable[None]], led: LedSharePartition, args: tuple[object, ...]
    ) -> None:
        try:
            await task(led, *args)
        except Exception as error:
            if must_stop_broker(error):
                raise
            self._failed(led, error)

    def _failed(self, led: LedSharePartition, error: Exception) -> None:
        """After an unexpected exception: drop the share partition, so that the next fetch loads the stored state."""
        log.failure("share partition failed, loading it again", error, **_names(led))
        self._forget(led)

    # --- the end
    # -----------------------------------------------------------------------------------------------------

    def forget_group(self, group_id: str) -> None:
        """The group has no session here any more: its state is read again when one begins."""
        for key, led in list(self._led.items()):
            if key.group_id == group_id:
                led.unused_since = led.partition.leader_epoch
                self._forget(led)

    def on_metadata_delta(self, delta: Delta) -> None:
        """Forget the share partitions of topics that were deleted and of partitions with another leader."""
        if delta.topics_deleted or delta.partitions_changed:
            for led in list(self._led.values()):
                partition = led.partition
                changed = (partition.topic, partition.index) in delta.partitions_changed
                if partition.deleted or changed:
                    self._forget(led)

    def _forget(self, led: LedSharePartition) -> None:
        if self._led.get(led.key) is led:
            del self._led[led.key]
        if led.timer is not None:
            led.timer.cancel()
            led.timer = None
        led.wake()


def as_leader(refusal: KafkaError) -> KafkaError:
    """The error that a member gets when the share coordinator refused."""
    code = _CODES_OF_LEADER.get(refusal.code, Code.UNKNOWN_SERVER_ERROR)
    return KafkaError(code, refusal.message if refusal.message != str(refusal.code) else None)


def _names(led: LedSharePartition) -> dict[str, object]:
    return {"group": led.key.group_id, "partition": str(led.partition)}
