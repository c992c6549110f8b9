"""Refuses settings that name a metadata quorum of several nodes, which is not served.

Responsible for: what ``controller.quorum.voters``, ``controller.quorum.bootstrap.servers`` and ``process.roles`` may
say. Must not depend on: where a setting came from, files, sockets.

A node that accepted them would start alone, with a cluster of its own, and know nothing of the other voters.
"""

from __future__ import annotations

from typing import Final

from kwire.metadata.config_values import ConfigProblem, value_text
from kwire.metadata.effective import EffectiveConfigs

SERVED_ROLES: Final = ({"broker", "controller"}, {"controller"})

_SERVED = "the controller of a kwire cluster is one node"


def check_quorum(configs: EffectiveConfigs) -> None:
    """Check that this node is the only one of its quorum. Raises ConfigProblem."""
    node_id = configs.broker["node.id"]
    voters = configs.broker["controller.quorum.voters"]
    if len(voters) > 1 or any(voter.partition("@")[0].strip() != str(node_id) for voter in voters):
        message = f"A quorum of several nodes, or of another node, is not served: {_SERVED}."
        raise _problem(configs, "controller.quorum.voters", message, f"{node_id}@HOST:PORT alone, or leave it out")
    if len(set(configs.broker["controller.quorum.bootstrap.servers"])) > 1:
        message = f"A quorum of several nodes is not served: {_SERVED}."
        raise _problem(configs, "controller.quorum.bootstrap.servers", message, "one HOST:PORT, or leave it out")
    if set(configs.broker["process.roles"]) not in SERVED_ROLES:
        message = "A broker without a controller of its own is not served."
        raise _problem(configs, "process.roles", message, "broker,controller or controller")


def _problem(configs: EffectiveConfigs, name: str, message: str, expected: str) -> ConfigProblem:
    return ConfigProblem(name, value_text(configs.broker_value(name)), message, expected)
