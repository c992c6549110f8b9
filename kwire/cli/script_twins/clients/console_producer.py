"""kafka-console-producer: each line of standard input is a record.

Responsible for: the flags of the official script, and reading lines as they come. Must not depend on: batches, the
wire.

Lines that are available at once are sent together; otherwise a batch is sent as soon as the next read would wait, so
that each line typed at a terminal is sent at once. ``--timeout`` waits that long for more, as the official script does
by default (a second).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from kwire.cli.connections.client_config import SECURITY_KEYS
from kwire.cli.connections.connection import ClientError, TimedOut
from kwire.cli.java.exits import Failure
from kwire.cli.java.names import error_line
from kwire.cli.java.options import BOOTSTRAP, OLD_BROKER_LIST, Option, Parsed, Wrong, parse
from kwire.cli.records.lines import LineError, LineReader
from kwire.cli.records.producer import NoSuchTopic, Producer, ProducerConfig
from kwire.cli.records.standard_input import read_lines
from kwire.cli.script_twins.clients.client_properties import key_values, merged
from kwire.cli.script_twins.common import bootstrap_of, cluster_at, read_config, warn, warn_unused
from kwire.errors import KafkaError
from kwire.wire.batches.compression import Codec
from kwire.wire.batches.records import Record

NAME: Final = "kafka-console-producer"
ABOUT: Final = "Send each line of standard input to a topic."

_READER_PROPERTIES: Final = (
    "A property of the line reader, as name=value: parse.key, key.separator (tab), parse.headers,"
    " headers.delimiter (tab), headers.separator (,), headers.key.separator (:), null.marker, ignore.error."
)

OPTIONS: Final = (
    BOOTSTRAP,
    OLD_BROKER_LIST,
    Option("topic", "The topic to send to.", "NAME", many=True),
    Option("sync", "Wait for each record's acknowledgement before the next line is read."),
    Option(
        "compression-codec", "none, gzip, snappy, lz4 or zstd; gzip when no name follows.", "CODEC", optional_value=True
    ),
    Option("request-required-acks", "How many acknowledgements: 0, 1, -1 or all.", "ACKS", default="-1"),
    Option("batch-size", "Bytes of a batch.", "BYTES", number=True, default="16384"),
    Option("max-partition-memory-bytes", "Old spelling of --batch-size.", "BYTES", number=True),
    Option("message-send-max-retries", "How often a batch is sent again.", "N", number=True, default="3"),
    Option("retry-backoff-ms", "Has no effect: a retry waits 100 ms.", "MS", number=True),
    Option("timeout", "Wait this long for more lines before a batch is sent.", "MS", number=True),
    Option("request-timeout-ms", "How long the broker may take to acknowledge.", "MS", number=True, default="1500"),
    Option("max-block-ms", "How long to wait for the topic to appear.", "MS", number=True, default="60000"),
    Option("max-memory-bytes", "Has no effect: only one batch is buffered.", "BYTES", number=True),
    Option("metadata-expiry-ms", "Has no effect: metadata is requested again when it is outdated.", "MS", number=True),
    Option("socket-buffer-size", "Has no effect: the system chooses.", "BYTES", number=True),
    Option("line-reader", "The class that reads lines; only Kafka's default is there.", "CLASS"),
    Option("reader-property", _READER_PROPERTIES, "NAME=VALUE", many=True),
    Option("property", "Old spelling of --reader-property.", "NAME=VALUE", many=True),
    Option("reader-config", "Properties file for the line reader.", "FILE"),
    Option("command-property", "A setting of the producer, as name=value.", "NAME=VALUE", many=True),
    Option("producer-property", "Old spelling of --command-property.", "NAME=VALUE", many=True),
    Option("command-config", "Properties file of the producer.", "FILE"),
    Option("producer.config", "Old spelling of --command-config.", "FILE"),
)

_LINE_READERS: Final = ("org.apache.kafka.tools.LineMessageReader", "kafka.tools.ConsoleProducer$LineMessageReader")
_CODECS: Final = tuple(codec.name.lower() for codec in Codec)

# Settings of the Java producer that have an effect here.
_PRODUCER_KEYS: Final = SECURITY_KEYS | {
    "acks",
    "batch.size",
    "bootstrap.servers",
    "client.id",
    "compression.type",
    "default.api.timeout.ms",
    "delivery.timeout.ms",
    "enable.idempotence",
    "linger.ms",
    "max.block.ms",
    "request.timeout.ms",
    "retries",
}


def main(argv: Sequence[str]) -> int:
    try:
        parsed = parse(NAME, ABOUT, OPTIONS, argv)
    except Wrong as error:
        raise Failure(f"{error}\nOptions: {NAME} --help") from error
    reader, settings, servers = _check(parsed)
    topic = parsed.text("topic")
    synchronous = parsed.has("sync")

    def undelivered(name: str, record: Record, error: KafkaError | ClientError) -> None:
        if synchronous:
            raise Failure(_reason(error))
        key = "null" if record.key is None else f"{len(record.key)} bytes"
        value = "null" if record.value is None else f"{len(record.value)} bytes"
        where = f"to topic {name} with key: {key}, value: {value}"
        warn(f"ERROR Error when sending message {where} with error:\n{_reason(error)}")

    linger = parsed.number("timeout") if parsed.has("timeout") else int(settings.get("linger.ms", "0"))
    with cluster_at(servers, {"client.id": "console-producer", **settings}, NAME) as cluster:
        producer = Producer(cluster, _producer_config(settings), undelivered)
        try:
            for number, line in enumerate(read_lines(producer.flush, (linger or 0) / 1000), start=1):
                producer.send(topic, *reader.read(_as_text(line), number))
                if synchronous:
                    producer.flush()
        except LineError as error:
            producer.flush()
            raise Failure(f"org.apache.kafka.common.KafkaException: {error}") from error
        except KeyboardInterrupt:
            producer.flush()
            raise
        producer.flush()
    return 0


def _as_text(line: bytes) -> bytes:
    """Replace bytes that are not UTF-8 by U+FFFD, as the official script does, which reads text."""
    return line if line.isascii() else line.decode(errors="replace").encode()


def _check(parsed: Parsed) -> tuple[LineReader, dict[str, str], str]:
    """Refuse invalid combinations; return the reader, the producer's settings and the address."""
    parsed.require("topic")
    servers = bootstrap_of(parsed)
    if servers is None:
        parsed.refuse("Error while validating the bootstrap address")
    for old, new in (
        ("property", "reader-property"),
        ("producer-property", "command-property"),
        ("producer.config", "command-config"),
    ):
        if parsed.has(old):
            if parsed.has(new):
                parsed.refuse(f"Options --{new} and --{old} cannot be specified together.")
            print(f"Warning: --{old} is deprecated and will be removed in a future version. Use --{new} instead.")
    line_reader = parsed.value("line-reader")
    if line_reader is not None and line_reader not in _LINE_READERS:
        raise Failure(f"{line_reader} is a Java class that cannot be loaded here")
    for name in ("retry-backoff-ms", "max-memory-bytes", "metadata-expiry-ms", "socket-buffer-size"):
        if parsed.has(name):
            warn(f"WARN {NAME}: --{name} has no effect here")
    path = parsed.value("reader-config")
    properties = {} if path is None else read_config(path)
    properties |= key_values(parsed.values("reader-property") or parsed.values("property"))
    try:
        reader = LineReader.of(properties)
    except LineError as error:
        raise Failure(f"org.apache.kafka.common.KafkaException: {error}") from error
    return reader, _settings(parsed), servers


