"""kafka-transactions: list and describe transactions, find those that hang, and abort them.

Responsible for: the sub-commands and the tables of the official script. Must not depend on: the wire.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from typing import Final, NamedTuple

from kwire.cli.admin import transactions as admin
from kwire.cli.admin.topics import describe_topics, list_topics
from kwire.cli.connections.client import Cluster
from kwire.cli.connections.connection import ClientError, TimedOut
from kwire.cli.java.arguments import Arguments
from kwire.cli.java.exits import Failure
from kwire.cli.java.names import error_text, number_order, partition_order
from kwire.cli.script_twins.common import cluster_at, read_config, timed_out
from kwire.errors import Code, KafkaError

NAME: Final = "kafka-transactions"

_MINUTE_MS: Final = 60_000
# The official script asks about so many partitions in one request.
_BATCH: Final = 500

_LIST_HEADERS: Final = ("TransactionalId", "Coordinator", "ProducerId", "TransactionState")
_DESCRIBE_HEADERS: Final = (
    "CoordinatorId",
    "TransactionalId",
    "ProducerId",
    "ProducerEpoch",
    "TransactionState",
    "TransactionTimeoutMs",
    "CurrentTransactionStartTimeMs",
    "TransactionDurationMs",
    "TopicPartitions",
)
_PRODUCER_HEADERS: Final = (
    "ProducerId",
    "ProducerEpoch",
    "LatestCoordinatorEpoch",
    "LastSequence",
    "LastTimestamp",
    "CurrentTransactionStartOffset",
)
_HANGING_HEADERS: Final = (
    "Topic",
    "Partition",
    "ProducerId",
    "ProducerEpoch",
    "CoordinatorEpoch",
    "StartOffset",
    "LastTimestamp",
    "Duration(min)",
)


class _OpenTransaction(NamedTuple):
    topic: str
    partition: int
    producer: admin.ProducerState


def main(argv: Sequence[str]) -> int:
    given = _parser().read(argv)
    config = read_config(given.command_config) if given.command_config else {}
    with cluster_at(given.bootstrap_server, config, NAME) as cluster:
        _COMMANDS[given.command](cluster, given)
    return 0


def _parser() -> Arguments:
    parser = Arguments(
        prog="kafka-transactions.sh",
        description="Show the state of transactions, and end those that hang.",
        help_code=1,
        version=True,
    )
    parser.add_argument("--command-config", metavar="FILE", help="properties file with client settings")
    parser.add_argument("--bootstrap-server", metavar="host:port", required=True, help="broker(s) to ask first")
    listing = parser.add_command("list", "list transactions")
    listing.add_int("--duration-filter", bits=64, help="only transactions that run longer, in ms; all when negative")
    listing.add_argument("--transactional-id-pattern", help="only transactional ids that match (RE2)")
    describe = parser.add_command("describe", "describe the state of an active transactional-id")
    describe.add_argument("--transactional-id", required=True, help="transactional id")
    producers = parser.add_command("describe-producers", "describe the producers of a partition")
    producers.add_int("--broker-id", help="the broker to ask; the leader when left out")
    producers.add_argument("--topic", required=True, help="topic name")
    producers.add_int("--partition", required=True, help="partition number")
    abort = parser.add_command("abort", "abort a hanging transaction")
    abort.add_argument("--topic", required=True, help="topic name")
    abort.add_int("--partition", required=True, help="partition number")
    abort.add_int("--start-offset", bits=64, help="start offset of the transaction (brokers since 3.0)")
    abort.add_int("--producer-id", bits=64, help="producer id (older brokers)")
    abort.add_int("--producer-epoch", bits=16, help="producer epoch (older brokers)")
    abort.add_int("--coordinator-epoch", help="coordinator epoch (older brokers)")
    hanging = parser.add_command("find-hanging", "find hanging transactions")
    hanging.add_int("--broker-id", help="the broker whose partitions to search")
    hanging.add_int("--max-transaction-timeout", default=15, help="minutes until an open transaction hangs")
    hanging.add_argument("--topic", help="the topic to search")
    hanging.add_int("--partition", help="the partition to search")
    force = parser.add_command("forceTerminateTransaction", "abort the open transaction of a transactional id")
    force.add_argument("--transactionalId", dest="transactional_id", required=True, help="transactional id")
    return parser


def _list(cluster: Cluster, given: argparse.Namespace) -> None:
    try:
        found = admin.list_transactions(
            cluster, duration_ms=given.duration_filter, pattern=given.transactional_id_pattern
        )
    except (KafkaError, ClientError) as error:
        raise _failed("Failed to list transactions", error, "listTransactions") from error
    _print_table(
        _LIST_HEADERS, [(each.transactional_id, each.coordinator, each.producer_id, each.state) for each in found]
    )


def _describe(cluster: Cluster, given: argparse.Namespace) -> None:
    name = given.transactional_id
    try:
        found = admin.describe_transaction(cluster, name)
    except (KafkaError, ClientError) as error:
        what = f"Failed to describe transaction state of transactional-id `{name}`"
        raise _failed(what, _in_words(error, name), "describeTransactions") from error
    started = found.start_time_ms
    row = (
        found.coordinator,
        name,
        found.producer_id,
        found.producer_epoch,
        found.state,
        found.timeout_ms,
        "None" if started is None else started,
        "None" if started is None else _now_ms() - started,
        ",".join(f"{topic}-{partition}" for topic, partition in partition_order(found.partitions)),
    )
    _print_table(_DESCRIBE_HEADERS, [row])


def _in_words(error: KafkaError | ClientError, transactional_id: str) -> KafkaError | ClientError:
    """Return the Java client's message for a refusal of DescribeTransactions."""
    reasons = {
        Code.TRANSACTIONAL_ID_NOT_FOUND: "because the ID could not be found",
        Code.TRANSACTIONAL_ID_AUTHORIZATION_FAILED: "due to authorization failure",
    }
    if not isinstance(error, KafkaError):
        return error
    request = f"DescribeTransactions request for transactionalId `{transactional_id}`"
    return KafkaError(error.code, f"{request} failed {reasons.get(error.code, 'due to unexpected error')}")


