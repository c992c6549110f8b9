"""``kwire produce``: write records to a topic, from arguments or standard input.

Responsible for: the command line, and how an argument, a line or a JSON object becomes a record. Must not depend on:
batches and leaders (``kwire.cli.records.producer`` has them).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from kwire.cli.connections.broker_option import (
    asking,
    at,
    broker_options,
    client_settings,
    fail,
    note,
    refusal,
    servers_of,
)
from kwire.cli.connections.connection import CannotConnect, ClientError, NoSuchHost
from kwire.cli.records.lines import Line, LineError, LineReader
from kwire.cli.records.producer import NoSuchTopic, Producer, ProducerConfig
from kwire.cli.records.standard_input import read_lines
from kwire.cli.topic_names import complete_topic
from kwire.errors import KafkaError
from kwire.schemas.problems import NotEncoded
from kwire.wire.batches.compression import Codec
from kwire.wire.batches.json_records import JsonRecordError, parse_record
from kwire.wire.batches.records import Headers, Record

if TYPE_CHECKING:
    from kwire.cli.records.encoded_records import Part, RecordEncoder

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
  kwire produce orders --schema-registry http://localhost:8081 --value-schema orders-value '{"id": 5}'
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
@click.option(
    "--schema-registry",
    envvar="KWIRE_SCHEMA_REGISTRY",
    metavar="URL",
    help="The schema registry of --key-schema and --value-schema; needs kwire[schemas]. [env: KWIRE_SCHEMA_REGISTRY]",
)
@click.option(
    "--value-schema",
    metavar="SCHEMA",
    help="Values are JSON, and encoded by the latest schema of this subject, or by id.",
)
@click.option("--value-message", metavar="NAME", help="The message of Protobuf that values are. [default: the first]")
@click.option("--key-schema", metavar="SCHEMA", help="The same for keys.")
@click.option("--key-message", metavar="NAME", help="The message of Protobuf that keys are. [default: the first]")
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
    schema_registry: str | None,
    **schemas: str | None,
) -> None:
    """Write each VALUE, or else each line of standard input, to a TOPIC.

    The broker creates a topic that does not exist, unless auto.create.topics.enable is false. Lines are sent as
    they are read. Nothing is printed to standard output; on a terminal the number of records is printed to standard
    error. If records could not be sent, their number and the reason are printed there, and the exit code is 1.

    With --value-schema and --key-schema, values and keys are encoded as the serializers of a schema registry do it.
    """
    if key is not None and (key_separator is not None or as_json):
        raise click.UsageError("--key gives all records one key; it cannot be used with --key-separator or --json")
    if key_separator is not None and as_json:
        raise click.UsageError("--key-separator is for lines of text; it cannot be used with --json")
    if key_separator == "":
        raise click.UsageError("--key-separator must not be empty")
    reader = LineReader(parse_key=key_separator is not None, key_separator=(key_separator or "\t").encode())
    encoder = _encoder(schema_registry, schemas)
    fixed_key = None if key is None else _fixed_key(key, encoder)
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
            for record in _records(lines, reader, as_json=as_json, encoder=encoder):
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


def _records(
    lines: Iterable[bytes], reader: LineReader, *, as_json: bool, encoder: RecordEncoder | None
) -> Iterator[_NewRecord]:
    for number, line in enumerate(lines, start=1):
        if as_json:
            if line.strip():
                record = _NewRecord(*parse_record(line, number))
                yield record if encoder is None else _encoded(record, _json_texts(line), encoder, number)
            continue
        read: Line = reader.read(line, number)
        record = _NewRecord(read.key, read.value, read.headers, None, None)
        yield record if encoder is None else _encoded(record, {"key": read.key, "value": read.value}, encoder, number)


def _encoder(registry: str | None, schemas: Mapping[str, str | None]) -> RecordEncoder | None:
    """What encodes keys and values, until the command ends; None without a schema."""
    from kwire.cli.records.encoded_records import PARTS, RecordEncoder, read_schema

    for part in PARTS:
        if schemas[f"{part}_message"] is not None and schemas[f"{part}_schema"] is None:
            raise click.UsageError(f"--{part}-message is for --{part}-schema")
    for name, text in schemas.items():
        if text == "":
            raise click.UsageError(f"--{name.replace('_', '-')} must not be empty")
    given = {part: schemas[f"{part}_schema"] for part in PARTS}
    choices = {part: read_schema(text, schemas[f"{part}_message"]) for part, text in given.items() if text is not None}
    if not choices:
        return None
    if registry is None:
        raise click.UsageError("--key-schema and --value-schema need --schema-registry")
    from kwire.cli.schema_registry_option import RegistryRefused, read_schema_registry

    try:
        address = read_schema_registry(registry)
    except RegistryRefused as refusal:
        fail(str(refusal))
    assert address is not None
    encoder = RecordEncoder(address, choices)
    click.get_current_context().call_on_close(encoder.close)
    return encoder


def _fixed_key(key: str, encoder: RecordEncoder | None) -> bytes:
    if encoder is None or not encoder.encodes("key"):
        return key.encode()
    try:
        return encoder.encode("key", key)
    except NotEncoded as error:
        fail(f"--{error}")


def _json_texts(line: bytes) -> dict[Part, bytes | None]:
    """Give key and value of a record in JSON as texts of JSON."""
    fields = json.loads(line)

    def text(value: object) -> bytes | None:
        return None if value is None else json.dumps(value).encode()

    return {"key": text(fields.get("key")), "value": text(fields["value"])}


def _encoded(record: _NewRecord, texts: Mapping[Part, bytes | None], encoder: RecordEncoder, number: int) -> _NewRecord:
    """Encode those parts of a record that have a schema; null stays null. Raises LineError."""
    parts: dict[str, Any] = {}
    try:
        for part, text in texts.items():
            if text is not None and encoder.encodes(part):
                parts[part] = encoder.encode(part, text.decode())
    except NotEncoded as error:
        raise LineError(f"line {number}, {error}") from None
    except UnicodeDecodeError:
        raise LineError(f"line {number} is not UTF-8") from None
    return record._replace(**parts)


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
            f"Create it: kwire topics create {topic}{at(servers)}"
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
