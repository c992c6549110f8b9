"""This node's role in the metadata quorum by its settings, and the refusal of roles that are not served.

Responsible for: what ``controller.quorum.voters``, ``controller.quorum.bootstrap.servers`` and ``process.roles`` may
be. Must not depend on: where a setting came from, files, sockets.

A node with the controller role is the only voter of its quorum. If other voters were accepted, the node would start
alone, with a cluster of its own, without the other nodes.
"""

from __future__ import annotations

from typing import Final

from kwire.metadata.configs.effective import EffectiveConfigs
from kwire.metadata.configs.values import ConfigProblem, value_text
from kwire.metadata.settings.listeners import node_listeners
from kwire.metadata.settings.sasl import read_client_login, uses_sasl

SERVED_ROLES: Final = ({"broker", "controller"}, {"controller"}, {"broker"})

_SERVED = "a controller of kwire is the only one of its cluster"


def is_broker_alone(configs: EffectiveConfigs) -> bool:
    """Whether this node is a broker whose controllers are other processes."""
    return set(configs.broker["process.roles"]) == {"broker"}


def check_quorum(configs: EffectiveConfigs) -> None:
    """Check that the quorum of the settings is served. Raises ConfigProblem."""
    if is_broker_alone(configs):
        check_controllers(configs)
        _check_logins(configs)
        return
    node_id = configs.broker["node.id"]
    voters = configs.broker["controller.quorum.voters"]
    if len(voters) > 1 or any(voter.partition("@")[0].strip() != str(node_id) for voter in voters):
        message = f"A quorum of several nodes, or of another node, is not served: {_SERVED}."
        raise _problem(configs, "controller.quorum.voters", message, f"{node_id}@HOST:PORT alone, or leave it out")
    if len(set(configs.broker["controller.quorum.bootstrap.servers"])) > 1:
        message = f"A quorum of several nodes is not served: {_SERVED}."
        raise _problem(configs, "controller.quorum.bootstrap.servers", message, "one HOST:PORT, or leave it out")
    if set(configs.broker["process.roles"]) not in SERVED_ROLES:
        expected = "broker,controller, broker or controller"
        raise _problem(configs, "process.roles", "A node is a broker, a controller, or both.", expected)


def check_controllers(configs: EffectiveConfigs) -> None:
    """Check that a broker without the controller role names controllers, and is not one of them.

    Raises ConfigProblem.
    """
    voters = [int(voter.partition("@")[0]) for voter in configs.broker["controller.quorum.voters"]]
    node_id = configs.broker["node.id"]
    if node_id in voters:
        message = (
            f"If process.roles contains just the 'broker' role, the node id {node_id} must not be included in the set"
            f" of voters controller.quorum.voters=Set({', '.join(map(str, voters))})"
        )
        raise _problem(configs, "node.id", message, "an id that no controller has")
    if not voters and not configs.broker["controller.quorum.bootstrap.servers"]:
        message = (
            "If using process.roles, either controller.quorum.bootstrap.servers must contain the set of bootstrap"
            " controllers or controller.quorum.voters must contain a parseable set of controllers."
        )
        raise _problem(configs, "controller.quorum.bootstrap.servers", message, "HOST:PORT of the controllers")


def _check_logins(configs: EffectiveConfigs) -> None:
    """Check that this node can log in where other nodes require it. Raises ConfigProblem."""
    listeners = node_listeners(configs)
    for (name, protocol), key in (
        (listeners.controllers, "sasl.mechanism.controller.protocol"),
        (listeners.brokers, "sasl.mechanism.inter.broker.protocol"),
    ):
        if uses_sasl(protocol):
            read_client_login(configs, name, key)


def _problem(configs: EffectiveConfigs, name: str, message: str, expected: str) -> ConfigProblem:
    return ConfigProblem(name, value_text(configs.broker_value(name)), message, expected)
