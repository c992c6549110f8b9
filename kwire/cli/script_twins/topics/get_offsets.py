"""kafka-get-offsets: print the first, last or time-based offsets of partitions.

Responsible for: the flags of the official script and its patterns for topics and partitions. Must not depend on: the
wire.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final

from kwire.cli.admin import offsets as admin
from kwire.cli.admin.topics import list_topics
from kwire.cli.connections.connection import ClientError, TimedOut, parse_addresses
from kwire.cli.java.exits import Failure
from kwire.cli.java.names import error_text
from kwire.cli.java.options import BOOTSTRAP, COMMAND_CONFIG, OLD_BROKER_LIST, Option, Parsed, Wrong, parse
from kwire.cli.script_twins.common import bootstrap_of, open_cluster, timed_out, warn
from kwire.cli.script_twins.topic_filter import compile_filter
from kwire.errors import KafkaError

NAME: Final = "kafka-get-offsets"
ABOUT: Final = "Print topic:partition:offset for each partition."

_SPECIAL: Final = {
    "latest": admin.LATEST,
    "earliest": admin.EARLIEST,
    "max-timestamp": admin.MAX_TIMESTAMP,
    "earliest-local": admin.EARLIEST_LOCAL,
    "latest-tiered": admin.LATEST_TIERED,
    "earliest-pending-upload": admin.EARLIEST_PENDING_UPLOAD,
}
_TIMES: Final = " / ".join(f"{number} or {word}" for word, number in _SPECIAL.items())

OPTIONS: Final = (
    BOOTSTRAP,
    OLD_BROKER_LIST,
    COMMAND_CONFIG,
    Option("topic", "Topics: a regular expression; all when left out.", "REGEX"),
    Option("partitions", "Partitions: 0,1,2; all when left out.", "IDS"),
    Option("topic-partitions", "Topics and partitions in one: a:1,b:0-3,c,d:5-,e:-3.", "LIST"),
    Option("time", f"Which offset: a time in ms, or {_TIMES}.", "TIME", default="latest"),
    Option("exclude-internal-topics", "Leave internal topics out."),
)

# One pattern for one topic and a partition, a range (its end excluded), or nothing.
_RULE: Final = re.compile(r"([^:,]*)(?::(?:([0-9]*)|(?:([0-9]*)-([0-9]*))))?")

Filter = Callable[[str, int], bool]


def main(argv: Sequence[str]) -> int:
    try:
        parsed = parse(NAME, ABOUT, OPTIONS, argv)
        servers = bootstrap_of(parsed)
        if servers is None:
            parsed.require("bootstrap-server")
        _check_addresses(parsed, servers or "")
        wanted = _filter(parsed)
        when = _time(parsed.text("time"))
        with open_cluster(parsed, NAME, servers) as cluster:
            places = {
                (name, item.partition): when
                for name, topic in list_topics(cluster).items()
                if not (topic.internal and parsed.has("exclude-internal-topics"))
                for item in topic.partitions
                if wanted(name, item.partition)
            }
            if not places:
                raise Wrong("Could not match any topic-partitions with the specified filters")
            offsets = admin.list_offsets(cluster, places)
    except TimedOut as error:
        raise Failure(f"Error occurred: {timed_out(error, 'listTopics')}") from error
    except (Wrong, ClientError) as error:
        raise Failure(f"Error occurred: {error}") from error
    except KafkaError as error:
        raise Failure(f"Error occurred: {error_text(error)}") from error
    # As the official script: by name, so that partition 10 comes before 2.
    for (topic, partition), offset in sorted(offsets.items(), key=lambda item: f"{item[0][0]}-{item[0][1]}"):
        if isinstance(offset, KafkaError):
            warn(f"Skip getting offsets for topic-partition {topic}-{partition} due to error: {error_text(offset)}")
        elif offset >= 0:
            print(f"{topic}:{partition}:{offset}")
    return 0


def _check_addresses(parsed: Parsed, servers: str) -> None:
    try:
        parse_addresses(servers, default_port=None)
    except ValueError:
        parsed.refuse("Please provide valid host:port like host1:9091,host2:9092\n")


def _time(text: str) -> int:
    if text in _SPECIAL:
        return _SPECIAL[text]
    try:
        return int(text)
    except ValueError:
        raise Wrong(
            f"Malformed time argument {text}. Please use {_TIMES}, or a specified long format timestamp"
        ) from None


def _filter(parsed: Parsed) -> Filter:
    rules = parsed.value("topic-partitions")
    if rules is not None:
        if parsed.has("topic") or parsed.has("partitions"):
            raise Wrong("--topic-partitions cannot be used with --topic or --partitions")
        filters = [_rule(rule) for rule in rules.split(",")]
        return lambda name, partition: any(each(name, partition) for each in filters)
    topics = compile_filter(parsed.value("topic") or ".*")
    partitions = _partitions(parsed.value("partitions"))
    return lambda name, partition: bool(topics.fullmatch(name)) and (partitions is None or partition in partitions)


def _partitions(text: str | None) -> set[int] | None:
    if text is None:
        return None
    try:
        return {int(word) for word in text.split(",") if word}
    except ValueError:
        raise Wrong(
            f"--partitions expects a comma separated list of numeric partition ids, but received: {text}"
        ) from None


def _rule(text: str) -> Filter:
    found = _RULE.fullmatch(text)
    if found is None:
        raise Wrong(f"org.apache.kafka.tools.TerseException: Invalid rule specification: {text}")
    topic, one, low, high = found.groups()
    topics = compile_filter(topic or ".*")
    lowest = int(one or low or 0)
    highest = int(one) + 1 if one else int(high) if high else None
    return lambda name, partition: (
        bool(topics.fullmatch(name)) and partition >= lowest and (highest is None or partition < highest)
    )
