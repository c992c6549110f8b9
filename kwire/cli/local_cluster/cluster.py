"""``kwire cluster``: run several brokers and controllers on this machine, and stop, kill or pause them.

Responsible for: the command line. Must not depend on: how the processes are run
(``kwire.testing.clusters.local_cluster``).
"""

from __future__ import annotations

import signal
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Final

import click

from kwire.cli.local_cluster import cluster_messages
from kwire.cli.local_cluster.cluster_state import data_option, reset, snapshot

if TYPE_CHECKING:
    from kwire.testing.clusters.local_cluster import LocalCluster

_POLL_S: Final = 0.2


@click.group(
    invoke_without_command=True,
    epilog="""\b
Examples:
  kwire cluster                         three brokers, on localhost:9092 to 9094
  kwire cluster kill 2                  in another terminal: end broker 2 at once
  kwire cluster start 2
  kwire cluster reset                   empty all nodes
  kwire cluster snapshot make loaded    keep the state of all nodes; restore loaded
  kwire cluster --brokers 5 --memory    gone when it stops
  kwire cluster --control 9644          then: kwire ctl --url http://127.0.0.1:9644 faults list
  kwire cluster --secure                TLS, login and ACLs
  kwire cluster --controllers apache --controller-count 3 --kafka-home /opt/kafka
""",
)
@click.option("--brokers", type=click.IntRange(1, 20), default=3, show_default=True, help="How many brokers.")
@click.option(
    "--port", type=click.IntRange(0, 65000), default=9092, show_default=True,
    help="The port of broker 1; the other nodes have the next ones. 0 takes free ports.",
)  # fmt: skip
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="A setting of all nodes; may be repeated.")
@click.option(
    "--controllers", type=click.Choice(["kwire", "apache"]), default="kwire", show_default=True,
    help="Whose controllers: kwire's, or those of Apache Kafka, which need Java and a distribution.",
)  # fmt: skip
@click.option(
    "--controller-count", type=click.Choice(["1", "3", "5"]), default="1", show_default=True,
    help="How many controllers of Apache Kafka.",
)  # fmt: skip
@click.option(
    "--kafka-home", type=click.Path(file_okay=False), metavar="DIR",
    help="The directory of Apache Kafka's distribution, for --controllers apache. [default: the variable KAFKA_HOME]",
)  # fmt: skip
@click.option(
    "--secure", is_flag=True,
    help="Serve over TLS with login (SASL_SSL) and ACLs, and use TLS between nodes. The first start makes certificates"
    " and a super user, whose password it prints once.",
)  # fmt: skip
@click.option(
    "--user", "users", multiple=True, metavar="NAME:PASSWORD",
    help="A super user of a cluster with --secure; may be repeated. Other users of the machine can read command lines.",
)  # fmt: skip
@click.option(
    "--control", type=click.IntRange(0, 65000), metavar="PORT",
    help="Serve HTTP for kwire ctl (faults, clock, requests) on each node: broker 1 at this port of 127.0.0.1, the"
    " other nodes at the next ones. 0 takes free ports. Needs kwire[control].",
)  # fmt: skip
@click.option("--memory", is_flag=True, help="Use a temporary directory, deleted at the end.")
@data_option
@click.pass_context
def cluster(ctx: click.Context, /, *, memory: bool, data: Path, control: int | None, **options: Any) -> None:
    """Run brokers and their controllers as processes of this machine, until Ctrl-C.

    If the directory holds a cluster, that cluster starts again with its nodes, ports and settings. Options that
    contradict them are refused.
    """
    if ctx.invoked_subcommand is not None:
        _refuse_before(ctx, ctx.invoked_subcommand)
        return
    options["controller_count"] = int(options["controller_count"])
    options["settings"] = dict(_pair(text, "=", "--set", "KEY=VALUE") for text in options["settings"])
    users = dict(_pair(text, ":", "--user", "NAME:PASSWORD") for text in options.pop("users"))
    given = {
        name: value
        for name, value in options.items()
        if ctx.get_parameter_source(name) is not click.core.ParameterSource.DEFAULT
    }
    if memory:
        with tempfile.TemporaryDirectory(prefix="kwire-cluster-") as folder:
            _run(Path(folder), options, given, users, control)
    else:
        _run(data.absolute(), options, given, users, control)


def _refuse_before(ctx: click.Context, command: str) -> None:
    """Refuse options before a subcommand, which would have no effect: ``--data`` above all selects another cluster."""
    for option in ctx.command.params:
        if ctx.get_parameter_source(option.name or "") is click.core.ParameterSource.COMMANDLINE:
            where = f": write kwire cluster {command} --data DIR" if option.name == "data" else ""
            raise click.UsageError(f"{option.opts[0]} has no effect before {command}{where}")


