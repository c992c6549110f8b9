"""``kwire clients``: the connected clients of a broker that was started with ``--control``, and their pushed metrics.

Responsible for: the command line and its tables. Must not depend on: how the broker answers HTTP.

Exit code 1 when the broker refuses or cannot be reached.
"""

from __future__ import annotations

import json
from typing import Any

import click

from kwire.cli.control.control_command import CommandClient, control_options, examples, path
from kwire.cli.tables import print_table

_CLIENT_COLUMNS = ("CLIENT-ID", "PEER", "SOFTWARE", "PRINCIPAL", "LISTENER", "REQUESTS", "METRICS")
_METRIC_COLUMNS = ("CLIENT-ID", "METRIC", "LABELS", "VALUE")


@click.command(
    epilog=examples(
        "kwire serve --control 9644 --set kwire.client.metrics.sink=log",
        "kwire clients",
        "kwire clients --metrics --client-id orders --prefix org.apache.kafka.producer.record",
    )
)
@control_options
@click.option("--client-id", metavar="ID", help="Only clients with this client.id.")
@click.option("--metrics", is_flag=True, help="Show the last values of the metrics that they have pushed.")
@click.option("--prefix", metavar="TEXT", default="", help="Only metrics whose names begin so; implies --metrics.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def clients(url: str, token: str | None, client_id: str | None, *, metrics: bool, prefix: str, as_json: bool) -> None:
    """List the connected clients, one line for each connection.

    METRICS is the number of metrics that a client has pushed; clients push where kwire.client.metrics.sink=log is set
    and a subscription asks for it (docs/client-metrics.md).
    """
    shows_metrics = metrics or bool(prefix)
    view = "client-metrics" if shows_metrics else "connections"
    _, answer = CommandClient(url, token, "clients").call("GET", path(view))
    found = [each for each in answer if client_id is None or each["client_id"] == client_id]
    if shows_metrics:
        found = [each for each in found if each["name"].startswith(prefix)]
    if as_json:
        click.echo(json.dumps(found, indent=2))
    elif shows_metrics:
        print_table(_METRIC_COLUMNS, sorted(map(_metric, found)))
    else:
        print_table(_CLIENT_COLUMNS, map(_client, found))


def _client(shown: dict[str, Any]) -> tuple[object, ...]:
    software = " ".join(part for part in (shown["software"], shown["software_version"]) if part)
    return (
        shown["client_id"],
        shown["peer"],
        software or None,
        shown["principal"],
        shown["listener"],
        shown["requests"],
        shown["metrics"] or None,
    )


def _metric(shown: dict[str, Any]) -> tuple[str, str, str, str]:
    labels = ",".join(f"{name}={value}" for name, value in shown["labels"].items())
    return shown["client_id"] or "-", shown["name"], labels or "-", f"{shown['value']:.6g}"
