"""kafka-verifiable-producer: send numbers, and print the outcome of each send as JSON.

Responsible for: the options and the events of the official script. Must not depend on: batches, the wire.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import threading
import time
from collections.abc import Sequence
from typing import Any, Final

from kwire.cli.java.arguments import Arguments
from kwire.cli.records import kafka_python_clients
from kwire.cli.script_twins.clients.python_clients import closed_at_the_end, failure_of, made, send, stopped_by_signals
from kwire.cli.script_twins.clients.throughput import Throttle
from kwire.cli.script_twins.common import read_config
from kwire.errors import KafkaError

NAME: Final = "kafka-verifiable-producer"
_ACKS: Final = ("0", "1", "-1")


def main(argv: Sequence[str]) -> int:
    parser = _parser()
    if not argv:
        print(parser.format_help().rstrip("\n"))
        return 0
    given = parser.read(argv)
    settings = {"acks": given.acks, "retries": "0", "linger.ms": "5"}
    if given.producer_config is not None and given.command_config is not None:
        parser.error("Options --producer.config and --command-config are mutually exclusive.")
    if given.producer_config is not None:
        print(
            "Option --producer.config has been deprecated and will be removed in a future version."
            " Use --command-config instead."
        )
    path = given.producer_config or given.command_config
    if path is not None:
        settings |= read_config(path)
    producer = made(lambda: kafka_python_clients.producer(settings, bootstrap=given.bootstrap_server), NAME)
    run = _Run(given.topic, producer)
    throttle = Throttle(given.throughput)
    with stopped_by_signals() as stop, closed_at_the_end(producer):
        run.report("startup_complete")
        for number in itertools.count() if given.max_messages < 0 else range(given.max_messages):
            if stop.is_set():
                break
            key = None if given.repeating_keys is None else str(number % max(given.repeating_keys, 1))
            value = str(number) if given.value_prefix is None else f"{given.value_prefix}.{number}"
            run.send(key, value, None if given.create_time == -1 else run.create_time_ms(given.create_time))
            throttle.wait(number, stop)
    run.report("shutdown_complete")
    run.report(
        "tool_data",
        sent=run.sent,
        acked=run.acked,
        target_throughput=given.throughput,
        avg_throughput=1000 * run.acked / max(run.elapsed_ms(), 1),
    )
    return stop.exit_code


class _Run:
    """Sends records and prints an event for each; the producer reports from its own thread."""

    def __init__(self, topic: str, producer: Any) -> None:
        self.sent = 0
        self.acked = 0
        self._topic = topic
        self._producer = producer
        self._started_ms = _now_ms()
        self._lock = threading.Lock()

    def send(self, key: str | None, value: str, timestamp_ms: int | None) -> None:
        """Send a record; its outcome is printed when it is known."""
        self.sent += 1
        encoded = None if key is None else key.encode()

        def delivered(metadata: Any) -> None:
            self.acked += 1
            self.report(
                "producer_send_success",
                key=key,
                value=value,
                offset=metadata.offset,
                topic=metadata.topic,
                partition=metadata.partition,
            )

        def failed(error: BaseException) -> None:
            name, message = failure_of(error)
            self.report(
                "producer_send_error",
                topic=self._topic,
                key=key,
                value=value,
                exception=f"class {name}",
                message=message,
            )

        try:
            future = send(self._producer, self._topic, value.encode(), encoded, timestamp_ms=timestamp_ms)
        except (KafkaError, kafka_python_clients.errors()) as error:
            failed(error)
            return
        future.add_callback(delivered)
        future.add_errback(failed)

    def create_time_ms(self, first_ms: int) -> int:
        """Return the time of the next record: the given one, and as much later as the run has lasted."""
        return first_ms + (self.elapsed_ms() if self.sent else 0)

    def elapsed_ms(self) -> int:
        return _now_ms() - self._started_ms

    def report(self, name: str, **fields: object) -> None:
        with self._lock:
            event = {"timestamp": _now_ms(), "name": name, **fields}
            sys.stdout.write(json.dumps(event, separators=(",", ":"), ensure_ascii=False) + "\n")
            sys.stdout.flush()


def _parser() -> Arguments:
    parser = Arguments(prog="verifiable-producer", description="Send numbers; print each outcome as JSON.", help_code=1)
    parser.add_argument("--topic", required=True, metavar="TOPIC", help="the topic to send to")
    parser.add_argument("--bootstrap-server", required=True, metavar="HOST:PORT", help="broker(s) to ask first")
    parser.add_int("--max-messages", default=-1, help="records to send; -1 sends until the script is stopped")
    parser.add_int("--throughput", default=-1, help="records per second; -1 does not limit them")
    parser.add_argument("--acks", type=_acks, default="-1", metavar="ACKS", help="acknowledgements: 0, 1 or -1")
    parser.add_argument("--producer.config", dest="producer_config", metavar="FILE", help="old --command-config")
    parser.add_int("--message-create-time", dest="create_time", bits=64, default=-1, help="time of the first record")
    parser.add_int("--value-prefix", help="put this number and a dot before each value")
    parser.add_int("--repeating-keys", help="keys from 0 to this number, without it, again and again")
    parser.add_argument("--command-config", metavar="FILE", help="properties file of the producer")
    return parser


def _acks(text: str) -> str:
    if text not in _ACKS:
        raise argparse.ArgumentTypeError(f"invalid choice: '{text}' (choose from {{{','.join(_ACKS)}}})")
    return text


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
