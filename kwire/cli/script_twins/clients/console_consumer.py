"""kafka-console-consumer: print the records of topics.

Responsible for: the flags of the official script, the begin and the end of reading. Must not depend on: groups and
fetching (kafka-python does), the format of records (``kwire.cli.records.lines``).
"""

from __future__ import annotations

import random
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final, NoReturn

from kwire.cli.connections.client_config import SECURITY_KEYS, ConfigError
from kwire.cli.connections.connection import CannotConnect, ClientError, ConnectionLost
from kwire.cli.java.exits import Failure
from kwire.cli.java.options import BOOTSTRAP, ZOOKEEPER, Option, Parsed, Wrong, parse
from kwire.cli.records import kafka_python_clients
from kwire.cli.records.lines import ConsumedRecord, LineError, LineFormatter
from kwire.cli.script_twins.clients.client_properties import merged
from kwire.cli.script_twins.clients.console_options import formatter_of, one_group, refuse_old_spellings
from kwire.cli.script_twins.clients.coordinator_formatters import COORDINATOR_FORMATTERS, CoordinatorFormatter
from kwire.cli.script_twins.common import bootstrap_of, cluster_at, warn
from kwire.cli.script_twins.topic_filter import compile_filter

NAME: Final = "kafka-console-consumer"
ABOUT: Final = "Print the records of a topic, one a line, until stopped."

_PROPERTIES: Final = (
    "A property of the formatter, as name=value: print.key, print.value, print.timestamp, print.partition,"
    " print.offset, print.epoch, print.headers, key.separator (tab), line.separator, headers.separator (,),"
    " null.literal (null), key.deserializer, value.deserializer, headers.deserializer."
)

OPTIONS: Final = (
    BOOTSTRAP,
    ZOOKEEPER,
    Option("topic", "The topic to read.", "NAME", many=True),
    Option("include", "Read every topic whose name matches this regular expression.", "REGEX", many=True),
    Option("whitelist", "Old spelling of --include.", "REGEX", many=True, hidden=True),
    Option("from-beginning", "Begin with the oldest record there is, not with the next that comes."),
    Option("partition", "Read this partition alone, outside any group.", "N", number=True, many=True),
    Option("offset", "Where in the partition to begin: a number, earliest or latest.", "OFFSET", many=True),
    Option("group", "The consumer group to read in; its offsets are kept.", "NAME", many=True),
    Option("max-messages", "End after so many records.", "N", number=True, many=True),
    Option("timeout-ms", "End when no record comes for so long.", "MS", number=True, many=True),
    Option(
        "isolation-level",
        "read_committed leaves out open and aborted transactions.",
        "LEVEL",
        default="read_uncommitted",
    ),
    Option("skip-message-on-error", "Continue after a record that cannot be shown."),
    Option("key-deserializer", "How to show keys: a Java class name, such as LongDeserializer.", "CLASS"),
    Option("value-deserializer", "How to show values.", "CLASS"),
    Option("formatter", "The formatter's class; Kafka's own are there.", "CLASS"),
    Option("formatter-property", _PROPERTIES, "NAME=VALUE", many=True),
    Option("property", "Old spelling of --formatter-property.", "NAME=VALUE", many=True),
    Option("formatter-config", "Properties file for the formatter.", "FILE"),
    Option("command-property", "A setting of the consumer, as name=value.", "NAME=VALUE", many=True),
    Option("consumer-property", "Old spelling of --command-property.", "NAME=VALUE", many=True),
    Option("command-config", "Properties file of the consumer.", "FILE"),
    Option("consumer.config", "Old spelling of --command-config.", "FILE"),
    Option("enable-systest-events", "Print shutdown_complete at the end."),
)

_OLD_SPELLINGS: Final = (
    ("property", "formatter-property"),
    ("consumer-property", "command-property"),
    ("consumer.config", "command-config"),
)
_COORDINATOR_PACKAGE: Final = "kafka.coordinator.group.GroupMetadataManager$"
_RESETS: Final = ("earliest", "latest", "none")
_LEVELS: Final = ("read_committed", "read_uncommitted")
_POLL_MS: Final = 1000
_CONNECT_PAUSE_S: Final = 0.5


