"""kafka-verifiable-consumer: read a topic in a group, and print events as JSON.

Responsible for: the options and the events of the official script. Must not depend on: groups and fetching, which
kafka-python does.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from kwire.cli.java.arguments import Arguments
from kwire.cli.java.exits import Failure
from kwire.cli.records import kafka_python_clients
from kwire.cli.script_twins.clients.python_clients import Stopped, failure_of, made, stopped_by_signals
from kwire.cli.script_twins.common import read_config

NAME: Final = "kafka-verifiable-consumer"

_POLL_MS: Final = 200
_ASSIGNORS: Final = {
    "org.apache.kafka.clients.consumer.RangeAssignor": "range",
    "org.apache.kafka.clients.consumer.RoundRobinAssignor": "roundrobin",
    "org.apache.kafka.clients.consumer.StickyAssignor": "sticky",
    "org.apache.kafka.clients.consumer.CooperativeStickyAssignor": "cooperative-sticky",
}


def main(argv: Sequence[str]) -> int:
    parser = _parser()
    if not argv:
        print(parser.format_help().rstrip("\n"))
        return 0
    given = parser.read(argv)
    if given.consumer_config is not None and given.command_config is not None:
        parser.error("Options --consumer.config and --command-config are mutually exclusive.")
    if given.consumer_config is not None:
        print(
            "Option --consumer.config has been deprecated and will be removed in a future version."
            " Use --command-config instead."
        )
    path = given.consumer_config or given.command_config
    settings = {} if path is None else read_config(path)
    settings |= {
        "group.id": given.group_id,
        "group.protocol": given.group_protocol,
        "enable.auto.commit": "true" if given.auto_commit else "false",
        "auto.offset.reset": given.reset_policy,
        "session.timeout.ms": str(given.session_timeout or _SESSION_TIMEOUT_MS),
    }
    if given.group_instance_id is not None:
        settings["group.instance.id"] = given.group_instance_id
    strategy = given.assignment_strategy
    if strategy not in _ASSIGNORS:
        raise Failure(f"{strategy} is a Java class that cannot be loaded here")
    consumer = made(
        lambda: kafka_python_clients.consumer(
            settings, bootstrap=given.bootstrap_server, assignors=(_ASSIGNORS[strategy],)
        ),
        NAME,
    )
    run = _Run(consumer, given.max_messages, verbose=given.verbose, commits=not given.auto_commit)
    with stopped_by_signals() as stop:
        run.read(given.topic, stop)
    return stop.exit_code


class _Run:
    """Reads until a number of records or a stop, and prints its events."""

    def __init__(self, consumer: Any, limit: int, *, verbose: bool, commits: bool) -> None:
        self._consumer = consumer
        self._limit = limit
        self._verbose = verbose
        self._commits = commits
        self._count = 0

    def read(self, topic: str, stop: Stopped) -> None:
        """Subscribe and read; the consumer is closed at the end."""
        self.report("startup_complete")
        listener = kafka_python_clients.listener(self._assigned, self._revoked)
        try:
            self._consumer.topics()
            self._consumer.subscribe(topics=[topic], listener=listener)
            while not stop.is_set() and (self._limit < 0 or self._count < self._limit):
                records = self._consumer.poll(_POLL_MS)
                if records:
                    self._commit(self._received(records))
            if stop.is_set():
                self.report("shutdown_requested")
        finally:
            self._consumer.close(autocommit=not self._commits)
            self.report("shutdown_complete")
        if not stop.is_set():
            # The official script reports the end of its process, too.
            self.report("shutdown_requested")

    def _received(self, records: Mapping[Any, Sequence[Any]]) -> dict[Any, int]:
        """Print the records of a poll; return the next offset of each partition."""
        offsets = {}
        summaries = []
        total = sum(map(len, records.values()))
        for place, found in records.items():
            kept = found if self._limit < 0 else found[: self._limit - self._count]
            if not kept:
                continue
            offsets[place] = kept[-1].offset + 1
            summaries.append(
                {
                    "topic": place.topic,
                    "partition": place.partition,
                    "count": len(kept),
                    "minOffset": kept[0].offset,
                    "maxOffset": kept[-1].offset,
                }
            )
            if self._verbose:
                for record in kept:
                    self._show(record)
            self._count += len(kept)
        self.report("records_consumed", count=total, partitions=summaries)
        return offsets

    def _show(self, record: Any) -> None:
        self.report(
            "record_data",
            key=_text(record.key),
            value=_text(record.value),
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
        )

    def _commit(self, offsets: Mapping[Any, int]) -> None:
        if not self._commits:
            return
        listed = [
            {"topic": place.topic, "partition": place.partition, "offset": offset} for place, offset in offsets.items()
        ]
        try:
            self._consumer.commit(kafka_python_clients.committable(offsets))
        except kafka_python_clients.errors() as error:
            self.report("offsets_committed", offsets=listed, error=failure_of(error)[1], success=False)
        else:
            self.report("offsets_committed", offsets=listed, success=True)

    def _assigned(self, places: Iterable[Any]) -> None:
        self.report("partitions_assigned", partitions=_places(places))

    def _revoked(self, places: Iterable[Any]) -> None:
        # kafka-python reports an empty set before the first join; the Java consumer reports nothing then.
        if listed := _places(places):
            self.report("partitions_revoked", partitions=listed)

    def report(self, name: str, **fields: object) -> None:
        event = {"timestamp": time.time_ns() // 1_000_000, "name": name, **fields}
        sys.stdout.write(json.dumps(event, separators=(",", ":"), ensure_ascii=False) + "\n")
        sys.stdout.flush()


_SESSION_TIMEOUT_MS: Final = 45_000


def _places(places: Iterable[Any]) -> list[dict[str, object]]:
    return [{"topic": each.topic, "partition": each.partition} for each in sorted(places)]


def _text(encoded: bytes | None) -> str | None:
    return None if encoded is None else encoded.decode(errors="replace")


def _parser() -> Arguments:
    parser = Arguments(
        prog="verifiable-consumer", description="Read a topic in a group; print events as JSON.", help_code=1
    )
    parser.add_argument("--topic", required=True, metavar="TOPIC", help="the topic to read")
    parser.add_argument("--group-protocol", default="classic", metavar="PROTOCOL", help="classic alone is supported")
    parser.add_argument("--group-remote-assignor", metavar="ASSIGNOR", help="has no effect with the classic protocol")
    parser.add_argument("--group-id", required=True, metavar="GROUP", help="the consumer group")
    parser.add_argument("--group-instance-id", metavar="ID", help="a static member's id (KIP-345)")
    parser.add_int("--max-messages", default=-1, help="records to read; -1 reads until the script is stopped")
    parser.add_int("--session-timeout", help="the session timeout, in ms")
    parser.add_argument("--verbose", action="store_true", help="print each record")
    parser.add_argument("--enable-autocommit", dest="auto_commit", action="store_true", help="commit periodically")
    parser.add_argument("--reset-policy", default="earliest", metavar="POLICY", help="earliest, latest or none")
    parser.add_argument(
        "--assignment-strategy",
        default="org.apache.kafka.clients.consumer.RangeAssignor",
        metavar="CLASS",
        help="Kafka's range, round robin, sticky or cooperative sticky assignor",
    )
    parser.add_argument("--consumer.config", dest="consumer_config", metavar="FILE", help="old --command-config")
    parser.add_argument("--command-config", metavar="FILE", help="properties file of the consumer")
    parser.add_argument("--bootstrap-server", required=True, metavar="HOST:PORT", help="broker(s) to ask first")
    return parser
