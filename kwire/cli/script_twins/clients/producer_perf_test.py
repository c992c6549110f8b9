"""kafka-producer-perf-test: send records as fast as they go, and print throughput and latencies.

Responsible for: the options, the statistics and the output of the official script. Must not depend on: batches, the
wire.
"""

from __future__ import annotations

import argparse
import random
import re
import sys
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from kwire.cli.java.arguments import Arguments
from kwire.cli.java.exits import Failure
from kwire.cli.records import kafka_python_clients
from kwire.cli.script_twins.clients.python_clients import (
    closed_at_the_end,
    failure_of,
    made,
    print_metrics,
    send,
    stopped_by_signals,
)
from kwire.cli.script_twins.clients.throughput import Throttle
from kwire.cli.script_twins.common import read_config, warn
from kwire.errors import KafkaError
from kwire.types import uuid_text

NAME: Final = "kafka-producer-perf-test"

_SAMPLES_MAX: Final = 500_000
_MB: Final = 1024.0 * 1024.0
_DEFAULT_TRANSACTION_MS: Final = 3000
_LETTERS: Final = bytes(65 + byte % 26 for byte in range(256))


def main(argv: Sequence[str]) -> int:
    parser = _parser()
    if not argv:
        print(parser.format_help().rstrip("\n"))
        return 0
    given = parser.read(argv)
    _check(parser, given)
    payload = _payloads(given)
    settings = _settings(given)
    transactional = "transactional.id" in settings
    servers = settings.get("bootstrap.servers")
    if servers is None:
        raise Failure("No resolvable bootstrap urls given in bootstrap.servers")
    producer = made(lambda: kafka_python_clients.producer(settings, bootstrap=servers), NAME)
    transaction_ms = (given.transaction_duration_ms or _DEFAULT_TRANSACTION_MS) if transactional else None
    with closed_at_the_end(producer):
        if transactional:
            producer.init_transactions()
        warmup = max(given.warmup_records, 0)
        if warmup:
            print(f"Warmup first {warmup} records. Steady state results will print after the complete test summary.")
        run = _Run(given, producer, payload, transaction_ms)
        code = run.send_all(warmup)
        run.print_totals()
        if given.print_metrics:
            print_metrics(producer.metrics())
    return code


class _Run:
    """One run: sends every record and keeps the statistics, of which the second begins after the warmup."""

    def __init__(
        self, given: argparse.Namespace, producer: Any, payload: Callable[[int], bytes], transaction_ms: int | None
    ) -> None:
        self._given = given
        self._producer = producer
        self._payload = payload
        self._transaction_ms = transaction_ms
        self._stats = [Stats(given.num_records, given.reporting_interval)]

    def send_all(self, warmup: int) -> int:
        """Send every record, wait for the answers, close the producer; return the exit code."""
        count = self._given.num_records
        throttle = Throttle(self._given.throughput)
        begun_ms: float | None = None
        with stopped_by_signals() as stop:
            for number in range(count):
                if stop.is_set():
                    break
                if self._transaction_ms is not None and begun_ms is None:
                    self._producer.begin_transaction()
                    begun_ms = _now_ms()
                if warmup and number == warmup:
                    self._stats[0].silent = True
                    self._stats.append(Stats(count - warmup, self._given.reporting_interval, steady=True))
                sent_ms = self._send(self._payload(number))
                if (
                    begun_ms is not None
                    and self._transaction_ms is not None
                    and sent_ms - begun_ms >= self._transaction_ms
                ):
                    self._producer.commit_transaction()
                    begun_ms = None
                throttle.wait(number, stop)
            if begun_ms is not None:
                self._producer.commit_transaction()
            self._producer.flush()
        return stop.exit_code

    def _send(self, payload: bytes) -> float:
        started_ms = _now_ms()
        stats = tuple(self._stats)

        def delivered(_metadata: object) -> None:
            now_ms = _now_ms()
            for each in stats:
                each.record(int(now_ms - started_ms), len(payload), now_ms)

        def failed(error: BaseException) -> None:
            warn(": ".join(failure_of(error)))

        try:
            future = send(self._producer, self._given.topic, payload)
        except (KafkaError, kafka_python_clients.errors()) as error:
            failed(error)
            return started_ms
        future.add_callback(delivered)
        future.add_errback(failed)
        return started_ms

    def print_totals(self) -> None:
        for each in self._stats:
            each.print_total()


