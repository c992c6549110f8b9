"""What the handlers of a controller's listener share.

Responsible for: finding the controller of several brokers, and the address that the active controller has on the
listener of a request. Must not depend on: single APIs.
"""

from __future__ import annotations

from kwire.broker.controller.cluster_controller import ClusterController
from kwire.broker.endpoint import Endpoint
from kwire.broker.requests.context import Context


def serving(context: Context) -> ClusterController:
    """Return the controller that this listener belongs to."""
    cluster = context.broker.cluster_controller
    assert cluster is not None  # the listener is open only where there is one
    return cluster


def leader_endpoints(context: Context, cluster: ClusterController) -> list[Endpoint]:
    """List the address of the active controller on the listener that the request came in by."""
    return [one for one in cluster.log.endpoints if one.name == context.endpoint.name]
