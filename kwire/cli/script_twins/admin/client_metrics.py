"""kafka-client-metrics: show and change subscriptions to the metrics of clients (KIP-714).

Responsible for: the options and the output of the official script. Must not depend on: the wire, the meaning of a
subscription.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from typing import Final

from kwire.cli.admin.configs import (
    Entry,
    ResourceType,
    alter_configs,
    describe_configs,
    list_config_resources,
)
from kwire.cli.connections.client import Cluster
from kwire.cli.connections.connection import ClientError, TimedOut
from kwire.cli.java.exits import Failure
from kwire.cli.java.names import error_text, hash_order
from kwire.cli.java.options import BOOTSTRAP, COMMAND_CONFIG, Option, Parsed, parse
from kwire.cli.script_twins.common import open_cluster, timed_out
from kwire.errors import KafkaError
from kwire.types import random_uuid, uuid_text

NAME: Final = "kafka-client-metrics"
ABOUT: Final = "Show and change subscriptions to the metrics that clients push."

_ACTIONS: Final = ("alter", "delete", "describe", "list")
_SELECTORS: Final = (
    *("client_id", "client_instance_id", "client_software_name"),
    *("client_software_version", "client_source_address", "client_source_port"),
)

OPTIONS: Final = (
    BOOTSTRAP._replace(many=False),
    COMMAND_CONFIG,
    Option("alter", "Create a subscription, or change one."),
    Option("delete", "Delete a subscription."),
    Option("describe", "Show one subscription, or all."),
    Option("list", "List the names of all subscriptions."),
    Option("name", "Name of the subscription.", "NAME"),
    Option("generate-name", "Give the subscription a random name."),
    Option("interval", "How often clients push, in milliseconds.", "MS"),
    Option(
        "match",
        f"Which clients: selector=pattern,selector=pattern; selectors are {', '.join(_SELECTORS)}.",
        "SELECTORS",
        many=True,
    ),
    Option("metrics", "Which metrics: the beginnings of their names, or * for all.", "PREFIXES", many=True),
)


def main(argv: Sequence[str]) -> int:
    parsed = parse(NAME, ABOUT, OPTIONS, argv)
    _check(parsed)
    try:
        with open_cluster(parsed, NAME) as cluster:
            _run(parsed, cluster)
    except TimedOut as error:
        raise _failed(timed_out(error, "listNodes")) from error
    except KafkaError as error:
        raise _failed(error_text(error)) from error
    except ClientError as error:
        raise _failed(str(error)) from error
    return 0


def _check(parsed: Parsed) -> None:
    """Refuse invalid combinations, with the official messages."""
    if parsed.count(_ACTIONS) != 1:
        parsed.refuse("Command must include exactly one action: --alter, --delete, --describe or --list.")
    if not parsed.has("bootstrap-server"):
        raise Failure("--bootstrap-server must be specified.")
    values = ("generate-name", "interval", "match", "metrics")
    parsed.forbid("delete", values)
    parsed.forbid("describe", values)
    parsed.forbid("list", ("name", *values))
    if parsed.has("alter") and parsed.has("name") == parsed.has("generate-name"):
        raise Failure("One of --name or --generate-name must be specified with --alter.")
    if not re.fullmatch(r"-?\d*", parsed.value("interval") or ""):
        raise Failure("Invalid interval value. Enter an integer, or leave empty to reset.")
    if parsed.has("delete") and not parsed.has("name"):
        raise Failure("A client metrics resource name must be specified with --delete.")


def _run(parsed: Parsed, cluster: Cluster) -> None:
    if parsed.has("alter"):
        _alter(parsed, cluster)
    elif parsed.has("delete"):
        name = parsed.text("name")
        alter_configs(cluster, _KIND, name, delete=[entry.name for entry in describe_configs(cluster, _KIND, name)])
        print(f"Deleted client metrics config for {name}.")
    elif parsed.has("describe"):
        _describe(parsed, cluster)
    else:
        print("\n".join(list_config_resources(cluster, _KIND)))


_KIND: Final = ResourceType.CLIENT_METRICS


def _alter(parsed: Parsed, cluster: Cluster) -> None:
    name = parsed.value("name") or uuid_text(random_uuid(os.urandom))
    given = {
        "interval.ms": parsed.value("interval"),
        "metrics": _joined(parsed, "metrics"),
        "match": _joined(parsed, "match"),
    }
    put = {key: value for key, value in given.items() if value}
    delete = [key for key, value in given.items() if value == ""]
    alter_configs(cluster, _KIND, name, put=put, delete=delete)
    print(f"Altered client metrics config for {name}.")


def _joined(parsed: Parsed, name: str) -> str | None:
    return ",".join(parsed.values(name)) if parsed.has(name) else None


def _describe(parsed: Parsed, cluster: Cluster) -> None:
    name = parsed.value("name")
    names = list_config_resources(cluster, _KIND)
    if name is not None and name not in names:
        print(f"The client metric resource {name} doesn't exist and doesn't have dynamic config.")
        return
    for each in names if name is None else [name]:
        print(f"Client metrics configs for {each} are:")
        for entry in _ordered(describe_configs(cluster, _KIND, each)):
            print(f"  {entry.name}={entry.value}")


def _ordered(entries: Iterable[Entry]) -> list[Entry]:
    by_name = {entry.name: entry for entry in entries}
    return [by_name[name] for name in hash_order(by_name)]


def _failed(reason: str) -> Failure:
    return Failure(f"Error while executing client metrics command : {reason}", stream="out")
