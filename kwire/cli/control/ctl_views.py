"""The commands of ``kwire ctl`` that show the state of a broker or a proxy, such as ``kwire ctl groups``.

Responsible for: these commands. Must not depend on: how the broker makes its views.
"""

from __future__ import annotations

import click

from kwire.cli.control.control_command import CommandClient, examples, pair, path, show
from kwire.cli.durations import duration


@click.command(epilog=examples("kwire ctl groups", "kwire ctl groups billing"))
@click.argument("group", required=False)
@click.pass_obj
def groups(client: CommandClient, group: str | None) -> None:
    """Show all groups, or one with its members, offsets and lag."""
    show(client.call("GET", "/v1/groups" if group is None else path("groups", group)))


@click.command(epilog=examples("kwire ctl transactions"))
@click.pass_obj
def transactions(client: CommandClient) -> None:
    """Show transactional ids with their states and partitions."""
    show(client.call("GET", "/v1/transactions"))


@click.command(epilog=examples("kwire ctl producers orders"))
@click.argument("topic")
@click.pass_obj
def producers(client: CommandClient, topic: str) -> None:
    """Show the producers that wrote to a topic."""
    show(client.call("GET", path("topics", topic, "producers")))


@click.command(epilog=examples("kwire ctl connections"))
@click.pass_obj
def connections(client: CommandClient) -> None:
    """Show the clients that are connected."""
    show(client.call("GET", "/v1/connections"))


@click.command(epilog=examples("kwire ctl nodes"))
@click.pass_obj
def nodes(client: CommandClient) -> None:
    """Show the brokers behind a proxy.

    Each has the address that clients get for it. A broker has none of these.
    """
    show(client.call("GET", "/v1/nodes"))


@click.command(epilog=examples("kwire ctl locks billing"))
@click.argument("group")
@click.pass_obj
def locks(client: CommandClient, group: str) -> None:
    """Show acquisition locks of a share group.

    They are runs of records that its members have acquired and not acknowledged.
    """
    show(client.call("GET", path("groups", group, "locks")))


@click.command(
    epilog=examples(
        "kwire ctl until group=billing state=Stable members=2",
        "kwire ctl until group=billing lag=0 --timeout 1m",
        "kwire ctl until topic=orders records=10",
    )
)
@click.argument("pairs", nargs=-1, required=True, metavar="KEY=VALUE...")
@click.option("--timeout", type=duration, default="10s", show_default=True, help="How long to wait, in real time.")
@click.pass_obj
def until(client: CommandClient, pairs: tuple[str, ...], timeout: int) -> None:
    """Wait until a condition holds.

    Conditions: a group with state and members, with lag (at most) or with left (a member id, instance id or client id);
    a topic with records (at least); a transactional_id with state.

    Exit code 3 if the time is over first; the present state is printed.
    """
    show(client.call("POST", "/v1/wait", {**dict(pair(each) for each in pairs), "timeout_ms": timeout}))


@click.command(epilog=examples("kwire ctl metrics | grep lag"))
@click.pass_obj
def metrics(client: CommandClient) -> None:
    """Print the metrics for Prometheus."""
    click.echo(client.text("/metrics"), nl=False)


COMMANDS = (metrics, groups, transactions, producers, connections, nodes, locks, until)