def main(argv: Sequence[str]) -> int:
    try:
        parsed = parse(NAME, ABOUT, OPTIONS, argv)
    except Wrong as error:
        raise Failure(f"{error}\nOptions: {NAME} --help") from error
    servers, settings = _check(parsed)
    formatter = formatter_of(parsed, COORDINATOR_FORMATTERS, [_COORDINATOR_PACKAGE])
    printed = 0
    try:
        with _terminated():
            with kafka_python_clients.logged_to_stderr():
                consumer = _connect(parsed, servers, settings)
            try:
                with kafka_python_clients.logged_to_stderr():
                    for written in _consume(parsed, consumer, formatter):
                        printed += written
            finally:
                consumer.close(autocommit=settings["enable.auto.commit"] == "true")
                sys.stdout.flush()
                if parsed.has("enable-systest-events"):
                    print("shutdown_complete")
    except LineError as error:
        raise Failure(f"Error processing message, terminating consumer process: \n{error}") from error
    except (CannotConnect, ConnectionLost):
        return 0  # the timeout is over, and nothing came
    except (ClientError, ConfigError) as error:
        raise Failure(str(error)) from error
    except KeyboardInterrupt:
        return 130
    except _Terminated:
        return 143
    except BrokenPipeError:
        warn("Unable to write to standard out, closing consumer.")
        raise
    finally:
        warn(f"Processed a total of {printed} messages")
    return 0


class _Terminated(BaseException):
    """Raised on SIGTERM."""


@contextmanager
def _terminated() -> Iterator[None]:
    """Let SIGTERM unwind as Ctrl-C does, so that the consumer leaves its group."""

    def leave(_number: int, _frame: FrameType | None) -> NoReturn:
        raise _Terminated

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _consume(parsed: Parsed, consumer: Any, formatter: LineFormatter | CoordinatorFormatter | None) -> Iterator[int]:
    """Print records; yields 1 for each that counts, also for one that cannot be shown."""
    limit = parsed.number("max-messages")
    timeout_ms = parsed.number("timeout-ms")
    out = sys.stdout.buffer
    count = 0
    while limit is None or limit < 0 or count < limit:
        polled = consumer.poll(timeout_ms=_POLL_MS if timeout_ms is None else timeout_ms)
        if not polled and timeout_ms is not None:
            return
        for place, records in polled.items():
            for record in records:
                if limit is not None and 0 <= limit <= count:
                    # Records that were fetched and not printed must not be committed.
                    consumer.seek(place, record.offset)
                    break
                count += 1
                yield 1
                try:
                    if formatter is not None:
                        out.write(formatter.write(_shown(record)))
                except LineError as error:
                    if not parsed.has("skip-message-on-error"):
                        raise
                    warn(f"ERROR Error processing message, skipping this message: {error}")
        out.flush()


def _shown(record: Any) -> ConsumedRecord:
    return ConsumedRecord(
        record.partition,
        record.offset,
        record.timestamp,
        record.timestamp_type or 0,
        record.leader_epoch,
        record.key,
        record.value,
        tuple(record.headers),
    )


def _connect(parsed: Parsed, servers: str, settings: dict[str, str]) -> Any:
    """Make and subscribe the consumer; while no broker answers, retry until --timeout-ms, or for ever."""
    for key in kafka_python_clients.unused(settings):
        warn(f"WARN {NAME}: no effect here: {key}")
    timeout_ms = parsed.number("timeout-ms")
    deadline_s = None if timeout_ms is None else time.monotonic() + timeout_ms / 1000
    security = {key: value for key, value in settings.items() if key in SECURITY_KEYS}
    with cluster_at(servers, {"client.id": NAME, **security}, NAME) as cluster:
        while True:
            try:
                cluster.any()
                break
            except (CannotConnect, ConnectionLost):  # the cluster prints it on stderr
                if deadline_s is not None and time.monotonic() >= deadline_s:
                    raise
                time.sleep(_CONNECT_PAUSE_S)
    consumer = kafka_python_clients.consumer(settings, bootstrap=servers)
    try:
        _subscribe(parsed, consumer)
    except BaseException as error:
        consumer.close(autocommit=False)
        if not isinstance(error, ValueError):  # how kafka-python refuses a name
            raise
        raise Failure(
            f"org.apache.kafka.common.errors.InvalidTopicException: Invalid topics: [{parsed.value('topic')}]"
        ) from error
    return consumer


