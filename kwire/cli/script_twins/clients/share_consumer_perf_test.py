"""kafka-share-consumer-perf-test: read records as members of a share group, and print the throughput.

Responsible for: the options, the statistics and the output of the official script. Must not depend on: share sessions
(``kwire.cli.records.share_consumer``).
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from kwire.cli.connections.client_config import SECURITY_KEYS
from kwire.cli.connections.connection import ClientError
from kwire.cli.java.date_format import formatted
from kwire.cli.java.exits import Failure
from kwire.cli.java.options import BOOTSTRAP, Option, Parsed, Wrong, parse
from kwire.cli.records.share_consumer import ShareConsumer
from kwire.cli.script_twins.clients.perf_options import consumer_properties, record_count
from kwire.cli.script_twins.clients.python_clients import Stopped, print_metrics, stopped_by_signals
from kwire.cli.script_twins.common import cluster_at, warn_unused
from kwire.errors import KafkaError

NAME: Final = "kafka-share-consumer-perf-test"
ABOUT: Final = "Measure how fast the members of a share group read."

_MB: Final = 1024.0 * 1024.0
_POLL_MS: Final = 100
_USED: Final = SECURITY_KEYS | {"bootstrap.servers", "client.id", "max.poll.records"}

OPTIONS: Final = (
    BOOTSTRAP,
    Option("topic", "The topic to read.", "NAME"),
    Option("group", "The share group.", "NAME", default="perf-share-consumer"),
    Option("fetch-size", "Bytes in one answer.", "BYTES", number=True, default="1048576"),
    Option("command-property", "A setting of the consumer, as name=value.", "NAME=VALUE", many=True),
    Option("socket-buffer-size", "Size of the TCP receive buffer.", "BYTES", number=True, default="2097152"),
    Option("consumer.config", "Old spelling of --command-config.", "FILE"),
    Option("command-config", "Properties file of the consumer.", "FILE"),
    Option("print-metrics", "Print the consumers' metrics at the end."),
    Option("show-detailed-stats", "Print a line per reporting interval."),
    Option("timeout", "End when no record comes for so long, in ms.", "MS", number=True, default="10000"),
    Option("messages", "Old spelling of --num-records.", "N", number=True),
    Option("num-records", "How many records to read.", "N", number=True),
    Option("reporting-interval", "Between two progress lines, in ms.", "MS", number=True, default="5000"),
    Option("date-format", "How times look, as Java's SimpleDateFormat.", "FORMAT", default="yyyy-MM-dd HH:mm:ss:SSS"),
    Option("hide-header", "Leave the header out."),
    Option("threads", "How many members read.", "N", number=True, default="1"),
    Option("show-consumer-stats", "Print a line for each member at the end."),
)


def main(argv: Sequence[str]) -> int:
    try:
        parsed = parse(NAME, ABOUT, OPTIONS, argv)
    except Wrong as error:
        raise Failure(f"{error}\nOptions: {NAME} --help") from error
    run = _Run(parsed, _check(parsed))
    if not parsed.has("hide-header"):
        print("start.time, end.time, data.consumed.in.MB, MB.sec, nMsg.sec, data.consumed.in.nMsg, fetch.time.ms")
    if (parsed.number("reporting-interval") or 0) <= 0:
        raise Failure("Reporting interval must be greater than 0.")
    with stopped_by_signals() as stop:
        run.read(stop)
    run.print_total()
    return stop.exit_code


@dataclass
class _Member:
    """The counts of one thread; ``number`` begins at 1."""

    number: int
    client_id: str
    messages: int = 0
    size_bytes: int = 0
    failure: Exception | None = None


class _Run:
    """Reads with some members and keeps the statistics; times are ms since the epoch."""

    def __init__(self, parsed: Parsed, count: int) -> None:
        self._parsed = parsed
        self._count = count
        self._settings = consumer_properties(parsed)
        warn_unused(NAME, self._settings, _USED)
        client_id = self._settings.get("client.id", "perf-share-consumer-client")
        threads = max(1, parsed.number("threads") or 1)
        self._members = [
            _Member(number, client_id if threads == 1 else f"{client_id}-{number}") for number in range(1, threads + 1)
        ]
        self._shape = parsed.text("date-format")
        self._started_ms = self._ended_ms = _now_ms()

    @property
    def _messages(self) -> int:
        return sum(each.messages for each in self._members)

    def read(self, stop: Stopped) -> None:
        self._started_ms = _now_ms()
        threads = [threading.Thread(target=self._read_as, args=(each, stop), daemon=True) for each in self._members]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self._ended_ms = _now_ms()
        for each in self._members:
            if each.failure is not None:
                raise Failure(str(each.failure))
        if self._parsed.has("show-consumer-stats"):
            for each in self._members:
                print(
                    f"Share consumer {each.number} having client id {each.client_id} consumption metrics-"
                    f" {self._line(each.messages, each.size_bytes)}"
                )
        if self._messages < self._count:
            timeout_ms = self._parsed.number("timeout")
            print(
                f"WARNING: Exiting before consuming the expected number of records: timeout ({timeout_ms} ms) exceeded."
                " You can use the --timeout option to increase the timeout."
            )

    def print_total(self) -> None:
        print(self._line(self._messages, sum(each.size_bytes for each in self._members)))
        if self._parsed.has("print-metrics"):
            print_metrics({"share-consumer": {each.client_id: float(each.messages) for each in self._members}})

    def _line(self, messages: int, size_bytes: int) -> str:
        elapsed_ms = self._ended_ms - self._started_ms
        seconds, read_mb = elapsed_ms / 1000 or 1e-9, size_bytes / _MB
        return (
            f"{formatted(self._shape, self._started_ms)}, {formatted(self._shape, self._ended_ms)}, {read_mb:.4f},"
            f" {read_mb / seconds:.4f}, {messages / seconds:.4f}, {messages}, {elapsed_ms}"
        )

    def _read_as(self, member: _Member, stop: Stopped) -> None:
        try:
            self._read_all(member, stop)
        except (KafkaError, ClientError, Failure) as failure:
            member.failure = failure

    def _read_all(self, member: _Member, stop: Stopped) -> None:
        """Read until the members have enough together, nothing comes for the timeout, or a signal."""
        security = {key: value for key, value in self._settings.items() if key in SECURITY_KEYS}
        servers = ",".join(self._parsed.values("bootstrap-server"))
        timeout_ms = self._parsed.number("timeout") or 0
        with cluster_at(servers, {"client.id": member.client_id, **security}, NAME) as cluster:
            consumer = ShareConsumer(
                cluster,
                self._parsed.text("group"),
                [self._parsed.text("topic")],
                records_max=int(self._settings.get("max.poll.records", "500")),
            )
            reported = now_ms = consumed_ms = _now_ms()
            before = (0, 0)
            while self._messages < self._count and now_ms - consumed_ms <= timeout_ms and not stop.is_set():
                records = consumer.poll(_POLL_MS)
                now_ms = _now_ms()
                if not records:
                    continue
                consumed_ms = now_ms
                for record in records:
                    consumer.acknowledge(record)
                member.messages += len(records)
                member.size_bytes += sum(len(each.key or b"") + len(each.value or b"") for each in records)
                if now_ms - reported >= (self._parsed.number("reporting-interval") or 0):
                    self._report(member, before, reported, now_ms)
                    reported, before = now_ms, (member.messages, member.size_bytes)
            consumer.commit()
            consumer.close()

    def _report(self, member: _Member, before: tuple[int, int], since_ms: int, now_ms: int) -> None:
        if not self._parsed.has("show-detailed-stats"):
            return
        elapsed_s = (now_ms - since_ms) / 1000
        rate_mb, rate = (member.size_bytes - before[1]) / _MB / elapsed_s, (member.messages - before[0]) / elapsed_s
        print(
            f"{formatted(self._shape, since_ms)}, {formatted(self._shape, now_ms)}, {member.size_bytes / _MB:.4f},"
            f" {rate_mb:.4f}, {rate:.4f}, {member.messages}, {now_ms - since_ms} for share consumer {member.number}"
        )
        sys.stdout.flush()


def _check(parsed: Parsed) -> int:
    """Refuse what the official script refuses; return the number of records."""
    parsed.require("topic", "bootstrap-server")
    return record_count(parsed)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
