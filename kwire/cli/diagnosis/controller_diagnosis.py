"""Whether a kwire broker can join the cluster of a controller.

Responsible for: comparing the cluster's finalized features with what kwire serves. Must not depend on: how findings are
printed.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from kwire.cli.connections.connection import ClientError, Connection
from kwire.metadata.features import how_to_do_without, not_served
from kwire.wire.messages import DescribeClusterRequest, DescribeClusterResponse

_CONTROLLERS = 2  # DescribeCluster's endpoint type


class JoinCheck(NamedTuple):
    """Level, text and advice of a finding."""

    level: Literal["ok", "problem"]
    what: str
    advice: str = ""


def examine_controller(connection: Connection) -> JoinCheck:
    """Compare features with the controller at the other end."""
    try:
        request = DescribeClusterRequest(endpoint_type=_CONTROLLERS)
        cluster = f"cluster {connection.call(request, DescribeClusterResponse).cluster_id}"
    except ClientError:
        cluster = "its cluster"
    levels = {one.name: one.max_version_level for one in connection.features.finalized_features}
    missing = not_served(levels)
    if missing:
        return JoinCheck("problem", f"a kwire broker cannot join {cluster}", how_to_do_without(missing))
    return JoinCheck("ok", f"a kwire broker can join {cluster}: it serves all finalized features")