def _subscribe(parsed: Parsed, consumer: Any) -> None:
    from kafka import TopicPartition

    partition = parsed.number("partition")
    if partition is None:
        # It would join its group before it knows the partitions, and again when it does.
        consumer.topics()
        if parsed.has("topic"):
            consumer.subscribe(topics=[parsed.text("topic")])
        else:
            pattern = compile_filter(parsed.value("include") or parsed.text("whitelist"))
            consumer.subscribe(pattern=f"^(?:{pattern.pattern})$")
        return
    place = TopicPartition(parsed.text("topic"), partition)
    consumer.assign([place])
    offset = parsed.value("offset") or ("earliest" if parsed.has("from-beginning") else "latest")
    if offset == "earliest":
        consumer.seek_to_beginning(place)
    elif offset == "latest":
        consumer.seek_to_end(place)
    else:
        consumer.seek(place, int(offset))


def _check(parsed: Parsed) -> tuple[str, dict[str, str]]:
    """Refuse invalid combinations, with the official messages; return the address and the consumer's settings."""
    if parsed.count(("topic", "include", "whitelist")) != 1:
        parsed.refuse("Exactly one of the following arguments is required: [topic], [include]")
    _check_place(parsed)
    refuse_old_spellings(parsed, _OLD_SPELLINGS)
    servers = bootstrap_of(parsed)
    if servers is None:
        parsed.require("bootstrap-server")
        raise AssertionError("an address was given and yet is not there")
    return servers, _settings(parsed)


def _check_place(parsed: Parsed) -> None:
    if parsed.has("partition"):
        if not parsed.has("topic"):
            parsed.refuse("The topic is required when partition is specified.")
        if parsed.has("offset") and parsed.has("from-beginning"):
            parsed.refuse("Options from-beginning and offset cannot be specified together.")
        if parsed.has("group"):
            parsed.refuse("Options group and partition cannot be specified together.")
    elif parsed.has("offset"):
        parsed.refuse("The partition is required when offset is specified.")
    offset = parsed.value("offset")
    if offset is not None and offset.lower() not in _RESETS[:2] and not offset.isdecimal():
        parsed.refuse(
            f"The provided offset value '{offset}' is incorrect."
            " Valid values are 'earliest', 'latest', or a non-negative long."
        )


def _settings(parsed: Parsed) -> dict[str, str]:
    from_file = merged(parsed, ("command-config", "consumer.config"), ())
    on_line = merged(parsed, (), ("command-property", "consumer-property"))
    group = one_group(
        parsed, (parsed.value("group"), on_line.get("group.id"), from_file.get("group.id")), "consumer.config"
    )
    settings = {"client.id": "console-consumer", "enable.auto.commit": "true", **from_file, **on_line}
    if group is not None:
        settings["group.id"] = group
    elif not parsed.has("partition"):
        # By default the official script reads in a temporary group.
        settings["group.id"] = f"console-consumer-{random.randrange(100_000)}"  # noqa: S311 - a name, no secret
        if "enable.auto.commit" not in {**from_file, **on_line}:
            settings["enable.auto.commit"] = "false"
    _set_reset(parsed, settings)
    settings["isolation.level"] = parsed.text("isolation-level")
    if settings["isolation.level"] not in _LEVELS:
        raise Failure(
            "org.apache.kafka.common.config.ConfigException: Invalid value"
            f" {settings['isolation.level']} for configuration isolation.level: String must be one of:"
            f" {', '.join(_LEVELS)}"
        )
    return settings


def _set_reset(parsed: Parsed, settings: dict[str, str]) -> None:
    given = settings.get("auto.offset.reset")
    if parsed.has("from-beginning"):
        if given not in (None, "earliest"):
            raise Failure(
                f"Can't simultaneously specify --from-beginning and 'auto.offset.reset={given}',"
                " please remove one option"
            )
        settings["auto.offset.reset"] = "earliest"
    elif given is None:
        settings["auto.offset.reset"] = "latest"
    elif given not in _RESETS:
        raise Failure(
            f"org.apache.kafka.common.config.ConfigException: Invalid value {given} for configuration auto.offset.reset"
        )
