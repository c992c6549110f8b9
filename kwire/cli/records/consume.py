"""``kwire consume``: read records of topics.

Responsible for: the command line, where to begin and when to end, and how a record is shown. Must not depend on: groups
and fetching (kafka-python has them, see ``kafka_python_clients``; share groups ``share_consumer``).
"""

from __future__ import annotations

import json
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from types import FrameType
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from kwire.cli.admin.offsets import EARLIEST, LATEST, list_offsets
from kwire.cli.admin.topics import list_topics
from kwire.cli.connections.broker_option import (
    asking,
    broker_options,
    client_settings,
    explained,
    fail,
    note,
    servers_of,
)
from kwire.cli.connections.client import Cluster, no_partition
from kwire.cli.connections.client_config import ConfigError
from kwire.cli.records import kafka_python_clients
from kwire.cli.records.record_format import FormatError, compile_format
from kwire.cli.records.share_consumer import ShareConsumer
from kwire.cli.topic_names import complete_topic, missing
from kwire.errors import KafkaError
from kwire.wire.batches.json_records import record_fields

if TYPE_CHECKING:
    from kwire.cli.records.decoded_records import RecordTexts

_POLL_MS = 200
_SHARED_MAX = 500
_WAIT_S = 0.5
_EARLIEST, _LATEST = "earliest", "latest"


@click.command(
    epilog="""\b
Examples:
  kwire consume messages --from-beginning
  kwire consume messages --group readers --max-messages 10
  kwire consume tasks --share workers
  kwire consume messages --offset -5 --format '%p:%o %k %s\\n'
  kwire consume messages --from-beginning --until-end --json | jq .value
"""
)
@click.argument("topics", metavar="TOPIC...", nargs=-1, required=True, shell_complete=complete_topic)
@click.option("--from-beginning", is_flag=True, help="Begin at the earliest offset, not at the end.")
@click.option("-g", "--group", metavar="GROUP", help="Read as a member of this group, and commit its offsets.")
@click.option(
    "--share", metavar="GROUP", help="Read as a member of this share group: each record goes to one of its members."
)
@click.option("-n", "--max-messages", type=click.IntRange(min=1), metavar="N", help="End after so many records.")
@click.option("-e", "--until-end", is_flag=True, help="End after the last record that exists at the start.")
@click.option("-p", "--partition", type=click.IntRange(min=0), metavar="N", help="Read this partition alone.")
@click.option(
    "-o",
    "--offset",
    metavar="WHERE",
    help="Where to begin in each partition: beginning, end, an offset, -N for the last N records, or a time such as"
    " 2026-01-31T12:00 (of this machine).",
)
@click.option("--read-committed", is_flag=True, help="Leave out open and aborted transactions.")
@click.option(
    "-v",
    "--verbose",
    is_flag=True,
    help="Show partition, offset, time, key and headers before the value, with tabs between.",
)
@click.option("--json", "as_json", is_flag=True, help="Print each record as a JSON object on a line of its own.")
@click.option(
    "-f",
    "--format",
    "layout",
    metavar="FORMAT",
    help=r"Print each record as kcat does: %s value, %k key, %t topic, %p partition, %o offset, %T timestamp,"
    r" %h headers, %S and %K lengths, and \n.",
)
@click.option(
    "--schema-registry",
    envvar="KWIRE_SCHEMA_REGISTRY",
    metavar="URL",
    help="Decode keys and values by this schema registry, such as http://localhost:8081; needs kwire[schemas]."
    " KWIRE_SCHEMA_REGISTRY_TOKEN has a bearer token, ..._CA a file of certificates. [env: KWIRE_SCHEMA_REGISTRY]",
)
@broker_options
def consume(
    *,
    topics: tuple[str, ...],
    bootstrap: str | None,
    config: str | None,
    from_beginning: bool,
    group: str | None,
    share: str | None,
    max_messages: int | None,
    until_end: bool,
    partition: int | None,
    offset: str | None,
    read_committed: bool,
    verbose: bool,
    as_json: bool,
    layout: str | None,
    schema_registry: str | None,
) -> None:
    """Print records of TOPICs as they come, one a line, until Ctrl-C.

    Without --group it reads all partitions and commits no offsets. It waits for a topic that does not exist yet,
    except with --until-end. With --schema-registry, keys and values are printed as JSON; --json has them as "decoded".
    """
    if partition is not None and (group is not None or len(topics) > 1):
        raise click.UsageError("--partition is for one topic, and without --group")
    if offset is not None and group is not None:
        raise click.UsageError("--offset is without --group, which begins where it has committed")
    if offset is not None and from_beginning:
        raise click.UsageError("--from-beginning and --offset are two places to begin at")
    if sum([verbose, as_json, layout is not None]) > 1:
        raise click.UsageError("--verbose, --json and --format exclude each other")
    texts = _texts(schema_registry)
    show = _shown_as(layout, verbose=verbose, as_json=as_json, texts=texts)
    if share is not None:
        _check_share(places=(group, partition, offset), reads=(from_beginning, until_end, read_committed))
        with _ended_by_signals() as signals, asking(bootstrap, config) as cluster:
            _waited_for(cluster, topics)
            signals.patient = True
            consumer = ShareConsumer(cluster, share, topics, strict=max_messages is not None)
            _print_shared(consumer, show, max_messages, signals)
        return
    start = None if offset is None else _start(offset)
    settings = {
        "client.id": "kwire-consume",
        **client_settings(config),
        "auto.offset.reset": _EARLIEST if from_beginning else _LATEST,
        "enable.auto.commit": "false",
        "isolation.level": "read_committed" if read_committed else "read_uncommitted",
    }
    if group is not None:
        settings |= {"group.id": group, "enable.auto.commit": "true"}
    servers = servers_of(bootstrap, settings)
    with _ended_by_signals() as signals, asking(bootstrap, config) as cluster:
        if until_end:
            _refuse_unknown(cluster, topics)
        if _waited_for(cluster, topics):
            settings["auto.offset.reset"] = _EARLIEST  # all its records are new
        if partition is not None:
            _refuse_missing(cluster, topics[0], partition)
        starts = None if start is None else _resolved(cluster, _places(cluster, topics, partition), start)
        ends = _ends(cluster, topics, partition, read_committed=read_committed) if until_end else None
        if ends is not None and not ends:
            return
        signals.patient = True
        with explained(servers), _opened(settings, servers) as consumer:
            _begin(consumer, topics, partition, starts)
            _print(consumer, show, max_messages, ends, signals)


