"""``kwire produce``: write records to a topic, from arguments or standard input.

Responsible for: the command line, and how an argument, a line or a JSON object becomes a record. Must not depend on:
batches and leaders (``kwire.cli.producer`` has them).
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import click

from kwire.cli.broker_option import (
    asking,
    broker_options,
    client_settings,
    complete_topic,
    fail,
    note,
    refusal,
    servers_of,
)
from kwire.cli.connection import CannotConnect, ClientError, NoSuchHost
from kwire.cli.lines import Line, LineError, LineReader
from kwire.cli.producer import NoSuchTopic, Producer, ProducerConfig
from kwire.cli.script_twins.console_producer import read_lines
from kwire.errors import KafkaError
from kwire.wire.compression import Codec
from kwire.wire.json_records import JsonRecordError, parse_record
from kwire.wire.records import Headers, Record

_ACKS = {"0": 0, "1": 1, "all": -1}
_MAX_BLOCK_MS = 10_000


class _NewRecord(NamedTuple):
    """One record to send; ``partition`` and ``timestamp_ms`` are None where the input has none."""

    key: bytes | None
    value: bytes | None
    headers: Headers
    partition: int | None
    timestamp_ms: int | None


@click.command(
    epilog="""\b
Examples:
  echo hello | kwire produce messages
  kwire produce messages "{'user_id': 1, 'recipient_id': 2, 'message': 'Hi.'}"
  printf 'alice=1\\nbob=2\\n' | kwire produce scores --key-separator = --header source=test
  kwire consume orders --from-beginning --until-end --json | kwire produce copy --json
"""
)
@click.argument("topic", shell_complete=complete_topic)
@click.argument("values", metavar="[VALUE]...", nargs=-1)
@click.option("--key", help="The key of every record.")
@click.option("--key-separator", metavar="TEXT", help="Text between key and value on each line, such as = in alice=1.")
@click.option(
    "--header", "headers", multiple=True, metavar="NAME=VALUE", help="A header of every record; may be repeated."
)
@click.option(
    "-p",
    "--partition",
    type=click.IntRange(min=0),
    metavar="N",
    help="The partition to send to. [default: chosen by the key]",
)
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help='Each line is a JSON object: {"key": ..., "value": ..., "headers": [[name, value]], "partition": 0}.',
)
@click.option(
    "--compression",
    type=click.Choice([codec.name.lower() for codec in Codec]),
    default="none",
    show_default=True,
    help="How batches are compressed.",
)
@click.option(
    "--acks",
    type=click.Choice(list(_ACKS)),
    default="all",
    show_default=True,
    help="Which replicas must have a record before it counts as sent: none (0), the leader (1), all in sync (all).",
)
@broker_options
def produce(
    *,
    topic: str,
    values: tuple[str, ...],
    bootstrap: str | None,
    config: str | None,
    key: str | None,
    key_separator: str | None,
    headers: tuple[str, ...],
    partition: int | None,
    as_json: bool,
    compression: str,
    acks: str,
) -> None:
    """Write each VALUE, or else each line of standard input, to a TOPIC.

    The broker creates a topic that does not exist, unless auto.create.topics.enable is false. Lines are sent as
    they are read. Nothing is printed to standard output; on a terminal the number of records is printed to standard
    error. If records could not be sent, their number and the reason are printed there, and the exit code is 1.
    """
    if key is not None and (key_separator is not None or as_json):
        raise click.UsageError("--key gives all records one key; it cannot be used with --key-separator or --json")
    if key_separator is not None and as_json:
        raise click.UsageError("--key-separator is for lines of text; it cannot be used with --json")
    if key_separator == "":
        raise click.UsageError("--key-separator must not be empty")
    reader = LineReader(parse_key=key_separator is not None, key_separator=(key_separator or "\t").encode())
    fixed_key = None if key is None else key.encode()
    fixed_headers = tuple(_header(text) for text in headers)
    failures: list[KafkaError | ClientError] = []

    def undelivered(_topic: str, _record: Record, error: KafkaError | ClientError) -> None:
        failures.append(error)

    with asking(bootstrap, config) as cluster:
        sent = 0
        how = ProducerConfig(acks=_ACKS[acks], codec=Codec[compression.upper()], max_block_ms=_MAX_BLOCK_MS)
        producer = Producer(cluster, how, undelivered)
        lines: Iterable[bytes] = (value.encode() for value in values) if values else read_lines(producer.flush)
        try:
            for record in _records(lines, reader, as_json=as_json):
                producer.send(
                    topic,
                    record.key if fixed_key is None else fixed_key,
                    record.value,
                    (*fixed_headers, *record.headers),
                    partition=record.partition if partition is None else partition,
                    timestamp_ms=record.timestamp_ms,
                )
                sent += 1
                if failures and isinstance(failures[0], NoSuchTopic):
                    break  # the next record would wait just as long for the topic
        except (LineError, JsonRecordError) as error:
            producer.flush()
            fail(f"{error}; {_counted(sent - len(failures))} sent before it")
        except KeyboardInterrupt:
            pass
        producer.flush()
    if failures:
        fail(_explained(topic, failures, sent, servers_of(bootstrap, client_settings(config))))
    if sys.stderr.isatty():
        note(f"{_counted(sent)} sent to {topic}")


def _records(lines: Iterable[bytes], reader: LineReader, *, as_json: bool) -> Iterator[_NewRecord]:
    for number, line in enumerate(lines, start=1):
        if as_json:
            if line.strip():
                yield _NewRecord(*parse_record(line, number))
            continue
        read: Line = reader.read(line, number)
        yield _NewRecord(read.key, read.value, read.headers, None, None)


def _header(text: str) -> tuple[str, bytes | None]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise click.UsageError(f"--header {text}: write NAME=VALUE")
    return name, value.encode()


def _explained(topic: str, failures: list[KafkaError | ClientError], sent: int, servers: str) -> str:
    first = failures[0]
    if isinstance(first, NoSuchTopic):
        return (
            f"there is no topic {topic}, and the broker does not create topics automatically.\n"
            f"Create it: kwire topics create {topic}"
        )
    reason = refusal(first) if isinstance(first, KafkaError) else str(first)
    hint = (
        f".\nLook closer: kwire doctor {servers.partition(',')[0]}"
        if isinstance(first, CannotConnect | NoSuchHost)
        else ""
    )
    return f"{len(failures)} of {_counted(sent)} could not be sent: {reason}{hint}"


def _counted(number: int) -> str:
    return f"{number} record{'s' if number != 1 else ''}"
