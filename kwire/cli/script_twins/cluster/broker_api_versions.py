"""kafka-broker-api-versions: which requests each broker serves, and at which versions.

Responsible for: the flags and the output of the official script. Must not depend on: the wire.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from kwire.cli.connections.client import Node
from kwire.cli.connections.connection import ClientError, Connection
from kwire.cli.java.exits import Failure
from kwire.cli.java.options import BOOTSTRAP, COMMAND_CONFIG, parse
from kwire.cli.script_twins.common import bootstrap_of, open_cluster
from kwire.wire import spec
from kwire.wire.codec import api_keys, request_class
from kwire.wire.messages import InitProducerIdRequest

NAME: Final = "kafka-broker-api-versions"
ABOUT: Final = "Show which requests each broker serves, and at which versions."

OPTIONS: Final = (BOOTSTRAP, COMMAND_CONFIG)

# Java's clients do not use the newest version of these, as it may still change.
_STABLE: Final = {InitProducerIdRequest.KEY: 5}


def main(argv: Sequence[str]) -> int:
    parsed = parse(NAME, ABOUT, OPTIONS, argv)
    parsed.require("bootstrap-server")
    with open_cluster(parsed, NAME, bootstrap_of(parsed)) as cluster:
        try:
            nodes = cluster.nodes()
        except ClientError as error:
            where = ", ".join(f"{each} (id: -1 rack: null isFenced: false)" for each in cluster.bootstrap)
            raise Failure(f"Request METADATA failed on brokers [{where}]\n{error}") from error
        for node in nodes:
            name = f"{node.host}:{node.port} (id: {node.id} rack: {node.rack or 'null'} isFenced: false)"
            try:
                lines = _ranges(cluster.node(node.id), node)
            except ClientError as error:
                print(f"{name} -> ERROR: {error}")
                continue
            print(f"{name} -> (\n\t" + ",\n\t".join(lines) + "\n)")
    return 0


def _ranges(connection: Connection, _node: Node) -> list[str]:
    """One line for each request that clients may send, and for each that this broker alone knows."""
    served = connection.api_versions
    lines = []
    for key in sorted({*_client_keys(), *served}):
        name = request_class(key).NAME.removesuffix("Request") if key in api_keys() else "UNKNOWN"
        if key not in served:
            lines.append(f"{name}({key}): UNSUPPORTED")
            continue
        low, high = served[key]
        lines.append(f"{name}({key}): {low if low == high else f'{low} to {high}'} [usable: {_usable(key, low, high)}]")
    return lines


def _usable(key: int, low: int, high: int) -> str:
    if key not in api_keys():
        return "UNSUPPORTED"
    ours = request_class(key).VERSIONS
    usable = min(high, _STABLE.get(key, ours.highest))
    return str(usable) if usable >= max(low, ours.lowest) else "UNSUPPORTED"


def _client_keys() -> list[int]:
    return [key for key in api_keys() if "broker" in spec.load(request_class(key).NAME).listeners]
