"""kafka-groups: list the groups of all types.

Responsible for: the options and the output of the official script. Must not depend on: the wire.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from kwire.cli.admin.groups import ListedGroup, list_groups
from kwire.cli.connections.connection import ClientError, TimedOut
from kwire.cli.java.exits import Failure
from kwire.cli.java.names import error_text, hash_order
from kwire.cli.java.options import BOOTSTRAP, COMMAND_CONFIG, Option, Parsed, Wrong, parse
from kwire.cli.script_twins.common import open_cluster, timed_out
from kwire.errors import KafkaError

NAME: Final = "kafka-groups"
ABOUT: Final = "List the groups of all types."

_TYPES: Final = ("Classic", "Consumer", "Share", "Streams")
_COLUMN_MIN: Final = 20

OPTIONS: Final = (
    BOOTSTRAP,
    COMMAND_CONFIG,
    Option("list", "List groups."),
    Option("group-type", "Only groups of this type: classic, consumer, share or streams.", "TYPE"),
    Option("protocol", "Only groups of this protocol type.", "PROTOCOL"),
    Option("consumer", "Only consumer groups, classic and simple ones included."),
    Option("share", "Only share groups."),
    Option("streams", "Only streams groups."),
)


def main(argv: Sequence[str]) -> int:
    try:
        parsed = parse(NAME, ABOUT, OPTIONS, argv)
    except Wrong as error:
        raise Failure(f"{error}\nOptions: {NAME} --help") from error
    wanted = _check(parsed)
    try:
        with open_cluster(parsed, NAME) as cluster:
            groups = {group.id: group for group in list_groups(cluster)}
    except TimedOut as error:
        raise _failed(timed_out(error, "listNodes")) from error
    except KafkaError as error:
        raise _failed(error_text(error)) from error
    except ClientError as error:
        raise _failed(str(error)) from error
    rows = [
        (each.id, each.type, each.protocol_type) for each in map(groups.__getitem__, hash_order(groups)) if wanted(each)
    ]
    width = max([_COLUMN_MIN, *(len(text) for row in rows for text in row)])
    print(" ".join(f"{heading:<{width}}" for heading in ("GROUP", "TYPE", "PROTOCOL")))
    for row in rows:
        print("".join(f"{text:<{width}} " for text in row))
    return 0


def _check(parsed: Parsed) -> Callable[[ListedGroup], bool]:
    """Refuse combinations that the official script refuses; return the filter."""
    if not parsed.has("bootstrap-server"):
        parsed.refuse("Missing required option(s) [bootstrap-server]")
    if not parsed.has("list"):
        parsed.refuse("Command must include exactly one action: --list.")
    type_name = parsed.value("group-type")
    if type_name is not None and type_name.capitalize() not in _TYPES:
        raise Wrong("--group-type must be a valid group type.")
    parsed.forbid("consumer", ("group-type", "protocol", "share", "streams"))
    parsed.forbid("share", ("consumer", "group-type", "protocol", "streams"))
    parsed.forbid("streams", ("consumer", "group-type", "protocol", "share"))
    protocol = parsed.value("protocol")
    if type_name is not None:
        kind = type_name.capitalize()
        return lambda group: group.type == kind and protocol in (None, group.protocol_type)
    if protocol is not None:
        return lambda group: group.protocol_type == protocol
    if parsed.has("consumer"):
        return lambda group: group.protocol_type in ("consumer", "") or group.type == "Consumer"
    for option in ("share", "streams"):
        if parsed.has(option):
            kind = option.capitalize()
            return lambda group: group.type == kind
    return lambda _group: True


def _failed(reason: str) -> Failure:
    return Failure(f"Error while executing groups command : {reason}", stream="out")