def _settings(parsed: Parsed) -> dict[str, str]:
    """Settings of the producer: the file, then properties, then flags that were given, then the flags' defaults."""
    given = merged(parsed, ("command-config", "producer.config"), ("command-property", "producer-property"))
    codec = parsed.value("compression-codec")
    flags = {
        "acks": "request-required-acks",
        "retries": "message-send-max-retries",
        "request.timeout.ms": "request-timeout-ms",
        "max.block.ms": "max-block-ms",
        "batch.size": "max-partition-memory-bytes" if parsed.has("max-partition-memory-bytes") else "batch-size",
    }
    settings = dict(given)
    for key, flag in flags.items():
        if parsed.has(flag) or key not in settings:
            value = parsed.value(flag)
            if value is not None:
                settings[key] = value
    if codec is not None:
        settings["compression.type"] = codec or "gzip"
    warn_unused(NAME, settings, _PRODUCER_KEYS)
    return settings


def _producer_config(settings: dict[str, str]) -> ProducerConfig:
    acks = _one_of(settings, "acks", ("all", "-1", "0", "1"))
    codec = _one_of({"compression.type": "none", **settings}, "compression.type", _CODECS)
    try:
        return ProducerConfig(
            acks=-1 if acks == "all" else int(acks),
            idempotent=settings.get("enable.idempotence", "true").lower() == "true",
            codec=Codec[codec.upper()],
            batch_bytes=int(settings["batch.size"]),
            retries=int(settings["retries"]),
            request_timeout_ms=int(settings["request.timeout.ms"]),
            max_block_ms=int(settings["max.block.ms"]),
            delivery_timeout_ms=int(settings.get("delivery.timeout.ms", "120000")),
        )
    except ValueError as error:
        raise Failure(f"org.apache.kafka.common.config.ConfigException: {error}") from error


def _one_of(settings: dict[str, str], key: str, words: Sequence[str]) -> str:
    value = settings[key]
    if value not in words:
        raise Failure(
            f"org.apache.kafka.common.config.ConfigException: Invalid value {value} for configuration {key}:"
            f" String must be one of: {', '.join(words)}"
        )
    return value


def _reason(error: KafkaError | ClientError) -> str:
    if isinstance(error, KafkaError):
        return error_line(error)
    if isinstance(error, NoSuchTopic | TimedOut):
        return f"org.apache.kafka.common.errors.TimeoutException: {error}"
    return str(error)
