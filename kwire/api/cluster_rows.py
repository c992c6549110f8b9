"""The rows of the table of what is served that are about the nodes of the cluster, and forwarding to the controller.

Responsible for: which of these APIs is served at which versions. Must not depend on: what a handler does.
"""

from __future__ import annotations

from kwire.broker.requests.table import Handler, Row


def forward() -> Handler:
    """Load the handler that forwards a request to the active controller."""
    from kwire.api import forwarding

    return forwarding.handle


def forward_configs() -> Handler:
    """The same, which changes log levels on this broker."""
    from kwire.api import forwarding

    return forwarding.handle_configs


def _k55() -> Handler:
    from kwire.api import k55_describe_quorum

    return k55_describe_quorum.handle


def _k57() -> Handler:
    from kwire.api import k57_update_features

    return k57_update_features.handle


def _k64() -> Handler:
    from kwire.api import k64_unregister_broker

    return k64_unregister_broker.handle


def _k80() -> Handler:
    from kwire.api import k80_add_raft_voter

    return k80_add_raft_voter.handle


def _k81() -> Handler:
    from kwire.api import k81_remove_raft_voter

    return k81_remove_raft_voter.handle


def _k94() -> Handler:
    from kwire.api import k94_unregister_controller

    return k94_unregister_controller.handle


CLUSTER_ROWS = (
    Row(55, "DescribeQuorum", (0, 2), _k55, forward=forward),
    Row(57, "UpdateFeatures", (0, 2), _k57, forward=forward),
    Row(64, "UnregisterBroker", (0, 0), _k64, forward=forward),
    Row(80, "AddRaftVoter", (0, 1), _k80, forward=forward),
    Row(81, "RemoveRaftVoter", (0, 0), _k81, forward=forward),
    Row(94, "UnregisterController", (0, 0), _k94, forward=forward),
)
