"""kafka-consumer-perf-test: read records as fast as they come, and print the throughput.

Responsible for: the options, the statistics and the output of the official script. Must not depend on: groups and
fetching, which kafka-python does.
"""

from __future__ import annotations

import math
import random
import sys
import time
from collections.abc import Iterable, Sequence
from contextlib import closing
from typing import Any, Final

from kwire.cli.java.date_format import formatted
from kwire.cli.java.exits import Failure
from kwire.cli.java.options import BOOTSTRAP, Option, Parsed, Wrong, parse
from kwire.cli.records import kafka_python_clients
from kwire.cli.script_twins.clients.perf_options import consumer_properties, record_count
from kwire.cli.script_twins.clients.python_clients import Stopped, made, print_metrics, stopped_by_signals
from kwire.cli.script_twins.topic_filter import compile_filter

NAME: Final = "kafka-consumer-perf-test"
ABOUT: Final = "Measure how fast records are read."

_MB: Final = 1024.0 * 1024.0
_POLL_MS: Final = 100
_REBALANCE: Final = ", rebalance.time.ms, fetch.time.ms, fetch.MB.sec, fetch.nMsg.sec"

OPTIONS: Final = (
    BOOTSTRAP,
    Option("topic", "The topic to read.", "NAME"),
    Option("include", "Read every topic whose name matches this regular expression.", "REGEX"),
    Option("group", "The consumer group; one of its own when left out.", "NAME"),
    Option("fetch-size", "Bytes of a partition in one answer.", "BYTES", number=True, default="1048576"),
    Option("command-property", "A setting of the consumer, as name=value.", "NAME=VALUE", many=True),
    Option("from-latest", "Without a committed offset, begin with the next record, not with the oldest."),
    Option("socket-buffer-size", "Size of the TCP receive buffer.", "BYTES", number=True, default="2097152"),
    Option("consumer.config", "Old spelling of --command-config.", "FILE"),
    Option("command-config", "Properties file of the consumer.", "FILE"),
    Option("print-metrics", "Print the consumer's metrics at the end."),
    Option("show-detailed-stats", "Print a line per reporting interval instead of one at the end."),
    Option("timeout", "End when no record comes for so long, in ms.", "MS", number=True, default="10000"),
    Option("messages", "Old spelling of --num-records.", "N", number=True),
    Option("num-records", "How many records to read.", "N", number=True),
    Option("reporting-interval", "Between two progress lines, in ms.", "MS", number=True, default="5000"),
    Option("date-format", "How times look, as Java's SimpleDateFormat.", "FORMAT", default="yyyy-MM-dd HH:mm:ss:SSS"),
    Option("hide-header", "Leave the header out."),
)


def main(argv: Sequence[str]) -> int:
    try:
        parsed = parse(NAME, ABOUT, OPTIONS, argv)
    except Wrong as error:
        raise Failure(f"{error}\nOptions: {NAME} --help") from error
    count = _check(parsed)
    detailed = parsed.has("show-detailed-stats")
    if not parsed.has("hide-header"):
        first = "time, threadId" if detailed else "start.time, end.time"
        print(f"{first}, data.consumed.in.MB, MB.sec, data.consumed.in.nMsg, nMsg.sec{_REBALANCE}")
    if (parsed.number("reporting-interval") or 0) <= 0:
        raise Failure("Reporting interval must be greater than 0.")
    servers = ",".join(parsed.values("bootstrap-server"))
    consumer = made(lambda: kafka_python_clients.consumer(_settings(parsed), bootstrap=servers), NAME)
    run = _Run(parsed, consumer, count)
    with closing(consumer):
        with stopped_by_signals() as stop:
            run.read(stop)
        metrics = consumer.metrics() if parsed.has("print-metrics") else None
    if not detailed:
        run.print_total()
    if metrics is not None:
        print_metrics(metrics)
    return stop.exit_code


