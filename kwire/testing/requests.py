"""The requests that clients sent to a broker in a test.

Responsible for: the request log of a ``KafkaBroker`` from the test's thread. Must not depend on: a test framework.

    kafka.requests.wait_for(api="OffsetCommit", group="billing")
    assert [each["request"]["acks"] for each in kafka.requests.last(api="Produce")] == [-1]
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypedDict, Unpack

import trio

from kwire.control.requests.request_log import Filter, RequestLog, entry_line


class Wanted(TypedDict, total=False):
    """Which requests. ``fields`` are fields of the request, by their names in the protocol, with their values."""

    api: str
    client_id: str
    principal: str
    topic: str
    group: str
    fields: dict[str, Any]


class RequestNeverSent(AssertionError):
    """An awaited request was not received in time. The message shows those that were."""


class Requests:
    """The last 1,000 requests of one broker, ``kafka.requests``.

    They are recorded from the first use of this object, in the pytest fixture from the start. A recorded request is
    always decoded, so it costs more.
    """

    def __init__(self, run: Callable[..., Any], run_sync: Callable[..., Any], log: Callable[[], RequestLog]) -> None:
        self._run = run
        self._run_sync = run_sync
        self._log = log

    def start(self) -> None:
        """Record from now on; any use of the object does it too."""
        self._run_sync(lambda: self._log().start())

    def last(self, count: int = 100, **wanted: Unpack[Wanted]) -> list[dict[str, Any]]:
        """Give the last ``count`` matching requests, oldest first.

        Keys: number, at_ms, api, version, correlation_id, client_id, peer, listener, principal, request, response,
        outcome, took_ms, faults. ``request`` and ``response`` have the fields of the protocol; long bytes are shown by
        their size.
        """
        chosen = _filter(wanted)
        self.start()
        return [each.to_json() for each in self._run_sync(lambda: self._log().last(count, chosen))]

    def wait_for(self, times: int = 1, timeout: float = 10.0, **wanted: Unpack[Wanted]) -> None:
        """Return once ``times`` matching requests were received. Raises RequestNeverSent after ``timeout`` seconds."""
        chosen = _filter(wanted)
        self.start()

        async def wait() -> bool:
            with trio.move_on_after(timeout) as scope:
                await self._log().wait_for(chosen, times, 0)
            return not scope.cancelled_caught

        if not self._run(wait):
            shown = "\n".join(self.lines(20)) or "no request at all"
            raise RequestNeverSent(f"{times} x {wanted} was not received in {timeout:g} s; the last requests:\n{shown}")

    def clear(self) -> None:
        """Clear the request log."""
        self._run_sync(lambda: self._log().clear())

    def lines(self, count: int) -> list[str]:
        """Return the last requests as lines of text."""
        return [entry_line(each) for each in self._run_sync(lambda: self._log().last(count, Filter()))]


def _filter(wanted: Wanted) -> Filter:
    given: dict[str, Any] = dict(wanted)
    fields = given.pop("fields", {})
    return Filter(**given, fields=tuple(fields.items()))