def _check_share(*, places: Sequence[object], reads: Sequence[bool]) -> None:
    if any(each is not None for each in places):
        raise click.UsageError("--share cannot be combined with --group, --partition or --offset")
    if any(reads):
        raise click.UsageError(
            "a share group's configs say where it begins and what it reads: kafka-configs --entity-type groups,"
            " share.auto.offset.reset and share.isolation.level"
        )


def _print_shared(consumer: ShareConsumer, show: Callable[[Any], bytes], limit: int | None, signals: _Signals) -> None:
    """Print and accept records. Records that were not printed are released when the command ends."""
    out = sys.stdout.buffer
    count = 0
    try:
        while not signals.asked and (limit is None or count < limit):
            left = _SHARED_MAX if limit is None else limit - count
            consumer.records_max = min(_SHARED_MAX, left)
            for record in consumer.poll(_POLL_MS)[:left]:
                out.write(show(record))
                consumer.acknowledge(record)
                count += 1
            out.flush()
            for topic, index, error in consumer.commit():
                note(f"records of {topic}-{index} were not accepted: {error}")
    finally:
        consumer.close()


class _Ended(BaseException):
    """Raised on Ctrl-C or SIGTERM."""


class _Signals:
    """Ctrl-C and SIGTERM.

    With a consumer the first signal only sets a flag, so that the consumer can leave its group.
    """

    def __init__(self) -> None:
        self.patient = False
        self.asked = False

    def take(self, _number: int, _frame: FrameType | None) -> None:
        if self.asked or not self.patient:
            raise _Ended
        self.asked = True


