"""Waits until what the shards of a runtime have written is committed.

Responsible for: one task for each shard that waits, and answering requests whose write is not committed in time. Must
not depend on: any particular coordinator, what commits records.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Generic, Protocol, TypeVar

from kwire.broker.clock import Clock, Timer
from kwire.broker.coordination.shard import Shard
from kwire.coordinators.machine import Machine
from kwire.errors import KafkaError, StorageFailure

M = TypeVar("M", bound=Machine)


class _StartTask(Protocol[M]):
    def __call__(self, shard: Shard[M], task: Callable[[Shard[M]], Awaitable[None]], argument: Shard[M], /) -> None: ...


class Commits(Generic[M]):
    """``lost`` is called with a shard that has replayed records which the log has lost.

    Of a replicated partition, what is not committed within ``timeout_ms`` is answered COORDINATOR_NOT_AVAILABLE.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        start_task: _StartTask[M],
        storage_failed: Callable[[StorageFailure], None],
        lost: Callable[[Shard[M]], None],
        timeout_ms: float,
    ) -> None:
        self._clock = clock
        self._start_task = start_task
        self._storage_failed = storage_failed
        self._lost = lost
        self._timeout_ms = timeout_ms
        # The offsets that a shard's task waits for, in order, by the number of the shard.
        self._waiting: dict[int, deque[int]] = {}

    def wait_for(self, shard: Shard[M], offset: int) -> None:
        """Call ``shard.committed`` once the records below ``offset`` are committed."""
        waiting = self._waiting.get(shard.number)
        if waiting is not None:
            waiting.append(offset)
            return
        self._waiting[shard.number] = deque((offset,))
        self._start_task(shard, self._wait, shard)

    async def _wait(self, shard: Shard[M]) -> None:
        waiting = self._waiting[shard.number]
        try:
            while waiting and shard.closed_because is None:
                await self._commit_below(shard, waiting.popleft())
                # The high watermark may have passed the next ones too.
                while waiting and shard.partition.is_committed(waiting[0]):
                    waiting.popleft()
        finally:
            del self._waiting[shard.number]

    async def _commit_below(self, shard: Shard[M], offset: int) -> None:
        timer = self._time_out_later(shard) if len(shard.partition.replicas) > 1 else None
        try:
            await shard.partition.committed(offset, since=shard.since)
        except (KafkaError, StorageFailure) as failure:
            if isinstance(failure, StorageFailure):
                self._storage_failed(failure)
            if shard.closed_because is None:
                self._lost(shard)
            return
        finally:
            if timer is not None:
                timer.cancel()
        if shard.closed_because is None:
            shard.committed()

    def _time_out_later(self, shard: Shard[M]) -> Timer | None:
        return None if self._timeout_ms == math.inf else self._clock.call_later(self._timeout_ms, shard.time_out)