def _describe_producers(cluster: Cluster, given: argparse.Namespace) -> None:
    place = given.topic, given.partition
    try:
        found = admin.describe_producers(cluster, [place], broker_id=given.broker_id)[place]
    except (KafkaError, ClientError) as error:
        where = "leader" if given.broker_id is None else f"broker {given.broker_id}"
        what = f"Failed to describe producers for partition {_text(place)} on {where}"
        raise _failed(what, error, "describeProducers") from error
    rows = [
        (
            each.producer_id,
            each.producer_epoch,
            each.coordinator_epoch,
            each.last_sequence,
            each.last_timestamp_ms,
            "None" if each.transaction_start_offset is None else each.transaction_start_offset,
        )
        for each in found
    ]
    _print_table(_PRODUCER_HEADERS, rows)


def _abort(cluster: Cluster, given: argparse.Namespace) -> None:
    place = given.topic, given.partition
    if given.start_offset is None and given.producer_id is None:
        raise Failure(
            "The transaction to abort must be identified either with --start-offset (for brokers on 3.0 or above) or"
            " with --producer-id, --producer-epoch, and --coordinator-epoch (for older brokers)"
        )
    if given.start_offset is not None:
        producer_id, epoch, coordinator_epoch = _producer_at(cluster, place, given.start_offset)
    else:
        for option in ("producer-epoch", "coordinator-epoch"):
            if getattr(given, option.replace("-", "_")) is None:
                raise Failure(f"Missing required argument --{option}")
        # A transaction that hangs before its first end has coordinator epoch -1; 0 is never above the coordinator's.
        producer_id, epoch, coordinator_epoch = given.producer_id, given.producer_epoch, max(given.coordinator_epoch, 0)
    try:
        admin.abort_transaction(
            cluster, place, producer_id=producer_id, producer_epoch=epoch, coordinator_epoch=coordinator_epoch
        )
    except (KafkaError, ClientError) as error:
        spec = (
            f"AbortTransactionSpec(topicPartition={_text(place)}, producerId={producer_id}, producerEpoch={epoch},"
            f" coordinatorEpoch={coordinator_epoch})"
        )
        worded = _abort_words(error, spec, coordinator_epoch)
        raise _failed(f"Failed to abort transaction {spec}", worded, "abortTransaction") from error


def _abort_words(error: KafkaError | ClientError, spec: str, coordinator_epoch: int) -> KafkaError | ClientError:
    """Return the Java client's message for a refusal of WriteTxnMarkers."""
    if not isinstance(error, KafkaError):
        return error
    reasons = {
        Code.CLUSTER_AUTHORIZATION_FAILED: "failed due to cluster authorization error",
        Code.INVALID_PRODUCER_EPOCH: "failed due an invalid producer epoch",
        Code.TRANSACTION_COORDINATOR_FENCED: (
            f"failed since the provided coordinator epoch {coordinator_epoch} has been fenced by the active coordinator"
        ),
    }
    reason = reasons.get(error.code, f"failed due to unexpected error: {error_text(error)}")
    return KafkaError(error.code, f"WriteTxnMarkers request with {spec} {reason}")


def _producer_at(cluster: Cluster, place: tuple[str, int], start_offset: int) -> tuple[int, int, int]:
    """Find the producer whose transaction begins at an offset: id, epoch and coordinator epoch."""
    try:
        producers = admin.describe_producers(cluster, [place])[place]
    except (KafkaError, ClientError) as error:
        what = f"Failed to validate producer state for partition {_text(place)}"
        raise _failed(what, error, "describeProducers") from error
    for each in producers:
        if each.transaction_start_offset == start_offset:
            return each.producer_id, each.producer_epoch, max(each.coordinator_epoch, 0)
    raise Failure(f"Could not find any open transactions starting at offset {start_offset} on partition {_text(place)}")