def _run(
    folder: Path, options: dict[str, Any], given: dict[str, Any], users: dict[str, str], control: int | None
) -> None:
    """``options`` has a value for each option, ``given`` those of the command line; ``control`` is a port."""
    from kwire.cli.local_cluster import forked_node
    from kwire.testing.clusters.local_cluster import LocalCluster
    from kwire.testing.clusters.nodes import ClusterError

    if control is not None:
        _check_control()
    stopping = _Stopping()
    try:
        with ExitStack() as stack:
            if LocalCluster.is_in(folder):
                running = LocalCluster.open(folder)
                stack.enter_context(running.owned())
                running.check_options(**given, users=users)
            else:
                running = LocalCluster.create(folder, **options, users=users)
                stack.enter_context(running.owned())
            running.serve_control(control)
            stack.callback(lambda: LocalCluster.open(folder).stop())
            if forked_node.is_possible():
                forked_node.import_for_nodes(with_control=control is not None)
                running.spawn = forked_node.fork_node
            _start(running)
            running.wait_for_brokers()
            for line in running.store_users(users):
                click.echo(line)
            for node in running.nodes:
                if node.control_url is not None:
                    click.echo(f"control {node.name} {node.control_url}")
            click.echo(f"bootstrap.servers={running.bootstrap_servers}")
            _watch(running, stopping)
    except ClusterError as error:
        raise click.ClickException(str(error)) from error
    except OSError as error:
        raise click.ClickException(f"cannot use {error.filename}: {error.strerror}") from error


def _start(running: LocalCluster) -> None:
    if all(running.state(node) != "stopped" for node in running.nodes):
        click.echo("the nodes of this cluster run already; they stop when this command ends", err=True)
    for node in running.start():
        click.echo(f"ready {node.name} localhost:{node.port}")


def _watch(running: LocalCluster, stopping: _Stopping) -> None:
    """Print what other commands do to the nodes, until a signal, or until no node runs."""
    watch = cluster_messages.NodeWatch(running)
    while not stopping.wanted and watch.goes_on:
        time.sleep(_POLL_S)
        for line in watch.changes(running.open(running.folder)):
            click.echo(line, err=True)
    if not stopping.wanted:
        click.echo("no node runs any more: this command ends", err=True)


class _Stopping:
    """Notes the first SIGINT, SIGTERM or SIGHUP."""

    def __init__(self) -> None:
        self.wanted = False
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._note)

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        self.wanted = True


def _check_control() -> None:
    from kwire.cli.control_address import ControlRefused, read_control

    try:
        read_control("127.0.0.1:0", None)
    except ControlRefused as refusal:
        raise click.ClickException(str(refusal)) from None


def _pair(text: str, separator: str, option: str, form: str) -> tuple[str, str]:
    key, found, value = text.partition(separator)
    if not found or not key:
        raise click.BadParameter(f"{text!r} is not {form}", param_hint=option)
    return key, value


def _on_cluster(data: Path, call: Callable[[LocalCluster], str]) -> None:
    """Call with the cluster, and print the text that it returns."""
    from kwire.testing.clusters.local_cluster import LocalCluster
    from kwire.testing.clusters.nodes import ClusterError

    try:
        click.echo(call(LocalCluster.open(data.absolute())))
    except ClusterError as error:
        raise click.ClickException(str(error)) from error


@cluster.command(
    epilog="""\b
Examples:
  kwire cluster status
"""
)
@data_option
def status(data: Path) -> None:
    """Show each node: its address, process and state."""

    def show(running: LocalCluster) -> str:
        lines = []
        for node in running.nodes:
            state = running.state(node)
            pid = f"pid {node.pid}" if state != "stopped" else ""
            lines.append(f"{node.name:<16}localhost:{node.port:<8}{state:<10}{pid}".rstrip())
        return "\n".join(lines)

    _on_cluster(data, show)


@cluster.command(
    epilog="""\b
Examples:
  kwire cluster stop 2
  kwire cluster stop          all of it
"""
)
@click.argument("node", type=int, required=False)
@data_option
def stop(node: int | None, data: Path) -> None:
    """Stop NODE cleanly, or the whole cluster."""

    def act(running: LocalCluster) -> str:
        if node is None:
            names = [one.name for one in running.nodes if running.state(one) != "stopped"]
            running.stop()
            return cluster_messages.all_stopped(names)
        running.stop_node(node)
        return cluster_messages.stopped(running, running.node(node))

    _on_cluster(data, act)


@cluster.command(
    epilog="""\b
Examples:
  kwire cluster start 2
"""
)
@click.argument("node", type=int)
@data_option
def start(node: int, data: Path) -> None:
    """Start NODE, which was stopped or killed."""

    def act(running: LocalCluster) -> str:
        running.start_node(node)
        return f"started {running.node(node).name} at localhost:{running.node(node).port}"

    _on_cluster(data, act)


@cluster.command(
    epilog="""\b
Examples:
  kwire cluster kill 2
"""
)
@click.argument("node", type=int)
@data_option
def kill(node: int, data: Path) -> None:
    """Kill NODE at once (SIGKILL)."""

    def act(running: LocalCluster) -> str:
        running.kill(node)
        return cluster_messages.killed(running, running.node(node))

    _on_cluster(data, act)


@cluster.command(
    epilog="""\b
Examples:
  kwire cluster pause 2
"""
)
@click.argument("node", type=int)
@data_option
def pause(node: int, data: Path) -> None:
    """Pause the process of NODE, as if its machine hung (SIGSTOP)."""

    def act(running: LocalCluster) -> str:
        running.pause(node)
        return cluster_messages.paused(running, running.node(node))

    _on_cluster(data, act)


@cluster.command(
    epilog="""\b
Examples:
  kwire cluster resume 2
"""
)
@click.argument("node", type=int)
@data_option
def resume(node: int, data: Path) -> None:
    """Resume a paused NODE."""

    def act(running: LocalCluster) -> str:
        running.resume(node)
        return f"resumed {running.node(node).name}"

    _on_cluster(data, act)


cluster.add_command(reset)
cluster.add_command(snapshot)
