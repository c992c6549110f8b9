"""Counters of requests, records and bytes since the start: by API, by topic, by connection.

Responsible for: counting. Must not depend on: HTTP, the format of metrics.

Counters count since the broker was started or reset. Times are those of the broker's clock; the time of a request ends
when its response is complete.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final

from kwire.broker.broker import Broker
from kwire.broker.requests.context import Context
from kwire.broker.requests.forwarded import carrier_of
from kwire.errors import KafkaError
from kwire.wire.batches.batch import HEADER_BYTES, OVERHEAD_BYTES, read_batch_header
from kwire.wire.codec import Message
from kwire.wire.messages import FetchResponse, ProduceRequest

PRODUCE: Final = 0
FETCH: Final = 1
# Quantiles of an API are computed over this many requests.
_TIMES_KEPT: Final = 1000


@dataclass(slots=True)
class ApiCounts:
    """The requests of one API."""

    by_version: Counter[int] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    total_ms: float = 0.0
    times_ms: deque[float] = field(default_factory=lambda: deque(maxlen=_TIMES_KEPT))

    @property
    def count(self) -> int:
        return sum(self.by_version.values())


@dataclass(slots=True)
class ConnectionCounts:
    """The requests of one connection. ``client_id`` is that of its last request; bytes are those of record batches."""

    client_id: str | None = None
    requests: int = 0
    bytes_in: int = 0
    bytes_out: int = 0


class Traffic:
    """Counts from ``start`` to ``stop``."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._remove: Callable[[], None] | None = None
        self._forget()

    def start(self) -> None:
        """Start counting. Every request is then decoded, so each costs more."""
        self._remove = self._remove or self._broker.hooks.around_dispatch(self._count)

    def stop(self) -> None:
        """Stop counting."""
        if self._remove is not None:
            self._remove()
            self._remove = None

    def move_to(self, broker: Broker) -> None:
        """Count what another broker does, from 0 on."""
        self._broker = broker
        self._forget()
        if self._remove is not None:
            self._remove = broker.hooks.around_dispatch(self._count)

    def _forget(self) -> None:
        self.apis: dict[int, ApiCounts] = {}
        self.connections: dict[object, ConnectionCounts] = {}
        self.messages_in: Counter[str] = Counter()
        self.bytes_in: Counter[str] = Counter()
        self.bytes_out: Counter[str] = Counter()
        self.produced: Counter[str] = Counter()
        self.fetched: Counter[str] = Counter()
        self.failed: dict[int, Counter[str]] = {PRODUCE: Counter(), FETCH: Counter()}

    async def _count(self, context: Context, request: Message, proceed: Callable[[], Awaitable[Any]]) -> Any:
        clock = self._broker.clock
        started_ms = clock.monotonic_ms()
        connection = self._connection(context)
        connection.requests += 1
        connection.client_id = context.client_id
        if context.api_key == PRODUCE:
            self._count_produce(request, connection)
        try:
            response = await proceed()
        except KafkaError as refusal:
            self._of(context).errors[refusal.code.name] += 1
            raise
        finally:
            took_ms = clock.monotonic_ms() - started_ms
            requests = self._of(context)
            requests.by_version[context.api_version] += 1
            requests.total_ms += took_ms
            requests.times_ms.append(took_ms)
        if context.api_key == FETCH and response is not None:
            self._count_fetch(response, connection)
        elif context.api_key == PRODUCE and response is not None:
            for topic in response.responses:
                if any(each.error_code for each in topic.partition_responses):
                    self.failed[PRODUCE][self._name(topic)] += 1
        return response

    def _of(self, context: Context) -> ApiCounts:
        return self.apis.setdefault(context.api_key, ApiCounts())

    def _connection(self, context: Context) -> ConnectionCounts:
        connection = carrier_of(context.connection)
        counts = self.connections.get(connection)
        if counts is None:
            counts = self.connections[connection] = ConnectionCounts()
            connection.closing[self] = lambda: self._close(connection)
        return counts

    def _close(self, connection: object) -> None:
        self.connections.pop(connection, None)

    def _count_produce(self, request: Message, connection: ConnectionCounts) -> None:
        assert isinstance(request, ProduceRequest)
        for topic in request.topic_data:
            name = self._name(topic)
            self.produced[name] += 1
            for partition in topic.partition_data:
                records = partition.records
                if records is not None:
                    self.bytes_in[name] += len(records)
                    connection.bytes_in += len(records)
                    self.messages_in[name] += _record_count(records)

    def _count_fetch(self, response: Message, connection: ConnectionCounts) -> None:
        assert isinstance(response, FetchResponse)
        for topic in response.responses:
            name = self._name(topic)
            self.fetched[name] += 1
            for partition in topic.partitions:
                if partition.records is not None:
                    self.bytes_out[name] += len(partition.records)
                    connection.bytes_out += len(partition.records)
                self.failed[FETCH][name] += bool(partition.error_code)

    def _name(self, topic: Any) -> str:
        """Give the name of a topic that a message names or gives the id of."""
        name = getattr(topic, "name", "") or getattr(topic, "topic", "")
        if name:
            return str(name)
        found = self._broker.image.topics_by_id.get(topic.topic_id)
        return "" if found is None else found.name


def _record_count(records: Any) -> int:
    """Count the records of batches by their headers."""
    view = memoryview(records)
    count = position = 0
    while position + HEADER_BYTES <= len(view):
        header = read_batch_header(view, position)
        count += max(0, header.record_count)
        if header.length <= 0:
            break
        position += OVERHEAD_BYTES + header.length
    return count
