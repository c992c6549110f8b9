"""Metrics of one broker for Prometheus.

Responsible for: the metric families of ``/metrics``. Must not depend on: HTTP, how requests are counted.

Names are those that dashboards for Apache Kafka use: of the JMX exporter (``kafka_server_...``, ``kafka_network_...``,
``kafka_log_...``, ``kafka_controller_...``) and of kafka_exporter (``kafka_consumergroup_...``,
``kafka_topic_partition_...``); metrics that Kafka does not have begin with ``kwire_``. Counters count since the broker
was started or reset. Times are those of the broker's clock; those of fsyncs are real time.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from kwire.broker.broker import Broker
from kwire.control.requests.traffic import FETCH, PRODUCE, Traffic
from kwire.control.views import Views
from kwire.server.lifecycle import Server
from kwire.wire.codec import api_name

REQUESTS: Final = "kafka_network_requestmetrics_requests"
CONNECTIONS: Final = "kafka_server_socketservermetrics_connection_count"
# Characters that a Prometheus name must not have.
_NO_NAME: Final = re.compile(r"[^a-zA-Z0-9_]")
_JAVA_PREFIX: Final = "org.apache.kafka."
_QUANTILES: Final = (0.5, 0.95, 0.99, 0.999)


class Metrics:
    """Collects the counters of ``traffic``, the state of ``server``, and groups from ``views``."""

    def __init__(self, traffic: Traffic, server: Server, views: Callable[[], Views]) -> None:
        self._traffic = traffic
        self._server = server
        self._views = views

    @property
    def _broker(self) -> Broker:
        return self._server.broker

    async def exposition(self) -> bytes:
        """Give all metrics in Prometheus' text format."""
        groups = await self._views().described_groups()
        registry = CollectorRegistry(auto_describe=False)
        quorum = await self._broker.controller.describe_quorum()
        active = quorum.leader_id == self._broker.node_id
        pushed = _pushed_families(self._views().client_metrics())
        registry.register(Families([*self._families(active), *_group_families(groups), *pushed]))
        ProcessCollector(registry=registry)
        return generate_latest(registry)

    def _families(self, active: bool) -> Iterator[Metric]:
        traffic = self._traffic
        for name, text, counts in (
            ("messagesin", "Records that producers sent.", traffic.messages_in),
            ("bytesin", "Bytes of record batches that producers sent.", traffic.bytes_in),
            ("bytesout", "Bytes of record batches that consumers were sent.", traffic.bytes_out),
            ("totalproducerequests", "Produce requests.", traffic.produced),
            ("totalfetchrequests", "Fetch requests that were answered with the topic.", traffic.fetched),
            ("failedproducerequests", "Produce requests of which a partition was refused.", traffic.failed[PRODUCE]),
            ("failedfetchrequests", "Partitions of fetch requests that were refused.", traffic.failed[FETCH]),
        ):
            yield counter(f"kafka_server_brokertopicmetrics_{name}", text, ["topic"], _by_topic(counts))
        yield from self._request_families()
        yield from self._log_families()
        yield from self._flush_families()
        yield from self._cleaner_families()
        yield from self._cluster_families(active)
        yield from self._process_families()

    def _request_families(self) -> Iterator[Metric]:
        rows = [
            ((api_name(key), str(version)), count)
            for key, requests in self._traffic.apis.items()
            for version, count in requests.by_version.items()
        ]
        yield counter(REQUESTS, "Requests.", ["request", "version"], rows)
        errors = [
            ((api_name(key), code), count)
            for key, requests in self._traffic.apis.items()
            for code, count in requests.errors.items()
        ]
        yield counter(
            "kafka_network_requestmetrics_errors", "Requests that were refused whole.", ["request", "error"], errors
        )
        times = Metric(
            "kafka_network_requestmetrics_totaltimems", "Time of a request in ms, without sending.", "summary"
        )
        for key, requests in self._traffic.apis.items():
            labels = {"request": api_name(key)}
            _add_times(times, labels, requests.times_ms, requests.count, requests.total_ms)
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
            yield gauge(f"kafka_log_log_{name}", text, labels, rows)
        yield gauge(
            "kafka_topic_partition_current_offset",
            "High watermark of a partition.",
            labels,
            [(names, log.high_watermark) for names, log in logs],
        )
        yield gauge(
            "kafka_topic_partition_oldest_offset",
            "First offset of a partition.",
            labels,
            [(names, log.log_start_offset) for names, log in logs],
        )

    def _flush_families(self) -> Iterator[Metric]:
        flusher = self._broker.flusher
        times = Metric("kafka_log_logflushstats_logflushrateandtimems", "Time of an fsync of a log in ms.", "summary")
        _add_times(times, {}, flusher.times_ms, flusher.flushes, flusher.total_ms)
        yield times
        yield counter("kwire_log_flush_errors", "Fsyncs of a log that failed.", [], [((), flusher.failures)])

    def _cleaner_families(self) -> Iterator[Metric]:
        """None before compaction has begun, log.cleaner.backoff.ms after the start."""
        cleaner = self._broker.housekeeping.cleaner
        if cleaner is None:
            return
        name = "kafka_log_logcleanermanager"
        ratio = round(100 * cleaner.dirtiest_ratio)
        yield gauge(f"{name}_max_dirty_percent", "Percent of the dirtiest log to compact.", [], [((), ratio)])
        by_directory = Counter(partition.log_dir for partition in cleaner.uncleanable)
        yield gauge(
            f"{name}_uncleanable_partitions_count",
            "Logs that are not compacted because that failed.",
            ["logDirectory"],
            [((one.path,), by_directory[one.path]) for one in self._broker.dirs.dirs],
        )
        yield gauge("kwire_log_cleaner_rounds_running", "Logs being compacted.", [], [((), len(cleaner.rounds))])
        for name, text, count in (
            ("rounds", "Rounds of compaction that ended.", cleaner.rounds_done),
            ("bytes_read", "Bytes that compaction read.", cleaner.bytes_read),
            ("bytes_written", "Bytes that compaction wrote.", cleaner.bytes_written),
        ):
            yield counter(f"kwire_log_cleaner_{name}", text, [], [((), count)])

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
            yield gauge(name, text, [], [((), value)])
        listeners = Counter(each.client.endpoint.name for each in self._server.connections.open)
        yield gauge(
            CONNECTIONS,
            "Connections.",
            ["listener"],
            [((endpoint.name,), listeners[endpoint.name]) for endpoint in self._broker.endpoints],
        )

    def _process_families(self) -> Iterator[Metric]:
        watchdog = self._broker.watchdog
        yield counter(
            "kwire_event_loop_held",
            "Steps that held the event loop too long.",
            ["by"],
            [((name,), count) for name, count in watchdog.held.items()],
        )
        yield gauge(
            "kwire_event_loop_held_longest_ms",
            "The longest of these steps in ms.",
            ["by"],
            [((name,), value) for name, value in watchdog.longest_ms.items()],
        )