class _Run:
    """Reads records and keeps the statistics; times are ms since the epoch."""

    def __init__(self, parsed: Parsed, consumer: Any, count: int) -> None:
        self._parsed = parsed
        self._consumer = consumer
        self._count = count
        self._messages = self._bytes = 0
        self._started_ms = self._ended_ms = _now_ms()
        self._join_started_ms = self._started_ms
        self._joins_ms = self._joins_of_round_ms = 0
        self._assigned: set[Any] = set()
        self._reported = (self._started_ms, 0, 0)  # when, messages, bytes

    def read(self, stop: Stopped) -> None:
        """Read until the number of records is reached, nothing comes for the timeout, or a signal."""
        self._subscribe()
        interval_ms = self._parsed.number("reporting-interval") or 0
        timeout_ms = self._parsed.number("timeout") or 0
        now_ms = consumed_ms = _now_ms()
        self._reported = (now_ms, 0, 0)
        while self._messages < self._count and now_ms - consumed_ms <= timeout_ms and not stop.is_set():
            records = self._consumer.poll(_POLL_MS)
            now_ms = _now_ms()
            if records:
                consumed_ms = now_ms
            for found in records.values():
                self._messages += len(found)
                self._bytes += sum(len(each.key or b"") + len(each.value or b"") for each in found)
            if records and now_ms - self._reported[0] >= interval_ms:
                self._report(now_ms)
        self._ended_ms = _now_ms()
        if self._messages < self._count:
            print(
                f"WARNING: Exiting before consuming the expected number of records: timeout ({timeout_ms} ms) exceeded."
                " You can use the --timeout option to increase the timeout."
            )

    def print_total(self) -> None:
        elapsed_s = (self._ended_ms - self._started_ms) / 1000
        fetched_ms = self._ended_ms - self._started_ms - self._joins_ms
        read_mb = self._bytes / _MB
        shape = self._parsed.text("date-format")
        print(
            f"{formatted(shape, self._started_ms)}, {formatted(shape, self._ended_ms)}, {read_mb:.4f},"
            f" {_rate(read_mb, elapsed_s)}, {self._messages}, {_rate(self._messages, elapsed_s)}, {self._joins_ms},"
            f" {fetched_ms}, {_rate(read_mb, fetched_ms / 1000)}, {_rate(self._messages, fetched_ms / 1000)}"
        )

    def _report(self, now_ms: int) -> None:
        started_ms, messages, size_bytes = self._reported
        if self._parsed.has("show-detailed-stats"):
            elapsed_s = (now_ms - started_ms) / 1000
            fetched_ms = now_ms - started_ms - self._joins_of_round_ms
            new_messages, new_mb = self._messages - messages, (self._bytes - size_bytes) / _MB
            fetched_s = fetched_ms / 1000 if fetched_ms > 0 else math.inf
            print(
                f"{formatted(self._parsed.text('date-format'), now_ms)}, 0, {self._bytes / _MB:.4f},"
                f" {_rate(new_mb, elapsed_s)}, {self._messages}, {_rate(new_messages, elapsed_s)},"
                f" {self._joins_of_round_ms}, {fetched_ms}, {new_mb / fetched_s:.4f}, {new_messages / fetched_s:.4f}"
            )
            sys.stdout.flush()
        self._joins_of_round_ms = 0
        self._reported = (now_ms, self._messages, self._bytes)

    def _subscribe(self) -> None:
        self._consumer.topics()
        listener = kafka_python_clients.listener(self._on_assigned, self._on_revoked)
        if self._parsed.has("topic"):
            self._consumer.subscribe(topics=[self._parsed.text("topic")], listener=listener)
        else:
            pattern = compile_filter(self._parsed.text("include")).pattern
            self._consumer.subscribe(pattern=f"^(?:{pattern})$", listener=listener)

    def _on_revoked(self, places: Iterable[Any]) -> None:
        self._assigned -= set(places)
        if not self._assigned:
            self._join_started_ms = _now_ms()

    def _on_assigned(self, places: Iterable[Any]) -> None:
        if not self._assigned:
            elapsed_ms = _now_ms() - self._join_started_ms
            self._joins_ms += elapsed_ms
            self._joins_of_round_ms += elapsed_ms
        self._assigned |= set(places)


def _check(parsed: Parsed) -> int:
    """Refuse what the official script refuses; return the number of records."""
    if parsed.count(("topic", "include")) != 1:
        parsed.refuse("Exactly one of the following arguments is required: [topic], [include]")
    return record_count(parsed)


def _settings(parsed: Parsed) -> dict[str, str]:
    group = parsed.value("group") or f"perf-consumer-{random.randrange(100_000)}"  # noqa: S311 - a name, no secret
    return {
        "client.id": "perf-consumer-client",
        **consumer_properties(parsed),
        "group.id": group,
        "receive.buffer.bytes": str(parsed.number("socket-buffer-size")),
        "max.partition.fetch.bytes": str(parsed.number("fetch-size")),
        "auto.offset.reset": "latest" if parsed.has("from-latest") else "earliest",
        "check.crcs": "false",
    }


def _rate(amount: float, seconds: float) -> str:
    """Format an amount per second as Java does, for which a division by zero is no error."""
    if seconds:
        return f"{amount / seconds:.4f}"
    return "NaN" if not amount else "Infinity"


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
