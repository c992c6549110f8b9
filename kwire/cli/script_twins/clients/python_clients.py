"""Helpers of the scripts that use kafka-python.

Responsible for: Java's names for its errors, refusals while a client is made, and stopping on signals. Must not depend
on: any script.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

from kwire.cli.connections.client_config import ConfigError
from kwire.cli.java.exits import Failure
from kwire.cli.java.names import error_text, exception_class
from kwire.cli.records import kafka_python_clients
from kwire.errors import Code, KafkaError


class Stopped(threading.Event):
    """Set by SIGINT and SIGTERM; ``exit_code`` is then that of a process that the signal ends."""

    exit_code = 0


@contextmanager
def stopped_by_signals() -> Iterator[Stopped]:
    """Let SIGINT and SIGTERM set an event, so that a script ends cleanly."""
    stop = Stopped()

    def on_signal(number: int, _frame: FrameType | None) -> None:
        stop.exit_code = 128 + number
        stop.set()

    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def made(make: Callable[[], Any], script: str) -> Any:
    """Make a client. Raises Failure for wrong settings or an unreachable broker."""
    try:
        return make()
    except ConfigError as error:
        raise Failure(f"org.apache.kafka.common.config.ConfigException: {error}") from error
    except kafka_python_clients.errors() as error:
        raise Failure(f"{script}: no broker answers: {error}") from error


@contextmanager
def closed_at_the_end(producer: Any) -> Iterator[None]:
    """Close a producer when it has sent all; after a failure, give it one second for that."""
    try:
        yield
    except BaseException:
        with suppress(kafka_python_clients.errors()):
            producer.close(timeout=1)
        raise
    producer.close()


def send(producer: Any, topic: str, *record: bytes | None, **more: Any) -> Any:
    """Send a record; a topic name that kafka-python refuses is a KafkaError, as it is for a broker."""
    try:
        return producer.send(topic, *record, **more)
    except ValueError as error:
        raise KafkaError(Code.INVALID_TOPIC_EXCEPTION, f"Invalid topics: [{topic}]") from error


def failure_of(error: BaseException) -> tuple[str, str]:
    """Return the Java class and the message of an error of kafka-python, or of ours."""
    if isinstance(error, KafkaError):
        return exception_class(error.code), error_text(error)
    number = getattr(error, "errno", None)
    if isinstance(number, int) and number in {code.value for code in Code}:
        return exception_class(Code(number)), str(error)
    if "Timeout" in type(error).__name__:
        return exception_class(Code.REQUEST_TIMED_OUT), str(error)
    return "org.apache.kafka.common.KafkaException", str(error)


def print_metrics(metrics: Mapping[str, Mapping[str, float]]) -> None:
    """Print the metrics of a client, by group and name, as the official scripts print theirs."""
    rows = {f"{group}:{name}": value for group, values in metrics.items() for name, value in values.items()}
    width = max(map(len, rows), default=0)
    print(f"\n{'Metric Name':<{width}}   Value")
    for name, value in sorted(rows.items()):
        text = f"{value:.3f}" if isinstance(value, float) else str(value)
        print(f"{name:<{width}} : {text}")
