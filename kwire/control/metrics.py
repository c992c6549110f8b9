"""Metrics of one broker for Prometheus.

Responsible for: counting requests, and the families that ``/metrics`` gives. Must not depend on: HTTP.

Names are those that dashboards for Apache Kafka use: of the JMX exporter (``kafka_server_...``, ``kafka_network_...``,
``kafka_log_...``, ``kafka_controller_...``) and of kafka_exporter (``kafka_consumergroup_...``,
``kafka_topic_partition_...``); what Kafka has no name for begins with ``kwire_``. Counters count since the broker was
started or reset. Times are those of the broker's clock.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from kwire.broker.broker import Broker
from kwire.broker.requests.context import Context
from kwire.control.views import Views
from kwire.errors import KafkaError
from kwire.server.connection_registry import ConnectionRegistry
from kwire.wire.batch import HEADER_BYTES, OVERHEAD_BYTES, read_batch_header
from kwire.wire.codec import Message, api_name
from kwire.wire.messages import FetchResponse, ProduceRequest

_PRODUCE: Final = 0
_FETCH: Final = 1
# The times of so many requests of an API make its quantiles.
_TIMES_KEPT: Final = 1000
_QUANTILES: Final = (0.5, 0.95, 0.99, 0.999)


@dataclass(slots=True)
class _Requests:
    """The requests of one API."""

    by_version: Counter[int] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    total_ms: float = 0.0
    times_ms: deque[float] = field(default_factory=lambda: deque(maxlen=_TIMES_KEPT))


class Metrics:
    """Counts from ``start`` on; ``connections`` and ``views`` give what is there now."""

    def __init__(
        self, broker: Broker, connections: Callable[[], ConnectionRegistry], views: Callable[[], Views]
    ) -> None:
        self._broker = broker
        self._connections = connections
        self._views = views
        self._remove: Callable[[], None] | None = None
        self._forget()

    def start(self) -> None:
        """Count from now on. Requests are then decoded always, so each costs more."""
        self._remove = self._remove or self._broker.hooks.around_dispatch(self._count)

    def stop(self) -> None:
        """Count no more."""
        if self._remove is not None:
            self._remove()
            self._remove = None

    def move_to(self, broker: Broker) -> None:
        """Count what another broker does, from 0 on: Prometheus takes it for a restart."""
        self._broker = broker
        self._forget()
        if self._remove is not None:
            self._remove = broker.hooks.around_dispatch(self._count)

    async def exposition(self) -> bytes:
        """Give all metrics in Prometheus' text format."""
        groups = [await self._views().group(each["group"]) for each in await self._views().groups()]
        registry = CollectorRegistry(auto_describe=False)
        quorum = await self._broker.controller.describe_quorum()
        active = quorum.leader_id == self._broker.node_id
        registry.register(_Families([*self._families(active), *_group_families(groups)]))
        ProcessCollector(registry=registry)
        return generate_latest(registry)

    def _forget(self) -> None:
        self._requests: dict[int, _Requests] = {}
        self._messages_in: Counter[str] = Counter()
        self._bytes_in: Counter[str] = Counter()
        self._bytes_out: Counter[str] = Counter()
        self._produced: Counter[str] = Counter()
        self._fetched: Counter[str] = Counter()
        self._failed: dict[int, Counter[str]] = {_PRODUCE: Counter(), _FETCH: Counter()}

    async def _count(self, context: Context, request: Message, proceed: Callable[[], Awaitable[Any]]) -> Any:
        clock = self._broker.clock
        started_ms = clock.monotonic_ms()
        if context.api_key == _PRODUCE:
            self._count_produce(request)
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
        if context.api_key == _FETCH and response is not None:
            self._count_fetch(response)
        elif context.api_key == _PRODUCE and response is not None:
            for topic in response.responses:
                if any(each.error_code for each in topic.partition_responses):
                    self._failed[_PRODUCE][self._name(topic)] += 1
        return response

    def _of(self, context: Context) -> _Requests:
        return self._requests.setdefault(context.api_key, _Requests())

    def _count_produce(self, request: Message) -> None:
        assert isinstance(request, ProduceRequest)
        for topic in request.topic_data:
            name = self._name(topic)
            self._produced[name] += 1
            for partition in topic.partition_data:
                records = partition.records
                if records is not None:
                    self._bytes_in[name] += len(records)
                    self._messages_in[name] += _record_count(records)

    def _count_fetch(self, response: Message) -> None:
        assert isinstance(response, FetchResponse)
        for topic in response.responses:
            name = self._name(topic)
            self._fetched[name] += 1
            for partition in topic.partitions:
                if partition.records is not None:
                    self._bytes_out[name] += len(partition.records)
                self._failed[_FETCH][name] += bool(partition.error_code)

    def _name(self, topic: Any) -> str:
        """Give the name of a topic that a message names or gives the id of."""
        name = getattr(topic, "name", "") or getattr(topic, "topic", "")
        if name:
            return str(name)
        found = self._broker.image.topics_by_id.get(topic.topic_id)
        return "" if found is None else found.name

    def _families(self, active: bool) -> Iterator[Metric]:
        for name, text, counts in (
            ("messagesin", "Records that producers sent.", self._messages_in),
            ("bytesin", "Bytes of record batches that producers sent.", self._bytes_in),
            ("bytesout", "Bytes of record batches that consumers were sent.", self._bytes_out),
            ("totalproducerequests", "Produce requests.", self._produced),
            ("totalfetchrequests", "Fetch requests that were answered with the topic.", self._fetched),
            ("failedproducerequests", "Produce requests of which a partition was refused.", self._failed[_PRODUCE]),
            ("failedfetchrequests", "Partitions of fetch requests that were refused.", self._failed[_FETCH]),
        ):
            yield _counter(f"kafka_server_brokertopicmetrics_{name}", text, ["topic"], _by_topic(counts))
        yield from self._request_families()
        yield from self._log_families()
        yield from self._cluster_families(active)
        yield from self._process_families()

    def _request_families(self) -> Iterator[Metric]:
        rows = [
            ((api_name(key), str(version)), count)
            for key, requests in self._requests.items()
            for version, count in requests.by_version.items()
        ]
        yield _counter("kafka_network_requestmetrics_requests", "Requests.", ["request", "version"], rows)
        errors = [
            ((api_name(key), code), count)
            for key, requests in self._requests.items()
            for code, count in requests.errors.items()
        ]
        yield _counter(
            "kafka_network_requestmetrics_errors", "Requests that were refused whole.", ["request", "error"], errors
        )
        times = Metric(
            "kafka_network_requestmetrics_totaltimems", "Time of a request in ms, without sending.", "summary"
        )
        for key, requests in self._requests.items():
            labels = {"request": api_name(key)}
            ordered = sorted(requests.times_ms)
            for quantile in _QUANTILES:
                value = ordered[min(len(ordered) - 1, int(quantile * len(ordered)))]
                times.add_sample(times.name, {**labels, "quantile": str(quantile)}, value)
            times.add_sample(f"{times.name}_count", labels, sum(requests.by_version.values()))
            times.add_sample(f"{times.name}_sum", labels, requests.total_ms)
        yield times

    def _log_families(self) -> Iterator[Metric]:
        labels = ["topic", "partition"]
        opened = [
            ((one.topic, str(one.index)), one.opened)
            for name in self._broker.image.topics
            for one in self._broker.partitions.of_topic(name).values()
        ]
        logs = [(names, log) for names, log in opened if log is not None]
        for name, text, rows in (
            ("size", "Bytes of a log.", [(names, log.size_bytes) for names, log in logs]),
            ("logstartoffset", "First offset of a log.", [(names, log.log_start_offset) for names, log in logs]),
            ("logendoffset", "Next offset of a log.", [(names, log.end_offset) for names, log in logs]),
            ("numlogsegments", "Segments of a log.", [(names, len(log.segments)) for names, log in logs]),
        ):
            yield _gauge(f"kafka_log_log_{name}", text, labels, rows)
        yield _gauge(
            "kafka_topic_partition_current_offset",
            "High watermark of a partition.",
            labels,
            [(names, log.high_watermark) for names, log in logs],
        )
        yield _gauge(
            "kafka_topic_partition_oldest_offset",
            "First offset of a partition.",
            labels,
            [(names, log.log_start_offset) for names, log in logs],
        )

    def _cluster_families(self, active: bool) -> Iterator[Metric]:
        partitions = list(self._broker.partitions)
        image = self._broker.image
        leaders = sum(one.leader_id == self._broker.node_id for one in partitions)
        under = sum(len(one.isr) < len(one.replicas) for one in partitions)
        offline = sum(one.leader_id < 0 for one in partitions)
        for name, text, value in (
            ("kafka_server_replicamanager_partitioncount", "Partitions with a replica here.", len(partitions)),
            ("kafka_server_replicamanager_leadercount", "Partitions that this broker leads.", leaders),
            ("kafka_server_replicamanager_underreplicatedpartitions", "Partitions that lack replicas in sync.", under),
            (
                "kafka_controller_kafkacontroller_activecontrollercount",
                "1 if this is the active controller.",
                int(active),
            ),
            ("kafka_controller_kafkacontroller_offlinepartitionscount", "Partitions without a leader.", offline),
            ("kafka_controller_kafkacontroller_globaltopiccount", "Topics.", len(image.topics)),
        ):
            yield _gauge(name, text, [], [((), value)])
        listeners = Counter(each.endpoint.name for each in self._connections().open)
        yield _gauge(
            "kafka_server_socketservermetrics_connection_count",
            "Connections.",
            ["listener"],
            [((endpoint.name,), listeners[endpoint.name]) for endpoint in self._broker.endpoints],
        )

    def _process_families(self) -> Iterator[Metric]:
        watchdog = self._broker.watchdog
        yield _counter(
            "kwire_event_loop_held",
            "Steps that held the event loop too long.",
            ["by"],
            [((name,), count) for name, count in watchdog.held.items()],
        )
        yield _gauge(
            "kwire_event_loop_held_longest_ms",
            "The longest of these steps in ms.",
            ["by"],
            [((name,), value) for name, value in watchdog.longest_ms.items()],
        )


