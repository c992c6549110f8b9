"""The table of what a controller's listener serves, to brokers, other observers and admin clients (KIP-919).

Responsible for: which API is served there at which versions. Must not depend on: what a handler does.

The APIs that change metadata are those of a broker's listener; what only a controller answers has its handlers here.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Final

from kwire.api import ROWS
from kwire.api.rows import Row, make_table
from kwire.broker.requests.table import ApiTable
from kwire.metadata.configs.types import BrokerValues

_row: Final = partial(Row, package=__name__)

CONTROLLER_ROWS: Final = (
    _row(1, "Fetch", (13, 18)),
    _row(56, "AlterPartition", (2, 3)),
    _row(58, "Envelope", (0, 0)),
    _row(59, "FetchSnapshot", (0, 1)),
    _row(60, "DescribeCluster", (0, 2)),
    _row(62, "BrokerRegistration", (0, 4)),
    _row(63, "BrokerHeartbeat", (0, 2)),
    _row(67, "AllocateProducerIds", (0, 0)),
    _row(73, "AssignReplicasToDirs", (0, 0)),
)

# Served as on a broker's listener, besides what a broker forwards: logins, and what shows ACLs, configs, tokens, SCRAM.
_AS_ON_A_BROKER: Final = frozenset({17, 18, 29, 32, 36, 41, 50})


def controller_table(settings: BrokerValues, features: Mapping[str, int]) -> ApiTable:
    """Make the table of a controller's listeners, in order of the keys."""
    shared = [row for row in ROWS if row.forward is not None or row.key in _AS_ON_A_BROKER]
    return make_table(sorted((*CONTROLLER_ROWS, *shared), key=lambda row: row.key), settings, features)