class Stats:
    """Counts, bytes and latencies in ms of a run, and of the window since the last progress line."""

    def __init__(self, expected: int, interval_ms: int, *, steady: bool = False) -> None:
        self.silent = False
        self._steady = steady
        self._interval_ms = interval_ms
        self._started_ms = _now_ms()
        self._sampling = max(expected // min(expected, _SAMPLES_MAX), 1)
        self._samples: list[int] = []
        self._count = self._bytes = self._total_ms = self._max_ms = 0
        self._window_started_ms = self._started_ms
        self._window_count = self._window_bytes = self._window_total_ms = self._window_max_ms = 0

    def record(self, latency_ms: int, size_bytes: int, now_ms: float) -> None:
        """Count a record that was delivered, and print a progress line when one is due."""
        if self._count % self._sampling == 0:
            self._samples.append(latency_ms)
        self._count += 1
        self._bytes += size_bytes
        self._total_ms += latency_ms
        self._max_ms = max(self._max_ms, latency_ms)
        self._window_count += 1
        self._window_bytes += size_bytes
        self._window_total_ms += latency_ms
        self._window_max_ms = max(self._window_max_ms, latency_ms)
        if now_ms - self._window_started_ms >= self._interval_ms:
            if self._steady and self._count == self._window_count:
                print("In steady state.")
            if not self.silent:
                self._print_window(now_ms)
            self._new_window()

    def print_total(self) -> None:
        if not self._count:
            # The official script ends with an exception when nothing was delivered.
            raise Failure("no record was delivered")
        elapsed_ms = max(_now_ms() - self._started_ms, 1)
        ordered = sorted(self._samples)
        p50, p95, p99, p999 = (
            ordered[min(int(part * len(ordered)), len(ordered) - 1)] for part in (0.5, 0.95, 0.99, 0.999)
        )
        print(
            f"{self._count}{' steady state' if self._steady else ''} records sent,"
            f" {1000.0 * self._count / elapsed_ms:.6f} records/sec"
            f" ({1000.0 * self._bytes / elapsed_ms / _MB:.2f} MB/sec),"
            f" {self._total_ms / self._count:.2f} ms avg latency, {self._max_ms:.2f} ms max latency,"
            f" {p50} ms 50th, {p95} ms 95th, {p99} ms 99th, {p999} ms 99.9th."
        )

    def _print_window(self, now_ms: float) -> None:
        elapsed_ms = max(now_ms - self._window_started_ms, 1)
        print(
            f"{self._window_count} records sent, {1000.0 * self._window_count / elapsed_ms:.1f} records/sec"
            f" ({1000.0 * self._window_bytes / elapsed_ms / _MB:.2f} MB/sec),"
            f" {self._window_total_ms / self._window_count:.1f} ms avg latency,"
            f" {self._window_max_ms:.1f} ms max latency."
        )
        sys.stdout.flush()

    def _new_window(self) -> None:
        self._window_started_ms = _now_ms()
        self._window_count = self._window_bytes = self._window_total_ms = self._window_max_ms = 0


def _check(parser: Arguments, given: argparse.Namespace) -> None:
    """Refuse what the official script refuses."""
    if given.num_records <= 0:
        parser.error("--num-records should be greater than zero.")
    if given.warmup_records >= given.num_records:
        parser.error(
            "The value for --warmup-records must be strictly fewer than the number of records in the test,"
            " --num-records."
        )
    if given.record_size is not None and given.record_size <= 0:
        parser.error("--record-size should be greater than zero.")
    sources = (
        given.bootstrap_server,
        given.property,
        given.producer_props,
        given.producer_config,
        given.command_config,
    )
    if all(each is None for each in sources):
        parser.error(
            "At least one of --bootstrap-server, --command-property, --producer-props, --producer.config or"
            " --command-config must be specified."
        )
    if given.property is not None and given.producer_props is not None:
        parser.error("--command-property and --producer-props cannot be specified together.")
    if given.command_config is not None and given.producer_config is not None:
        parser.error("--command-config and --producer.config cannot be specified together.")
    if given.transaction_duration_ms is not None and given.transaction_duration_ms <= 0:
        parser.error("--transaction-duration-ms should be greater than zero.")
    if given.reporting_interval <= 0:
        parser.error("--reporting-interval should be greater than zero.")
    for old, new, value in (
        ("producer-props", "command-property", given.producer_props),
        ("producer.config", "command-config", given.producer_config),
    ):
        if value is not None:
            print(f"Option --{old} has been deprecated and will be removed in a future version. Use --{new} instead.")


def _payloads(given: argparse.Namespace) -> Callable[[int], bytes]:
    """Return a function from the number of a record to its value."""
    source = random.Random(0)  # noqa: S311 - contents of a benchmark, the same in each run
    if given.payload_file is not None:
        payloads = _read_payloads(given.payload_file, given.payload_delimiter)
        return lambda _number: source.choice(payloads)
    if given.payload_monotonic:
        return lambda number: str(number).encode()
    return lambda _number: source.randbytes(given.record_size).translate(_LETTERS)


def _read_payloads(path: str, delimiter: str) -> list[bytes]:
    print(f"Reading payloads from: {Path(path).absolute()}")
    try:
        text = Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    if not text:
        raise Failure("File does not exist or empty file provided.")
    found = re.split("\n" if delimiter == "\\n" else delimiter, text)
    payloads = [each.encode() for each in (found[:-1] if found[-1] == "" else found)]
    print(f"Number of records read: {len(payloads)}")
    return payloads


def _settings(given: argparse.Namespace) -> dict[str, str]:
    path = given.command_config or given.producer_config
    settings = {"client.id": "perf-producer-client", "linger.ms": "5", **(read_config(path) if path else {})}
    for word in given.property or given.producer_props or ():
        pieces = word.split("=")
        if len(pieces) != 2:
            raise Failure(f"Invalid property: {word}")
        settings[pieces[0]] = pieces[1]
    if given.bootstrap_server is not None:
        settings["bootstrap.servers"] = given.bootstrap_server
    if given.transactional_id is not None:
        settings["transactional.id"] = given.transactional_id
    elif given.transaction_duration_ms is not None:
        settings.setdefault("transactional.id", f"performance-producer-{uuid_text(uuid.uuid4().bytes)}")
    return settings


def _parser() -> Arguments:
    parser = Arguments(prog=NAME, description="Measure how fast records are sent.", help_code=1)
    parser.add_argument("--bootstrap-server", metavar="HOST:PORT", help="broker(s) to ask first")
    parser.add_argument("--topic", required=True, metavar="TOPIC", help="the topic to send to")
    parser.add_int("--num-records", bits=64, required=True, metavar="N", help="how many records")
    parser.add_argument("--payload-delimiter", default="\\n", metavar="REGEX", help="ends a payload of the file")
    parser.add_argument(
        "--throughput", type=_double, required=True, metavar="N", help="records per second; -1: no limit"
    )
    parser.add_argument("--producer-props", nargs="+", metavar="NAME=VALUE", help="old spelling of --command-property")
    parser.add_argument(
        "--command-property", dest="property", nargs="+", metavar="NAME=VALUE", help="producer settings"
    )
    parser.add_argument("--producer.config", dest="producer_config", metavar="FILE", help="old --command-config")
    parser.add_argument("--command-config", metavar="FILE", help="properties file of the producer")
    parser.add_argument("--print-metrics", action="store_true", help="print the producer's metrics at the end")
    parser.add_argument("--transactional-id", metavar="ID", help="send in transactions of this id")
    parser.add_int("--transaction-duration-ms", bits=64, metavar="MS", help="the age at which a transaction ends")
    parser.add_int("--warmup-records", bits=64, default=0, metavar="N", help="records before the steady state")
    parser.add_int("--reporting-interval", bits=64, default=5000, metavar="MS", help="between two progress lines")
    payload = parser.add_mutually_exclusive_group(required=True)
    payload.add_argument("--record-size", type=int, metavar="BYTES", help="random values of this size")
    payload.add_argument("--payload-file", metavar="FILE", help="values out of this file, picked at random")
    payload.add_argument("--payload-monotonic", action="store_true", help="the record's number as its value")
    return parser


def _double(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        message = f"could not convert '{text}' to Double (For input string: \"{text}\")"
        raise argparse.ArgumentTypeError(message) from None


def _now_ms() -> float:
    return time.monotonic_ns() / 1_000_000