@contextmanager
def _ended_by_signals() -> Iterator[_Signals]:
    """Let a signal end the block quietly."""
    signals = _Signals()
    before = {number: signal.signal(number, signals.take) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with suppress(_Ended):
            yield signals
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _waited_for(cluster: Cluster, topics: Sequence[str]) -> bool:
    """Wait until all topics exist. True if one did not exist at first."""
    awaited = [topic for topic in topics if topic not in list_topics(cluster)]
    if not awaited:
        return False
    note(f"there is no topic {' or '.join(awaited)} yet: waiting for it")
    while any(topic not in known for known in [list_topics(cluster)] for topic in topics):
        time.sleep(_WAIT_S)
    return True


def _refuse_unknown(cluster: Cluster, topics: Sequence[str]) -> None:
    # A command that reads the existing records only does not wait for a topic.
    known = list_topics(cluster)
    for topic in topics:
        if topic not in known:
            fail(missing(topic, known))


def _refuse_missing(cluster: Cluster, topic: str, partition: int) -> None:
    count = len(list_topics(cluster)[topic].partitions)
    if partition >= count:
        fail(no_partition(topic, partition, count))


def _places(cluster: Cluster, topics: Sequence[str], partition: int | None) -> list[tuple[str, int]]:
    known = list_topics(cluster)
    places = [(topic, item.partition) for topic in topics for item in known[topic].partitions]
    return [place for place in places if partition in (None, place[1])]


def _ends(
    cluster: Cluster, topics: Sequence[str], partition: int | None, *, read_committed: bool
) -> dict[tuple[str, int], int]:
    """Where each partition ends now; partitions that are empty are left out."""
    ends = _looked_up(cluster, _places(cluster, topics, partition), LATEST, read_committed=read_committed)
    return {place: end for place, end in ends.items() if end > 0}


def _looked_up(
    cluster: Cluster, places: Sequence[tuple[str, int]], when: int, *, read_committed: bool = False
) -> dict[tuple[str, int], int]:
    """The offsets at a timestamp, real or special. Raises KafkaError."""
    offsets = {}
    for place, offset in list_offsets(cluster, dict.fromkeys(places, when), read_committed=read_committed).items():
        if isinstance(offset, KafkaError):
            raise offset
        offsets[place] = offset
    return offsets


class _Start(NamedTuple):
    """Where to begin: at a timestamp (real or special), at an offset, or ``last`` records before the end."""

    timestamp: int | None = None
    offset: int | None = None
    last: int | None = None


def _start(where: str) -> _Start:
    """Read --offset."""
    match where.strip().lower():
        case "beginning" | "earliest":
            return _Start(timestamp=EARLIEST)
        case "end" | "latest":
            return _Start(timestamp=LATEST)
        case text if re.fullmatch(r"\d+", text):
            return _Start(offset=int(text))
        case text if re.fullmatch(r"-\d+", text):
            return _Start(last=-int(text))
    try:
        moment = datetime.fromisoformat(where.strip())
    except ValueError:
        raise click.BadParameter(
            f"--offset {where}: write beginning, end, an offset, -N, or a time such as 2026-01-31T12:00"
        ) from None
    return _Start(timestamp=int(moment.timestamp() * 1000))


def _resolved(cluster: Cluster, places: Sequence[tuple[str, int]], start: _Start) -> dict[tuple[str, int], int]:
    """The offset to begin at in each partition. Ends the command where it is out of range."""
    if start.timestamp is not None and start.timestamp < 0:
        return _looked_up(cluster, places, start.timestamp)
    first, end = _looked_up(cluster, places, EARLIEST), _looked_up(cluster, places, LATEST)
    if start.timestamp is not None:
        found = _looked_up(cluster, places, start.timestamp)
        return {place: offset if offset >= 0 else end[place] for place, offset in found.items()}
    if start.last is not None:
        return {place: max(first[place], end[place] - start.last) for place in places}
    assert start.offset is not None
    for topic, partition in places:
        low, high = first[topic, partition], end[topic, partition]
        if not low <= start.offset <= high:
            fail(f"offset {start.offset} is out of range: {topic}-{partition} has offsets {low} to {high}")
    return dict.fromkeys(places, start.offset)


@contextmanager
def _opened(settings: Mapping[str, str], servers: str) -> Iterator[Any]:
    try:
        with kafka_python_clients.connection_losses_noted(servers):
            consumer = kafka_python_clients.consumer(settings, bootstrap=servers)
    except ConfigError as error:
        fail(str(error))
    from kafka.errors import KafkaError as ConsumerFailed

    try:
        with kafka_python_clients.connection_losses_noted(servers):
            yield consumer
    except ConsumerFailed as error:
        fail(str(error))
    finally:
        consumer.close(autocommit=settings["enable.auto.commit"] == "true")


def _begin(
    consumer: Any,
    topics: Sequence[str],
    partition: int | None,
    starts: Mapping[tuple[str, int], int] | None,
) -> None:
    if partition is None and starts is None:
        consumer.subscribe(topics=list(topics))
        return
    from kafka import TopicPartition

    if starts is None:
        assert partition is not None
        consumer.assign([TopicPartition(topics[0], partition)])
        return
    consumer.assign([TopicPartition(*place) for place in starts])
    for place, offset in starts.items():
        consumer.seek(TopicPartition(*place), offset)


def _print(
    consumer: Any,
    show: Callable[[Any], bytes],
    limit: int | None,
    ends: Mapping[tuple[str, int], int] | None,
    signals: _Signals,
) -> None:
    out = sys.stdout.buffer
    count = 0
    while not signals.asked and (limit is None or count < limit):
        for place, records in consumer.poll(timeout_ms=_POLL_MS).items():
            for record in records:
                if limit is not None and count >= limit:
                    # Records that were fetched and not printed must not be committed.
                    consumer.seek(place, record.offset)
                    break
                out.write(show(record))
                count += 1
        out.flush()
        if ends is not None and _is_read(consumer, ends):
            return


def _is_read(consumer: Any, ends: Mapping[tuple[str, int], int]) -> bool:
    """Whether this consumer has reached the end offsets of its partitions."""
    mine = consumer.assignment()
    return bool(mine) and all(consumer.position(place) >= ends.get((place.topic, place.partition), 0) for place in mine)


def _texts(url: str | None) -> RecordTexts | None:
    """What decodes keys and values, until the command ends; None without a schema registry."""
    from kwire.cli.schema_registry_option import RegistryRefused, read_schema_registry

    try:
        registry = read_schema_registry(url)
    except RegistryRefused as refusal:
        fail(str(refusal))
    if registry is None:
        return None
    from kwire.cli.records.decoded_records import RecordTexts

    texts = RecordTexts(registry)
    click.get_current_context().call_on_close(texts.close)
    return texts


def _shown_as(layout: str | None, *, verbose: bool, as_json: bool, texts: RecordTexts | None) -> Callable[[Any], bytes]:
    """The function that makes the bytes to print for a record."""
    if layout is not None:
        try:
            shown = compile_format(layout)
        except FormatError as error:
            raise click.BadParameter(f"--format: {error}") from None
    else:
        line = _as_json if as_json else _as_columns if verbose else _as_value

        def shown(record: Any) -> bytes:
            return line(record) + b"\n"

    if texts is None:
        return shown
    if as_json:
        return lambda record: _as_json(record, texts.decoded(record)) + b"\n"
    return lambda record: shown(texts.replaced(record))


def _as_value(record: Any) -> bytes:
    return b"" if record.value is None else bytes(record.value)


def _as_columns(record: Any) -> bytes:
    moment = datetime.fromtimestamp(record.timestamp / 1000, UTC) if record.timestamp >= 0 else None
    headers = ",".join(f"{name}={_shown(value)}" for name, value in record.headers)
    columns = (
        f"{record.topic}-{record.partition}",
        str(record.offset),
        "-" if moment is None else moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        _shown(record.key),
        headers or "-",
    )
    return "\t".join(columns).encode() + b"\t" + (b"null" if record.value is None else bytes(record.value))


def _shown(content: bytes | None) -> str:
    return "-" if content is None else content.decode(errors="replace")


def _as_json(record: Any, decoded: Mapping[str, Any] | None = None) -> bytes:
    fields = record_fields(
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        timestamp_ms=record.timestamp,
        key=record.key,
        value=record.value,
        headers=tuple(record.headers),
    )
    return json.dumps({**fields, "decoded": decoded} if decoded else fields, ensure_ascii=False).encode()
