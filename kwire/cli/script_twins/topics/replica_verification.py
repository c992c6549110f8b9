"""kafka-replica-verification: compare the replicas of partitions, batch by batch, until stopped.

Responsible for: the options and the output of the official script. Must not depend on: sockets.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from kwire.cli.admin.offsets import LATEST, list_offsets
from kwire.cli.admin.topics import list_topics
from kwire.cli.connections.client import Cluster
from kwire.cli.connections.connection import ClientError, parse_addresses
from kwire.cli.java.date_format import formatted
from kwire.cli.java.exits import Failure
from kwire.cli.java.names import error_text, partition_order
from kwire.cli.java.options import Option, Parsed, Wrong, parse
from kwire.cli.script_twins.clients.python_clients import stopped_by_signals
from kwire.cli.script_twins.common import cluster_at, warn
from kwire.cli.script_twins.topic_filter import compile_filter
from kwire.errors import KafkaError
from kwire.wire.batches.batch import HEADER_BYTES, BatchHeader, read_batch_header
from kwire.wire.messages import FetchRequest, FetchResponse

NAME: Final = "kafka-replica-verification"
ABOUT: Final = "Compare the replicas of partitions."

# Reads from any replica, up to its end; see FetchRequest in the protocol guide.
_DEBUGGING_CONSUMER: Final = -2
# Later versions name topics by their ids.
_FETCH_BY_NAME: Final = 12
_TIME: Final = "yyyy-MM-dd HH:mm:ss,SSS"

OPTIONS: Final = (
    Option("broker-list", "Broker(s) to ask first: HOST:PORT[,HOST:PORT ...].", "HOST:PORT"),
    Option("fetch-size", "Bytes of each partition in one answer.", "BYTES", number=True, default="1048576"),
    Option("max-wait-ms", "How long a broker may wait for new records.", "MS", number=True, default="1000"),
    Option("topics-include", "Topics to compare: a regular expression.", "REGEX", default=".*"),
    Option("time", "Where to begin: a time in ms, -1 (latest) or -2 (earliest).", "TIME", number=True, default="-1"),
    Option("report-interval-ms", "Between two lines of the report.", "MS", number=True, default="30000"),
)

Place = tuple[str, int]


class _Fetched(NamedTuple):
    high_watermark: int
    batches: Iterator[BatchHeader]


def main(argv: Sequence[str]) -> int:
    warn("WARN This tool is deprecated and may be removed in a future major release.")
    parsed = parse(NAME, ABOUT, OPTIONS, argv)
    parsed.require("broker-list")
    servers = parsed.text("broker-list")
    try:
        parse_addresses(servers, default_port=None)
    except ValueError:
        parsed.refuse("Please provide valid host:port like host1:9091,host2:9092\n")
    try:
        with cluster_at(servers, {}, NAME) as cluster, stopped_by_signals() as stop:
            verification = _Verification(parsed, cluster)
            print(f"{_now()}: verification process is started", flush=True)
            while not stop.is_set():
                verification.round()
            return stop.exit_code
    except KafkaError as error:
        raise Failure(error_text(error)) from error
    except ClientError as error:
        raise Failure(str(error)) from error


class _Verification:
    """The partitions with their compared offsets, and the time of the last report."""

    def __init__(self, parsed: Parsed, cluster: Cluster) -> None:
        self._cluster = cluster
        self._fetch_bytes = parsed.number("fetch-size") or 0
        self._max_wait_ms = parsed.number("max-wait-ms") or 0
        self._interval_ms = parsed.number("report-interval-ms") or 0
        self._brokers = _replicas(parsed, cluster)
        places = {place for found in self._brokers.values() for place in found}
        self._offsets = _first_offsets(cluster, places, parsed.number("time") or 0)
        self._order = partition_order(sorted(places))
        self._reported_s = time.monotonic()

    def round(self) -> None:
        """Fetch from every broker, compare the batches, and print a report when one is due."""
        fetched: dict[Place, dict[int, _Fetched]] = {place: {} for place in self._order}
        for broker, places in self._brokers.items():
            for place, found in self._fetch(broker, places).items():
                fetched[place][broker] = found
        worst = (-1, self._order[0], -1)
        for place in self._order:
            self._compare(place, fetched[place])
            high_watermark = max(found.high_watermark for found in fetched[place].values())
            lag = high_watermark - self._offsets[place]
            if lag > worst[0]:
                worst = (lag, place, self._offsets[place])
        if (time.monotonic() - self._reported_s) * 1000 > self._interval_ms:
            lag, (topic, partition), offset = worst
            among = f"among {len(self._order)} partitions"
            print(
                f"{_now()}: max lag is {lag} for partition {topic}-{partition} at offset {offset} {among}", flush=True
            )
            self._reported_s = time.monotonic()

    def _compare(self, place: Place, replicas: Mapping[int, _Fetched]) -> None:
        """Compare batch by batch while every replica has the next below its high watermark."""
        name = f"{place[0]}-{place[1]}"
        while True:
            first: tuple[int, BatchHeader] | None = None
            complete = True
            for broker, found in replicas.items():
                batch = next(found.batches, None)
                if batch is None or batch.last_offset >= found.high_watermark:
                    complete = False
                elif first is None:
                    first = broker, batch
                else:
                    _compare_batches(name, first, (broker, batch))
            if not complete or first is None:
                return
            self._offsets[place] = first[1].next_offset

    def _fetch(self, broker: int, places: Iterable[Place]) -> dict[Place, _Fetched]:
        """Fetch from one broker; one that does not answer has no records in this round."""
        wanted = list(places)
        topics: dict[str, list[FetchRequest.FetchPartition]] = {}
        for name, index in wanted:
            item = FetchRequest.FetchPartition(
                partition=index, fetch_offset=self._offsets[name, index], partition_max_bytes=self._fetch_bytes
            )
            topics.setdefault(name, []).append(item)
        request = FetchRequest(
            replica_id=_DEBUGGING_CONSUMER,
            max_wait_ms=self._max_wait_ms,
            min_bytes=1,
            topics=[FetchRequest.FetchTopic(topic=name, partitions=items) for name, items in topics.items()],
        )
        found = {place: _Fetched(-1, iter(())) for place in wanted}
        try:
            connection = self._cluster.node(broker)
            version = connection.version_of(FetchRequest, _FETCH_BY_NAME)
            answer = self._cluster.call_on(connection, request, FetchResponse, version=version)
        except (KafkaError, ClientError) as error:
            warn(f"WARN {NAME}: broker {broker}: {error}")
            time.sleep(self._max_wait_ms / 1000)
            return found
        for topic in answer.responses:
            for part in topic.partitions:
                records: Any = part.records or b""  # what was received is contiguous
                batches = _batches(memoryview(records))
                found[topic.topic, part.partition_index] = _Fetched(part.high_watermark, batches)
        return found


def _compare_batches(name: str, first: tuple[int, BatchHeader], other: tuple[int, BatchHeader]) -> None:
    """Print a difference between two replicas; offsets that differ end the script."""
    (first_broker, first_batch), (broker, batch) = first, other
    if first_batch.last_offset != batch.last_offset:
        raise Failure(
            f"{_now()}: partition {name}: replica {first_broker}'s offset {first_batch.last_offset} doesn't match"
            f" replica {broker}'s offset {batch.last_offset}",
            stream="out",
        )
    if first_batch.crc != batch.crc:
        print(
            f"{_now()}: partition {name} has unmatched checksum at offset {batch.last_offset};"
            f" replica {first_broker}'s checksum {first_batch.crc}; replica {broker}'s checksum {batch.crc}"
        )


def _batches(records: memoryview) -> Iterator[BatchHeader]:
    """Yield the headers of whole batches; the last one of an answer may be cut off."""
    position = 0
    while position + HEADER_BYTES <= len(records):
        header = read_batch_header(records, position)
        if position + header.size_bytes > len(records):
            return
        yield header
        position += header.size_bytes


def _replicas(parsed: Parsed, cluster: Cluster) -> dict[int, list[Place]]:
    """Return the partitions of each broker. Raises Failure when there are none."""
    pattern = parsed.text("topics-include")
    try:
        wanted = compile_filter(pattern)
    except Wrong:
        raise Failure(f"{pattern} is an invalid regex") from None
    brokers: dict[int, list[Place]] = {}
    for name, topic in list_topics(cluster).items():
        if wanted.fullmatch(name):
            for item in topic.partitions:
                for broker in item.replicas:
                    brokers.setdefault(broker, []).append((name, item.partition))
    if not brokers:
        raise Failure(
            "ERROR No topics found. [topics-include] if specified, is either filtering out all topics or there is no"
            " topic."
        )
    return brokers


def _first_offsets(cluster: Cluster, places: Iterable[Place], when: int) -> dict[Place, int]:
    """Look up where each partition begins; its end where no record is that late. Raises KafkaError."""
    found = list_offsets(cluster, dict.fromkeys(places, when))
    late = [place for place, offset in found.items() if offset == -1]
    offsets: dict[Place, int] = {}
    for place, offset in (found | list_offsets(cluster, dict.fromkeys(late, LATEST))).items():
        if isinstance(offset, KafkaError):
            raise offset
        offsets[place] = offset
    return offsets


def _now() -> str:
    return formatted(_TIME, time.time_ns() // 1_000_000)