class _Families(Collector):
    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = list(families)

    def collect(self) -> Iterator[Metric]:
        yield from self._families


def _group_families(groups: list[dict[str, Any]]) -> Iterator[Metric]:
    labels = ["consumergroup", "topic", "partition"]
    rows = [
        ((group["group"], each["topic"], str(each["partition"])), each) for group in groups for each in group["offsets"]
    ]
    yield _gauge("kafka_consumergroup_lag", "Records behind.", labels, [(names, each["lag"]) for names, each in rows])
    yield _gauge(
        "kafka_consumergroup_current_offset",
        "Committed offset.",
        labels,
        [(names, each["offset"]) for names, each in rows if each["offset"] is not None],
    )
    yield _gauge(
        "kafka_consumergroup_members",
        "Members.",
        ["consumergroup"],
        [((group["group"],), len(group["members"])) for group in groups],
    )


def _by_topic(counts: Counter[str]) -> list[tuple[tuple[str, ...], float]]:
    return [((topic,), count) for topic, count in counts.items()]


def _counter(name: str, text: str, labels: list[str], rows: Iterable[tuple[tuple[str, ...], float]]) -> Metric:
    family = CounterMetricFamily(name, text, labels=labels)
    for names, value in rows:
        family.add_metric(names, value)
    return family


def _gauge(name: str, text: str, labels: list[str], rows: Iterable[tuple[tuple[str, ...], float]]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=labels)
    for names, value in rows:
        family.add_metric(names, value)
    return family


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
