"""kafka-console-share-consumer: print the records that a share group gets.

Responsible for: the flags of the official script, and acknowledging printed records. Must not depend on: share sessions
(``kwire.cli.records.share_consumer``), the format of records (``kwire.cli.records.lines``).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import Final

from kwire.cli.connections.client_config import SECURITY_KEYS
from kwire.cli.connections.connection import ClientError
from kwire.cli.java.exits import Failure
from kwire.cli.java.options import BOOTSTRAP, Option, Parsed, Wrong, parse
from kwire.cli.records.lines import ConsumedRecord, LineError, LineFormatter
from kwire.cli.records.share_consumer import ACCEPT, REJECT, RELEASE, ShareConsumer, SharedRecord
from kwire.cli.script_twins.clients.client_properties import merged
from kwire.cli.script_twins.clients.console_options import formatter_of, one_group, refuse_old_spellings
from kwire.cli.script_twins.clients.python_clients import Stopped, stopped_by_signals
from kwire.cli.script_twins.common import cluster_at, warn, warn_unused
from kwire.errors import KafkaError

NAME: Final = "kafka-console-share-consumer"
ABOUT: Final = "Print the records of a topic that a share group gets, one a line, until stopped."

OPTIONS: Final = (
    BOOTSTRAP,
    Option("topic", "The topic to read.", "NAME", many=True),
    Option("group", "The share group to read in.", "NAME", default="console-share-consumer"),
    Option("max-messages", "End after so many records.", "N", number=True),
    Option("timeout-ms", "End when no record comes for so long.", "MS", number=True),
    Option("reject", "Reject each record after it was printed."),
    Option("release", "Release each record after it was printed, so that it is delivered again."),
    Option("reject-message-on-error", "Reject a record that cannot be shown, and continue."),
    Option("key-deserializer", "How to show keys: a Java class name, such as LongDeserializer.", "CLASS"),
    Option("value-deserializer", "How to show values.", "CLASS"),
    Option("formatter", "The formatter's class; Kafka's own are there.", "CLASS"),
    Option("formatter-property", "A property of the formatter; print.delivery is that of share groups.", "NAME=VALUE",
           many=True),
    Option("property", "Old spelling of --formatter-property.", "NAME=VALUE", many=True),
    Option("formatter-config", "Properties file for the formatter.", "FILE"),
    Option("command-property", "A setting of the consumer, as name=value.", "NAME=VALUE", many=True),
    Option("consumer-property", "Old spelling of --command-property.", "NAME=VALUE", many=True),
    Option("command-config", "Properties file of the consumer.", "FILE"),
    Option("consumer-config", "Old spelling of --command-config.", "FILE"),
    Option("enable-systest-events", "Print events of the consumer as JSON, for system tests."),
)  # fmt: skip

_OLD_SPELLINGS: Final = (
    ("property", "formatter-property"),
    ("consumer-property", "command-property"),
    ("consumer-config", "command-config"),
)
_USED: Final = SECURITY_KEYS | {"bootstrap.servers", "client.id", "group.id", "max.poll.records", "share.acquire.mode"}
_POLL_MS: Final = 500
_RECORDS_MAX: Final = 500


def main(argv: Sequence[str]) -> int:
    try:
        parsed = parse(NAME, ABOUT, OPTIONS, argv)
    except Wrong as error:
        raise Failure(f"{error}\nOptions: {NAME} --help") from error
    settings = _check(parsed)
    formatter = formatter_of(parsed, {})
    warn_unused(NAME, settings, _USED)
    printed = 0
    security = {key: value for key, value in settings.items() if key in SECURITY_KEYS}
    client_id = settings.get("client.id", "console-share-consumer")
    with (
        cluster_at(",".join(parsed.values("bootstrap-server")), {"client.id": client_id, **security}, NAME) as cluster,
        stopped_by_signals() as stop,
    ):
        strict = settings.get("share.acquire.mode", "").lower() == "record_limit"
        maximum = int(settings.get("max.poll.records", _RECORDS_MAX))
        consumer = ShareConsumer(
            cluster, settings["group.id"], [parsed.text("topic")], records_max=maximum, strict=strict
        )
        reader = _Reader(parsed, consumer, formatter)
        try:
            reader.read(stop)
        except LineError as error:
            raise Failure(f"Error processing message, terminating consumer process: \n{error}") from error
        except (KafkaError, ClientError) as error:
            raise Failure(f"Error processing message, terminating consumer process: {error}") from error
        except BrokenPipeError:
            warn("Unable to write to standard out, closing consumer.")
            raise
        finally:
            consumer.close()
            printed = reader.count
            warn(f"Processed a total of {printed} messages")
    return stop.exit_code


class _Reader:
    """Prints records; ``count`` includes those that cannot be shown."""

    def __init__(self, parsed: Parsed, consumer: ShareConsumer, formatter: LineFormatter | None) -> None:
        self._parsed = parsed
        self._consumer = consumer
        self._formatter = formatter
        self._kind = REJECT if parsed.has("reject") else RELEASE if parsed.has("release") else ACCEPT
        self.count = 0

    def read(self, stop: Stopped) -> None:
        limit = self._parsed.number("max-messages")
        timeout_ms = self._parsed.number("timeout-ms")
        last_s = time.monotonic()
        while not stop.is_set() and (limit is None or limit < 0 or self.count < limit):
            records = self._consumer.poll(_POLL_MS if timeout_ms is None else min(_POLL_MS, timeout_ms))
            if records:
                last_s = time.monotonic()
            elif timeout_ms is not None and (time.monotonic() - last_s) * 1000 > timeout_ms:
                return
            for record in records:
                if limit is not None and 0 <= limit <= self.count:
                    break  # acquired records that were not printed are released at the end
                self.count += 1
                self._print(record)
            sys.stdout.buffer.flush()
            self._consumer.commit()

    def _print(self, record: SharedRecord) -> None:
        try:
            if self._formatter is not None:
                sys.stdout.buffer.write(self._formatter.write(_shown(record)))
            self._consumer.acknowledge(record, self._kind)
        except LineError as error:
            if not self._parsed.has("reject-message-on-error"):
                raise
            warn(f"ERROR Error processing message, rejecting this message: {error}")
            self._consumer.acknowledge(record, REJECT)


def _shown(record: SharedRecord) -> ConsumedRecord:
    return ConsumedRecord(
        record.partition,
        record.offset,
        record.timestamp,
        record.timestamp_type,
        -1,  # the official script does not know the epoch
        record.key,
        record.value,
        record.headers,
        record.delivery_count,
    )


def _check(parsed: Parsed) -> dict[str, str]:
    """Refuse invalid combinations, with the official messages; return the consumer's settings."""
    if parsed.has("reject") and parsed.has("release"):
        parsed.refuse("At most one of --reject and --release may be specified.")
    refuse_old_spellings(parsed, _OLD_SPELLINGS)
    if not parsed.has("topic"):
        parsed.refuse("--topic is a required argument")
    parsed.require("bootstrap-server")
    from_file = merged(parsed, ("command-config", "consumer-config"), ())
    on_line = merged(parsed, (), ("command-property", "consumer-property"))
    own = parsed.value("group") if parsed.has("group") else None
    group = one_group(parsed, (own, on_line.get("group.id"), from_file.get("group.id")), "consumer-config")
    return {**from_file, **on_line, "group.id": parsed.text("group") if group is None else group}
