"""The table of what a controller's listener serves, to brokers, other observers and admin clients (KIP-919).

Responsible for: which API is served there at which versions. Must not depend on: what a handler does.

The APIs that change metadata are those of a broker's listener; what only a controller answers has its handlers here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from kwire.api import table_rows
from kwire.broker.requests.table import ApiTable, Handler, Row, make_table
from kwire.metadata.configs.types import BrokerValues


def _k01() -> Handler:
    from kwire.api.controller import k01_fetch

    return k01_fetch.handle


def _k56() -> Handler:
    from kwire.api.controller import k56_alter_partition

    return k56_alter_partition.handle


def _k58() -> Handler:
    from kwire.api.controller import k58_envelope

    return k58_envelope.handle


def _k59() -> Handler:
    from kwire.api.controller import k59_fetch_snapshot

    return k59_fetch_snapshot.handle


def _k60() -> Handler:
    from kwire.api.controller import k60_describe_cluster

    return k60_describe_cluster.handle


def _k62() -> Handler:
    from kwire.api.controller import k62_broker_registration

    return k62_broker_registration.handle


def _k63() -> Handler:
    from kwire.api.controller import k63_broker_heartbeat

    return k63_broker_heartbeat.handle


def _k67() -> Handler:
    from kwire.api.controller import k67_allocate_producer_ids

    return k67_allocate_producer_ids.handle


def _k73() -> Handler:
    from kwire.api.controller import k73_assign_replicas_to_dirs

    return k73_assign_replicas_to_dirs.handle


_ROWS: Final = (
    Row(1, "Fetch", (13, 18), _k01),
    Row(56, "AlterPartition", (2, 3), _k56),
    Row(58, "Envelope", (0, 0), _k58),
    Row(59, "FetchSnapshot", (0, 1), _k59),
    Row(60, "DescribeCluster", (0, 2), _k60),
    Row(62, "BrokerRegistration", (0, 4), _k62),
    Row(63, "BrokerHeartbeat", (0, 2), _k63),
    Row(67, "AllocateProducerIds", (0, 0), _k67),
    Row(73, "AssignReplicasToDirs", (0, 0), _k73),
)

# Served as on a broker's listener: logins, topics, ACLs, configs, tokens, elections, reassignments, quotas, SCRAM, the
# quorum, features, unregistration.
_AS_ON_A_BROKER: Final = frozenset(
    {17, 18, 19, 20, 29, 30, 31, 32, 33, 36, 37, 38, 39, 40, 41, 43, 44, 45, 46, 49, 50, 51, 55, 57, 64, 80, 81, 94}
)


def controller_table(settings: BrokerValues, features: Mapping[str, int]) -> ApiTable:
    """Make the table of a controller's listeners, in order of the keys."""
    shared = [row for row in table_rows() if row.key in _AS_ON_A_BROKER]
    return make_table(sorted((*_ROWS, *shared), key=lambda row: row.key), settings, features)
