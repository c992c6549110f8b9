"""kafka-e2e-latency: the time from sending a record until it is read.

Responsible for: the options and the output of the official script. Must not depend on: batches, the wire.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from typing import Any, Final, NoReturn

from kwire.cli.admin.topics import create_topic, list_topics
from kwire.cli.connections.client_config import SECURITY_KEYS
from kwire.cli.connections.connection import ClientError
from kwire.cli.java.exits import Failure
from kwire.cli.java.names import error_line
from kwire.cli.java.options import COMMAND_CONFIG, Option, Parsed, Wrong, parse
from kwire.cli.records import kafka_python_clients
from kwire.cli.records.producer import ALL, Producer, ProducerConfig
from kwire.cli.script_twins.clients.python_clients import failure_of, made
from kwire.cli.script_twins.common import cluster_at, read_config
from kwire.errors import KafkaError
from kwire.wire.batches.compression import Codec
from kwire.wire.batches.records import Record

NAME: Final = "kafka-e2e-latency"
ABOUT: Final = "Measure the time from sending a record until it is read."

_POLL_MS: Final = 60_000
_PROGRESS_EVERY: Final = 1000
_POSITIONS: Final = ("bootstrap-server", "topic", "num-records", "producer-acks", "record-size", "command-config")
_HEADERS: Final = ("record-header-key-size", "record-header-size", "num-headers")

OPTIONS: Final = (
    Option("bootstrap-server", "Broker(s) to ask first: HOST:PORT[,HOST:PORT ...].", "HOST:PORT"),
    Option("topic", "The topic; it is created when it does not exist.", "NAME"),
    Option("num-records", "How many records.", "N", number=True),
    Option("producer-acks", "1 or all.", "ACKS"),
    Option("record-size", "Bytes of each value.", "BYTES", number=True),
    Option("record-key-size", "Bytes of each key; 0 sends no key.", "BYTES", number=True, default="0"),
    Option("record-header-key-size", "Bytes of each header's key.", "BYTES", number=True, default="0"),
    Option("record-header-size", "Bytes of each header's value; -1 is a null.", "BYTES", number=True, default="0"),
    Option("num-headers", "Headers of each record.", "N", number=True, default="0"),
    COMMAND_CONFIG,
)


def main(argv: Sequence[str]) -> int:
    try:
        parsed = parse(NAME, ABOUT, OPTIONS, _named(argv))
        count = _check(parsed)
    except Wrong as error:
        raise Failure(f"{error}\nOptions: {NAME} --help") from error
    servers, topic = parsed.text("bootstrap-server"), parsed.text("topic")
    path = parsed.value("command-config")
    settings = {} if path is None else read_config(path)
    _create_missing(servers, topic, settings)
    reading = {
        **settings,
        "group.id": f"test-group-{time.time_ns() // 1_000_000}",
        "enable.auto.commit": "false",
        "auto.offset.reset": "latest",
        "fetch.max.wait.ms": "0",
    }
    consumer = made(lambda: kafka_python_clients.consumer(reading, bootstrap=servers), NAME)
    try:
        with cluster_at(servers, _security(settings), NAME) as cluster:
            # Not kafka-python's producer, which refuses headers whose value is null.
            producer = Producer(cluster, _producer_config(parsed, settings), _undelivered)
            _seek_to_end(consumer, topic)
            latencies_ns = [_measure(parsed, number, producer, consumer) for number in range(count)]
    except kafka_python_clients.errors() as error:
        raise Failure(": ".join(failure_of(error))) from error
    finally:
        consumer.close(autocommit=False)
    _print_results(latencies_ns)
    return 0


def _named(argv: Sequence[str]) -> list[str]:
    """Turn a line of positions, which Kafka 5 will refuse, into options."""
    words = list(argv)
    if not words or "--bootstrap-server" in words or any(word.startswith("--bootstrap-server=") for word in words):
        return words
    if any(word.startswith("--") for word in words[:1]) and len(words) not in (5, 6):
        return words
    if len(words) not in (5, 6):
        raise Failure(
            f"Invalid number of arguments. Expected 5 or 6 positional arguments, but got {len(words)}. Usage:"
            " bootstrap-server topic num-records producer-acks record-size [optional] command-config"
        )
    print(
        "WARNING: Positional argument usage is deprecated and will be removed in Apache Kafka 5.0. Please use named"
        " arguments instead: --bootstrap-server, --topic, --num-records, --producer-acks, --record-size,"
        " --command-config"
    )
    return [text for name, word in zip(_POSITIONS, words, strict=False) for text in (f"--{name}", word)]


def _check(parsed: Parsed) -> int:
    """Refuse what the official script refuses; return the number of records."""
    parsed.require(*_POSITIONS[:-1])
    if parsed.text("producer-acks") not in ("1", "all"):
        parsed.refuse(
            "Invalid value for --producer-acks. Latency testing requires synchronous acknowledgement."
            " Please use '1' or 'all'."
        )
    count = parsed.number("num-records") or 0
    if count <= 0:
        parsed.refuse("Value for --num-records must be a positive integer.")
    for name in ("record-size", "record-key-size", "record-header-key-size", "num-headers"):
        if (parsed.number(name) or 0) < 0:
            parsed.refuse(f"Value for --{name} must be a non-negative integer.")
    if (parsed.number("record-header-size") or 0) < -1:
        parsed.refuse("Value for --record-header-size must be a non-negative integer or -1 for null header value.")
    return count


def _create_missing(servers: str, topic: str, settings: dict[str, str]) -> None:
    try:
        with cluster_at(servers, _security(settings), NAME) as cluster:
            if topic in list_topics(cluster):
                return
            print(f'Topic "{topic}" does not exist. Will create topic with 1 partition(s) and replication factor = 1')
            try:
                create_topic(cluster, topic, partitions=1, replication_factor=1)
            except KafkaError as error:
                print(f"Creation of topic {topic} failed")
                raise Failure(f"java.util.concurrent.ExecutionException: {error_line(error)}") from error
    except ClientError as error:
        raise Failure(str(error)) from error


def _security(settings: dict[str, str]) -> dict[str, str]:
    return {key: value for key, value in settings.items() if key in SECURITY_KEYS}


def _producer_config(parsed: Parsed, settings: dict[str, str]) -> ProducerConfig:
    codec = settings.get("compression.type", "none")
    if codec.upper() not in Codec.__members__:
        raise Failure(f"Invalid value {codec} for configuration compression.type")
    acks = ALL if parsed.text("producer-acks") == "all" else 1
    return ProducerConfig(acks=acks, codec=Codec[codec.upper()])


def _undelivered(_topic: str, _record: Record, error: KafkaError | ClientError) -> NoReturn:
    raise Failure(error_line(error) if isinstance(error, KafkaError) else str(error)) from error


def _seek_to_end(consumer: Any, topic: str) -> None:
    from kafka import TopicPartition

    places = [TopicPartition(topic, partition) for partition in sorted(consumer.partitions_for_topic(topic) or ())]
    consumer.assign(places)
    consumer.seek_to_end(*places)
    for place in places:
        consumer.position(place)


def _measure(parsed: Parsed, number: int, producer: Producer, consumer: Any) -> int:
    """Send one record and read it; return the time in ns. Raises Failure when another is read."""
    key_size = parsed.number("record-key-size") or 0
    value = _letters(parsed.number("record-size") or 0)
    key = _letters(key_size) if key_size else None
    headers = [_header(parsed) for _ in range(parsed.number("num-headers") or 0)]
    started_ns = time.monotonic_ns()
    producer.send(parsed.text("topic"), key, value, tuple(headers))
    producer.flush()
    records = [each for found in consumer.poll(_POLL_MS).values() for each in found]
    elapsed_ns = time.monotonic_ns() - started_ns
    _compare(records, key, value, headers)
    if number % _PROGRESS_EVERY == 0:
        print(f"{number}\t{elapsed_ns / 1_000_000}")
    return elapsed_ns


def _compare(records: Sequence[Any], key: bytes | None, value: bytes, headers: Sequence[tuple[str, Any]]) -> None:
    if not records:
        raise Failure(f"poll() timed out before finding a result (timeout:[{_POLL_MS}ms])")
    record = records[0]
    if record.value != value:
        raise Failure(
            f"The message value read [{_text(record.value)}] did not match the message value sent [{_text(value)}]"
        )
    if record.key != key:
        raise Failure(f"The message key read [{_text(record.key)}] did not match the message key sent [{_text(key)}]")
    if list(record.headers) != list(headers):
        raise Failure("The message headers read did not match the message headers sent")
    if len(records) != 1:
        raise Failure(f"Only one result was expected during this test. We found [{len(records)}]")


def _print_results(latencies_ns: Sequence[int]) -> None:
    average_ms = sum(latencies_ns) / len(latencies_ns) / 1_000_000
    ordered_ms = sorted(latency // 1_000_000 for latency in latencies_ns)
    p50, p99, p999 = (ordered_ms[int(len(ordered_ms) * part)] for part in (0.5, 0.99, 0.999))
    print(f"Avg latency: {average_ms:.4f} ms")
    print(f"Percentiles: 50th = {p50}, 99th = {p99}, 99.9th = {p999}")


def _header(parsed: Parsed) -> tuple[str, bytes | None]:
    size = parsed.number("record-header-size") or 0
    key = _letters(parsed.number("record-header-key-size") or 0).decode()
    return key, None if size < 0 else _letters(size)


def _letters(size: int) -> bytes:
    return bytes([65 + random.randrange(26)]) * size  # noqa: S311 - contents of a benchmark


def _text(encoded: bytes | None) -> str:
    return "null" if encoded is None else encoded.decode(errors="replace")
