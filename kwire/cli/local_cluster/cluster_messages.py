"""What ``kwire cluster`` and its commands print about nodes that end and start.

Responsible for: the texts, and noticing what other commands did to the nodes. Must not depend on: the command line.
"""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from kwire.testing.clusters.local_cluster import LocalCluster
    from kwire.testing.clusters.nodes import ClusterNode

_TAIL_LINES: Final = 3


class NodeWatch:
    """Compares the nodes with what they were the last time. All nodes of ``running`` were started."""

    def __init__(self, running: LocalCluster) -> None:
        self._pids = {node.id: node.pid for node in running.nodes}
        self._is_restarting = False

    @property
    def goes_on(self) -> bool:
        """Whether a node ran the last time, or is being started again."""
        return self._is_restarting or any(self._pids.values())

    def changes(self, now: LocalCluster) -> list[str]:
        """Return a line for each node that ended or started; ``now`` is the cluster, opened again."""
        if now.is_restarting:
            begun, self._is_restarting = not self._is_restarting, True
            return ["another command replaces the state of all nodes, and starts them again"] if begun else []
        before, self._pids = self._pids, _pids(now)
        if self._is_restarting:
            self._is_restarting = False
            return ["all nodes run again"] if all(self._pids.values()) else []
        lines = []
        for node in now.nodes:
            was, pid = before[node.id], self._pids[node.id]
            if was == pid:
                continue
            if was and not pid:
                lines.append(_ended(now, node, was))
            else:
                lines.append(f"{node.name} was started{' again' if was else ''} by another command")
        return lines


def killed(running: LocalCluster, node: ClusterNode) -> str:
    """What ``kwire cluster kill`` has done, and what happens next."""
    return f"killed {node.name}: {_after_failure(running, node, 'until it starts')}"


def paused(running: LocalCluster, node: ClusterNode) -> str:
    """What ``kwire cluster pause`` has done, and what happens next."""
    return f"paused {node.name}: {_after_failure(running, node, 'until it is resumed')}"


def stopped(running: LocalCluster, node: ClusterNode) -> str:
    """What ``kwire cluster stop NODE`` has done."""
    if node in running.brokers:
        return f"stopped {node.name}: partitions with another in-sync replica got a new leader before it ended"
    return f"stopped {node.name}: {_after_failure(running, node, 'until it starts')}"


def all_stopped(names: list[str]) -> str:
    """What ``kwire cluster stop`` has done to the nodes with these names."""
    return f"stopped {', '.join(names)}" if names else "no node ran"


def _after_failure(running: LocalCluster, node: ClusterNode, until: str) -> str:
    if node in running.brokers:
        return (
            "partitions with another in-sync replica get a new leader when the session of this broker ends, after"
            f" {running.session_timeout_ms} ms (broker.session.timeout.ms)"
        )
    if len(running.controllers) > 1:
        return "the other controllers elect a leader if it was the active one"
    return f"{until}, no partition gets a new leader and no topic can be created"


def _pids(cluster: LocalCluster) -> dict[int, int]:
    return {node.id: node.pid if cluster.state(node) != "stopped" else 0 for node in cluster.nodes}


def _ended(now: LocalCluster, node: ClusterNode, pid: int) -> str:
    from kwire.testing.clusters.processes import exit_code

    # The command that ends a node notes it before, perhaps after ``now`` was read.
    ending = now.open(now.folder).node(node.id).ending
    if ending:
        return f"{node.name} was {ending} by another command"
    code = exit_code(pid)
    if code is not None and code < 0:
        return f"{node.name} was ended by the signal {signal.Signals(-code).name}, not by a kwire cluster command"
    how = "" if code is None else f" with exit code {code}"
    return f"{node.name} ended{how}; its log ends:\n{now.log_tail(node, _TAIL_LINES)}"
