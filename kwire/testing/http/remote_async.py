"""``RemoteKafka`` for asyncio and trio: its methods as coroutines.

Responsible for: running each call in a thread of the current event loop. Must not depend on: HTTP.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from functools import partial
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

import sniffio
import trio

from kwire.control.conditions import ConditionKeys
from kwire.faults.rules import RuleFields
from kwire.testing.http.remote import RemoteFault, RemoteFaults, RemoteKafka, RemoteRequests
from kwire.testing.requests import Wanted

T = TypeVar("T")


async def _in_thread(call: Callable[[], T]) -> T:
    if sniffio.current_async_library() == "trio":
        return await trio.to_thread.run_sync(call, abandon_on_cancel=True)
    return await asyncio.to_thread(call)


class AsyncFault:
    """See ``RemoteFault``."""

    def __init__(self, fault: RemoteFault) -> None:
        self._fault = fault

    @property
    def name(self) -> str:
        return self._fault.name

    async def matched(self) -> int:
        """How many requests matched the rule."""
        return await _in_thread(lambda: self._fault.matched)

    async def fired(self) -> int:
        """How many of them it disturbed."""
        return await _in_thread(lambda: self._fault.fired)

    async def wait_fired(self, times: int = 1, timeout: float = 10.0) -> None:  # noqa: ASYNC109 (as in the others)
        await _in_thread(partial(self._fault.wait_fired, times, timeout))

    async def release(self) -> None:
        await _in_thread(self._fault.release)

    async def remove(self) -> None:
        await _in_thread(self._fault.remove)

    async def check(self) -> None:
        await _in_thread(self._fault.check)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, _error: BaseException | None, _at: TracebackType | None
    ) -> None:
        await self.remove()
        if kind is None:
            await self.check()


class AsyncFaults:
    """See ``RemoteFaults``."""

    def __init__(self, faults: RemoteFaults) -> None:
        self._faults = faults

    async def add(self, **rule: Unpack[RuleFields]) -> AsyncFault:
        return AsyncFault(await _in_thread(partial(self._faults.add, **rule)))

    async def clear(self) -> None:
        await _in_thread(self._faults.clear)

    async def check(self) -> None:
        await _in_thread(self._faults.check)


class AsyncRequests:
    """See ``RemoteRequests``."""

    def __init__(self, requests: RemoteRequests) -> None:
        self._requests = requests

    async def last(self, count: int = 100, **wanted: Unpack[Wanted]) -> list[dict[str, Any]]:
        return await _in_thread(partial(self._requests.last, count, **wanted))

    async def wait_for(
        self,
        times: int = 1,
        timeout: float = 10.0,  # noqa: ASYNC109 (as in the others)
        **wanted: Unpack[Wanted],
    ) -> None:
        await _in_thread(partial(self._requests.wait_for, times, timeout, **wanted))

    async def clear(self) -> None:
        await _in_thread(self._requests.clear)


class AsyncKafka:
    """A broker that serves ``--control`` at ``url``, for code on asyncio or trio. See ``RemoteKafka``."""

    def __init__(self, url: str, token: str | None = None) -> None:
        self._kafka = RemoteKafka(url, token)
        self.url = url
        self.faults = AsyncFaults(self._kafka.faults)
        self.requests = AsyncRequests(self._kafka.requests)

    async def bootstrap_servers(self) -> str:
        """The value of a client's ``bootstrap.servers``."""
        return await _in_thread(lambda: self._kafka.bootstrap_servers)

    async def reset(self) -> None:
        await _in_thread(self._kafka.reset)

    async def snapshot(self, name: str = "default") -> None:
        await _in_thread(partial(self._kafka.snapshot, name))

    async def restore(self, name: str = "default") -> None:
        await _in_thread(partial(self._kafka.restore, name))

    async def save(self, directory: str | os.PathLike[str]) -> None:
        await _in_thread(partial(self._kafka.save, directory))

    async def load(self, directory: str | os.PathLike[str]) -> None:
        await _in_thread(partial(self._kafka.load, directory))

    async def fork(self) -> AsyncFork:
        fork = await _in_thread(self._kafka.fork)
        return AsyncFork(fork.url, fork._token, fork.stop)  # noqa: SLF001

    async def record(self, file: str | os.PathLike[str]) -> None:
        await _in_thread(partial(self._kafka.record, file))

    async def stop_recording(self) -> None:
        await _in_thread(self._kafka.stop_recording)

    async def happen(self, event: str, **what: str | int) -> dict[str, Any]:
        return await _in_thread(partial(self._kafka.happen, event, **what))

    async def seed(self, document: Mapping[str, Any] | str | os.PathLike[str]) -> None:
        await _in_thread(partial(self._kafka.seed, document))

    async def export(self, topic: str) -> dict[str, Any]:
        return await _in_thread(partial(self._kafka.export, topic))

    async def records(
        self, topic: str, *, partition: int | None = None, offset: int | None = None, last: int = 100
    ) -> list[dict[str, Any]]:
        return await _in_thread(partial(self._kafka.records, topic, partition=partition, offset=offset, last=last))

    async def groups(self) -> list[dict[str, Any]]:
        return await _in_thread(self._kafka.groups)

    async def group(self, group_id: str) -> dict[str, Any]:
        return await _in_thread(partial(self._kafka.group, group_id))

    async def transactions(self) -> list[dict[str, Any]]:
        return await _in_thread(self._kafka.transactions)

    async def producers(self, topic: str) -> list[dict[str, Any]]:
        return await _in_thread(partial(self._kafka.producers, topic))

    async def connections(self) -> list[dict[str, Any]]:
        return await _in_thread(self._kafka.connections)

    async def client_metrics(self) -> list[dict[str, Any]]:
        return await _in_thread(self._kafka.client_metrics)

    async def locks(self, group_id: str) -> list[dict[str, Any]]:
        return await _in_thread(partial(self._kafka.locks, group_id))

    async def wait_until(
        self,
        timeout: float = 10.0,  # noqa: ASYNC109 (as in the others)
        **condition: Unpack[ConditionKeys],
    ) -> None:
        await _in_thread(partial(self._kafka.wait_until, timeout, **condition))

    async def create_topic(self, name: str, partitions: int = 1, **config: str | float | bool) -> None:
        await _in_thread(partial(self._kafka.create_topic, name, partitions, **config))

    async def topics(self) -> list[str]:
        return await _in_thread(self._kafka.topics)

    async def offsets(self, topic: str) -> list[tuple[int, int]]:
        return await _in_thread(partial(self._kafka.offsets, topic))

    async def advance(self, milliseconds: float) -> None:
        await _in_thread(partial(self._kafka.advance, milliseconds))


class AsyncFork(AsyncKafka):
    """A copy of a broker, which ends with the block or ``stop``."""

    def __init__(self, url: str, token: str | None, stop: Callable[[], None]) -> None:
        super().__init__(url, token)
        self._stop = stop

    async def stop(self) -> None:
        """End the copy; does nothing when it has ended."""
        await _in_thread(self._stop)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _at: TracebackType | None
    ) -> None:
        await self.stop()
