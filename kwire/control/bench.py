"""The test bench of one server: rules, the request log, its state, and an internal client.

Responsible for: the parts that remain when the broker behind the sockets is replaced. Must not depend on: HTTP, a test
framework.

The HTTP interface and ``kwire.testing`` each have one and call the same methods.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from kwire.broker.broker import Broker
from kwire.broker.clients.hooks import HookedServer
from kwire.broker.clock import Clock
from kwire.control import conditions
from kwire.control.conditions import read_condition
from kwire.control.events import Events
from kwire.control.internal_client import InternalClient
from kwire.control.records import Selection, read_topic
from kwire.control.requests.recording import Recordings
from kwire.control.requests.request_log import RequestLog
from kwire.control.seeding import contents
from kwire.control.seeding.seeds import Seed
from kwire.control.state import State
from kwire.control.views import Views
from kwire.faults.injector import Injector
from kwire.faults.reach import check_reach
from kwire.faults.rules import Rule
from kwire.server.lifecycle import Server
from kwire.wire.batches.json_records import JsonRecord


async def nothing() -> None:
    """For a server whose start makes no topics or users."""


class Bench(Recordings):
    """``prepare`` makes the topics and users of the broker's start again, after a reset."""

    def __init__(
        self, server: Server, *, requests_kept: int = 1000, prepare: Callable[[], Awaitable[None]] = nothing
    ) -> None:
        self.server = server
        self.log = RequestLog(server.broker, requests_kept)
        self.injector = Injector(server.broker, self._check_rule, on_fired=self.log.note_fault, files=server.files)
        self.state = State(server, prepare)
        server.on_reopened.append(self._follow)

    @property
    def broker(self) -> Broker:
        """The current broker."""
        return self.server.broker

    @property
    def clock(self) -> Clock:
        """The clock of the current broker."""
        return self.server.broker.clock

    @property
    def client(self) -> InternalClient:
        """A client of the current broker."""
        return InternalClient(self.server.broker, self.server.connections.apis)

    @property
    def views(self) -> Views:
        """The views of the current broker."""
        return Views(self.server.broker, self.server.connections, self.client)

    async def wait_until(self, given: Mapping[str, Any], timeout_s: float) -> tuple[bool, str, str]:
        """Wait, in real time. Returns whether the condition holds, its text, and the current state as text.

        Raises ConditionError, KafkaError.
        """
        condition = read_condition(given)
        holds, seen = await conditions.wait_until(condition, lambda: self.views, timeout_s)
        return holds, condition.text, seen

    def _recorded(self) -> HookedServer:
        return self.broker

    async def reset(self) -> None:
        """Disarm all rules, empty the broker, clear the request log. Raises StorageFailure."""
        self.injector.clear()
        await self.state.reset()
        self.log.clear()

    async def happen(self, event: str, given: Mapping[str, Any]) -> dict[str, Any]:
        """Trigger an event; returns the objects that it affected. Raises EventError, KafkaError."""
        return await Events(self.broker, self.client).happen(event, given)

    async def seed(self, seed: Seed) -> dict[str, int]:
        """Fill the broker; returns how many topics were created and records written. Raises KafkaError."""
        return await contents.apply_seed(self.broker, self.client, seed)

    def close(self) -> None:
        """Disarm all rules and stop recording."""
        if self.recorder is not None:
            self.stop_recording()
        self.log.stop()
        self.injector.clear()
        if self._follow in self.server.on_reopened:
            self.server.on_reopened.remove(self._follow)

    def records(
        self, topic: str, *, partition: int | None = None, offset: int | None = None, last: int = 100
    ) -> list[dict[str, Any]]:
        """See ``records.read_topic``."""
        return read_topic(self.broker, topic, Selection(partition=partition, offset=offset, last=last))

    async def write(self, topic: str, records: Sequence[JsonRecord]) -> list[tuple[int, int]]:
        """See ``contents.write_records``."""
        return await contents.write_records(self.broker, self.client, topic, records)

    def export(self, topic: str) -> dict[str, Any]:
        """See ``contents.export_topic``."""
        return contents.export_topic(self.broker, topic)

    def _check_rule(self, rule: Rule) -> None:
        """Raise RuleError for a rule that no request to this server can trigger."""
        server = self.server
        tables = {binding.name: server.connections.apis for binding in server.bindings}
        if server.node_connections is not None:
            tables |= {binding.name: server.node_connections.apis for binding in server.controller_bindings}
        check_reach(rule, tables)

    def _follow(self) -> None:
        self.log.move_to(self.server.broker)
        if self.recorder is not None:
            self.recorder.move_to(self.server.broker)
        self.injector.move_to(self.server.broker)