def _find_hanging(cluster: Cluster, given: argparse.Namespace) -> None:
    if given.topic is None and given.broker_id is None:
        raise Failure(
            "The `find-hanging` command requires either --topic or --broker-id to limit the scope of the search"
        )
    if given.partition is not None and given.topic is None:
        raise Failure("The --partition argument requires --topic to be provided")
    places = _places_to_search(cluster, given)
    now_ms = _now_ms()
    candidates = [
        each
        for each in _open_transactions(cluster, places, given.broker_id)
        if now_ms - each.producer.last_timestamp_ms > given.max_transaction_timeout * _MINUTE_MS
    ]
    rows = [
        (
            each.topic,
            each.partition,
            each.producer.producer_id,
            each.producer.producer_epoch,
            each.producer.coordinator_epoch,
            each.producer.transaction_start_offset,
            each.producer.last_timestamp_ms,
            (now_ms - each.producer.last_timestamp_ms) // _MINUTE_MS,
        )
        for each in _hanging(cluster, candidates)
    ]
    _print_table(_HANGING_HEADERS, rows)


def _places_to_search(cluster: Cluster, given: argparse.Namespace) -> list[tuple[str, int]]:
    if given.partition is not None:
        return [(given.topic, given.partition)]
    try:
        names = [given.topic] if given.topic is not None else list(list_topics(cluster))
    except (KafkaError, ClientError) as error:
        raise _failed("Failed to list topics", error, "listTopics") from error
    found = []
    try:
        for name, topic in describe_topics(cluster, names).items():
            if isinstance(topic, KafkaError):
                raise topic
            found += [
                (name, item.partition)
                for item in topic.partitions
                if given.broker_id is None or given.broker_id in item.replicas
            ]
    except (KafkaError, ClientError) as error:
        raise _failed(f"Failed to describe {len(names)} topics", error, "describeTopics") from error
    return found


def _open_transactions(
    cluster: Cluster, places: Sequence[tuple[str, int]], broker_id: int | None
) -> list[_OpenTransaction]:
    found = []
    for first in range(0, len(places), _BATCH):
        batch = places[first : first + _BATCH]
        try:
            producers = admin.describe_producers(cluster, batch, broker_id=broker_id)
        except (KafkaError, ClientError) as error:
            where = "Optional.empty" if broker_id is None else f"Optional[{broker_id}]"
            what = f"Failed to describe producers for {len(batch)} partitions on broker {where}"
            raise _failed(what, error, "describeProducers") from error
        found += [
            _OpenTransaction(*place, each)
            for place in partition_order(producers)
            for each in producers[place]
            if each.transaction_start_offset is not None
        ]
    return found


def _hanging(cluster: Cluster, candidates: Sequence[_OpenTransaction]) -> list[_OpenTransaction]:
    """Keep the transactions whose end no coordinator will write."""
    by_producer: dict[int, list[_OpenTransaction]] = {}
    for each in candidates:
        by_producer.setdefault(each.producer.producer_id, []).append(each)
    if not by_producer:
        return []
    try:
        listed = admin.list_transactions(cluster, producer_ids=by_producer)
    except (KafkaError, ClientError) as error:
        what = f"Failed to list transactions for {len(by_producer)} producers"
        raise _failed(what, error, "listTransactions") from error
    transactional_ids = {each.producer_id: each.transactional_id for each in listed}
    expected = {
        producer_id: _expected_partitions(cluster, name, len(transactional_ids))
        for producer_id, name in transactional_ids.items()
    }
    return [
        each
        for producer_id in number_order(by_producer)
        for each in by_producer[producer_id]
        if (each.topic, each.partition) not in expected.get(producer_id, ())
    ]


def _expected_partitions(cluster: Cluster, transactional_id: str, count: int) -> list[tuple[str, int]]:
    """Return the partitions into which the coordinator still writes a marker."""
    try:
        return admin.describe_transaction(cluster, transactional_id).partitions
    except (KafkaError, ClientError) as error:
        if isinstance(error, KafkaError) and error.code is Code.TRANSACTIONAL_ID_NOT_FOUND:
            return []
        raise _failed(f"Failed to describe {count} transactions", error, "describeTransactions") from error


def _force_terminate(cluster: Cluster, given: argparse.Namespace) -> None:
    try:
        admin.force_terminate_transaction(cluster, given.transactional_id)
    except (KafkaError, ClientError) as error:
        what = f"Failed to force terminate transactionalId `{given.transactional_id}`"
        raise _failed(what, error, "fenceProducer") from error


def _failed(what: str, error: KafkaError | ClientError, call: str) -> Failure:
    if isinstance(error, KafkaError):
        reason = error_text(error)
    else:
        reason = timed_out(error, call) if isinstance(error, TimedOut) else str(error)
    return Failure(f"{what}: {reason}. Enable debug logging for additional detail.")


def _print_table(headers: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print columns as wide as their widest value, with a tab behind each."""
    texts = [headers, *([str(value) for value in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    for row in texts:
        print("".join(f"{value:<{width}}\t" for value, width in zip(row, widths, strict=True)))


def _text(place: tuple[str, int]) -> str:
    return f"{place[0]}-{place[1]}"


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


_COMMANDS: Final = {
    "list": _list,
    "describe": _describe,
    "describe-producers": _describe_producers,
    "abort": _abort,
    "find-hanging": _find_hanging,
    "forceTerminateTransaction": _force_terminate,
}