class Families(Collector):
    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = list(families)

    def collect(self) -> Iterator[Metric]:
        yield from self._families


def _group_families(groups: list[dict[str, Any]]) -> Iterator[Metric]:
    labels = ["consumergroup", "topic", "partition"]
    rows = [
        ((group["group"], each["topic"], str(each["partition"])), each) for group in groups for each in group["offsets"]
    ]
    known = [(names, each["lag"]) for names, each in rows if each["lag"] is not None]
    yield gauge("kafka_consumergroup_lag", "Records behind.", labels, known)
    yield gauge(
        "kafka_consumergroup_current_offset",
        "Committed offset.",
        labels,
        [(names, each["offset"]) for names, each in rows if each["offset"] is not None],
    )
    yield gauge(
        "kafka_consumergroup_members",
        "Members.",
        ["consumergroup"],
        [((group["group"],), len(group["members"])) for group in groups],
    )


def _pushed_families(pushed: list[dict[str, Any]]) -> Iterator[Metric]:
    """Metrics that clients have pushed: ``kafka_client_`` and their name with underscores.

    Metrics of one name have labels of their own, so each sample names its labels.
    """
    families: dict[str, Metric] = {}
    for each in pushed:
        name = "kafka_client_" + _NO_NAME.sub("_", each["name"].removeprefix(_JAVA_PREFIX))
        family = families.setdefault(name, Metric(name, f"{each['name']} of clients.", "gauge"))
        labels = {_NO_NAME.sub("_", label): value for label, value in each["labels"].items()}
        own = {"client_id": each["client_id"] or "", "client_instance_id": each["client_instance_id"]}
        family.add_sample(name, {**labels, **own}, each["value"])
    yield from families.values()


def _add_times(times: Metric, labels: dict[str, str], last_ms: Iterable[float], count: int, total_ms: float) -> None:
    """Add quantiles of the last times, and count and sum of all."""
    ordered = sorted(last_ms)
    for quantile in _QUANTILES if ordered else ():
        value = ordered[min(len(ordered) - 1, int(quantile * len(ordered)))]
        times.add_sample(times.name, {**labels, "quantile": str(quantile)}, value)
    times.add_sample(f"{times.name}_count", labels, count)
    times.add_sample(f"{times.name}_sum", labels, total_ms)


def _by_topic(counts: Counter[str]) -> list[tuple[tuple[str, ...], float]]:
    return [((topic,), count) for topic, count in counts.items()]


def counter(name: str, text: str, labels: list[str], rows: Iterable[tuple[tuple[str, ...], float]]) -> Metric:
    family = CounterMetricFamily(name, text, labels=labels)
    for names, value in rows:
        family.add_metric(names, value)
    return family


def gauge(name: str, text: str, labels: list[str], rows: Iterable[tuple[tuple[str, ...], float]]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=labels)
    for names, value in rows:
        family.add_metric(names, value)
    return family
