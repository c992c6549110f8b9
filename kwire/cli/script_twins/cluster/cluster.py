"""kafka-cluster: show the cluster id and the endpoints, and unregister brokers.

Responsible for: the sub-commands of the official script and their output. Must not depend on: the wire.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Final

from kwire.cli.admin import cluster as admin
from kwire.cli.connections.client import Cluster
from kwire.cli.connections.connection import ClientError
from kwire.cli.java.arguments import Arguments, add_servers
from kwire.cli.java.exits import Failure
from kwire.cli.java.names import error_line
from kwire.cli.script_twins.common import cluster_at, read_config
from kwire.errors import Code, KafkaError

NAME: Final = "kafka-cluster"


def main(argv: Sequence[str]) -> int:
    given = _parser().read(argv)
    config = read_config(given.command_config or given.config) if given.command_config or given.config else {}
    with cluster_at(given.bootstrap_server or given.bootstrap_controller, config, NAME) as cluster:
        try:
            if given.command == "cluster-id":
                _print_id(cluster, at_controller=given.bootstrap_controller is not None)
            elif given.command == "unregister":
                _unregister(cluster, given.id)
            else:
                _list_endpoints(cluster, given)
        except KafkaError as error:
            raise Failure(error_line(error)) from error
        except ClientError as error:
            raise Failure(str(error)) from error
    return 0


def _parser() -> Arguments:
    parser = Arguments(prog=NAME, description="Show what a cluster is, or change who belongs to it.", help_code=1)
    for name, text in (
        ("cluster-id", "Show the id of the cluster."),
        ("unregister", "Take a broker's registration away."),
        ("list-endpoints", "List brokers, or controllers, and where they listen."),
    ):
        command = parser.add_command(name, text)
        add_servers(command, short=True)
        command.add_argument("--config", metavar="FILE", help="old spelling of --command-config")
        if name == "unregister":
            command.add_argument("--id", "-i", type=int, required=True, metavar="ID", help="the broker's id")
        if name == "list-endpoints":
            command.add_argument("--include-fenced-brokers", action="store_true", help="list fenced brokers, too")
    return parser


def _print_id(cluster: Cluster, *, at_controller: bool) -> None:
    found = admin.cluster_id(cluster, at_controller=at_controller)
    print(f"Cluster ID: {found}" if found else "No cluster ID found. The Kafka version is probably too old.")


def _unregister(cluster: Cluster, broker_id: int) -> None:
    try:
        admin.unregister_broker(cluster, broker_id)
    except KafkaError as error:
        if error.code is not Code.UNSUPPORTED_VERSION:
            raise
        raise Failure("The target cluster does not support the broker unregistration API.") from error
    print(f"Broker {broker_id} is no longer registered.")


def _list_endpoints(cluster: Cluster, given: argparse.Namespace) -> None:
    controllers = given.bootstrap_controller is not None
    if controllers and given.include_fenced_brokers:
        raise Failure("The option --include-fenced-brokers is only supported with --bootstrap-server option")
    answer = admin.describe_cluster(
        cluster,
        include_fenced=given.include_fenced_brokers,
        endpoint_type=admin.CONTROLLERS if controllers else admin.BROKERS,
    )
    hosts = max([9, *(len(broker.host) for broker in answer.brokers)])
    racks = max([10, *(len(broker.rack or "null") for broker in answer.brokers)])

    def show(*columns: object) -> None:
        broker_id, host, port, rack, state, kind = columns
        extra = "" if controllers else f" {state!s:<10}"
        print(f"{broker_id!s:<10} {host!s:<{hosts}} {port!s:<10} {rack!s:<{racks}}{extra} {kind!s:<15}")

    show("ID", "HOST", "PORT", "RACK", "STATE", "ENDPOINT_TYPE")
    for broker in answer.brokers:
        show(
            broker.broker_id,
            broker.host,
            broker.port,
            broker.rack or "null",
            "fenced" if broker.is_fenced else "unfenced",
            "controller" if controllers else "broker",
        )
