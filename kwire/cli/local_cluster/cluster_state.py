"""``kwire cluster reset`` and ``kwire cluster snapshot``: the state of all nodes of a cluster on this machine.

Responsible for: these commands. Must not depend on: how the state is kept (``kwire.testing.clusters.cluster``).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

if TYPE_CHECKING:
    from kwire.testing.clusters.cluster import KafkaCluster

_FOLDER: Final = "kwire-cluster"

data_option = click.option(
    "--data", type=click.Path(file_okay=False, path_type=Path), default=Path(_FOLDER), show_default=True,
    help="The directory of the cluster.",
)  # fmt: skip


def _on_state(data: Path, call: Callable[[KafkaCluster], None], done: str | None = None) -> None:
    """Call with the cluster, then print ``done``."""
    from kwire.control.state import StateError
    from kwire.testing.clusters.cluster import KafkaCluster
    from kwire.testing.clusters.nodes import ClusterError

    try:
        call(KafkaCluster.open(data.absolute()))
    except (ClusterError, StateError) as error:
        raise click.ClickException(str(error)) from error
    if done is not None:
        click.echo(done)


@click.command(
    epilog="""\b
Examples:
  kwire cluster reset
"""
)
@data_option
def reset(data: Path) -> None:
    """Empty all nodes: topics, groups, transactions, configs, users.

    The nodes are killed, and started with the same ports. Snapshots stay.
    """
    _on_state(data, lambda cluster: cluster.reset(), "emptied all nodes")


@click.group(
    epilog="""\b
Examples:
  kwire cluster snapshot make loaded
  kwire cluster snapshot restore loaded
"""
)
def snapshot() -> None:
    """Keep the state of all nodes, and restore it.

    Snapshots are kept under a name, in the directory of the cluster, or saved to another directory.
    """


@snapshot.command(
    epilog="""\b
Examples:
  kwire cluster snapshot make loaded
"""
)
@click.argument("name")
@data_option
def make(name: str, data: Path) -> None:
    """Keep the state under NAME. All nodes halt for the copy."""
    _on_state(data, lambda cluster: cluster.snapshot(name), f"made the snapshot {name}")


@snapshot.command(
    epilog="""\b
Examples:
  kwire cluster snapshot restore loaded
"""
)
@click.argument("name")
@data_option
def restore(name: str, data: Path) -> None:
    """Replace the state by the snapshot NAME. The nodes are killed, and started with the same ports."""
    _on_state(data, lambda cluster: cluster.restore(name), f"restored the snapshot {name}")


@snapshot.command(
    name="list",
    epilog="""\b
Examples:
  kwire cluster snapshot list
""",
)
@data_option
def list_snapshots(data: Path) -> None:
    """List the names of the snapshots."""
    _on_state(data, lambda cluster: click.echo("\n".join(cluster.snapshots)) if cluster.snapshots else None)


@snapshot.command(
    epilog="""\b
Examples:
  kwire cluster snapshot remove loaded
"""
)
@click.argument("name")
@data_option
def remove(name: str, data: Path) -> None:
    """Remove the snapshot NAME."""
    _on_state(data, lambda cluster: cluster.remove_snapshot(name), f"removed the snapshot {name}")


@snapshot.command(
    epilog="""\b
Examples:
  kwire cluster snapshot save ./loaded
"""
)
@click.argument("directory", type=click.Path(path_type=Path))
@data_option
def save(directory: Path, data: Path) -> None:
    """Copy the data directory of each node to DIRECTORY, which must not exist. All nodes halt for the copy."""
    _on_state(data, lambda cluster: cluster.save(directory), f"saved the state to {directory}")


@snapshot.command(
    epilog="""\b
Examples:
  kwire cluster snapshot load ./loaded
"""
)
@click.argument("directory", type=click.Path(path_type=Path))
@data_option
def load(directory: Path, data: Path) -> None:
    """Replace the state by what save has written. The nodes are killed, and started with the same ports."""
    _on_state(data, lambda cluster: cluster.load(directory), f"loaded the state of {directory}")
