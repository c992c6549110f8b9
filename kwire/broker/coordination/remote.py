"""The coordination parts that send requests to other brokers; only a broker of a cluster has them.

Responsible for: connecting transactions and share states with the connections to other brokers. Must not depend on:
how connections are made.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from kwire.broker.clock import Clock
from kwire.broker.coordination.share.remote import RemoteShareStates
from kwire.broker.coordination.share.share_states import ShareStates
from kwire.broker.coordination.transactions.remote import RemoteTransactions
from kwire.broker.outbound.interface import Node

# How long a request waits for a coordinator that is being loaded, before it is answered COORDINATOR_LOAD_IN_PROGRESS.
LOAD_WAIT_MS = 1000.0


@dataclass(frozen=True, slots=True)
class RemoteCoordination:
    """``connection`` gives the connection to a broker, by node id and client id."""

    node_id: int
    connection: Callable[[int, str], Node]
    clock: Clock
    transactions: RemoteTransactions
    load_wait_ms: float = LOAD_WAIT_MS

    def share_persister(self, states: ShareStates) -> RemoteShareStates:
        return RemoteShareStates(states=states, node_id=self.node_id, connection=self.connection, clock=self.clock)


def remote_coordination(
    connection: Callable[[int, str], Node], *, node_id: int, clock: Clock, timeout_ms: float
) -> RemoteCoordination:
    """Make the parts; ``transactions.run`` must run."""
    transactions = RemoteTransactions(node_id=node_id, connection=connection, timeout_ms=timeout_ms)
    return RemoteCoordination(node_id, connection, clock, transactions)
