"""kafka-leader-election: elect the preferred leaders of partitions, or any replica.

Responsible for: the options, the JSON file and the output of the official script. Must not depend on: the wire.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

from kwire.cli.admin.elections import elect_leaders
from kwire.cli.connections.connection import ClientError, TimedOut
from kwire.cli.java.exits import Failure
from kwire.cli.java.json_files import JsonFieldError, array, field, integer, read_text, string
from kwire.cli.java.names import error_line, partition_order
from kwire.cli.java.options import BOOTSTRAP, COMMAND_CONFIG, Option, Parsed, Wrong, parse
from kwire.cli.script_twins.common import ADMIN_KEYS, cluster_at, config_of, warn_unused
from kwire.errors import Code, KafkaError

NAME: Final = "kafka-leader-election"
ABOUT: Final = "Elect new leaders for partitions: their preferred replicas, or any replica."

_TIMEOUT_MS: Final = 30_000
_SCOPES: Final = ("topic", "all-topic-partitions", "path-to-json-file")
_TYPES: Final = ("PREFERRED", "UNCLEAN")

OPTIONS: Final = (
    BOOTSTRAP._replace(many=False),
    COMMAND_CONFIG,
    Option("admin.config", "Old spelling of --command-config.", "FILE"),
    Option("election-type", "preferred or unclean.", "TYPE"),
    Option("topic", "The topic of the partition.", "NAME"),
    Option("partition", "The partition of --topic.", "ID", number=True),
    Option("all-topic-partitions", "Every partition of the cluster."),
    Option("path-to-json-file", 'Partitions: {"partitions": [{"topic": "foo", "partition": 1}]}.', "FILE"),
)


def main(argv: Sequence[str]) -> int:
    parsed = parse(NAME, ABOUT, OPTIONS, argv)
    kind = _check(parsed)
    places = _partitions(parsed)
    option = "admin.config" if parsed.has("admin.config") else "command-config"
    if option == "admin.config":
        print(
            "Option --admin.config has been deprecated and will be removed in a future version."
            " Use --command-config instead."
        )
    config = config_of(parsed, option)
    warn_unused(NAME, config, ADMIN_KEYS)
    with cluster_at(
        parsed.text("bootstrap-server"), {"default.api.timeout.ms": str(_TIMEOUT_MS), **config}, NAME
    ) as cluster:
        try:
            results = elect_leaders(cluster, places, unclean=kind == "UNCLEAN")
        except TimedOut as error:
            print("Timeout waiting for election results")
            raise Failure("Timeout waiting for election results") from error
        except KafkaError as error:
            if error.code is Code.CLUSTER_AUTHORIZATION_FAILED:
                print("Not authorized to perform leader election")
                raise Failure("Not authorized to perform leader election") from error
            raise Failure(f"java.util.concurrent.ExecutionException: {error_line(error)}") from error
        except ClientError as error:
            raise Failure(str(error)) from error
    _report(kind, results)
    return 0


def _report(kind: str, results: dict[tuple[str, int], KafkaError | None]) -> None:
    needless = {place for place, error in results.items() if error and error.code is Code.ELECTION_NOT_NEEDED}
    elected = [place for place, error in results.items() if error is None]
    if elected:
        print(f"Successfully completed leader election ({kind}) for partitions {_names(elected)}")
    if needless:
        print(f"Valid replica already elected for partitions {_names(results.keys() & needless)}")
    failed = {place: error for place, error in results.items() if error is not None and place not in needless}
    for place in partition_order(failed):
        name = f"{place[0]}-{place[1]}"
        print(f"Error completing leader election ({kind}) for partition: {name}: {error_line(failed[place])}")
    if failed:
        raise Failure(f"{len(failed)} replica(s) could not be elected")


def _names(places: Any) -> str:
    return ", ".join(f"{topic}-{partition}" for topic, partition in partition_order(sorted(places)))


def _check(parsed: Parsed) -> str:
    """Refuse what the official script refuses; return the type of election."""
    missing = [name for name in ("bootstrap-server", "election-type") if not parsed.has(name)]
    if missing:
        raise Wrong(f"Missing required option(s): {', '.join(missing)}")
    parsed.forbid("admin.config", ["command-config"])
    if parsed.count(_SCOPES) != 1:
        raise Wrong(f"One and only one of the following options is required: {', '.join(_SCOPES)}")
    if parsed.has("topic") and not parsed.has("partition"):
        raise Wrong("Missing required option(s): partition")
    if parsed.has("partition") and not parsed.has("topic"):
        raise Wrong("Option partition is only allowed if topic is used")
    kind = parsed.text("election-type")
    if kind.upper() not in _TYPES:
        raise Wrong(f"Cannot parse argument '{kind}' of option election-type")
    return kind.upper()


def _partitions(parsed: Parsed) -> list[tuple[str, int]] | None:
    """Return the partitions of the line or its file; None for all."""
    path = parsed.value("path-to-json-file")
    if path is not None:
        return _read(path)
    index = parsed.number("partition")
    return None if index is None else [(parsed.text("topic"), index)]


def _read(path: str) -> list[tuple[str, int]]:
    """Read the partitions of a file. Raises Wrong with the official words."""
    try:
        text = read_text(path)
    except Wrong as error:
        raise Wrong(f"java.io.IOException: {error}") from None
    try:
        document = json.loads(text)
    except ValueError:
        raise Wrong("Replica election data is empty") from None
    try:
        items = field(document, "partitions", None)
        if items is None:
            raise Wrong('Replica election data is missing "partitions" field')
        places = [(string(field(item, "topic")), integer(field(item, "partition"))) for item in array(items)]
    except JsonFieldError as error:
        raise Wrong(f"com.fasterxml.jackson.databind.JsonMappingException: {error}") from None
    twice = partition_order(place for place in places if places.count(place) > 1)
    if twice:
        names = ", ".join(f"{topic}-{partition}" for topic, partition in twice)
        raise Wrong(f"Replica election data contains duplicate partitions: [{names}]")
    return list(dict.fromkeys(places))
