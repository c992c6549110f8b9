"""``kwire cluster``: run several brokers and a controller on this machine, and stop, kill or pause them.

Responsible for: the command line. Must not depend on: how the processes are run (``kwire.testing.local_cluster``).
"""

from __future__ import annotations

import signal
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    from kwire.testing.local_cluster import LocalCluster

_FOLDER: Final = "kwire-cluster"
_POLL_S: Final = 0.2

_data = click.option(
    "--data", type=click.Path(file_okay=False, path_type=Path), default=Path(_FOLDER), show_default=True,
    help="The directory of the cluster.",
)  # fmt: skip


@click.group(
    invoke_without_command=True,
    epilog="""\b
Examples:
  kwire cluster                         three brokers, on localhost:9092 to 9094
  kwire cluster kill 2                  in another terminal: end broker 2 at once
  kwire cluster start 2
  kwire cluster --brokers 5 --memory    gone when it stops
""",
)
@click.option("--brokers", type=click.IntRange(1, 20), default=3, show_default=True, help="How many brokers.")
@click.option(
    "--port", type=click.IntRange(0, 65000), default=9092, show_default=True,
    help="The port of broker 1; the other nodes have the next ones. 0 takes free ports.",
)  # fmt: skip
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="A setting of all nodes; may be repeated.")
@click.option("--memory", is_flag=True, help="Use a temporary directory, deleted at the end.")
@_data
@click.pass_context
def cluster(
    ctx: click.Context, *, brokers: int, port: int, settings: tuple[str, ...], memory: bool, data: Path
) -> None:
    """Run brokers and their controller as processes of this machine, until Ctrl-C.

    A directory that holds a cluster starts it again with the brokers, ports and settings that it has; the options
    --brokers, --port and --set count for a new cluster only, and are refused where the cluster has something else.
    """
    if ctx.invoked_subcommand is not None:
        return
    given = {
        name: value
        for name, value in (("brokers", brokers), ("port", port))
        if ctx.get_parameter_source(name) is not click.core.ParameterSource.DEFAULT
    }
    if memory:
        with tempfile.TemporaryDirectory(prefix="kwire-cluster-") as folder:
            _run(Path(folder), brokers, port, _pairs(settings), given)
    else:
        _run(data.absolute(), brokers, port, _pairs(settings), given)


def _run(folder: Path, brokers: int, port: int, settings: dict[str, str], given: dict[str, int]) -> None:
    """``given`` are the options of the command line."""
    from kwire.cli import forked_node
    from kwire.testing.local_cluster import ClusterError, LocalCluster

    stopping = _Stopping()
    try:
        if LocalCluster.is_in(folder):
            running = LocalCluster.open(folder)
            running.check_options(brokers=given.get("brokers"), port=given.get("port"), settings=settings)
        else:
            running = LocalCluster.create(folder, brokers=brokers, port=port, settings=settings)
        try:
            if forked_node.is_possible():
                forked_node.import_for_nodes()
                running.spawn = forked_node.fork_node
            for node in running.start():
                click.echo(f"ready {node.name} localhost:{node.port}")
            running.wait_for_brokers()
            click.echo(f"bootstrap.servers={running.bootstrap_servers}")
            while not stopping.wanted and _any_runs(LocalCluster.open(folder)):
                time.sleep(_POLL_S)
        finally:
            LocalCluster.open(folder).stop()
    except ClusterError as error:
        raise click.ClickException(str(error)) from error


class _Stopping:
    """Notes the first SIGINT, SIGTERM or SIGHUP."""

    def __init__(self) -> None:
        self.wanted = False
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._note)

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        self.wanted = True


def _any_runs(running: LocalCluster) -> bool:
    return any(running.state(node) != "stopped" for node in running.nodes)


def _pairs(settings: tuple[str, ...]) -> dict[str, str]:
    pairs = {}
    for text in settings:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise click.BadParameter(f"{text!r} is not KEY=VALUE", param_hint="--set")
        pairs[key] = value
    return pairs


def _on_cluster(data: Path, call: Callable[[LocalCluster], Any]) -> None:
    from kwire.testing.local_cluster import ClusterError, LocalCluster

    try:
        call(LocalCluster.open(data.absolute()))
    except ClusterError as error:
        raise click.ClickException(str(error)) from error


@cluster.command(
    epilog="""\b
Examples:
  kwire cluster status
"""
)
@_data
def status(data: Path) -> None:
    """Show each node: its address, process and state."""

    def show(running: LocalCluster) -> None:
        for node in running.nodes:
            state = running.state(node)
            pid = f"pid {node.pid}" if state != "stopped" else ""
            click.echo(f"{node.name:<16}localhost:{node.port:<8}{state:<10}{pid}".rstrip())

    _on_cluster(data, show)


@cluster.command(
    epilog="""\b
Examples:
  kwire cluster stop 2
  kwire cluster stop          all of it
"""
)
@click.argument("node", type=int, required=False)
@_data
def stop(node: int | None, data: Path) -> None:
    """Stop NODE cleanly, or the whole cluster."""
    _on_cluster(data, lambda running: running.stop() if node is None else running.stop_node(node))


@cluster.command(
    epilog="""\b
Examples:
  kwire cluster start 2
"""
)
@click.argument("node", type=int)
@_data
def start(node: int, data: Path) -> None:
    """Start NODE, which was stopped or killed."""
    _on_cluster(data, lambda running: running.start_node(node))


@cluster.command(
    epilog="""\b
Examples:
  kwire cluster kill 2
"""
)
@click.argument("node", type=int)
@_data
def kill(node: int, data: Path) -> None:
    """Kill NODE at once (SIGKILL)."""
    _on_cluster(data, lambda running: running.kill(node))


@cluster.command(
    epilog="""\b
Examples:
  kwire cluster pause 2
"""
)
@click.argument("node", type=int)
@_data
def pause(node: int, data: Path) -> None:
    """Pause the process of NODE, as if its machine hung (SIGSTOP)."""
    _on_cluster(data, lambda running: running.pause(node))


@cluster.command(
    epilog="""\b
Examples:
  kwire cluster resume 2
"""
)
@click.argument("node", type=int)
@_data
def resume(node: int, data: Path) -> None:
    """Resume a paused NODE."""
    _on_cluster(data, lambda running: running.resume(node))
